//! [`FrameScan`], which reads the frames of a segment one after the other, in large reads.

use std::{io, sync::Arc};

use bytes::Bytes;
use minikafka_record::Offset;

use super::{
    buffers::Buffers,
    disk::DiskFile,
    durable,
    frame::{FRAME_HEADER_LEN, FrameHeader, Salt},
    recovery::Progress,
};
use crate::Entry;

/// Read at a time when frames are hunted for behind damage.
const HUNT_CHUNK_LEN: usize = 64 * 1024;
/// Bytes of the salt's first half, which a frame begins with.
const MAGIC_LEN: u64 = 4;
/// Where bytes cannot be read, so many are passed over at a time: a disk fails to read in such pieces.
const UNREADABLE_LEN: u64 = 4096;

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
    buffers: Buffers,
    /// Who wants to know how much is read.
    progress: Option<Arc<Progress>>,
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
    /// The disk failed to read the bytes at `position`.
    Unreadable { position: u64, source: io::Error },
}

/// What bytes that cannot be read mean to a hunt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unreadable {
    Ends,
    IsPassed,
}

/// What lies behind a place where there is no frame.
#[derive(Debug)]
pub(super) struct Skipped {
    /// Whether there is another frame.
    pub(super) is_found: bool,
    /// The first bytes on the way that the disk failed to read.
    pub(super) unreadable: Option<ScanError>,
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
        let (chunk, buffers) = (Bytes::new(), Buffers::default());
        FrameScan { file, salt, position, end, chunk, chunk_len, buffers, progress: None }
    }

    /// Reads into these, which others have used and will use.
    pub(super) fn with_buffers(self, buffers: &Buffers) -> FrameScan {
        FrameScan { buffers: buffers.clone(), ..self }
    }

    /// Says how much is read.
    pub(super) fn with_progress(self, progress: Arc<Progress>) -> FrameScan {
        FrameScan { progress: Some(progress), ..self }
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
    ///
    /// # Errors
    /// When bytes cannot be read: nobody knows what is in them.
    pub(super) fn skip_damage(&mut self) -> Result<bool, ScanError> {
        let Skipped { is_found, unreadable } = self.hunt(Unreadable::Ends);
        unreadable.map_or(Ok(is_found), Err)
    }

    /// As [`skip_damage`](FrameScan::skip_damage), and over bytes that cannot be read.
    pub(super) fn skip_unreadable(&mut self) -> Skipped {
        self.hunt(Unreadable::IsPassed)
    }

    fn hunt(&mut self, policy: Unreadable) -> Skipped {
        let mut from = self.position + 1;
        let mut unreadable = None;
        let mut buffer = vec![0; HUNT_CHUNK_LEN];
        while from + FRAME_HEADER_LEN as u64 <= self.end {
            let to = match unreadable {
                None => from + HUNT_CHUNK_LEN as u64,
                // Piece by piece, so that no more is passed over than has to be.
                Some(_) => ((from + MAGIC_LEN - 1) / UNREADABLE_LEN + 1) * UNREADABLE_LEN,
            };
            let window = &mut buffer[..(to.min(self.end) - from) as usize];
            let len = window.len();
            if let Err(source) = durable::read_exact_at(&*self.file, window, from) {
                if unreadable.is_some() {
                    from = to;
                }
                unreadable.get_or_insert(ScanError::Unreadable { position: from, source });
                if policy == Unreadable::Ends {
                    break;
                }
                continue;
            }
            for at in self.salt.candidates(window) {
                let at = from + at as u64;
                let mut scan = FrameScan::new(self.file.clone(), self.salt, at, self.end, HUNT_CHUNK_LEN);
                match scan.next() {
                    Ok(Some(_)) => {
                        self.position = at;
                        self.chunk = Bytes::new();
                        return Skipped { is_found: true, unreadable };
                    }
                    Ok(None) | Err(ScanError::Bad { .. }) => {}
                    Err(error) => {
                        unreadable.get_or_insert(error);
                        if policy == Unreadable::Ends {
                            return Skipped { is_found: false, unreadable };
                        }
                    }
                }
            }
            // Windows overlap, so that no magic is missed at their seam.
            from += (len as u64).saturating_sub(MAGIC_LEN - 1).max(1);
        }
        Skipped { is_found: false, unreadable }
    }

    /// Makes the chunk hold at least `len` bytes; says whether there are that many. Allocates by what the
    /// file holds, not by what a frame claims.
    fn fill(&mut self, len: usize) -> Result<bool, ScanError> {
        if self.chunk.len() >= len {
            return Ok(true);
        }
        let left = self.end - self.position;
        if left < len as u64 {
            return Ok(false);
        }
        let wanted = left.min(len.max(self.chunk_len) as u64) as usize;
        // What is used up goes back first.
        self.chunk = Bytes::new();
        let mut chunk = self.buffers.take(wanted);
        let mut read = durable::read_exact_at(&*self.file, chunk.as_mut(), self.position);
        if read.is_err() && wanted > len {
            // What was read ahead is not to cost what was asked for.
            chunk.truncate(len);
            read = durable::read_exact_at(&*self.file, chunk.as_mut(), self.position);
        }
        read.map_err(|source| ScanError::Unreadable { position: self.position, source })?;
        if let Some(progress) = &self.progress {
            progress.read(chunk.as_ref().len() as u64);
        }
        self.chunk = chunk.freeze();
        Ok(true)
    }
}
