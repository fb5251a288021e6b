//! Opening after a kill -9: a child process appends until it is killed, then its logs are opened, with the page cache
//! as the child left it, and without.

use std::{
    fs::File,
    io::Write as _,
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use anyhow::ensure;
use minikafka_storage::filesystem::{Options, SyncPolicy};
use rustix::fs::{Advice, fadvise, syncfs};

use super::Settings;
use crate::{
    child::{Child, end_with_parent},
    load,
    logs::{Logs, Payload},
    report::{Bar, Figure, Unit, section},
};

/// Bytes of an append to one large log.
const BATCH_BYTES: usize = 256 << 10;
/// Bytes of an append to one of many logs.
const SMALL_BYTES: usize = 16 << 10;
const RECORD_LEN: usize = 1024;
const PARTITIONS: usize = 1000;
/// Bytes of appends under way.
const IN_FLIGHT_BYTES: usize = 8 << 20;

/// Whether the files are in memory when they are opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PageCache {
    Warm,
    Cold,
}

pub(crate) fn run(settings: &Settings) -> anyhow::Result<()> {
    section(
        "recovery: FileStorage::open and every log, after kill -9 of a process that was appending (one round)",
    );
    for (partitions, bytes, bar) in
        [(1, settings.bytes(), 1.0), (PARTITIONS, settings.bytes().min(256 << 20), 2.0)]
    {
        for cache in [PageCache::Warm, PageCache::Cold] {
            let (seconds, messages) = measure(settings, partitions, bytes, cache)?;
            let name = format!(
                "open {:.2} GiB ({messages} messages) in {partitions} logs, {}",
                bytes as f64 / f64::from(1 << 30),
                match cache {
                    PageCache::Warm => "warm",
                    PageCache::Cold => "cold",
                }
            );
            Figure::new(name, Unit::Seconds, &[seconds]).bar(Bar::AtMost(bar)).print();
        }
    }
    Ok(())
}

/// Seconds, and messages that were found.
fn measure(
    settings: &Settings,
    partitions: usize,
    bytes: u64,
    cache: PageCache,
) -> anyhow::Result<(f64, u64)> {
    let dir = tempfile::tempdir_in(&settings.dir)?;
    let path = dir.path().to_str().unwrap_or_default().to_owned();
    let mut child = Child::start(&[
        "fill",
        "--data",
        &path,
        "--logs",
        &partitions.to_string(),
        "--bytes",
        &bytes.to_string(),
    ])?;
    let acknowledged: u64 = child.line()?.parse()?;
    child.kill()?;
    if cache == PageCache::Cold {
        forget_pages(dir.path())?;
    }
    let started = Instant::now();
    let logs = Logs::open(dir.path(), Options::default(), partitions)?;
    let seconds = started.elapsed().as_secs_f64();
    let found = logs.messages();
    ensure!(found >= acknowledged, "{acknowledged} messages were acknowledged, {found} are there");
    Ok((seconds, found))
}

/// Takes the files out of the page cache. Only what is on the disk can go.
fn forget_pages(dir: &Path) -> anyhow::Result<()> {
    syncfs(File::open(dir)?)?;
    for path in files(dir)? {
        fadvise(File::open(path)?, 0, None, Advice::DontNeed)?;
    }
    Ok(())
}

/// All files below a directory.
fn files(dir: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let (mut files, mut dirs) = (Vec::new(), vec![dir.to_owned()]);
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(dir)? {
            let entry = entry?;
            match entry.file_type()? {
                kind if kind.is_dir() => dirs.push(entry.path()),
                kind if kind.is_file() => files.push(entry.path()),
                _ => {}
            }
        }
    }
    Ok(files)
}

/// The child: appends `bytes` to its logs, prints how many messages are durable, and goes on until it is killed.
pub(crate) fn fill(dir: &Path, partitions: usize, bytes: u64) -> anyhow::Result<()> {
    end_with_parent();
    let logs = Logs::open(dir, Options { sync: SyncPolicy::Always, ..Options::default() }, partitions)?;
    let payload = Payload::batch(if partitions == 1 { BATCH_BYTES } else { SMALL_BYTES }, RECORD_LEN);
    let enough = bytes.div_ceil(payload.bytes.len() as u64) as usize;
    let durable = AtomicUsize::new(0);
    let durable: &'static AtomicUsize = Box::leak(Box::new(durable));
    let forever = Duration::from_secs(3600);
    let records = payload.records as usize;
    load::crowd(IN_FLIGHT_BYTES / payload.bytes.len(), forever, |at, done| {
        logs.append(
            at,
            &payload,
            Box::new(move |outcome| {
                if outcome.is_ok() && durable.fetch_add(1, Ordering::Relaxed) + 1 == enough {
                    println!("{}", enough * records);
                    let _ = std::io::stdout().flush();
                }
                done(outcome);
            }),
        );
    })?;
    Ok(())
}
