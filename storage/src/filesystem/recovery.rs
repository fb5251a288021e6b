//! Opening a storage: from what is on disk to the [`State`] of each log.
//!
//! First each log by itself: manifest, segments, and the end of the last segment from its last checkpoint on.
//! Then the journal, once for all logs. Only then is it known how far each log was durable, and so whether
//! bytes at its end that are no frame are torn or damaged.
//!
//! What is wrong with one log is no reason not to open the others: it is [left alone](LeftAlone), with its files as
//! opening left them and what the journal has of it, and whoever asks for it is told why.

mod bad;
mod gap;
mod opened;
mod progress;
mod reopen;
mod segments;
mod truncation;

use std::{
    collections::{HashMap, HashSet},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use minikafka_record::Offset;

use self::opened::{Opened, Why};
pub(super) use self::{
    bad::{TORN_SUFFIX, keep_aside},
    progress::Progress,
    segments::{Files, Found, list},
};
use super::{
    Shared,
    directory::Directory,
    durable::{self, NEW_SUFFIX, with_suffix},
    frame::Salt,
    journal::{Aside, LogKey, Replay},
    log::FileLog,
    manifest::Manifest,
    segment::{Segment, SegmentHeader},
};
use crate::{LogId, StorageError};

/// Logs that are opened at the same time, to keep a disk busy that is not in the cache.
const THREADS: usize = 4;
/// With fewer logs, it is not worth a thread.
const LOGS_PER_THREAD: usize = 8;

/// What opening has come to.
pub(super) struct Recovered {
    pub(super) logs: Vec<(LogId, Arc<FileLog>)>,
    /// By directory.
    pub(super) left_alone: HashMap<PathBuf, LeftAlone>,
}

/// A log that could not be opened: no more of it is touched until the storage is opened again. Opening may have come
/// far before it failed, and then has mended or cut the end as it does for every log.
pub(super) struct LeftAlone {
    /// Whose it is, if its manifest says so.
    pub(super) id: Option<LogId>,
    pub(super) why: StorageError,
}
/// Opens all logs.
///
/// # Errors
/// When the journal or the directory of all logs cannot be read, or a format is unknown.
pub(super) fn recover(
    directory: &Directory,
    mut replay: Replay,
    shared: &Arc<Shared>,
) -> Result<Recovered, StorageError> {
    let dirs = directory.log_dirs(&*shared.disk)?;
    let progress = Arc::new(Progress::new(dirs.len()));
    let Read { opened, mut left_alone } = read_all(&dirs, shared, &progress)?;
    let sequence = opened.iter().map(|log| log.manifest.journal_from).max().unwrap_or(0);
    shared.journal_sequence.fetch_max(sequence, Ordering::AcqRel);
    let mut opened: HashMap<LogKey, Opened> = opened.into_iter().map(|log| (log.manifest.key, log)).collect();
    let aside = replay.visit(&*shared.disk, &progress, |sequence, marks, sections| {
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
        let (id, dir) = (log.manifest.id.clone(), log.dir.clone());
        match log.finish(shared) {
            Ok(log) => {
                replay.note(&log);
                logs.push((id, log));
            }
            Err(why) => _ = left_alone.insert(dir.clone(), leave_alone(&dir, Some(id), why, shared)),
        }
    }
    if aside == Aside::NotAll {
        // Not written over then: the next opening tries again.
        shared.journal_kept.store(true, Ordering::Release);
    }
    match (aside, left_alone.is_empty()) {
        (Aside::All, true) => shared.writer.adopt(replay.into_files()),
        (Aside::All, false) => {
            // A log that is left alone may have entries that are only here: in files that speak of a log that is not
            // open. Whose records these are, a damaged manifest does not say.
            let open: HashSet<LogKey> = logs.iter().map(|(_, log)| log.key).collect();
            let (used_again, kept) = replay.split_files(|key| open.contains(key));
            shared.writer.adopt(used_again);
            shared.writer.keep(kept);
        }
        (Aside::NotAll, _) => shared.writer.keep(replay.into_files()),
    }
    Ok(Recovered { logs, left_alone })
}

/// What the directories of logs hold.
#[derive(Default)]
struct Read {
    opened: Vec<Opened>,
    left_alone: HashMap<PathBuf, LeftAlone>,
}

/// Reads what each directory holds by itself.
fn read_all(dirs: &[PathBuf], shared: &Arc<Shared>, progress: &Arc<Progress>) -> Result<Read, StorageError> {
    let next = AtomicUsize::new(0);
    let work = || -> Result<Read, StorageError> {
        let mut read = Read::default();
        while let Some(dir) = dirs.get(next.fetch_add(1, Ordering::Relaxed)) {
            read.add(dir, shared, progress)?;
            progress.log_done();
        }
        Ok(read)
    };
    let helpers = (dirs.len() / LOGS_PER_THREAD).min(THREADS - 1);
    std::thread::scope(|scope| {
        let helpers: Vec<_> = (0..helpers).map(|_| scope.spawn(work)).collect();
        let mut all = work()?;
        for helper in helpers {
            let read = helper.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
            all.opened.extend(read.opened);
            all.left_alone.extend(read.left_alone);
        }
        Ok(all)
    })
}

impl Read {
    fn add(
        &mut self,
        dir: &Path,
        shared: &Arc<Shared>,
        progress: &Arc<Progress>,
    ) -> Result<(), StorageError> {
        let mut id = None;
        let opened = Manifest::load_whole(&*shared.disk, dir).and_then(|found| {
            let Some((manifest, mut sequence)) = found else { return Ok(None) };
            id = Some(manifest.id.clone());
            Opened::open(dir, manifest, &mut sequence, Why::Start, shared, progress).map(Some)
        });
        match opened {
            Ok(Some(opened)) => self.opened.push(opened),
            Ok(None) => tracing::warn!(?dir, "not a log, left alone"),
            // Of a later version, which the whole directory may be.
            Err(error @ StorageError::Format { .. }) => return Err(error),
            Err(why) => _ = self.left_alone.insert(dir.to_owned(), leave_alone(dir, id, why, shared)),
        }
        Ok(())
    }
}

fn leave_alone(dir: &Path, id: Option<LogId>, why: StorageError, shared: &Shared) -> LeftAlone {
    let log = id.as_ref().map(ToString::to_string);
    tracing::error!(?dir, log, error = %why, "the log cannot be opened, it is left alone");
    shared.journal_kept.store(true, Ordering::Release);
    LeftAlone { id, why }
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
    let Some((manifest, mut sequence)) = Manifest::load(disk, dir)? else {
        return Err(StorageError::NotFound { log: id.to_string() });
    };
    let progress = Arc::new(Progress::new(1));
    Opened::open(dir, manifest, &mut sequence, Why::Start, shared, &progress)?.finish(shared)
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
