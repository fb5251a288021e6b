//! [`ReadOnly`], the file system of the operating system, as long as nothing is to be changed.

use std::{
    fs::{File, TryLockError},
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::filesystem::disk::{Disk, DiskFile, LockGuard, OpenMode, Space, SystemDisk};

/// Refuses every change: a bug here cannot harm a directory. So it reads what is mounted read-only, too, and what
/// its user may only read.
#[derive(Clone, Copy, Debug)]
pub(super) struct ReadOnly;

impl Disk for ReadOnly {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        match mode {
            // The handle cannot write either: the system refuses it.
            OpenMode::Existing => Ok(Arc::new(File::open(path)?)),
            OpenMode::Create => Err(refused()),
        }
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        SystemDisk.list(dir)
    }

    fn is_dir(&self, path: &Path) -> bool {
        SystemDisk.is_dir(path)
    }

    fn create_dir(&self, _: &Path) -> io::Result<()> {
        Err(refused())
    }

    fn rename(&self, _: &Path, _: &Path) -> io::Result<()> {
        Err(refused())
    }

    fn remove_file(&self, _: &Path) -> io::Result<()> {
        Err(refused())
    }

    fn remove_dir_all(&self, _: &Path) -> io::Result<()> {
        Err(refused())
    }

    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        Err(refused())
    }

    fn sync_all(&self, _: &Path) -> io::Result<()> {
        Err(refused())
    }

    /// Locks the file if it is there. Without it no server is there either: each creates it first of all.
    fn lock(&self, path: &Path) -> io::Result<Option<LockGuard>> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Some(Box::new(()))),
            Err(error) => return Err(error),
        };
        match file.try_lock() {
            Ok(()) => Ok(Some(Box::new(file))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    fn space(&self, dir: &Path) -> io::Result<Space> {
        SystemDisk.space(dir)
    }
}

fn refused() -> io::Error {
    io::ErrorKind::ReadOnlyFilesystem.into()
}
