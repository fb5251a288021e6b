//! Finding the segments of a log.

use std::{
    collections::HashSet,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::Progress;
use crate::{
    Index, StorageError,
    filesystem::{
        Shared,
        damage::Damage,
        disk::{Disk, OpenMode},
        durable::{self, NEW_SUFFIX},
        index::{Health, IndexPoint, SegmentIndex},
        manifest::Manifest,
        scan::FrameScan,
        segment::{
            INDEX_SUFFIX, READ_CHUNK_LEN, SEGMENT_HEADER_LEN, SUFFIX, Segment, SegmentHeader, scan_error,
            set_aside,
        },
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

    /// Removes its files, or sets it aside if it is damaged.
    pub(super) fn remove(&self, damage: &Damage, shared: &Shared) -> Result<(), StorageError> {
        durable::remove_file(&*shared.disk, &self.path.with_extension(INDEX_SUFFIX))?;
        match self.is_damaged(damage) {
            true => set_aside(shared, &self.path),
            false => durable::remove_file(&*shared.disk, &self.path),
        }
    }

    fn is_damaged(&self, damage: &Damage) -> bool {
        match &self.header {
            Ok(header) => damage.holds(header.generation, header.base_index),
            // The header is durable before the first frame is written: no frames, no header, nothing lost.
            Err(_) => !self.is_frameless(),
        }
    }

    /// Whether nothing was ever written to it.
    fn is_frameless(&self) -> bool {
        self.len <= SEGMENT_HEADER_LEN
    }

    /// Whether it holds a frame of this entry, or of one behind it.
    fn goes_beyond(&self, index: Index, disk: &dyn Disk) -> Result<bool, StorageError> {
        let Ok(header) = &self.header else { return Ok(false) };
        let stored = SegmentIndex::load(disk, &self.path.with_extension(INDEX_SUFFIX), header);
        let stored = stored.filter(|stored| stored.end().position <= self.len);
        let mut known = stored.unwrap_or_else(|| SegmentIndex::new(header));
        let file = disk.open(&self.path, OpenMode::Existing);
        let file = file.map_err(|error| durable::io_or_full("reading", &self.path, error))?;
        let mut scan = FrameScan::new(file, header.salt, known.end().position, self.len, READ_CHUNK_LEN);
        known
            .push_frames(&mut scan, index.saturating_add(1), u64::MAX)
            .map_err(|error| scan_error(&self.path, error))?;
        Ok(known.end().index > index)
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

/// Finds the segments that hold something that is kept. What is left over from a trim is removed, unread; what cannot
/// be a segment any more is set aside. The last segment is read as far as its checkpoint says, no further.
pub(super) fn find(
    dir: &Path,
    manifest: &Manifest,
    damage: &Damage,
    shared: &Shared,
    progress: &Arc<Progress>,
) -> Result<Segments, StorageError> {
    let kept = clear(dir, manifest, damage, shared)?;
    let first = manifest.removed.next_index;
    let trimmed = kept.windows(2).take_while(|pair| pair[1].base_index <= first).count();
    kept[..trimmed].iter().try_for_each(|found| found.remove(damage, shared))?;
    let (mut segments, mut checkpoint, mut last_len) = (Vec::new(), None, 0);
    for (at, found) in kept.iter().enumerate().skip(trimmed) {
        let header = match &found.header {
            Ok(header) => *header,
            Err(what) => {
                tracing::error!(path = ?found.path, what, "the segment is damaged, it is set aside");
                set_aside(shared, &found.path)?;
                continue;
            }
        };
        let path = found.path.clone();
        let mut segment = if at + 1 < kept.len() {
            open_sealed(path, header, found.len, shared, progress)?
        } else {
            last_len = found.len;
            let stored = SegmentIndex::load(&*shared.disk, &path.with_extension(INDEX_SUFFIX), &header);
            checkpoint = stored.as_ref().map(|index| *index.end());
            // One that speaks of more than there is tells what is missing, and not where the rest lies.
            let index = stored.filter(|index| index.end().position <= found.len);
            Segment::last(path, header, index.unwrap_or_else(|| SegmentIndex::new(&header)), shared)
        };
        segment.damaged |= found.is_damaged(damage);
        segments.push(segment);
    }
    sweep(dir, &*shared.disk);
    Ok(Segments { segments, checkpoint, last_len })
}

/// The segment files of a log. What is left over from a reset, and what never became a segment, is removed.
pub(super) fn clear(
    dir: &Path,
    manifest: &Manifest,
    damage: &Damage,
    shared: &Shared,
) -> Result<Vec<Found>, StorageError> {
    let Files { segments, void, unborn } = list(dir, manifest, &*shared.disk)?;
    if let Some(ahead) = segments.iter().chain(&unborn).find(|found| found.is_ahead(manifest)) {
        return Err(StorageError::damaged(&ahead.path, 0, "the manifest is older than this segment"));
    }
    void.iter().try_for_each(|found| found.remove(damage, shared))?;
    for found in &unborn {
        tracing::info!(path = ?found.path, "removed a segment that was never written to");
        found.remove(damage, shared)?;
    }
    if !unborn.is_empty() {
        // For good, before anything else is cut or removed: such a file could look like the last segment then.
        durable::sync_dir(&*shared.disk, dir)?;
    }
    Ok(segments)
}

/// Removes what nobody asks for: indexes whose segments are gone, and files that were being made. Nothing depends on
/// it, so what cannot be removed stays.
fn sweep(dir: &Path, disk: &dyn Disk) {
    let Ok(paths) = disk.list(dir) else { return };
    let has_suffix = |path: &Path, suffix| path.extension().is_some_and(|extension| extension == suffix);
    let segments: HashSet<PathBuf> =
        paths.iter().filter(|path| has_suffix(path, SUFFIX)).map(|path| path.with_extension("")).collect();
    let is_orphan =
        |path: &PathBuf| has_suffix(path, INDEX_SUFFIX) && !segments.contains(&path.with_extension(""));
    for path in paths.iter().filter(|path| is_orphan(path) || path.to_string_lossy().ends_with(NEW_SUFFIX)) {
        match durable::remove_file(disk, path) {
            Ok(()) => tracing::info!(?path, "removed what was left over"),
            Err(error) => tracing::warn!(?path, %error, "what is left over stays"),
        }
    }
}

/// The segment files of a log, those of a kind in order.
pub(in crate::filesystem) struct Files {
    pub(in crate::filesystem) segments: Vec<Found>,
    /// Left over from before a reset.
    pub(in crate::filesystem) void: Vec<Found>,
    /// They never became segments: whoever made them could not finish, and the log went on without them.
    pub(in crate::filesystem) unborn: Vec<Found>,
}

/// The segment files in the directory of a log.
pub(in crate::filesystem) fn list(
    dir: &Path,
    manifest: &Manifest,
    disk: &dyn Disk,
) -> Result<Files, StorageError> {
    let mut found = Vec::new();
    for path in disk.list(dir).map_err(|error| StorageError::io("reading", dir, error))? {
        if let Some(base_index) = Segment::base_index_of(&path) {
            found.push(Found::read(disk, path, base_index)?);
        }
    }
    found.sort_by_key(|found| found.base_index);
    let (void, mut segments) = found.into_iter().partition::<Vec<_>, _>(|found| found.is_void(manifest));
    let unborn = split_unborn(&mut segments, disk)?;
    Ok(Files { segments, void, unborn })
}

/// Takes out what never became a segment. Of those without a frame only the last one is a segment, unless the one before
/// has gone on beyond its beginning.
fn split_unborn(found: &mut Vec<Found>, disk: &dyn Disk) -> Result<Vec<Found>, StorageError> {
    let last = found.last().map(|last| last.base_index);
    let is_followed = |found: &Found| Some(found.base_index) != last;
    let mut unborn: Vec<Found> =
        found.extract_if(.., |found| found.is_frameless() && is_followed(found)).collect();
    let is_last_unborn = match &found[..] {
        [.., last] if !last.is_frameless() => false,
        [.., last] if last.header.is_err() => true,
        [.., before, last] => before.goes_beyond(last.base_index, disk)?,
        _ => false,
    };
    unborn.extend(found.pop_if(|_| is_last_unborn));
    Ok(unborn)
}

/// Opens a segment that is followed by others: its index says where it ends, or all of it is read.
fn open_sealed(
    path: PathBuf,
    header: SegmentHeader,
    len: u64,
    shared: &Shared,
    progress: &Arc<Progress>,
) -> Result<Segment, StorageError> {
    let index_path = path.with_extension(INDEX_SUFFIX);
    let stored = SegmentIndex::load_end(&*shared.disk, &index_path, &header);
    if let Some(end) = stored.filter(|end| end.position == len) {
        return Ok(Segment::sealed(path, header, end, shared));
    }
    tracing::info!(?path, "the index is missing, the segment is read");
    let mut segment = Segment::sealed(path, header, IndexPoint::base(&header), shared);
    let file = segment.file(shared)?;
    let mut scan = FrameScan::new(file, header.salt, SEGMENT_HEADER_LEN, len, READ_CHUNK_LEN)
        .with_progress(progress.clone());
    let mut index = SegmentIndex::new(&header);
    let outcome = index.push_frames(&mut scan, Index::MAX, shared.options.segment_bytes);
    segment.damaged = outcome.map_err(|error| scan_error(&segment.path, error))? == Health::Damaged;
    index.skip_to(len);
    let _ = durable::replace_cache(&*shared.disk, &index_path, &index.encode(&header));
    segment.set_index(index);
    segment.seal();
    Ok(segment)
}
