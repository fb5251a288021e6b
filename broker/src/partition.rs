//! [`Partition`], the handle that doors produce to and fetch from.

use std::{
    fmt, ptr,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use minikafka_record::Offset;
use minikafka_storage::{Epoch, Log, LogId, Storage, StorageError, TopicId};
use tokio::sync::{Semaphore, mpsc, watch};
use tracing::debug_span;

use crate::{
    CheckedPayload, Error, PartitionBounds, PendingProduce,
    append_clock::AppendClock,
    owner::{self, Command, MAILBOX_LEN, Produce},
    producers::{Memory, ProducerDescription},
    reply::Reply,
    retention::Watch,
    traffic::Meter,
};

/// One partition of a topic. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Partition {
    pub(crate) core: Arc<PartitionCore>,
    mailbox: mpsc::Sender<Command>,
}

/// What a partition's handles, its owner and its completions share.
pub(crate) struct PartitionCore {
    pub(crate) id: LogId,
    pub(crate) leader_epoch: Epoch,
    /// Where its log is opened again when it has failed. The broker's: whoever drops that lets go of the storage.
    pub(crate) storage: Weak<dyn Storage>,
    /// Whether its log has failed.
    pub(crate) has_failed: AtomicBool,
    pub(crate) clock: Arc<AppendClock>,
    /// Room for bytes that wait for the disk, shared by all partitions.
    pub(crate) room: Arc<Semaphore>,
    /// All of it.
    pub(crate) room_bytes: u32,
    /// Threads that may block on cold reads, shared by all partitions.
    pub(crate) cold_reads: Arc<Semaphore>,
    /// What readers wait for.
    pub(crate) progress: watch::Sender<Progress>,
    /// What retention knows.
    pub(crate) watch: Watch,
    /// What is known of idempotent producers.
    pub(crate) producers: Memory<Produce>,
    /// Counts what goes in and out.
    pub(crate) meter: Meter,
}

/// What readers of a partition wait for.
#[derive(Clone, Debug)]
pub(crate) struct Progress {
    /// The log that they read from. It is another one when it was opened again after a failure, and what was
    /// committed is in either.
    pub(crate) log: Arc<dyn Log>,
    pub(crate) high_watermark: Offset,
    pub(crate) state: PartitionState,
}

/// Whether a partition is in service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PartitionState {
    Open,
    Stopping,
    Deleted,
}

impl Partition {
    /// Starts the owner task. Everything in the log is committed: with one server, what is there after a
    /// restart was either acknowledged or is as good as that.
    pub(crate) fn start(core: PartitionCore) -> Partition {
        let core = Arc::new(core);
        let (mailbox, inbox) = mpsc::channel(MAILBOX_LEN);
        tokio::spawn(owner::run(core.clone(), inbox));
        let partition = Partition { core, mailbox };
        partition.core.arm_retention();
        partition
    }

    /// Name of its topic.
    pub fn topic(&self) -> &str {
        &self.core.id.topic
    }

    /// Its number, from 0.
    pub fn number(&self) -> u32 {
        self.core.id.partition
    }

    /// Identity of its topic.
    pub fn topic_id(&self) -> TopicId {
        self.core.id.topic_id
    }

    /// The current leader epoch. Without a cluster nobody begins another one: it is the one that the log was last written
    /// under, and 0 from the start.
    pub fn leader_epoch(&self) -> Epoch {
        self.core.leader_epoch()
    }

    /// Checks the leader epoch that a client believes in, if it names one.
    ///
    /// # Errors
    /// [`Error::StaleLeaderEpoch`] when it is not the current one.
    pub fn check_leader_epoch(&self, wanted: Option<Epoch>) -> Result<(), Error> {
        let current = self.leader_epoch();
        match wanted {
            Some(wanted) if wanted != current => Err(Error::StaleLeaderEpoch {
                topic: self.topic().to_owned(),
                partition: self.number(),
                wanted,
                current,
            }),
            _ => Ok(()),
        }
    }

    /// Whether the partition is still in service: neither deleted nor stopping.
    pub fn is_open(&self) -> bool {
        self.core.progress.borrow().state == PartitionState::Open
    }

    /// Appends messages. Returns once they have their place in the order, which may take until there is room
    /// for their bytes; the [`PendingProduce`] resolves once they are committed.
    ///
    /// # Errors
    /// When the payload is over the topic's limit, or the partition is no longer in service. Nothing is stored
    /// then.
    pub async fn produce(&self, payload: CheckedPayload) -> Result<PendingProduce, Error> {
        let begin = Instant::now();
        self.core.check_open()?;
        payload.check_within(self.core.watch.limits.message_bytes_max())?;
        // What is larger than all the room there is goes alone.
        let bytes = payload.waiting_bytes().min(self.core.room_bytes as usize) as u32;
        let room = self.core.room.clone().acquire_many_owned(bytes).await.map_err(|_| Error::Stopping)?;
        // Waiting for room may have outlasted the partition's service.
        self.core.check_open()?;
        let span = debug_span!(
            "produce",
            partition = %self.core.id,
            count = payload.count,
            bytes = payload.bytes
        );
        let (reply, answer) = Reply::new(&payload, self.core.meter.clone(), begin, span);
        let command = Command::Produce(Produce { payload, reply, room });
        // After a stop or a deletion the owner takes nothing more.
        self.mailbox.send(command).await.map_err(|_| self.core.closed_error())?;
        Ok(PendingProduce(answer))
    }

    /// Where the partition begins and ends.
    pub fn bounds(&self) -> PartitionBounds {
        let Progress { log, high_watermark, .. } = self.core.progress.borrow().clone();
        let bounds = log.bounds();
        PartitionBounds {
            start: bounds.start,
            high_watermark: high_watermark.max(bounds.start),
            end: bounds.end,
            durable: bounds.durable,
            size_bytes: bounds.size_bytes,
            damaged: bounds.damaged,
        }
    }

    /// The idempotent producers that the partition remembers, ordered by id.
    pub fn producers(&self) -> Vec<ProducerDescription> {
        self.core.producers.describe(self.core.clock.now())
    }

    /// Ends the owner task and wakes all readers with the same news.
    pub(crate) async fn end(&self, state: PartitionState) {
        self.core.set_state(state);
        // A full mailbox drains; a closed one has ended already.
        let _ = self.mailbox.send(Command::Stop(self.core.closed_error())).await;
        self.mailbox.closed().await;
    }
}

impl PartitionCore {
    pub(crate) fn leader_epoch(&self) -> Epoch {
        self.leader_epoch
    }

    pub(crate) fn log(&self) -> Arc<dyn Log> {
        self.progress.borrow().log.clone()
    }

    pub(crate) fn high_watermark(&self) -> Offset {
        self.progress.borrow().high_watermark
    }

    /// Everything below `end` is committed: lets readers have it.
    pub(crate) fn commit(self: &Arc<Self>, end: Offset) {
        // An answer of a log that has failed may come behind those of the one in its place.
        self.progress.send_modify(|progress| progress.high_watermark = progress.high_watermark.max(end));
        self.arm_retention();
    }

    /// This log has failed. An answer of one that another has taken the place of may come late, and says nothing of
    /// the one there is.
    pub(crate) fn note_failed(&self, failed: &Weak<dyn Log>) {
        // A `Weak` keeps the address from being used again.
        if ptr::addr_eq(Arc::as_ptr(&self.progress.borrow().log), failed.as_ptr()) {
            self.has_failed.store(true, Ordering::Release);
        }
    }

    /// The log was opened again after a failure: as after a restart, everything in it is committed.
    pub(crate) fn reopened(self: &Arc<Self>, log: Arc<dyn Log>) {
        let end = log.bounds().end;
        self.has_failed.store(false, Ordering::Release);
        if Arc::ptr_eq(&self.log(), &log) {
            // It has not failed after all, and appends are under way: what they bring is not committed yet.
            return;
        }
        self.progress.send_modify(|progress| (progress.log, progress.high_watermark) = (log, end));
        self.arm_retention();
    }

    pub(crate) fn set_state(&self, state: PartitionState) {
        self.progress.send_modify(|progress| progress.state = state);
    }

    pub(crate) fn check_open(&self) -> Result<(), Error> {
        match self.progress.borrow().state {
            PartitionState::Open => Ok(()),
            _ => Err(self.closed_error()),
        }
    }

    fn closed_error(&self) -> Error {
        match self.progress.borrow().state {
            PartitionState::Deleted => Error::TopicNotFound(self.id.topic.clone()),
            PartitionState::Open | PartitionState::Stopping => Error::Stopping,
        }
    }

    /// Runs something that may block on the disk, on a bounded number of threads.
    pub(crate) async fn read_cold<T: Send + 'static>(
        &self,
        read: impl FnOnce(&dyn Log) -> Result<T, StorageError> + Send + 'static,
    ) -> Result<T, Error> {
        let turn = self.cold_reads.clone().acquire_owned().await.map_err(|_| Error::Stopping)?;
        let log = self.log();
        let outcome = tokio::task::spawn_blocking(move || {
            let outcome = read(&*log);
            drop(turn);
            outcome
        });
        match outcome.await {
            Ok(outcome) => outcome.map_err(|error| self.error(error)),
            Err(join) if join.is_panic() => std::panic::resume_unwind(join.into_panic()),
            Err(_) => Err(Error::Stopping),
        }
    }

    /// What a storage error means to those whose messages were appended.
    pub(crate) fn append_error(&self, error: StorageError) -> Error {
        match error {
            source @ (StorageError::Io { .. } | StorageError::Crashed { .. }) => {
                Error::OutcomeUnknown { topic: self.id.topic.clone(), partition: self.id.partition, source }
            }
            other => self.error(other),
        }
    }

    /// What a storage error means to a caller.
    pub(crate) fn error(&self, error: StorageError) -> Error {
        match error {
            StorageError::OutOfRange { wanted, start, .. } => self.out_of_range(wanted, start),
            StorageError::NotFound { .. } => Error::TopicNotFound(self.id.topic.clone()),
            StorageError::Full(what) => Error::Full(what),
            StorageError::Truncated | StorageError::Discontinuous { .. } | StorageError::Reopened => {
                Error::Aborted
            }
            StorageError::Closed => Error::Stopping,
            StorageError::Poisoned(reason) => {
                Error::Poisoned { topic: self.id.topic.clone(), partition: self.id.partition, reason }
            }
            other => Error::Storage(other),
        }
    }

    pub(crate) fn out_of_range(&self, wanted: Offset, start: Offset) -> Error {
        Error::OutOfRange {
            topic: self.id.topic.clone(),
            partition: self.id.partition,
            wanted,
            start,
            high_watermark: self.high_watermark().max(start),
        }
    }
}

impl fmt::Debug for PartitionCore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Partition").field("id", &self.id).field("progress", &*self.progress.borrow()).finish()
    }
}
