//! One producer, many subscribers that read along at the end of the log, against a bare server that passes on what it
//! gets and stores nothing.

use std::time::{Duration, Instant};

use anyhow::Context;
use bytes::Bytes;
use minikafka_client_produce::Producer;
use minikafka_proto::v1::{
    Anchor, Encoding, MissingTopic, Position, ProduceRequest, ProduceStreamRequest, SubscribeRequest,
    SubscribeResponse, position::At, produce_request::Payload,
};
use minikafka_record::{BatchBuilder, Offset, RecordBatch};
use tonic::Streaming;

use super::Settings;
use crate::{
    client,
    latencies::Latencies,
    pacer::Schedule,
    report::{Figure, Unit, pick, section},
    serve::{Kind, ServerProcess},
};

const CONSUMERS: [usize; 3] = [1, 10, 100];
const MESSAGE_LEN: usize = 100;
/// Messages that all consumers of a round get together: little enough for a second or so.
const DELIVERED: u64 = 5_000_000;
/// A rate that leaves the machine time to spare, to see latencies.
const PER_SECOND: u32 = 250;

pub(crate) async fn run(settings: &Settings) -> anyhow::Result<()> {
    section("fanout: one producer of 100 B, durable, subscribers at the end, a connection each");
    for consumers in CONSUMERS {
        let (mut ours, mut relay) = (Vec::new(), Vec::new());
        let (mut our_times, mut relay_times) = (Vec::new(), Vec::new());
        for _ in 0..settings.rounds {
            relay.push(throughput(settings, Kind::Echo, consumers).await?);
            ours.push(throughput(settings, Kind::MiniKafka, consumers).await?);
            relay_times.push(latency(settings, Kind::Echo, consumers).await?);
            our_times.push(latency(settings, Kind::MiniKafka, consumers).await?);
        }
        let name = format!("1 producer, {consumers} consumers");
        Figure::new(format!("{name}: delivered"), Unit::Messages, &ours)
            .limit("bare tonic relay, not stored", &relay)
            .print();
        for (title, part) in [("p50", 0.5), ("p99", 0.99)] {
            let at = |rounds: &[Latencies]| pick(rounds, |latencies| latencies.at(part));
            Figure::new(format!("{name}, {PER_SECOND}/s: {title}"), Unit::Seconds, &at(&our_times))
                .limit("bare tonic relay, not stored", &at(&relay_times))
                .print();
        }
    }
    Ok(())
}

/// A server with subscribers that have confirmed their position at the end.
async fn start(
    settings: &Settings,
    kind: Kind,
    consumers: usize,
) -> anyhow::Result<(ServerProcess, Vec<Streaming<SubscribeResponse>>)> {
    let server = ServerProcess::start(kind, &settings.dir)?;
    let create =
        minikafka_proto::v1::CreateTopicRequest { topic: "bench".to_owned(), partitions: 1, settings: None };
    server.connect().await?.create_topic(create).await?;
    let mut streams = Vec::new();
    for _ in 0..consumers {
        let request = SubscribeRequest {
            topic: "bench".to_owned(),
            from: Some(Position { at: Some(At::Anchor(Anchor::Latest.into())) }),
            encoding: Encoding::RecordBatches.into(),
            missing_topic: MissingTopic::Fail.into(),
            ..SubscribeRequest::default()
        };
        let mut stream = server.connect().await?.subscribe(request).await?.into_inner();
        stream.message().await?.context("the first reply confirms the position")?;
        streams.push(stream);
    }
    Ok((server, streams))
}

/// Messages per second that all consumers get together.
async fn throughput(settings: &Settings, kind: Kind, consumers: usize) -> anyhow::Result<f64> {
    let (server, streams) = start(settings, kind, consumers).await?;
    let count = DELIVERED / consumers as u64;
    let producer = Producer::connect(&server.address, "bench").await?;
    let started = Instant::now();
    let readers: Vec<_> =
        streams.into_iter().map(|stream| tokio::spawn(read(stream, count, |_| ()))).collect();
    for _ in 0..count {
        producer.enqueue(&[b'x'; MESSAGE_LEN]).await?;
    }
    for reader in readers {
        reader.await??;
    }
    let elapsed = started.elapsed();
    producer.close().await?;
    Ok((count * consumers as u64) as f64 / elapsed.as_secs_f64())
}

/// From when a message is due until each consumer has it.
async fn latency(settings: &Settings, kind: Kind, consumers: usize) -> anyhow::Result<Latencies> {
    let (server, streams) = start(settings, kind, consumers).await?;
    // Messages carry the time at which they are due, counted from here.
    let epoch = Instant::now();
    let interval = Duration::from_secs(1) / PER_SECOND;
    let schedule = Schedule::starting_now(PER_SECOND, settings.time);
    let count = schedule.count + 1;
    let readers: Vec<_> = streams
        .into_iter()
        .map(|stream| {
            tokio::spawn(async move {
                let mut latencies = Latencies::new();
                read(stream, count, |batch| {
                    for due in batch.records().flatten().filter_map(|record| due(&record.value?)) {
                        latencies.record((epoch + due).elapsed());
                    }
                })
                .await?;
                anyhow::Ok(latencies)
            })
        })
        .collect();
    let start = schedule.due(0) - epoch;
    let request = move |id: u64| {
        let due = start + interval.mul_f64(id.saturating_sub(1) as f64);
        let mut value = [b'x'; MESSAGE_LEN];
        // The first one only opens the stream.
        let nanos = if id == 0 { 0 } else { due.as_nanos() as u64 };
        value[..8].copy_from_slice(&nanos.to_be_bytes());
        let mut batch = BatchBuilder::with_capacity(MESSAGE_LEN + 32);
        batch.push(0, None, Some(&value), &[]);
        let payload = Some(Payload::RecordBatch(batch.finish(Offset::ZERO, 0)));
        let produce = ProduceRequest { topic: "bench".to_owned(), payload, ..ProduceRequest::default() };
        ProduceStreamRequest { request_id: id, produce: Some(produce) }
    };
    client::produce_paced(server.connect().await?, request, || schedule).await?;
    let mut latencies = Latencies::new();
    for reader in readers {
        latencies.add(&reader.await??);
    }
    Ok(latencies)
}

/// When a message was due; `None` for the one that opens the stream.
fn due(value: &Bytes) -> Option<Duration> {
    let nanos = u64::from_be_bytes(value.get(..8)?.try_into().ok()?);
    (nanos > 0).then(|| Duration::from_nanos(nanos))
}

/// Reads until so many messages have come, and looks at each batch.
async fn read(
    mut stream: Streaming<SubscribeResponse>,
    count: u64,
    mut look: impl FnMut(&RecordBatch),
) -> anyhow::Result<()> {
    let mut messages = 0;
    while messages < count {
        let response = stream.message().await?.context("the stream ended")?;
        for bytes in response.record_batches {
            let batch = RecordBatch::parse(bytes)?;
            messages += batch.count() as u64;
            look(&batch);
        }
    }
    Ok(())
}
