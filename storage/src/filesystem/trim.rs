//! Taking entries away: from the front (trim), from the end (truncate), all of them (reset).

use std::{fs::File, sync::Arc};

use minikafka_record::Offset;

use super::{
    durable,
    log::FileLog,
    manifest::Manifest,
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
    /// See [`Log::trim`](crate::Log::trim). The manifest is durable before a file goes, so a crash in between leaves
    /// files that the next opening removes.
    pub(super) fn trim_prefix(&self, to: Offset) -> Result<(), StorageError> {
        {
            let state = self.state();
            if to <= state.start {
                return Ok(());
            }
            state.check_readable(to)?;
        }
        let removed = self.removed_by(to)?;
        let doomed: Vec<Segment> = {
            let mut state = self.state();
            // Another trim or a reset may have been faster.
            if to <= state.start || to > state.end.offset || removed.next_index < state.removed.next_index {
                return Ok(());
            }
            state.start = to;
            state.removed = removed;
            state.shrink_tail(removed.next_index);
            let sealed = state.segments.len().saturating_sub(1);
            let count = state.segments[..sealed]
                .iter()
                .take_while(|segment| segment.end().index <= removed.next_index)
                .count();
            state.segments.drain(..count).collect()
        };
        self.store_manifest()?;
        doomed.into_iter().try_for_each(|segment| segment.remove(&self.shared.handles))?;
        self.remove_expired_active()
    }

    fn store_manifest(&self) -> Result<(), StorageError> {
        let _manifest = self.lock_manifest();
        let manifest = self.state().manifest();
        manifest.store(&self.dir)
    }

    /// Removes the last segment when all that is in it was trimmed; the next append begins another.
    fn remove_expired_active(&self) -> Result<(), StorageError> {
        let _files = self.lock_files();
        let doomed = {
            let mut state = self.state();
            let end = state.end.index;
            // The newest append time goes with the last entry, unless the manifest has it.
            let all_gone =
                state.removed.next_index == end && state.written.index == end && state.unsynced.is_empty();
            let has_frames = state.segments.last().is_some_and(|segment| !segment.index.is_empty());
            if !(all_gone && has_frames) {
                return Ok(());
            }
            state.durable = state.written;
            state.segments.pop()
        };
        self.store_manifest()?;
        doomed.map_or(Ok(()), |segment| segment.remove(&self.shared.handles))
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

    /// See [`Log::truncate`](crate::Log::truncate). Later segments go first and durably, then the one that holds `from` is cut: a crash
    /// in between leaves a shorter suffix, never a gap.
    pub(super) fn truncate_suffix(&self, from: Index) -> Result<(), StorageError> {
        let _files = self.lock_files();
        let _manifest = self.lock_manifest();
        // Held over I/O, this once: nobody is to see half of it.
        let mut state = self.state();
        if from >= state.end.index {
            return Ok(());
        }
        state.check_index(from)?;
        let due = state.forget(from);
        let outcome = if from < state.written.index { self.truncate_files(&mut state, from) } else { Ok(()) };
        drop(state);
        due.fail(&StorageError::Truncated);
        outcome.inspect_err(|error| self.poison(error))
    }

    fn truncate_files(&self, state: &mut State, from: Index) -> Result<(), StorageError> {
        // The manifest may say that what goes was durable: then its absence would look like damage.
        Manifest { durable: state.start, ..state.manifest() }.store(&self.dir)?;
        let keep = state.segments.iter().take_while(|segment| segment.header.base_index < from).count();
        let doomed = state.segments.split_off(keep);
        let mut end = doomed.first().map(Segment::base);
        if !doomed.is_empty() {
            doomed.into_iter().rev().try_for_each(|segment| segment.remove(&self.shared.handles))?;
            durable::sync_dir(&self.dir)?;
        }
        if let Some(last) = state.segments.last_mut() {
            if last.end().index > from {
                cut_segment(last, from, &last.file(&self.shared.handles)?)?;
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
        let _manifest = self.lock_manifest();
        let mut manifest = self.state().manifest();
        manifest.generation += 1;
        manifest.removed = removed;
        manifest.start = start;
        manifest.durable = start;
        manifest.last_append_time = None;
        manifest.store(&self.dir)?;
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
            (due, std::mem::take(&mut state.segments))
        };
        due.into_iter().for_each(|due| due.fail(&StorageError::Truncated));
        doomed.into_iter().try_for_each(|segment| segment.remove(&self.shared.handles))
    }
}

/// Cuts a segment before the entry with index `from`, which it holds behind others.
fn cut_segment(segment: &mut Segment, from: Index, file: &Arc<File>) -> Result<(), StorageError> {
    let end = segment.end().position;
    let point = segment.index.rewind(from);
    let mut scan = FrameScan::new(file.clone(), point.position, end, SCAN_CHUNK_LEN);
    while let Some(frame) = scan.next().map_err(|error| scan_error(&segment.path, error))? {
        if frame.entry.index >= from {
            break;
        }
        segment.index.push(&frame.entry);
    }
    durable::remove_file(&segment.index_path())?;
    cut(file, &segment.path, segment.end().position)
}
