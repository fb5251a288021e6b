//! Reading a log from its start, most of which is no longer in the server's memory, against a bare server that sends
//! blobs of the same size: through the same client, which decodes nothing, and through our consumer, which does.

use std::time::{Duration, Instant};

use anyhow::Context;
use minikafka_client_consume::Consumer;
use minikafka_proto::v1::{Encoding, SubscribeRequest};

use super::Settings;
use crate::{
    bare::{BLOB_BATCH_BYTES, BLOB_RECORD_LEN, BLOBS_TOPIC},
    client::{self, Client, Requests, Until},
    logs::Payload,
    report::{Bar, Figure, Unit, section},
    serve::{Kind, ServerProcess},
};

/// Without an answer for so long, something is wrong.
const WAIT: Duration = Duration::from_secs(10);
/// What the consumer has to reach, split into records.
const CONSUMER_MIN: f64 = 1e9;

pub(crate) async fn run(settings: &Settings) -> anyhow::Result<()> {
    section(
        "catchup: a log from its start, batches of 256 KiB of 1 KiB messages, replies of 1 MiB, page cache warm",
    );
    let payload = Payload::batch(BLOB_BATCH_BYTES, BLOB_RECORD_LEN);
    let batches = settings.bytes().div_ceil(payload.bytes.len() as u64);
    let bytes = batches * payload.bytes.len() as u64;
    // First, because it takes memory, and the log is to stay in the system's cache.
    let bare_server = ServerProcess::start(Kind::Echo, &settings.dir)?;
    let server = ServerProcess::start(Kind::MiniKafka, &settings.dir)?;
    let requests = Requests::batch(BLOBS_TOPIC, &payload);
    client::produce_stream(server.connect().await?, &requests, Until::Count(batches)).await?;
    let (mut ours, mut bare, mut decoded) = (Vec::new(), Vec::new(), Vec::new());
    let (mut our_work, mut bare_work) = (Vec::new(), Vec::new());
    for _ in 0..settings.rounds {
        bare.push(read_from(&bare_server, bytes, &mut bare_work).await?);
        ours.push(read_from(&server, bytes, &mut our_work).await?);
        decoded.push(consume(&server.address, batches * u64::from(payload.records), bytes).await?);
    }
    let gib = settings.gib;
    Figure::new(format!("subscribe, {gib} GiB, not decoded"), Unit::Bandwidth, &ours)
        .limit("bare tonic blobs", &bare)
        .bar(Bar::Ratio(0.8))
        .print();
    Figure::new("subscribe: processor time of the server for each GB", Unit::Seconds, &our_work)
        .limit("bare tonic blobs", &bare_work)
        .print();
    Figure::new(format!("Consumer, {gib} GiB, as messages"), Unit::Bandwidth, &decoded)
        .limit("bare tonic blobs, not decoded", &bare)
        .bar(Bar::AtLeast(CONSUMER_MIN))
        .print();
    Ok(())
}

/// As [`read`]; adds the processor time that it took the server for each GB.
async fn read_from(server: &ServerProcess, bytes: u64, work: &mut Vec<f64>) -> anyhow::Result<f64> {
    let before = server.child.processor_time()?;
    let rate = read(server.connect().await?, bytes).await?;
    work.push((server.child.processor_time()? - before).as_secs_f64() * 1e9 / bytes as f64);
    Ok(rate)
}

/// Bytes per second of batches that nobody looks at.
async fn read(mut client: Client, bytes: u64) -> anyhow::Result<f64> {
    let request = SubscribeRequest {
        topic: BLOBS_TOPIC.to_owned(),
        encoding: Encoding::RecordBatches.into(),
        ..SubscribeRequest::default()
    };
    let started = Instant::now();
    let mut replies = client.subscribe(request).await?.into_inner();
    let mut received = 0;
    while received < bytes {
        let reply = replies.message().await?.context("the stream ended")?;
        received += reply.record_batches.iter().map(|batch| batch.len() as u64).sum::<u64>();
    }
    Ok(received as f64 / started.elapsed().as_secs_f64())
}

/// The same through our consumer library, checked and split into messages.
async fn consume(address: &str, messages: u64, bytes: u64) -> anyhow::Result<f64> {
    let started = Instant::now();
    let mut consumer = Consumer::subscribe(address, BLOBS_TOPIC).await?;
    let mut received = 0;
    while received < messages {
        received += consumer.poll(WAIT).await?.len() as u64;
    }
    Ok(bytes as f64 / started.elapsed().as_secs_f64())
}
