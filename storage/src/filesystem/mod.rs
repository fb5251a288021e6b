//! The filesystem backend: segments of checksummed frames, made durable by one flusher.
//!
//! ```text
//!   append ---> tail (memory) ---> write ---> sync ---> completions
//!   any thread   readable at once   \_ one flusher thread for all logs _/
//! ```
//!
//! `append` puts entries into the log's tail and tells the flusher; it never waits for the disk. The flusher
//! takes what all logs have, writes each log's part with one call, syncs the files that changed, and only
//! then completes: that is group commit, and the duration of the sync itself forms the group. See
//! [`SyncPolicy`] for those who want less.
//!
//! Everything written is in frames with checksums (module `frame`); frames are in segments (`segment`), which
//! roll by size; a sparse index (`index`) tells where to look; a small manifest (`manifest`) tells where the
//! log begins. The directory is drawn in `directory`, all sync and rename craft is in `durable`.
//!
//! - **Invariant:** a completion with success is called after the sync of every byte up to its entries (with
//!   [`SyncPolicy::Always`]).
//! - **Invariant:** after an error of a write or a sync, the log takes no more appends: a sync is never tried
//!   again, because the system may have dropped the bytes it failed to write. A full disk is no such error:
//!   the append fails, nothing of it is kept, the next one is tried.
//! - **Invariant:** what is read from a file is verified before it is returned.
//!
//! After a crash, opening reads the last segment of each log; after a clean stop its index is enough. Bytes
//! behind the last whole frame that were never synced are a torn tail: they are cut off, and kept aside in a
//! file that ends in `.torn`, if there is room for it. If any whole frame or the manifest says that these
//! bytes had been synced once, they are damage, and the log refuses to open rather than lose them. One case
//! cannot be told apart: when the very last group commit is damaged and nothing later says that it was
//! durable.
//!
//! Not here yet: opening in time independent of the size of the last segment, setting damaged segments aside
//! while serving the rest.

mod directory;
pub mod disk;
mod durable;
mod flusher;
mod frame;
mod handles;
mod index;
mod log;
mod manifest;
mod read;
mod recovery;
mod scan;
mod sealed;
mod segment;
mod state;
mod trim;
mod write;

use std::{
    collections::HashMap,
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc},
    thread::JoinHandle,
    time::Duration,
};

use bytes::Bytes;

use self::{
    directory::Directory,
    flusher::{FlushQueue, Flusher},
    handles::Handles,
    log::FileLog,
};
use crate::{Durability, Log, LogId, Storage, StorageError};

const BLOB_MAGIC: [u8; 4] = *b"MKBL";
const BLOB_FORMAT: u32 = 1;

/// When written entries are synced, and so when they complete.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SyncPolicy {
    /// Before they complete. Nothing acknowledged is ever lost.
    #[default]
    Always,
    /// Every so often. Entries complete when they are written to the operating system: a crash of the process
    /// loses nothing, power loss up to this much, and the numbers of what was lost are given again.
    Every(Duration),
    /// When the operating system likes, and when a segment is full. As above, without a bound.
    Never,
}

/// What can be chosen.
#[derive(Clone, Debug)]
pub struct Options {
    /// When entries are synced.
    pub sync: SyncPolicy,
    /// Size at which a segment is sealed and the next one begun.
    pub segment_bytes: u64,
    /// Bytes of durable entries kept in memory for readers near the end, over all logs.
    pub tail_bytes: u64,
    /// Segment files kept open.
    pub open_files: usize,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            sync: SyncPolicy::default(),
            segment_bytes: 128 * 1024 * 1024,
            tail_bytes: 16 * 1024 * 1024,
            open_files: 512,
        }
    }
}

/// Logs in a directory.
#[derive(Debug)]
pub struct FileStorage {
    directory: Directory,
    shared: Arc<Shared>,
    logs: Mutex<HashMap<LogId, Arc<FileLog>>>,
    flusher: Mutex<Option<JoinHandle<()>>>,
}

/// What all logs of a storage share.
#[derive(Debug)]
struct Shared {
    options: Options,
    handles: Handles,
    queue: FlushQueue,
}

impl FileStorage {
    /// Opens a data directory, creating it if need be, and locks it.
    ///
    /// # Errors
    /// When it holds something else, another server uses it, it cannot be written, or its format is unknown.
    pub fn open(root: &Path, options: Options) -> Result<FileStorage, StorageError> {
        let directory = Directory::open(root)?;
        let handles = Handles::new(options.open_files);
        let shared = Arc::new(Shared { options, handles, queue: FlushQueue::default() });
        let flusher = Flusher::spawn(shared.clone())
            .map_err(|error| StorageError::io("starting the flusher for", root, error))?;
        Ok(FileStorage { directory, shared, logs: Mutex::default(), flusher: Mutex::new(Some(flusher)) })
    }

    fn logs(&self) -> MutexGuard<'_, HashMap<LogId, Arc<FileLog>>> {
        self.logs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn blob_path(&self, id: &LogId, name: &str) -> PathBuf {
        self.directory.log_dir(id).join(format!("blob-{name}"))
    }

    /// Lets the flusher finish what it has, and waits for it.
    fn stop_flusher(&self) {
        self.shared.queue.close();
        let flusher = self.flusher.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(flusher) = flusher
            && flusher.join().is_err()
        {
            tracing::error!("the flusher panicked");
        }
    }
}

impl Storage for FileStorage {
    fn open(&self, id: &LogId) -> Result<Arc<dyn Log>, StorageError> {
        // Held throughout: two openings of one log must not both recover it.
        let mut logs = self.logs();
        if let Some(log) = logs.get(id) {
            return Ok(log.clone());
        }
        let log = FileLog::open(id, self.directory.log_dir(id), self.shared.clone())?;
        logs.insert(id.clone(), log.clone());
        Ok(log)
    }

    fn list(&self) -> Result<Vec<LogId>, StorageError> {
        self.directory.list()
    }

    fn remove(&self, id: &LogId) -> Result<(), StorageError> {
        let log = self.logs().remove(id);
        if let Some(log) = log {
            log.abandon(&StorageError::NotFound { log: id.to_string() });
        }
        durable::remove_dir(&self.directory.log_dir(id))
    }

    fn load_blob(&self, id: &LogId, name: &str) -> Result<Option<Bytes>, StorageError> {
        if !self.directory.log_dir(id).is_dir() {
            return Err(StorageError::NotFound { log: id.to_string() });
        }
        let path = self.blob_path(id, name);
        match fs::read(&path) {
            Ok(file) => sealed::unseal(&path, file.into(), BLOB_MAGIC, BLOB_FORMAT).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(StorageError::io("reading", path, error)),
        }
    }

    fn store_blob(&self, id: &LogId, name: &str, blob: &[u8]) -> Result<(), StorageError> {
        let log =
            self.logs().get(id).cloned().ok_or_else(|| StorageError::NotFound { log: id.to_string() })?;
        // An append of nothing completes when all before it is durable.
        let (done, wait) = mpsc::channel();
        log.append(Vec::new(), Box::new(move |outcome| drop(done.send(outcome))));
        wait.recv().map_err(|_| StorageError::Closed)??;
        if self.shared.options.sync != SyncPolicy::Always {
            log.sync()?;
        }
        let _one_at_a_time = log.lock_manifest();
        durable::replace(&self.blob_path(id, name), &sealed::seal(BLOB_MAGIC, BLOB_FORMAT, blob))
    }

    fn close(&self) -> Result<(), StorageError> {
        self.stop_flusher();
        let logs: Vec<Arc<FileLog>> = self.logs().values().cloned().collect();
        let mut outcome = Ok(());
        for log in logs {
            outcome = outcome.and(log.close_clean());
        }
        outcome
    }

    fn durability(&self) -> Durability {
        match self.shared.options.sync {
            SyncPolicy::Always => Durability::Synced,
            SyncPolicy::Every(interval) => Durability::Periodic(interval),
            SyncPolicy::Never => Durability::Cached,
        }
    }
}

impl Drop for FileStorage {
    /// What was appended is still written and completed, but no clean stop is marked: call
    /// [`close`](Storage::close) for that.
    fn drop(&mut self) {
        self.stop_flusher();
    }
}
