//! [`Segment`], one file of a log.
//!
//! A segment file is a header, the same header again, and frames: without its header nothing in it could be
//! read, so one of them may be spoiled. Its name is the index of its first entry, so that names sort as the log
//! does.
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
    io::{self, IoSlice},
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::{Buf, BufMut};
use minikafka_record::{Checksum, Offset};

use super::{
    Shared,
    disk::{DiskFile, OpenMode},
    durable,
    edition::Edition,
    extent::{Extent, From},
    frame::Salt,
    handles::SegmentKey,
    index::{IndexPoint, Lookup, SegmentIndex},
    scan::ScanError,
    write::WriteError,
};
use crate::{Entry, Epoch, Index, Millis, StorageError};

/// Bytes before the first frame: the header, twice.
pub(super) const SEGMENT_HEADER_LEN: u64 = 2 * HEADER_LEN as u64;
const HEADER_LEN: usize = 64;
/// Suffix of a segment file that is kept because it is damaged.
pub(super) const DAMAGED_SUFFIX: &str = ".damaged";
const MAGIC: [u8; 4] = *b"MKSG";
const FORMAT: u32 = 2;
const CHECKSUM: usize = 8;
pub(super) const SUFFIX: &str = "log";
pub(super) const INDEX_SUFFIX: &str = "index";
/// Growth of the last segment after which its index is stored again, or an eighth of its bytes if that is more: opening
/// after a crash reads about so much of each log. To store one is to make, sync and rename a file.
const CHECKPOINT_BYTES: u64 = 2 * 1024 * 1024;
/// At most so much, however large a segment is.
const CHECKPOINT_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// One file of a log. Everything but the last one of a log is sealed.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) key: SegmentKey,
    pub(super) path: PathBuf,
    pub(super) header: SegmentHeader,
    /// What a next frame would begin with.
    end: IndexPoint,
    /// Of a segment that is written to. Those of sealed ones are loaded when they are asked for.
    index: Option<SegmentIndex>,
    /// Where the stored index ends.
    stored: u64,
    /// Whether something in it is known to be damaged: then eviction renames the file.
    pub(super) damaged: bool,
    /// Changes when frames are taken away.
    pub(super) edition: Edition,
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
    /// Creates the file of a new segment; durable on return, name and all. One that cannot be finished goes again, for
    /// good: the entries that come instead may have other places, and it would lie among them.
    pub(super) fn create(dir: &Path, header: SegmentHeader, shared: &Shared) -> Result<Segment, WriteError> {
        let disk = &*shared.disk;
        let path = dir.join(format!("{:020}.{SUFFIX}", header.base_index));
        let failed = |error| durable::io_or_full("creating", &path, error);
        // What is there under this name is left over from before a reset.
        let file = disk.open(&path, OpenMode::Create).map_err(|error| WriteError::Refused(failed(error)))?;
        let made = durable::write_all_at(&*file, &mut [IoSlice::new(&header.encode())], 0)
            .and_then(|_| file.sync())
            .map_err(failed)
            .and_then(|()| durable::sync_dir(disk, dir));
        if let Err(error) = made {
            durable::remove_file(disk, &path)
                .and_then(|()| durable::sync_dir(disk, dir))
                .map_err(WriteError::Failed)?;
            return Err(WriteError::Refused(error));
        }
        let segment = Segment::last(path, header, SegmentIndex::new(&header), shared);
        shared.handles.insert(segment.key, file);
        Ok(segment)
    }

    /// A segment that is written to.
    pub(super) fn last(
        path: PathBuf,
        header: SegmentHeader,
        index: SegmentIndex,
        shared: &Shared,
    ) -> Segment {
        let end = *index.end();
        Segment { index: Some(index), ..Segment::sealed(path, header, end, shared) }
    }

    /// A segment that is not written to any more.
    pub(super) fn sealed(path: PathBuf, header: SegmentHeader, end: IndexPoint, shared: &Shared) -> Segment {
        let key = shared.handles.register();
        Segment {
            key,
            path,
            header,
            end,
            index: None,
            stored: end.position,
            damaged: false,
            edition: Edition::default(),
        }
    }

    /// Where it begins.
    pub(super) fn base(&self) -> IndexPoint {
        IndexPoint::base(&self.header)
    }

    /// Where a next frame would go.
    pub(super) fn end(&self) -> &IndexPoint {
        &self.end
    }

    /// Whether it has no frames.
    pub(super) fn is_empty(&self) -> bool {
        self.end.position == SEGMENT_HEADER_LEN
    }

    /// Whether it is never written to again.
    pub(super) fn is_sealed(&self) -> bool {
        self.index.is_none()
    }

    /// The frame of `entry` was written to its end.
    pub(super) fn push(&mut self, entry: &Entry, segment_bytes: u64) {
        let index = self.index.as_mut().expect("only the last segment is written to");
        index.push(entry, segment_bytes);
        self.end = *index.end();
    }

    /// The index of a segment that is written to; it goes on with this one.
    pub(super) fn set_index(&mut self, index: SegmentIndex) {
        self.end = *index.end();
        self.stored = self.stored.min(self.end.position);
        self.index = Some(index);
    }

    /// The index, if it is in memory.
    pub(super) fn index(&self) -> Option<&SegmentIndex> {
        self.index.as_ref()
    }

    /// Nothing is written to it any more. Gives its index.
    pub(super) fn seal(&mut self) -> Option<SegmentIndex> {
        self.stored = self.end.position;
        self.index.take()
    }

    /// Whether it is durable so much further than when its index was stored last that it is to be stored again.
    pub(super) fn is_index_due(&self, durable: &IndexPoint) -> bool {
        let step = CHECKPOINT_BYTES.max(durable.position / 8).min(CHECKPOINT_BYTES_MAX);
        durable.position.saturating_sub(self.stored) >= step
    }

    /// The index of what is durable, if it is to be stored again. It counts as stored then.
    pub(super) fn due_index(&mut self, durable: &IndexPoint) -> Option<SegmentIndex> {
        if !self.is_index_due(durable) {
            return None;
        }
        self.stored = durable.position;
        self.index.as_ref().map(|index| index.upto(durable))
    }

    /// Append time of its first entry, while it is written to.
    pub(super) fn begun(&self) -> Option<Millis> {
        self.index.as_ref()?.begun()
    }

    /// What comes next has this index and offset: what should have come before is lost.
    pub(super) fn jump(&mut self, index: Index, offset: Offset) {
        if let Some(segment) = &mut self.index {
            segment.jump(index, offset);
            self.end = *segment.end();
        }
    }

    pub(super) fn index_path(&self) -> PathBuf {
        self.path.with_extension(INDEX_SUFFIX)
    }

    pub(super) fn file(&self, shared: &Shared) -> Result<Arc<dyn DiskFile>, StorageError> {
        let file = shared.handles.get(self.key, &self.path);
        file.map_err(|error| durable::io_or_full("opening", &self.path, error))
    }

    /// Where to read, for use without the log's lock.
    pub(super) fn extent(&self, lookup: Lookup) -> Extent {
        let from = match &self.index {
            Some(index) => From::Point(index.find(lookup)),
            None => From::Lookup(lookup),
        };
        Extent::new(self, from)
    }

    /// Removes the files. Readers that have them open go on. What is damaged is set aside instead: it is for
    /// the operator to remove.
    pub(super) fn remove(&self, shared: &Shared) -> Result<(), StorageError> {
        self.edition.retire();
        shared.handles.forget(self.key);
        shared.indexes.forget(self.key);
        durable::remove_file(&*shared.disk, &self.index_path())?;
        if self.damaged {
            return set_aside(shared, &self.path);
        }
        durable::remove_file(&*shared.disk, &self.path)
    }

    /// The index of the first entry, by the name of a segment file; `None` if it is not one.
    pub(super) fn base_index_of(path: &Path) -> Option<Index> {
        let is_segment = path.extension().is_some_and(|extension| extension == SUFFIX);
        path.file_stem()?.to_str()?.parse().ok().filter(|_| is_segment)
    }
}

/// Gives a damaged segment file a name under which nobody looks for segments, and that no other one has: after a
/// truncation, two may have had the same.
pub(super) fn set_aside(shared: &Shared, path: &Path) -> Result<(), StorageError> {
    let failed = |error| StorageError::io("setting aside", path, error);
    let mut aside = durable::with_suffix(path, DAMAGED_SUFFIX);
    let mut number = 1;
    loop {
        match shared.disk.open(&aside, OpenMode::Existing) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => break,
            Err(error) => return Err(failed(error)),
            Ok(_) => {
                aside = durable::with_suffix(path, &format!(".{number}{DAMAGED_SUFFIX}"));
                number += 1;
            }
        }
    }
    match shared.disk.rename(path, &aside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(error)),
        _ => Ok(()),
    }
}

/// Read at a time when a whole segment is read.
pub(super) const READ_CHUNK_LEN: usize = 1024 * 1024;

/// What a failed scan means in a place that was known to be whole.
pub(super) fn scan_error(path: &Path, error: ScanError) -> StorageError {
    match error {
        ScanError::Unreadable { position, source } => StorageError::unreadable(path, position, source),
        ScanError::Bad { position, what } => StorageError::damaged(path, position, what),
    }
}

impl SegmentHeader {
    fn encode(&self) -> [u8; SEGMENT_HEADER_LEN as usize] {
        let mut header = [0; HEADER_LEN];
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
        let mut twice = [0; SEGMENT_HEADER_LEN as usize];
        twice[..HEADER_LEN].copy_from_slice(&header);
        twice[HEADER_LEN..].copy_from_slice(&header);
        twice
    }

    /// Reads the header of a segment file, from either of its copies.
    ///
    /// # Errors
    /// What does not fit.
    pub(super) fn parse(bytes: &[u8; SEGMENT_HEADER_LEN as usize]) -> Result<SegmentHeader, String> {
        let (copies, _) = bytes.as_chunks::<HEADER_LEN>();
        SegmentHeader::parse_copy(&copies[0])
            .or_else(|first| SegmentHeader::parse_copy(&copies[1]).map_err(|_| first))
    }

    fn parse_copy(bytes: &[u8; HEADER_LEN]) -> Result<SegmentHeader, String> {
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

fn checksum(header: &[u8; HEADER_LEN]) -> u32 {
    let mut checksum = Checksum::new();
    checksum.update(&header[..CHECKSUM]);
    checksum.update(&header[CHECKSUM + 4..]);
    checksum.finish()
}
