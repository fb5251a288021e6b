//! The Kafka door: a raw client with batches that are encoded once, beside a socket whose other end parses frames,
//! writes and group-commits; and a reader beside a socket that sends the same bytes.

use std::time::Instant;

use bytes::Bytes;

use super::Settings;
use crate::{
    kafka_client::{Client, produce},
    latencies::Latencies,
    load::Round,
    logs::Payload,
    report::{Bar, Figure, Unit, pick, section},
    serve::{Kind, SOURCE_BYTES, ServerProcess},
};

/// Bytes of a batch, and how its size is called.
const BATCHES: [(usize, &str); 3] = [(64 << 10, "64 KiB"), (256 << 10, "256 KiB"), (1 << 20, "1 MiB")];
const BATCH_RECORD_LEN: usize = 1024;
/// Requests under way on one connection: what Kafka's clients have by default.
const UNDER_WAY: usize = 5;
const CONNECTIONS: usize = 64;
/// Bars of the whole list.
const PRODUCE_RATIO: f64 = 0.7;
const FETCH_RATIO: f64 = 0.5;
const RATE_MIN: f64 = 60e3;
const P99_MAX: f64 = 2.7e-3;
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
    for topics in [1, 100] {
        let (mut ours, mut bare) = (Vec::new(), Vec::new());
        for _ in 0..settings.rounds {
            bare.push(crowd(settings, Kind::KafkaSink, topics).await?);
            ours.push(crowd(settings, Kind::Kafka, topics).await?);
        }
        let name = format!("{CONNECTIONS} connections, 1 KiB, one under way on each, {topics} topics");
        let rate = |rounds: &[Round]| pick(rounds, |round| round.per_second);
        Figure::new(&name, Unit::Messages, &rate(&ours))
            .limit("frames + group commit", &rate(&bare))
            .bar(Bar::AtLeast(RATE_MIN))
            .print();
        let p99 = |rounds: &[Round]| pick(rounds, |round| round.latencies.at(0.99));
        Figure::new(format!("{name}: p99"), Unit::Seconds, &p99(&ours))
            .limit("frames + group commit", &p99(&bare))
            .bar(Bar::AtMost(P99_MAX))
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

/// Many connections, over so many topics.
async fn crowd(settings: &Settings, kind: Kind, topics: usize) -> anyhow::Result<Round> {
    let server = ServerProcess::start(kind, &settings.dir)?;
    let batch = Payload::batch(1024, 1024).bytes;
    let names: Vec<String> =
        (0..topics).map(|n| if n == 0 { TOPIC.to_owned() } else { format!("{TOPIC}-{n}") }).collect();
    let mut first = Client::connect(&server.address).await?;
    for name in &names {
        first.create(name).await?;
    }
    let mut clients = Vec::new();
    for number in 0..CONNECTIONS {
        let mut requests: Vec<Bytes> = names.iter().map(|name| produce(name, &batch)).collect();
        requests.rotate_left(number % topics);
        clients.push((Client::connect(&server.address).await?, requests));
    }
    let started = Instant::now();
    let time = settings.time;
    let work = clients
        .into_iter()
        .map(|(mut client, requests)| tokio::spawn(async move { client.produce(&requests, 1, time).await }));
    let mut latencies = Latencies::new();
    for worker in work.collect::<Vec<_>>() {
        latencies.add(&worker.await??.latencies);
    }
    Ok(Round { per_second: latencies.count() as f64 / started.elapsed().as_secs_f64(), latencies })
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
