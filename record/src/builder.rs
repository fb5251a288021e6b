//! [`BatchBuilder`], which encodes records into a batch.

use bytes::{Bytes, BytesMut};

use crate::{
    Compression, Header, Offset, ProducerStamp, RecordBatch,
    checksum::crc32c,
    header::{self, BATCH_HEADER_LEN, MAGIC_V2, NO_TIMESTAMP},
    record::{self, Deltas},
};

/// Encodes records into one batch, in place: each record is written once, the header at the end. Compression
/// comes after that, if at all.
///
/// ```
/// use minikafka_record::{BatchBuilder, Offset, RecordBatch};
///
/// let mut builder = BatchBuilder::new();
/// builder.push(1_700_000_000_000, None, Some(b"hello"), &[]);
/// let batch = RecordBatch::parse(builder.finish(Offset::ZERO, 0)).unwrap();
/// batch.validate().unwrap();
/// let record = batch.records().next().unwrap().unwrap();
/// assert_eq!(record.value.unwrap(), "hello");
/// ```
#[derive(Debug)]
pub struct BatchBuilder {
    /// Whatever was there before, then room for the header, then the records.
    out: BytesMut,
    /// Where the batch begins.
    start: usize,
    count: i32,
    base_timestamp: i64,
    max_timestamp: i64,
    producer: Option<ProducerStamp>,
}

impl BatchBuilder {
    /// An empty batch.
    pub fn new() -> BatchBuilder {
        BatchBuilder::with_capacity(0)
    }

    /// An empty batch with room for `records_len` bytes of encoded records.
    pub fn with_capacity(records_len: usize) -> BatchBuilder {
        BatchBuilder::onto(BytesMut::with_capacity(BATCH_HEADER_LEN + records_len))
    }

    /// An empty batch behind what `out` holds already.
    pub fn onto(mut out: BytesMut) -> BatchBuilder {
        let start = out.len();
        out.resize(start + BATCH_HEADER_LEN, 0);
        BatchBuilder {
            out,
            start,
            count: 0,
            base_timestamp: NO_TIMESTAMP,
            max_timestamp: NO_TIMESTAMP,
            producer: None,
        }
    }

    /// Appends a record. `timestamp` is in milliseconds since the Unix epoch.
    pub fn push(&mut self, timestamp: i64, key: Option<&[u8]>, value: Option<&[u8]>, headers: &[Header]) {
        if self.count == 0 {
            self.base_timestamp = timestamp;
            self.max_timestamp = timestamp;
        }
        self.max_timestamp = self.max_timestamp.max(timestamp);
        let deltas = Deltas { timestamp: timestamp.wrapping_sub(self.base_timestamp), offset: self.count };
        record::put(&mut self.out, deltas, key, value, headers);
        self.count += 1;
    }

    /// Says who sends the batch, and which of theirs it is.
    pub fn stamp(&mut self, producer: ProducerStamp) {
        self.producer = Some(producer);
    }

    /// Records so far.
    pub fn count(&self) -> usize {
        self.count as usize
    }

    /// Whether there is no record yet.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Bytes of the batch so far, header included.
    pub fn len(&self) -> usize {
        self.out.len() - self.start
    }

    /// An upper bound of the bytes that a record adds to a batch.
    pub fn record_len_max(key: Option<&[u8]>, value: Option<&[u8]>, headers: &[Header]) -> usize {
        const LENGTH_AND_DELTAS_MAX: usize = 5 + 10 + 5;
        LENGTH_AND_DELTAS_MAX + record::body_len(Deltas { timestamp: 0, offset: 0 }, key, value, headers)
    }

    /// The batch. A producer leaves base offset and leader epoch at 0: the log assigns them.
    ///
    /// # Panics
    /// When there is no record: an empty batch has no encoding.
    pub fn finish(self, base_offset: Offset, leader_epoch: i32) -> Bytes {
        self.finish_onto(base_offset, leader_epoch).freeze()
    }

    /// The batch, alone, with its records compressed, or not compressed when that makes it no smaller; see
    /// [`RecordBatch::compress`].
    ///
    /// # Panics
    /// When there is no record.
    pub fn finish_compressed(self, codec: Compression, base_offset: Offset, leader_epoch: i32) -> Bytes {
        let start = self.start;
        let plain = self.finish_onto(base_offset, leader_epoch).split_off(start).freeze();
        RecordBatch::parse(plain).expect("the header was just written").compress(codec).into_bytes()
    }

    /// The batch, behind what was there before; see [`onto`](BatchBuilder::onto).
    ///
    /// # Panics
    /// When there is no record.
    pub fn finish_onto(mut self, base_offset: Offset, leader_epoch: i32) -> BytesMut {
        assert!(self.count > 0, "a batch has at least one record");
        let len = self.len();
        let out = &mut self.out[self.start..];
        put(out, header::BASE_OFFSET, &base_offset.as_i64().to_be_bytes());
        put(out, header::LENGTH, &header::length_field(len).to_be_bytes());
        put(out, header::LEADER_EPOCH, &leader_epoch.to_be_bytes());
        put(out, header::MAGIC, &MAGIC_V2.to_be_bytes());
        put(out, header::ATTRIBUTES, &0i16.to_be_bytes());
        put(out, header::LAST_OFFSET_DELTA, &(self.count - 1).to_be_bytes());
        put(out, header::BASE_TIMESTAMP, &self.base_timestamp.to_be_bytes());
        put(out, header::MAX_TIMESTAMP, &self.max_timestamp.to_be_bytes());
        header::put_producer(out, self.producer);
        put(out, header::COUNT, &self.count.to_be_bytes());
        let crc = crc32c(&out[header::ATTRIBUTES..]);
        put(out, header::CRC, &crc.to_be_bytes());
        self.out
    }
}

impl Default for BatchBuilder {
    fn default() -> BatchBuilder {
        BatchBuilder::new()
    }
}

pub(crate) fn put(out: &mut [u8], at: usize, field: &[u8]) {
    out[at..at + field.len()].copy_from_slice(field);
}
