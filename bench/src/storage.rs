//! Durable appends: 1 KiB from many producers with one in flight each, against a bare loop that does the same with a
//! file, a buffer and fdatasync.

use std::{
    fs::File,
    io::Write,
    path::Path,
    sync::{Arc, Condvar, Mutex, mpsc},
    time::{Duration, Instant},
};

use minikafka_record::{BatchBuilder, Offset};
use minikafka_storage::{
    Entry, EntryKind, Log, LogId, Storage, TopicId,
    filesystem::{FileStorage, Options, SyncPolicy},
};

use crate::report;

const MESSAGE_LEN: usize = 1024;

/// How a round went.
struct Round {
    per_second: f64,
    p50: f64,
    p99: f64,
}

pub(crate) fn run(dir: &Path, rounds: usize, time: Duration) -> anyhow::Result<()> {
    for producers in [1, 64, 512] {
        let (mut ours, mut limit) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            limit.push(bare(dir, producers, time)?);
            ours.push(storage(dir, producers, time)?);
        }
        let pick = |rounds: &[Round], part: fn(&Round) -> f64| rounds.iter().map(part).collect::<Vec<_>>();
        let name = format!("append 1 KiB, fsync, {producers} producers");
        report::compare(&name, &pick(&ours, |r| r.per_second), &pick(&limit, |r| r.per_second));
        report::compare_latency(&format!("{name}: p50"), &pick(&ours, |r| r.p50), &pick(&limit, |r| r.p50));
        report::compare_latency(&format!("{name}: p99"), &pick(&ours, |r| r.p99), &pick(&limit, |r| r.p99));
    }
    Ok(())
}

/// Lets producers work for some time. Each calls `append` with a way to be told, and waits for that.
fn drive(producers: usize, time: Duration, append: impl Fn(mpsc::SyncSender<()>) + Sync) -> Round {
    let started = Instant::now();
    let mut latencies: Vec<Duration> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..producers)
            .map(|_| {
                scope.spawn(|| {
                    let (done, wait) = mpsc::sync_channel(1);
                    let mut latencies = Vec::new();
                    while started.elapsed() < time {
                        let sent = Instant::now();
                        append(done.clone());
                        wait.recv().expect("every append is answered");
                        latencies.push(sent.elapsed());
                    }
                    latencies
                })
            })
            .collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("a producer does not panic")).collect()
    });
    let per_second = report::per_second(latencies.len() as u64, started.elapsed());
    let p50 = report::percentile(&mut latencies, 0.5);
    let p99 = report::percentile(&mut latencies, 0.99);
    Round { per_second, p50, p99 }
}

fn storage(dir: &Path, producers: usize, time: Duration) -> anyhow::Result<Round> {
    let dir = tempfile::tempdir_in(dir)?;
    let storage = FileStorage::open(dir.path(), Options { sync: SyncPolicy::Always, ..Options::default() })?;
    let log = storage.open(&LogId { topic: "bench".into(), partition: 0, topic_id: TopicId::random()? })?;
    // The log has one owner; this stands for it.
    let owner = Mutex::new(());
    let value = [b'x'; MESSAGE_LEN];
    let round = drive(producers, time, |done| {
        let owner = owner.lock().expect("nobody panics with it");
        append(&*log, &value, done);
        drop(owner);
    });
    storage.close()?;
    Ok(round)
}

fn append(log: &dyn Log, value: &[u8], done: mpsc::SyncSender<()>) {
    let bounds = log.bounds();
    let mut batch = BatchBuilder::with_capacity(value.len() + 32);
    batch.push(0, None, Some(value), &[]);
    let entry = Entry {
        index: bounds.next_index,
        epoch: 0,
        base_offset: bounds.end,
        record_count: 1,
        append_time: 0,
        kind: EntryKind::Data,
        payload: batch.finish(Offset::ZERO, 0),
    };
    log.append(
        vec![entry],
        Box::new(move |outcome| {
            if outcome.is_ok() {
                _ = done.try_send(());
            }
        }),
    );
}

/// What waits for the bare loop.
#[derive(Default)]
struct Waiting {
    bytes: Vec<u8>,
    producers: Vec<mpsc::SyncSender<()>>,
    stop: bool,
}

/// The least that group commit takes: a buffer, write, fdatasync, tell everybody.
fn bare(dir: &Path, producers: usize, time: Duration) -> anyhow::Result<Round> {
    let dir = tempfile::tempdir_in(dir)?;
    let mut file = File::create(dir.path().join("bare"))?;
    let shared = Arc::new((Mutex::new(Waiting::default()), Condvar::new()));
    let committer = std::thread::spawn({
        let shared = shared.clone();
        move || -> std::io::Result<()> {
            let (waiting, ready) = &*shared;
            loop {
                let mut guard = waiting.lock().expect("nobody panics with it");
                while guard.producers.is_empty() {
                    if guard.stop {
                        return Ok(());
                    }
                    guard = ready.wait(guard).expect("nobody panics with it");
                }
                let Waiting { bytes, producers, .. } = std::mem::take(&mut *guard);
                drop(guard);
                file.write_all(&bytes)?;
                file.sync_data()?;
                producers.into_iter().for_each(|producer| _ = producer.try_send(()));
            }
        }
    });
    let (waiting, ready) = &*shared;
    let round = drive(producers, time, |done| {
        let mut guard = waiting.lock().expect("nobody panics with it");
        guard.bytes.extend_from_slice(&[b'x'; MESSAGE_LEN]);
        guard.producers.push(done);
        drop(guard);
        ready.notify_one();
    });
    waiting.lock().expect("nobody panics with it").stop = true;
    ready.notify_one();
    committer.join().expect("the committer does not panic")?;
    Ok(round)
}
