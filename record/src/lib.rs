//! Records and record batches: the bytes that everything passes on.
//!
//! A record batch is one or more records encoded as a Kafka batch of format v2. It is the unit that producers
//! send, logs store and readers fetch, byte for byte. Nothing here knows of topics, sockets or disks.
//!
//! ```text
//!   batch = header (61 bytes) | record | record | ...
//!
//!    0  i64  base offset              \
//!    8  i32  length of what follows    |  not under the CRC: the log assigns
//!   12  i32  leader epoch              |  offsets and epochs without touching
//!   16  i8   magic = 2                 |  the records
//!   17  u32  CRC-32C of 21..end       /
//!   21  i16  attributes               \
//!   23  i32  last offset delta         |
//!   27  i64  base timestamp            |
//!   35  i64  max timestamp             |  under the CRC
//!   43  i64  producer id               |
//!   51  i16  producer epoch            |
//!   53  i32  base sequence             |
//!   57  i32  record count             /
//!   61  records, all together compressed if the attributes say so
//!
//!   record = varint length | i8 attributes | varlong timestamp delta | varint offset delta
//!            | varint key length (-1: null) | key | varint value length (-1: null) | value
//!            | varint header count | header*
//!   header = varint name length | name | varint value length (-1: null) | value
//! ```
//!
//! All integers are big-endian; varints are zigzag-encoded. Source: the "Record Batch" section of the Apache
//! Kafka protocol documentation.
//!
//! The lowest three bits of the attributes name the [`Compression`]: 0 none, 1 gzip, 2 snappy, 3 lz4, 4 zstd.
//! A batch is compressed by its producer and stays as it was sent, on disk and on the way to readers. Who
//! wants its records decompresses them as a stream, piece by piece, and never past [`Expansion`]; nothing is
//! allocated by what a field claims.
//!
//! A batch of an idempotent producer carries who sent it and the sequence of its first record: see
//! [`ProducerStamp`]. Producer id, epoch and sequence are -1 otherwise.
//!
//! Offsets count 0, 1, 2...; people and the public API count messages 1, 2, 3...: see [`Offset::number`].

mod batch;
mod builder;
mod checksum;
mod compression;
mod error;
mod header;
mod offset;
mod partitioner;
mod producer;
mod record;
mod records;
mod unpacked;
mod validate;
mod varint;

pub use batch::RecordBatch;
pub use builder::BatchBuilder;
pub use checksum::{Checksum, crc32c};
pub use compression::{Compression, UnknownCompression};
pub use error::BatchError;
pub use header::{BATCH_HEADER_LEN, BATCH_UNCHECKED_LEN, BatchHeader, NO_TIMESTAMP};
pub use offset::Offset;
pub use partitioner::{murmur2, partition_of_key};
pub use producer::{ProducerStamp, Sequence};
pub use record::{Header, Record};
pub use records::Records;
pub use unpacked::Expansion;
