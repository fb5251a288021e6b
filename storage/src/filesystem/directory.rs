//! The data directory: its lock, its format, and the names in it.
//!
//! ```text
//!   minikafka-data/
//!     minikafka        says that this is a data directory, and of which format; twice, for one may get spoiled
//!     lock             locked by the server that uses it
//!     journal/         what is durable and not yet in segments: see `journal`
//!     logs/
//!       demo%20topic-0.5f1c.../       <topic, percent-encoded, cut at 180 bytes>-<partition>.<topic id>
//!         manifest                    who the log is, where it begins
//!         00000000000000000000.log    a segment, by the index of its first entry
//!         00000000000000000000.index  its sparse index, a cache
//!         blob-vote                   a named blob
//!         damage                      what is known to be damaged, once something is
//!         ....torn, ....damaged       bytes cut off, and segments set aside: for the operator to look at and remove
//! ```
//!
//! The marker is twice the same [envelope](super::sealed), magic `MKDD`, the second one at byte 512. Its body is
//! the salt of the journal, 8 random bytes.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::{
    disk::{Disk, LockGuard},
    durable::{self, DELETED_SUFFIX, NEW_SUFFIX},
    frame::Salt,
    manifest::Manifest,
    sealed,
};
use crate::{LogId, StorageError};

/// The file that says what the directory is.
pub(super) const MARKER: &str = "minikafka";
const MARKER_MAGIC: [u8; 4] = *b"MKDD";
/// Where the second envelope of the marker begins.
const MARKER_COPY: usize = 512;
/// The format of the directory as a whole: which files there are.
const FORMAT: u32 = 2;
pub(super) const LOCK: &str = "lock";
pub(super) const LOGS: &str = "logs";
pub(super) const JOURNAL: &str = "journal";
/// The system takes a moment to let go of the lock of a server that was killed.
const LOCK_PATIENCE: Duration = Duration::from_secs(1);
const LOCK_PAUSE: Duration = Duration::from_millis(10);
/// While what was left unsynced is made durable, it is said so this often.
const SYNC_PAUSE: Duration = Duration::from_secs(1);
const TOPIC_LEN_MAX: usize = 180;
/// What stays as it is in the name of a log's directory.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.');

/// A data directory that is locked by us.
pub(super) struct Directory {
    root: PathBuf,
    /// Salt of the journal.
    pub(super) salt: Salt,
    _lock: LockGuard,
}

impl Directory {
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Opens `root`, making it a data directory if it is new or empty, makes durable what was left unsynced, and removes
    /// what a crash left half done.
    ///
    /// # Errors
    /// When it holds something else, another server uses it, or its format is unknown.
    pub(super) fn open(disk: &Arc<dyn Disk>, root: &Path) -> Result<Directory, StorageError> {
        let disk = &**disk;
        durable::create_dirs(disk, root)?;
        let marker = root.join(MARKER);
        // Looked at before anything is written: a foreign directory stays as it is.
        let salt = load_marker(disk, root, &marker)?;
        let lock = lock(disk, root)?;
        // Another server may have made it while this one waited for the lock.
        let salt = match salt.map_or_else(|| load_marker(disk, root, &marker), |salt| Ok(Some(salt)))? {
            Some(salt) => salt,
            None => {
                let salt = Salt::random()?;
                durable::keep_dir(disk, root)?;
                create_marker(disk, root, &marker, salt)?;
                salt
            }
        };
        let directory = Directory { root: root.to_owned(), salt, _lock: lock };
        directory.make_durable(disk);
        directory.sweep(disk)?;
        Ok(directory)
    }

    /// Opens `root` as it is: nothing in it is created, removed or written, unless `disk` creates the lock file.
    ///
    /// # Errors
    /// When it is no data directory, a server uses it, or its format is unknown.
    pub(super) fn open_as_it_is(disk: &dyn Disk, root: &Path) -> Result<Directory, StorageError> {
        let marker = root.join(MARKER);
        let Some(salt) = load_marker(disk, root, &marker)? else {
            return Err(StorageError::io("reading", marker, io::ErrorKind::NotFound.into()));
        };
        let lock = lock(disk, root)?;
        Ok(Directory { root: root.to_owned(), salt, _lock: lock })
    }

    pub(super) fn journal_dir(&self) -> PathBuf {
        self.root.join(JOURNAL)
    }

    /// The directory of a log.
    pub(super) fn log_dir(&self, id: &LogId) -> PathBuf {
        self.root.join(LOGS).join(dir_name(id))
    }

    /// The directories of all logs.
    pub(super) fn log_dirs(&self, disk: &dyn Disk) -> Result<Vec<PathBuf>, StorageError> {
        let logs = self.root.join(LOGS);
        disk.list(&logs).map_err(|error| StorageError::io("reading", logs, error))
    }

    /// Makes durable what the last server has left, which may have been killed before it synced that. From here on what
    /// is found is what the disk has: whatever is removed, written over or promised because of it, a power loss does not
    /// bring an older state back. What a failed sync has lost is written again for that: manifests here, the ends of
    /// segments and of the journal when they are read. A disk that cannot do that is no reason not to open what was opened
    /// before.
    fn make_durable(&self, disk: &dyn Disk) {
        // They may be on disks of their own.
        let dirs = [self.root.clone(), self.root.join(LOGS), self.journal_dir()];
        // Others may have left much more to sync.
        let say = |lasted: Duration| {
            let seconds = lasted.as_secs();
            tracing::info!(seconds, "waiting for the disk: what was left unsynced is synced first");
        };
        while_saying(SYNC_PAUSE, say, || {
            self.write_manifests_again(disk);
            for dir in dirs.iter().filter(|dir| disk.is_dir(dir)) {
                if let Err(error) = disk.sync_all(dir) {
                    tracing::warn!(?dir, %error, "what was left unsynced is not all synced: a power loss may take it");
                }
            }
        });
    }

    /// Writes of each manifest what counts, which the first sync of all then brings to the disk: files are removed because
    /// of what it says.
    fn write_manifests_again(&self, disk: &dyn Disk) {
        // If they cannot be listed, opening ends with that.
        for dir in self.log_dirs(disk).unwrap_or_default() {
            if let Err(error) = Manifest::write_again(disk, &dir) {
                tracing::warn!(?dir, %error, "the manifest is not written again: a power loss may take it");
            }
        }
    }

    /// Removes what was being made or removed when the last server ended.
    fn sweep(&self, disk: &dyn Disk) -> Result<(), StorageError> {
        for path in self.log_dirs(disk)? {
            let name = path.to_string_lossy();
            if name.ends_with(NEW_SUFFIX) || name.ends_with(DELETED_SUFFIX) {
                disk.remove_dir_all(&path).map_err(|error| StorageError::io("removing", &path, error))?;
            }
        }
        Ok(())
    }
}

/// Does the work. Whenever it has lasted for another `pause`, `say` is called with how long it lasts, by a thread of its own.
fn while_saying(pause: Duration, mut say: impl FnMut(Duration) + Send, work: impl FnOnce()) {
    let (done, wait) = mpsc::channel::<()>();
    thread::scope(|scope| {
        let say_all = move || {
            let mut lasted = Duration::ZERO;
            while wait.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
                lasted += pause;
                say(lasted);
            }
        };
        // Without a thread, nothing is said.
        let _ = thread::Builder::new().spawn_scoped(scope, say_all);
        work();
        drop(done);
    });
}

/// The salt that the marker of a data directory names. `None` when there is no marker; then the directory
/// must be empty.
fn load_marker(disk: &dyn Disk, root: &Path, marker: &Path) -> Result<Option<Salt>, StorageError> {
    if let Some(file) = durable::read_file(disk, marker)? {
        let [first, second] = parse_copies(marker, file);
        let salt = first.or_else(|first| {
            let salt = second.map_err(|_| first)?;
            tracing::error!(?marker, "half of this file is damaged, the other half serves");
            Ok(salt)
        });
        return salt.map(Some);
    }
    let ours = [LOCK, LOGS, JOURNAL, "minikafka.new"].map(|name| root.join(name));
    let found = disk.list(root).map_err(|error| StorageError::io("reading", root, error))?;
    // A crash before the marker was there leaves only these, with nothing in them.
    if !found.iter().all(|path| ours.contains(path)) {
        return Err(StorageError::Foreign(root.to_owned(), MARKER));
    }
    for dir in [LOGS, JOURNAL].map(|name| root.join(name)) {
        if disk.is_dir(&dir) && !disk.list(&dir).is_ok_and(|held| held.is_empty()) {
            return Err(StorageError::damaged(marker, 0, "the file is missing although there are logs"));
        }
    }
    Ok(None)
}

/// What each of the two envelopes of the marker says.
pub(super) fn parse_copies(marker: &Path, file: Bytes) -> [Result<Salt, StorageError>; 2] {
    let second = file.slice(MARKER_COPY.min(file.len())..);
    [file, second].map(|copy| parse_marker(marker, copy))
}

fn parse_marker(marker: &Path, file: Bytes) -> Result<Salt, StorageError> {
    let body = sealed::unseal(marker, file, MARKER_MAGIC, FORMAT)?;
    let salt =
        body[..].try_into().map_err(|_| StorageError::damaged(marker, 0, "its body has another length"))?;
    Ok(Salt(salt))
}

/// The marker comes last: it says that the directory is whole.
fn create_marker(disk: &dyn Disk, root: &Path, marker: &Path, salt: Salt) -> Result<(), StorageError> {
    durable::create_dir(disk, &root.join(LOGS))?;
    durable::create_dir(disk, &root.join(JOURNAL))?;
    let envelope = sealed::seal(MARKER_MAGIC, FORMAT, &salt.0);
    let mut content = envelope.clone();
    content.resize(MARKER_COPY, 0);
    content.extend(envelope);
    durable::replace(disk, marker, &content)
}

fn lock(disk: &dyn Disk, root: &Path) -> Result<LockGuard, StorageError> {
    let path = root.join(LOCK);
    let started = Instant::now();
    loop {
        match disk.lock(&path) {
            Ok(Some(guard)) => return Ok(guard),
            Ok(None) if started.elapsed() < LOCK_PATIENCE => thread::sleep(LOCK_PAUSE),
            Ok(None) => return Err(StorageError::Locked(root.to_owned())),
            Err(error) => return Err(durable::io_or_full("locking", &path, error)),
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
    fn it_is_said_again_and_again_that_work_lasts() {
        let pause = Duration::from_millis(1);
        let (say, said) = mpsc::channel();
        while_saying(
            pause,
            |lasted| say.send(lasted).unwrap(),
            || {
                let twice = [said.recv().unwrap(), said.recv().unwrap()];
                assert_eq!(twice, [pause, 2 * pause]);
            },
        );
        while_saying(Duration::MAX, |_| panic!("nothing lasts so long"), || {});
    }

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
