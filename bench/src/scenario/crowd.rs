//! The Kafka door: 64 connections with one batch of 1 KiB under way on each, beside a socket whose other end parses
//! frames, writes and group-commits.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::Settings;
use crate::{
    kafka_client::{Client, produce},
    latencies::Latencies,
    load::Round,
    logs::Payload,
    report::{Bar, Figure, Unit, pick, section},
    serve::{Kind, ServerProcess},
};

const CONNECTIONS: usize = 64;
const RATE_MIN: f64 = 60e3;
const P99_MAX: f64 = 2.7e-3;
const TOPIC: &str = "bench";

pub(crate) async fn run(settings: &Settings) -> anyhow::Result<()> {
    section(
        "crowd: raw Kafka clients, acks=all, synced before the reply; servers are processes of their own",
    );
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
    Ok(())
}

/// Many connections, over so many topics.
async fn crowd(settings: &Settings, kind: Kind, topics: usize) -> anyhow::Result<Round> {
    let server = ServerProcess::start(kind, &settings.dir)?;
    let (address, time) = (server.address.clone(), settings.time);
    // One thread for all clients, which is enough for them: what a second one takes to wake the first, and to be woken by
    // it, the server does not get.
    tokio::task::spawn_blocking(move || {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?
            .block_on(send(&address, topics, time))
    })
    .await?
}

/// Sends for some time, from all connections.
async fn send(address: &str, topics: usize, time: Duration) -> anyhow::Result<Round> {
    let batch = Payload::batch(1024, 1024).bytes;
    let names: Vec<String> =
        (0..topics).map(|n| if n == 0 { TOPIC.to_owned() } else { format!("{TOPIC}-{n}") }).collect();
    let mut first = Client::connect(address).await?;
    for name in &names {
        first.create(name).await?;
    }
    let mut clients = Vec::new();
    for number in 0..CONNECTIONS {
        let mut requests: Vec<Bytes> = names.iter().map(|name| produce(name, &batch)).collect();
        requests.rotate_left(number % topics);
        clients.push((Client::connect(address).await?, requests));
    }
    let started = Instant::now();
    let work = clients
        .into_iter()
        .map(|(mut client, requests)| tokio::spawn(async move { client.produce(&requests, 1, time).await }));
    let mut latencies = Latencies::new();
    for worker in work.collect::<Vec<_>>() {
        latencies.add(&worker.await??.latencies);
    }
    Ok(Round { per_second: latencies.count() as f64 / started.elapsed().as_secs_f64(), latencies })
}
