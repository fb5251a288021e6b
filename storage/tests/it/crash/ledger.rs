//! [`Ledger`], what was promised: the oracle of the crash suites.
//!
//! Whoever works with a storage writes down here what was begun and what was answered. After a crash the
//! ledger says what must be there, what may be there, and so what must not. Something that was begun and not
//! answered leaves two worlds, one in which it happened and one in which it did not; all else is certain.
//!
//! ```text
//!     base            floor, answered             last attempt
//!      |  must be there       |  may be there, in order  |  must not be there
//! ```

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use minikafka_record::Offset;
use minikafka_storage::{Completion, Entry, Index, Removed, StorageError};

/// Long beyond all patience: who waits for longer has been forgotten.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// What was promised about all logs, by topic.
#[derive(Clone, Debug, Default)]
pub(super) struct Ledger {
    pub(super) logs: BTreeMap<String, Vec<World>>,
}

/// One way in which things may be.
#[derive(Clone, Debug)]
pub(super) enum World {
    Absent,
    Present(Content),
}

/// What a log may hold.
#[derive(Clone, Debug, Default)]
pub(super) struct Content {
    /// The last entry that is no longer there.
    pub(super) removed: Removed,
    /// Where the first attempt begins.
    pub(super) base: Offset,
    /// Entries in order, however they were answered.
    pub(super) attempts: Vec<Attempt>,
    /// Where the log may start: the least and the largest offset.
    pub(super) starts: (Offset, Offset),
    /// Entries below it must be there, however they were answered.
    pub(super) floor: Index,
    /// By name, what a blob may be.
    pub(super) blobs: BTreeMap<String, Vec<Blob>>,
}

/// An entry that somebody tried to append.
#[derive(Clone, Debug)]
pub(super) struct Attempt {
    pub(super) entry: Entry,
    pub(super) answer: Arc<Answer>,
}

/// A blob as it may be, and the entries that must be there if it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Blob {
    pub(super) value: Option<Vec<u8>>,
    pub(super) after: Index,
}

/// Something that happens to a log as a whole.
#[derive(Clone, Debug)]
pub(super) enum Change {
    Create,
    Remove,
    Trim(Offset),
    Truncate(Index),
    Reset(Removed, Offset),
    Blob { name: String, value: Vec<u8>, after: Index },
}

/// Whether answers count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trust {
    /// What was answered must be there.
    Answers,
    /// Only what was made durable on demand: after power loss without syncs.
    Demands,
}

impl Ledger {
    /// How a log may be.
    pub(super) fn worlds(&self, topic: &str) -> Vec<World> {
        self.logs.get(topic).cloned().unwrap_or_else(|| vec![World::Absent])
    }

    /// A change has begun: it may have happened. Gives the worlds without it.
    pub(super) fn begin(&mut self, topic: &str, change: &Change) -> Vec<World> {
        let before = self.worlds(topic);
        let after = before.iter().flat_map(|world| world.perhaps(change)).collect();
        self.logs.insert(topic.to_owned(), after);
        before
    }

    /// A change has happened to what was there before.
    pub(super) fn done(&mut self, topic: &str, before: Vec<World>, change: &Change) {
        let after = before.into_iter().map(|world| world.after(change)).collect();
        self.logs.insert(topic.to_owned(), after);
    }

    /// Somebody tries to append entries.
    pub(super) fn attempt(&mut self, topic: &str, entries: &[Entry], answer: &Arc<Answer>) {
        for world in self.logs.get_mut(topic).into_iter().flatten() {
            let World::Present(content) = world else { continue };
            for entry in entries {
                content.attempts.push(Attempt { entry: entry.clone(), answer: answer.clone() });
            }
        }
    }

    /// Everything that was ever appended has been made durable.
    pub(super) fn closed(&mut self) {
        for world in self.logs.values_mut().flatten() {
            if let World::Present(content) = world {
                content.floor = content.next_index();
            }
        }
    }
}

impl World {
    /// As it is when a change has happened.
    fn after(self, change: &Change) -> World {
        match (self, change) {
            (_, Change::Remove) => World::Absent,
            (World::Absent, Change::Create) => {
                World::Present(Content::starting(Removed::default(), Offset::ZERO))
            }
            (World::Absent, _) => World::Absent,
            (World::Present(content), change) => World::Present(content.after(change)),
        }
    }

    /// As it may be when a change was begun.
    fn perhaps(&self, change: &Change) -> Vec<World> {
        match (self, change) {
            (World::Present(content), Change::Create) => vec![World::Present(content.clone())],
            // A start somewhere between is one world, not two.
            (World::Present(content), Change::Trim(to)) => {
                let mut content = content.clone();
                content.starts.1 = content.starts.1.max(*to);
                vec![World::Present(content)]
            }
            (World::Present(content), Change::Blob { name, value, after }) => {
                let mut content = content.clone();
                let blob = Blob { value: Some(value.clone()), after: *after };
                let none = || vec![Blob { value: None, after: 0 }];
                content.blobs.entry(name.clone()).or_insert_with(none).push(blob);
                vec![World::Present(content)]
            }
            (world, change) => vec![world.clone(), world.clone().after(change)],
        }
    }
}

impl Content {
    /// A log with nothing in it.
    pub(super) fn starting(removed: Removed, start: Offset) -> Content {
        Content {
            removed,
            base: start,
            starts: (start, start),
            floor: removed.next_index,
            ..Content::default()
        }
    }

    fn after(mut self, change: &Change) -> Content {
        match change {
            Change::Create | Change::Remove => {}
            Change::Trim(to) => self.starts = (self.starts.0.max(*to), self.starts.1.max(*to)),
            Change::Truncate(from) => {
                self.attempts.retain(|attempt| attempt.entry.index < *from);
                self.floor = self.floor.min(*from);
                self.blobs.values_mut().flatten().for_each(|blob| blob.after = blob.after.min(*from));
            }
            Change::Reset(removed, start) => {
                let mut blobs = self.blobs;
                blobs.values_mut().flatten().for_each(|blob| blob.after = 0);
                self = Content { blobs, ..Content::starting(*removed, *start) };
            }
            Change::Blob { name, value, after } => {
                self.floor = self.floor.max(*after);
                let blob = Blob { value: Some(value.clone()), after: *after };
                self.blobs.insert(name.clone(), vec![blob]);
            }
        }
        self
    }

    /// The entries that are or may be there. Of two with one index it is the later: the earlier was refused.
    pub(super) fn entries(&self) -> Vec<Entry> {
        let mut entries: Vec<Entry> = Vec::new();
        for Attempt { entry, answer } in &self.attempts {
            if answer.leaves_a_trace() {
                entries.truncate(entries.partition_point(|earlier| earlier.index < entry.index));
                entries.push(entry.clone());
            }
        }
        entries
    }

    /// The last attempts and their answers, for the eyes.
    pub(super) fn last_attempts(&self) -> String {
        let line = |Attempt { entry, answer }: &Attempt| format!("  {}: {answer:?}\n", entry.index);
        self.attempts.iter().rev().take(10).map(line).collect()
    }

    /// An index that was used again although the entry with it was acknowledged.
    pub(super) fn used_again(&self) -> Option<Index> {
        let mut acknowledged = None;
        for Attempt { entry, answer } in &self.attempts {
            if acknowledged >= Some(entry.index) {
                return Some(entry.index);
            }
            if answer.is_success() {
                acknowledged = Some(entry.index);
            }
        }
        None
    }

    /// The index behind the last entry that is or may be there.
    pub(super) fn next_index(&self) -> Index {
        let there = |attempt: &&Attempt| attempt.answer.leaves_a_trace();
        let last = self.attempts.iter().rev().find(there);
        last.map_or(self.removed.next_index, |last| last.entry.index + 1)
    }

    /// Entries below it must be there.
    pub(super) fn must(&self, trust: Trust) -> Index {
        let answered = self.attempts.iter().rev().find(|attempt| attempt.answer.is_success());
        let answered = answered.map_or(0, |last| last.entry.index + 1);
        match trust {
            Trust::Answers => self.floor.max(answered),
            Trust::Demands => self.floor,
        }
    }
}

/// What an append was answered.
#[derive(Debug, Default)]
pub(super) struct Answer {
    state: Mutex<Option<Answered>>,
    changed: Condvar,
}

#[derive(Clone, Debug)]
struct Answered {
    outcome: Result<(), Option<StorageError>>,
    /// The how manyth answer it was.
    turn: u64,
}

/// Counts answers.
static TURN: AtomicU64 = AtomicU64::new(0);

/// Notices when nobody answers.
struct Promise(Arc<Answer>);

impl Drop for Promise {
    fn drop(&mut self) {
        self.0.answer(Err(None));
    }
}

impl Answer {
    /// A new one, and whom to call with it.
    pub(super) fn new() -> (Arc<Answer>, Completion) {
        Answer::with(|_| ())
    }

    /// A new one; `on_answer` is called ahead of everybody else.
    pub(super) fn with(
        on_answer: impl FnOnce(&Result<(), StorageError>) + Send + 'static,
    ) -> (Arc<Answer>, Completion) {
        let answer = Arc::new(Answer::default());
        let promise = Promise(answer.clone());
        let completion = move |outcome: Result<(), StorageError>| {
            on_answer(&outcome);
            promise.0.answer(outcome.map_err(Some));
        };
        (answer, Box::new(completion))
    }

    /// One that was a success long ago.
    pub(super) fn success() -> Arc<Answer> {
        let (answer, completion) = Answer::new();
        completion(Ok(()));
        answer
    }

    fn answer(&self, outcome: Result<(), Option<StorageError>>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.get_or_insert_with(|| Answered { outcome, turn: TURN.fetch_add(1, Ordering::Relaxed) });
        self.changed.notify_all();
    }

    fn get(&self) -> Option<Answered> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits for it.
    pub(super) fn wait(&self) -> Result<(), StorageError> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.changed.wait_timeout_while(state, ANSWER_TIMEOUT, |state| state.is_none());
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let answered = state.as_ref().expect("an append was not answered for a minute");
        answered.outcome.clone().map_err(|error| error.expect("a completion was dropped without a call"))
    }

    pub(super) fn is_success(&self) -> bool {
        self.get().is_some_and(|answered| answered.outcome.is_ok())
    }

    /// Whether entries with this answer may be in the log: they are, or nobody knows. The removal of a log or
    /// of its end may be in doubt itself.
    fn leaves_a_trace(&self) -> bool {
        match self.get().map(|answered| answered.outcome) {
            None | Some(Ok(())) => true,
            Some(Err(error)) => matches!(
                error,
                Some(StorageError::Io { .. } | StorageError::Truncated | StorageError::NotFound { .. })
            ),
        }
    }

    /// Which turn it had if it was a success.
    ///
    /// # Errors
    /// When there was no answer.
    pub(super) fn turn(&self) -> Result<Option<u64>, String> {
        match self.get() {
            None | Some(Answered { outcome: Err(None), .. }) => {
                Err("an append was never answered".to_owned())
            }
            Some(Answered { outcome: Ok(()), turn }) => Ok(Some(turn)),
            Some(_) => Ok(None),
        }
    }
}
