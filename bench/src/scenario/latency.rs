//! Latency at a fixed rate, counted from when a message was due: durable through gRPC, against a bare loop that appends
//! and syncs; and of the storage alone while other logs write so much that segments roll all the time.

use std::{
    fs::File,
    io::Write,
    sync::{
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use minikafka_storage::filesystem::Options;

use super::Settings;
use crate::{
    client::{self, Requests},
    latencies::Latencies,
    logs::{Logs, Payload},
    memory::fresh_dir,
    pacer::{self, Schedule},
    report::{Bar, Figure, Unit, pick, section},
    serve::{Kind, ServerProcess},
};

const PER_SECOND: u32 = 1000;
const MESSAGE_LEN: usize = 1024;
/// Rounds are longer than elsewhere: so slow a rate gives few samples.
const STRETCH: u32 = 2;

/// Segments that roll several times a second under the background load.
const SMALL_SEGMENT_BYTES: u64 = 16 << 20;
/// Segments that do not roll in a round.
const LARGE_SEGMENT_BYTES: u64 = 64 << 30;
/// The background load: as many logs take batches of so many bytes in turn.
const BACKGROUND_LOGS: usize = 4;
const BACKGROUND_BYTES: usize = 64 << 10;
const BACKGROUND_PER_SECOND: u32 = 1600;

pub(crate) async fn run(settings: &Settings) -> anyhow::Result<()> {
    section(
        "latency: 1 KiB, 1000 messages each second whatever comes back when, counted from when each was due",
    );
    let (mut ours, mut tonic, mut bare) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..settings.rounds {
        let in_directory = settings.clone();
        bare.push(tokio::task::spawn_blocking(move || measure_bare(&in_directory)).await??);
        tonic.push(measure(settings, Kind::Commit).await?);
        ours.push(measure(settings, Kind::MiniKafka).await?);
    }
    for (title, part, bar) in
        [("p50", 0.5, Bar::AtMost(0.32e-3)), ("p99", 0.99, Bar::LimitPlus(1e-3)), ("p99.9", 0.999, Bar::None)]
    {
        let at = |rounds: &[Latencies]| pick(rounds, |latencies| latencies.at(part));
        let name = format!("produce stream, 1000/s: {title}");
        Figure::new(&name, Unit::Seconds, &at(&ours))
            .limit("append + fdatasync", &at(&bare))
            .bar(bar)
            .print();
        Figure::new(&name, Unit::Seconds, &at(&ours)).limit("bare tonic + group commit", &at(&tonic)).print();
    }
    let in_directory = settings.clone();
    tokio::task::spawn_blocking(move || rolls(&in_directory)).await?
}

async fn measure(settings: &Settings, kind: Kind) -> anyhow::Result<Latencies> {
    let server = ServerProcess::start(kind, &settings.dir)?;
    let requests = Requests::list("bench", 1, MESSAGE_LEN);
    let time = settings.time * STRETCH;
    let schedule = || Schedule::starting_now(PER_SECOND, time);
    client::produce_paced(server.connect().await?, move |id| requests.next(id), schedule).await
}

fn measure_bare(settings: &Settings) -> anyhow::Result<Latencies> {
    let dir = fresh_dir(&settings.dir)?;
    let mut file = File::create(dir.path().join("bare"))?;
    let mut latencies = Latencies::new();
    let mut outcome = Ok(());
    let schedule = Schedule::starting_now(PER_SECOND, settings.time * STRETCH);
    pacer::run(schedule, |number| {
        outcome = file.write_all(&[b'x'; MESSAGE_LEN]).and_then(|()| file.sync_data());
        latencies.record_since(schedule.due(number));
        outcome.is_ok()
    });
    outcome?;
    Ok(latencies)
}

/// All rounds of a side are one histogram: what is rare needs many samples.
fn rolls(settings: &Settings) -> anyhow::Result<()> {
    let (mut rolling, mut steady) = (Latencies::new(), Latencies::new());
    for _ in 0..settings.rounds {
        steady.add(&measure_beside_load(settings, LARGE_SEGMENT_BYTES)?);
        rolling.add(&measure_beside_load(settings, SMALL_SEGMENT_BYTES)?);
    }
    let at = |part| ([rolling.at(part)], [steady.at(part)]);
    let name = "storage, 1000/s beside 100 MB/s, segments of 16 MiB roll";
    for (title, part) in [("p50", 0.5), ("p99.9", 0.999)] {
        let (rolling, steady) = at(part);
        Figure::new(format!("{name}: {title}"), Unit::Seconds, &rolling).limit("none rolls", &steady).print();
    }
    let over_median = |latencies: &Latencies| [latencies.at(0.999) / latencies.at(0.5)];
    Figure::new(format!("{name}: p99.9 over p50"), Unit::Times, &over_median(&rolling))
        .limit("none rolls", &over_median(&steady))
        .print();
    Ok(())
}

/// Latencies of small appends to one log while others take a steady load of large ones.
fn measure_beside_load(settings: &Settings, segment_bytes: u64) -> anyhow::Result<Latencies> {
    let dir = fresh_dir(&settings.dir)?;
    let options = Options { segment_bytes, ..Options::default() };
    let logs = Logs::open(dir.path(), options, 1 + BACKGROUND_LOGS)?;
    let time = settings.time * STRETCH;
    let (small, large) = (Payload::single(MESSAGE_LEN), Payload::batch(BACKGROUND_BYTES, MESSAGE_LEN));
    let is_over = AtomicBool::new(false);
    let (answers, answered) = mpsc::channel();
    let latencies: anyhow::Result<Latencies> = thread::scope(|scope| {
        scope.spawn(|| {
            let hour = Schedule::starting_now(BACKGROUND_PER_SECOND, Duration::from_secs(3600));
            pacer::run(hour, |number| {
                let log = 1 + number as usize % BACKGROUND_LOGS;
                logs.append(log, &large, Box::new(|_| ()));
                !is_over.load(Ordering::Relaxed)
            });
        });
        let schedule = Schedule::starting_now(PER_SECOND, time);
        pacer::run(schedule, |number| {
            let due = schedule.due(number);
            let answers = answers.clone();
            // The clock is read where the append completes, not where that is noticed.
            let done = move |outcome: Result<(), String>| _ = answers.send(outcome.map(|()| due.elapsed()));
            logs.append(0, &small, Box::new(done));
            true
        });
        drop(answers);
        let times: Result<Latencies, String> = answered.into_iter().collect();
        is_over.store(true, Ordering::Relaxed);
        times.map_err(anyhow::Error::msg)
    });
    logs.close()?;
    latencies
}
