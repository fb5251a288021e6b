//! [`RecordBatch::validate`]: what a batch from outside has to keep to.

use bytes::Bytes;

use crate::{
    BATCH_HEADER_LEN, BatchError, BatchHeader, Compression, Expansion, RecordBatch,
    record::{self, RECORD_LEN_MIN, Sink},
    unpacked::Unpacked,
};

impl RecordBatch {
    /// As [`validate_within`](RecordBatch::validate_within) the widest limit.
    ///
    /// # Errors
    /// The first rule that is broken.
    pub fn validate(&self) -> Result<(), BatchError> {
        self.validate_within(Expansion::MAX)
    }

    /// Checks everything that a log relies on: checksum, attributes, counts, that each record can be read,
    /// and that the maximum timestamp is theirs. Compressed records are decompressed for that and thrown
    /// away, piece by piece, no further than `limit`.
    ///
    /// Allocates nothing for a batch that is not compressed. For one that is, a piece of at most 64 KiB, or
    /// the largest record if that is larger, and what the codec needs; never as much as a field of the batch
    /// claims.
    ///
    /// # Errors
    /// The first rule that is broken.
    pub fn validate_within(&self, limit: Expansion) -> Result<(), BatchError> {
        let max_timestamp = self.validate_but_for_time(limit)?;
        match self.header().max_timestamp {
            claimed if claimed != max_timestamp => {
                Err(BatchError::MaxTimestamp { claimed, found: max_timestamp })
            }
            _ => Ok(()),
        }
    }

    /// As [`validate_within`](RecordBatch::validate_within), but a maximum timestamp that is not that of the records is put
    /// right, in a copy, as Kafka's broker does: clients find it in various ways, or not at all.
    ///
    /// # Errors
    /// The first rule that is broken.
    pub fn mended_within(self, limit: Expansion) -> Result<RecordBatch, BatchError> {
        let max_timestamp = self.validate_but_for_time(limit)?;
        match self.header().max_timestamp == max_timestamp {
            true => Ok(self),
            false => Ok(self.with_max_timestamp(max_timestamp)),
        }
    }

    /// Checks all but the maximum timestamp, and returns that of the records. As in Kafka, records without a timestamp count
    /// as -1, so that a batch of nothing else has a maximum of -1.
    fn validate_but_for_time(&self, limit: Expansion) -> Result<i64, BatchError> {
        self.verify_checksum()?;
        let codec = self.validate_attributes()?;
        self.validate_counts()?;
        match codec {
            Compression::None => self.validate_plain(self.packed_records()),
            _ => self.validate_packed(codec, self.bytes().slice(BATCH_HEADER_LEN..), limit),
        }
    }

    /// Checks the records and returns their maximum timestamp.
    fn validate_plain(&self, mut records: &[u8]) -> Result<i64, BatchError> {
        if self.count() > records.len() / RECORD_LEN_MIN {
            return Err(self.miscounted("there are too few bytes for so many"));
        }
        let mut max_timestamp = i64::MIN;
        for index in 0..self.header().count as u32 {
            max_timestamp = max_timestamp.max(self.validate_record(index, &mut records)?);
        }
        if !records.is_empty() {
            return Err(BatchError::TrailingBytes { extra: records.len() });
        }
        Ok(max_timestamp)
    }

    /// As [`validate_plain`](RecordBatch::validate_plain), of compressed records.
    fn validate_packed(
        &self,
        codec: Compression,
        packed: Bytes,
        limit: Expansion,
    ) -> Result<i64, BatchError> {
        let mut unpacked = Unpacked::new(codec, packed, limit)?;
        let mut max_timestamp = i64::MIN;
        for index in 0..self.header().count as u32 {
            let len = unpacked.next_len(index)?;
            max_timestamp = max_timestamp.max(self.validate_record(index, &mut unpacked.front(len))?);
            unpacked.skip(len);
        }
        if !unpacked.is_at_end()? {
            return Err(self.miscounted("there are bytes behind the last record"));
        }
        Ok(max_timestamp)
    }

    /// Takes record `index` off the front of `input` and returns its timestamp.
    fn validate_record(&self, index: u32, input: &mut &[u8]) -> Result<i64, BatchError> {
        let deltas = record::take(input, &mut Discard).map_err(|rule| BatchError::Record { index, rule })?;
        if deltas.offset as u32 != index {
            return Err(BatchError::Record { index, rule: "its offset delta is out of sequence" });
        }
        Ok(self.header().timestamp(deltas))
    }

    fn validate_attributes(&self) -> Result<Compression, BatchError> {
        let header = self.header();
        let attributes = header.attributes;
        let Some(codec) = header.compression() else { return Err(header.unknown_compression()) };
        if header.has_append_time() {
            return Err(BatchError::Attributes { attributes, rule: "append times are the server's own" });
        }
        if header.has_unknown_attributes() {
            return Err(BatchError::Attributes { attributes, rule: "undefined bits are set" });
        }
        if header.is_control() {
            return Err(BatchError::Attributes { attributes, rule: "control batches are the server's own" });
        }
        if header.is_transactional() {
            return Err(BatchError::Attributes { attributes, rule: "transactions are not supported" });
        }
        if header.producer_id >= 0 && header.producer().is_none() {
            return Err(BatchError::Producer {
                id: header.producer_id,
                epoch: header.producer_epoch,
                sequence: header.base_sequence,
            });
        }
        Ok(codec)
    }

    fn validate_counts(&self) -> Result<(), BatchError> {
        let BatchHeader { count, last_offset_delta, .. } = *self.header();
        if count < 1 {
            return Err(self.miscounted("a batch has at least one record"));
        }
        if last_offset_delta != count - 1 {
            return Err(self.miscounted("the last offset delta is the count less one"));
        }
        Ok(())
    }

    fn miscounted(&self, rule: &'static str) -> BatchError {
        let BatchHeader { count, last_offset_delta, .. } = *self.header();
        BatchError::Count { count, last_offset_delta, rule }
    }
}

/// Checks only.
struct Discard;

impl Sink for Discard {
    fn key(&mut self, _: &[u8], _: Option<usize>) {}
    fn value(&mut self, _: &[u8], _: Option<usize>) {}
    fn header_name(&mut self, _: &[u8], _: usize) {}
    fn header_value(&mut self, _: &[u8], _: Option<usize>) {}
}
