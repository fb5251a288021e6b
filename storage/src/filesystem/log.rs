//! [`FileLog`], a log in a directory of its own.

use std::{
    fmt,
    ops::Range,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use minikafka_record::{Offset, RecordBatch};

use super::{Shared, durable, manifest::Sequence, recovery, segment::Segment, state::State};
use crate::{Bounds, Completion, Entry, Index, Log, LogId, Place, Removed, Seek, StorageError};

/// A log in a directory of its own.
///
/// Three locks, taken in this order, the last one never held over I/O:
/// `files` by whoever changes segment files (flusher, truncate, reset, close), `manifest` by whoever replaces
/// the manifest, `state` by everybody, briefly.
pub(super) struct FileLog {
    pub(super) dir: PathBuf,
    pub(super) shared: Arc<Shared>,
    files: Mutex<()>,
    manifest: Mutex<Sequence>,
    state: Mutex<State>,
    this: Weak<FileLog>,
}

impl FileLog {
    /// Opens the log in `dir`, creating it if it is not there.
    pub(super) fn open(id: &LogId, dir: PathBuf, shared: Arc<Shared>) -> Result<Arc<FileLog>, StorageError> {
        let (state, sequence) = recovery::open(id, &dir, &shared.handles)?;
        Ok(Arc::new_cyclic(|this| FileLog {
            dir,
            shared,
            files: Mutex::new(()),
            manifest: Mutex::new(sequence),
            state: Mutex::new(state),
            this: this.clone(),
        }))
    }

    /// No change of the state can panic half way, so a poisoned lock protects a whole state.
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn lock_files(&self) -> MutexGuard<'_, ()> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn lock_manifest(&self) -> MutexGuard<'_, Sequence> {
        self.manifest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The log is removed: takes no more appends, and all that wait fail.
    pub(super) fn abandon(&self, why: &StorageError) {
        let _files = self.lock_files();
        let mut state = self.state();
        state.closed = Some(why.clone());
        let (appends, writes) = (state.unappend(Vec::new()), state.unwrite());
        let segments: Vec<_> =
            state.segments.iter().chain(&state.doomed).map(|segment| segment.key).collect();
        drop(state);
        segments.into_iter().for_each(|key| self.shared.handles.forget(key));
        writes.fail(why);
        appends.fail(why);
    }

    /// There is no flusher any more: takes no more appends, and those that nobody has begun to write fail.
    /// What is written may still complete.
    fn refuse_pending(&self, why: &StorageError) {
        let due = {
            let mut state = self.state();
            state.closed.get_or_insert_with(|| why.clone());
            state.refuse_pending()
        };
        due.fail(why);
    }

    /// Makes everything that is written durable, whatever the policy.
    pub(super) fn sync(&self) -> Result<(), StorageError> {
        let files = self.lock_files();
        self.sync_written(&files)
    }

    /// As [`sync`](FileLog::sync), for those who hold the lock.
    pub(super) fn sync_written(&self, _files: &MutexGuard<'_, ()>) -> Result<(), StorageError> {
        let (active, upto) = {
            let state = self.state();
            if state.durable.index == state.written.index {
                return Ok(());
            }
            let open = |segment: &Segment| Ok((segment.file(&self.shared.handles)?, segment.path.clone()));
            (state.segments.last().map(open).transpose()?, state.written)
        };
        if let Some((file, path)) = active {
            durable::sync_data(&file, &path).inspect_err(|error| self.poison(error))?;
        }
        self.state().synced(upto);
        Ok(())
    }

    /// After the flusher has ended: takes no more appends, makes everything durable and marks a clean stop.
    pub(super) fn close_clean(&self) -> Result<(), StorageError> {
        {
            let mut state = self.state();
            match &state.closed {
                Some(StorageError::NotFound { .. }) => return Ok(()),
                Some(StorageError::Closed) | None => state.closed = Some(StorageError::Closed),
                Some(poisoned) => return Err(poisoned.clone()),
            }
            if std::mem::replace(&mut state.ended, true) {
                return Ok(());
            }
        }
        // Nobody writes these any more.
        self.refuse_pending(&StorageError::Closed);
        self.sync()?;
        self.mark_clean_stop()
    }

    fn mark_clean_stop(&self) -> Result<(), StorageError> {
        let mut sequence = self.lock_manifest();
        let (manifest, index) = {
            let state = self.state();
            let last = state.segments.last();
            (state.manifest(), last.map(|last| (last.index.clone(), last.index_path(), last.header)))
        };
        if let Some((index, path, header)) = index {
            // A cache: without it the next opening reads the segment.
            let _ = index.store(&path, &header);
        }
        match manifest.store(&self.dir, &mut sequence) {
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
        let (outcome, first) = {
            let mut state = self.state();
            let outcome = state.append(entries, on_durable);
            let first = outcome.is_ok() && !std::mem::replace(&mut state.queued, true);
            (outcome, first)
        };
        match outcome {
            Ok(()) if first => {
                let this = self.this.upgrade().expect("a log is owned by an Arc while it is called");
                if let Err(log) = self.shared.queue.push(this) {
                    log.refuse_pending(&StorageError::Closed);
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
        let state = self.state();
        state.check_readable(from)?;
        let in_memory = from == state.end.offset || state.tail.holds(from);
        Ok(in_memory.then(|| state.tail.read(from, upper, bytes_max)))
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
