//! [`FrameScan`], which reads the frames of a segment one after the other, in large reads.

use std::{io, sync::Arc};

use bytes::{Bytes, BytesMut};
use minikafka_record::Offset;

use super::{
    disk::DiskFile,
    durable,
    frame::{FRAME_HEADER_LEN, FrameHeader, Salt},
};
use crate::Entry;

/// Read at a time when frames are hunted for behind damage.
const HUNT_CHUNK_LEN: usize = 64 * 1024;
/// Bytes of the salt's first half, which a frame begins with.
const MAGIC_LEN: u64 = 4;

/// Reads verified frames from a range of a file.
#[derive(Debug)]
pub(super) struct FrameScan {
    file: Arc<dyn DiskFile>,
    salt: Salt,
    /// Where the next frame begins.
    position: u64,
    /// Where the frames end.
    end: u64,
    /// Bytes read ahead, from `position` on.
    chunk: Bytes,
    chunk_len: usize,
}

/// A frame and where it lies.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) position: u64,
    pub(super) durable: Offset,
    pub(super) entry: Entry,
}

/// Why a scan cannot go on.
#[derive(Debug)]
pub(super) enum ScanError {
    /// The bytes at `position` are no whole frame.
    Bad { position: u64, what: &'static str },
    /// The disk failed.
    Io(io::Error),
}

impl From<io::Error> for ScanError {
    fn from(error: io::Error) -> ScanError {
        ScanError::Io(error)
    }
}

impl FrameScan {
    /// Scans the frames with this salt in `[position, end)`, reading about `chunk_len` bytes at a time.
    pub(super) fn new(
        file: Arc<dyn DiskFile>,
        salt: Salt,
        position: u64,
        end: u64,
        chunk_len: usize,
    ) -> FrameScan {
        FrameScan { file, salt, position, end, chunk: Bytes::new(), chunk_len }
    }

    /// Where the next frame begins.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// The next frame; `None` at the end.
    ///
    /// # Errors
    /// When it is not whole, or cannot be read. The position stays.
    pub(super) fn next(&mut self) -> Result<Option<Frame>, ScanError> {
        if self.position >= self.end {
            return Ok(None);
        }
        let position = self.position;
        let bad = |what| ScanError::Bad { position, what };
        if !self.fill(FRAME_HEADER_LEN)? {
            return Err(bad("the frame's header is cut off"));
        }
        let header = self.chunk.first_chunk().expect("a header's bytes were filled in");
        let header = FrameHeader::parse(header, self.salt).map_err(bad)?;
        let len = FRAME_HEADER_LEN + header.payload_len;
        if !self.fill(len)? {
            return Err(bad("the frame is cut off"));
        }
        let entry = header.verify(self.chunk.slice(FRAME_HEADER_LEN..len), self.salt).map_err(bad)?;
        self.chunk = self.chunk.slice(len..);
        self.position += len as u64;
        Ok(Some(Frame { position, durable: header.durable, entry }))
    }

    /// Moves on to the next whole frame behind the position, where there is none; says whether there is one.
    /// Hunts for it at every byte.
    pub(super) fn skip_damage(&mut self) -> io::Result<bool> {
        let mut from = self.position + 1;
        let mut window = vec![0; HUNT_CHUNK_LEN];
        while from + FRAME_HEADER_LEN as u64 <= self.end {
            let len = window.len().min((self.end - from) as usize);
            let window = &mut window[..len];
            durable::read_exact_at(&*self.file, window, from)?;
            for at in self.salt.candidates(window) {
                let at = from + at as u64;
                let mut scan = FrameScan::new(self.file.clone(), self.salt, at, self.end, HUNT_CHUNK_LEN);
                match scan.next() {
                    Ok(Some(_)) => {
                        self.position = at;
                        self.chunk = Bytes::new();
                        return Ok(true);
                    }
                    Ok(None) | Err(ScanError::Bad { .. }) => {}
                    Err(ScanError::Io(error)) => return Err(error),
                }
            }
            // Windows overlap, so that no magic is missed at their seam.
            from += (len as u64).saturating_sub(MAGIC_LEN - 1).max(1);
        }
        Ok(false)
    }

    /// Makes the chunk hold at least `len` bytes; says whether there are that many. Allocates by what the
    /// file holds, not by what a frame claims.
    fn fill(&mut self, len: usize) -> io::Result<bool> {
        if self.chunk.len() >= len {
            return Ok(true);
        }
        let left = self.end - self.position;
        if left < len as u64 {
            return Ok(false);
        }
        let wanted = left.min(len.max(self.chunk_len) as u64) as usize;
        let mut chunk = BytesMut::zeroed(wanted);
        durable::read_exact_at(&*self.file, &mut chunk, self.position)?;
        self.chunk = chunk.freeze();
        Ok(true)
    }
}
