//! LZ4 frames. The blocks are those of `lz4_flex`; the frame is read here, because its reader takes a frame
//! without an end for whole, takes frames of the legacy format that Kafka's clients refuse, and allocates the
//! largest block that the header names before it has seen one.
//!
//! ```text
//!   frame = magic 04 22 4D 18 | flags | block size | content length (8 bytes, if flagged) | header checksum
//!           | block* | 00 00 00 00 | content checksum (4 bytes, if flagged)
//!   block = length (4 bytes; the highest bit: not compressed) | bytes | checksum (4 bytes, if flagged)
//!
//!   flags        7-6 version = 1 | 5 blocks stand alone | 4 block checksums | 3 content length
//!                | 2 content checksum | 1 reserved = 0 | 0 dictionary = 0
//!   block size   7 reserved = 0 | 6-4 largest block: 4 to 7 for 64 KiB, 256 KiB, 1 MiB, 4 MiB | 3-0 reserved = 0
//! ```
//!
//! Integers are little-endian; checksums are xxHash-32 with seed 0, that of the header is its second byte.
//! Source: LZ4 Frame Format Description 1.6.

use std::{
    hash::Hasher as _,
    io::{self, Read, Write as _},
};

use bytes::{Buf as _, Bytes};
use lz4_flex::{
    block::decompress_into_with_dict,
    frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo},
};
use twox_hash::XxHash32;

use super::malformed;

const MAGIC: u32 = 0x184D_2204;
/// Blocks that do not stand alone may look so far back.
const WINDOW_LEN: usize = 64 * 1024;
/// A byte that lengthens a match adds at most so many, and nothing expands to more.
const EXPANSION_MAX: usize = 255;
const NOT_COMPRESSED_BIT: u32 = 1 << 31;

const VERSION: u8 = 0b0100_0000;
const VERSION_BITS: u8 = 0b1100_0000;
const INDEPENDENT_BIT: u8 = 0b0010_0000;
const BLOCK_CHECKSUM_BIT: u8 = 0b0001_0000;
const CONTENT_LEN_BIT: u8 = 0b0000_1000;
const CONTENT_CHECKSUM_BIT: u8 = 0b0000_0100;
const RESERVED_BIT: u8 = 0b0000_0010;
const DICTIONARY_BIT: u8 = 0b0000_0001;

/// Reads one frame.
pub(super) struct Reader {
    /// What is not decompressed yet.
    rest: Bytes,
    stage: Stage,
    block: Vec<u8>,
    /// How much of the block is read.
    read: usize,
}

enum Stage {
    /// Before the frame.
    Begin,
    InFrame(Frame),
    End,
}

/// What the header of a frame says, and what its end will be compared with.
struct Frame {
    has_block_checksums: bool,
    block_len_max: usize,
    content_len: Option<u64>,
    /// When the frame has a content checksum.
    content_hash: Option<XxHash32>,
    /// Bytes so far.
    len: u64,
    /// The last bytes, when blocks may look back at them.
    window: Option<Vec<u8>>,
}

impl Reader {
    pub(super) fn new(compressed: Bytes) -> Reader {
        Reader { rest: compressed, stage: Stage::Begin, block: Vec::new(), read: 0 }
    }

    /// Decompresses the next block, if there is one, in the place of the last one; else ends.
    fn next_block(&mut self) -> io::Result<()> {
        let frame = match &mut self.stage {
            Stage::Begin => {
                self.stage = Stage::InFrame(Frame::take(&mut self.rest)?);
                return Ok(());
            }
            Stage::InFrame(frame) => frame,
            Stage::End => return Ok(()),
        };
        self.read = 0;
        self.block.clear();
        match take_u32(&mut self.rest)? {
            0 => {
                frame.take_end(&mut self.rest)?;
                self.stage = Stage::End;
            }
            header => frame.take_block(header, &mut self.rest, &mut self.block)?,
        }
        Ok(())
    }
}

impl Frame {
    /// Takes the header of a frame.
    fn take(rest: &mut Bytes) -> io::Result<Frame> {
        if take_u32(rest)? != MAGIC {
            return Err(malformed("it does not begin with an LZ4 frame"));
        }
        let descriptor = rest.clone();
        let flags = rest.try_get_u8().map_err(|_| cut_off())?;
        let block_size = rest.try_get_u8().map_err(|_| cut_off())?;
        if flags & (VERSION_BITS | RESERVED_BIT) != VERSION {
            return Err(malformed("the frame is of another version"));
        }
        if flags & DICTIONARY_BIT != 0 {
            return Err(malformed("the frame needs a dictionary"));
        }
        let block_len_max = match block_size {
            0x40 => 64 << 10,
            0x50 => 256 << 10,
            0x60 => 1 << 20,
            0x70 => 4 << 20,
            _ => return Err(malformed("the frame names an impossible block size")),
        };
        let content_len = match flags & CONTENT_LEN_BIT {
            0 => None,
            _ => Some(rest.try_get_u64_le().map_err(|_| cut_off())?),
        };
        let descriptor = &descriptor[..descriptor.len() - rest.len()];
        let checksum = rest.try_get_u8().map_err(|_| cut_off())?;
        if checksum != (XxHash32::oneshot(0, descriptor) >> 8) as u8 {
            return Err(malformed("the checksum of the frame's header is wrong"));
        }
        Ok(Frame {
            has_block_checksums: flags & BLOCK_CHECKSUM_BIT != 0,
            block_len_max,
            content_len,
            content_hash: (flags & CONTENT_CHECKSUM_BIT != 0).then(|| XxHash32::with_seed(0)),
            len: 0,
            window: (flags & INDEPENDENT_BIT == 0).then(Vec::new),
        })
    }

    /// Takes the block behind `header` and expands it into `out`, which is empty.
    fn take_block(&mut self, header: u32, rest: &mut Bytes, out: &mut Vec<u8>) -> io::Result<()> {
        let len = (header & !NOT_COMPRESSED_BIT) as usize;
        if len > self.block_len_max {
            return Err(malformed("a block is larger than the frame says"));
        }
        if len > rest.len() {
            return Err(cut_off());
        }
        let block = rest.split_to(len);
        if self.has_block_checksums && take_u32(rest)? != XxHash32::oneshot(0, &block) {
            return Err(malformed("the checksum of a block is wrong"));
        }
        if header & NOT_COMPRESSED_BIT != 0 {
            out.extend_from_slice(&block);
        } else {
            out.resize(self.block_len_max.min(len.saturating_mul(EXPANSION_MAX)), 0);
            let window = self.window.as_deref().unwrap_or_default();
            let expanded_len = decompress_into_with_dict(&block, out, window).map_err(malformed)?;
            out.truncate(expanded_len);
        }
        self.len += out.len() as u64;
        if let Some(hash) = &mut self.content_hash {
            hash.write(out);
        }
        if let Some(window) = &mut self.window {
            window.extend_from_slice(out);
            let too_old = window.len().saturating_sub(WINDOW_LEN);
            window.drain(..too_old);
        }
        Ok(())
    }

    /// Takes what follows the last block.
    fn take_end(&self, rest: &mut Bytes) -> io::Result<()> {
        if let Some(hash) = &self.content_hash
            && take_u32(rest)? != hash.finish_32()
        {
            return Err(malformed("the checksum of the content is wrong"));
        }
        if self.content_len.is_some_and(|claimed| claimed != self.len) {
            return Err(malformed("the content has another length than the frame says"));
        }
        if !rest.is_empty() {
            return Err(malformed("there are bytes behind the end of the frame"));
        }
        Ok(())
    }
}

impl Read for Reader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.read == self.block.len() && !matches!(self.stage, Stage::End) {
            self.next_block()?;
        }
        let len = out.len().min(self.block.len() - self.read);
        out[..len].copy_from_slice(&self.block[self.read..][..len]);
        self.read += len;
        Ok(len)
    }
}

fn take_u32(rest: &mut Bytes) -> io::Result<u32> {
    rest.try_get_u32_le().map_err(|_| cut_off())
}

fn cut_off() -> io::Error {
    malformed("the frame is cut off")
}

/// Compresses into a frame as Kafka's Java clients write it: they read no blocks that look back.
pub(super) fn compress(plain: &[u8]) -> io::Result<Vec<u8>> {
    let info = FrameInfo::new().block_size(BlockSize::Max64KB).block_mode(BlockMode::Independent);
    let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
    encoder.write_all(plain)?;
    Ok(encoder.finish()?)
}
