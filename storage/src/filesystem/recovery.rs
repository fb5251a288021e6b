//! Opening a storage: from what is on disk to the [`State`] of each log.
//!
//! First each log by itself: manifest, segments, and the end of the last segment from its last checkpoint on.
//! Then the journal, once for all logs. Only then is it known how far each log was durable, and so whether
//! bytes at its end that are no frame are torn or damaged.

mod opened;
mod reopen;
mod segments;

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use minikafka_record::Offset;

use self::opened::Opened;
pub(super) use self::opened::TORN_SUFFIX;
pub(super) use self::segments::{Found, list};
use super::{
    Shared,
    directory::Directory,
    durable::{self, NEW_SUFFIX, with_suffix},
    frame::Salt,
    journal::{LogKey, Replay},
    log::FileLog,
    manifest::Manifest,
    segment::{Segment, SegmentHeader},
};
use crate::{LogId, StorageError};

/// Logs that are opened at the same time, to keep a disk busy that is not in the cache.
const THREADS: usize = 4;
/// With fewer logs, it is not worth a thread.
const LOGS_PER_THREAD: usize = 8;
/// When opening lasts, it says so this often.
const REPORT_PAUSE: Duration = Duration::from_secs(2);

/// Opens all logs.
///
/// # Errors
/// When the disk fails, or a format is unknown.
pub(super) fn recover(
    directory: &Directory,
    mut replay: Replay,
    shared: &Arc<Shared>,
) -> Result<Vec<(LogId, Arc<FileLog>)>, StorageError> {
    let dirs = directory.log_dirs(&*shared.disk)?;
    let opened = open_all(&dirs, shared)?;
    let sequence = opened.iter().map(|log| log.manifest.journal_from).max().unwrap_or(0);
    shared.journal_sequence.fetch_max(sequence, Ordering::AcqRel);
    let mut opened: HashMap<LogKey, Opened> = opened.into_iter().map(|log| (log.manifest.key, log)).collect();
    replay.visit(|sequence, marks, sections| {
        for mark in marks {
            if let Some(log) = opened.get_mut(&mark.key)
                // The mark speaks of the record before.
                && sequence > log.manifest.journal_from
            {
                log.mark(mark.index, mark.offset);
            }
        }
        for (key, entries) in sections {
            if let Some(log) = opened.get_mut(&key)
                && sequence >= log.manifest.journal_from
            {
                entries.into_iter().for_each(|entry| log.offer(entry));
            }
        }
        Ok(())
    })?;
    let mut logs = Vec::new();
    for log in opened.into_values() {
        let id = log.manifest.id.clone();
        let log = log.finish(shared)?;
        replay.note(&log);
        logs.push((id, log));
    }
    // A log that is left alone may have entries that are only here.
    match shared.journal_kept.load(Ordering::Acquire) {
        true => shared.writer.keep(replay.into_files()),
        false => shared.writer.adopt(replay.into_files()),
    }
    Ok(logs)
}

/// Opens what each directory holds by itself. What is no log, or whose manifest is damaged, is left alone.
fn open_all(dirs: &[PathBuf], shared: &Arc<Shared>) -> Result<Vec<Opened>, StorageError> {
    let next = AtomicUsize::new(0);
    let reported = Mutex::new(Instant::now());
    let work = || -> Result<Vec<Opened>, StorageError> {
        let mut opened = Vec::new();
        while let Some(dir) = dirs.get(next.fetch_add(1, Ordering::Relaxed)) {
            opened.extend(open(dir, shared)?);
            let mut reported = reported.lock().unwrap_or_else(PoisonError::into_inner);
            if reported.elapsed() >= REPORT_PAUSE {
                *reported = Instant::now();
                let done = next.load(Ordering::Relaxed).min(dirs.len());
                tracing::info!(done, of = dirs.len(), "opening logs");
            }
        }
        Ok(opened)
    };
    let helpers = (dirs.len() / LOGS_PER_THREAD).min(THREADS - 1);
    std::thread::scope(|scope| {
        let helpers: Vec<_> = (0..helpers).map(|_| scope.spawn(work)).collect();
        let mut opened = work()?;
        for helper in helpers {
            opened.extend(helper.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?);
        }
        Ok(opened)
    })
}

fn open(dir: &Path, shared: &Arc<Shared>) -> Result<Option<Opened>, StorageError> {
    match Manifest::load(&*shared.disk, dir) {
        Ok(Some((manifest, sequence))) => match Opened::open(dir, manifest, sequence, shared) {
            Err(error @ StorageError::Damaged { .. }) => {
                tracing::error!(?dir, %error, "the log cannot be opened, it is left alone");
                shared.journal_kept.store(true, Ordering::Release);
                Ok(None)
            }
            opened => opened.map(Some),
        },
        Ok(None) => {
            tracing::warn!(?dir, "not a log, left alone");
            Ok(None)
        }
        Err(error @ StorageError::Damaged { .. }) => {
            tracing::error!(?dir, %error, "nobody knows whose log this is, it is left alone");
            shared.journal_kept.store(true, Ordering::Release);
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Creates a log aside and gives it its name when it is whole. Leaves nothing behind when it fails.
pub(super) fn create(id: &LogId, dir: &Path, shared: &Arc<Shared>) -> Result<Arc<FileLog>, StorageError> {
    let aside = with_suffix(dir, NEW_SUFFIX);
    let disk = &*shared.disk;
    create_aside(id, &aside, shared).and_then(|()| durable::publish_dir(disk, &aside, dir)).inspect_err(
        |_| {
            // If this fails, too, the next start sweeps it away.
            let _ = disk.remove_dir_all(&aside);
        },
    )?;
    let Some((manifest, sequence)) = Manifest::load(disk, dir)? else {
        return Err(StorageError::NotFound { log: id.to_string() });
    };
    Opened::open(dir, manifest, sequence, shared)?.finish(shared)
}

fn create_aside(id: &LogId, aside: &Path, shared: &Arc<Shared>) -> Result<(), StorageError> {
    match shared.disk.remove_dir_all(aside) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(StorageError::io("removing", aside, error));
        }
        _ => {}
    }
    durable::create_dir(&*shared.disk, aside)?;
    Manifest::new(id.clone())?.create(&*shared.disk, aside)?;
    // With its first segment, so that the first append need not wait for one. Opened anew under the final
    // name.
    let salt = Salt::random()?;
    let header =
        SegmentHeader { generation: 0, base_index: 0, base_offset: Offset::ZERO, epoch_before: 0, salt };
    let segment = Segment::create(aside, header, shared)?;
    shared.handles.forget(segment.key);
    Ok(())
}
