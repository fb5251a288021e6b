//! [`RecordBatch`], an encoded batch and what can be asked of it.

use bytes::{Bytes, BytesMut};

use crate::{
    BatchError, BatchHeader, Compression, Header, Offset, Record,
    builder::put,
    checksum::crc32c,
    header::{self, BATCH_HEADER_LEN, NO_TIMESTAMP},
    record::{self, RECORD_LEN_MIN, Sink},
};

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

    /// Checks everything that a log relies on: checksum, attributes, counts, that each record can be read,
    /// and that the maximum timestamp is theirs. Allocates nothing.
    ///
    /// # Errors
    /// The first rule that is broken.
    pub fn validate(&self) -> Result<(), BatchError> {
        self.verify_checksum()?;
        self.validate_attributes()?;
        self.validate_counts()?;
        let mut input = &self.bytes[BATCH_HEADER_LEN..];
        let mut max_timestamp = i64::MIN;
        for index in 0..self.header.count as u32 {
            let deltas =
                record::take(&mut input, &mut Discard).map_err(|rule| BatchError::Record { index, rule })?;
            if deltas.offset as u32 != index {
                return Err(BatchError::Record { index, rule: "its offset delta is out of sequence" });
            }
            max_timestamp = max_timestamp.max(self.header.timestamp(deltas));
        }
        if !input.is_empty() {
            return Err(BatchError::TrailingBytes { extra: input.len() });
        }
        // As in Kafka: records without a timestamp count as -1, so a batch of nothing else has a maximum of
        // -1.
        match self.header.max_timestamp {
            claimed if claimed != max_timestamp => {
                Err(BatchError::MaxTimestamp { claimed, found: max_timestamp })
            }
            _ => Ok(()),
        }
    }

    fn validate_attributes(&self) -> Result<(), BatchError> {
        let attributes = self.header.attributes;
        match self.header.compression() {
            None => return Err(BatchError::Attributes { attributes, rule: "unknown compression" }),
            Some(Compression::None) => {}
            Some(codec) => return Err(BatchError::Compression(codec.name())),
        }
        if self.header.has_append_time() {
            return Err(BatchError::Attributes { attributes, rule: "append times are the server's own" });
        }
        if self.header.has_unknown_attributes() {
            return Err(BatchError::Attributes { attributes, rule: "undefined bits are set" });
        }
        if self.header.is_control() {
            return Err(BatchError::Attributes { attributes, rule: "control batches are the server's own" });
        }
        if self.header.is_transactional() {
            return Err(BatchError::Attributes { attributes, rule: "transactions are not supported" });
        }
        if self.header.producer_id >= 0 {
            return Err(BatchError::Attributes {
                attributes,
                rule: "idempotent producers are not supported",
            });
        }
        Ok(())
    }

    fn validate_counts(&self) -> Result<(), BatchError> {
        let BatchHeader { count, last_offset_delta, .. } = self.header;
        let fail = |rule| Err(BatchError::Count { count, last_offset_delta, rule });
        if count < 1 {
            return fail("a batch has at least one record");
        }
        if last_offset_delta != count - 1 {
            return fail("the last offset delta is the count less one");
        }
        if count as usize > (self.bytes.len() - BATCH_HEADER_LEN) / RECORD_LEN_MIN {
            return fail("there are too few bytes for so many");
        }
        Ok(())
    }

    /// The records, from the first. Slices of the batch; nothing is copied.
    ///
    /// Of a batch that did not [`validate`](RecordBatch::validate), the iterator ends at the first error.
    pub fn records(&self) -> Records {
        Records { header: self.header, rest: self.bytes.slice(BATCH_HEADER_LEN..), index: 0 }
    }

    /// Copies the batch to the end of `out` with the offset and leader epoch that the log assigns. When no
    /// record has a timestamp, all get `append_time`, in milliseconds since the Unix epoch.
    pub fn append_to(&self, out: &mut BytesMut, base_offset: Offset, leader_epoch: i32, append_time: i64) {
        let start = out.len();
        out.extend_from_slice(&self.bytes);
        let copy = &mut out[start..];
        put(copy, header::BASE_OFFSET, &base_offset.as_i64().to_be_bytes());
        put(copy, header::LEADER_EPOCH, &leader_epoch.to_be_bytes());
        if self.lacks_timestamps() {
            // All deltas are what leads from the base to -1, and now they lead to the append time.
            let shift = append_time.wrapping_sub(NO_TIMESTAMP);
            let base_timestamp = self.header.base_timestamp.wrapping_add(shift);
            put(copy, header::BASE_TIMESTAMP, &base_timestamp.to_be_bytes());
            put(copy, header::MAX_TIMESTAMP, &append_time.to_be_bytes());
            let crc = crc32c(&copy[header::ATTRIBUTES..]);
            put(copy, header::CRC, &crc.to_be_bytes());
        }
    }

    /// Whether no record has a timestamp. The maximum alone does not say so, because among records from
    /// before 1970 -1 is a timestamp like others. Such batches are rare, so nearly always the maximum
    /// settles it.
    fn lacks_timestamps(&self) -> bool {
        self.header.max_timestamp == NO_TIMESTAMP
            && self.records().all(|record| record.is_ok_and(|record| record.timestamp == NO_TIMESTAMP))
    }
}

/// The records of a batch; see [`RecordBatch::records`].
#[derive(Clone, Debug)]
pub struct Records {
    header: BatchHeader,
    rest: Bytes,
    index: u32,
}

impl Iterator for Records {
    type Item = Result<Record, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.index >= self.header.count.max(0) as u32 {
            return None;
        }
        let mut input = &self.rest[..];
        let mut keep = Keep::new(&self.rest);
        let deltas = match record::take(&mut input, &mut keep) {
            Ok(deltas) => deltas,
            Err(rule) => {
                let error = BatchError::Record { index: self.index, rule };
                self.index = u32::MAX;
                return Some(Err(error));
            }
        };
        let Keep { key, value, headers, .. } = keep;
        let record = Record {
            offset: self.header.base_offset.plus(deltas.offset.max(0) as u64),
            timestamp: self.header.timestamp(deltas),
            key,
            value,
            headers,
        };
        let used = self.rest.len() - input.len();
        self.rest = self.rest.slice(used..);
        self.index += 1;
        Some(Ok(record))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        // The count is a claim until the batch is validated: the bytes bound it.
        let claimed = (self.header.count.max(0) as u32).saturating_sub(self.index) as usize;
        let left = claimed.min(self.rest.len() / RECORD_LEN_MIN);
        (left, Some(left + 1))
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

/// Keeps slices of the batch.
struct Keep<'a> {
    whole: &'a Bytes,
    key: Option<Bytes>,
    value: Option<Bytes>,
    headers: Vec<Header>,
}

impl<'a> Keep<'a> {
    fn new(whole: &'a Bytes) -> Keep<'a> {
        Keep { whole, key: None, value: None, headers: Vec::new() }
    }

    fn slice(&self, rest: &[u8], len: usize) -> Bytes {
        self.whole.slice_ref(&rest[..len])
    }
}

impl Sink for Keep<'_> {
    fn key(&mut self, rest: &[u8], len: Option<usize>) {
        self.key = len.map(|len| self.slice(rest, len));
    }

    fn value(&mut self, rest: &[u8], len: Option<usize>) {
        self.value = len.map(|len| self.slice(rest, len));
    }

    fn header_name(&mut self, rest: &[u8], len: usize) {
        self.headers.push(Header { name: self.slice(rest, len), value: None });
    }

    fn header_value(&mut self, rest: &[u8], len: Option<usize>) {
        let value = len.map(|len| self.slice(rest, len));
        if let Some(header) = self.headers.last_mut() {
            header.value = value;
        }
    }
}
