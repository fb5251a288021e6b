//! The owner task of a partition: the only one that appends to its log.
//!
//! It takes whatever waits in its mailbox, makes one entry of it, and hands the entry to the log. It does not
//! wait for the disk: while the disk syncs, the next entries queue up behind, and the sync's own duration
//! forms the batch. There is no timer.
//!
//! Batches of idempotent producers are judged here, once: see [`producers`](crate::producers). An entry without any
//! takes no look at producers at all.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::{Bytes, BytesMut};
use minikafka_record::{BATCH_HEADER_LEN, BatchBuilder, Offset, ProducerStamp};
use minikafka_storage::{Entry, EntryKind, Epoch, Index, Log, Millis, StorageError};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use crate::{
    Error,
    partition::PartitionCore,
    payload::{CheckedPayload, Form},
    producers::{Admission, Completed, EntryId, Place, Rejection},
    reopening::Reopening,
    reply::Reply,
};

/// Requests that may wait in a mailbox; their bytes are bounded by permits.
pub(crate) const MAILBOX_LEN: usize = 1024;
/// An entry takes no more requests once it has this many bytes: large enough for sequential reads, small
/// enough that its batches are quickly checked and copied.
const ENTRY_BYTES: usize = 1024 * 1024;
/// Unused room that an entry may keep, beside a quarter of its bytes: too little to be worth a copy.
const SLACK_BYTES: usize = 64;

/// What an owner can be asked.
#[derive(Debug)]
pub(crate) enum Command {
    /// Append this and answer.
    Produce(Produce),
    /// Take nothing more; answer what waits behind with this error.
    Stop(Error),
}

/// A produce on its way.
#[derive(Debug)]
pub(crate) struct Produce {
    pub(crate) payload: CheckedPayload,
    pub(crate) reply: Reply,
    /// Room for its bytes, given back with the answer.
    pub(crate) room: OwnedSemaphorePermit,
}

/// Where messages went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Produced {
    /// Offset of the first; the others follow without a gap.
    pub base_offset: Offset,
    /// How many.
    pub count: u32,
    /// Append time in milliseconds since the Unix epoch; their age counts from here.
    pub append_time: Millis,
    /// Leader epoch under which they were appended.
    pub leader_epoch: Epoch,
    /// Where the log began when they were.
    pub log_start: Offset,
    /// Whether they were stored before: an idempotent producer has sent them again.
    pub origin: Origin,
}

/// Which request stored what is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// This one.
    This,
    /// An earlier one, with the same batch of the same producer.
    Earlier,
}

/// A produce that has its place in the order: resolves once it is committed, or has failed with nothing
/// stored. Dropping it does not take the messages back.
#[derive(Debug)]
pub struct PendingProduce(pub(crate) oneshot::Receiver<Result<Produced, Error>>);

impl Future for PendingProduce {
    type Output = Result<Produced, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = ready!(Pin::new(&mut self.0).poll(cx));
        // The sender is only dropped unanswered with the whole runtime.
        Poll::Ready(answer.unwrap_or(Err(Error::Stopping)))
    }
}

/// Runs until it is told to stop.
pub(crate) async fn run(core: Arc<PartitionCore>, mut mailbox: mpsc::Receiver<Command>) {
    let mut waiting = Vec::new();
    let mut stopped: Option<Error> = None;
    let mut reopening = Reopening::default();
    let mut appender = Appender { log: core.log(), core, judged_end: Offset::ZERO };
    while mailbox.recv_many(&mut waiting, MAILBOX_LEN).await > 0 {
        if appender.core.has_failed()
            && stopped.is_none()
            && let Some(again) = reopening.reopen(&appender.core).await
        {
            appender.log = again;
        }
        let mut entry = EntryBuilder::default();
        for command in waiting.drain(..) {
            match (command, &stopped) {
                (Command::Produce(produce), None) => {
                    if !entry.has_room_for(&produce.payload) {
                        appender.append(std::mem::take(&mut entry));
                    }
                    entry.push(produce);
                }
                (Command::Produce(produce), Some(why)) => answer(produce.reply, Err(why.clone())),
                (Command::Stop(why), _) => {
                    stopped = Some(why);
                    mailbox.close();
                }
            }
        }
        appender.append(entry);
    }
}

/// Requests that become one entry.
#[derive(Default)]
struct EntryBuilder {
    requests: Vec<Produce>,
    /// An upper bound of the entry's bytes.
    bytes: usize,
    /// Whether one of them comes from an idempotent producer.
    has_producers: bool,
}

impl EntryBuilder {
    fn has_room_for(&self, payload: &CheckedPayload) -> bool {
        match self.requests.last() {
            None => true,
            // What stays where it lies is an entry by itself.
            Some(last) => {
                !last.payload.is_lone && !payload.is_lone && self.bytes + payload.bytes <= ENTRY_BYTES
            }
        }
    }

    fn encoder(&self, target: Target) -> Encoder {
        let is_lone = self.requests.iter().any(|produce| produce.payload.is_lone);
        Encoder {
            out: BytesMut::with_capacity(if is_lone { 0 } else { self.bytes }),
            messages: None,
            lone: None,
            next: target.base_offset,
            batch_base: target.base_offset,
            target,
        }
    }

    fn push(&mut self, produce: Produce) {
        let is_plain = |produce: &Produce| matches!(produce.payload.form, Form::Messages(_));
        // Plain messages in a row share one header.
        let shared = is_plain(&produce) && self.requests.last().is_some_and(is_plain);
        self.bytes += produce.payload.bytes - if shared { BATCH_HEADER_LEN } else { 0 };
        self.has_producers |= produce.payload.producer().is_some();
        self.requests.push(produce);
    }
}

/// A producer that waits for the entry with its messages.
struct Waiter {
    reply: Reply,
    produced: Produced,
    _room: OwnedSemaphorePermit,
}

/// Those who wait for one entry. Mostly that is one: then no memory of their own goes to the thread that completes it,
/// which is another's to give back.
enum Waiters {
    One(Waiter),
    Many(Vec<Waiter>),
}

impl Waiters {
    fn of(mut requests: Vec<Produce>, mut encode: impl FnMut(Produce) -> Waiter) -> Waiters {
        match requests.pop() {
            Some(only) if requests.is_empty() => Waiters::One(encode(only)),
            last => {
                let mut many = Vec::with_capacity(requests.len() + 1);
                many.extend(requests.into_iter().chain(last).map(encode));
                Waiters::Many(many)
            }
        }
    }

    fn answer(self, outcome: &Result<(), Error>) {
        let answer_one =
            |Waiter { reply, produced, _room }| answer(reply, outcome.clone().map(|()| produced));
        match self {
            Waiters::One(waiter) => answer_one(waiter),
            Waiters::Many(waiters) => waiters.into_iter().for_each(answer_one),
        }
    }
}

/// Makes entries of requests and appends them.
struct Appender {
    core: Arc<PartitionCore>,
    /// The core's, until that has failed.
    log: Arc<dyn Log>,
    /// The end of the last entry with batches of idempotent producers.
    judged_end: Offset,
}

impl Appender {
    /// Encodes and appends an entry; its completion answers the producers.
    fn append(&mut self, mut builder: EntryBuilder) {
        if builder.requests.is_empty() {
            return;
        }
        let core = &self.core;
        // The log is asked each time: a failed write may have taken entries off its end, and their numbers with
        // them.
        let bounds = self.log.bounds();
        let append_time = core.clock.now().max(bounds.last_append_time.unwrap_or(Millis::MIN));
        let target = Target {
            base_offset: bounds.end,
            append_time,
            leader_epoch: core.leader_epoch(),
            index: bounds.next_index,
            log_start: bounds.start,
        };
        let judged = self.judge(&mut builder, target);
        if builder.requests.is_empty() {
            return;
        }
        let mut encoder = builder.encoder(target);
        let waiters = Waiters::of(builder.requests, |produce| encoder.encode(produce));
        let (payload, end) = encoder.finish();
        if judged.is_some() {
            self.judged_end = end;
        }
        let core = &self.core;
        if core.producers.grown(payload.len() as u64) {
            core.store_producers();
        }
        let entry = Entry {
            index: target.index,
            epoch: target.leader_epoch,
            base_offset: target.base_offset,
            record_count: end.since(target.base_offset) as u32,
            append_time,
            kind: EntryKind::Data,
            payload,
        };
        let completing = core.clone();
        let committed = Committed { next_index: target.index + 1, end };
        let asked = Arc::downgrade(&self.log);
        let complete = move |outcome| {
            if is_failure(&outcome) {
                completing.note_failed(&asked);
            }
            completing.complete(committed, waiters, judged, &outcome);
        };
        self.log.append(vec![entry], Box::new(complete));
    }

    /// Judges the batches of idempotent producers, and leaves in `builder` what is to be appended. The others are
    /// answered, or wait for batches that are on their way.
    fn judge(&mut self, builder: &mut EntryBuilder, target: Target) -> Option<Judged> {
        if target.base_offset < self.judged_end {
            // A failure took the end off the log, and nobody may go on from what was there.
            let cut = self.core.producers.lock().cut(target.base_offset);
            self.judged_end = target.base_offset;
            self.core.answer_again(cut, &Err(Error::Aborted));
        }
        if !builder.has_producers {
            return None;
        }
        let mut accepted = Vec::with_capacity(builder.requests.len());
        let mut rejected = Vec::new();
        let mut again = Vec::new();
        let mut ids = Vec::new();
        let mut next = target.base_offset;
        let mut producers = self.core.producers.lock();
        let entry = producers.begin_entry();
        for produce in builder.requests.drain(..) {
            let count = produce.payload.count;
            let Some(stamp) = produce.payload.producer() else {
                next = next.plus(count.into());
                accepted.push(produce);
                continue;
            };
            match producers.admit(stamp, count, next, target.append_time, entry, produce) {
                Admission::New(produce) => {
                    next = next.plus(count.into());
                    ids.push(stamp.id);
                    accepted.push(produce);
                }
                Admission::Stored(produce, place) => again.push((produce, place)),
                Admission::OnItsWay => {}
                Admission::Rejected(produce, why) => rejected.push((produce, stamp, why)),
            }
        }
        drop(producers);
        builder.requests = accepted;
        for (produce, place) in again {
            answer(produce.reply, Ok(produced_before(place, target.leader_epoch, target.log_start)));
        }
        for (produce, stamp, why) in rejected {
            answer(produce.reply, Err(self.core.rejection(stamp, why)));
        }
        Some(Judged { entry, ids })
    }
}

/// Where an entry goes.
#[derive(Clone, Copy)]
struct Target {
    index: Index,
    base_offset: Offset,
    append_time: Millis,
    leader_epoch: Epoch,
    log_start: Offset,
}

/// Up to where everything is stored, when an entry is.
#[derive(Clone, Copy)]
struct Committed {
    next_index: Index,
    end: Offset,
}

/// An entry with batches of idempotent producers: these.
struct Judged {
    entry: EntryId,
    ids: Vec<i64>,
}

fn produced_before(place: Place, leader_epoch: Epoch, log_start: Offset) -> Produced {
    Produced {
        base_offset: place.base_offset,
        count: place.count,
        append_time: place.append_time,
        leader_epoch,
        log_start,
        origin: Origin::Earlier,
    }
}

/// Freezes an entry's bytes. They stay in memory for as long as the entry is cached or stored there, so room
/// that the upper bound took too much is not kept: small messages are copied, large ones fill their room
/// anyhow.
fn freeze_tight(payload: BytesMut) -> Bytes {
    let tight = payload.len() + payload.len() / 4 + SLACK_BYTES;
    if payload.capacity() > tight { Bytes::copy_from_slice(&payload) } else { payload.freeze() }
}

/// Encodes requests one behind the other: a batch stays as it is, plain messages in a row share one.
struct Encoder {
    out: BytesMut,
    messages: Option<BatchBuilder>,
    /// All there is, if that is a batch which stays where it lies.
    lone: Option<Bytes>,
    next: Offset,
    /// Offset of the first of `messages`.
    batch_base: Offset,
    target: Target,
}

impl Encoder {
    fn encode(&mut self, produce: Produce) -> Waiter {
        let Target { append_time, leader_epoch, log_start, .. } = self.target;
        let produced = Produced {
            base_offset: self.next,
            count: produce.payload.count,
            append_time,
            leader_epoch,
            log_start,
            origin: Origin::This,
        };
        produce.reply.taken();
        match produce.payload.form {
            Form::Batch(batch) if produce.payload.is_lone => {
                self.lone = Some(batch.placed(self.next, leader_epoch as i32, append_time));
            }
            Form::Batch(batch) => {
                self.end_messages();
                batch.append_to(&mut self.out, self.next, leader_epoch as i32, append_time);
            }
            Form::Messages(list) => {
                if self.messages.is_none() {
                    self.batch_base = self.next;
                }
                let batch =
                    self.messages.get_or_insert_with(|| BatchBuilder::onto(std::mem::take(&mut self.out)));
                for message in &list {
                    let timestamp = message.timestamp.unwrap_or(append_time);
                    batch.push(timestamp, message.key.as_deref(), message.value.as_deref(), &message.headers);
                }
            }
        }
        self.next = self.next.plus(produce.payload.count.into());
        Waiter { reply: produce.reply, produced, _room: produce.room }
    }

    fn end_messages(&mut self) {
        if let Some(batch) = self.messages.take() {
            self.out = batch.finish_onto(self.batch_base, self.target.leader_epoch as i32);
        }
    }

    fn finish(mut self) -> (Bytes, Offset) {
        self.end_messages();
        (self.lone.unwrap_or_else(|| freeze_tight(self.out)), self.next)
    }
}

impl PartitionCore {
    /// Runs on the thread that made the entry durable: moves the high watermark, then answers.
    fn complete(
        self: &Arc<Self>,
        committed: Committed,
        waiters: Waiters,
        judged: Option<Judged>,
        outcome: &Result<(), StorageError>,
    ) {
        if outcome.is_ok() {
            self.commit(committed.end);
        }
        let outcome = outcome.clone().map_err(|error| self.append_error(error));
        if let Some(Judged { entry, ids }) = judged {
            let completed = self.producers.lock().complete(entry, &ids, outcome.is_ok());
            self.answer_again(completed, &outcome);
        }
        if outcome.is_ok() {
            self.producers.note_committed(committed.next_index, committed.end);
        }
        waiters.answer(&outcome);
    }

    /// Answers those who have sent again what was on its way.
    fn answer_again(&self, completed: Vec<Completed<Produce>>, outcome: &Result<(), Error>) {
        for Completed { place, waiting } in completed {
            for produce in waiting {
                let produced = produced_before(place, self.leader_epoch(), self.log().bounds().start);
                answer(produce.reply, outcome.clone().map(|()| produced));
            }
        }
    }

    fn rejection(&self, stamp: ProducerStamp, why: Rejection) -> Error {
        let (topic, partition, id) = (self.id.topic.clone(), self.id.partition, stamp.id);
        match why {
            Rejection::OutOfSequence { expected } => {
                let sequence = stamp.sequence;
                Error::OutOfSequence { topic, partition, id, sequence, expected }
            }
            Rejection::Unknown => Error::UnknownProducer { topic, partition, id, sequence: stamp.sequence },
            Rejection::Fenced { current } => Error::ProducerFenced { id, epoch: stamp.epoch, current },
        }
    }

    /// Has a snapshot of the producers stored, by a thread that may wait for the disk.
    fn store_producers(self: &Arc<Self>) {
        let core = self.clone();
        tokio::task::spawn_blocking(move || match core.producers.store() {
            Ok(()) | Err(StorageError::NotFound { .. } | StorageError::Closed) => {}
            Err(error) => {
                tracing::warn!(partition = %core.id, %error, "what is known of producers could not be stored: a start after a crash reads more of the log");
            }
        });
    }
}

/// Whether a log takes no more appends after this, until it is opened again.
fn is_failure(outcome: &Result<(), StorageError>) -> bool {
    use StorageError::{Io, Poisoned, Reopened};
    matches!(outcome, Err(Io { .. } | Poisoned(_) | Reopened))
}

fn answer(reply: Reply, outcome: Result<Produced, Error>) {
    reply.send(outcome);
}
