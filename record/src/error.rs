//! [`BatchError`], what can be wrong with an encoded batch.

use crate::Compression;

/// What is wrong with an encoded batch. The bytes are to blame: sending them again will not help.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BatchError {
    /// Fewer bytes than a header, or than the header says.
    #[error("record batch is cut short: {have} bytes of {need}")]
    Truncated {
        /// Bytes that a whole batch would have.
        need: usize,
        /// Bytes that are there.
        have: usize,
    },
    /// Bytes after the end that the header names.
    #[error("record batch is followed by {extra} stray bytes")]
    TrailingBytes {
        /// How many.
        extra: usize,
    },
    /// The length field is negative or smaller than a header.
    #[error("record batch length {length} is impossible")]
    Length {
        /// The field.
        length: i32,
    },
    /// A format other than v2.
    #[error("record batch format {magic} is not supported, only format 2")]
    Magic {
        /// The field.
        magic: i8,
    },
    /// The checksum does not match: the bytes were changed on the way.
    #[error("record batch checksum is {computed:#010x}, the header says {stored:#010x}")]
    Checksum {
        /// In the header.
        stored: u32,
        /// Of the bytes.
        computed: u32,
    },
    /// Attribute bits that a producer may not set.
    #[error("record batch attributes {attributes:#06x} are not allowed: {rule}")]
    Attributes {
        /// The field.
        attributes: i16,
        /// What is not allowed.
        rule: &'static str,
    },
    /// A producer id without the rest of the stamp; see [`ProducerStamp`](crate::ProducerStamp).
    #[error(
        "record batch of producer {id} has epoch {epoch} and sequence {sequence}: neither may be negative"
    )]
    Producer {
        /// The producer.
        id: i64,
        /// Its epoch, as the header says.
        epoch: i16,
        /// Sequence of the first record, as the header says.
        sequence: i32,
    },
    /// The records cannot be decompressed.
    #[error("record batch cannot be decompressed as {codec}: {reason}")]
    Compressed {
        /// As what the header announces them.
        codec: Compression,
        /// What the codec says.
        reason: String,
    },
    /// Compressed records that become too many bytes: send fewer at once.
    #[error("record batch expands to more than {max} bytes, the limit of compressed records")]
    Expanded {
        /// The limit, in bytes; see [`Expansion`](crate::Expansion).
        max: usize,
    },
    /// A record of a compressed batch that would be over the limit of a message if it were not compressed.
    #[error("record {index} of the batch has {size} bytes, the limit is {max} bytes")]
    RecordTooLarge {
        /// Which one, from 0.
        index: u32,
        /// Its encoded length in bytes, as it claims.
        size: usize,
        /// The limit; see [`Expansion`](crate::Expansion).
        max: usize,
    },
    /// The counts in the header contradict each other or the bytes.
    #[error("record batch claims {count} records with last offset delta {last_offset_delta}: {rule}")]
    Count {
        /// Record count in the header.
        count: i32,
        /// Last offset delta in the header.
        last_offset_delta: i32,
        /// What contradicts.
        rule: &'static str,
    },
    /// The header's maximum timestamp is not that of the records: look-ups by time would miss some.
    #[error("record batch claims a maximum timestamp of {claimed}, the largest of its records is {found}")]
    MaxTimestamp {
        /// In the header.
        claimed: i64,
        /// Of the records.
        found: i64,
    },
    /// A record that cannot be read.
    #[error("record {index} of the batch is malformed: {rule}")]
    Record {
        /// Which one, from 0.
        index: u32,
        /// What is wrong.
        rule: &'static str,
    },
}

impl BatchError {
    /// Whether less at once would help: nothing is wrong but the size.
    pub fn is_too_large(&self) -> bool {
        matches!(self, BatchError::Expanded { .. } | BatchError::RecordTooLarge { .. })
    }
}
