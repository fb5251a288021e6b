//! [`Indexes`], a bounded cache of the indexes of sealed segments.
//!
//! A log may have thousands of segments, and nearly nobody reads the old ones.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{Shared, disk::DiskFile, extent::Extent, handles::SegmentKey, index::SegmentIndex};
use crate::StorageError;

/// Indexes in memory: of a full segment, one takes up about 25 KB.
const LOADED_MAX: usize = 64;

/// The least recently used index goes when there are too many.
#[derive(Debug, Default)]
pub(super) struct Indexes(Mutex<Loaded>);

#[derive(Debug, Default)]
struct Loaded {
    indexes: HashMap<SegmentKey, (Arc<SegmentIndex>, u64)>,
    /// Counts uses, to tell which was used last.
    uses: u64,
}

impl Indexes {
    /// The index of a sealed segment, whose file is this; loaded if it is not there.
    pub(super) fn get(
        &self,
        shared: &Shared,
        segment: &Extent,
        file: &Arc<dyn DiskFile>,
    ) -> Result<Arc<SegmentIndex>, StorageError> {
        if let Some(index) = self.lock().touch(segment.key) {
            return Ok(index);
        }
        // Without the lock: the disk may be slow.
        let index = Arc::new(segment.load_index(shared, file)?);
        // Of a segment that was cut meanwhile it would be found by those who come later.
        segment.edition.while_current(|| self.insert(segment.key, index.clone()));
        Ok(index)
    }

    fn insert(&self, key: SegmentKey, index: Arc<SegmentIndex>) {
        let mut loaded = self.lock();
        if loaded.indexes.len() >= LOADED_MAX {
            let oldest = loaded.indexes.iter().min_by_key(|(_, (_, used))| *used).map(|(key, _)| *key);
            oldest.and_then(|oldest| loaded.indexes.remove(&oldest));
        }
        loaded.uses += 1;
        let used = loaded.uses;
        loaded.indexes.insert(key, (index, used));
    }

    /// The segment is no more, or another.
    pub(super) fn forget(&self, key: SegmentKey) {
        self.lock().indexes.remove(&key);
    }

    /// Whether the index of a segment is in memory.
    #[cfg(test)]
    pub(super) fn holds(&self, key: SegmentKey) -> bool {
        self.lock().indexes.contains_key(&key)
    }

    fn lock(&self) -> MutexGuard<'_, Loaded> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Loaded {
    fn touch(&mut self, key: SegmentKey) -> Option<Arc<SegmentIndex>> {
        self.uses += 1;
        let used = self.uses;
        self.indexes.get_mut(&key).map(|(index, last)| {
            *last = used;
            index.clone()
        })
    }
}
