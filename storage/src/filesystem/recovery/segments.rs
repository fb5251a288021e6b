//! Finding the segments of a log.

use std::{
    io,
    path::{Path, PathBuf},
};

use crate::{
    Index, StorageError,
    filesystem::{
        Shared,
        disk::{Disk, OpenMode},
        durable,
        index::{IndexPoint, SegmentIndex},
        manifest::Manifest,
        scan::{FrameScan, ScanError},
        segment::{READ_CHUNK_LEN, SEGMENT_HEADER_LEN, Segment, SegmentHeader, scan_error, set_aside},
    },
};

/// A segment file that was found, and its header as far as it can be read.
pub(in crate::filesystem) struct Found {
    pub(in crate::filesystem) path: PathBuf,
    pub(in crate::filesystem) base_index: Index,
    pub(in crate::filesystem) len: u64,
    pub(in crate::filesystem) header: Result<SegmentHeader, String>,
}

impl Found {
    fn read(disk: &dyn Disk, path: PathBuf, base_index: Index) -> Result<Found, StorageError> {
        let error = |error| durable::io_or_full("reading", &path, error);
        // Closed again: a log may have more segments than a process may have open files.
        let file = disk.open(&path, OpenMode::Existing).map_err(error)?;
        let len = file.len().map_err(error)?;
        let mut bytes = [0; SEGMENT_HEADER_LEN as usize];
        let header = match durable::read_exact_at(&*file, &mut bytes, 0) {
            Ok(()) => SegmentHeader::parse(&bytes),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Err("its header is cut off".to_owned())
            }
            Err(cause) => return Err(error(cause)),
        };
        let header = header.and_then(|header| match header.base_index == base_index {
            true => Ok(header),
            false => Err("its name is not that of its header".to_owned()),
        });
        Ok(Found { path, base_index, len, header })
    }

    fn remove(&self, shared: &Shared) -> Result<(), StorageError> {
        durable::remove_file(&*shared.disk, &self.path.with_extension("index"))?;
        durable::remove_file(&*shared.disk, &self.path)
    }

    /// Left over from before a reset.
    pub(in crate::filesystem) fn is_void(&self, manifest: &Manifest) -> bool {
        self.header.as_ref().is_ok_and(|header| header.generation < manifest.generation)
    }

    /// Newer than the manifest, which is then not the last one that was written.
    pub(in crate::filesystem) fn is_ahead(&self, manifest: &Manifest) -> bool {
        self.header.as_ref().is_ok_and(|header| header.generation > manifest.generation)
    }
}

/// The segments of a log.
pub(super) struct Segments {
    /// In order; all but the last are sealed.
    pub(super) segments: Vec<Segment>,
    /// Where the last one ends for good, by its last checkpoint.
    pub(super) checkpoint: Option<IndexPoint>,
    /// Bytes of the last file.
    pub(super) last_len: u64,
}

/// Finds the segments that hold something that is kept. What is left over from a reset or a trim is removed,
/// unread; what cannot be a segment any more is set aside. The last segment is read as far as its checkpoint
/// says, no further.
pub(super) fn find(dir: &Path, manifest: &Manifest, shared: &Shared) -> Result<Segments, StorageError> {
    let mut found = list(dir, &*shared.disk)?;
    if let Some(ahead) = found.iter().find(|found| found.is_ahead(manifest)) {
        return Err(StorageError::damaged(&ahead.path, 0, "the manifest is older than this segment"));
    }
    let (void, kept) = found.drain(..).partition::<Vec<_>, _>(|found| found.is_void(manifest));
    void.iter().try_for_each(|found| found.remove(shared))?;
    let first = manifest.removed.next_index;
    let trimmed = kept.windows(2).take_while(|pair| pair[1].base_index <= first).count();
    kept[..trimmed].iter().try_for_each(|found| found.remove(shared))?;
    let (mut segments, mut checkpoint, mut last_len) = (Vec::new(), None, 0);
    for (at, found) in kept.iter().enumerate().skip(trimmed) {
        let header = match &found.header {
            Ok(header) => *header,
            // The header is durable before the first frame is written: no frames, no header, nothing lost.
            Err(_) if at + 1 == kept.len() && found.len <= SEGMENT_HEADER_LEN => {
                found.remove(shared)?;
                continue;
            }
            Err(what) => {
                tracing::error!(path = ?found.path, what, "the segment is damaged, it is set aside");
                set_aside(shared, &found.path)?;
                continue;
            }
        };
        let path = found.path.clone();
        segments.push(if at + 1 < kept.len() {
            open_sealed(path, header, found.len, shared)?
        } else {
            last_len = found.len;
            let stored = SegmentIndex::load(&*shared.disk, &path.with_extension("index"), &header);
            checkpoint = stored.as_ref().map(|index| *index.end());
            // One that speaks of more than there is tells what is missing, and not where the rest lies.
            let index = stored.filter(|index| index.end().position <= found.len);
            Segment::last(path, header, index.unwrap_or_else(|| SegmentIndex::new(&header)), shared)
        });
    }
    Ok(Segments { segments, checkpoint, last_len })
}

/// The segment files in a directory, in order.
pub(in crate::filesystem) fn list(dir: &Path, disk: &dyn Disk) -> Result<Vec<Found>, StorageError> {
    let mut found = Vec::new();
    for path in disk.list(dir).map_err(|error| StorageError::io("reading", dir, error))? {
        if let Some(base_index) = Segment::base_index_of(&path) {
            found.push(Found::read(disk, path, base_index)?);
        }
    }
    found.sort_by_key(|found| found.base_index);
    Ok(found)
}

/// Opens a segment that is followed by others: its index says where it ends, or all of it is read.
fn open_sealed(
    path: PathBuf,
    header: SegmentHeader,
    len: u64,
    shared: &Shared,
) -> Result<Segment, StorageError> {
    let index_path = path.with_extension("index");
    let stored = SegmentIndex::load_end(&*shared.disk, &index_path, &header);
    if let Some(end) = stored.filter(|end| end.position == len) {
        return Ok(Segment::sealed(path, header, end, shared));
    }
    tracing::info!(?path, "the index is missing, the segment is read");
    let mut segment = Segment::sealed(path, header, IndexPoint::base(&header), shared);
    let file = segment.file(shared)?;
    let mut scan = FrameScan::new(file, header.salt, SEGMENT_HEADER_LEN, len, READ_CHUNK_LEN);
    let mut index = SegmentIndex::new(&header);
    let outcome = read_frames(&mut index, &mut scan, shared.options.segment_bytes);
    segment.damaged = outcome.map_err(|error| scan_error(&segment.path, error))? == Health::Damaged;
    index.skip_to(len);
    let _ = durable::replace_cache(&*shared.disk, &index_path, &index.encode(&header));
    segment.set_index(index);
    segment.seal();
    Ok(segment)
}

/// Whether every byte of what was read is part of a frame, and every frame follows the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Health {
    Whole,
    Damaged,
}

/// Pushes all frames that can be read; what lies between is skipped.
pub(super) fn read_frames(
    index: &mut SegmentIndex,
    scan: &mut FrameScan,
    segment_bytes: u64,
) -> Result<Health, ScanError> {
    let mut health = Health::Whole;
    loop {
        match scan.next() {
            Ok(Some(frame)) => {
                let end = *index.end();
                if (frame.position, frame.entry.index) != (end.position, end.index) {
                    health = Health::Damaged;
                    index.skip_to(frame.position);
                    index.jump(frame.entry.index, frame.entry.base_offset);
                }
                index.push(&frame.entry, segment_bytes);
            }
            Ok(None) => return Ok(health),
            Err(ScanError::Bad { .. }) => {
                health = Health::Damaged;
                if !scan.skip_damage()? {
                    return Ok(health);
                }
            }
            Err(error) => return Err(error),
        }
    }
}
