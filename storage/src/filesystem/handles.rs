//! [`Handles`], a bounded cache of open segment files.
//!
//! Logs may have far more segments than a process may have open files.

use std::{
    collections::{HashMap, HashSet},
    io,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::disk::{Disk, DiskFile, OpenMode};

/// Names a segment for as long as the process lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct SegmentKey(u64);

/// Open files, the least recently used of which is closed when there are too many. A file in use stays open
/// until its last user lets go of it.
#[derive(Debug)]
pub(super) struct Handles {
    disk: Arc<dyn Disk>,
    open_max: usize,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    files: HashMap<SegmentKey, (Arc<dyn DiskFile>, u64)>,
    /// Segments that are there. A reader may open a file just before it is removed: it is not kept then, or
    /// its space would not come back.
    live: HashSet<SegmentKey>,
    /// Counts segments, to name them.
    segments: u64,
    /// Counts uses, to tell which file was used last.
    uses: u64,
}

impl Handles {
    pub(super) fn new(disk: Arc<dyn Disk>, open_max: usize) -> Handles {
        Handles { disk, open_max: open_max.max(1), open: Mutex::default() }
    }

    /// A name for another segment.
    pub(super) fn register(&self) -> SegmentKey {
        let mut open = self.lock();
        open.segments += 1;
        let key = SegmentKey(open.segments);
        open.live.insert(key);
        key
    }

    /// The file of a segment, opened if it is not.
    pub(super) fn get(&self, key: SegmentKey, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        if let Some(file) = self.lock().touch(key) {
            return Ok(file);
        }
        // Opened without the lock: a slow directory is not to hold up the others.
        let file = self.disk.open(path, OpenMode::Existing)?;
        self.insert(key, file.clone());
        Ok(file)
    }

    pub(super) fn insert(&self, key: SegmentKey, file: Arc<dyn DiskFile>) {
        let mut open = self.lock();
        if !open.live.contains(&key) {
            return;
        }
        if open.files.len() >= self.open_max && !open.files.contains_key(&key) {
            // A scan, but only when a file has just been opened, which costs more.
            let oldest = open.files.iter().min_by_key(|(_, (_, used))| *used).map(|(key, _)| *key);
            oldest.and_then(|oldest| open.files.remove(&oldest));
        }
        open.uses += 1;
        let used = open.uses;
        open.files.insert(key, (file, used));
    }

    /// The segment is no more.
    pub(super) fn forget(&self, key: SegmentKey) {
        let mut open = self.lock();
        open.live.remove(&key);
        open.files.remove(&key);
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    fn touch(&mut self, key: SegmentKey) -> Option<Arc<dyn DiskFile>> {
        self.uses += 1;
        let used = self.uses;
        self.files.get_mut(&key).map(|(file, last)| {
            *last = used;
            file.clone()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filesystem::disk::SystemDisk;

    #[test]
    fn the_least_recently_used_file_goes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::File::create(&path).unwrap();
        let handles = Handles::new(Arc::new(SystemDisk), 2);
        let keys = [handles.register(), handles.register(), handles.register()];
        let first = handles.get(keys[0], &path).unwrap();
        handles.get(keys[1], &path).unwrap();
        assert!(Arc::ptr_eq(&first, &handles.get(keys[0], &path).unwrap()), "still open");
        handles.get(keys[2], &path).unwrap();
        assert_eq!(handles.lock().files.len(), 2);
        assert!(Arc::ptr_eq(&first, &handles.get(keys[0], &path).unwrap()), "the other one went");
        handles.forget(keys[0]);
        assert!(!Arc::ptr_eq(&first, &handles.get(keys[0], &path).unwrap()));
        assert_eq!(handles.lock().files.len(), 1, "a segment that is no more is not kept");
    }
}
