//! One produce stream to 100 partitions in turn, beside the same stream to one: what it costs that batches of one size
//! go to many logs.

use minikafka_proto::v1::CreateTopicRequest;

use super::Settings;
use crate::{
    client::{self, Requests, Until},
    logs::Payload,
    report::{Bar, Figure, Unit, section},
    serve::{Kind, ServerProcess},
};

const PARTITIONS: u32 = 100;
/// Bytes of a batch and of its messages, and how that is called.
const BATCHES: [(usize, usize, &str); 4] = [
    (4 << 10, 100, "4 KiB of 100 B"),
    (16 << 10, 1024, "16 KiB of 1 KiB"),
    (64 << 10, 1024, "64 KiB of 1 KiB"),
    (256 << 10, 1024, "256 KiB of 1 KiB"),
];
const TOPIC: &str = "bench";

pub(crate) async fn run(settings: &Settings) -> anyhow::Result<()> {
    section("spread: one gRPC stream of batches, synced, to 100 partitions in turn, beside one partition");
    for (bytes, message_len, name) in BATCHES {
        let payload = Payload::batch(bytes, message_len);
        let (mut many, mut one) = (Vec::new(), Vec::new());
        for _ in 0..settings.rounds {
            one.push(measure(settings, 1, &payload).await?);
            many.push(measure(settings, PARTITIONS, &payload).await?);
        }
        Figure::new(format!("batches of {name}, {PARTITIONS} partitions"), Unit::Messages, &many)
            .limit("one partition", &one)
            .bar(Bar::Ratio(0.7))
            .print();
    }
    Ok(())
}

/// Messages per second.
async fn measure(settings: &Settings, partitions: u32, payload: &Payload) -> anyhow::Result<f64> {
    let server = ServerProcess::start(Kind::MiniKafka, &settings.dir)?;
    let mut client = server.connect().await?;
    client.create_topic(CreateTopicRequest { topic: TOPIC.to_owned(), partitions, settings: None }).await?;
    let requests = Requests::batch(TOPIC, payload).over_partitions(partitions);
    let sent = client::produce_stream(client, &requests, Until::Time(settings.time)).await?;
    Ok(sent.messages_per_second())
}
