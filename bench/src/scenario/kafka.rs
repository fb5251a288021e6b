//! The Kafka door: a raw client with batches that are encoded once, beside a socket whose other end parses frames,
//! writes and group-commits; and a reader beside a socket that sends the same bytes.

use std::time::Instant;

use bytes::Bytes;

use super::Settings;
use crate::{
    kafka_client::{Client, produce},
    logs::Payload,
    report::{Bar, Figure, Unit, section},
    serve::{Kind, SOURCE_BYTES, ServerProcess},
};

/// Bytes of a batch, and how its size is called.
const BATCHES: [(usize, &str); 3] = [(64 << 10, "64 KiB"), (256 << 10, "256 KiB"), (1 << 20, "1 MiB")];
const BATCH_RECORD_LEN: usize = 1024;
/// Requests under way on one connection: what Kafka's clients have by default.
const UNDER_WAY: usize = 5;
/// Bars.
const PRODUCE_RATIO: f64 = 0.7;
const FETCH_RATIO: f64 = 0.5;
/// What is stored to be read: more than the server has in memory.
const STORED_BYTES: usize = 512 << 20;
const TOPIC: &str = "bench";

pub(crate) async fn run(settings: &Settings) -> anyhow::Result<()> {
    section("kafka: a raw client, acks=all, synced before the reply; servers are processes of their own");
    for (bytes, size) in BATCHES {
        let request = [produce(TOPIC, &Payload::batch(bytes, BATCH_RECORD_LEN).bytes)];
        let (mut ours, mut bare) = (Vec::new(), Vec::new());
        for _ in 0..settings.rounds {
            bare.push(stream(settings, Kind::KafkaSink, &request).await?);
            ours.push(stream(settings, Kind::Kafka, &request).await?);
        }
        Figure::new(format!("batches of {size}, {UNDER_WAY} under way"), Unit::Bandwidth, &ours)
            .limit("frames + group commit", &bare)
            .bar(Bar::Ratio(PRODUCE_RATIO))
            .print();
    }
    let (mut ours, mut bare) = (Vec::new(), Vec::new());
    for _ in 0..settings.rounds {
        bare.push(read(settings, Kind::KafkaSource).await?);
        ours.push(read(settings, Kind::Kafka).await?);
    }
    Figure::new("fetch from the start, 8 MiB at a time", Unit::Bandwidth, &ours)
        .limit("a socket that sends the same", &bare)
        .bar(Bar::Ratio(FETCH_RATIO))
        .print();
    Ok(())
}

/// Bytes per second of one connection.
async fn stream(settings: &Settings, kind: Kind, request: &[Bytes]) -> anyhow::Result<f64> {
    let server = ServerProcess::start(kind, &settings.dir)?;
    let mut client = Client::connect(&server.address).await?;
    client.create(TOPIC).await?;
    let sent = client.produce(request, UNDER_WAY, settings.time).await?;
    let bytes = sent.latencies.count() * request[0].len() as u64;
    Ok(bytes as f64 / sent.elapsed.as_secs_f64())
}

/// Bytes per second of one reader, from the start of the log and again.
async fn read(settings: &Settings, kind: Kind) -> anyhow::Result<f64> {
    let server = ServerProcess::start(kind, &settings.dir)?;
    let mut client = Client::connect(&server.address).await?;
    let payload = Payload::batch(1 << 20, BATCH_RECORD_LEN);
    let batch = payload.bytes.len();
    let stored = STORED_BYTES / batch;
    if kind == Kind::Kafka {
        client.create(TOPIC).await?;
        let request = [produce(TOPIC, &payload.bytes)];
        for _ in 0..stored {
            client.produce_once(&request[0]).await?;
        }
    }
    let records = u64::from(payload.records);
    let end = stored as u64 * records;
    let (started, mut bytes, mut offset) = (Instant::now(), 0, 0);
    while started.elapsed() < settings.time {
        let fetched = client.fetch(TOPIC, offset, SOURCE_BYTES as i32).await?;
        bytes += fetched;
        offset = (offset + (fetched / batch) as u64 * records) % end;
    }
    Ok(bytes as f64 / started.elapsed().as_secs_f64())
}
