//! [`Unpacked`], the records of a compressed batch while they are decompressed; and [`Expansion`], how large
//! they may become.

use std::io::Read;

use bytes::{Buf as _, Bytes, BytesMut};

use crate::{BATCH_HEADER_LEN, BatchError, Compression, compression, record::RECORD_LEN_FIELD_MAX, varint};

/// How large the records of a compressed batch may become. There has to be a limit, because a few bytes can
/// become a thousand times as many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expansion {
    records_bytes_max: usize,
    record_bytes_max: usize,
}

impl Expansion {
    /// The widest limit: 64 MiB. Every reader reads as much, whatever a server allows.
    pub const MAX: Expansion =
        Expansion { records_bytes_max: RECORDS_BYTES_MAX, record_bytes_max: RECORDS_BYTES_MAX };

    /// The limit where a batch as it is sent may have `batch_bytes_max` bytes. All records together become at
    /// most eight times as many, and at most 64 MiB. Each record would fit into a batch that is not
    /// compressed, so that compression brings no message that readers would find too large.
    pub const fn of_batches(batch_bytes_max: usize) -> Expansion {
        let records = batch_bytes_max.saturating_mul(FACTOR);
        Expansion {
            records_bytes_max: if records < RECORDS_BYTES_MAX { records } else { RECORDS_BYTES_MAX },
            record_bytes_max: batch_bytes_max.saturating_sub(BATCH_HEADER_LEN),
        }
    }

    /// Most bytes of all records of a batch.
    pub const fn records_bytes_max(self) -> usize {
        self.records_bytes_max
    }

    /// Most bytes of one record.
    pub const fn record_bytes_max(self) -> usize {
        self.record_bytes_max
    }
}

/// As much as our clients take in one gRPC message.
const RECORDS_BYTES_MAX: usize = 64 << 20;
/// Text and JSON become a third to a tenth, and few producers fill a batch to its limit after that.
const FACTOR: usize = 8;

/// Bytes that are decompressed at a time: records share such pieces, and each keeps its whole piece in
/// memory.
const PIECE_LEN_MAX: usize = 64 * 1024;
/// Of small batches they are smaller, because most records become no more than a few times as many bytes.
const PIECE_LEN_MIN: usize = 512;
const USUAL_EXPANSION: usize = 4;

/// The records of a compressed batch, decompressed one after the other.
///
/// It holds a piece of them, or one record if that is larger, beside the memory of the codec. The piece grows
/// with the bytes that really come, not with those that are claimed.
pub(crate) struct Unpacked {
    decompressed: Box<dyn Read + Send + Sync>,
    codec: Compression,
    limit: Expansion,
    /// Begins with the next record.
    buffer: BytesMut,
    piece_len: usize,
    /// Bytes so far.
    expanded: usize,
}

impl Unpacked {
    pub(crate) fn new(
        codec: Compression,
        compressed: Bytes,
        limit: Expansion,
    ) -> Result<Unpacked, BatchError> {
        let piece_len = (USUAL_EXPANSION * compressed.len()).clamp(PIECE_LEN_MIN, PIECE_LEN_MAX);
        let decompressed = compression::reader(codec, compressed, limit.records_bytes_max)
            .map_err(|error| failure(codec, error))?;
        Ok(Unpacked { decompressed, codec, limit, buffer: BytesMut::new(), piece_len, expanded: 0 })
    }

    /// Gets the next record, which is number `index`, and says how many bytes it has. When there is no whole
    /// one, that is all that is left.
    pub(crate) fn next_len(&mut self, index: u32) -> Result<usize, BatchError> {
        self.fill(RECORD_LEN_FIELD_MAX)?;
        let mut rest = &self.buffer[..];
        let body_len = varint::take_i32(&mut rest).and_then(|len| usize::try_from(len).ok());
        let Some(body_len) = body_len else { return Ok(self.buffer.len()) };
        let len = self.buffer.len() - rest.len() + body_len;
        if len > self.limit.record_bytes_max {
            return Err(BatchError::RecordTooLarge { index, size: len, max: self.limit.record_bytes_max });
        }
        self.fill(len)?;
        Ok(len.min(self.buffer.len()))
    }

    /// The first `len` bytes.
    pub(crate) fn front(&self, len: usize) -> &[u8] {
        &self.buffer[..len]
    }

    /// Goes on behind the first `len` bytes.
    pub(crate) fn skip(&mut self, len: usize) {
        self.buffer.advance(len);
    }

    /// Takes the first `len` bytes.
    pub(crate) fn take(&mut self, len: usize) -> Bytes {
        self.buffer.split_to(len).freeze()
    }

    /// Whether nothing is left. At the end the codec looks at its checksums.
    pub(crate) fn is_at_end(&mut self) -> Result<bool, BatchError> {
        self.fill(1)?;
        Ok(self.buffer.is_empty())
    }

    /// Decompresses until there are `len` bytes, or all.
    fn fill(&mut self, len: usize) -> Result<(), BatchError> {
        while self.buffer.len() < len && self.decompress()? > 0 {}
        Ok(())
    }

    fn decompress(&mut self) -> Result<usize, BatchError> {
        let have = self.buffer.len();
        // What a codec left free of the last piece is used up first.
        let free = self.buffer.capacity() - have;
        let room = if free < PIECE_LEN_MIN { self.piece_len } else { free.min(self.piece_len) };
        self.buffer.resize(have + room, 0);
        let read = self.decompressed.read(&mut self.buffer[have..]);
        self.buffer.truncate(have + *read.as_ref().unwrap_or(&0));
        let read = read.map_err(|error| failure(self.codec, error))?;
        self.expanded += read;
        if self.expanded > self.limit.records_bytes_max {
            return Err(BatchError::Expanded { max: self.limit.records_bytes_max });
        }
        Ok(read)
    }
}

fn failure(codec: Compression, error: std::io::Error) -> BatchError {
    error
        .downcast::<BatchError>()
        .unwrap_or_else(|error| BatchError::Compressed { codec, reason: error.to_string() })
}
