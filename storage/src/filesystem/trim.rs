//! Taking entries away: from the front (trim), from the end (truncate), all of them (reset).

use minikafka_record::Offset;

use super::{
    cut::cut_segment,
    durable,
    index::Lookup,
    log::{FileLog, Files},
    manifest::{Manifest, Sequence},
    read::{Scanned, Seen, Step},
    segment::Segment,
    state::{Due, State, Truncation},
};
use crate::{
    Index, Millis, Removed, StorageError,
    run::{Next, ends_before},
};

const SCAN_CHUNK_LEN: usize = 64 * 1024;

impl FileLog {
    /// See [`Log::trim`](crate::Log::trim). Readers see the new start at once, while files and manifest wait for the
    /// disk. The manifest is durable before a file goes, so a crash in between
    /// leaves files that the next opening removes. What cannot be finished now (a full disk) is owed, and
    /// the next trim goes on with it.
    pub(super) fn trim_prefix(&self, to: Offset) -> Result<(), StorageError> {
        let (to, generation, removed) = {
            let mut state = self.state();
            state.check_open()?;
            let to = to.max(state.readable_from());
            if to > state.start {
                state.check_readable(to)?;
                // Whatever the disk does meanwhile: nobody is served what is too old.
                state.evicted = to;
            } else if !state.owes_manifest && state.doomed.is_empty() {
                return Ok(());
            }
            (to, state.generation, state.removed)
        };
        let removed = if to > self.state().start { self.removed_by(to)? } else { removed };
        let mut held_up = None;
        let mut sequence = {
            // Nobody is to be in the middle of the segment that goes.
            let files = self.lock_files();
            let sequence = self.lock_manifest();
            let (is_behind, is_all) = {
                let state = self.state();
                (removed.next_index > state.written.index, to == state.end.offset)
            };
            if is_behind || is_all {
                // Entries are only in the journal, or the last segment goes with the others: it is to be whole
                // before it does.
                held_up = self.settle_if_possible(&files)?;
            }
            let mut state = self.state();
            let (to, removed) = match removed.next_index > state.written.index {
                // The rest goes when it has come into a segment: what is there must go now, to make room.
                true => (
                    state.written.offset,
                    Removed { next_index: state.written.index, epoch: state.written.epoch_min },
                ),
                false => {
                    held_up = None;
                    (to, removed)
                }
            };
            state.check_open()?;
            // A reset may have been faster.
            if state.generation == generation && to > state.start {
                // Others may have evicted more, or a truncation all of this.
                state.check_readable(to.max(state.readable_from()))?;
                state.retire(to, removed);
            }
            sequence
        };
        if self.state().owes_manifest {
            let manifest = self.state().manifest();
            manifest.store(&*self.shared.disk, &self.dir, &mut sequence)?;
            self.state().owes_manifest = false;
        }
        self.remove_doomed()?;
        held_up.map_or(Ok(()), Err)
    }

    /// On a full disk, or after a failure, a log is still trimmed, as far as its entries are in segments. Gives
    /// what keeps it from more.
    fn settle_if_possible(&self, files: &Files<'_>) -> Result<Option<StorageError>, StorageError> {
        match self.settle(files) {
            Err(held_up @ (StorageError::Poisoned(_) | StorageError::Full(_))) => Ok(Some(held_up)),
            outcome => outcome.map(|()| None),
        }
    }

    fn remove_doomed(&self) -> Result<(), StorageError> {
        let doomed = std::mem::take(&mut self.state().doomed);
        let mut doomed = doomed.into_iter();
        while let Some(segment) = doomed.next() {
            if let Err(error) = segment.remove(&self.shared) {
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
        loop {
            let (extent, known) = {
                let state = self.state();
                if let Some(last) = state.tail.last_before(to) {
                    return Ok(Removed { next_index: last.index + 1, epoch: last.epoch });
                }
                let at = state.segments.partition_point(|segment| segment.end().offset <= last_record);
                let Some(segment) = state.segments.get(at) else {
                    // It is in the first entry that is not written, and that one stays.
                    return Ok(Removed { next_index: state.written.index, epoch: state.written.epoch_min });
                };
                let base = segment.base();
                let known = Removed { next_index: base.index, epoch: base.epoch_before };
                (segment.extent(Lookup::Offset(last_record)), known)
            };
            let mut removed = known;
            let scanned = self.scan(&extent, SCAN_CHUNK_LEN, |seen| match seen {
                Seen::Entry(entry) if ends_before(&entry, to) => {
                    removed = Removed { next_index: entry.index + 1, epoch: entry.epoch };
                    Step::Next
                }
                Seen::Entry(entry) => {
                    // Those before it that nobody saw are gone, too.
                    removed.next_index = removed.next_index.max(entry.index);
                    Step::Stop
                }
                Seen::Lost(..) => Step::Next,
            })?;
            if let Scanned::At(_) = scanned {
                return Ok(removed);
            }
        }
    }

    /// See [`Log::truncate`](crate::Log::truncate). What stays is written and synced first. Then the manifest
    /// makes the journal void and says what is being truncated: from here on it has happened, and opening brings it
    /// to its end if a crash comes in between. Then later segments go, the one that holds `from` is cut, and the
    /// manifest says that it is done.
    pub(super) fn truncate_suffix(&self, from: Index) -> Result<(), StorageError> {
        // No round is under way from here on.
        let _rounds = self.shared.lock_rounds();
        let files = self.lock_files();
        let mut sequence = self.lock_manifest();
        {
            let mut state = self.state();
            state.check_open()?;
            // After a failure nobody knows what is on the disk behind the end.
            state.check_writable()?;
            if from >= state.end.index {
                return Ok(());
            }
            state.check_index(from)?;
            if from >= state.taken.index && from >= state.written.index {
                let due = state.forget(from);
                drop(state);
                due.fail(&StorageError::Truncated);
                return Ok(());
            }
        }
        self.settle(&files)?;
        // Held over I/O, this once: nobody is to see half of it.
        let mut state = self.state();
        let keep = state.segments.iter().take_while(|segment| segment.header.base_index < from).count();
        if let Err(error) = self.announce_truncation(&mut state, &mut sequence, keep, from) {
            drop(state);
            // A full disk has changed nothing; after any other error nobody knows which manifest counts.
            if !matches!(error, StorageError::Full(_)) {
                self.poison(&error);
            }
            return Err(error);
        }
        let due = state.forget(from);
        let outcome = self
            .truncate_files(&mut state, keep, from)
            .and_then(|()| self.end_truncation(&mut state, &mut sequence));
        drop(state);
        self.cursors.clear();
        due.fail(&StorageError::Truncated);
        outcome.inspect_err(|error| self.poison(error))
    }

    /// The manifest may say that what goes was durable: then its absence would look like damage. If nothing
    /// is kept, a new generation makes all that is left over void, whatever happens.
    fn announce_truncation(
        &self,
        state: &mut State,
        sequence: &mut Sequence,
        keep: usize,
        from: Index,
    ) -> Result<(), StorageError> {
        let mut manifest = state.manifest();
        if keep == 0 {
            manifest.generation += 1;
            let base = state.segments.first().map(|first| first.header.base_offset);
            manifest.start = base.map_or(manifest.start, |base| base.min(manifest.start));
        }
        manifest.durable = manifest.start;
        manifest.durable_index = manifest.removed.next_index;
        manifest.journal_from = self.shared.next_journal_sequence();
        manifest.truncating = (keep > 0).then_some(from);
        manifest.store_twice(&*self.shared.disk, &self.dir, sequence)?;
        state.truncation = if keep > 0 { Truncation::From(from) } else { Truncation::Everything };
        state.generation = manifest.generation;
        state.journal_from = manifest.journal_from;
        state.start = manifest.start;
        if keep == 0 {
            state.evicted = manifest.start;
            // Nothing is durable from here on, whatever becomes of the files: no later manifest is to say otherwise.
            let nothing = Next {
                index: manifest.durable_index,
                offset: manifest.durable,
                epoch_min: manifest.removed.epoch,
                append_time_min: state.durable.append_time_min,
            };
            (state.synced, state.written, state.durable) = (nothing, nothing, nothing);
        }
        state.owes_manifest = false;
        Ok(())
    }

    /// The files are cut: what is known of damage no longer speaks of what went, and then the manifest no longer says
    /// that anything is being truncated. Only then may the log go on: what comes next has the same numbers.
    fn end_truncation(&self, state: &mut State, sequence: &mut Sequence) -> Result<(), StorageError> {
        if state.damage.forget_from(state.end.offset) {
            let damage = state.known_damage();
            damage.store(&*self.shared.disk, &self.dir).map_err(for_good)?;
        }
        if let Truncation::From(_) = state.truncation {
            let manifest = Manifest { truncating: None, ..state.manifest() };
            manifest.store_truncated(&*self.shared.disk, &self.dir, sequence).map_err(for_good)?;
        }
        state.truncation = Truncation::None;
        Ok(())
    }

    /// Cuts the files before the entry with index `from`; so many segments stay.
    fn truncate_files(&self, state: &mut State, keep: usize, from: Index) -> Result<(), StorageError> {
        state.cuts += 1;
        let mut doomed = std::mem::take(&mut state.doomed);
        let cut = state.segments.split_off(keep);
        let mut end = cut.first().map(Segment::base);
        doomed.extend(cut);
        // The last one first, each for good before the next: names may become durable in any order.
        for segment in doomed.into_iter().rev() {
            segment.remove(&self.shared)?;
            durable::sync_dir(&*self.shared.disk, &self.dir)?;
        }
        if let Some(last) = state.segments.last_mut() {
            if last.end().index > from {
                let index = match last.index() {
                    Some(index) => index.clone(),
                    None => {
                        let file = last.file(&self.shared)?;
                        last.extent(Lookup::Index(from)).load_index(&self.shared, &file)?
                    }
                };
                let end = last.end().position;
                cut_segment(last, index, (from, end), &self.shared)?;
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
        (state.synced, state.written, state.durable) = (next, next, next);
        (state.taken, state.end) = (next, next);
        state.start = state.start.min(next.offset);
        state.evicted = state.evicted.min(next.offset);
        Ok(())
    }

    /// Takes what was written from `floor` on off the files again: it never completed.
    pub(super) fn cut_back(&self, _files: &Files<'_>, floor: Next) -> Result<(), StorageError> {
        let mut state = self.state();
        if state.written.index <= floor.index {
            return Ok(());
        }
        let keep =
            state.segments.iter().take_while(|segment| segment.header.base_index < floor.index).count();
        let (synced, durable, taken, end) = (state.synced, state.durable, state.taken, state.end);
        // What is trimmed goes when the manifest says so, which it may not yet.
        let doomed = std::mem::take(&mut state.doomed);
        let outcome = self.truncate_files(&mut state, keep, floor.index);
        state.doomed = doomed;
        outcome?;
        let earlier = |known: Next| if known.index < floor.index { known } else { floor };
        (state.taken, state.end, state.written) = (taken, end, floor);
        (state.synced, state.durable) = (earlier(synced), earlier(durable));
        self.cursors.clear();
        Ok(())
    }

    /// See [`Log::reset`](crate::Log::reset). The new manifest makes the old segments void before they go.
    pub(super) fn start_over(&self, removed: Removed, start: Offset) -> Result<(), StorageError> {
        // No round is under way from here on.
        let _rounds = self.shared.lock_rounds();
        let _files = self.lock_files();
        let mut sequence = self.lock_manifest();
        self.state().check_open()?;
        let mut manifest = self.state().manifest();
        manifest.generation += 1;
        manifest.removed = removed;
        manifest.start = start;
        manifest.durable = start;
        manifest.durable_index = removed.next_index;
        manifest.journal_from = self.shared.next_journal_sequence();
        manifest.last_append_time = None;
        manifest.truncating = None;
        manifest.store_twice(&*self.shared.disk, &self.dir, &mut sequence).inspect_err(|error| {
            if !matches!(error, StorageError::Full(_)) {
                self.poison(error);
            }
        })?;
        let (due, doomed) = {
            let mut state = self.state();
            let due = state.begin_anew(&manifest);
            self.shared.writer.wrote(std::mem::take(&mut state.behind_bytes));
            // What an earlier trim has not removed yet goes now: its names may be used again.
            let mut doomed = std::mem::take(&mut state.doomed);
            doomed.extend(state.segments.split_front(usize::MAX));
            (due, doomed)
        };
        self.cursors.clear();
        due.fail(&StorageError::Truncated);
        doomed.into_iter().try_for_each(|segment| segment.remove(&self.shared))
    }
}

impl State {
    /// A new generation has made void all that was there: the log is empty, and begins where its manifest says. Gives the
    /// completions of all that waited.
    pub(super) fn begin_anew(&mut self, manifest: &Manifest) -> Due {
        let next = Next {
            index: manifest.removed.next_index,
            offset: manifest.start,
            epoch_min: manifest.removed.epoch,
            append_time_min: manifest.last_append_time.unwrap_or(Millis::MIN),
        };
        let due = self.roll_back(next);
        self.tail.clear();
        (self.synced, self.written, self.durable) = (next, next, next);
        (self.release_before, self.completed) = (0, next.index);
        self.cuts += 1;
        self.generation = manifest.generation;
        self.journal_from = manifest.journal_from;
        self.removed = manifest.removed;
        (self.start, self.evicted) = (manifest.start, manifest.start);
        self.damage.clear();
        self.truncation = Truncation::None;
        self.owes_manifest = false;
        due
    }
}

/// A full disk, when half of something is done: trying again is not enough.
fn for_good(error: StorageError) -> StorageError {
    match error {
        StorageError::Full(what) => StorageError::Poisoned(what),
        error => error,
    }
}
