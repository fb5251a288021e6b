//! The owner task of a machine: the only one that appends to its log and changes its state.
//!
//! It appends what waits as one entry, and waits for the disk before it takes the next: while the disk syncs,
//! commands queue up, and the sync's own duration forms the group.

use std::sync::{Arc, PoisonError, Weak};

use minikafka_record::BatchBuilder;
use minikafka_storage::{Entry, EntryKind, Log, Millis, Storage, StorageError};
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
};

use super::{MAILBOX_LEN, Shared, StateMachine, blocking, replay, snapshot::Snapshot};
use crate::{AppendClock, Error, reopening::Reopening};

/// An entry takes no more commands once it has this many bytes: an upper limit of what is encoded at once.
const ENTRY_BYTES: usize = 1024 * 1024;
/// Bytes of commands after which a snapshot is stored: a moment's reading at the next opening. A large state
/// waits for as many bytes as it has itself, so that snapshots never cost more than the log.
const SNAPSHOT_AFTER_BYTES: u64 = 1024 * 1024;

/// What an owner can be asked.
pub(super) enum Request<S: StateMachine> {
    /// Append this, apply it, and answer.
    Submit(Submission<S>),
    /// Open the log again if something is in doubt.
    ClearDoubt(oneshot::Sender<Result<(), Error>>),
    /// Store a snapshot now.
    Snapshot(oneshot::Sender<Result<(), Error>>),
    /// Take nothing more.
    Stop,
}

/// Whether a command is still right.
pub(super) type Condition = Box<dyn Fn() -> bool + Send>;

/// A command on its way.
pub(super) struct Submission<S: StateMachine> {
    pub(super) command: S::Command,
    pub(super) bytes: Vec<u8>,
    /// Asked when it is appended. If it says no, the command is dropped with its reply.
    pub(super) condition: Option<Condition>,
    pub(super) reply: oneshot::Sender<Result<S::Output, Error>>,
}

/// The task.
pub(super) struct Owner<S: StateMachine> {
    shared: Arc<Shared<S>>,
    /// Weak: a storage that everybody else has let go of is not kept open by its machines.
    storage: Weak<dyn Storage>,
    log: Arc<dyn Log>,
    clock: Arc<AppendClock>,
    /// Bytes of commands since the last snapshot.
    bytes: u64,
    /// At so many, the next one is stored.
    snapshot_at_bytes: u64,
    /// Says how many bytes the snapshot has.
    storing: Option<JoinHandle<Result<u64, Error>>>,
    /// The log takes no more appends until it is opened again.
    has_failed: bool,
    /// Nobody knows what came of the commands over which it has failed.
    is_in_doubt: bool,
    reopening: Reopening,
    /// Dropped when the task ends.
    _running: watch::Sender<()>,
}

impl<S: StateMachine> Owner<S> {
    pub(super) fn new(
        shared: Arc<Shared<S>>,
        storage: Weak<dyn Storage>,
        log: Arc<dyn Log>,
        clock: Arc<AppendClock>,
        bytes: u64,
        running: watch::Sender<()>,
    ) -> Owner<S> {
        let snapshot_at_bytes = SNAPSHOT_AFTER_BYTES;
        Owner {
            shared,
            storage,
            log,
            clock,
            bytes,
            snapshot_at_bytes,
            storing: None,
            has_failed: false,
            is_in_doubt: false,
            reopening: Reopening::default(),
            _running: running,
        }
    }

    /// Runs until it is told to stop.
    pub(super) async fn run(mut self, mut mailbox: mpsc::Receiver<Request<S>>) {
        let mut waiting = Vec::new();
        while mailbox.recv_many(&mut waiting, MAILBOX_LEN).await > 0 {
            let (mut round, mut round_bytes) = (Vec::new(), 0);
            for request in waiting.drain(..) {
                match request {
                    Request::Submit(submission) => {
                        if round_bytes + submission.bytes.len() > ENTRY_BYTES {
                            self.commit(std::mem::take(&mut round)).await;
                            round_bytes = 0;
                        }
                        round_bytes += submission.bytes.len();
                        round.push(submission);
                    }
                    Request::ClearDoubt(reply) => {
                        self.commit(std::mem::take(&mut round)).await;
                        round_bytes = 0;
                        let _ = reply.send(self.clear_doubt().await);
                    }
                    Request::Snapshot(reply) => {
                        self.commit(std::mem::take(&mut round)).await;
                        round_bytes = 0;
                        let _ = reply.send(self.snapshot_now().await);
                    }
                    Request::Stop => mailbox.close(),
                }
            }
            self.commit(round).await;
        }
        let _ = self.finish_storing().await;
    }

    /// Appends a round of commands, and applies and answers them when they are durable.
    async fn commit(&mut self, mut round: Vec<Submission<S>>) {
        if round.is_empty() {
            return;
        }
        self.reopen_if_due().await;
        round.retain(|submission| submission.condition.as_ref().is_none_or(|is_right| is_right()));
        if round.is_empty() {
            return;
        }
        // The log is asked each time: a refused append has taken its numbers back.
        let bounds = self.log.bounds();
        let at = self.clock.now().max(bounds.last_append_time.unwrap_or(Millis::MIN));
        let payload = encode(&round, at).finish(bounds.end, bounds.last_epoch as i32);
        let entry = Entry {
            index: bounds.next_index,
            epoch: bounds.last_epoch,
            base_offset: bounds.end,
            record_count: round.len() as u32,
            append_time: at,
            kind: EntryKind::Data,
            payload,
        };
        let (end, bytes) = (entry.end_offset(), entry.payload.len() as u64);
        let (completed, completion) = oneshot::channel();
        self.log.append(vec![entry], Box::new(move |outcome| drop(completed.send(outcome))));
        if let Err(error) = completion.await.unwrap_or(Err(StorageError::Closed)) {
            self.has_failed |=
                matches!(error, StorageError::Io { .. } | StorageError::Poisoned(_) | StorageError::Reopened);
            self.is_in_doubt |= matches!(error, StorageError::Io { .. });
            for submission in round {
                let _ = submission.reply.send(Err(self.shared.append_error(error.clone())));
            }
            return;
        }
        self.bytes += bytes;
        let (commands, replies): (Vec<_>, Vec<_>) =
            round.into_iter().map(|taken| (taken.command, taken.reply)).unzip();
        let outputs = self.shared.apply(commands, at);
        self.shared.applied.send_replace(end);
        for (reply, output) in replies.into_iter().zip(outputs) {
            // Who went away does not want to know.
            let _ = reply.send(Ok(output));
        }
        self.snapshot_if_due().await;
    }

    /// Leaves no doubt about what came of everything before.
    async fn clear_doubt(&mut self) -> Result<(), Error> {
        if self.is_in_doubt {
            self.reopen_if_due().await;
        }
        if self.is_in_doubt {
            let why = "its disk has failed, and it is not open again yet".to_owned();
            return Err(self.shared.append_error(StorageError::Poisoned(why)));
        }
        Ok(())
    }

    async fn reopen_if_due(&mut self) {
        if self.has_failed && self.reopening.is_due() {
            self.reopen().await;
        }
    }

    /// Opens the log again after its disk has failed, and applies what was on its way then and is there.
    async fn reopen(&mut self) {
        let Some(storage) = self.storage.upgrade() else { return };
        let (id, applied) = (self.shared.id.clone(), *self.shared.applied.borrow());
        let open = move || {
            let log = storage.open_reserved(&id).map_err(Error::Storage)?;
            let rounds = replay::read_rounds::<S>(&*log, applied)?;
            Ok::<_, Error>((log, rounds))
        };
        let opened = match tokio::task::spawn_blocking(open).await {
            Ok(opened) => opened,
            Err(join) if join.is_panic() => std::panic::resume_unwind(join.into_panic()),
            Err(_) => return,
        };
        let (log, rounds) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                tracing::warn!(log = %self.shared.id, %error, "the log could not be opened again");
                return;
            }
        };
        let end = log.bounds().end;
        for (commands, at) in rounds {
            self.shared.apply(commands, at);
        }
        self.shared.applied.send_replace(end);
        self.shared.reopened.send_modify(|times| *times += 1);
        (self.log, self.has_failed, self.is_in_doubt) = (log, false, false);
    }

    /// Begins to store a snapshot if enough has come in since the last one. Commands go on meanwhile, until the
    /// next is due: a slow disk slows them down, rather than that the log grows.
    async fn snapshot_if_due(&mut self) {
        if self.bytes < self.snapshot_at_bytes {
            return;
        }
        // Why one failed is in the log. One that was stored says how large they are.
        let _ = self.finish_storing().await;
        if self.bytes >= self.snapshot_at_bytes {
            self.begin_snapshot();
        }
    }

    async fn snapshot_now(&mut self) -> Result<(), Error> {
        let _ = self.finish_storing().await;
        self.begin_snapshot();
        self.finish_storing().await
    }

    /// A copy of the state is encoded and stored on another thread.
    fn begin_snapshot(&mut self) {
        let Some(storage) = self.storage.upgrade() else { return };
        let state = self.shared.state.read().unwrap_or_else(PoisonError::into_inner).clone();
        let offset = *self.shared.applied.borrow();
        self.bytes = 0;
        let (shared, log) = (self.shared.clone(), self.log.clone());
        self.storing = Some(tokio::spawn(async move {
            let id = shared.id.clone();
            let store = move || {
                let snapshot = Snapshot::new(offset, state.snapshot());
                drop(state);
                snapshot.store(&*storage, &id, &*log)?;
                Ok(snapshot.state.len() as u64)
            };
            let stored = blocking(store).await;
            if let Err(error) = &stored {
                tracing::error!(log = %shared.id, %error, "the snapshot is not stored, the log goes on growing");
            }
            stored
        }));
    }

    async fn finish_storing(&mut self) -> Result<(), Error> {
        let Some(storing) = self.storing.take() else { return Ok(()) };
        match storing.await {
            Ok(stored) => {
                self.snapshot_at_bytes = SNAPSHOT_AFTER_BYTES.max(stored?);
                Ok(())
            }
            Err(join) if join.is_panic() => std::panic::resume_unwind(join.into_panic()),
            Err(_) => Err(Error::Stopping),
        }
    }
}

/// One batch, one record for each command.
fn encode<S: StateMachine>(round: &[Submission<S>], at: Millis) -> BatchBuilder {
    const RECORD_OVERHEAD: usize = 32;
    let bytes: usize = round.iter().map(|submission| submission.bytes.len() + RECORD_OVERHEAD).sum();
    let mut batch = BatchBuilder::with_capacity(bytes);
    round.iter().for_each(|submission| batch.push(at, None, Some(&submission.bytes), &[]));
    batch
}
