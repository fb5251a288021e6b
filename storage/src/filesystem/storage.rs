//! [`FileStorage`], the logs of a directory.

use std::{
    collections::HashMap,
    fmt,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc,
    },
    thread::JoinHandle,
};

use bytes::Bytes;

use super::{
    Options, Shared, SyncPolicy,
    counters::Counters,
    directory::Directory,
    disk::{Disk, SystemDisk},
    durable,
    flusher::{FlushQueue, Flusher},
    handles::Handles,
    indexes::Indexes,
    journal::{Journal, PAGE_LEN, Replay},
    log::FileLog,
    recovery, sealed,
    space::{Headroom, headroom_bytes},
    writer::{self, WriterQueue},
};
use crate::{Durability, Log, LogId, Storage, StorageError, StorageStats};

pub(super) const BLOB_MAGIC: [u8; 4] = *b"MKBL";
pub(super) const BLOB_FORMAT: u32 = 1;
/// What the name of a blob's file begins with.
pub(super) const BLOB_PREFIX: &str = "blob-";
/// Part of the headroom that a file of the journal may take up at most: all of them are to fit into it.
const JOURNAL_PART: u64 = 4;

/// Logs in a directory.
pub struct FileStorage {
    directory: Directory,
    pub(super) shared: Arc<Shared>,
    logs: Mutex<HashMap<LogId, Arc<FileLog>>>,
    threads: Mutex<Option<Threads>>,
}

struct Threads {
    flusher: JoinHandle<()>,
    writer: JoinHandle<()>,
}

impl FileStorage {
    /// Opens a data directory, creating it if need be, and locks it; recovers all logs in it.
    ///
    /// # Errors
    /// When it holds something else, another server uses it, it cannot be read or written, or its format is
    /// unknown. Damage in a log is no error here: see [`Bounds::damaged`](crate::Bounds::damaged). A log whose
    /// manifest is damaged is left alone and not opened.
    pub fn open(root: &Path, options: Options) -> Result<FileStorage, StorageError> {
        FileStorage::open_on(Arc::new(SystemDisk), root, options)
    }

    /// As [`open`](FileStorage::open), on a disk of one's own.
    ///
    /// # Errors
    /// As there.
    pub fn open_on(disk: Arc<dyn Disk>, root: &Path, options: Options) -> Result<FileStorage, StorageError> {
        let directory = Directory::open(&disk, root)?;
        let replay = Replay::open(&*disk, directory.journal_dir(), directory.salt)?;
        let shared = Arc::new(Shared {
            handles: Handles::new(disk.clone(), options.open_files),
            indexes: Indexes::default(),
            queue: FlushQueue::default(),
            writer: Arc::new(WriterQueue::default()),
            journal_sequence: Arc::new(AtomicU64::new(replay.next_sequence())),
            journal_kept: AtomicBool::new(false),
            rounds: Mutex::new(()),
            counters: Counters::default(),
            options,
            disk,
        });
        let logs = recovery::recover(&directory, replay, &shared)?;
        let threads = Threads::spawn(root, &directory, &shared)?;
        Ok(FileStorage {
            directory,
            shared,
            logs: Mutex::new(logs.into_iter().collect()),
            threads: Mutex::new(Some(threads)),
        })
    }

    fn logs(&self) -> MutexGuard<'_, HashMap<LogId, Arc<FileLog>>> {
        self.logs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn logs_there(&self) -> Vec<Arc<FileLog>> {
        self.logs().values().cloned().collect()
    }

    /// Whether there is somebody who makes appends durable.
    pub(super) fn threads_run(&self) -> bool {
        let threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        threads
            .as_ref()
            .is_some_and(|threads| !threads.flusher.is_finished() && !threads.writer.is_finished())
    }

    pub(super) fn root(&self) -> &Path {
        self.directory.root()
    }

    fn blob_path(&self, id: &LogId, name: &str) -> PathBuf {
        self.directory.log_dir(id).join(format!("{BLOB_PREFIX}{name}"))
    }

    /// Lets the flusher finish what it has, and waits for it and for the writer.
    fn stop_threads(&self) {
        let threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(Threads { flusher, writer }) = threads else { return };
        self.shared.queue.close();
        let flushed = flusher.join();
        self.shared.writer.close();
        if flushed.and(writer.join()).is_err() {
            tracing::error!("a thread of the storage panicked");
        }
    }

    /// After a clean stop nothing in the journal counts: all of it is in segments.
    fn remove_journal(&self) -> Result<(), StorageError> {
        let dir = self.directory.journal_dir();
        let disk = &*self.shared.disk;
        let paths = disk.list(&dir).map_err(|error| StorageError::io("reading", &dir, error))?;
        paths.iter().try_for_each(|path| durable::remove_file(disk, path))?;
        // The next server begins its sequence anew, so these must not come back.
        durable::sync_dir(disk, &dir)
    }
}

impl Threads {
    fn spawn(root: &Path, directory: &Directory, shared: &Arc<Shared>) -> Result<Threads, StorageError> {
        let failed = |error| StorageError::io("starting threads for", root, error);
        let space = shared.disk.space(root).ok();
        let journal_bytes_max = space.map_or(u64::MAX, |space| headroom_bytes(space) / JOURNAL_PART);
        let journal = Journal::new(
            shared.disk.clone(),
            directory.journal_dir(),
            directory.salt,
            shared.options.journal_bytes.min(journal_bytes_max) / PAGE_LEN * PAGE_LEN,
            shared.writer.clone(),
            shared.journal_sequence.clone(),
        );
        let headroom = Headroom::new(root.to_owned());
        let flusher = Flusher::spawn(shared.clone(), journal, headroom).map_err(failed)?;
        let writer = writer::spawn(shared.writer.clone()).map_err(failed)?;
        Ok(Threads { flusher, writer })
    }
}

impl Storage for FileStorage {
    fn open(&self, id: &LogId) -> Result<Arc<dyn Log>, StorageError> {
        // Held throughout: two openings of one log must not both create it.
        let mut logs = self.logs();
        if let Some(log) = logs.get(id) {
            return Ok(log.clone());
        }
        let dir = self.directory.log_dir(id);
        if self.shared.disk.is_dir(&dir) {
            let what = "the log was left alone when the storage was opened, because it is damaged";
            return Err(StorageError::damaged(dir, 0, what));
        }
        let log = recovery::create(id, &dir, &self.shared)?;
        logs.insert(id.clone(), log.clone());
        Ok(log)
    }

    fn list(&self) -> Result<Vec<LogId>, StorageError> {
        Ok(self.logs().keys().cloned().collect())
    }

    fn remove(&self, id: &LogId) -> Result<(), StorageError> {
        let log = self.logs().remove(id);
        if let Some(log) = log {
            log.abandon(&StorageError::NotFound { log: id.to_string() });
        }
        durable::remove_dir(&*self.shared.disk, &self.directory.log_dir(id))
    }

    fn load_blob(&self, id: &LogId, name: &str) -> Result<Option<Bytes>, StorageError> {
        if !self.logs().contains_key(id) {
            return Err(StorageError::NotFound { log: id.to_string() });
        }
        let path = self.blob_path(id, name);
        let file = durable::read_file(&*self.shared.disk, &path)?;
        file.map(|file| sealed::unseal(&path, file, BLOB_MAGIC, BLOB_FORMAT)).transpose()
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
        let content = sealed::seal(BLOB_MAGIC, BLOB_FORMAT, blob);
        durable::replace(&*self.shared.disk, &self.blob_path(id, name), &content)
    }

    fn close(&self) -> Result<(), StorageError> {
        self.stop_threads();
        let logs: Vec<Arc<FileLog>> = self.logs().values().cloned().collect();
        let mut outcome = Ok(());
        for log in logs {
            outcome = outcome.and(log.close_clean());
        }
        outcome?;
        match self.shared.journal_kept.load(Ordering::Acquire) {
            true => Ok(()),
            false => self.remove_journal(),
        }
    }

    fn stats(&self) -> StorageStats {
        self.collect_stats()
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
        self.stop_threads();
    }
}

impl fmt::Debug for FileStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileStorage")
            .field("sequence", &self.shared.journal_sequence.load(Ordering::Relaxed))
            .finish_non_exhaustive()
    }
}
