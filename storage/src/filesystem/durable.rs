//! The craft of making files and directories durable, all of it.
//!
//! A file's bytes are durable after its sync; its name is durable after the sync of the directory that holds
//! it. So whoever creates, renames or removes a file syncs the parent before saying so.

use std::{
    io::{self, IoSlice},
    ops::Range,
    path::{Path, PathBuf},
};

use bytes::{Bytes, BytesMut};

use super::disk::{Disk, DiskFile, OpenMode};
use crate::StorageError;

/// Suffix of a file or directory that is still being made.
pub(super) const NEW_SUFFIX: &str = ".new";
/// Suffix of a directory that is being removed.
pub(super) const DELETED_SUFFIX: &str = ".deleted";
/// Bytes that are written over themselves at a time.
const REWRITE_LEN: u64 = 1024 * 1024;

/// Makes the names in a directory durable.
pub(super) fn sync_dir(disk: &dyn Disk, dir: &Path) -> Result<(), StorageError> {
    disk.sync_dir(dir).map_err(|error| match is_short_of_files(&error) {
        // It was not opened, so no sync has failed.
        true => io_or_full("syncing", dir, error),
        false => StorageError::io("syncing", dir, error),
    })
}

/// Makes the name of a directory durable that was there already: whoever made it may not have come as far as that. If
/// the one above it may not be read, it was not made by the same user.
pub(super) fn keep_dir(disk: &dyn Disk, dir: &Path) -> Result<(), StorageError> {
    match disk.sync_dir(parent(dir)) {
        Err(error) if error.kind() != io::ErrorKind::PermissionDenied => {
            Err(StorageError::io("syncing", parent(dir), error))
        }
        _ => Ok(()),
    }
}

/// Makes the bytes and the length of a file durable.
pub(super) fn sync(file: &dyn DiskFile, path: &Path) -> Result<(), StorageError> {
    file.sync().map_err(|error| StorageError::io("syncing", path, error))
}

/// Replaces a small file as a whole: whatever happens, the old or the new content is there, never a mix.
pub(super) fn replace(disk: &dyn Disk, path: &Path, content: &[u8]) -> Result<(), StorageError> {
    let aside = with_suffix(path, NEW_SUFFIX);
    let write = || -> io::Result<()> {
        let file = disk.open(&aside, OpenMode::Create)?;
        write_all_at(&*file, &mut [IoSlice::new(content)], 0)?;
        file.sync()?;
        disk.rename(&aside, path)
    };
    write().map_err(|error| io_or_full("writing", path, error))?;
    sync_dir(disk, parent(path))
}

/// As [`replace`], for a file that is only a cache: after a crash it may be gone, old, new or cut short.
pub(super) fn replace_cache(disk: &dyn Disk, path: &Path, content: &[u8]) -> io::Result<()> {
    let aside = with_suffix(path, NEW_SUFFIX);
    let file = disk.open(&aside, OpenMode::Create)?;
    write_all_at(&*file, &mut [IoSlice::new(content)], 0)?;
    // Its blocks may hold another one of the same kind, that was removed for good reasons.
    file.sync()?;
    disk.rename(&aside, path)
}

/// Creates a directory and makes it durable; it may exist.
pub(super) fn create_dir(disk: &dyn Disk, dir: &Path) -> Result<(), StorageError> {
    match disk.create_dir(dir) {
        Ok(()) => {}
        // Whoever created it may not have come as far as the sync.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && disk.is_dir(dir) => {}
        Err(error) => return Err(io_or_full("creating", dir, error)),
    }
    sync_dir(disk, parent(dir))
}

/// Creates a directory and those above it, durably.
pub(super) fn create_dirs(disk: &dyn Disk, dir: &Path) -> Result<(), StorageError> {
    let missing = |dir: &&Path| !dir.as_os_str().is_empty() && !disk.is_dir(dir);
    let missing: Vec<&Path> = dir.ancestors().take_while(missing).collect();
    missing.into_iter().rev().try_for_each(|dir| create_dir(disk, dir))
}

/// Gives a directory that was made aside its name, durably.
pub(super) fn publish_dir(disk: &dyn Disk, aside: &Path, dir: &Path) -> Result<(), StorageError> {
    sync_dir(disk, aside)?;
    disk.rename(aside, dir).map_err(|error| StorageError::io("renaming", aside, error))?;
    sync_dir(disk, parent(dir))
}

/// Removes a directory with all that is in it. The removal is durable before the first file goes, so that a
/// crash never leaves half a directory under its name.
pub(super) fn remove_dir(disk: &dyn Disk, dir: &Path) -> Result<(), StorageError> {
    let doomed = with_suffix(dir, DELETED_SUFFIX);
    match disk.rename(dir, &doomed) {
        Ok(()) => {}
        // An earlier try may have failed between the rename and the sync.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(StorageError::io("renaming", dir, error)),
    }
    sync_dir(disk, parent(dir))?;
    match disk.remove_dir_all(&doomed) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(StorageError::io("removing", doomed, error))
        }
        _ => Ok(()),
    }
}

/// Removes a file; it may be gone already.
pub(super) fn remove_file(disk: &dyn Disk, path: &Path) -> Result<(), StorageError> {
    match disk.remove_file(path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(StorageError::io("removing", path, error)),
    }
}

/// Writes all slices, one behind the other, from a position on.
pub(super) fn write_all_at(
    file: &dyn DiskFile,
    mut slices: &mut [IoSlice<'_>],
    position: u64,
) -> io::Result<u64> {
    let mut done = 0;
    // Skips empty slices at the front, which would look like an end.
    IoSlice::advance_slices(&mut slices, 0);
    while !slices.is_empty() {
        match file.write_at(slices, position + done)? {
            0 => return Err(io::ErrorKind::WriteZero.into()),
            written => {
                done += written as u64;
                IoSlice::advance_slices(&mut slices, written);
            }
        }
    }
    Ok(done)
}

/// Fills `bytes` from a position on.
pub(super) fn read_exact_at(file: &dyn DiskFile, mut bytes: &mut [u8], position: u64) -> io::Result<()> {
    let mut from = position;
    while !bytes.is_empty() {
        match file.read_at(bytes, from)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => {
                from += read as u64;
                bytes = &mut bytes[read..];
            }
        }
    }
    Ok(())
}

/// The content of a small file; `None` when it is not there.
pub(super) fn read_file(disk: &dyn Disk, path: &Path) -> Result<Option<Bytes>, StorageError> {
    let read = || -> io::Result<Bytes> {
        let file = disk.open(path, OpenMode::Existing)?;
        let mut content = BytesMut::zeroed(file.len()? as usize);
        read_exact_at(&*file, &mut content, 0)?;
        Ok(content.freeze())
    };
    match read() {
        Ok(content) => Ok(Some(content)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(io_or_full("reading", path, error)),
    }
}

/// `path` with something behind its name.
pub(super) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Whether something has run out, which passes, unlike other errors: space, or files that may be open.
fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::OutOfMemory
    ) || is_short_of_files(error)
}

/// Whether no more files may be open.
fn is_short_of_files(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let errnos = [Errno::MFILE, Errno::NFILE].map(|errno| Some(errno.raw_os_error()));
    errnos.contains(&error.raw_os_error())
}

/// An error, with a full disk told apart.
pub(super) fn io_or_full(action: &'static str, path: &Path, error: io::Error) -> StorageError {
    if is_full(&error) {
        StorageError::Full(format!("{action} {path:?}: {error}"))
    } else {
        StorageError::io(action, path, error)
    }
}

/// The directory that holds a file.
pub(super) fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// What to do when a disk has no room even for bytes that are there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WhenFull {
    /// Leave them as they are.
    GoOn,
    /// Fail.
    Fail,
}

/// Writes bytes of a file over themselves and makes them durable. They can be read; but if a sync of them has
/// failed before the last restart, the system takes them for written, and no sync alone brings them to the
/// disk ("Can Applications Recover from fsync Failures?", Rebello et al., 2020).
pub(super) fn rewrite(
    file: &dyn DiskFile,
    path: &Path,
    range: Range<u64>,
    when_full: WhenFull,
) -> Result<(), StorageError> {
    let mut bytes = vec![0; (range.end - range.start).min(REWRITE_LEN) as usize];
    let mut position = range.start;
    while position < range.end {
        let len = (range.end - position).min(REWRITE_LEN) as usize;
        let copied = read_exact_at(file, &mut bytes[..len], position)
            .and_then(|()| write_all_at(file, &mut [IoSlice::new(&bytes[..len])], position));
        match copied.map_err(|error| io_or_full("writing", path, error)) {
            Err(StorageError::Full(what)) if when_full == WhenFull::GoOn => {
                tracing::warn!(?path, what, "not written again");
            }
            copied => _ = copied?,
        }
        position += len as u64;
    }
    sync(file, path)
}
