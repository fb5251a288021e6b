//! The flusher: the one thread that makes appends of all logs durable, round by round.
//!
//! One thread, not a pool: while it syncs, everything else queues up, and the next round takes all of it at
//! once. The sync's own duration forms the group; nobody waits on a timer. Only a round that writes to many segments
//! has helpers, which write and sync them side by side, and ends with them.
//!
//! A round makes durable what it took in one of two ways, log by log:
//!
//! - *to the journal*: all small parts together, with one sync, however many logs there are, and a round that is small
//!   as a whole;
//! - *straight to its segment*: a part of many bytes, which costs a sync of its own and no second write.
//!
//! A part of middling size that would have to wait for its segment (it is full, or the writer is busy with it)
//! goes to the journal, too. With a policy other than [`SyncPolicy::Always`] everything goes to segments, and a
//! timer syncs them.

use std::{
    collections::{HashMap, VecDeque},
    io,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak, atomic::Ordering, mpsc},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use super::{
    Shared, SyncPolicy,
    crash::Watch,
    handles::SegmentKey,
    journal::{Journal, Part, Written},
    log::FileLog,
    space::Headroom,
    state::{SegmentEnd, Taken},
    write::{Rolling, Unsynced, WriteError},
    writer_queue::Behind,
};
use crate::{Index, Spares, StorageError, run::Next};

/// Logs that one round takes: bounds the files that are open at once.
const ROUND_LOGS_MAX: usize = 1024;
/// A part of so many bytes waits for its segment, if need be.
const WAIT_BYTES: u64 = 1024 * 1024;
/// Times [`early_bytes`](super::Options::early_bytes) that a round takes of one log, and a little more, unless
/// they are written already: while the flusher syncs these, the writer writes those behind them, and neither
/// waits for the other.
const PIECES_TAKEN: u64 = 4;
/// Parts of a round that go to segments from which on several threads write and sync them, which take a fraction of a
/// millisecond to start.
const HELPED_MIN: usize = 8;
/// How many parts are worth one more thread.
const PARTS_PER_HELPER: usize = 3;
/// How many threads at most: with twice as many the disk does not do more, and whoever appends has the processors less.
const HELPERS_MAX: usize = 16;
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
    /// The flusher sleeps, and is to be woken: a call of the system, which a flusher that is busy does not need.
    is_idle: bool,
}

impl FlushQueue {
    /// Adds a log; gives it back when the queue is closed.
    pub(super) fn push(&self, log: Arc<FileLog>) -> Result<(), Arc<FileLog>> {
        let mut waiting = self.lock();
        if waiting.closed {
            return Err(log);
        }
        waiting.logs.push_back(log);
        let is_idle = std::mem::take(&mut waiting.is_idle);
        drop(waiting);
        if is_idle {
            self.ready.notify_one();
        }
        Ok(())
    }

    /// Adds logs of which a round has left something, also when the queue is closed.
    fn push_again(&self, logs: Vec<Arc<FileLog>>) {
        if !logs.is_empty() {
            self.lock().logs.extend(logs);
        }
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
            waiting.is_idle = true;
            waiting = match deadline.map(|deadline| deadline.saturating_duration_since(Instant::now())) {
                None => self.ready.wait(waiting).unwrap_or_else(PoisonError::into_inner),
                Some(Duration::ZERO) => break,
                Some(left) => {
                    self.ready.wait_timeout(waiting, left).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
        waiting.is_idle = false;
        let count = waiting.logs.len().min(ROUND_LOGS_MAX);
        Some(waiting.logs.drain(..count).collect())
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A part that was written to its segment.
struct Direct {
    log: Arc<FileLog>,
    taken: Taken,
    /// `None` when nothing had to be written.
    file: Option<Unsynced>,
}

impl Direct {
    /// Makes durable what is in its segment, and says up to where that is at least: more may have been written early.
    fn sync(&self) -> Result<Option<SegmentEnd>, StorageError> {
        let Some(Unsynced { key, file, path }) = &self.file else { return Ok(None) };
        let end = self.log.state().written_end().filter(|(last, _)| last == key);
        self.log.sync_segment(&**file, path).map(|()| end)
    }
}

/// What came of a part that was to go to its segment.
enum Large {
    /// It is there, and synced up to at least there; or not, and nobody knows what the disk holds.
    Synced(Direct, Result<Option<SegmentEnd>, StorageError>),
    /// It would have to wait for its segment, and is better off in the journal.
    Unwritten(Part),
    /// It was refused, or its log has failed; those who wait know.
    Answered,
}

/// Parts that could not be made durable where they should have been, and go to the other place.
#[derive(Default)]
struct Left {
    to_journal: Vec<Part>,
    to_segments: Vec<Part>,
}

/// What waits for a timed sync.
struct Lagging {
    log: Arc<FileLog>,
    file: Unsynced,
    upto: Next,
    /// How often the log had been cut then.
    cuts: u64,
}

/// The thread's own things.
pub(super) struct Flusher {
    shared: Arc<Shared>,
    journal: Journal,
    headroom: Headroom,
    /// With a policy other than `Always`: what waits for the timer.
    lagging: HashMap<SegmentKey, Lagging>,
    synced_at: Instant,
    recent: Recent,
}

impl Flusher {
    pub(super) fn spawn(
        shared: Arc<Shared>,
        journal: Journal,
        headroom: Headroom,
        watch: Watch,
    ) -> io::Result<JoinHandle<()>> {
        let (bytes_max, spares) = (shared.options.tail_bytes, shared.spares.clone());
        let recent = Recent { bytes_max, bytes: 0, written: VecDeque::new(), spares };
        let synced_at = Instant::now();
        let flusher = Flusher { shared, journal, headroom, lagging: HashMap::new(), synced_at, recent };
        thread::Builder::new().name("flusher".to_owned()).spawn(move || {
            // The last thing to go: nothing is locked any more then.
            let _watch = watch;
            flusher.run();
        })
    }

    fn run(mut self) {
        let shared = self.shared.clone();
        while let Some(logs) = shared.queue.take(self.deadline()) {
            let round = shared.lock_rounds();
            self.round(logs);
            drop(round);
            if self.deadline().is_some_and(|deadline| deadline <= Instant::now()) {
                self.sync_lagging();
            }
        }
        self.sync_lagging();
    }

    /// Takes what all these logs have and makes it durable.
    fn round(&mut self, logs: Vec<Arc<FileLog>>) {
        let bytes_max = self.shared.options.early_bytes.saturating_mul(PIECES_TAKEN);
        let mut again = Vec::new();
        let mut parts: Vec<Part> = logs
            .into_iter()
            .map(|log| {
                let mut state = log.state();
                let taken = state.take(bytes_max);
                if state.queued {
                    again.push(log.clone());
                }
                drop(state);
                Part { log, taken }
            })
            .collect();
        if self.shared.options.sync == SyncPolicy::Always {
            again.iter().for_each(|log| self.shared.writer.push_early(log.clone()));
        }
        self.shared.queue.push_again(again);
        let bytes = bytes_of(&parts);
        let room = self.headroom.take(&*self.shared.disk, bytes);
        if let Err(full) = &room {
            let is_allowed = |part: &Part| part.log.may_use_headroom.load(Ordering::Acquire);
            parts.retain(|part| part.taken.bytes == 0 || is_allowed(part) || part.refuse(full));
        }
        let kept = bytes_of(&parts);
        let entries = parts.iter().map(|part| part.taken.upto.index - part.taken.from.index).sum();
        self.shared.counters.round_begins(kept, entries, room.map_err(|_| bytes - kept));
        match self.shared.options.sync {
            SyncPolicy::Always => self.make_durable(parts),
            SyncPolicy::Every(_) | SyncPolicy::Never => self.write_only(parts),
        }
        self.shared.counters.round_ends(self.journal.has_failed());
    }

    /// With [`SyncPolicy::Always`]: writes, syncs, completes.
    fn make_durable(&mut self, parts: Vec<Part>) {
        let may_journal = self.journal.is_usable() && !self.shared.writer.is_overloaded();
        let direct_bytes = match bytes_of(&parts) < self.shared.options.small_round_bytes {
            _ if !may_journal => 0,
            true => u64::MAX,
            false => self.shared.options.direct_bytes,
        };
        let is_small = |part: &Part| (1..direct_bytes).contains(&part.taken.bytes);
        let (small, large): (Vec<Part>, Vec<Part>) = parts.into_iter().partition(is_small);
        let Left { to_journal, mut to_segments } = self.make_both_durable(small, large, may_journal);
        if !to_journal.is_empty() {
            to_segments.extend(self.make_small_durable(to_journal));
            // A segment that had no room for one of them is to be followed by another.
            self.shared.writer.push_urgent(None);
        }
        if !to_segments.is_empty() {
            // Nothing is left then: each waits for its segment.
            self.make_both_durable(Vec::new(), to_segments, false);
        }
    }

    /// Makes parts durable, the small ones in the journal and the large ones in their segments. Many large ones at a time: a
    /// disk has room for more than one request, and a file of a few pages does not fill it. Returns those that could not be
    /// put there.
    fn make_both_durable(&mut self, small: Vec<Part>, large: Vec<Part>, may_journal: bool) -> Left {
        let helpers =
            if large.len() < HELPED_MIN { 0 } else { HELPERS_MAX.min(large.len() / PARTS_PER_HELPER) };
        let parts = Mutex::new(large.into_iter());
        let next = || parts.lock().unwrap_or_else(PoisonError::into_inner).next();
        let mut left = Left::default();
        thread::scope(|scope| {
            let (done, outcomes) = mpsc::channel();
            for _ in 0..helpers {
                let done = done.clone();
                let work = move || {
                    while let Some(part) = next() {
                        let _ = done.send(part.write_and_sync(may_journal));
                    }
                };
                // Without a thread, those that there are do more.
                let _ = thread::Builder::new().name("flusher-helper".to_owned()).spawn_scoped(scope, work);
            }
            drop(done);
            left.to_segments = self.make_small_durable(small);
            outcomes.into_iter().for_each(|outcome| left.to_journal.extend(self.finish_large(outcome)));
        });
        while let Some(part) = next() {
            left.to_journal.extend(self.finish_large(part.write_and_sync(may_journal)));
        }
        left
    }

    /// Makes parts durable in the journal. Returns those for which it has no room.
    fn make_small_durable(&mut self, mut parts: Vec<Part>) -> Vec<Part> {
        let no_room = self.write_journal(&mut parts);
        self.sync_journal(&parts);
        no_room
    }

    /// Writes to the journal. Takes out those for which it has no room.
    fn write_journal(&mut self, parts: &mut Vec<Part>) -> Vec<Part> {
        if parts.is_empty() {
            return Vec::new();
        }
        let (done, error) = match self.journal.write(parts) {
            Written::All => return Vec::new(),
            Written::UpTo(done) => (done, None),
            Written::Failed(done, error) => (done, Some(error)),
        };
        let rest = parts.split_off(done);
        match error {
            None => return rest,
            Some(full @ StorageError::Full(_)) => rest.iter().for_each(|part| _ = part.refuse(&full)),
            Some(error) => {
                parts.drain(..).chain(rest).for_each(|part| part.log.poison(&error));
            }
        }
        Vec::new()
    }

    /// Gives back what is better off in the journal.
    fn finish_large(&mut self, outcome: Large) -> Option<Part> {
        match outcome {
            Large::Synced(part, end) => self.finish_direct(&part, end),
            Large::Unwritten(part) => return Some(part),
            Large::Answered => {}
        }
        None
    }

    fn finish_direct(&mut self, part: &Direct, end: Result<Option<SegmentEnd>, StorageError>) {
        let Direct { log, taken, file } = part;
        match end {
            Ok(end) if file.is_some() => {
                let mut state = log.state();
                state.synced(taken.upto);
                state.synced_end = end;
            }
            Ok(_) => {}
            Err(error) => {
                log.poison(&error);
                return;
            }
        }
        self.complete_direct(log, taken);
    }

    /// Answers those who wait for what is in the segment, as durable as the policy asks for.
    fn complete_direct(&mut self, log: &Arc<FileLog>, taken: &Taken) {
        let (due, is_due) = {
            let mut state = log.state();
            let is_due = !state.behind && state.is_index_due(self.shared.options.sync);
            state.behind |= is_due;
            (state.complete(taken.upto.index), is_due)
        };
        due.succeed();
        if is_due {
            self.shared.writer.push_urgent(Some(log.clone()));
        }
        self.recent.push(log, taken.upto.index, taken.bytes);
    }

    fn sync_journal(&mut self, parts: &[Part]) {
        if parts.is_empty() {
            return;
        }
        let begin = Instant::now();
        let synced = self.journal.sync(parts);
        self.shared.counters.journal_synced(begin);
        if let Err(error) = synced {
            parts.iter().for_each(|part| part.log.poison(&error));
            return;
        }
        let mut behind = Behind::default();
        let mut bytes = 0;
        for Part { log, taken } in parts {
            let due = {
                let mut state = log.state();
                let more = state.journaled(taken);
                behind.note(log, &mut state, more);
                bytes += more;
                state.complete(taken.upto.index)
            };
            due.succeed();
            self.recent.push(log, taken.upto.index, taken.bytes);
        }
        self.shared.writer.push_behind(behind, bytes);
        if self.shared.writer.needs_help() {
            // It may be busy with syncs for long. To write is soon done; without the journal, each of these logs would
            // need a sync of its own.
            parts.iter().for_each(|part| part.log.help_writer());
        }
    }

    /// With the other policies: writes and completes; the timer syncs.
    fn write_only(&mut self, parts: Vec<Part>) {
        for part in parts {
            let Some(Ok(Direct { log, taken, file })) = part.write(Rolling::Allowed) else { continue };
            self.complete_direct(&log, &taken);
            if self.lagging.is_empty() {
                self.synced_at = Instant::now();
            }
            if let Some(file) = file
                && self.shared.options.sync != SyncPolicy::Never
            {
                let cuts = log.state().cuts;
                self.lagging.insert(file.key, Lagging { log, file, upto: taken.upto, cuts });
            }
        }
        if self.lagging.len() > UNSYNCED_FILES_MAX {
            self.sync_lagging();
        }
    }

    /// When the timed sync is due, if there is anything to sync.
    fn deadline(&self) -> Option<Instant> {
        match self.shared.options.sync {
            // An interval beyond all time means never.
            SyncPolicy::Every(interval) if !self.lagging.is_empty() => self.synced_at.checked_add(interval),
            _ => None,
        }
    }

    fn sync_lagging(&mut self) {
        self.synced_at = Instant::now();
        for (_, Lagging { log, file, upto, cuts }) in std::mem::take(&mut self.lagging) {
            match log.sync_segment(&*file.file, &file.path) {
                Ok(()) => {
                    let mut state = log.state();
                    if state.cuts == cuts {
                        state.synced(upto);
                    }
                }
                Err(error) => log.poison(&error),
            }
        }
    }
}

fn bytes_of(parts: &[Part]) -> u64 {
    parts.iter().map(|part| part.taken.bytes).sum()
}

impl Part {
    /// Writes it to its segment, and makes it durable there.
    fn write_and_sync(self, may_journal: bool) -> Large {
        match self.write_to_segment(may_journal) {
            Some(Ok(written)) => {
                let end = written.sync();
                Large::Synced(written, end)
            }
            Some(Err(())) => Large::Answered,
            None => Large::Unwritten(self),
        }
    }

    /// Writes it to its segment, unless the journal is the better place for it: see [`Part::write`].
    fn write_to_segment(&self, may_journal: bool) -> Option<Result<Direct, ()>> {
        // What is large takes its time anyhow, and would keep the writer busy if it went to the journal.
        let may_wait = !may_journal || self.taken.bytes >= WAIT_BYTES;
        self.write(if may_wait { Rolling::Allowed } else { Rolling::Not })
    }

    /// Writes it to its segment. `None` when that would have to wait and need not; an error when it was
    /// answered already.
    fn write(&self, rolling: Rolling) -> Option<Result<Direct, ()>> {
        let direct = |file| Direct { log: self.log.clone(), taken: self.taken, file };
        if self.taken.bytes == 0 {
            return Some(Ok(direct(None)));
        }
        let is_written = self.log.state().written.index >= self.taken.upto.index;
        let written = if is_written {
            Ok(None)
        } else {
            let files = match rolling {
                Rolling::Allowed => self.log.lock_files_soon(),
                Rolling::Not => self.log.try_lock_files()?,
            };
            self.log.write_out(&files, self.taken.upto, rolling)
        };
        match written {
            Ok(file) if self.log.state().written.index >= self.taken.upto.index => {
                match file.map_or_else(|| self.written_early(), |file| Ok(Some(file))) {
                    Ok(file) => Some(Ok(direct(file))),
                    Err(error) => {
                        self.log.poison(&error);
                        Some(Err(()))
                    }
                }
            }
            // A part of it is in the segment, unsynced; the journal takes all of it.
            Ok(_) => None,
            Err(WriteError::Refused(error)) => {
                self.refuse(&error);
                Some(Err(()))
            }
            Err(WriteError::Failed(error)) => {
                self.log.poison(&error);
                Some(Err(()))
            }
        }
    }

    /// The file that the part is in, if it was written before the round and is not synced.
    fn written_early(&self) -> Result<Option<Unsynced>, StorageError> {
        let is_synced = self.log.state().synced.index >= self.taken.upto.index;
        if is_synced { Ok(None) } else { self.log.last_file() }
    }

    /// Takes the part back: nothing of it is kept. Says that it is not to be written.
    fn refuse(&self, why: &StorageError) -> bool {
        let files = self.log.lock_files();
        if self.log.state().check_writable().is_err() {
            return false; // these files may be another's by now
        }
        // What came before it has completed. A part of it may be in a segment already, or even in two, the first
        // of them synced.
        let floor = self.taken.from;
        if let Err(error) = self.log.cut_back(&files, floor) {
            self.log.poison(&error);
        }
        let due = {
            let mut state = self.log.state();
            // A log that has failed or was removed has taken back more, and answered everybody.
            state.check_writable().is_ok().then(|| state.roll_back(floor))
        };
        if let Some(due) = due {
            due.fail(why);
        }
        false
    }
}

/// Which entries are kept in memory although they are written: the most recent ones, over all logs.
struct Recent {
    bytes_max: u64,
    bytes: u64,
    written: VecDeque<(Weak<FileLog>, Index, u64)>,
    /// Where entries that are no longer kept leave their memory.
    spares: Spares,
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
                let released = log.state().release(index);
                released.into_iter().for_each(|payload| self.spares.keep(payload));
            }
        }
    }
}
