//! Taking entries away: from the front (trim), from the end (truncate), all of them (reset).

use std::{fs::File, path::Path, sync::Arc};

use minikafka_record::Offset;

use super::{
    durable,
    log::FileLog,
    manifest::Sequence,
    read::Step,
    scan::FrameScan,
    segment::{Segment, scan_error},
    state::State,
    write::cut,
};
use crate::{
    Index, Millis, Removed, StorageError,
    run::{Next, ends_before},
};

const SCAN_CHUNK_LEN: usize = 64 * 1024;

impl FileLog {
    /// See [`Log::trim`](crate::Log::trim). The manifest is durable before a file goes, so a crash in between
    /// leaves files that the next opening removes. What cannot be finished now (a full disk) is owed, and
    /// the next trim goes on with it.
    pub(super) fn trim_prefix(&self, to: Offset) -> Result<(), StorageError> {
        let (generation, removed) = {
            let state = self.state();
            state.check_open()?;
            if to > state.start {
                state.check_readable(to)?;
            } else if !state.owes_manifest && state.doomed.is_empty() {
                return Ok(());
            }
            (state.generation, state.removed)
        };
        let removed = if to > self.state().start { self.removed_by(to)? } else { removed };
        let mut sequence = {
            // The flusher must not be in the middle of the segment that goes.
            let files = self.lock_files();
            let sequence = self.lock_manifest();
            if to == self.state().end.offset {
                // Only the last segment of a log may be unsynced, so it is not followed by another before it
                // is.
                self.sync_written(&files)?;
            }
            let mut state = self.state();
            state.check_open()?;
            // A reset may have been faster.
            if state.generation == generation && to > state.start {
                state.check_readable(to)?;
                state.retire(to, removed);
            }
            sequence
        };
        if self.state().owes_manifest {
            let manifest = self.state().manifest();
            manifest.store(&self.dir, &mut sequence)?;
            self.state().owes_manifest = false;
        }
        self.remove_doomed()
    }

    fn remove_doomed(&self) -> Result<(), StorageError> {
        let doomed = std::mem::take(&mut self.state().doomed);
        let mut doomed = doomed.into_iter();
        while let Some(segment) = doomed.next() {
            if let Err(error) = segment.remove(&self.shared.handles) {
                let mut state = self.state();
                state.doomed.push(segment);
                state.doomed.extend(doomed);
                return Err(error);
            }
        }
        Ok(())
    }

    /// Index and epoch of the last entry that lies wholly before `to`.
    fn removed_by(&self, to: Offset) -> Result<Removed, StorageError> {
        let Some(last_record) = to.get().checked_sub(1).map(Offset::new) else {
            return Ok(self.state().removed);
        };
        let extent = {
            let state = self.state();
            if let Some(last) = state.tail.last_before(to) {
                return Ok(Removed { next_index: last.index + 1, epoch: last.epoch });
            }
            state.extent_of_offset(last_record)
        };
        let Some(extent) = extent else { return Ok(self.state().removed) };
        let mut removed = Removed { next_index: extent.from.index, epoch: extent.from.epoch_before };
        self.scan(&extent, SCAN_CHUNK_LEN, |frame| {
            if !ends_before(&frame.entry, to) {
                return Step::Stop;
            }
            removed = Removed { next_index: frame.entry.index + 1, epoch: frame.entry.epoch };
            Step::Next
        })?;
        Ok(removed)
    }

    /// See [`Log::truncate`](crate::Log::truncate). Later segments go first and durably, then the one that
    /// holds `from` is cut: a crash in between leaves a shorter suffix, never a gap.
    pub(super) fn truncate_suffix(&self, from: Index) -> Result<(), StorageError> {
        let _files = self.lock_files();
        let mut sequence = self.lock_manifest();
        // Held over I/O, this once: nobody is to see half of it.
        let mut state = self.state();
        state.check_open()?;
        if from >= state.end.index {
            return Ok(());
        }
        state.check_index(from)?;
        let due = if from < state.written.index {
            let keep = state.segments.iter().take_while(|segment| segment.header.base_index < from).count();
            if let Err(error) = self.announce_truncation(&mut state, &mut sequence, keep) {
                drop(state);
                // A full disk has changed nothing; after any other error nobody knows which manifest counts.
                if !matches!(error, StorageError::Full(_)) {
                    self.poison(&error);
                }
                return Err(error);
            }
            let due = state.forget(from);
            let outcome = self.truncate_files(&mut state, keep, from);
            if let Err(error) = outcome {
                drop(state);
                due.fail(&StorageError::Truncated);
                self.poison(&error);
                return Err(error);
            }
            due
        } else {
            state.forget(from)
        };
        drop(state);
        due.fail(&StorageError::Truncated);
        Ok(())
    }

    /// The manifest may say that what goes was durable: then its absence would look like damage. If nothing
    /// is kept, a new generation makes all that is left over void, whatever happens.
    fn announce_truncation(
        &self,
        state: &mut State,
        sequence: &mut Sequence,
        keep: usize,
    ) -> Result<(), StorageError> {
        let mut manifest = state.manifest();
        if keep == 0 {
            manifest.generation += 1;
            let base = state.segments.first().map(|first| first.header.base_offset);
            manifest.start = base.map_or(manifest.start, |base| base.min(manifest.start));
        }
        manifest.durable = manifest.start;
        manifest.store(&self.dir, sequence)?;
        state.generation = manifest.generation;
        state.start = manifest.start;
        state.owes_manifest = false;
        Ok(())
    }

    fn truncate_files(&self, state: &mut State, keep: usize, from: Index) -> Result<(), StorageError> {
        let mut doomed = std::mem::take(&mut state.doomed);
        let cut = state.segments.split_off(keep);
        let mut end = cut.first().map(Segment::base);
        doomed.extend(cut);
        if !doomed.is_empty() {
            doomed.into_iter().rev().try_for_each(|segment| segment.remove(&self.shared.handles))?;
            durable::sync_dir(&self.dir)?;
        }
        if let Some(last) = state.segments.last_mut() {
            if last.end().index > from {
                cut_segment(&self.dir, last, from, &last.file(&self.shared.handles)?)?;
            }
            end = Some(*last.end());
        }
        let Some(end) = end else { return Ok(()) };
        let next = Next {
            index: end.index,
            offset: end.offset,
            epoch_min: end.epoch_before,
            append_time_min: end.append_time,
        };
        (state.durable, state.written, state.end) = (next, next, next);
        state.start = state.start.min(next.offset);
        Ok(())
    }

    /// See [`Log::reset`](crate::Log::reset). The new manifest makes the old segments void before they go.
    pub(super) fn start_over(&self, removed: Removed, start: Offset) -> Result<(), StorageError> {
        let _files = self.lock_files();
        let mut sequence = self.lock_manifest();
        self.state().check_open()?;
        let mut manifest = self.state().manifest();
        manifest.generation += 1;
        manifest.removed = removed;
        manifest.start = start;
        manifest.durable = start;
        manifest.last_append_time = None;
        manifest.store(&self.dir, &mut sequence).inspect_err(|error| {
            if !matches!(error, StorageError::Full(_)) {
                self.poison(error);
            }
        })?;
        let (due, doomed) = {
            let mut state = self.state();
            let next = Next {
                index: removed.next_index,
                offset: start,
                epoch_min: removed.epoch,
                append_time_min: Millis::MIN,
            };
            let mut due = vec![state.unappend(Vec::new())];
            (state.durable, state.written, state.end) = (next, next, next);
            due.push(state.unwrite());
            state.tail.clear();
            state.generation = manifest.generation;
            state.removed = removed;
            state.start = start;
            state.owes_manifest = false;
            // What an earlier trim has not removed yet goes now: its names may be used again.
            let mut doomed = std::mem::take(&mut state.doomed);
            doomed.append(&mut state.segments);
            (due, doomed)
        };
        due.into_iter().for_each(|due| due.fail(&StorageError::Truncated));
        doomed.into_iter().try_for_each(|segment| segment.remove(&self.shared.handles))
    }
}

/// Cuts a segment before the entry with index `from`, which it holds behind others.
fn cut_segment(dir: &Path, segment: &mut Segment, from: Index, file: &Arc<File>) -> Result<(), StorageError> {
    let end = segment.end().position;
    let point = segment.index.rewind(from);
    let mut scan = FrameScan::new(file.clone(), segment.header.salt, point.position, end, SCAN_CHUNK_LEN);
    while let Some(frame) = scan.next().map_err(|error| scan_error(&segment.path, error))? {
        if frame.entry.index >= from {
            break;
        }
        segment.index.push(&frame.entry);
    }
    durable::remove_file(&segment.index_path())?;
    durable::sync_dir(dir)?;
    cut(file, &segment.path, segment.end().position)
}
