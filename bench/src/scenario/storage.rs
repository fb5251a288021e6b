//! Durable appends of 1 KiB from producers with one in flight each, a thread each, against a bare group-commit loop
//! that is driven by the same threads; and over 1000 partitions, against the same load on one.

use minikafka_storage::filesystem::Options;

use super::Settings;
use crate::{
    bare::GroupCommit,
    load::{self, Round},
    logs::{Logs, Payload},
    memory::fresh_dir,
    report::{Bar, Figure, Unit, pick, section},
};

const MESSAGE_LEN: usize = 1024;
/// Threads that append.
const PRODUCERS: [usize; 3] = [1, 64, 512];
const PARTITIONS: usize = 1000;

pub(crate) fn run(settings: &Settings) -> anyhow::Result<()> {
    section("storage: appends of 1 KiB, fsync before completion, each producer a thread with one in flight");
    let payload = Payload::single(MESSAGE_LEN);
    for producers in PRODUCERS {
        let (mut ours, mut bare, mut many) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..settings.rounds {
            bare.push(measure_bare(settings, producers, &payload)?);
            ours.push(measure(settings, producers, 1, &payload)?);
            if producers > 1 {
                many.push(measure(settings, producers, PARTITIONS, &payload)?);
            }
        }
        let name = format!("append 1 KiB, fsync, {producers} producers");
        let bar = if producers > 1 { Bar::Ratio(0.8) } else { Bar::None };
        let rate = |rounds: &[Round]| pick(rounds, |round| round.per_second);
        Figure::new(&name, Unit::Messages, &rate(&ours))
            .limit("bare group commit", &rate(&bare))
            .bar(bar)
            .print();
        for (title, part) in [("p50", 0.5), ("p99", 0.99)] {
            let at = |rounds: &[Round]| pick(rounds, |round| round.latencies.at(part));
            Figure::new(format!("{name}: {title}"), Unit::Seconds, &at(&ours))
                .limit("bare group commit", &at(&bare))
                .print();
        }
        if !many.is_empty() {
            Figure::new(format!("{name}, {PARTITIONS} partitions"), Unit::Messages, &rate(&many))
                .limit("one partition", &rate(&ours))
                .bar(Bar::Ratio(0.5))
                .print();
        }
    }
    Ok(())
}

fn measure(
    settings: &Settings,
    producers: usize,
    partitions: usize,
    payload: &Payload,
) -> anyhow::Result<Round> {
    let dir = fresh_dir(&settings.dir)?;
    let logs = Logs::open(dir.path(), Options::default(), partitions)?;
    let round = load::threads(producers, settings.time, |at, done| logs.append(at, payload, done))?;
    logs.close()?;
    Ok(round)
}

fn measure_bare(settings: &Settings, producers: usize, payload: &Payload) -> anyhow::Result<Round> {
    let dir = fresh_dir(&settings.dir)?;
    let bare = GroupCommit::create(dir.path())?;
    load::threads(producers, settings.time, |_, done| bare.append(&payload.bytes, done))
}
