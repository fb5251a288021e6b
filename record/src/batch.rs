//! [`RecordBatch`], an encoded batch and what can be asked of it.

use bytes::{Bytes, BytesMut};

use crate::{
    BatchError, BatchHeader, Compression, Offset, ProducerStamp, Records,
    builder::put,
    checksum::crc32c,
    compression,
    header::{self, BATCH_HEADER_LEN, NO_TIMESTAMP},
};

/// Of a batch that stays where it lies, at most this share of its length may be unused behind it.
const SLACK_SHARE: usize = 16;

/// An encoded batch: the bytes, and their parsed header. Cloning shares the bytes.
///
/// [`parse`](RecordBatch::parse) believes the header's length and looks no further; whoever takes a batch
/// from outside calls [`validate`](RecordBatch::validate).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordBatch {
    header: BatchHeader,
    bytes: Bytes,
}

impl RecordBatch {
    /// The one batch that `bytes` are.
    ///
    /// # Errors
    /// When the header cannot be read, or names another length than that of `bytes`.
    pub fn parse(bytes: Bytes) -> Result<RecordBatch, BatchError> {
        let header = BatchHeader::parse(&bytes)?;
        match bytes.len() {
            have if have < header.len => Err(BatchError::Truncated { need: header.len, have }),
            have if have > header.len => Err(BatchError::TrailingBytes { extra: have - header.len }),
            _ => Ok(RecordBatch { header, bytes }),
        }
    }

    /// Takes the next batch off the front of `bytes`; `None` when they are used up.
    ///
    /// # Errors
    /// When the header cannot be read or names more bytes than there are.
    pub fn split_from(bytes: &mut Bytes) -> Result<Option<RecordBatch>, BatchError> {
        if bytes.is_empty() {
            return Ok(None);
        }
        let header = BatchHeader::parse(bytes)?;
        if bytes.len() < header.len {
            return Err(BatchError::Truncated { need: header.len, have: bytes.len() });
        }
        Ok(Some(RecordBatch { header, bytes: bytes.split_to(header.len) }))
    }

    /// The parsed header.
    pub fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// The encoded batch.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The encoded batch, given away.
    pub fn into_bytes(self) -> Bytes {
        self.bytes
    }

    /// Offset of the first record.
    pub fn base_offset(&self) -> Offset {
        self.header.base_offset
    }

    /// Offset after the last record.
    pub fn end_offset(&self) -> Offset {
        self.header.end_offset()
    }

    /// Number of records.
    pub fn count(&self) -> usize {
        self.header.count.max(0) as usize
    }

    /// Checks the batch's own CRC.
    ///
    /// # Errors
    /// [`BatchError::Checksum`].
    pub fn verify_checksum(&self) -> Result<(), BatchError> {
        let computed = crc32c(&self.bytes[header::ATTRIBUTES..]);
        if computed == self.header.crc {
            Ok(())
        } else {
            Err(BatchError::Checksum { stored: self.header.crc, computed })
        }
    }

    /// The records, from the first; see [`Records`].
    pub fn records(&self) -> Records {
        Records::new(self)
    }

    /// The batch with its records compressed, or the same batch when that makes it no smaller, or when they
    /// are compressed already. The codec works at the level that is Kafka's default: 6 for gzip, 3 for zstd.
    ///
    /// ```
    /// use minikafka_record::{BatchBuilder, Compression, Offset, RecordBatch};
    ///
    /// let mut builder = BatchBuilder::new();
    /// (0..100).for_each(|_| builder.push(0, None, Some(b"again and again"), &[]));
    /// let plain = RecordBatch::parse(builder.finish(Offset::ZERO, 0)).unwrap();
    /// let compressed = plain.compress(Compression::Zstd);
    /// assert!(compressed.bytes().len() < plain.bytes().len());
    /// assert!(compressed.records().eq(plain.records()));
    /// ```
    #[must_use]
    pub fn compress(&self, codec: Compression) -> RecordBatch {
        if codec == Compression::None || self.header.compression() != Some(Compression::None) {
            return self.clone();
        }
        // A codec fails for want of memory alone, and then the batch can go as it is.
        let Ok(compressed) = compression::compress(codec, self.packed_records()) else { return self.clone() };
        let len = BATCH_HEADER_LEN + compressed.len();
        if len >= self.bytes.len() {
            return self.clone();
        }
        let mut out = BytesMut::with_capacity(len);
        out.extend_from_slice(&self.bytes[..BATCH_HEADER_LEN]);
        out.extend_from_slice(&compressed);
        put(&mut out, header::LENGTH, &header::length_field(len).to_be_bytes());
        put(&mut out, header::ATTRIBUTES, &(self.header.attributes | codec.code()).to_be_bytes());
        let crc = crc32c(&out[header::ATTRIBUTES..]);
        put(&mut out, header::CRC, &crc.to_be_bytes());
        RecordBatch::parse(out.freeze()).expect("the header was sound and is")
    }

    /// The batch with another stamp, or with none.
    #[must_use]
    pub fn stamped(&self, producer: Option<ProducerStamp>) -> RecordBatch {
        self.patched(|out| header::put_producer(out, producer))
    }

    /// The batch with another maximum timestamp.
    pub(crate) fn with_max_timestamp(&self, max_timestamp: i64) -> RecordBatch {
        self.patched(|out| put(out, header::MAX_TIMESTAMP, &max_timestamp.to_be_bytes()))
    }

    /// A copy of which something behind the checksum is changed, and nothing that makes it unsound.
    fn patched(&self, change: impl FnOnce(&mut [u8])) -> RecordBatch {
        let mut out = BytesMut::from(&self.bytes[..]);
        change(&mut out);
        let crc = crc32c(&out[header::ATTRIBUTES..]);
        put(&mut out, header::CRC, &crc.to_be_bytes());
        RecordBatch::parse(out.freeze()).expect("the header was sound and is")
    }

    /// The records as they are stored, perhaps compressed.
    pub(crate) fn packed_records(&self) -> &[u8] {
        &self.bytes[BATCH_HEADER_LEN..]
    }

    /// Copies the batch to the end of `out` with the offset and leader epoch that the log assigns. When no
    /// record has a timestamp, all get `append_time`, in milliseconds since the Unix epoch. The records stay
    /// as they are, byte for byte, compressed or not: their timestamps are differences to one in the header.
    pub fn append_to(&self, out: &mut BytesMut, base_offset: Offset, leader_epoch: i32, append_time: i64) {
        let start = out.len();
        out.extend_from_slice(&self.bytes);
        let shift = self.timestamp_shift(append_time);
        self.header.place(&mut out[start..], base_offset, leader_epoch, shift);
    }

    /// As [`append_to`](RecordBatch::append_to), but alone: in the bytes as they lie if nobody else holds any of them,
    /// and in a copy otherwise, or if they leave much room behind them unused.
    pub fn placed(self, base_offset: Offset, leader_epoch: i32, append_time: i64) -> Bytes {
        let shift = self.timestamp_shift(append_time);
        let RecordBatch { header, bytes } = self;
        let mut out = match bytes.try_into_mut() {
            Ok(own) if own.capacity() <= own.len() + own.len() / SLACK_SHARE => own,
            Ok(own) => BytesMut::from(&own[..]),
            Err(shared) => BytesMut::from(&shared[..]),
        };
        header.place(&mut out, base_offset, leader_epoch, shift);
        out.freeze()
    }

    /// By how much timestamps move when no record has one: all deltas are what leads from the base to -1, and then
    /// they lead to the append time.
    fn timestamp_shift(&self, append_time: i64) -> Option<i64> {
        self.lacks_timestamps().then(|| append_time.wrapping_sub(NO_TIMESTAMP))
    }

    /// Whether no record has a timestamp. The maximum alone does not say so, because among records from
    /// before 1970 -1 is a timestamp like others. Batches with such a maximum are rare, so nearly always it
    /// settles the question, and nothing is decompressed.
    fn lacks_timestamps(&self) -> bool {
        self.header.max_timestamp == NO_TIMESTAMP
            && self.records().all(|record| record.is_ok_and(|record| record.timestamp == NO_TIMESTAMP))
    }
}

impl BatchHeader {
    /// Writes what the log assigns into a batch with this header.
    fn place(&self, batch: &mut [u8], base_offset: Offset, leader_epoch: i32, timestamp_shift: Option<i64>) {
        put(batch, header::BASE_OFFSET, &base_offset.as_i64().to_be_bytes());
        put(batch, header::LEADER_EPOCH, &leader_epoch.to_be_bytes());
        if let Some(shift) = timestamp_shift {
            let base_timestamp = self.base_timestamp.wrapping_add(shift);
            put(batch, header::BASE_TIMESTAMP, &base_timestamp.to_be_bytes());
            put(batch, header::MAX_TIMESTAMP, &self.max_timestamp.wrapping_add(shift).to_be_bytes());
            let crc = crc32c(&batch[header::ATTRIBUTES..]);
            put(batch, header::CRC, &crc.to_be_bytes());
        }
    }
}
