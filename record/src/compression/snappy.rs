//! Snappy, in the two forms that Kafka's clients send.
//!
//! ```text
//!   framed, as snappy-java writes it         82 'S' 'N' 'A' 'P' 'P' 'Y' 00 | i32 version | i32 compatible version
//!                                            | (i32 length of a block | block)*
//!   not framed, as librdkafka writes it      block
//! ```
//!
//! Integers are big-endian. A block begins with the length that it expands to, and it has to be allocated in
//! advance; so a length that so few bytes cannot become is refused first.

use std::io::{self, Read};

use bytes::{Buf as _, Bytes};
use snap::raw;

use super::malformed;
use crate::BatchError;

/// Begins what snappy-java has written.
const MAGIC: &[u8; 8] = b"\x82SNAPPY\0";
/// The version, and the oldest version that can read it.
const VERSIONS: [u8; 8] = [0, 0, 0, 1, 0, 0, 0, 1];
/// As snappy-java does.
const BLOCK_LEN: usize = 32 * 1024;
/// A copy of 64 bytes takes up three bytes, and nothing expands to more.
const EXPANSION_MAX: usize = 22;

/// Reads either form.
pub(super) struct Reader {
    /// What is not decompressed yet.
    rest: Bytes,
    form: Form,
    block: Vec<u8>,
    /// How much of the block is read.
    read: usize,
    bytes_max: usize,
}

enum Form {
    Framed,
    /// The whole input is one block.
    Block,
}

impl Reader {
    /// No block may expand to more than `bytes_max`.
    pub(super) fn new(mut compressed: Bytes, bytes_max: usize) -> Reader {
        let form = match compressed.strip_prefix(MAGIC) {
            // The versions have never changed; readers of other languages skip them, too.
            Some(rest) if rest.len() >= VERSIONS.len() => {
                compressed.advance(MAGIC.len() + VERSIONS.len());
                Form::Framed
            }
            _ => Form::Block,
        };
        Reader { rest: compressed, form, block: Vec::new(), read: 0, bytes_max }
    }

    /// The compressed bytes of the next block; `None` at the end.
    fn next_block(&mut self) -> io::Result<Option<Bytes>> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let len = match self.form {
            Form::Block => self.rest.len(),
            Form::Framed => {
                let len = self.rest.try_get_i32().map_err(|_| malformed("a block's length is cut off"))?;
                usize::try_from(len)
                    .ok()
                    .filter(|len| *len <= self.rest.len())
                    .ok_or_else(|| malformed("a block's length reaches beyond the batch"))?
            }
        };
        Ok(Some(self.rest.split_to(len)))
    }

    /// Decompresses the next block in the place of the last one.
    fn expand(&mut self, block: &[u8]) -> io::Result<()> {
        let claimed = raw::decompress_len(block)?;
        if claimed > block.len().saturating_mul(EXPANSION_MAX) {
            return Err(malformed("a block claims more bytes than it can become"));
        }
        if claimed > self.bytes_max {
            return Err(io::Error::other(BatchError::Expanded { max: self.bytes_max }));
        }
        self.read = 0;
        self.block.clear();
        self.block.resize(claimed, 0);
        raw::Decoder::new().decompress(block, &mut self.block)?;
        Ok(())
    }
}

impl Read for Reader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.read == self.block.len() {
            match self.next_block()? {
                Some(block) => self.expand(&block)?,
                None => return Ok(0),
            }
        }
        let len = out.len().min(self.block.len() - self.read);
        out[..len].copy_from_slice(&self.block[self.read..][..len]);
        self.read += len;
        Ok(len)
    }
}

/// Compresses in the framing of snappy-java, which every client of Kafka reads.
pub(super) fn compress(plain: &[u8]) -> io::Result<Vec<u8>> {
    let mut out = [&MAGIC[..], &VERSIONS].concat();
    let mut encoder = raw::Encoder::new();
    for block in plain.chunks(BLOCK_LEN) {
        let block = encoder.compress_vec(block)?;
        out.extend((block.len() as i32).to_be_bytes());
        out.extend(block);
    }
    Ok(out)
}
