//! [`Entry`], what a log stores.

use bytes::Bytes;
use minikafka_record::{Offset, RecordBatch};

/// Position of an entry in its log, from 0. Internal entries take an index, too, so it is not the offset.
pub type Index = u64;
/// The term of leadership under which an entry was appended; 0 without a cluster.
pub type Epoch = u64;
/// Milliseconds since the Unix epoch.
pub type Millis = i64;

/// What a log stores and replicates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its position in the log.
    pub index: Index,
    /// Leader epoch under which it was appended.
    pub epoch: Epoch,
    /// Offset of its first record, or of the next record if it holds none.
    pub base_offset: Offset,
    /// Number of records; 0 for internal entries.
    pub record_count: u32,
    /// When it was appended, by the broker's append clock: its age counts from here.
    pub append_time: Millis,
    /// Records or the log's own business.
    pub kind: EntryKind,
    /// One or more record batches, or the bytes of an internal entry.
    pub payload: Bytes,
}

/// What an entry's payload is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// Record batches, one behind the other.
    Data,
    /// Not for readers: membership changes and the like. Takes no offset.
    Internal,
}

impl Entry {
    /// The offset after its last record.
    pub fn end_offset(&self) -> Offset {
        self.base_offset.plus(self.record_count.into())
    }

    /// Its record batches; none for an internal entry. The bytes were validated before they were appended.
    pub fn batches(&self) -> impl Iterator<Item = RecordBatch> + use<> {
        let mut rest = match self.kind {
            EntryKind::Data => self.payload.clone(),
            EntryKind::Internal => Bytes::new(),
        };
        std::iter::from_fn(move || RecordBatch::split_from(&mut rest).ok().flatten())
    }

    /// The largest timestamp of its records, if it has any.
    pub fn max_timestamp(&self) -> Option<Millis> {
        self.batches().map(|batch| batch.header().max_timestamp).max()
    }
}
