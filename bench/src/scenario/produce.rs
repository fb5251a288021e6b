//! One produce stream, durable, as fast as it goes: lists of messages against a server that only answers, encoded
//! batches against one that writes and syncs them, and our producer library against the same.

use minikafka_client_produce::Producer;
use std::time::{Duration, Instant};

use super::Settings;
use crate::{
    client::{self, Requests, Sent, Until},
    logs::Payload,
    report::{Bar, Figure, Unit, pick, section},
    serve::{Kind, ServerProcess},
};

/// Messages of a list, and their size.
const LIST_LEN: usize = 100;
const LIST_MESSAGE_LEN: usize = 100;
/// Bytes of a batch, and how its size is called.
const BATCHES: [(usize, &str); 3] = [(64 << 10, "64 KiB"), (256 << 10, "256 KiB"), (1 << 20, "1 MiB")];
const BATCH_RECORD_LEN: usize = 1024;
/// Bytes of a message of our library, how that is called, and what has to be reached.
const MESSAGES: [(usize, &str, f64); 2] = [(100, "100 B", 1e6), (1024, "1 KiB", 300e3)];

pub(crate) async fn run(settings: &Settings) -> anyhow::Result<()> {
    section(
        "produce: one gRPC stream, everything acknowledged is synced; servers are processes of their own",
    );
    let list = Requests::list("bench", LIST_LEN, LIST_MESSAGE_LEN);
    let (ours, echo) = both(settings, &list, Kind::Echo).await?;
    let rate = |rounds: &[Sent]| pick(rounds, Sent::messages_per_second);
    Figure::new("lists of 100 x 100 B", Unit::Messages, &rate(&ours))
        .limit("bare tonic, not stored", &rate(&echo))
        .bar(Bar::Ratio(0.5))
        .print();
    for (bytes, size) in BATCHES {
        let payload = Payload::batch(bytes, BATCH_RECORD_LEN);
        let (ours, bare) = both(settings, &Requests::batch("bench", &payload), Kind::Commit).await?;
        let rate = |rounds: &[Sent]| {
            pick(rounds, |sent| {
                (sent.requests * payload.bytes.len() as u64) as f64 / sent.elapsed.as_secs_f64()
            })
        };
        Figure::new(format!("batches of {size}"), Unit::Bandwidth, &rate(&ours))
            .limit("bare tonic + group commit", &rate(&bare))
            .bar(Bar::Ratio(0.8))
            .print();
    }
    for (message_len, size, least) in MESSAGES {
        let (mut ours, mut bare) = (Vec::new(), Vec::new());
        for _ in 0..settings.rounds {
            bare.push(produce(settings, Kind::Commit, message_len).await?);
            ours.push(produce(settings, Kind::MiniKafka, message_len).await?);
        }
        Figure::new(format!("Producer, {size}"), Unit::Messages, &ours)
            .limit("bare tonic + group commit", &bare)
            .bar(Bar::AtLeast(least))
            .print();
    }
    Ok(())
}

async fn both(
    settings: &Settings,
    requests: &Requests,
    limit: Kind,
) -> anyhow::Result<(Vec<Sent>, Vec<Sent>)> {
    let (mut ours, mut bare) = (Vec::new(), Vec::new());
    for _ in 0..settings.rounds {
        for (kind, rounds) in [(limit, &mut bare), (Kind::MiniKafka, &mut ours)] {
            let server = ServerProcess::start(kind, &settings.dir)?;
            let client = server.connect().await?;
            rounds.push(client::produce_stream(client, requests, Until::Time(settings.time)).await?);
        }
    }
    Ok((ours, bare))
}

async fn produce(settings: &Settings, kind: Kind, message_len: usize) -> anyhow::Result<f64> {
    let server = ServerProcess::start(kind, &settings.dir)?;
    produce_with_library(&server, "bench", message_len, settings.time).await
}

/// Messages per second through our producer library, from the first to the last acknowledgement.
pub(super) async fn produce_with_library(
    server: &ServerProcess,
    topic: &str,
    message_len: usize,
    time: Duration,
) -> anyhow::Result<f64> {
    let producer = Producer::connect(&server.address, topic).await?;
    let (count, elapsed) = produce_for(producer, &vec![b'x'; message_len], time).await?;
    Ok(count as f64 / elapsed.as_secs_f64())
}

async fn produce_for(producer: Producer, value: &[u8], time: Duration) -> anyhow::Result<(u64, Duration)> {
    /// A look at the clock costs as much as a small message.
    const MESSAGES_PER_LOOK: u64 = 64;
    let started = Instant::now();
    let mut count = 0;
    while started.elapsed() < time {
        for _ in 0..MESSAGES_PER_LOOK {
            producer.enqueue(value).await?;
        }
        count += MESSAGES_PER_LOOK;
    }
    producer.close().await?;
    Ok((count, started.elapsed()))
}
