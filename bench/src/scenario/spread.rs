//! One produce stream to 100 partitions in turn, beside the same stream to one: what it costs that batches of one size
//! go to many logs. Then our producer library, which fills a batch for one partition before it goes on to another.

use minikafka_proto::v1::CreateTopicRequest;

use super::{Settings, produce::produce_with_library};
use crate::{
    client::{self, Client, Requests, Until},
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
/// Bytes of a message of our library, and how that is called.
const MESSAGES: [(usize, &str); 2] = [(100, "100 B"), (1024, "1 KiB")];
const TOPIC: &str = "bench";

pub(crate) async fn run(settings: &Settings) -> anyhow::Result<()> {
    section("spread: one gRPC stream of batches, synced, to 100 partitions in turn, beside one partition");
    for (bytes, message_len, name) in BATCHES {
        let payload = Payload::batch(bytes, message_len);
        let measure = async |partitions| {
            let (_server, client) = start(settings, partitions).await?;
            let requests = Requests::batch(TOPIC, &payload).over_partitions(partitions);
            let sent = client::produce_stream(client, &requests, Until::Time(settings.time)).await?;
            Ok(sent.messages_per_second())
        };
        compare(settings, &format!("batches of {name}"), measure).await?;
    }
    for (message_len, name) in MESSAGES {
        let measure = async |partitions| {
            let (server, _client) = start(settings, partitions).await?;
            produce_with_library(&server, TOPIC, message_len, settings.time).await
        };
        compare(settings, &format!("Producer, {name}"), measure).await?;
    }
    Ok(())
}

/// Prints what `measure` finds, in messages per second, with many partitions and with one.
async fn compare(
    settings: &Settings,
    name: &str,
    measure: impl AsyncFn(u32) -> anyhow::Result<f64>,
) -> anyhow::Result<()> {
    let (mut many, mut one) = (Vec::new(), Vec::new());
    for _ in 0..settings.rounds {
        one.push(measure(1).await?);
        many.push(measure(PARTITIONS).await?);
    }
    Figure::new(format!("{name}, {PARTITIONS} partitions"), Unit::Messages, &many)
        .limit("one partition", &one)
        .bar(Bar::Ratio(0.7))
        .print();
    Ok(())
}

/// A server with a topic of so many partitions.
async fn start(settings: &Settings, partitions: u32) -> anyhow::Result<(ServerProcess, Client)> {
    let server = ServerProcess::start(Kind::MiniKafka, &settings.dir)?;
    let mut client = server.connect().await?;
    client.create_topic(CreateTopicRequest { topic: TOPIC.to_owned(), partitions, settings: None }).await?;
    Ok((server, client))
}
