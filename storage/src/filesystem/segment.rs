//! [`Segment`], one file of a log.
//!
//! A segment file is a header of 64 bytes and frames. Its name is the index of its first entry, so that names
//! sort as the log does.
//!
//! | at | type | header field |
//! |---|---|---|
//! | 0 | 4 bytes | magic `MKSG` |
//! | 4 | u32 | format version |
//! | 8 | u32 | CRC-32C of bytes 0 to 8 and 12 to 64 |
//! | 12 | u32 | zero |
//! | 16 | u64 | generation of the log |
//! | 24 | u64 | index of the first entry |
//! | 32 | u64 | offset of the first record |
//! | 40 | u64 | leader epoch of the entry before |
//! | 48 | 8 bytes | salt of its frames, random |
//! | 56 | 8 bytes | zero |

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::{Buf, BufMut};
use minikafka_record::{Checksum, Offset};

use super::{
    durable,
    frame::Salt,
    handles::{Handles, SegmentKey},
    index::{IndexPoint, SegmentIndex},
    scan::{FrameScan, ScanError},
};
use crate::{Epoch, Index, StorageError};

/// Bytes before the first frame.
pub(super) const SEGMENT_HEADER_LEN: u64 = 64;
const MAGIC: [u8; 4] = *b"MKSG";
const FORMAT: u32 = 1;
const CHECKSUM: usize = 8;
const SUFFIX: &str = "log";
const INDEX_SUFFIX: &str = "index";

/// One file of a log. Everything but the last one of a log is sealed.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) key: SegmentKey,
    pub(super) path: PathBuf,
    pub(super) header: SegmentHeader,
    pub(super) index: SegmentIndex,
}

/// What a segment says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SegmentHeader {
    pub(super) generation: u64,
    pub(super) base_index: Index,
    pub(super) base_offset: Offset,
    pub(super) epoch_before: Epoch,
    pub(super) salt: Salt,
}

impl Segment {
    /// Creates the file of a new segment; durable on return, name and all.
    pub(super) fn create(
        dir: &Path,
        header: SegmentHeader,
        handles: &Handles,
    ) -> Result<Segment, StorageError> {
        let path = dir.join(format!("{:020}.{SUFFIX}", header.base_index));
        let create = || -> io::Result<File> {
            // What is there under this name is left over from a creation that failed, or from before a reset.
            let file = File::options().read(true).write(true).create(true).truncate(true).open(&path)?;
            file.write_all_at(&header.encode(), 0)?;
            file.sync_all()?;
            Ok(file)
        };
        let file = create().map_err(|error| durable::io_or_full("creating", &path, error))?;
        durable::sync_dir(dir)?;
        let segment = Segment::new(path, header, handles);
        handles.insert(segment.key, Arc::new(file));
        Ok(segment)
    }

    /// A segment whose file is there, with an empty index.
    pub(super) fn new(path: PathBuf, header: SegmentHeader, handles: &Handles) -> Segment {
        Segment { key: handles.register(), path, header, index: SegmentIndex::new(&header) }
    }

    /// Where it begins.
    pub(super) fn base(&self) -> IndexPoint {
        *SegmentIndex::new(&self.header).end()
    }

    /// Where a next frame would go.
    pub(super) fn end(&self) -> &IndexPoint {
        self.index.end()
    }

    pub(super) fn index_path(&self) -> PathBuf {
        self.path.with_extension(INDEX_SUFFIX)
    }

    pub(super) fn file(&self, handles: &Handles) -> Result<Arc<File>, StorageError> {
        handles.get(self.key, &self.path).map_err(|error| durable::io_or_full("opening", &self.path, error))
    }

    /// Where to read from, for use without the log's lock.
    pub(super) fn extent(&self, from: IndexPoint) -> Extent {
        Extent {
            key: self.key,
            path: self.path.clone(),
            salt: self.header.salt,
            from,
            end: self.end().position,
        }
    }

    /// Removes the files. Readers that have them open go on.
    pub(super) fn remove(&self, handles: &Handles) -> Result<(), StorageError> {
        handles.forget(self.key);
        durable::remove_file(&self.index_path())?;
        durable::remove_file(&self.path)
    }

    /// The index of the first entry, by the name of a segment file; `None` if it is not one.
    pub(super) fn base_index_of(path: &Path) -> Option<Index> {
        let is_segment = path.extension().is_some_and(|extension| extension == SUFFIX);
        path.file_stem()?.to_str()?.parse().ok().filter(|_| is_segment)
    }
}

/// A part of a segment that is to be read.
#[derive(Debug)]
pub(super) struct Extent {
    pub(super) key: SegmentKey,
    path: PathBuf,
    salt: Salt,
    pub(super) from: IndexPoint,
    end: u64,
}

impl Extent {
    /// Begins to read; `None` when the segment was removed meanwhile.
    pub(super) fn scan(
        &self,
        handles: &Handles,
        chunk_len: usize,
    ) -> Result<Option<FrameScan>, StorageError> {
        match handles.get(self.key, &self.path) {
            Ok(file) => Ok(Some(FrameScan::new(file, self.salt, self.from.position, self.end, chunk_len))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(durable::io_or_full("opening", &self.path, error)),
        }
    }

    pub(super) fn error(&self, error: ScanError) -> StorageError {
        scan_error(&self.path, error)
    }

    /// For a file that is not there although it should be.
    pub(super) fn missing(&self) -> StorageError {
        let what = "the segment file is missing".to_owned();
        StorageError::Damaged { path: self.path.clone(), position: 0, what }
    }
}

/// What a failed scan means in a place that was known to be whole.
pub(super) fn scan_error(path: &Path, error: ScanError) -> StorageError {
    match error {
        ScanError::Io(error) => StorageError::io("reading", path, error),
        ScanError::Bad { position, what } => {
            StorageError::Damaged { path: path.to_owned(), position, what: what.to_owned() }
        }
    }
}

impl SegmentHeader {
    fn encode(&self) -> [u8; SEGMENT_HEADER_LEN as usize] {
        let mut header = [0; SEGMENT_HEADER_LEN as usize];
        let mut out = &mut header[..];
        out.put_slice(&MAGIC);
        out.put_u32(FORMAT);
        out.put_u64(0);
        out.put_u64(self.generation);
        out.put_u64(self.base_index);
        out.put_u64(self.base_offset.get());
        out.put_u64(self.epoch_before);
        out.put_slice(&self.salt.0);
        let checksum = checksum(&header);
        header[CHECKSUM..CHECKSUM + 4].copy_from_slice(&checksum.to_be_bytes());
        header
    }

    /// Reads the header of a segment file.
    ///
    /// # Errors
    /// What does not fit.
    pub(super) fn parse(bytes: &[u8; SEGMENT_HEADER_LEN as usize]) -> Result<SegmentHeader, String> {
        let mut rest = &bytes[..];
        if rest.get_u32().to_be_bytes() != MAGIC {
            return Err("it does not begin as a segment does".to_owned());
        }
        let (format, stored) = (rest.get_u32(), rest.get_u32());
        if checksum(bytes) != stored {
            return Err("the checksum of its header does not match".to_owned());
        }
        if format != FORMAT {
            return Err(format!("it has format {format}, this version reads format {FORMAT}"));
        }
        rest.advance(4);
        let (generation, base_index) = (rest.get_u64(), rest.get_u64());
        let (base_offset, epoch_before) = (Offset::new(rest.get_u64()), rest.get_u64());
        let mut salt = [0; 8];
        rest.copy_to_slice(&mut salt);
        Ok(SegmentHeader { generation, base_index, base_offset, epoch_before, salt: Salt(salt) })
    }
}

fn checksum(header: &[u8; SEGMENT_HEADER_LEN as usize]) -> u32 {
    let mut checksum = Checksum::new();
    checksum.update(&header[..CHECKSUM]);
    checksum.update(&header[CHECKSUM + 4..]);
    checksum.finish()
}
