//! The same load on 1, 16, 256 and 1000 partitions: how many logs a group commit may have to touch.

use minikafka_storage::filesystem::Options;

use super::Settings;
use crate::{
    bare::GroupCommit,
    load::{self, Round},
    logs::{Logs, Payload},
    memory::fresh_dir,
    report::{Bar, Figure, Unit, pick, section},
};

/// Appends in flight, over all partitions: each goes to the next one.
const IN_FLIGHT: usize = 512;
const PARTITIONS: [usize; 4] = [1, 16, 256, 1000];
/// Bytes of a message, and how its size is called.
const SIZES: [(usize, &str); 2] = [(100, "100 B"), (16 << 10, "16 KiB")];

pub(crate) fn run(settings: &Settings) -> anyhow::Result<()> {
    section(
        "matrix: 512 appends in flight over all partitions, fsync before completion, driven by two threads",
    );
    for (message_len, size) in SIZES {
        let payload = Payload::single(message_len);
        let mut bare = Vec::new();
        let mut ours: [Vec<Round>; PARTITIONS.len()] = Default::default();
        for _ in 0..settings.rounds {
            bare.push(measure_bare(settings, &payload)?);
            for (rounds, partitions) in ours.iter_mut().zip(PARTITIONS) {
                rounds.push(measure(settings, partitions, &payload)?);
            }
        }
        let rate = |rounds: &[Round]| pick(rounds, |round| round.per_second);
        let (bare_rate, one) = (rate(&bare), rate(&ours[0]));
        for (rounds, partitions) in ours.iter().zip(PARTITIONS) {
            let name = format!("append {size}, {partitions} partitions");
            Figure::new(&name, Unit::Messages, &rate(rounds)).limit("bare group commit", &bare_rate).print();
            if partitions > 1 {
                let bar = if partitions == 1000 { Bar::Ratio(0.5) } else { Bar::None };
                Figure::new(&name, Unit::Messages, &rate(rounds))
                    .limit("one partition", &one)
                    .bar(bar)
                    .print();
            }
            for (title, part) in [("p50", 0.5), ("p99", 0.99)] {
                let at = |rounds: &[Round]| pick(rounds, |round| round.latencies.at(part));
                Figure::new(format!("{name}: {title}"), Unit::Seconds, &at(rounds))
                    .limit("bare group commit", &at(&bare))
                    .print();
            }
        }
    }
    Ok(())
}

fn measure(settings: &Settings, partitions: usize, payload: &Payload) -> anyhow::Result<Round> {
    let dir = fresh_dir(&settings.dir)?;
    let logs = Logs::open(dir.path(), Options::default(), partitions)?;
    let round = load::crowd(IN_FLIGHT, settings.time, |at, done| logs.append(at, payload, done))?;
    logs.close()?;
    Ok(round)
}

fn measure_bare(settings: &Settings, payload: &Payload) -> anyhow::Result<Round> {
    let dir = fresh_dir(&settings.dir)?;
    let bare = GroupCommit::create(dir.path())?;
    load::crowd(IN_FLIGHT, settings.time, |_, done| bare.append(&payload.bytes, done))
}
