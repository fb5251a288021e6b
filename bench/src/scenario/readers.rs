//! Many readers of one partition that wait at its end, and one that lags: what they cost, and whom they disturb.

use std::{convert::Infallible, time::Duration};

use anyhow::Context;
use minikafka_proto::v1::{
    Anchor, Encoding, Position, ProduceStreamRequest, SubscribeRequest, SubscribeResponse, position::At,
};
use tokio::task::JoinHandle;
use tonic::Streaming;

use super::Settings;
use crate::{
    bare::BLOBS_TOPIC,
    client::{self, Client, Requests, Until},
    latencies::Latencies,
    logs::Payload,
    pacer::Schedule,
    report::{Bar, Figure, Unit, pick, section},
    serve::{Kind, ServerProcess},
};

/// Thousands, on connections with as many streams as servers commonly allow.
const CONNECTIONS: usize = 50;
const STREAMS: usize = 100;
const TOPIC: &str = "bench";
const MESSAGE_LEN: usize = 1024;
const PER_SECOND: u32 = 1000;
/// What the lagging reader reads again and again.
const BATCH_BYTES: usize = 256 << 10;
/// Time for a server to come to rest before it is looked at.
const REST: Duration = Duration::from_millis(500);
/// How long its idleness is watched.
const IDLE: Duration = Duration::from_secs(4);

pub(crate) async fn run(settings: &Settings) -> anyhow::Result<()> {
    section("readers: of one partition, durable; thousands that wait, and one that lags behind");
    waiting(settings).await?;
    lagging(settings).await
}

/// What readers cost that wait at the end.
async fn waiting(settings: &Settings) -> anyhow::Result<()> {
    let server = ServerProcess::start(Kind::MiniKafka, &settings.dir)?;
    let mut producer = server.connect().await?;
    producer.produce(Requests::list(TOPIC, 1, MESSAGE_LEN).request(0)).await?;
    tokio::time::sleep(REST).await;
    let before = server.child.memory()?;
    let mut streams = Vec::with_capacity(CONNECTIONS * STREAMS);
    for _ in 0..CONNECTIONS {
        let mut client = server.connect().await?;
        for _ in 0..STREAMS {
            streams.push(subscribe(&mut client, TOPIC, Anchor::Latest).await?);
        }
    }
    tokio::time::sleep(REST).await;
    let each = (server.child.memory()? - before) / streams.len() as f64;
    let name = format!("{} waiting readers on {CONNECTIONS} connections", streams.len());
    Figure::new(format!("{name}: memory of one"), Unit::Bytes, &[each]).bar(Bar::AtMost(20e3)).print();
    let used = server.child.processor_time()?;
    tokio::time::sleep(IDLE).await;
    let cores = (server.child.processor_time()? - used).as_secs_f64() / IDLE.as_secs_f64();
    Figure::new(format!("{name}: processor when idle"), Unit::Cores, &[cores]).bar(Bar::AtMost(0.01)).print();
    let used = server.child.processor_time()?;
    let rounds = 20;
    for _ in 0..rounds {
        producer.produce(Requests::list(TOPIC, 1, MESSAGE_LEN).request(0)).await?;
        for stream in &mut streams {
            stream.message().await?.context("the stream ended")?;
        }
    }
    let delivered = f64::from(rounds) * streams.len() as f64;
    let each = (server.child.processor_time()? - used).as_secs_f64() / delivered;
    Figure::new(format!("{name}: processor time of a message to one"), Unit::Seconds, &[each]).print();
    Ok(())
}

/// Latencies of a producer at a fixed rate beside a reader that reads old messages as fast as it can, of this server
/// or of another one, and alone.
async fn lagging(settings: &Settings) -> anyhow::Result<()> {
    // First, because it takes memory, and the log is to stay in the system's cache.
    let bare = ServerProcess::start(Kind::Echo, &settings.dir)?;
    let server = ServerProcess::start(Kind::MiniKafka, &settings.dir)?;
    let payload = Payload::batch(BATCH_BYTES, MESSAGE_LEN);
    let batches = settings.bytes().div_ceil(payload.bytes.len() as u64);
    let requests = Requests::batch(TOPIC, &payload);
    client::produce_stream(server.connect().await?, &requests, Until::Count(batches)).await?;
    let (mut alone, mut beside, mut beside_bare) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..settings.rounds {
        alone.push(produce(&server, settings).await?);
        // The same work for both processors, but elsewhere.
        let reader = tokio::spawn(lag(bare.connect().await?, BLOBS_TOPIC, batches));
        beside_bare.push(produce(&server, settings).await?);
        end(reader).await?;
        let reader = tokio::spawn(lag(server.connect().await?, TOPIC, batches));
        beside.push(produce(&server, settings).await?);
        end(reader).await?;
    }
    for (title, part) in [("p50", 0.5), ("p99", 0.99)] {
        let at = |rounds: &[Latencies]| pick(rounds, |latencies| latencies.at(part));
        let figure = |name: &str, ours: &[Latencies], limit: &str, theirs: &[Latencies]| {
            Figure::new(format!("{PER_SECOND}/s {name}: {title}"), Unit::Seconds, &at(ours))
                .limit(limit, &at(theirs))
                .print();
        };
        figure("beside a lagging reader", &beside, "a bare server's reader", &beside_bare);
        figure("beside a lagging reader", &beside, "no reader", &alone);
    }
    Ok(())
}

/// Reads what is there from its start, again and again, always far from the end.
async fn lag(mut client: Client, topic: &str, batches: u64) -> anyhow::Result<Infallible> {
    loop {
        let mut stream = subscribe(&mut client, topic, Anchor::Earliest).await?;
        for _ in 0..batches / 8 {
            stream.message().await?.context("the stream ended")?;
        }
    }
}

/// Ends a reader, which has not failed.
async fn end(reader: JoinHandle<anyhow::Result<Infallible>>) -> anyhow::Result<()> {
    reader.abort();
    match reader.await {
        Ok(Err(failed)) => Err(failed),
        _ => Ok(()),
    }
}

async fn produce(server: &ServerProcess, settings: &Settings) -> anyhow::Result<Latencies> {
    let requests = Requests::list(TOPIC, 1, MESSAGE_LEN);
    let request = move |id: u64| -> ProduceStreamRequest { requests.next(id) };
    let schedule = Schedule::starting_now(PER_SECOND, settings.time);
    client::produce_paced(server.connect().await?, request, || schedule).await
}

/// A subscription that has confirmed its position.
async fn subscribe(
    client: &mut Client,
    topic: &str,
    anchor: Anchor,
) -> anyhow::Result<Streaming<SubscribeResponse>> {
    let request = SubscribeRequest {
        topic: topic.to_owned(),
        from: Some(Position { at: Some(At::Anchor(anchor.into())) }),
        encoding: Encoding::RecordBatches.into(),
        ..SubscribeRequest::default()
    };
    let mut stream = client.subscribe(request).await?.into_inner();
    stream.message().await?.context("the first reply confirms the position")?;
    Ok(stream)
}
