//! [`Records`], the records of a batch one after the other.

use std::fmt;

use bytes::{Buf as _, Bytes};

use crate::{
    BATCH_HEADER_LEN, BatchError, BatchHeader, Compression, Expansion, Header, Record, RecordBatch,
    record::{self, RECORD_LEN_MIN, Sink},
    unpacked::Unpacked,
};

/// The records of a batch; see [`RecordBatch::records`].
///
/// Records of a batch that is not compressed are slices of it, and nothing is copied. Compressed ones are
/// decompressed as they are asked for, to [`Expansion::MAX`] and no further, in pieces of at most 64 KiB; a
/// record keeps its piece in memory, not the batch.
///
/// Of a batch that did not [`validate`](RecordBatch::validate), the iterator ends at the first error.
pub struct Records {
    header: BatchHeader,
    rest: Rest,
    index: u32,
}

/// Where the records come from.
enum Rest {
    Plain(Bytes),
    /// Compressed, and nobody has asked for a record yet.
    Packed(Compression, Bytes),
    Unpacked(Box<Unpacked>),
    /// Compressed by a codec that nobody knows.
    Unknown,
}

impl Records {
    pub(crate) fn new(batch: &RecordBatch) -> Records {
        let header = *batch.header();
        let packed = batch.bytes().slice(BATCH_HEADER_LEN..);
        let rest = match header.compression() {
            Some(Compression::None) => Rest::Plain(packed),
            Some(codec) => Rest::Packed(codec, packed),
            None => Rest::Unknown,
        };
        Records { header, rest, index: 0 }
    }

    fn read(&mut self) -> Result<Record, BatchError> {
        let index = self.index;
        match &mut self.rest {
            Rest::Plain(rest) => take_front(&self.header, index, rest),
            Rest::Unpacked(unpacked) => {
                let len = unpacked.next_len(index)?;
                take_front(&self.header, index, &mut unpacked.take(len))
            }
            Rest::Unknown => Err(self.header.unknown_compression()),
            Rest::Packed(codec, packed) => {
                let unpacked = Unpacked::new(*codec, std::mem::take(packed), Expansion::MAX)?;
                self.rest = Rest::Unpacked(Box::new(unpacked));
                self.read()
            }
        }
    }
}

impl Iterator for Records {
    type Item = Result<Record, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.index >= self.header.count.max(0) as u32 {
            return None;
        }
        let record = self.read();
        self.index = if record.is_ok() { self.index + 1 } else { u32::MAX };
        Some(record)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        // The count is a claim until the batch is validated: the bytes bound it, as far as they are known.
        let claimed = (self.header.count.max(0) as u32).saturating_sub(self.index) as usize;
        match &self.rest {
            Rest::Plain(rest) => {
                let left = claimed.min(rest.len() / RECORD_LEN_MIN);
                (left, Some(left + 1))
            }
            Rest::Packed(..) | Rest::Unpacked(_) | Rest::Unknown => (0, Some(claimed)),
        }
    }
}

impl fmt::Debug for Records {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Records")
            .field("header", &self.header)
            .field("index", &self.index)
            .finish_non_exhaustive()
    }
}

/// Takes the record at the front of `bytes`.
#[inline]
fn take_front(header: &BatchHeader, index: u32, bytes: &mut Bytes) -> Result<Record, BatchError> {
    let mut input = &bytes[..];
    let mut keep = Keep::new(bytes);
    let deltas = record::take(&mut input, &mut keep).map_err(|rule| BatchError::Record { index, rule })?;
    let Keep { key, value, headers, .. } = keep;
    let used = bytes.len() - input.len();
    bytes.advance(used);
    Ok(Record {
        offset: header.base_offset.plus(deltas.offset.max(0) as u64),
        timestamp: header.timestamp(deltas),
        key,
        value,
        headers,
    })
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
