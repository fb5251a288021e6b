//! [`Draft`], the batch that takes messages, and [`Batch`], one that is encoded and on its way.

use std::{ops::Range, sync::Arc};

use bytes::Bytes;
use minikafka_record::{BatchBuilder, BatchError, Offset, RecordBatch};
use tokio::time::Instant;

use crate::{Message, Receipt, Refusal, SendError, receipt::Outcome};

/// The batch that takes messages. They are encoded as they come, in the caller's thread.
#[derive(Debug)]
pub(crate) struct Draft {
    builder: BatchBuilder,
    first_position: u64,
    expires_at: Instant,
    room: usize,
    outcome: Arc<Outcome>,
}

impl Draft {
    /// An empty draft. `first_position` is that of its first message, in the order of enqueueing.
    pub(crate) fn new(first_position: u64, expires_at: Instant, bytes_expected: usize) -> Draft {
        Draft {
            builder: BatchBuilder::with_capacity(bytes_expected),
            first_position,
            expires_at,
            room: 0,
            outcome: Arc::default(),
        }
    }

    /// Appends a message that takes up `room` of the buffer.
    pub(crate) fn push(&mut self, message: &Message<'_>, room: usize) -> Receipt {
        let index = self.builder.count() as u32;
        message.encode(&mut self.builder);
        self.room += room;
        Receipt::new(self.outcome.clone(), index)
    }

    /// Bytes of the batch so far.
    pub(crate) fn len(&self) -> usize {
        self.builder.len()
    }

    pub(crate) fn first_position(&self) -> u64 {
        self.first_position
    }

    pub(crate) fn expires_at(&self) -> Instant {
        self.expires_at
    }

    /// The encoded batch. A draft exists because of a message, so it is not empty.
    pub(crate) fn seal(self) -> Batch {
        let count = self.builder.count() as u32;
        Batch {
            bytes: self.builder.finish(Offset::ZERO, 0),
            first_position: self.first_position,
            expires_at: self.expires_at,
            room: self.room,
            outcome: self.outcome,
            indexes: 0..count,
            refusal: None,
        }
    }
}

/// An encoded batch.
#[derive(Debug)]
pub(crate) struct Batch {
    /// Not compressed: that is done when it is written, and splitting it needs no decompression.
    pub(crate) bytes: Bytes,
    /// Position of its first message, in the order of enqueueing.
    pub(crate) first_position: u64,
    /// When it must be delivered.
    pub(crate) expires_at: Instant,
    /// What it takes up of the buffer, in bytes.
    pub(crate) room: usize,
    /// Why the server did not take it yet, when it asked to come back later.
    pub(crate) refusal: Option<Arc<Refusal>>,
    outcome: Arc<Outcome>,
    /// Its messages, as indexes into the outcome.
    indexes: Range<u32>,
}

impl Batch {
    /// Number of messages.
    pub(crate) fn count(&self) -> u32 {
        self.indexes.end - self.indexes.start
    }

    /// Answers its receipts: stored from this number on, or failed.
    pub(crate) fn settle(&self, result: Result<u64, SendError>) {
        self.outcome.settle(self.indexes.clone(), result);
    }

    /// Two batches of half the messages each, for a server that finds the whole too large.
    ///
    /// # Errors
    /// When the batch, which was encoded here, cannot be read: a bug.
    pub(crate) fn split(self) -> Result<[Batch; 2], BatchError> {
        let left_count = self.count() / 2;
        let mut builders = [BatchBuilder::new(), BatchBuilder::new()];
        for (index, record) in (0..).zip(RecordBatch::parse(self.bytes.clone())?.records()) {
            let record = record?;
            let builder = &mut builders[usize::from(index >= left_count)];
            builder.push(record.timestamp, record.key.as_deref(), record.value.as_deref(), &record.headers);
        }
        let middle = self.indexes.start + left_count;
        let [left, right] = builders;
        let left_room = self.room / 2;
        Ok([
            Batch {
                bytes: left.finish(Offset::ZERO, 0),
                indexes: self.indexes.start..middle,
                room: left_room,
                outcome: self.outcome.clone(),
                refusal: None,
                ..self
            },
            Batch {
                bytes: right.finish(Offset::ZERO, 0),
                indexes: middle..self.indexes.end,
                room: self.room - left_room,
                first_position: self.first_position + u64::from(left_count),
                refusal: None,
                ..self
            },
        ])
    }
}
