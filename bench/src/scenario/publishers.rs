//! 64 publishers with one message in flight each: what a service does that sends one event for each of its own
//! requests. Each has a stream; on connections of their own, and all on one.

use std::time::Instant;

use super::Settings;
use crate::{
    client::{self, Requests},
    latencies::Latencies,
    load::Round,
    report::{Bar, Figure, Unit, pick, section},
    serve::{Kind, ServerProcess},
};

const PUBLISHERS: u64 = 64;
const MESSAGE_LEN: usize = 1024;
/// The bars of the whole list: messages per second and 99th percentile.
const RATE_MIN: f64 = 45e3;
const P99_MAX: f64 = 2.7e-3;

/// How the publishers are connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Connections {
    One,
    Own,
}

pub(crate) async fn run(settings: &Settings) -> anyhow::Result<()> {
    section("publishers: 64 gRPC streams, 1 KiB, one message in flight on each, synced before the reply");
    for (connections, how) in [(Connections::Own, "64 connections"), (Connections::One, "1 connection")] {
        for topics in [1, 100] {
            let requests = Requests::list("bench", 1, MESSAGE_LEN).over_topics(topics);
            let (mut ours, mut bare) = (Vec::new(), Vec::new());
            for _ in 0..settings.rounds {
                bare.push(measure(settings, Kind::Commit, connections, &requests).await?);
                ours.push(measure(settings, Kind::MiniKafka, connections, &requests).await?);
            }
            let name = format!("64 publishers, {topics} topics, {how}");
            let rate = |rounds: &[Round]| pick(rounds, |round| round.per_second);
            Figure::new(&name, Unit::Messages, &rate(&ours))
                .limit("bare tonic + group commit", &rate(&bare))
                .bar(Bar::AtLeast(RATE_MIN))
                .print();
            for (title, part, bar) in [("p50", 0.5, Bar::None), ("p99", 0.99, Bar::AtMost(P99_MAX))] {
                let at = |rounds: &[Round]| pick(rounds, |round| round.latencies.at(part));
                Figure::new(format!("{name}: {title}"), Unit::Seconds, &at(&ours))
                    .limit("bare tonic + group commit", &at(&bare))
                    .bar(bar)
                    .print();
            }
        }
    }
    Ok(())
}

async fn measure(
    settings: &Settings,
    kind: Kind,
    connections: Connections,
    requests: &Requests,
) -> anyhow::Result<Round> {
    let server = ServerProcess::start(kind, &settings.dir)?;
    let mut shared = server.connect().await?;
    requests.create_topics(&mut shared).await?;
    let mut publishers = Vec::new();
    for number in 0..PUBLISHERS {
        let client = match connections {
            Connections::One => shared.clone(),
            Connections::Own => server.connect().await?,
        };
        publishers.push((number, client));
    }
    let started = Instant::now();
    let publishers: Vec<_> = publishers
        .into_iter()
        .map(|(number, client)| {
            tokio::spawn(client::produce_one_by_one(client, requests.clone(), number, settings.time))
        })
        .collect();
    let mut latencies = Latencies::new();
    for publisher in publishers {
        latencies.add(&publisher.await??);
    }
    Ok(Round { per_second: latencies.count() as f64 / started.elapsed().as_secs_f64(), latencies })
}
