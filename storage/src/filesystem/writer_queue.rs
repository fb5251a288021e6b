//! [`WriterQueue`], what the flusher leaves to the writer: logs that have something to write, and files of the journal
//! that are full.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
    time::Instant,
};

use super::{journal::JournalFile, log::FileLog, state::State};
use crate::JournalStats;

/// Bytes that are journaled and not written, over all logs, at which they are written.
const BEHIND_BYTES: i64 = 4 * 1024 * 1024;
/// Bytes of one log at which that log is written, however little there is of others: large enough for one
/// call to write much, small enough not to keep the flusher from its processor for long.
const LOG_BEHIND_BYTES: u64 = 512 * 1024;
/// At so many, the flusher helps: after each of its rounds it writes what the logs of the round have.
const BEHIND_BYTES_MUCH: i64 = 4 * BEHIND_BYTES;
/// At so many, nothing more is journaled until the writer has caught up: bounds the memory.
const BEHIND_BYTES_MAX: i64 = 8 * BEHIND_BYTES;
/// Times the files that there may be: so many are kept as they were found before the others are fewer. Each start may add
/// to them while a log cannot be opened; with many there are none at last, which costs syncs and no disk.
const KEPT_FREE: usize = 3;
/// Part of all files that are full when they are emptied: each log that is in them is synced once then.
const FULL_PART: usize = 4;
/// One is written to while another one is emptied.
pub(super) const FILES_MIN: usize = 2;

/// What the flusher and the writer share.
pub(super) struct WriterQueue {
    /// Files of the journal that there may be beside those that are kept or pinned.
    files_max: usize,
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
    /// Files that are full, oldest first, and whether it is time to empty them.
    full: VecDeque<JournalFile>,
    is_emptying: bool,
    /// Files to be written over.
    free: Vec<JournalFile>,
    /// Files that cannot be emptied, because of logs that have failed, and how often those were looked at again.
    pinned: Vec<JournalFile>,
    unpinned: u64,
    /// Files that are kept as they were found, for logs that could not be opened.
    kept: Vec<JournalFile>,
    /// How many files there ever were, and how many there are beside the pinned ones.
    file_numbers: usize,
    files: usize,
    /// Something is not to wait until there is much.
    urgent: bool,
    closed: bool,
}

impl Work {
    /// Whatever is full is to be emptied now.
    fn begin_emptying(&mut self) {
        self.is_emptying = !self.full.is_empty();
    }
}

impl WriterQueue {
    /// Nothing to do.
    pub(super) fn new(files_max: usize) -> WriterQueue {
        WriterQueue {
            files_max: files_max.max(FILES_MIN),
            work: Mutex::default(),
            ready: Condvar::new(),
            behind_bytes: AtomicI64::new(0),
        }
    }

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
        let mut work = self.lock();
        work.full.push_back(file);
        if work.full.len() < self.files_max / FULL_PART {
            return;
        }
        work.begin_emptying();
        drop(work);
        self.ready.notify_one();
    }

    /// A file of these could not be emptied yet.
    pub(super) fn put_back(&self, file: JournalFile) {
        let mut work = self.lock();
        work.full.push_front(file);
        work.begin_emptying();
    }

    /// Takes a file that could not be emptied, because of a log that has failed. If logs were opened again since the turn
    /// in which it was tried began, it is tried again.
    pub(super) fn pin(&self, file: JournalFile, unpinned: u64) {
        let mut work = self.lock();
        if work.unpinned != unpinned {
            work.full.push_back(file);
            work.begin_emptying();
            return;
        }
        work.files -= usize::from(!file.is_spoiled);
        work.pinned.push(file);
    }

    /// Takes a file that is empty.
    pub(super) fn push_free(&self, file: JournalFile) {
        self.lock().free.push(file);
    }

    /// Logs of which something is left to write.
    pub(super) fn push_again(&self, logs: Vec<Arc<FileLog>>) {
        self.lock().logs.extend(logs);
    }

    /// Takes files that were there when the storage was opened.
    pub(super) fn adopt(&self, files: Vec<JournalFile>) {
        let mut work = self.lock();
        work.files += files.len();
        let numbers = files.iter().map(|file| file.number + 1).max().unwrap_or(0);
        work.file_numbers = work.file_numbers.max(numbers);
        work.full.extend(files);
        work.begin_emptying();
    }

    /// Keeps files that were there when the storage was opened, for those who cannot read them yet.
    pub(super) fn keep(&self, files: Vec<JournalFile>) {
        let mut work = self.lock();
        let numbers = files.iter().map(|file| file.number + 1).max().unwrap_or(0);
        work.file_numbers = work.file_numbers.max(numbers);
        work.kept.extend(files);
        if work.kept.len() > KEPT_FREE * self.files_max {
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
        work.unpinned += 1;
        let pinned = std::mem::take(&mut work.pinned);
        work.files += pinned.iter().filter(|file| !file.is_spoiled).count();
        work.full.extend(pinned);
        work.begin_emptying();
        drop(work);
        self.ready.notify_one();
    }

    /// Hands over a file that is not to be written any more, because the disk has failed: it is emptied and goes.
    pub(super) fn push_spoiled(&self, mut file: JournalFile) {
        file.is_spoiled = true;
        let mut work = self.lock();
        work.files -= 1;
        work.full.push_back(file);
        work.begin_emptying();
        drop(work);
        self.ready.notify_one();
    }

    /// A file that may be written over; none any more once there is nobody to empty it.
    pub(super) fn take_free(&self) -> Option<JournalFile> {
        let mut work = self.lock();
        if work.closed { None } else { work.free.pop() }
    }

    /// The number of another file, unless there are as many as there may be, or too many are kept, or nobody is there to
    /// empty it.
    pub(super) fn new_file(&self) -> Option<usize> {
        let mut work = self.lock();
        let kept = work.kept.len().saturating_sub(KEPT_FREE * self.files_max);
        if work.closed || work.files + kept >= self.files_max {
            // The next one that is empty is wanted soon.
            work.begin_emptying();
            drop(work);
            self.ready.notify_one();
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
    pub(super) fn wait(&self, retry_at: Option<Instant>) -> Option<Turn> {
        let mut work = self.lock();
        loop {
            if work.closed {
                return None;
            }
            let is_held_up = retry_at.is_some_and(|at| Instant::now() < at);
            let is_much = self.behind_bytes.load(Ordering::Relaxed) >= BEHIND_BYTES;
            if !is_held_up && (work.is_emptying || work.urgent || is_much || retry_at.is_some()) {
                work.urgent = false;
                work.heavy.clear();
                let (logs, early) = (std::mem::take(&mut work.logs), std::mem::take(&mut work.early));
                let full = if work.is_emptying { work.full.pop_front() } else { None };
                work.is_emptying &= !work.full.is_empty();
                let unpinned = work.unpinned;
                return Some(Turn { logs, early, full, unpinned, ..Turn::default() });
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

/// What the writer does at a time.
#[derive(Default)]
pub(super) struct Turn {
    pub(super) logs: Vec<Arc<FileLog>>,
    /// These stay listed.
    pub(super) heavy: Vec<Arc<FileLog>>,
    pub(super) early: Vec<Arc<FileLog>>,
    pub(super) full: Option<JournalFile>,
    /// For [`pin`](WriterQueue::pin).
    pub(super) unpinned: u64,
}
