//! The craft of making files and directories durable, all of it.
//!
//! A file's bytes are durable after its sync; its name is durable after the sync of the directory that holds
//! it. So whoever creates, renames or removes a file syncs the parent before saying so.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

use crate::StorageError;

/// Suffix of a file or directory that is still being made.
pub(super) const NEW_SUFFIX: &str = ".new";
/// Suffix of a directory that is being removed.
pub(super) const DELETED_SUFFIX: &str = ".deleted";

/// Makes the names in a directory durable.
pub(super) fn sync_dir(dir: &Path) -> Result<(), StorageError> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(|error| StorageError::io("syncing", dir, error))
}

/// Makes the bytes and the length of a file durable.
pub(super) fn sync_data(file: &File, path: &Path) -> Result<(), StorageError> {
    file.sync_data().map_err(|error| StorageError::io("syncing", path, error))
}

/// Replaces a small file as a whole: whatever happens, the old or the new content is there, never a mix.
pub(super) fn replace(path: &Path, content: &[u8]) -> Result<(), StorageError> {
    let aside = with_suffix(path, NEW_SUFFIX);
    let write = || -> io::Result<()> {
        let mut file = File::create(&aside)?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&aside, path)
    };
    write().map_err(|error| io_or_full("writing", path, error))?;
    sync_dir(parent(path))
}

/// Creates a directory and makes it durable; it may exist.
pub(super) fn create_dir(dir: &Path) -> Result<(), StorageError> {
    match fs::create_dir(dir) {
        Ok(()) => sync_dir(parent(dir)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && dir.is_dir() => Ok(()),
        Err(error) => Err(io_or_full("creating", dir, error)),
    }
}

/// Creates a directory and those above it, durably.
pub(super) fn create_dirs(dir: &Path) -> Result<(), StorageError> {
    let missing = |dir: &&Path| !dir.as_os_str().is_empty() && !dir.exists();
    let missing: Vec<&Path> = dir.ancestors().take_while(missing).collect();
    missing.into_iter().rev().try_for_each(create_dir)
}

/// Gives a directory that was made aside its name, durably.
pub(super) fn publish_dir(aside: &Path, dir: &Path) -> Result<(), StorageError> {
    sync_dir(aside)?;
    fs::rename(aside, dir).map_err(|error| StorageError::io("renaming", aside, error))?;
    sync_dir(parent(dir))
}

/// Removes a directory with all that is in it. The removal is durable before the first file goes, so that a
/// crash never leaves half a directory under its name.
pub(super) fn remove_dir(dir: &Path) -> Result<(), StorageError> {
    let doomed = with_suffix(dir, DELETED_SUFFIX);
    match fs::rename(dir, &doomed) {
        Ok(()) => sync_dir(parent(dir))?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(StorageError::io("renaming", dir, error)),
    }
    fs::remove_dir_all(&doomed).map_err(|error| StorageError::io("removing", doomed, error))
}

/// Removes a file; it may be gone already.
pub(super) fn remove_file(path: &Path) -> Result<(), StorageError> {
    match fs::remove_file(path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(StorageError::io("removing", path, error)),
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
    use rustix::io::Errno;
    let out_of_files = [Errno::MFILE, Errno::NFILE].map(|errno| Some(errno.raw_os_error()));
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::OutOfMemory
    ) || out_of_files.contains(&error.raw_os_error())
}

/// An error, with a full disk told apart.
pub(super) fn io_or_full(action: &'static str, path: &Path, error: io::Error) -> StorageError {
    if is_full(&error) {
        StorageError::Full(format!("{action} {path:?}: {error}"))
    } else {
        StorageError::io(action, path, error)
    }
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}
