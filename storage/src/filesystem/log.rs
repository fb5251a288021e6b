//! [`FileLog`], a log in a directory of its own.

use std::{
    fmt,
    ops::Range,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, TryLockError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use minikafka_record::{Offset, RecordBatch};

use super::{
    Shared, SyncPolicy,
    disk::DiskFile,
    durable,
    journal::LogKey,
    manifest::Sequence,
    read::Cursors,
    segment::Segment,
    state::State,
    write::{Rolling, Unsynced, WriteError},
};
use crate::{
    Bounds, Completion, Entry, Index, Log, Place, Removed, Seek, StorageError,
    run::{self, Next},
};

/// A log in a directory of its own.
///
/// Locks, taken in this order, the last one never held over I/O: the storage's `rounds` by the flusher and by
/// whoever must not meet it; `files` by whoever changes segment files (flusher, writer, trim, truncate, reset,
/// close), `manifest` by whoever writes the manifest, `state` by everybody, briefly.
pub(super) struct FileLog {
    pub(super) key: LogKey,
    pub(super) dir: PathBuf,
    pub(super) shared: Arc<Shared>,
    pub(super) cursors: Cursors,
    /// Whether its appends are taken while only the headroom is left.
    pub(super) may_use_headroom: AtomicBool,
    files: Mutex<()>,
    /// Whether the flusher waits for `files`: whoever can let go of them early does.
    files_wanted: AtomicBool,
    manifest: Mutex<Sequence>,
    state: Mutex<State>,
    /// Held over each sync of a segment, and why one failed.
    failed_sync: Mutex<Option<StorageError>>,
    this: Weak<FileLog>,
}

/// Held by whoever changes segment files.
pub(super) type Files<'a> = MutexGuard<'a, ()>;

impl FileLog {
    /// The log in `dir`, as it was found there.
    pub(super) fn new(
        key: LogKey,
        dir: PathBuf,
        state: State,
        sequence: Sequence,
        shared: Arc<Shared>,
    ) -> Arc<FileLog> {
        Arc::new_cyclic(|this| FileLog {
            key,
            dir,
            shared,
            cursors: Cursors::default(),
            may_use_headroom: AtomicBool::new(false),
            files: Mutex::new(()),
            files_wanted: AtomicBool::new(false),
            manifest: Mutex::new(sequence),
            state: Mutex::new(state),
            failed_sync: Mutex::new(None),
            this: this.clone(),
        })
    }

    /// A panic under it is a bug, and may leave the state half changed. When it is a thread of the storage that panics,
    /// every log fails and nothing more is written of it (see module `crash`); whoever reads, or is to be told, goes on.
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn lock_files(&self) -> Files<'_> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// As [`lock_files`](FileLog::lock_files), for the flusher, with whom everybody waits.
    pub(super) fn lock_files_soon(&self) -> Files<'_> {
        self.files_wanted.store(true, Ordering::Relaxed);
        let files = self.lock_files();
        self.files_wanted.store(false, Ordering::Relaxed);
        files
    }

    /// Whether the flusher waits for the files.
    pub(super) fn are_files_wanted(&self) -> bool {
        self.files_wanted.load(Ordering::Relaxed)
    }

    /// As [`lock_files`](FileLog::lock_files), if nobody has them.
    pub(super) fn try_lock_files(&self) -> Option<Files<'_>> {
        match self.files.try_lock() {
            Ok(files) => Some(files),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    pub(super) fn lock_manifest(&self) -> MutexGuard<'_, Sequence> {
        self.manifest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn this(&self) -> Arc<FileLog> {
        self.this.upgrade().expect("a log is owned by an Arc while it is called")
    }

    /// The log is removed: takes no more appends, and all that wait fail.
    pub(super) fn abandon(&self, why: &StorageError) {
        self.retire(&self.lock_files(), why);
    }

    /// As [`abandon`](FileLog::abandon), for those who hold the lock.
    pub(super) fn retire(&self, _files: &Files<'_>, why: &StorageError) {
        let mut state = self.state();
        state.closed = Some(why.clone());
        let floor = self.floor(&state);
        let due = state.roll_back(floor);
        self.shared.writer.wrote(std::mem::take(&mut state.behind_bytes));
        let segments: Vec<_> =
            state.segments.iter().chain(&state.doomed).map(|segment| segment.key).collect();
        drop(state);
        for key in segments {
            self.shared.handles.forget(key);
            self.shared.indexes.forget(key);
        }
        due.fail(why);
    }

    /// What has completed: what comes behind it may be taken back.
    pub(super) fn floor(&self, state: &State) -> Next {
        match self.shared.options.sync {
            SyncPolicy::Always => state.durable,
            SyncPolicy::Every(_) | SyncPolicy::Never => state.written,
        }
    }

    /// What is durable once the segments are synced as they are. What was written early is not: its round may refuse
    /// it yet, and the manifest is not to miss it then.
    pub(super) fn settled(&self, state: &State) -> Next {
        let floor = self.floor(state);
        if state.written.index > floor.index { floor } else { state.written }
    }

    /// Takes no more appends until it is opened again: after a failed write or sync nobody knows what the
    /// disk holds. What has completed stays readable.
    pub(super) fn poison(&self, error: &StorageError) {
        let error = &error.in_doubt(&self.dir);
        let due = {
            let mut state = self.state();
            if state.closed.as_ref().is_some_and(|why| !matches!(why, StorageError::Closed)) {
                return; // it has failed before, or is gone
            }
            state.closed = Some(StorageError::Poisoned(error.to_string()));
            let floor = self.floor(&state);
            // What is only in the journal stays there, and in memory.
            self.shared.writer.wrote(std::mem::take(&mut state.behind_bytes));
            state.roll_back(floor)
        };
        tracing::error!(log = ?self.dir, %error, "log takes no more appends until it is opened again");
        due.fail(error);
    }

    /// Whether it has failed, and can be opened anew.
    pub(super) fn is_poisoned(&self) -> bool {
        matches!(self.state().closed, Some(StorageError::Poisoned(_)))
    }

    /// There is no flusher any more: takes no more appends, and those that nobody has begun to write fail.
    /// What is written may still complete.
    pub(super) fn refuse_pending(&self, why: &StorageError) {
        let files = self.lock_files();
        let taken = {
            let mut state = self.state();
            state.closed.get_or_insert_with(|| why.clone());
            state.taken
        };
        // Some of it may have been written early.
        if let Err(error) = self.cut_back(&files, taken) {
            self.poison(&error);
        }
        let due = self.state().refuse_pending();
        due.fail(why);
    }

    /// Writes everything that has completed to segments and syncs them.
    pub(super) fn sync(&self) -> Result<(), StorageError> {
        self.settle(&self.lock_files())
    }

    /// As [`sync`](FileLog::sync), for those who hold the lock.
    pub(super) fn settle(&self, files: &Files<'_>) -> Result<(), StorageError> {
        let floor = {
            let state = self.state();
            state.check_writable()?;
            self.floor(&state)
        };
        self.write_out(files, floor, Rolling::Allowed).map_err(|error| match error {
            WriteError::Refused(error) => error,
            WriteError::Failed(error) => {
                self.poison(&error);
                error
            }
        })?;
        let (upto, end) = {
            let state = self.state();
            let upto = self.settled(&state);
            if state.synced.index >= upto.index {
                return Ok(());
            }
            (upto, state.written_end())
        };
        if let Some(Unsynced { file, path, .. }) = self.last_file()? {
            self.sync_segment(&*file, &path).inspect_err(|error| self.poison(error))?;
        }
        let mut state = self.state();
        state.synced(upto);
        state.synced_end = end;
        Ok(())
    }

    /// Stores what is known to be damaged, if there is news. What cannot be stored is owed.
    pub(super) fn store_damage(&self) -> Result<(), StorageError> {
        // One at a time, and not into the directory of a log that has been removed.
        let _manifest = self.lock_manifest();
        let damage = {
            let mut state = self.state();
            state.check_there()?;
            if !std::mem::replace(&mut state.owes_damage, false) {
                return Ok(());
            }
            state.known_damage()
        };
        damage.store(&*self.shared.disk, &self.dir).inspect_err(|error| {
            self.state().owes_damage = true;
            tracing::warn!(log = ?self.dir, %error, "damage that was found is not remembered yet");
        })
    }

    /// Has the writer store what is known to be damaged: whoever found it does not wait for that.
    pub(super) fn remember_damage_soon(&self) {
        let is_listed = {
            let mut state = self.state();
            if !state.owes_damage {
                return;
            }
            std::mem::replace(&mut state.behind, true)
        };
        self.shared.writer.push_urgent((!is_listed).then(|| self.this()));
    }

    /// The last segment's file.
    pub(super) fn last_file(&self) -> Result<Option<Unsynced>, StorageError> {
        let last = self.state().segments.last().map(|last| (last.key, last.path.clone()));
        let Some((key, path)) = last else { return Ok(None) };
        // Without the lock of the state: the disk may be slow.
        let file = self.shared.handles.get(key, &path);
        let file = file.map_err(|error| durable::io_or_full("opening", &path, error))?;
        Ok(Some(Unsynced { key, file, path }))
    }

    /// Syncs a segment. The system tells of a failure only once, to whoever asks first; so when two threads
    /// sync one after the other, the second learns of it here.
    pub(super) fn sync_segment(&self, file: &dyn DiskFile, path: &Path) -> Result<(), StorageError> {
        let mut failed = self.failed_sync.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(error) = &*failed {
            return Err(error.clone());
        }
        let begin = Instant::now();
        let synced = durable::sync(file, path);
        self.shared.counters.segment_synced(begin);
        synced.inspect_err(|error| *failed = Some(error.clone()))
    }

    /// Stores the index of what is durable of the last segment, if that has grown enough: a checkpoint.
    pub(super) fn store_due_index(&self, _files: &Files<'_>) {
        let due = {
            let mut state = self.state();
            let checkpoint = state.checkpoint();
            checkpoint.zip(state.segments.last_mut()).and_then(|(durable, last)| {
                let (header, path) = (last.header, last.index_path());
                Some((last.due_index(&durable)?.encode(&header), path))
            })
        };
        if let Some((content, path)) = due {
            self.store_index(&path, &content);
        }
    }

    /// Stores an index. A cache: without it the next opening reads more of the segment.
    pub(super) fn store_index(&self, path: &Path, content: &[u8]) {
        if let Err(error) = durable::replace_cache(&*self.shared.disk, path, content) {
            tracing::debug!(?path, %error, "index not stored, the next opening reads the segment instead");
        }
    }

    /// After flusher and writer have ended: takes no more appends, makes everything durable and marks a clean
    /// stop.
    pub(super) fn close_clean(&self) -> Result<(), StorageError> {
        {
            let mut state = self.state();
            match &state.closed {
                Some(StorageError::NotFound { .. } | StorageError::Reopened) => return Ok(()),
                Some(StorageError::Closed) | None => state.closed = Some(StorageError::Closed),
                Some(poisoned) => return Err(poisoned.clone()),
            }
            if state.ended {
                return Ok(());
            }
        }
        // Nobody writes these any more.
        self.refuse_pending(&StorageError::Closed);
        self.sync()?;
        self.mark_clean_stop()?;
        self.state().ended = true;
        Ok(())
    }

    fn mark_clean_stop(&self) -> Result<(), StorageError> {
        // A full disk must not keep the server from stopping; a damaged place is found again when it is read.
        let _ = self.store_damage();
        let mut sequence = self.lock_manifest();
        let (manifest, index) = {
            let state = self.state();
            let encode = |last: &Segment| Some((last.index()?.encode(&last.header), last.index_path()));
            (state.manifest(), state.segments.last().and_then(encode))
        };
        if let Some((content, path)) = index {
            self.store_index(&path, &content);
        }
        match manifest.store(&*self.shared.disk, &self.dir, &mut sequence) {
            // Everything is durable; only the mark that says so is not there.
            Err(StorageError::Full(what)) => {
                tracing::warn!(dir = ?self.dir, what, "clean stop not marked");
                Ok(())
            }
            outcome => outcome,
        }
    }
}

impl Log for FileLog {
    fn append(&self, entries: Vec<Entry>, on_durable: Completion) {
        let (outcome, first, is_much) = {
            let mut state = self.state();
            let before = state.pending_bytes;
            let outcome = state.append(entries, on_durable);
            let first = outcome.is_ok() && !std::mem::replace(&mut state.queued, true);
            let early_bytes = self.shared.options.early_bytes.max(1);
            let is_much = before / early_bytes < state.pending_bytes / early_bytes;
            (outcome, first, is_much && self.shared.options.sync == SyncPolicy::Always)
        };
        if is_much {
            self.shared.writer.push_early(self.this());
        }
        match outcome {
            Ok(()) if first => {
                if let Err(log) = self.shared.queue.push(self.this()) {
                    match self.shared.crash.check() {
                        Ok(()) => log.refuse_pending(&StorageError::Closed),
                        Err(crashed) => log.poison(&crashed),
                    }
                }
            }
            Ok(()) => {}
            Err((on_durable, error)) => on_durable(Err(error)),
        }
    }

    fn read_tail(
        &self,
        from: Offset,
        upper: Offset,
        bytes_max: usize,
    ) -> Result<Option<Vec<RecordBatch>>, StorageError> {
        let Some(entries) = self.state().tail_portion(from, upper, bytes_max)? else { return Ok(None) };
        // Looked into without the lock: others append meanwhile.
        Ok(Some(run::read_entries(&entries, from, upper, bytes_max)))
    }

    fn read(&self, from: Offset, upper: Offset, bytes_max: usize) -> Result<Vec<RecordBatch>, StorageError> {
        self.read_batches(from, upper, bytes_max)
    }

    fn entries(&self, range: Range<Index>, bytes_max: usize) -> Result<Vec<Entry>, StorageError> {
        self.read_entries(range, bytes_max)
    }

    fn bounds(&self) -> Bounds {
        self.state().bounds()
    }

    fn seek(&self, seek: Seek) -> Result<Option<Place>, StorageError> {
        self.find(seek)
    }

    fn truncate(&self, from: Index) -> Result<(), StorageError> {
        self.truncate_suffix(from)
    }

    fn trim(&self, to: Offset) -> Result<(), StorageError> {
        self.trim_prefix(to)
    }

    fn reset(&self, removed: Removed, start: Offset) -> Result<(), StorageError> {
        self.start_over(removed, start)
    }
}

impl fmt::Debug for FileLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileLog").field("dir", &self.dir).finish_non_exhaustive()
    }
}
