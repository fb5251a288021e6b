//! The owner task of a partition: the only one that appends to its log.
//!
//! It takes whatever waits in its mailbox, makes one entry of it, and hands the entry to the log. It does not
//! wait for the disk: while the disk syncs, the next entries queue up behind, and the sync's own duration
//! forms the batch. There is no timer.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::{Bytes, BytesMut};
use minikafka_record::{BATCH_HEADER_LEN, BatchBuilder, Offset};
use minikafka_storage::{Entry, EntryKind, Epoch, Millis, StorageError};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use crate::{
    Error,
    partition::PartitionCore,
    payload::{CheckedPayload, Form},
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
    while mailbox.recv_many(&mut waiting, MAILBOX_LEN).await > 0 {
        let mut entry = EntryBuilder::default();
        for command in waiting.drain(..) {
            match (command, &stopped) {
                (Command::Produce(produce), None) => {
                    if !entry.has_room_for(&produce.payload) {
                        append(&core, std::mem::take(&mut entry));
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
        append(&core, entry);
    }
}

/// Requests that become one entry.
#[derive(Default)]
struct EntryBuilder {
    requests: Vec<Produce>,
    /// An upper bound of the entry's bytes.
    bytes: usize,
}

impl EntryBuilder {
    fn has_room_for(&self, payload: &CheckedPayload) -> bool {
        self.requests.is_empty() || self.bytes + payload.bytes <= ENTRY_BYTES
    }

    fn push(&mut self, produce: Produce) {
        let is_plain = |produce: &Produce| matches!(produce.payload.form, Form::Messages(_));
        // Plain messages in a row share one header.
        let shared = is_plain(&produce) && self.requests.last().is_some_and(is_plain);
        self.bytes += produce.payload.bytes - if shared { BATCH_HEADER_LEN } else { 0 };
        produce.reply.taken();
        self.requests.push(produce);
    }
}

/// A producer that waits for the entry with its messages.
struct Waiter {
    reply: Reply,
    produced: Produced,
    _room: OwnedSemaphorePermit,
}

/// Encodes and appends an entry; its completion answers the producers.
fn append(core: &Arc<PartitionCore>, builder: EntryBuilder) {
    if builder.requests.is_empty() {
        return;
    }
    // The log is asked each time: a failed write may have taken entries off its end, and their numbers with
    // them.
    let bounds = core.log.bounds();
    let append_time = core.clock.now().max(bounds.last_append_time.unwrap_or(Millis::MIN));
    let mut encoder = Encoder {
        out: BytesMut::with_capacity(builder.bytes),
        messages: None,
        next: bounds.end,
        batch_base: bounds.end,
        append_time,
        leader_epoch: core.leader_epoch(),
    };
    let waiters: Vec<Waiter> = builder.requests.into_iter().map(|produce| encoder.encode(produce)).collect();
    let (payload, end) = encoder.finish();
    let entry = Entry {
        index: bounds.next_index,
        epoch: core.leader_epoch(),
        base_offset: bounds.end,
        record_count: end.since(bounds.end) as u32,
        append_time,
        kind: EntryKind::Data,
        payload: freeze_tight(payload),
    };
    let core_at_completion = core.clone();
    core.log
        .append(vec![entry], Box::new(move |outcome| complete(&core_at_completion, end, waiters, &outcome)));
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
    next: Offset,
    /// Offset of the first of `messages`.
    batch_base: Offset,
    append_time: Millis,
    leader_epoch: Epoch,
}

impl Encoder {
    fn encode(&mut self, produce: Produce) -> Waiter {
        let produced = Produced {
            base_offset: self.next,
            count: produce.payload.count,
            append_time: self.append_time,
            leader_epoch: self.leader_epoch,
        };
        match produce.payload.form {
            Form::Batch(batch) => {
                self.end_messages();
                batch.append_to(&mut self.out, self.next, self.leader_epoch as i32, self.append_time);
            }
            Form::Messages(list) => {
                if self.messages.is_none() {
                    self.batch_base = self.next;
                }
                let batch =
                    self.messages.get_or_insert_with(|| BatchBuilder::onto(std::mem::take(&mut self.out)));
                for message in &list {
                    let timestamp = message.timestamp.unwrap_or(self.append_time);
                    batch.push(timestamp, message.key.as_deref(), message.value.as_deref(), &message.headers);
                }
            }
        }
        self.next = self.next.plus(produce.payload.count.into());
        Waiter { reply: produce.reply, produced, _room: produce.room }
    }

    fn end_messages(&mut self) {
        if let Some(batch) = self.messages.take() {
            self.out = batch.finish_onto(self.batch_base, self.leader_epoch as i32);
        }
    }

    fn finish(mut self) -> (BytesMut, Offset) {
        self.end_messages();
        (self.out, self.next)
    }
}

/// Runs on the thread that made the entry durable: moves the high watermark, then answers.
fn complete(
    core: &Arc<PartitionCore>,
    end: Offset,
    waiters: Vec<Waiter>,
    outcome: &Result<(), StorageError>,
) {
    if outcome.is_ok() {
        core.commit(end);
    }
    for waiter in waiters {
        let outcome = match outcome {
            Ok(()) => Ok(waiter.produced),
            Err(error) => Err(core.append_error(error.clone())),
        };
        answer(waiter.reply, outcome);
    }
}

fn answer(reply: Reply, outcome: Result<Produced, Error>) {
    reply.send(outcome);
}
