//! [`Disk`], all that the filesystem backend asks of the operating system.
//!
//! Every byte that the backend reads or writes goes through these two traits, and [`SystemDisk`] is the one
//! implementation that a server uses. The seam is there for tests: a disk in memory that knows what is synced
//! and what is not can fail or stop at any operation, and lose or tear what was not synced.
//!
//! What is durable, as POSIX has it and ext4, XFS and btrfs keep it:
//!
//! - bytes and length of a file: after its [`sync`](DiskFile::sync);
//! - the name of a file or directory, its absence, or its change: after [`sync_dir`](Disk::sync_dir) of the
//!   directory that holds it. A rename is atomic: after a crash the old or the new name is there;
//! - all of this, below a directory and whoever has done it: after [`sync_all`](Disk::sync_all), but for what a failed
//!   sync has lost.

use std::{
    any::Any,
    fmt,
    fs::{self, File, TryLockError},
    io::{self, IoSlice},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::Arc,
};

/// Bytes that one call writes to a [`File`], at most. For 2 MiB and more Linux looks for that much memory in one piece, to
/// cache it in; and pieces so large that lie free are what a virtual machine gives back to its host, so that to have one
/// again takes many times as long as to copy into it.
const WRITE_BYTES_MAX: usize = 1024 * 1024;

/// A file system.
pub trait Disk: Send + Sync + fmt::Debug {
    /// Opens a file for reading and writing.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] when it is not there and the mode is [`OpenMode::Existing`].
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>>;

    /// The paths of what a directory holds, in no particular order.
    ///
    /// # Errors
    /// When it is not there or cannot be read.
    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>>;

    /// Whether there is a directory with this name.
    fn is_dir(&self, path: &Path) -> bool;

    /// Creates a directory in one that is there.
    ///
    /// # Errors
    /// [`io::ErrorKind::AlreadyExists`] when it is there.
    fn create_dir(&self, dir: &Path) -> io::Result<()>;

    /// Gives a file or directory another name, replacing a file of that name.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] when it is not there.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file. Those who have it open go on using it.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] when it is not there.
    fn remove_file(&self, path: &Path) -> io::Result<()>;

    /// Removes a directory with all that is in it, one by one.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] when it is not there. A part may be gone after an error.
    fn remove_dir_all(&self, dir: &Path) -> io::Result<()>;

    /// Makes the names in a directory durable.
    ///
    /// # Errors
    /// When that fails.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;

    /// Makes durable whatever there is below a directory, as far as it lies on the same disk: also what another process has
    /// written, renamed or removed, and not synced before it was killed. But not what a sync that failed has lost: the
    /// system takes that for written.
    ///
    /// # Errors
    /// When that fails, for one of the files at least.
    fn sync_all(&self, dir: &Path) -> io::Result<()>;

    /// Locks a file, creating it if need be, against all other processes for as long as the guard lives;
    /// `None` when another process has it.
    ///
    /// # Errors
    /// When the file cannot be opened.
    fn lock(&self, path: &Path) -> io::Result<Option<LockGuard>>;

    /// How much room there is.
    ///
    /// # Errors
    /// When the system does not say.
    fn space(&self, dir: &Path) -> io::Result<Space>;
}

/// An open file.
pub trait DiskFile: Send + Sync + fmt::Debug {
    /// Reads bytes from a position on, as many as come at once; none at the end.
    ///
    /// # Errors
    /// When the disk fails.
    fn read_at(&self, bytes: &mut [u8], position: u64) -> io::Result<usize>;

    /// Writes slices one behind the other from a position on; perhaps not all of them. Says how many bytes.
    /// Others see them at once.
    ///
    /// # Errors
    /// When the disk is full or fails. Nobody knows how much was written then.
    fn write_at(&self, slices: &[IoSlice<'_>], position: u64) -> io::Result<usize>;

    /// Bytes in the file.
    ///
    /// # Errors
    /// When the disk fails.
    fn len(&self) -> io::Result<u64>;

    /// Whether there are none.
    ///
    /// # Errors
    /// When the disk fails.
    fn is_empty(&self) -> io::Result<bool> {
        self.len().map(|len| len == 0)
    }

    /// Cuts the file, or fills it up with zeros.
    ///
    /// # Errors
    /// When the disk fails.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Makes bytes and length durable.
    ///
    /// # Errors
    /// When the disk fails. What was written since the last sync may be lost then, whatever a later sync
    /// says.
    fn sync(&self) -> io::Result<()>;

    /// Tells that these bytes will be read soon. A hint.
    fn will_read(&self, position: u64, len: u64);
}

/// How to open a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenMode {
    /// It must be there.
    Existing,
    /// It is created, or emptied if it is there.
    Create,
}

/// Keeps a file locked.
pub type LockGuard = Box<dyn Any + Send + Sync>;

/// Room in a file system, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// What can still be written.
    pub available_bytes: u64,
    /// All there is.
    pub total_bytes: u64,
}

/// The file system of the operating system.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemDisk;

impl Disk for SystemDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        let create = mode == OpenMode::Create;
        let file = File::options().read(true).write(true).create(create).truncate(create).open(path)?;
        Ok(Arc::new(file))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        fs::read_dir(dir)?.map(|entry| entry.map(|entry| entry.path())).collect()
    }

    fn is_dir(&self, path: &Path) -> bool {
        path.is_dir()
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        fs::create_dir(dir)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_dir_all(&self, dir: &Path) -> io::Result<()> {
        fs::remove_dir_all(dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }

    /// By `syncfs` on Linux, where what other programs have written to the same file system waits to be synced with it.
    /// That may also fail because of a file of theirs: then, and elsewhere, file by file. Plain FUSE does not pass it on.
    fn sync_all(&self, dir: &Path) -> io::Result<()> {
        #[cfg(target_os = "linux")]
        if rustix::fs::syncfs(File::open(dir)?).is_ok() {
            return Ok(());
        }
        sync_tree(dir)
    }

    fn lock(&self, path: &Path) -> io::Result<Option<LockGuard>> {
        let file = File::options().create(true).truncate(false).write(true).open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Box::new(file))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    fn space(&self, dir: &Path) -> io::Result<Space> {
        let stat = rustix::fs::statvfs(dir)?;
        let bytes = |blocks: u64| blocks.saturating_mul(stat.f_frsize);
        Ok(Space { available_bytes: bytes(stat.f_bavail), total_bytes: bytes(stat.f_blocks) })
    }
}

/// Syncs files and directories one by one, what is in a directory before its names. What is neither, or not to be opened,
/// is not ours.
fn sync_tree(dir: &Path) -> io::Result<()> {
    let unless_forbidden = |error: io::Error| match error.kind() {
        io::ErrorKind::PermissionDenied => Ok(()),
        _ => Err(error),
    };
    for entry in fs::read_dir(dir)? {
        let (entry, path) = entry.and_then(|entry| Ok((entry.file_type()?, entry.path())))?;
        if entry.is_dir() {
            sync_tree(&path).or_else(unless_forbidden)?;
        } else if entry.is_file() {
            File::open(&path).and_then(|file| file.sync_all()).or_else(unless_forbidden)?;
        }
    }
    File::open(dir)?.sync_all()
}

impl DiskFile for File {
    fn read_at(&self, bytes: &mut [u8], position: u64) -> io::Result<usize> {
        loop {
            match FileExt::read_at(self, bytes, position) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                outcome => return outcome,
            }
        }
    }

    fn write_at(&self, slices: &[IoSlice<'_>], position: u64) -> io::Result<usize> {
        let mut left = WRITE_BYTES_MAX;
        let up_to_it = slices.iter().map_while(|slice| {
            let part = (left > 0).then(|| &slice[..left.min(slice.len())])?;
            left -= part.len();
            Some(IoSlice::new(part))
        });
        let part: Vec<IoSlice<'_>> = up_to_it.collect();
        loop {
            match rustix::io::pwritev(self, &part, position) {
                Err(rustix::io::Errno::INTR) => {}
                outcome => return Ok(outcome?),
            }
        }
    }

    fn len(&self) -> io::Result<u64> {
        self.metadata().map(|metadata| metadata.len())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        File::set_len(self, len)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }

    fn will_read(&self, position: u64, len: u64) {
        // A hint: it may fail.
        let _ =
            rustix::fs::fadvise(self, position, std::num::NonZeroU64::new(len), rustix::fs::Advice::WillNeed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filesystem::durable::write_all_at;

    #[test]
    fn everything_below_a_directory_is_synced_or_that_fails() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("below")).unwrap();
        fs::write(dir.path().join("below/file"), b"content").unwrap();
        SystemDisk.sync_all(dir.path()).unwrap();
        sync_tree(dir.path()).unwrap();
        std::os::unix::fs::symlink("nowhere", dir.path().join("below/broken")).unwrap();
        sync_tree(dir.path()).unwrap();
        let missing = dir.path().join("missing");
        for missing in [SystemDisk.sync_all(&missing), sync_tree(&missing)] {
            assert_eq!(missing.unwrap_err().kind(), io::ErrorKind::NotFound);
        }
    }

    #[test]
    fn much_is_written_piece_by_piece() {
        let file = tempfile::tempfile().unwrap();
        let lens = [10, WRITE_BYTES_MAX - 10, 1, 0, 2 * WRITE_BYTES_MAX + 1, WRITE_BYTES_MAX - 1, 7];
        let parts: Vec<Vec<u8>> = lens.iter().zip(1..).map(|(len, n)| vec![n; *len]).collect();
        let slices = || parts.iter().map(|part| IoSlice::new(part)).collect::<Vec<_>>();
        let written = |from: usize| DiskFile::write_at(&file, &slices()[from..], 0).unwrap();
        assert_eq!([0, 1, 3, 6].map(written), [WRITE_BYTES_MAX, WRITE_BYTES_MAX, WRITE_BYTES_MAX, 7]);
        let all = parts.concat();
        assert_eq!(write_all_at(&file, &mut slices(), 3).unwrap(), all.len() as u64);
        let mut read = vec![0; all.len()];
        FileExt::read_exact_at(&file, &mut read, 3).unwrap();
        assert!(read == all && DiskFile::len(&file).unwrap() == 3 + all.len() as u64);
    }
}
