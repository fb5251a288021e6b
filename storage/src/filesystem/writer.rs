//! The writer: the thread that writes journaled entries to segments, behind the flusher's back.
//!
//! It has these occasions, and sleeps otherwise:
//!
//! - much waits for the flusher, which is busy with a sync: it is written to its segment in the meantime, and
//!   the flusher's next round syncs it;
//! - much is durable in the journal and only in memory otherwise: it is written to the segments, and those of
//!   them that have grown much are synced;
//! - damage has been found in a log: that is stored, so that a restart knows of it;
//! - a log's last segment is full: it is sealed and the next one begun, so that the flusher need not;
//! - a few files of the journal are full: everything in them is written and synced, log by log, and the files are free
//!   again. That is a checkpoint. The flusher goes on with the next file meanwhile. Not file by file: a log that is in
//!   several of them is synced once.
//!
//! What cannot be done now, because the disk is full, is tried again a little later.

use std::{
    io,
    sync::Arc,
    thread::JoinHandle,
    time::{Duration, Instant},
};

use super::{
    Shared, SyncPolicy,
    crash::Watch,
    journal::JournalFile,
    log::{FileLog, Files},
    write::{Rolling, Unsynced, WriteError},
    writer_queue::Turn,
};
use crate::StorageError;

/// Times [`early_bytes`](super::Options::early_bytes) that may be written to a log and not synced: the sync of all
/// that full files of the journal have would take the disk for a tenth of a second, and everybody would wait for that.
const PIECES_UNSYNCED: u64 = 2;
/// How much the writer lets others go first: somebody waits for the flusher and for the doors, and nobody for
/// the writer until it is very far behind, and then the flusher helps it. As much as there is.
const NICENESS: i32 = 19;
/// After a full disk: space is to be used soon after it has returned.
const RETRY: Duration = Duration::from_millis(500);

/// Starts the thread.
pub(super) fn spawn(shared: Arc<Shared>, watch: Watch) -> io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name("writer".to_owned()).spawn(move || {
        // The last thing to go: nothing is locked any more then.
        let _watch = watch;
        // On Linux this is the thread's own. Where it is refused, the writer is as important as the others.
        let _ = rustix::process::nice(NICENESS);
        run(&shared);
        shared.writer.end();
    })
}

fn run(shared: &Shared) {
    let queue = &*shared.writer;
    let mut retry_at = None;
    while let Some(Turn { logs, heavy, early, full, unpinned }) = queue.wait(retry_at) {
        // First, because the flusher would have to do it instead.
        early.iter().for_each(|log| log.write_early());
        if logs.is_empty() && heavy.is_empty() && full.is_none() {
            continue;
        }
        let mut again = Vec::new();
        for log in logs {
            log.state().behind = false;
            let outcomes = [log.store_damage(), log.write_behind()];
            if outcomes.iter().any(|outcome| matches!(outcome, Err(StorageError::Full(_)))) {
                log.state().behind = true;
                again.push(log);
            }
        }
        let is_full = heavy.iter().any(|log| matches!(log.write_behind(), Err(StorageError::Full(_))));
        let is_emptied = full.is_none_or(|full| empty(shared, full, unpinned));
        retry_at = (is_full || !again.is_empty() || !is_emptied).then(|| Instant::now() + RETRY);
        if !again.is_empty() {
            queue.push_again(again);
        }
    }
}

/// Makes everything in a file of the journal durable in segments. Says whether nothing is left to do.
fn empty(shared: &Shared, mut file: JournalFile, unpinned: u64) -> bool {
    let queue = &*shared.writer;
    let mut is_pinned = false;
    for (log, upto) in file.logs.values() {
        let Some(log) = log.upgrade() else { continue };
        match log.checkpoint(*upto) {
            // What is removed needs no journal, and of what was opened anew it is void.
            Ok(()) | Err(StorageError::NotFound { .. } | StorageError::Reopened) => {}
            Err(StorageError::Full(what)) => {
                tracing::debug!(what, "a file of the journal is not emptied yet");
                queue.put_back(file);
                return false;
            }
            // Its entries are here and nowhere else.
            Err(_) => is_pinned = true,
        }
    }
    if is_pinned {
        queue.pin(file, unpinned);
    } else if file.is_spoiled {
        file.remove(&*shared.disk);
    } else {
        file.empty();
        queue.push_free(file);
    }
    true
}

impl FileLog {
    /// Writes what is in the journal only to the segments, and stores the index when it is due.
    fn write_behind(&self) -> Result<(), StorageError> {
        let files = self.lock_files();
        self.write_durable(&files, Rolling::Allowed)?;
        if self.shared.options.sync != SyncPolicy::Always {
            drop(files);
            return self.sync_early();
        }
        self.store_due_index(&files);
        drop(files);
        let unsynced_bytes_max = self.shared.options.early_bytes.saturating_mul(PIECES_UNSYNCED);
        let is_much = self.state().unsynced_bytes() >= unsynced_bytes_max;
        if is_much {
            self.sync_written()?;
            self.store_due_index(&self.lock_files());
        }
        Ok(())
    }

    /// Helps the writer: writes what is in the journal only, unless somebody has the files, or the segment has no room.
    pub(super) fn help_writer(&self) {
        if let Some(files) = self.try_lock_files() {
            // What cannot be written now, the writer tries again.
            let _ = self.write_durable(&files, Rolling::Not);
        }
    }

    /// Writes what is durable to the segments, where it is synced later.
    fn write_durable(&self, files: &Files<'_>, rolling: Rolling) -> Result<(), StorageError> {
        let durable = {
            let state = self.state();
            state.check_writable()?;
            state.durable
        };
        let written = self.write_out(files, durable, rolling);
        written.map(drop).map_err(|error| match error {
            // Nobody is there to be refused: what is durable has nowhere to go.
            WriteError::Refused(error @ StorageError::Io { .. }) | WriteError::Failed(error) => {
                self.poison(&error);
                error
            }
            WriteError::Refused(error) => error,
        })
    }

    /// Syncs what is written and durable elsewhere, before there is so much of it that the disk would be busy with
    /// it for long. Appends go on meanwhile.
    fn sync_written(&self) -> Result<(), StorageError> {
        let Some(Unsynced { key, file, path }) = self.last_file()? else { return Ok(()) };
        let (upto, end, cuts) = {
            let state = self.state();
            let Some(end) = state.written_end().filter(|(last, _)| *last == key) else {
                return Ok(()); // full meanwhile, and synced
            };
            (self.settled(&state), end, state.cuts)
        };
        self.sync_segment(&*file, &path).inspect_err(|error| self.poison(error))?;
        let mut state = self.state();
        if state.cuts == cuts {
            state.synced(upto);
            state.synced_to(end);
        }
        Ok(())
    }

    /// With a policy that does not sync before it completes: a checkpoint of what has grown, so that not
    /// everything is left for the moment when the segment is full. Appends go on meanwhile.
    fn sync_early(&self) -> Result<(), StorageError> {
        let Some(Unsynced { key, file, path }) = self.last_file()? else { return Ok(()) };
        let (index, upto, cuts) = {
            let mut state = self.state();
            let (upto, cuts) = (state.written, state.cuts);
            let Some(last) = state.segments.last_mut().filter(|last| last.key == key) else { return Ok(()) };
            let (header, index_path, edition) = (last.header, last.index_path(), last.edition.clone());
            let end = *last.end();
            let Some(index) = last.due_index(&end) else { return Ok(()) };
            ((index.encode(&header), index_path, edition), upto, cuts)
        };
        self.sync_segment(&*file, &path).inspect_err(|error| self.poison(error))?;
        let is_whole = {
            let mut state = self.state();
            if state.cuts == cuts {
                state.synced(upto);
            }
            state.cuts == cuts
        };
        if is_whole {
            let (content, path, edition) = index;
            edition.while_current(|| self.store_index(&path, &content));
        }
        Ok(())
    }

    /// Writes what no round has taken yet, as far as the segment has room and piece by piece: the flusher syncs
    /// what there is, and waits for a piece at most. What comes of it is the flusher's to find out.
    fn write_early(&self) {
        // Not what comes meanwhile: others have their turn, too.
        let end = self.state().end;
        while !self.are_files_wanted() {
            let files = self.lock_files();
            let upto = {
                let state = self.state();
                if state.closed.is_some() {
                    return;
                }
                state.early_piece(self.shared.options.early_bytes).filter(|upto| upto.index <= end.index)
            };
            let Some(upto) = upto else { return };
            match self.write_out(&files, upto, Rolling::Not) {
                Ok(_) if self.state().written.index >= upto.index => {}
                Ok(_) | Err(WriteError::Refused(_)) => return,
                Err(WriteError::Failed(error)) => {
                    self.poison(&error);
                    return;
                }
            }
        }
    }

    /// Makes everything before `upto` durable in segments.
    fn checkpoint(&self, upto: u64) -> Result<(), StorageError> {
        let files = self.lock_files();
        let is_done = {
            let state = self.state();
            state.check_there()?;
            state.synced.index >= upto.min(state.durable.index)
        };
        if !is_done {
            // Only a log that has failed gets a file of the journal back to be emptied once it was opened again.
            let settled = self.settle(&files);
            settled.inspect_err(|error| {
                if matches!(error, StorageError::Io { .. }) {
                    self.poison(error);
                }
            })?;
            self.store_due_index(&files);
        }
        Ok(())
    }
}
