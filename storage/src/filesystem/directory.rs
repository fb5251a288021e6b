//! The data directory: its lock, its format, and the names in it.
//!
//! ```text
//!   minikafka-data/
//!     minikafka        says that this is a data directory, and of which format
//!     lock             locked by the server that uses it
//!     logs/
//!       demo%20topic-0.5f1c.../       <topic, percent-encoded, cut at 180 bytes>-<partition>.<topic id>
//!         manifest                    who the log is, where it begins
//!         00000000000000000000.log    a segment, by the index of its first entry
//!         00000000000000000000.index  its sparse index, a cache
//!         blob-vote                   a named blob
//! ```

use std::{
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::{
    durable::{self, DELETED_SUFFIX, NEW_SUFFIX},
    manifest::{MANIFEST, Manifest},
    sealed,
};
use crate::{LogId, StorageError};

const MARKER: &str = "minikafka";
const MARKER_MAGIC: [u8; 4] = *b"MKDD";
/// The format of the directory as a whole: which files there are.
const FORMAT: u32 = 1;
const LOCK: &str = "lock";
const LOGS: &str = "logs";
/// The system takes a moment to let go of the lock of a server that was killed.
const LOCK_PATIENCE: Duration = Duration::from_secs(1);
const LOCK_PAUSE: Duration = Duration::from_millis(10);
const TOPIC_LEN_MAX: usize = 180;
/// What stays as it is in the name of a log's directory.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.');

/// A data directory that is locked by us.
#[derive(Debug)]
pub(super) struct Directory {
    logs: PathBuf,
    /// Locked until it is closed.
    _lock: File,
}

impl Directory {
    /// Opens `root`, making it a data directory if it is new or empty, and removes what a crash left half
    /// done.
    ///
    /// # Errors
    /// When it holds something else, another server uses it, or its format is unknown.
    pub(super) fn open(root: &Path) -> Result<Directory, StorageError> {
        durable::create_dirs(root)?;
        let marker = root.join(MARKER);
        // Looked at before anything is written: a foreign directory stays as it is.
        let is_ours = check_marker(root, &marker)?;
        let lock = lock(root)?;
        if !is_ours {
            durable::create_dir(&root.join(LOGS))?;
            durable::replace(&marker, &sealed::seal(MARKER_MAGIC, FORMAT, &[]))?;
        }
        let directory = Directory { logs: root.join(LOGS), _lock: lock };
        directory.sweep()?;
        Ok(directory)
    }

    /// The directory of a log.
    pub(super) fn log_dir(&self, id: &LogId) -> PathBuf {
        self.logs.join(dir_name(id))
    }

    /// The logs there are.
    pub(super) fn list(&self) -> Result<Vec<LogId>, StorageError> {
        let mut ids = Vec::new();
        for dir in self.entries()? {
            let manifest = dir.join(MANIFEST);
            if manifest.try_exists().map_err(|error| StorageError::io("reading", &manifest, error))? {
                ids.push(Manifest::load(&dir)?.0.id);
            } else {
                tracing::warn!(?dir, "not a log, left alone");
            }
        }
        Ok(ids)
    }

    /// Removes what was being made or removed when the last server ended.
    fn sweep(&self) -> Result<(), StorageError> {
        for path in self.entries()? {
            let name = path.to_string_lossy();
            if name.ends_with(NEW_SUFFIX) || name.ends_with(DELETED_SUFFIX) {
                fs::remove_dir_all(&path).map_err(|error| StorageError::io("removing", &path, error))?;
            }
        }
        Ok(())
    }

    fn entries(&self) -> Result<Vec<PathBuf>, StorageError> {
        let read = |error| StorageError::io("reading", &self.logs, error);
        let entries = fs::read_dir(&self.logs).map_err(read)?;
        entries.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<_>>().map_err(read)
    }
}

/// Whether `root` is a data directory already; if not, it must be empty.
fn check_marker(root: &Path, marker: &Path) -> Result<bool, StorageError> {
    match fs::read(marker) {
        Ok(file) => sealed::unseal(marker, file.into(), MARKER_MAGIC, FORMAT).map(|_| true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let read = |error| StorageError::io("reading", root, error);
            let ours = [LOCK, LOGS, "minikafka.new"];
            for entry in fs::read_dir(root).map_err(read)? {
                let name = entry.map_err(read)?.file_name();
                // A crash before the marker was there leaves only these.
                if !ours.iter().any(|ours| name == *ours) {
                    return Err(StorageError::Foreign(root.to_owned(), MARKER));
                }
            }
            Ok(false)
        }
        Err(error) => Err(StorageError::io("reading", marker, error)),
    }
}

fn lock(root: &Path) -> Result<File, StorageError> {
    let path = root.join(LOCK);
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(|error| StorageError::io("opening", &path, error))?;
    let started = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if started.elapsed() < LOCK_PATIENCE => {
                std::thread::sleep(LOCK_PAUSE);
            }
            Err(TryLockError::WouldBlock) => return Err(StorageError::Locked(root.to_owned())),
            Err(TryLockError::Error(error)) => return Err(StorageError::io("locking", path, error)),
        }
    }
}

/// The name of a log's directory. For people: the manifest inside says who the log is.
fn dir_name(id: &LogId) -> String {
    let mut topic = utf8_percent_encode(&id.topic, PLAIN).to_string();
    topic.truncate(TOPIC_LEN_MAX);
    format!("{topic}-{}.{}", id.partition, id.topic_id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TopicId;

    #[test]
    fn directory_names_are_safe_and_short() {
        let name = |topic: &str| {
            dir_name(&LogId {
                topic: topic.to_owned(),
                partition: 7,
                topic_id: TopicId::from_bytes([0xab; 16]),
            })
        };
        let id = "ab".repeat(16);
        assert_eq!(name("demo topic"), format!("demo%20topic-7.{id}"));
        assert_eq!(name("../x\0/"), format!("..%2Fx%00%2F-7.{id}"));
        assert!(name(&"ü".repeat(124)).len() <= 255);
    }
}
