//! What a server takes up: memory while bytes pass through, memory and processor time with idle partitions.

use std::time::Duration;

use minikafka_proto::v1::CreateTopicRequest;

use super::Settings;
use crate::{
    client::{self, Requests},
    logs::Payload,
    report::{Bar, Figure, Unit, section},
    serve::{Kind, ServerProcess},
};

const BATCH_BYTES: usize = 256 << 10;
const RECORD_LEN: usize = 1024;
const PARTITIONS: usize = 1000;
/// Time for a server to come to rest before it is looked at.
const REST: Duration = Duration::from_millis(500);
/// How long its idleness is watched.
const IDLE: Duration = Duration::from_secs(4);

pub(crate) async fn run(settings: &Settings) -> anyhow::Result<()> {
    section(
        "footprint: a server process, durable; batches of 256 KiB pass through, then partitions idle (one round)",
    );
    passing_through(settings).await?;
    idle(settings).await
}

async fn passing_through(settings: &Settings) -> anyhow::Result<()> {
    let server = ServerProcess::start(Kind::MiniKafka, &settings.dir)?;
    let before = server.child.memory()?;
    let payload = Payload::batch(BATCH_BYTES, RECORD_LEN);
    let count = settings.bytes().div_ceil(payload.bytes.len() as u64);
    let client = server.connect().await?;
    let sent =
        client::produce_stream(client, &Requests::batch("bench", &payload), client::Until::Count(count))
            .await?;
    let name = format!("server after {:.1} GiB", settings.gib);
    Figure::new("server before anything", Unit::Bytes, &[before]).print();
    Figure::new(format!("{name}: peak memory"), Unit::Bytes, &[server.child.memory_peak()?])
        .bar(Bar::AtMost(40e6))
        .print();
    tokio::time::sleep(REST).await;
    Figure::new(format!("{name}: memory at rest"), Unit::Bytes, &[server.child.memory()?]).print();
    let bytes = (sent.requests * payload.bytes.len() as u64) as f64;
    let per_gb = server.child.processor_time()?.as_secs_f64() * 1e9 / bytes;
    Figure::new(format!("{name}: processor time for each GB"), Unit::Seconds, &[per_gb]).print();
    Ok(())
}

async fn idle(settings: &Settings) -> anyhow::Result<()> {
    let server = ServerProcess::start(Kind::MiniKafka, &settings.dir)?;
    let mut client = server.connect().await?;
    // The first one pays for what all share.
    create(&mut client, 0).await?;
    tokio::time::sleep(REST).await;
    let before = server.child.memory()?;
    for number in 1..=PARTITIONS {
        create(&mut client, number).await?;
    }
    tokio::time::sleep(REST).await;
    let each = (server.child.memory()? - before) / PARTITIONS as f64;
    Figure::new(format!("{PARTITIONS} partitions with a message each: memory of one"), Unit::Bytes, &[each])
        .print();
    let used = server.child.processor_time()?;
    tokio::time::sleep(IDLE).await;
    let used = server.child.processor_time()? - used;
    let cores = used.as_secs_f64() / IDLE.as_secs_f64();
    Figure::new(format!("{PARTITIONS} partitions: processor when idle"), Unit::Cores, &[cores])
        .bar(Bar::AtMost(0.005))
        .print();
    Ok(())
}

/// A topic with a message.
async fn create(client: &mut client::Client, number: usize) -> anyhow::Result<()> {
    let topic = format!("idle-{number}");
    client.create_topic(CreateTopicRequest { topic: topic.clone(), partitions: 1, settings: None }).await?;
    client.produce(Requests::list(&topic, 1, 100).request(0)).await?;
    Ok(())
}
