//! [`FileStorage`], the logs of a directory.

use std::{
    collections::HashMap,
    fmt,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
        mpsc,
    },
    thread::JoinHandle,
};

use bytes::Bytes;

use super::{
    Options, Shared, SyncPolicy,
    buffers::Buffers,
    counters::Counters,
    crash::{Crash, Watch},
    directory::Directory,
    disk::{Disk, SystemDisk},
    durable,
    flusher::{FlushQueue, Flusher},
    handles::Handles,
    indexes::Indexes,
    journal::{Journal, PAGE_LEN, Replay, SUFFIX},
    log::FileLog,
    logs::Logs,
    recovery::{self, LeftAlone, Recovered},
    sealed,
    space::{Headroom, headroom_bytes},
    writer,
    writer_queue::{FILES_MIN, WriterQueue},
};
use crate::{Durability, FailureHook, Log, LogId, Spares, Storage, StorageError, StorageStats};

pub(super) const BLOB_MAGIC: [u8; 4] = *b"MKBL";
pub(super) const BLOB_FORMAT: u32 = 1;
/// What the name of a blob's file begins with.
pub(super) const BLOB_PREFIX: &str = "blob-";
/// Percentage of the headroom that the journal may take up: all of its files are to fit into it.
const JOURNAL_PERCENT: u64 = 75;

/// Logs that are closed at the same time.
const CLOSERS: usize = 8;
/// With fewer logs, it is not worth a thread.
const LOGS_PER_CLOSER: usize = 8;

/// Logs in a directory.
pub struct FileStorage {
    directory: Directory,
    pub(super) shared: Arc<Shared>,
    logs: Arc<Logs>,
    /// Logs that could not be opened, by directory.
    left_alone: Mutex<HashMap<PathBuf, LeftAlone>>,
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
    /// manifest is damaged, or whose files the disk fails to read, is left alone: the others are opened, and
    /// [`Storage::open`] says of this one why it was not.
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
            buffers: Buffers::default(),
            spares: Spares::default(),
            queue: FlushQueue::default(),
            writer: Arc::new(WriterQueue::new(options.journal_files)),
            journal_sequence: Arc::new(AtomicU64::new(replay.next_sequence())),
            journal_kept: AtomicBool::new(false),
            rounds: Mutex::new(()),
            counters: Counters::default(),
            crash: Crash::default(),
            options,
            disk,
        });
        let Recovered { logs, left_alone } = recovery::recover(&directory, replay, &shared)?;
        let logs = Arc::new(Logs::new(logs));
        let threads = Threads::spawn(root, &directory, &shared, &logs)?;
        Ok(FileStorage {
            directory,
            shared,
            logs,
            left_alone: Mutex::new(left_alone),
            threads: Mutex::new(Some(threads)),
        })
    }

    fn left_alone(&self) -> MutexGuard<'_, HashMap<PathBuf, LeftAlone>> {
        self.left_alone.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The log `id`: created when it is not there, and recovered when it has failed.
    fn open_log(&self, id: &LogId) -> Result<Arc<FileLog>, StorageError> {
        if let Some(log) = self.logs.get(id).filter(|log| !log.is_poisoned()) {
            return Ok(log);
        }
        let claim = self.logs.claim(id);
        let log = match claim.log() {
            Some(log) if !log.is_poisoned() => return Ok(log),
            Some(failed) => {
                self.check_running()?;
                failed.reopen()?
            }
            None => {
                self.check_running()?;
                self.create(id)?
            }
        };
        claim.put(log.clone());
        // A thread that panicked before the log was put did not find it.
        self.shared.crash.check().inspect_err(|error| log.poison(error))?;
        Ok(log)
    }

    fn create(&self, id: &LogId) -> Result<Arc<FileLog>, StorageError> {
        let dir = self.directory.log_dir(id);
        if let Some(left) = self.left_alone().get(&dir) {
            return Err(left.why.clone());
        }
        if self.shared.disk.is_dir(&dir) {
            let what = "it is not a log, although it has the name of one";
            return Err(StorageError::damaged(dir, 0, what));
        }
        recovery::create(id, &dir, &self.shared)
    }

    pub(super) fn logs_there(&self) -> Vec<Arc<FileLog>> {
        self.logs.all()
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
        // What a panic means is the matter of `Watch`.
        let _ = flusher.join();
        self.shared.writer.close();
        let _ = writer.join();
    }

    /// Whether there are threads that do the work.
    fn check_running(&self) -> Result<(), StorageError> {
        self.shared.crash.check()?;
        let threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        threads.as_ref().map(|_| ()).ok_or(StorageError::Closed)
    }

    /// After a clean stop nothing in the journal counts: all of it is in segments.
    fn remove_journal(&self) -> Result<(), StorageError> {
        let dir = self.directory.journal_dir();
        let disk = &*self.shared.disk;
        let paths = disk.list(&dir).map_err(|error| StorageError::io("reading", &dir, error))?;
        // What was kept aside is for the operator to remove.
        let mut files = paths.iter().filter(|path| path.extension().is_some_and(|found| found == SUFFIX));
        files.try_for_each(|path| durable::remove_file(disk, path))?;
        // The next server begins its sequence anew, so these must not come back.
        durable::sync_dir(disk, &dir)
    }
}

impl Threads {
    fn spawn(
        root: &Path,
        directory: &Directory,
        shared: &Arc<Shared>,
        logs: &Arc<Logs>,
    ) -> Result<Threads, StorageError> {
        let failed = |error| StorageError::io("starting threads for", root, error);
        let Options { journal_bytes, journal_files, journal_pause, .. } = shared.options;
        let space = shared.disk.space(root).ok();
        let share =
            |space| headroom_bytes(space) * JOURNAL_PERCENT / 100 / journal_files.max(FILES_MIN) as u64;
        let journal_bytes_max = space.map_or(u64::MAX, share);
        let journal = Journal::new(
            shared.disk.clone(),
            directory.journal_dir(),
            directory.salt,
            journal_bytes.min(journal_bytes_max) / PAGE_LEN * PAGE_LEN,
            journal_pause,
            shared.writer.clone(),
            shared.journal_sequence.clone(),
        );
        let headroom = Headroom::new(root.to_owned());
        let watch = |thread| Watch::new(thread, shared, logs);
        let flusher = Flusher::spawn(shared.clone(), journal, headroom, watch("flusher")).map_err(failed)?;
        let writer = writer::spawn(shared.clone(), watch("writer")).map_err(failed)?;
        Ok(Threads { flusher, writer })
    }
}

impl Storage for FileStorage {
    fn open(&self, id: &LogId) -> Result<Arc<dyn Log>, StorageError> {
        Ok(self.open_log(id)?)
    }

    fn open_reserved(&self, id: &LogId) -> Result<Arc<dyn Log>, StorageError> {
        let log = self.open_log(id)?;
        log.may_use_headroom.store(true, Ordering::Release);
        Ok(log)
    }

    fn list(&self) -> Result<Vec<LogId>, StorageError> {
        let mut ids = self.logs.ids();
        ids.extend(self.left_alone().values().filter_map(|left| left.id.clone()));
        Ok(ids)
    }

    fn remove(&self, id: &LogId) -> Result<(), StorageError> {
        let claim = self.logs.claim(id);
        if let Some(log) = claim.take() {
            log.abandon(&StorageError::NotFound { log: id.to_string() });
            // It may have failed, even just now, and files of the journal be kept for it: nobody needs what they have of it.
            self.shared.writer.unpin();
        }
        let dir = self.directory.log_dir(id);
        durable::remove_dir(&*self.shared.disk, &dir)?;
        self.left_alone().remove(&dir);
        Ok(())
    }

    fn load_blob(&self, id: &LogId, name: &str) -> Result<Option<Bytes>, StorageError> {
        if self.logs.get(id).is_none() {
            return Err(StorageError::NotFound { log: id.to_string() });
        }
        let path = self.blob_path(id, name);
        let file = durable::read_file(&*self.shared.disk, &path)?;
        file.map(|file| sealed::unseal(&path, file, BLOB_MAGIC, BLOB_FORMAT)).transpose()
    }

    fn store_blob(&self, id: &LogId, name: &str, blob: &[u8]) -> Result<(), StorageError> {
        let log = self.logs.get(id).ok_or_else(|| StorageError::NotFound { log: id.to_string() })?;
        // An append of nothing completes when all before it is durable.
        let (done, wait) = mpsc::channel();
        log.append(Vec::new(), Box::new(move |outcome| drop(done.send(outcome))));
        wait.recv().map_err(|_| StorageError::Closed)??;
        if self.shared.options.sync != SyncPolicy::Always {
            log.sync()?;
        }
        // One at a time, and not into the directory of a log that was removed or opened anew meanwhile.
        let _manifest = log.lock_manifest();
        log.state().check_there()?;
        let content = sealed::seal(BLOB_MAGIC, BLOB_FORMAT, blob);
        durable::replace(&*self.shared.disk, &self.blob_path(id, name), &content)
    }

    fn close(&self) -> Result<(), StorageError> {
        self.stop_threads();
        self.shared.crash.check().and(close_all(&self.logs.all()))?;
        match self.shared.journal_kept.load(Ordering::Acquire) {
            true => Ok(()),
            false => self.remove_journal(),
        }
    }

    fn stats(&self) -> StorageStats {
        self.collect_stats()
    }

    fn spares(&self) -> Spares {
        self.shared.spares.clone()
    }

    fn durability(&self) -> Durability {
        match self.shared.options.sync {
            SyncPolicy::Always => Durability::Synced,
            SyncPolicy::Every(interval) => Durability::Periodic(interval),
            SyncPolicy::Never => Durability::Cached,
        }
    }

    fn when_failed(&self, hook: FailureHook) {
        self.shared.crash.tell(hook);
    }
}

fn close(log: &Arc<FileLog>) -> Result<(), StorageError> {
    match log.is_poisoned().then(|| log.reopen()) {
        Some(Ok(again)) => again.close_clean(),
        // Why it failed at first is the better reason.
        Some(Err(_)) | None => log.close_clean(),
    }
}

/// Closes logs, several at a time if they are many: their syncs overlap. The first error counts, and all are closed
/// nonetheless.
///
/// A log that has failed is opened again once more: if the disk works by now, nothing is in doubt any more.
fn close_all(logs: &[Arc<FileLog>]) -> Result<(), StorageError> {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut outcome = Ok(());
        while let Some(log) = logs.get(next.fetch_add(1, Ordering::Relaxed)) {
            outcome = outcome.and(close(log));
        }
        outcome
    };
    let helpers = (logs.len() / LOGS_PER_CLOSER).min(CLOSERS - 1);
    std::thread::scope(|scope| {
        let helpers: Vec<_> = (0..helpers).map(|_| scope.spawn(work)).collect();
        helpers.into_iter().fold(work(), |outcome, helper| {
            outcome.and(helper.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
        })
    })
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

#[cfg(test)]
mod tests {
    use std::{
        io::{self, IoSlice},
        sync::mpsc::{Receiver, Sender, channel},
    };

    use super::*;
    use crate::{
        Entry, EntryKind, TopicId,
        filesystem::{disk::DiskFile, write::Rolling},
    };

    fn id() -> LogId {
        LogId { topic: "t".to_owned(), partition: 0, topic_id: TopicId::from_bytes([7; 16]) }
    }

    /// A file whose sync takes until it is let go. The first one fails; of that the system speaks once.
    #[derive(Debug)]
    struct FailsOnce {
        begun: Sender<()>,
        let_go: Mutex<Receiver<()>>,
        syncs: AtomicU64,
    }

    impl DiskFile for FailsOnce {
        fn read_at(&self, _: &mut [u8], _: u64) -> io::Result<usize> {
            Ok(0)
        }

        fn write_at(&self, slices: &[IoSlice<'_>], _: u64) -> io::Result<usize> {
            Ok(slices.iter().map(|slice| slice.len()).sum())
        }

        fn len(&self) -> io::Result<u64> {
            Ok(0)
        }

        fn set_len(&self, _: u64) -> io::Result<()> {
            Ok(())
        }

        fn sync(&self) -> io::Result<()> {
            let before = self.syncs.fetch_add(1, Ordering::Relaxed);
            self.begun.send(()).unwrap();
            self.let_go.lock().unwrap().recv().unwrap();
            if before == 0 { Err(io::Error::other("the medium is worn out")) } else { Ok(()) }
        }

        fn will_read(&self, _: u64, _: u64) {}
    }

    /// The flusher and the writer may sync one file at the same time. Both learn of a failure, whoever asked.
    #[test]
    fn a_failed_sync_is_everybodys() {
        let dir = tempfile::tempdir().unwrap();
        let storage = FileStorage::open(dir.path(), Options::default()).unwrap();
        let log = storage.open_log(&id()).unwrap();
        let ((begun, has_begun), (go, let_go)) = (channel(), channel());
        let file = FailsOnce { begun, let_go: Mutex::new(let_go), syncs: AtomicU64::new(0) };
        std::thread::scope(|scope| {
            let threads = [(); 2].map(|()| scope.spawn(|| log.sync_segment(&file, dir.path())));
            has_begun.recv().unwrap();
            // More than enough: a second sync would not fail.
            (0..2).for_each(|_| go.send(()).unwrap());
            threads.into_iter().for_each(|thread| _ = thread.join().unwrap().unwrap_err());
        });
        assert_eq!(file.syncs.load(Ordering::Relaxed), 1);
    }

    /// What no round has taken yet may be refused by the one that takes it. A manifest that calls it durable before
    /// would have the next opening miss it.
    #[test]
    fn what_is_written_early_is_not_durable_before_its_round() {
        // Into a segment with room, and into one that is full then.
        for segment_bytes in [1, 1 << 20] {
            let dir = tempfile::tempdir().unwrap();
            let options =
                Options { segment_bytes, direct_bytes: 0, small_round_bytes: 0, ..Options::default() };
            let storage = FileStorage::open(dir.path(), options).unwrap();
            let log = storage.open_log(&id()).unwrap();
            let (done, outcomes) = channel();
            let append = |index| {
                let (kind, payload) = (EntryKind::Internal, Bytes::from_static(b"internal"));
                let base_offset = log.bounds().end;
                let entry =
                    Entry { index, epoch: 0, base_offset, record_count: 0, append_time: 1, kind, payload };
                let done = done.clone();
                log.append(vec![entry], Box::new(move |outcome| done.send(outcome).unwrap()));
            };
            let first = log.bounds().next_index;
            append(first);
            outcomes.recv().unwrap().unwrap();
            // No round takes anything from here on.
            let round = storage.shared.lock_rounds();
            append(first + 1);
            append(first + 2);
            let end = log.state().end;
            log.write_out(&log.lock_files(), end, Rolling::Allowed).unwrap();
            log.sync().unwrap();
            assert_eq!(log.state().written.index, first + 3);
            assert_eq!(log.state().manifest().durable_index, first + 1);
            drop(round);
            (0..2).for_each(|_| outcomes.recv().unwrap().unwrap());
            assert_eq!(log.state().manifest().durable_index, first + 3);
        }
    }
}
