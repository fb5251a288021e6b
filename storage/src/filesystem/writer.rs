//! The writer: the thread that writes journaled entries to segments, behind the flusher's back.
//!
//! It has these occasions, and sleeps otherwise:
//!
//! - much waits for the flusher, which is busy with a sync: it is written to its segment in the meantime, and
//!   the flusher's next round syncs it;
//! - much is durable in the journal and only in memory otherwise: it is written to the segments, and those of
//!   them that have grown much are synced;
//! - damage has been found in a log: that is stored, so that a restart knows of it;
//! - a log's last segment is full: it is sealed and the next one begun, so that the flusher need not;
//! - a file of the journal is full: everything in it is written and synced, log by log, and the file is free
//!   again. That is a checkpoint. The flusher goes on with the next file meanwhile.
//!
//! What cannot be done now, because the disk is full, is tried again a little later.

use std::{
    collections::VecDeque,
    io,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use super::{
    Shared, SyncPolicy,
    crash::Watch,
    journal::JournalFile,
    log::{FileLog, Files},
    state::State,
    write::{Rolling, Unsynced, WriteError},
};
use crate::{JournalStats, StorageError};

/// Bytes that are journaled and not written, over all logs, at which they are written.
const BEHIND_BYTES: i64 = 4 * 1024 * 1024;
/// Bytes of one log at which that log is written, however little there is of others: large enough for one
/// call to write much, small enough not to keep the flusher from its processor for long.
const LOG_BEHIND_BYTES: u64 = 512 * 1024;
/// At so many, the flusher helps: after each of its rounds it writes what the logs of the round have.
const BEHIND_BYTES_MUCH: i64 = 4 * BEHIND_BYTES;
/// At so many, nothing more is journaled until the writer has caught up: bounds the memory.
const BEHIND_BYTES_MAX: i64 = 8 * BEHIND_BYTES;
/// Times [`early_bytes`](super::Options::early_bytes) that may be written to a log and not synced: the sync of all
/// that a file of the journal has would take the disk for a tenth of a second, and everybody would wait for that.
const PIECES_UNSYNCED: u64 = 2;
/// Files that are kept as they were found for which the others still have their number. Each start may add to them while
/// a log cannot be opened; with more than these there are fewer files, and none at last, which costs syncs and no disk.
const KEPT_FILES_FREE: usize = 9;
/// How much the writer lets others go first: somebody waits for the flusher and for the doors, and nobody for
/// the writer until it is very far behind.
const NICENESS: i32 = 10;
/// After a full disk: space is to be used soon after it has returned.
const RETRY: Duration = Duration::from_millis(500);

/// What the flusher and the writer share.
#[derive(Default)]
pub(super) struct WriterQueue {
    work: Mutex<Work>,
    ready: Condvar,
    /// Bytes that are journaled and not written, over all logs. Below zero for a moment when they are written
    /// before they are counted.
    behind_bytes: AtomicI64,
}

/// Logs that are news to the writer.
#[derive(Default)]
pub(super) struct Behind {
    logs: Vec<Arc<FileLog>>,
    heavy: Vec<Arc<FileLog>>,
}

impl Behind {
    /// Takes note of what a log has in the journal only.
    pub(super) fn note(&mut self, log: &Arc<FileLog>, state: &mut State, bytes: u64) {
        if !std::mem::replace(&mut state.behind, true) {
            self.logs.push(log.clone());
        }
        let before = state.behind_bytes - bytes;
        if before / LOG_BEHIND_BYTES < state.behind_bytes / LOG_BEHIND_BYTES {
            self.heavy.push(log.clone());
        }
    }
}

#[derive(Default)]
struct Work {
    /// Logs with something to write or to store. Each is in it at most once.
    logs: Vec<Arc<FileLog>>,
    /// Those of them that have much to write.
    heavy: Vec<Arc<FileLog>>,
    /// Those for which much waits, although nothing of it is durable yet.
    early: Vec<Arc<FileLog>>,
    /// Files to be emptied, oldest first.
    full: VecDeque<JournalFile>,
    /// Files to be written over.
    free: Vec<JournalFile>,
    /// Files that cannot be emptied, because of logs that have failed.
    pinned: Vec<JournalFile>,
    /// Files that are kept as they were found, for logs that could not be opened.
    kept: Vec<JournalFile>,
    /// How many files there ever were, and how many there are beside the pinned ones.
    file_numbers: usize,
    files: usize,
    /// Something is not to wait until there is much.
    urgent: bool,
    closed: bool,
}

impl WriterQueue {
    /// So many bytes more are only in the journal.
    pub(super) fn push_behind(&self, behind: Behind, bytes: u64) {
        let bytes = bytes as i64;
        let before = self.behind_bytes.fetch_add(bytes, Ordering::Relaxed);
        let is_much = before + bytes >= BEHIND_BYTES || !behind.heavy.is_empty();
        if !behind.logs.is_empty() || !behind.heavy.is_empty() {
            let mut work = self.lock();
            if work.closed {
                return;
            }
            work.logs.extend(behind.logs);
            work.heavy.extend(behind.heavy);
        }
        if is_much {
            self.ready.notify_one();
        }
    }

    /// Much waits for the flusher: the writer can begin to write it.
    pub(super) fn push_early(&self, log: Arc<FileLog>) {
        let mut work = self.lock();
        if work.closed {
            return;
        }
        work.early.push(log);
        drop(work);
        self.ready.notify_one();
    }

    /// A log wants to be looked after now.
    pub(super) fn push_urgent(&self, log: Option<Arc<FileLog>>) {
        let mut work = self.lock();
        if work.closed {
            return;
        }
        work.logs.extend(log);
        work.urgent = true;
        drop(work);
        self.ready.notify_one();
    }

    /// So many bytes are written.
    pub(super) fn wrote(&self, bytes: u64) {
        self.behind_bytes.fetch_sub(bytes as i64, Ordering::Relaxed);
    }

    /// Whether so much is behind that the writer needs help.
    pub(super) fn needs_help(&self) -> bool {
        self.behind_bytes.load(Ordering::Relaxed) >= BEHIND_BYTES_MUCH
    }

    /// Whether so much is behind that nothing more may be journaled.
    pub(super) fn is_overloaded(&self) -> bool {
        self.behind_bytes.load(Ordering::Relaxed) >= BEHIND_BYTES_MAX
    }

    /// Hands over a file of the journal to be emptied.
    pub(super) fn push_full(&self, file: JournalFile) {
        self.lock().full.push_back(file);
        self.ready.notify_one();
    }

    /// Takes files that were there when the storage was opened.
    pub(super) fn adopt(&self, files: Vec<JournalFile>) {
        let mut work = self.lock();
        work.files += files.len();
        let numbers = files.iter().map(|file| file.number + 1).max().unwrap_or(0);
        work.file_numbers = work.file_numbers.max(numbers);
        work.full.extend(files);
    }

    /// Keeps files that were there when the storage was opened, for those who cannot read them yet.
    pub(super) fn keep(&self, files: Vec<JournalFile>) {
        let mut work = self.lock();
        let numbers = files.iter().map(|file| file.number + 1).max().unwrap_or(0);
        work.file_numbers = work.file_numbers.max(numbers);
        work.kept.extend(files);
        if work.kept.len() > KEPT_FILES_FREE {
            let files = work.kept.len();
            tracing::warn!(
                files,
                "many files of the journal are kept for logs that cannot be opened: appends take longer"
            );
        }
    }

    /// A log that had failed has what it needs of the journal: files that were pinned for it can be emptied.
    pub(super) fn unpin(&self) {
        let mut work = self.lock();
        let pinned = std::mem::take(&mut work.pinned);
        work.files += pinned.iter().filter(|file| !file.is_spoiled).count();
        work.full.extend(pinned);
        drop(work);
        self.ready.notify_one();
    }

    /// Hands over a file that is not to be written any more, because the disk has failed: it is emptied and goes.
    pub(super) fn push_spoiled(&self, mut file: JournalFile) {
        file.is_spoiled = true;
        let mut work = self.lock();
        work.files -= 1;
        work.full.push_back(file);
        drop(work);
        self.ready.notify_one();
    }

    /// A file that may be written over; none any more once there is nobody to empty it.
    pub(super) fn take_free(&self) -> Option<JournalFile> {
        let mut work = self.lock();
        if work.closed { None } else { work.free.pop() }
    }

    /// The number of another file, unless there are `max`, or too many are kept, or nobody is there to empty it.
    pub(super) fn new_file(&self, max: usize) -> Option<usize> {
        let mut work = self.lock();
        if work.closed || work.files + work.kept.len().saturating_sub(KEPT_FILES_FREE) >= max {
            return None;
        }
        work.files += 1;
        work.file_numbers += 1;
        Some(work.file_numbers - 1)
    }

    /// The file could not be made.
    pub(super) fn no_new_file(&self) {
        self.lock().files -= 1;
    }

    /// How much there is to do.
    pub(super) fn journal_stats(&self) -> JournalStats {
        let work = self.lock();
        JournalStats {
            behind_bytes: self.behind_bytes.load(Ordering::Relaxed).max(0) as u64,
            full_files: work.full.len() as u64,
            pinned_files: work.pinned.len() as u64,
            failed: false,
        }
    }

    /// Takes nothing more, and ends once it is done with what it does.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.ready.notify_one();
    }

    /// There is no writer any more. Logs keep the queue; it must not keep them. Files of the journal stay counted:
    /// when the writer has panicked the flusher may be in a round, and no file is to get the number of one that is
    /// there.
    pub(super) fn end(&self) {
        let mut work = self.lock();
        let (files, file_numbers) = (work.files, work.file_numbers);
        *work = Work { files, file_numbers, closed: true, ..Work::default() };
        drop(work);
        self.ready.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Work> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for something to do; `None` when it is to end.
    fn wait(&self, retry_at: Option<Instant>) -> Option<Turn> {
        let mut work = self.lock();
        loop {
            if work.closed {
                return None;
            }
            let is_held_up = retry_at.is_some_and(|at| Instant::now() < at);
            let is_much = self.behind_bytes.load(Ordering::Relaxed) >= BEHIND_BYTES;
            if !is_held_up && (!work.full.is_empty() || work.urgent || is_much || retry_at.is_some()) {
                work.urgent = false;
                work.heavy.clear();
                let (logs, early) = (std::mem::take(&mut work.logs), std::mem::take(&mut work.early));
                return Some(Turn { logs, early, full: work.full.pop_front(), ..Turn::default() });
            }
            // What is written early never ends while much is appended; it must not keep the rest from its turn.
            let heavy = if is_held_up { Vec::new() } else { std::mem::take(&mut work.heavy) };
            if !heavy.is_empty() || !work.early.is_empty() {
                return Some(Turn { heavy, early: std::mem::take(&mut work.early), ..Turn::default() });
            }
            work = match retry_at {
                None => self.ready.wait(work).unwrap_or_else(PoisonError::into_inner),
                Some(at) => {
                    let left = at.saturating_duration_since(Instant::now());
                    self.ready.wait_timeout(work, left).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }
}

/// Starts the thread.
pub(super) fn spawn(shared: Arc<Shared>, watch: Watch) -> io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name("writer".to_owned()).spawn(move || {
        // The last thing to go: nothing is locked any more then.
        let _watch = watch;
        // On Linux this is the thread's own. Where it is refused, the writer is as important as the others.
        let _ = rustix::process::nice(NICENESS);
        run(&shared);
        shared.writer.end();
    })
}

/// What the writer does at a time.
#[derive(Default)]
struct Turn {
    logs: Vec<Arc<FileLog>>,
    /// These stay listed.
    heavy: Vec<Arc<FileLog>>,
    early: Vec<Arc<FileLog>>,
    full: Option<JournalFile>,
}

fn run(shared: &Shared) {
    let queue = &*shared.writer;
    let mut retry_at = None;
    while let Some(Turn { logs, heavy, early, full }) = queue.wait(retry_at) {
        // First, because the flusher would have to do it instead.
        early.iter().for_each(|log| log.write_early());
        if logs.is_empty() && heavy.is_empty() && full.is_none() {
            continue;
        }
        let mut again = Vec::new();
        for log in logs {
            log.state().behind = false;
            let outcomes = [log.store_damage(), log.write_behind()];
            if outcomes.iter().any(|outcome| matches!(outcome, Err(StorageError::Full(_)))) {
                log.state().behind = true;
                again.push(log);
            }
        }
        let is_full = heavy.iter().any(|log| matches!(log.write_behind(), Err(StorageError::Full(_))));
        let is_emptied = full.is_none_or(|full| empty(shared, full));
        retry_at = (is_full || !again.is_empty() || !is_emptied).then(|| Instant::now() + RETRY);
        if !again.is_empty() {
            queue.lock().logs.extend(again);
        }
    }
}

/// Makes everything in a file of the journal durable in segments. Says whether nothing is left to do.
fn empty(shared: &Shared, mut file: JournalFile) -> bool {
    let queue = &*shared.writer;
    let mut is_pinned = false;
    for (log, upto) in file.logs.values() {
        let Some(log) = log.upgrade() else { continue };
        match log.checkpoint(*upto) {
            // What is removed needs no journal, and of what was opened anew it is void.
            Ok(()) | Err(StorageError::NotFound { .. } | StorageError::Reopened) => {}
            Err(StorageError::Full(what)) => {
                tracing::debug!(what, "a file of the journal is not emptied yet");
                queue.lock().full.push_front(file);
                return false;
            }
            // Its entries are here and nowhere else.
            Err(_) => is_pinned = true,
        }
    }
    let mut work = queue.lock();
    if is_pinned {
        work.files -= usize::from(!file.is_spoiled);
        work.pinned.push(file);
    } else if file.is_spoiled {
        drop(work);
        file.remove(&*shared.disk);
    } else {
        file.empty();
        work.free.push(file);
    }
    true
}

impl FileLog {
    /// Writes what is in the journal only to the segments, and stores the index when it is due.
    fn write_behind(&self) -> Result<(), StorageError> {
        let files = self.lock_files();
        self.write_durable(&files, Rolling::Allowed)?;
        if self.shared.options.sync != SyncPolicy::Always {
            drop(files);
            return self.sync_early();
        }
        self.store_due_index(&files);
        drop(files);
        let unsynced_bytes_max = self.shared.options.early_bytes.saturating_mul(PIECES_UNSYNCED);
        let is_much = self.state().unsynced_bytes() >= unsynced_bytes_max;
        if is_much {
            self.sync_written()?;
            self.store_due_index(&self.lock_files());
        }
        Ok(())
    }

    /// Helps the writer: writes what is in the journal only, unless somebody has the files, or the segment has no room.
    pub(super) fn help_writer(&self) {
        if let Some(files) = self.try_lock_files() {
            // What cannot be written now, the writer tries again.
            let _ = self.write_durable(&files, Rolling::Not);
        }
    }

    /// Writes what is durable to the segments, where it is synced later.
    fn write_durable(&self, files: &Files<'_>, rolling: Rolling) -> Result<(), StorageError> {
        let durable = {
            let state = self.state();
            state.check_writable()?;
            state.durable
        };
        let written = self.write_out(files, durable, rolling);
        written.map(drop).map_err(|error| match error {
            WriteError::Refused(error) => error,
            WriteError::Failed(error) => {
                self.poison(&error);
                error
            }
        })
    }

    /// Syncs what is written and durable elsewhere, before there is so much of it that the disk would be busy with
    /// it for long. Appends go on meanwhile.
    fn sync_written(&self) -> Result<(), StorageError> {
        let Some(Unsynced { key, file, path }) = self.last_file()? else { return Ok(()) };
        let (upto, end, cuts) = {
            let state = self.state();
            let Some(end) = state.written_end().filter(|(last, _)| *last == key) else {
                return Ok(()); // full meanwhile, and synced
            };
            (self.settled(&state), end, state.cuts)
        };
        self.sync_segment(&*file, &path).inspect_err(|error| self.poison(error))?;
        let mut state = self.state();
        if state.cuts == cuts {
            state.synced(upto);
            state.synced_to(end);
        }
        Ok(())
    }

    /// With a policy that does not sync before it completes: a checkpoint of what has grown, so that not
    /// everything is left for the moment when the segment is full. Appends go on meanwhile.
    fn sync_early(&self) -> Result<(), StorageError> {
        let Some(Unsynced { key, file, path }) = self.last_file()? else { return Ok(()) };
        let (index, upto, cuts) = {
            let mut state = self.state();
            let (upto, cuts) = (state.written, state.cuts);
            let Some(last) = state.segments.last_mut().filter(|last| last.key == key) else { return Ok(()) };
            let (header, index_path, edition) = (last.header, last.index_path(), last.edition.clone());
            let end = *last.end();
            let Some(index) = last.due_index(&end) else { return Ok(()) };
            ((index.encode(&header), index_path, edition), upto, cuts)
        };
        self.sync_segment(&*file, &path).inspect_err(|error| self.poison(error))?;
        let is_whole = {
            let mut state = self.state();
            if state.cuts == cuts {
                state.synced(upto);
            }
            state.cuts == cuts
        };
        if is_whole {
            let (content, path, edition) = index;
            edition.while_current(|| self.store_index(&path, &content));
        }
        Ok(())
    }

    /// Writes what no round has taken yet, as far as the segment has room and piece by piece: the flusher syncs
    /// what there is, and waits for a piece at most. What comes of it is the flusher's to find out.
    fn write_early(&self) {
        // Not what comes meanwhile: others have their turn, too.
        let end = self.state().end;
        while !self.are_files_wanted() {
            let files = self.lock_files();
            let upto = {
                let state = self.state();
                if state.closed.is_some() {
                    return;
                }
                state.early_piece(self.shared.options.early_bytes).filter(|upto| upto.index <= end.index)
            };
            let Some(upto) = upto else { return };
            match self.write_out(&files, upto, Rolling::Not) {
                Ok(_) if self.state().written.index >= upto.index => {}
                Ok(_) | Err(WriteError::Refused(_)) => return,
                Err(WriteError::Failed(error)) => {
                    self.poison(&error);
                    return;
                }
            }
        }
    }

    /// Makes everything before `upto` durable in segments.
    fn checkpoint(&self, upto: u64) -> Result<(), StorageError> {
        let files = self.lock_files();
        let is_done = {
            let state = self.state();
            state.check_there()?;
            state.synced.index >= upto.min(state.durable.index)
        };
        if !is_done {
            self.settle(&files)?;
            self.store_due_index(&files);
        }
        Ok(())
    }
}
