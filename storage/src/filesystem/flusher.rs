//! The flusher: one thread that writes and syncs for all logs.
//!
//! One thread, not a pool: while it syncs, everything else queues up, and the next round takes all of it at
//! once. The sync's own duration forms the group; nobody waits on a timer.

use std::{
    collections::{HashMap, VecDeque},
    fs::File,
    io,
    path::PathBuf,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use super::{Shared, SyncPolicy, durable, handles::SegmentKey, log::FileLog, state::Due};
use crate::{Index, StorageError, run::Next};

/// Logs that one round writes before it syncs: bounds the files that are open at once.
const ROUND_LOGS_MAX: usize = 256;
/// Files with unsynced bytes that may be open between two timed syncs.
const UNSYNCED_FILES_MAX: usize = 256;

/// Logs that have something to write. Each is in it at most once.
#[derive(Debug, Default)]
pub(super) struct FlushQueue {
    waiting: Mutex<Waiting>,
    ready: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    logs: VecDeque<Arc<FileLog>>,
    closed: bool,
}

impl FlushQueue {
    /// Adds a log; gives it back when the queue is closed.
    pub(super) fn push(&self, log: Arc<FileLog>) -> Result<(), Arc<FileLog>> {
        let mut waiting = self.lock();
        if waiting.closed {
            return Err(log);
        }
        waiting.logs.push_back(log);
        drop(waiting);
        self.ready.notify_one();
        Ok(())
    }

    /// Takes nothing more; what is in it is still flushed.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.ready.notify_one();
    }

    /// Waits for work until `deadline`. `None` when the queue is closed and empty.
    fn take(&self, deadline: Option<Instant>) -> Option<Vec<Arc<FileLog>>> {
        let mut waiting = self.lock();
        while waiting.logs.is_empty() {
            if waiting.closed {
                return None;
            }
            waiting = match deadline.map(|deadline| deadline.saturating_duration_since(Instant::now())) {
                None => self.ready.wait(waiting).unwrap_or_else(PoisonError::into_inner),
                Some(Duration::ZERO) => break,
                Some(left) => {
                    self.ready.wait_timeout(waiting, left).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
        let count = waiting.logs.len().min(ROUND_LOGS_MAX);
        Some(waiting.logs.drain(..count).collect())
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a round wrote to one log and has not synced.
pub(super) struct Written {
    pub(super) log: Arc<FileLog>,
    pub(super) key: SegmentKey,
    pub(super) file: Arc<File>,
    pub(super) path: PathBuf,
    /// What follows the written entries.
    pub(super) upto: Next,
    pub(super) bytes: u64,
}

/// The thread's own things.
pub(super) struct Flusher {
    shared: Arc<Shared>,
    /// With a policy other than `Always`: what waits for the timer.
    unsynced: HashMap<SegmentKey, Written>,
    synced_at: Instant,
    recent: Recent,
}

impl Flusher {
    pub(super) fn spawn(shared: Arc<Shared>) -> io::Result<JoinHandle<()>> {
        let recent = Recent { bytes_max: shared.options.tail_bytes, bytes: 0, written: VecDeque::new() };
        let flusher = Flusher { shared, unsynced: HashMap::new(), synced_at: Instant::now(), recent };
        std::thread::Builder::new().name("flusher".to_owned()).spawn(move || flusher.run())
    }

    fn run(mut self) {
        while let Some(logs) = self.shared.queue.take(self.deadline()) {
            let written: Vec<Written> = logs.into_iter().filter_map(|log| log.write_pending()).collect();
            match self.shared.options.sync {
                SyncPolicy::Always => written.into_iter().for_each(|written| self.sync(written)),
                SyncPolicy::Every(_) | SyncPolicy::Never => self.complete_unsynced(written),
            }
            if self.deadline().is_some_and(|deadline| deadline <= Instant::now()) {
                self.sync_all();
            }
        }
        self.sync_all();
    }

    /// When the timed sync is due, if there is anything to sync.
    fn deadline(&self) -> Option<Instant> {
        match self.shared.options.sync {
            // An interval beyond all time means never.
            SyncPolicy::Every(interval) if !self.unsynced.is_empty() => self.synced_at.checked_add(interval),
            _ => None,
        }
    }

    fn sync(&mut self, written: Written) {
        let Written { log, file, path, upto, bytes, .. } = written;
        let outcome = durable::sync_data(&file, &path);
        log.synced(upto, outcome);
        self.recent.push(&log, upto.index, bytes);
    }

    fn complete_unsynced(&mut self, written: Vec<Written>) {
        for written in written {
            written.log.written(written.upto);
            self.recent.push(&written.log, written.upto.index, written.bytes);
            if self.unsynced.is_empty() {
                self.synced_at = Instant::now();
            }
            if self.shared.options.sync != SyncPolicy::Never {
                self.unsynced.insert(written.key, written);
            }
        }
        if self.unsynced.len() > UNSYNCED_FILES_MAX {
            self.sync_all();
        }
    }

    fn sync_all(&mut self) {
        self.synced_at = Instant::now();
        for (_, Written { log, file, path, upto, .. }) in std::mem::take(&mut self.unsynced) {
            log.synced(upto, durable::sync_data(&file, &path));
        }
    }
}

impl FileLog {
    /// A sync of everything before `upto` has ended: completes, or fails for good.
    fn synced(&self, upto: Next, outcome: Result<(), StorageError>) {
        match outcome {
            Ok(()) => {
                let mut state = self.state();
                state.synced(upto);
                let durable = state.durable.index;
                let due = state.complete(durable);
                drop(state);
                due.succeed();
            }
            Err(error) => self.poison(&error),
        }
    }

    /// Everything before `upto` is written, which is all that the policy asks for.
    fn written(&self, upto: Next) {
        let due = self.state().complete(upto.index);
        due.succeed();
    }

    /// Takes no more appends until it is opened again: after a failed write or sync nobody knows what the
    /// disk holds.
    pub(super) fn poison(&self, error: &StorageError) {
        tracing::error!(log = ?self.dir, %error, "log takes no more appends until the server is started again");
        let due = {
            let mut state = self.state();
            state.closed.get_or_insert(StorageError::Poisoned(error.to_string()));
            match self.shared.options.sync {
                SyncPolicy::Always => state.unwrite(),
                // Completed already, and readable from the system's cache as long as it lasts.
                SyncPolicy::Every(_) | SyncPolicy::Never => state.unappend(Vec::new()),
            }
        };
        Due::fail(due, error);
    }
}

/// Which entries are kept in memory although they are written: the most recent ones, over all logs.
struct Recent {
    bytes_max: u64,
    bytes: u64,
    written: VecDeque<(Weak<FileLog>, Index, u64)>,
}

impl Recent {
    /// Entries before `index` of a log, `bytes` of them, are the most recent now.
    fn push(&mut self, log: &Arc<FileLog>, index: Index, bytes: u64) {
        if bytes == 0 {
            return;
        }
        self.bytes += bytes;
        self.written.push_back((Arc::downgrade(log), index, bytes));
        while self.bytes > self.bytes_max {
            let Some((log, index, bytes)) = self.written.pop_front() else { return };
            self.bytes -= bytes;
            if let Some(log) = log.upgrade() {
                log.state().shrink_tail(index);
            }
        }
    }
}
