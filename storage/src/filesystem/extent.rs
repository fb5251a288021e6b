//! [`Extent`], a part of a segment that is to be read without the log's lock.

use std::{io, path::PathBuf, sync::Arc};

use super::{
    Shared,
    disk::DiskFile,
    durable,
    edition::Edition,
    handles::SegmentKey,
    index::{IndexPoint, Lookup, SegmentIndex},
    scan::{FrameScan, ScanError},
    segment::{INDEX_SUFFIX, READ_CHUNK_LEN, SEGMENT_HEADER_LEN, Segment, SegmentHeader, scan_error},
};
use crate::{Index, StorageError};

/// A part of a segment that is to be read.
#[derive(Debug)]
pub(super) struct Extent {
    pub(super) key: SegmentKey,
    path: PathBuf,
    header: SegmentHeader,
    /// Where it ends.
    pub(super) end: IndexPoint,
    pub(super) edition: Edition,
    from: From,
}

/// Where an extent begins.
#[derive(Clone, Copy, Debug)]
pub(super) enum From {
    Point(IndexPoint),
    Lookup(Lookup),
}

impl Extent {
    /// A part of this segment, as it is now.
    pub(super) fn new(segment: &Segment, from: From) -> Extent {
        Extent {
            key: segment.key,
            path: segment.path.clone(),
            header: segment.header,
            end: *segment.end(),
            edition: segment.edition.clone(),
            from,
        }
    }

    /// The same segment from another place on.
    pub(super) fn at(self, point: IndexPoint) -> Extent {
        Extent { from: From::Point(point), ..self }
    }

    /// Begins to read, and says from where; `None` when the segment was removed meanwhile.
    pub(super) fn scan(
        &self,
        shared: &Shared,
        chunk_len: usize,
    ) -> Result<Option<(IndexPoint, FrameScan)>, StorageError> {
        let file = match shared.handles.get(self.key, &self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(durable::io_or_full("opening", &self.path, error)),
        };
        let point = match self.from {
            From::Point(point) => point,
            From::Lookup(lookup) => match shared.indexes.get(shared, self, &file) {
                Ok(index) => index.find(lookup),
                // All of it is gone through then: what lies behind can perhaps be read.
                Err(StorageError::Unreadable { .. }) => IndexPoint::base(&self.header),
                Err(error) => return Err(error),
            },
        };
        let salt = self.header.salt;
        let scan = FrameScan::new(file, salt, point.position, self.end.position, chunk_len);
        Ok(Some((point, scan.with_buffers(&shared.buffers))))
    }

    /// The index from its file, or from the frames.
    pub(super) fn load_index(
        &self,
        shared: &Shared,
        file: &Arc<dyn DiskFile>,
    ) -> Result<SegmentIndex, StorageError> {
        let path = self.path.with_extension(INDEX_SUFFIX);
        let stored = SegmentIndex::load(&*shared.disk, &path, &self.header);
        if let Some(index) = stored.filter(|index| index.end().position == self.end.position) {
            return Ok(index);
        }
        let mut index = SegmentIndex::new(&self.header);
        let mut scan = FrameScan::new(
            file.clone(),
            self.header.salt,
            SEGMENT_HEADER_LEN,
            self.end.position,
            READ_CHUNK_LEN,
        );
        index
            .push_frames(&mut scan, Index::MAX, shared.options.segment_bytes)
            .map_err(|error| self.error(error))?;
        index.skip_to(self.end.position);
        self.store_index(shared, &index);
        Ok(index)
    }

    /// Stores an index of this edition of the segment. A cache: the next one who asks would rebuild it again.
    fn store_index(&self, shared: &Shared, index: &SegmentIndex) {
        let (path, content) = (self.path.with_extension(INDEX_SUFFIX), index.encode(&self.header));
        let store = || _ = durable::replace_cache(&*shared.disk, &path, &content);
        self.edition.while_current(store);
    }

    /// Has the system read ahead from a position on, while what came before it is on its way to the reader.
    pub(super) fn will_read(&self, shared: &Shared, position: u64, len: usize) {
        if position < self.end.position
            && let Ok(file) = shared.handles.get(self.key, &self.path)
        {
            file.will_read(position, len as u64);
        }
    }

    pub(super) fn error(&self, error: ScanError) -> StorageError {
        scan_error(&self.path, error)
    }

    /// For a file that is not there although it should be.
    pub(super) fn missing(&self) -> StorageError {
        let lost = self.header.base_offset..self.end.offset;
        StorageError::damaged(&self.path, 0, "the segment file is missing").losing(lost)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use minikafka_record::Offset;

    use crate::filesystem::{cut::cut_segment, frame::Salt, tests::shared};

    /// A truncation does not wait for those who read, and whoever makes an index does not keep it from cutting.
    #[test]
    fn an_index_of_what_was_cut_off_meanwhile_is_not_kept() {
        let dir = tempfile::tempdir().unwrap();
        let shared = shared();
        let header = SegmentHeader {
            generation: 0,
            base_index: 0,
            base_offset: Offset::ZERO,
            epoch_before: 0,
            salt: Salt([7; 8]),
        };
        let mut segment = Segment::create(dir.path(), header, &shared).unwrap();
        let index = segment.seal().unwrap();
        let file = segment.file(&shared).unwrap();
        let before = segment.extent(Lookup::Offset(Offset::ZERO));
        cut_segment(&mut segment, index, (1, SEGMENT_HEADER_LEN), &shared).unwrap();
        shared.indexes.get(&shared, &before, &file).unwrap();
        assert!(!segment.index_path().exists(), "not on the disk");
        assert!(!shared.indexes.holds(segment.key), "not in memory");
        let now = segment.extent(Lookup::Offset(Offset::ZERO));
        shared.indexes.get(&shared, &now, &file).unwrap();
        assert!(segment.index_path().exists() && shared.indexes.holds(segment.key));
        segment.remove(&shared).unwrap();
        now.load_index(&shared, &file).unwrap();
        assert!(!segment.index_path().exists(), "one that was removed leaves none behind");
    }
}
