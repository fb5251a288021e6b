//! [`Walk`], over everything in a segment file: frames, and bytes that are none.

use std::{
    io,
    path::{Path, PathBuf},
};

use crate::filesystem::{
    disk::{Disk, OpenMode},
    recovery::Found,
    scan::{Frame, FrameScan, ScanError},
    segment::{READ_CHUNK_LEN, SegmentHeader},
};

/// A place in a file, and what is wrong with it.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) path: PathBuf,
    pub(super) position: Option<u64>,
    pub(super) what: String,
}

impl Place {
    pub(super) fn at(path: &Path, position: u64, what: impl Into<String>) -> Place {
        Place { path: path.to_owned(), position: Some(position), what: what.into() }
    }

    pub(super) fn whole(path: &Path, what: impl Into<String>) -> Place {
        Place { path: path.to_owned(), position: None, what: what.into() }
    }
}

/// What lies next in a segment.
pub(super) enum Step {
    Frame(Frame),
    /// Bytes from a position on that are no frame, up to the next frame or to the end of the file.
    Bad {
        position: u64,
        what: &'static str,
    },
}

/// Everything in a segment file, from some place on.
pub(super) struct Walk {
    scan: FrameScan,
    len: u64,
    is_done: bool,
}

impl Walk {
    /// Walks over a segment from the frame at `position` on.
    pub(super) fn new(
        disk: &dyn Disk,
        segment: &Found,
        header: &SegmentHeader,
        position: u64,
    ) -> io::Result<Walk> {
        let file = disk.open(&segment.path, OpenMode::Existing)?;
        let scan = FrameScan::new(file, header.salt, position, segment.len, READ_CHUNK_LEN);
        Ok(Walk { scan, len: segment.len, is_done: false })
    }

    /// Where the next step begins.
    pub(super) fn position(&self) -> u64 {
        if self.is_done { self.len } else { self.scan.position() }
    }

    /// What comes next; `None` at the end.
    pub(super) fn next(&mut self) -> io::Result<Option<Step>> {
        if self.is_done {
            return Ok(None);
        }
        match self.scan.next() {
            Ok(Some(frame)) => Ok(Some(Step::Frame(frame))),
            Ok(None) => Ok(None),
            Err(ScanError::Bad { position, what }) => {
                self.is_done = !self.scan.skip_damage().map_err(source)?;
                Ok(Some(Step::Bad { position, what }))
            }
            Err(error) => {
                self.is_done = true;
                Err(source(error))
            }
        }
    }
}

/// What the system says of a failed read.
fn source(error: ScanError) -> io::Error {
    match error {
        ScanError::Unreadable { source, .. } => source,
        ScanError::Bad { what, .. } => io::Error::new(io::ErrorKind::InvalidData, what),
    }
}
