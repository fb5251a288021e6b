//! A disk that is full, slow or broken when it is told to be, and the system's otherwise.

use std::{
    io::{self, IoSlice},
    path::{Path, PathBuf},
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use minikafka_storage::filesystem::{
    FileStorage, Options,
    disk::{Disk, DiskFile, LockGuard, OpenMode, Space, SystemDisk},
};

/// How it is.
#[derive(Debug, Default)]
pub(crate) struct Mood {
    /// There is no more room than what is kept free.
    pub(crate) is_full: AtomicBool,
    /// Syncs of files fail.
    pub(crate) is_broken: AtomicBool,
    /// Syncs of files panic.
    pub(crate) has_a_bug: AtomicBool,
    syncs: Mutex<Syncs>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Syncs {
    are_held: bool,
    waiting: usize,
}

impl Mood {
    /// A storage on such a disk.
    pub(crate) fn storage(self: &Arc<Mood>, root: &Path) -> Arc<FileStorage> {
        let disk = Arc::new(MoodyDisk { mood: self.clone() });
        Arc::new(FileStorage::open_on(disk, root, Options::default()).expect("the storage opens"))
    }

    /// From now on, a sync takes until it is let go.
    pub(crate) fn hold_syncs(&self) {
        self.syncs.lock().unwrap().are_held = true;
    }

    pub(crate) fn let_syncs_go(&self) {
        self.syncs.lock().unwrap().are_held = false;
        self.changed.notify_all();
    }

    /// Waits until a sync is held.
    pub(crate) fn wait_for_a_sync(&self) {
        let syncs = self.syncs.lock().unwrap();
        let limit = Duration::from_secs(20);
        let (syncs, _) = self.changed.wait_timeout_while(syncs, limit, |syncs| syncs.waiting == 0).unwrap();
        assert!(syncs.waiting > 0, "nobody syncs");
    }

    fn before_sync(&self) -> io::Result<()> {
        let mut syncs = self.syncs.lock().unwrap();
        syncs.waiting += 1;
        self.changed.notify_all();
        // Not for ever, so that a test that fails meanwhile ends.
        let limit = Duration::from_secs(60);
        let (mut syncs, _) = self.changed.wait_timeout_while(syncs, limit, |syncs| syncs.are_held).unwrap();
        syncs.waiting -= 1;
        drop(syncs);
        assert!(!self.has_a_bug.load(Ordering::Relaxed), "the disk has a bug");
        match self.is_broken.load(Ordering::Relaxed) {
            true => Err(io::Error::other("the medium is worn out")),
            false => Ok(()),
        }
    }
}

#[derive(Debug)]
struct MoodyDisk {
    mood: Arc<Mood>,
}

impl Disk for MoodyDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(MoodyFile { file: SystemDisk.open(path, mode)?, mood: self.mood.clone() }))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        SystemDisk.list(dir)
    }

    fn is_dir(&self, path: &Path) -> bool {
        SystemDisk.is_dir(path)
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        SystemDisk.create_dir(dir)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        SystemDisk.rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        SystemDisk.remove_file(path)
    }

    fn remove_dir_all(&self, dir: &Path) -> io::Result<()> {
        SystemDisk.remove_dir_all(dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        SystemDisk.sync_dir(dir)
    }

    fn sync_all(&self, dir: &Path) -> io::Result<()> {
        SystemDisk.sync_all(dir)
    }

    fn lock(&self, path: &Path) -> io::Result<Option<LockGuard>> {
        SystemDisk.lock(path)
    }

    fn space(&self, _dir: &Path) -> io::Result<Space> {
        // Of this disk, 5 % are kept free.
        let available_bytes = if self.mood.is_full.load(Ordering::Relaxed) { 5_000_000 } else { 50_000_000 };
        Ok(Space { available_bytes, total_bytes: 100_000_000 })
    }
}

#[derive(Debug)]
struct MoodyFile {
    file: Arc<dyn DiskFile>,
    mood: Arc<Mood>,
}

impl DiskFile for MoodyFile {
    fn read_at(&self, bytes: &mut [u8], position: u64) -> io::Result<usize> {
        self.file.read_at(bytes, position)
    }

    fn write_at(&self, slices: &[IoSlice<'_>], position: u64) -> io::Result<usize> {
        self.file.write_at(slices, position)
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn sync(&self) -> io::Result<()> {
        self.mood.before_sync()?;
        self.file.sync()
    }

    fn will_read(&self, position: u64, len: u64) {
        self.file.will_read(position, len);
    }
}
