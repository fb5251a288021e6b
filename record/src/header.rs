//! [`BatchHeader`], the first 61 bytes of a batch.

use crate::{BatchError, Compression, Offset, ProducerStamp, Sequence, builder::put, record::Deltas};

/// Bytes of a batch header.
pub const BATCH_HEADER_LEN: usize = 61;
/// Bytes at the front of a batch that its own CRC does not cover.
pub const BATCH_UNCHECKED_LEN: usize = 21;
/// A timestamp field that says "none".
pub const NO_TIMESTAMP: i64 = -1;

/// The length field counts from behind itself.
const LENGTH_END: usize = 12;

pub(crate) const BASE_OFFSET: usize = 0;
pub(crate) const LENGTH: usize = 8;
pub(crate) const LEADER_EPOCH: usize = 12;
pub(crate) const MAGIC: usize = 16;
pub(crate) const CRC: usize = 17;
pub(crate) const ATTRIBUTES: usize = 21;
pub(crate) const LAST_OFFSET_DELTA: usize = 23;
pub(crate) const BASE_TIMESTAMP: usize = 27;
pub(crate) const MAX_TIMESTAMP: usize = 35;
pub(crate) const PRODUCER_ID: usize = 43;
pub(crate) const PRODUCER_EPOCH: usize = 51;
pub(crate) const BASE_SEQUENCE: usize = 53;
pub(crate) const COUNT: usize = 57;

/// The one format there is.
pub(crate) const MAGIC_V2: i8 = 2;
/// Attribute bits: codec, timestamp type, transactional, control. The delete horizon (0x40) is for
/// compaction, which is not here.
const CODEC_BITS: i16 = 0x07;
const APPEND_TIME_BIT: i16 = 0x08;
const TRANSACTIONAL_BIT: i16 = 0x10;
const CONTROL_BIT: i16 = 0x20;
/// The bits that mean something here.
const KNOWN_BITS: i16 = CODEC_BITS | APPEND_TIME_BIT | TRANSACTIONAL_BIT | CONTROL_BIT;

/// The header of a batch, parsed. Fields are as on the wire; see the crate's page for the layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct BatchHeader {
    pub base_offset: Offset,
    /// Bytes of the whole batch, header included.
    pub len: usize,
    pub leader_epoch: i32,
    pub crc: u32,
    pub attributes: i16,
    pub last_offset_delta: i32,
    pub base_timestamp: i64,
    pub max_timestamp: i64,
    /// -1: not an idempotent producer.
    pub producer_id: i64,
    pub producer_epoch: i16,
    pub base_sequence: i32,
    pub count: i32,
}

impl BatchHeader {
    /// Reads the header at the front of `bytes`; does not look at the records behind it.
    ///
    /// # Errors
    /// [`BatchError::Truncated`], [`BatchError::Length`] or [`BatchError::Magic`].
    pub fn parse(bytes: &[u8]) -> Result<BatchHeader, BatchError> {
        let Some(header) = bytes.first_chunk::<BATCH_HEADER_LEN>() else {
            return Err(BatchError::Truncated { need: BATCH_HEADER_LEN, have: bytes.len() });
        };
        let magic = header[MAGIC] as i8;
        if magic != MAGIC_V2 {
            return Err(BatchError::Magic { magic });
        }
        let length = i32::from_be_bytes(field(header, LENGTH));
        if length < (BATCH_HEADER_LEN - LENGTH_END) as i32 {
            return Err(BatchError::Length { length });
        }
        Ok(BatchHeader {
            base_offset: Offset::new(i64::from_be_bytes(field(header, BASE_OFFSET)).max(0) as u64),
            len: LENGTH_END + length as usize,
            leader_epoch: i32::from_be_bytes(field(header, LEADER_EPOCH)),
            crc: u32::from_be_bytes(field(header, CRC)),
            attributes: i16::from_be_bytes(field(header, ATTRIBUTES)),
            last_offset_delta: i32::from_be_bytes(field(header, LAST_OFFSET_DELTA)),
            base_timestamp: i64::from_be_bytes(field(header, BASE_TIMESTAMP)),
            max_timestamp: i64::from_be_bytes(field(header, MAX_TIMESTAMP)),
            producer_id: i64::from_be_bytes(field(header, PRODUCER_ID)),
            producer_epoch: i16::from_be_bytes(field(header, PRODUCER_EPOCH)),
            base_sequence: i32::from_be_bytes(field(header, BASE_SEQUENCE)),
            count: i32::from_be_bytes(field(header, COUNT)),
        })
    }

    /// How the records are compressed; `None` for a codec that nobody has defined.
    pub fn compression(&self) -> Option<Compression> {
        Compression::from_code(self.attributes & CODEC_BITS)
    }

    /// The error about such a codec.
    pub(crate) fn unknown_compression(&self) -> BatchError {
        BatchError::Attributes { attributes: self.attributes, rule: "unknown compression" }
    }

    /// Who sent the batch, if that is an idempotent producer.
    pub fn producer(&self) -> Option<ProducerStamp> {
        let sequence = Sequence::new(self.base_sequence)?;
        let is_producer = self.producer_id >= 0 && self.producer_epoch >= 0;
        is_producer.then_some(ProducerStamp { id: self.producer_id, epoch: self.producer_epoch, sequence })
    }

    /// Whether the batch belongs to a transaction.
    pub fn is_transactional(&self) -> bool {
        self.attributes & TRANSACTIONAL_BIT != 0
    }

    /// Whether the batch holds control records, which only a broker writes.
    pub fn is_control(&self) -> bool {
        self.attributes & CONTROL_BIT != 0
    }

    /// Whether the maximum timestamp is the append time of all records, which only a broker says.
    pub fn has_append_time(&self) -> bool {
        self.attributes & APPEND_TIME_BIT != 0
    }

    /// Whether there are attribute bits without a meaning here.
    pub fn has_unknown_attributes(&self) -> bool {
        self.attributes & !KNOWN_BITS != 0
    }

    /// The timestamp of a record. It wraps around, as the difference that the builder took did.
    pub(crate) fn timestamp(&self, deltas: Deltas) -> i64 {
        self.base_timestamp.wrapping_add(deltas.timestamp)
    }

    /// The offset after the last record.
    pub fn end_offset(&self) -> Offset {
        self.base_offset.plus(self.last_offset_delta.max(0) as u64 + 1)
    }
}

/// The `N` bytes at `at`; `at` is a constant of the layout, inside the header.
fn field<const N: usize>(header: &[u8; BATCH_HEADER_LEN], at: usize) -> [u8; N] {
    *header[at..].first_chunk().expect("the layout's fields lie inside the header")
}

/// The value of the length field of a batch of `len` bytes.
pub(crate) fn length_field(len: usize) -> i32 {
    i32::try_from(len - LENGTH_END).expect("a batch is far smaller than 2 GiB")
}

/// Writes the fields that say who sent a batch.
pub(crate) fn put_producer(header: &mut [u8], producer: Option<ProducerStamp>) {
    let (id, epoch, sequence) = match producer {
        Some(producer) => (producer.id, producer.epoch, producer.sequence.get()),
        None => (-1i64, -1i16, -1i32),
    };
    put(header, PRODUCER_ID, &id.to_be_bytes());
    put(header, PRODUCER_EPOCH, &epoch.to_be_bytes());
    put(header, BASE_SEQUENCE, &sequence.to_be_bytes());
}
