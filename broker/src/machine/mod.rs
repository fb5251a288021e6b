//! State machines over internal logs: what a server knows beside messages.
//!
//! Topics, producer ids and groups are not files that are written over. They are a log of commands, like any
//! other log, and a state that is what all of the commands make of it:
//!
//! ```text
//!   submit(command) -> mailbox -> owner task -> Log::append -> ... disk ... -> completion
//!                       bounded    what waits     one entry,                    apply, in order;
//!                                  goes together  one record a command          answer
//!
//!   log:   |  trimmed  |  commands since the snapshot  |
//!                      ^ blob "snapshot": the state that all before here has made
//! ```
//!
//! [`StateMachine::apply`] is total and deterministic: what it refuses it refuses with an output. So any server
//! that has the log has the state, and a cluster can replicate the log as it is.
//!
//! - **Invariant:** nothing is applied before it is durable, and readers see only what is applied.
//! - **Invariant:** commands are applied in the order of the log, at the append time of their entry, and settled with
//!   the others of that entry, whether now or at a later opening.
//! - **Invariant:** a log is trimmed only up to a snapshot that is durable.
//!
//! Not here: what the commands are.

mod owner;
mod replay;
mod snapshot;

use std::{
    fmt,
    sync::{Arc, PoisonError, RwLock},
};

use minikafka_record::Offset;
use minikafka_storage::{LogId, Millis, Storage, StorageError};
use tokio::{
    runtime::{Handle, RuntimeFlavor},
    sync::{mpsc, oneshot, watch},
};

use self::owner::{Condition, Owner, Request, Submission};
use crate::{AppendClock, Error, broker::blocking};

/// What the names of internal logs begin with; topics of users may not.
pub const INTERNAL_PREFIX: &str = "__minikafka";
/// Commands that may wait in a mailbox; so many are durable together.
const MAILBOX_LEN: usize = 1024;
/// Largest command. With the mailbox's length, this bounds the memory of what waits.
pub(crate) const COMMAND_BYTES_MAX: usize = 1024 * 1024;

/// A state and the commands that change it. Snapshots are made of a copy.
pub trait StateMachine: Clone + Send + Sync + 'static {
    /// What is appended to the log.
    type Command: Send + 'static;
    /// What a command comes to, a refusal included.
    type Output: Send + 'static;

    /// Applies a command that was appended at `at`. The same commands at the same times make the same state:
    /// no clocks, no randomness, no configuration. Never fails; a command that cannot be followed changes
    /// nothing, and the output says so.
    fn apply(&mut self, command: Self::Command, at: Millis) -> Self::Output;

    /// Whether the end of the round has something to do for this output.
    fn is_unsettled(_output: &Self::Output) -> bool {
        false
    }

    /// Ends a round, which is the commands of one entry: called for the outputs that are unsettled, in order, once all
    /// commands are applied. What each of them would do anew, is done here once. Deterministic as `apply` is; it may
    /// take a little longer.
    fn settle(&mut self, _output: &mut Self::Output, _at: Millis) {}

    /// A command as it is stored, for good: later versions have to read it.
    fn encode(command: &Self::Command) -> Vec<u8>;

    /// The command that was stored.
    ///
    /// # Errors
    /// When this version does not know what it says.
    fn decode(bytes: &[u8]) -> Result<Self::Command, FormatError>;

    /// The whole state, as it is stored.
    fn snapshot(&self) -> Vec<u8>;

    /// Becomes the state that was stored.
    ///
    /// # Errors
    /// When this version does not know what it says.
    fn restore(&mut self, snapshot: &[u8]) -> Result<(), FormatError>;
}

/// Whole and sound bytes that this version cannot read: a later one has written them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct FormatError(String);

impl FormatError {
    /// What cannot be read, for people.
    pub fn new(what: impl Into<String>) -> FormatError {
        FormatError(what.into())
    }
}

impl From<prost::DecodeError> for FormatError {
    fn from(error: prost::DecodeError) -> FormatError {
        FormatError(error.to_string())
    }
}

/// A running state machine. Cheap to clone.
pub struct Machine<S: StateMachine> {
    shared: Arc<Shared<S>>,
    mailbox: mpsc::Sender<Request<S>>,
    /// Closed when the owner has ended.
    ended: watch::Receiver<()>,
}

/// What handles and the owner share.
struct Shared<S> {
    id: LogId,
    /// A std lock: held while a command is applied or an output settled, or for a look, never across an await.
    state: RwLock<S>,
    /// End of what is applied.
    applied: watch::Sender<Offset>,
    /// How often the log was opened again.
    reopened: watch::Sender<u64>,
    has_losses: bool,
}

impl<S: StateMachine> Machine<S> {
    /// Opens the log `id`, which is created when it is not there, applies to `state` what it holds, and starts.
    /// Runs inside a tokio runtime.
    ///
    /// What the disk has lost is left out, and [`has_losses`](Machine::has_losses) says so. When even the
    /// beginning of the log cannot be read, its successor is taken: the same log with the next partition number.
    ///
    /// # Errors
    /// When the disk fails, or the log holds what only a later version knows.
    pub async fn open(
        storage: Arc<dyn Storage>,
        id: LogId,
        state: S,
        clock: Arc<AppendClock>,
    ) -> Result<Machine<S>, Error> {
        let storage_at_work = storage.clone();
        let replayed = tokio::task::spawn_blocking(move || replay::open(&*storage_at_work, id, state));
        let replayed = match replayed.await {
            Ok(replayed) => replayed?,
            Err(join) if join.is_panic() => std::panic::resume_unwind(join.into_panic()),
            Err(_) => return Err(Error::Stopping),
        };
        let shared = Arc::new(Shared {
            id: replayed.id,
            state: RwLock::new(replayed.state),
            applied: watch::Sender::new(replayed.applied),
            reopened: watch::Sender::new(0),
            has_losses: replayed.has_losses,
        });
        let (mailbox, inbox) = mpsc::channel(MAILBOX_LEN);
        let (running, ended) = watch::channel(());
        let storage = Arc::downgrade(&storage);
        let owner = Owner::new(shared.clone(), storage, replayed.log, clock, replayed.bytes, running);
        tokio::spawn(owner.run(inbox));
        Ok(Machine { shared, mailbox, ended })
    }

    /// Appends a command, waits until it is durable and applied, and returns what came of it. Who goes away
    /// meanwhile does not take it back.
    ///
    /// # Errors
    /// When it could not be appended: it is not applied. After [`Error::OutcomeUnknown`] it may be once the log is
    /// opened again: [`clear_doubt`](Machine::clear_doubt).
    pub async fn submit(&self, command: S::Command) -> Result<S::Output, Error> {
        self.send(command, None).await?.await.unwrap_or(Err(Error::Stopping))
    }

    /// As [`submit`](Machine::submit), if that is still right when the command has its turn, which may be long after it
    /// was submitted: the disk has been busy with others. `None` if it is not.
    ///
    /// # Errors
    /// As [`submit`](Machine::submit).
    pub(crate) async fn submit_if(
        &self,
        command: S::Command,
        is_right: Condition,
    ) -> Result<Option<S::Output>, Error> {
        match self.send(command, Some(is_right)).await?.await {
            Ok(answer) => answer.map(Some),
            // Nobody answers what was not taken.
            Err(_) => Ok(None),
        }
    }

    async fn send(
        &self,
        command: S::Command,
        condition: Option<Condition>,
    ) -> Result<oneshot::Receiver<Result<S::Output, Error>>, Error> {
        let bytes = S::encode(&command);
        if bytes.len() > COMMAND_BYTES_MAX {
            let (size, log) = (bytes.len(), &self.shared.id);
            return Err(Error::InvalidRequest(format!(
                "a change of {size} bytes is over the limit of {COMMAND_BYTES_MAX} bytes of log \"{log}\": ask for less at once"
            )));
        }
        let (reply, answer) = oneshot::channel();
        let request = Request::Submit(Submission { command, bytes, condition, reply });
        self.mailbox.send(request).await.map_err(|_| Error::Stopping)?;
        Ok(answer)
    }

    /// Looks at the state: all that is applied, and no command half. `look` must be brief: commands wait for it.
    pub fn read<T>(&self, look: impl FnOnce(&S) -> T) -> T {
        look(&self.shared.state.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes whenever commands were applied: the offset behind the last one.
    pub fn applied(&self) -> watch::Receiver<Offset> {
        self.shared.applied.subscribe()
    }

    /// Waits until it is known what came of all commands before: opens the log again if its disk has failed over one.
    ///
    /// # Errors
    /// When the log cannot be opened again, or it is too soon to try: they stay in doubt.
    pub async fn clear_doubt(&self) -> Result<(), Error> {
        let (reply, answer) = oneshot::channel();
        self.mailbox.send(Request::ClearDoubt(reply)).await.map_err(|_| Error::Stopping)?;
        answer.await.unwrap_or(Err(Error::Stopping))
    }

    /// Counts how often the log was opened again after its disk had failed. Commands that were on their way then may
    /// have been applied, and nobody was told what came of them: whoever acts upon outputs looks at the state.
    pub fn reopened(&self) -> watch::Receiver<u64> {
        self.shared.reopened.subscribe()
    }

    /// Whether the disk had lost a part of the log, or the snapshot, when the machine was opened. Whoever can
    /// make up for that does so, and then takes a [`snapshot`](Machine::snapshot), which ends it.
    pub fn has_losses(&self) -> bool {
        self.shared.has_losses
    }

    /// Stores a snapshot of what is applied and trims the log up to it, now. The machine does so by itself after
    /// some bytes.
    ///
    /// # Errors
    /// When it cannot be stored; the last one and all behind it stay.
    pub async fn snapshot(&self) -> Result<(), Error> {
        let (reply, answer) = oneshot::channel();
        self.mailbox.send(Request::Snapshot(reply)).await.map_err(|_| Error::Stopping)?;
        answer.await.unwrap_or(Err(Error::Stopping))
    }

    /// Takes no more commands, and waits until those that were taken are answered and no snapshot is being
    /// stored.
    pub async fn close(&self) {
        // A full mailbox drains; a closed one has ended already.
        let _ = self.mailbox.send(Request::Stop).await;
        // Nothing is ever sent.
        let _ = self.ended.clone().changed().await;
    }
}

impl<S: StateMachine> Shared<S> {
    /// Applies the commands of an entry. Others can look at the state in between.
    fn apply(&self, commands: impl IntoIterator<Item = S::Command>, at: Millis) -> Vec<S::Output> {
        let state = || self.state.write().unwrap_or_else(PoisonError::into_inner);
        let mut outputs: Vec<_> = commands.into_iter().map(|command| state().apply(command, at)).collect();
        if outputs.iter().any(S::is_unsettled) {
            let unsettled = outputs.iter_mut().filter(|output| S::is_unsettled(output));
            in_place(|| unsettled.for_each(|output| state().settle(output, at)));
        }
        outputs
    }
}

/// Does what may take long without holding up the other tasks of this thread.
fn in_place(work: impl FnOnce()) {
    match Handle::current().runtime_flavor() {
        RuntimeFlavor::MultiThread => tokio::task::block_in_place(work),
        // There is no other thread that they could go on in.
        _ => work(),
    }
}

impl<S> Shared<S> {
    /// What a storage error means to those whose command was appended.
    fn append_error(&self, error: StorageError) -> Error {
        let (topic, partition) = (self.id.topic.clone(), self.id.partition);
        match error {
            source @ StorageError::Io { .. } => Error::OutcomeUnknown { topic, partition, source },
            StorageError::Poisoned(reason) => Error::Poisoned { topic, partition, reason },
            StorageError::Full(what) => Error::Full(what),
            StorageError::Truncated | StorageError::Discontinuous { .. } => Error::Aborted,
            StorageError::Closed => Error::Stopping,
            other => Error::Storage(other),
        }
    }
}

impl<S: StateMachine> Clone for Machine<S> {
    fn clone(&self) -> Machine<S> {
        Machine { shared: self.shared.clone(), mailbox: self.mailbox.clone(), ended: self.ended.clone() }
    }
}

impl<S: StateMachine> fmt::Debug for Machine<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let applied = *self.shared.applied.borrow();
        f.debug_struct("Machine").field("log", &self.shared.id).field("applied", &applied).finish()
    }
}
