//! Unary produce calls, many in flight on one connection: durable, against a bare server that only answers, and one
//! that writes and syncs first.

use super::Settings;
use crate::{
    client::{self, Requests},
    load::Round,
    report::{Bar, Figure, Unit, pick, section},
    serve::{Kind, ServerProcess},
};

const IN_FLIGHT: usize = 256;
const MESSAGE_LEN: usize = 100;

pub(crate) async fn run(settings: &Settings) -> anyhow::Result<()> {
    section("unary: Produce calls with 100 B, 256 in flight on one connection; either bar will do");
    let requests = Requests::list("bench", 1, MESSAGE_LEN);
    let mut rounds: [Vec<Round>; 3] = Default::default();
    for _ in 0..settings.rounds {
        for (kind, rounds) in [Kind::Echo, Kind::Commit, Kind::MiniKafka].into_iter().zip(&mut rounds) {
            let server = ServerProcess::start(kind, &settings.dir)?;
            let mut client = server.connect().await?;
            requests.create_topics(&mut client).await?;
            rounds.push(client::produce_unary(client, &requests, IN_FLIGHT, settings.time).await?);
        }
    }
    let [echo, commit, ours] = &rounds;
    for (limit, what, part) in
        [(echo, "bare tonic, not stored", 0.65), (commit, "bare tonic + group commit", 0.85)]
    {
        let rate = |rounds: &[Round]| pick(rounds, |round| round.per_second);
        Figure::new("unary", Unit::Messages, &rate(ours))
            .limit(what, &rate(limit))
            .bar(Bar::Ratio(part))
            .print();
    }
    for (title, part) in [("p50", 0.5), ("p99", 0.99)] {
        let at = |rounds: &[Round]| pick(rounds, |round| round.latencies.at(part));
        Figure::new(format!("unary: {title}"), Unit::Seconds, &at(ours))
            .limit("bare tonic + group commit", &at(commit))
            .print();
    }
    Ok(())
}
