//! [`Draft`], the batch that takes messages, and [`Batch`], one that takes no more and is on its way.

use std::{ops::Range, sync::Arc};

use bytes::Bytes;
use minikafka_record::{BatchBuilder, BatchError, Offset, ProducerStamp, RecordBatch};
use tokio::time::Instant;

use crate::{Message, Receipt, Refusal, SendError, positions::Positions, receipt::Outcome};

/// The batch that takes messages. They are encoded as they come, in the caller's thread.
#[derive(Debug)]
pub(crate) struct Draft {
    builder: BatchBuilder,
    partition: u32,
    positions: Positions,
    expires_at: Instant,
    room: usize,
    outcome: Arc<Outcome>,
}

impl Draft {
    /// An empty draft.
    pub(crate) fn new(partition: u32, expires_at: Instant, bytes_expected: usize) -> Draft {
        Draft {
            builder: BatchBuilder::with_capacity(bytes_expected),
            partition,
            positions: Positions::default(),
            expires_at,
            room: 0,
            outcome: Arc::default(),
        }
    }

    /// Appends a message that takes up `room` of the buffer. `position` is its place in the order of enqueueing.
    pub(crate) fn push(&mut self, message: &Message<'_>, room: usize, position: u64) -> Receipt {
        let index = self.builder.count() as u32;
        message.encode(&mut self.builder);
        self.positions.push(position);
        self.room += room;
        Receipt::new(self.outcome.clone(), index, self.partition)
    }

    /// Bytes of the batch so far.
    pub(crate) fn len(&self) -> usize {
        self.builder.len()
    }

    pub(crate) fn first_position(&self) -> u64 {
        self.positions.get(0)
    }

    /// The batch. A draft exists because of a message, so it is not empty.
    pub(crate) fn seal(self) -> Batch {
        let count = self.builder.count() as u32;
        Batch {
            content: Content::Open(self.builder),
            positions: Arc::new(self.positions),
            expires_at: self.expires_at,
            room: self.room,
            outcome: self.outcome,
            indexes: 0..count,
            refusal: None,
            stamp: None,
            may_be_stored: false,
        }
    }
}

/// A batch that takes no more messages.
#[derive(Debug)]
pub(crate) struct Batch {
    content: Content,
    /// Of all messages that share the outcome.
    positions: Arc<Positions>,
    /// When it must be delivered.
    pub(crate) expires_at: Instant,
    /// What it takes up of the buffer, in bytes.
    pub(crate) room: usize,
    /// Why the server did not take it yet, when it asked to come back later.
    pub(crate) refusal: Option<Arc<Refusal>>,
    /// What tells it apart when it is sent again: since it was sent first.
    pub(crate) stamp: Option<ProducerStamp>,
    /// Whether it was sent before, and nobody knows what became of it.
    pub(crate) may_be_stored: bool,
    outcome: Arc<Outcome>,
    /// Its messages, as indexes into the outcome.
    indexes: Range<u32>,
}

/// Not compressed: that is done when it is written, and splitting it needs no decompression.
#[derive(Debug)]
enum Content {
    /// Before it is sent first. The stamp is under the checksum, so the end of the encoding waits for it.
    Open(BatchBuilder),
    Encoded(Bytes),
}

impl Batch {
    /// Number of messages.
    pub(crate) fn count(&self) -> u32 {
        self.indexes.end - self.indexes.start
    }

    /// Position of its first message, in the order of enqueueing.
    pub(crate) fn first_position(&self) -> u64 {
        self.positions.get(self.indexes.start)
    }

    /// Bytes of the batch.
    pub(crate) fn len(&self) -> usize {
        match &self.content {
            Content::Open(builder) => builder.len(),
            Content::Encoded(bytes) => bytes.len(),
        }
    }

    /// The encoded batch with its stamp.
    pub(crate) fn encode(&mut self) -> Bytes {
        let stamp = self.stamp;
        let content = std::mem::replace(&mut self.content, Content::Encoded(Bytes::new()));
        let bytes = match content {
            Content::Open(mut builder) => {
                if let Some(stamp) = stamp {
                    builder.stamp(stamp);
                }
                builder.finish(Offset::ZERO, 0)
            }
            Content::Encoded(bytes) => {
                let batch = RecordBatch::parse(bytes).expect("a batch that was encoded here can be read");
                match batch.header().producer() {
                    same if same == stamp => batch.into_bytes(),
                    _ => batch.stamped(stamp).into_bytes(),
                }
            }
        };
        self.content = Content::Encoded(bytes.clone());
        bytes
    }

    /// Answers its receipts: stored from this number on, or failed.
    pub(crate) fn settle(&self, result: Result<u64, SendError>) {
        self.outcome.settle(self.indexes.clone(), result);
    }

    /// Two batches of half the messages each, for a server that finds the whole too large. Together they take
    /// the sequences that the whole had.
    ///
    /// # Errors
    /// When the batch, which was encoded here, cannot be read: a bug.
    pub(crate) fn split(mut self) -> Result<[Batch; 2], BatchError> {
        let left_count = self.count() / 2;
        let mut builders = [BatchBuilder::new(), BatchBuilder::new()];
        for (index, record) in (0..).zip(RecordBatch::parse(self.encode())?.records()) {
            let record = record?;
            let builder = &mut builders[usize::from(index >= left_count)];
            builder.push(record.timestamp, record.key.as_deref(), record.value.as_deref(), &record.headers);
        }
        let middle = self.indexes.start + left_count;
        let [left, right] = builders;
        let left_room = self.room / 2;
        let right_stamp =
            self.stamp.map(|stamp| ProducerStamp { sequence: stamp.sequence.plus(left_count), ..stamp });
        Ok([
            Batch {
                content: Content::Open(left),
                indexes: self.indexes.start..middle,
                room: left_room,
                outcome: self.outcome.clone(),
                positions: self.positions.clone(),
                refusal: None,
                ..self
            },
            Batch {
                content: Content::Open(right),
                indexes: middle..self.indexes.end,
                room: self.room - left_room,
                stamp: right_stamp,
                refusal: None,
                ..self
            },
        ])
    }
}
