//! [`State`], what a log knows of itself, under its lock. No I/O happens here.

use std::{collections::VecDeque, ops::Range};

use bytes::Bytes;
use minikafka_record::Offset;

use super::{
    SyncPolicy,
    damage::{Damage, Lost},
    extent::Extent,
    frame::frame_len,
    handles::SegmentKey,
    index::{IndexPoint, Lookup},
    journal::LogKey,
    manifest::Manifest,
    segment::Segment,
    segments::Segments,
};
use crate::{
    Bounds, Completion, Entry, Index, LogId, Millis, Removed, Spares, StorageError,
    run::{Next, Run},
};

/// A place in a segment.
pub(super) type SegmentEnd = (SegmentKey, IndexPoint);

/// What a log knows of itself.
///
/// ```text
///     removed/start         written      durable      taken       end
///        |  segments           |            |            |          |
///        |                     |  journal   | under way  | pending  |
///        |           [ tail: the newest entries, in memory          ]
///                                           | waiting: completions  |
/// ```
///
/// A log that is not journaled writes first and becomes durable later: then `durable` lies before `written`.
/// In segments, everything before `synced` is durable.
pub(super) struct State {
    pub(super) id: LogId,
    pub(super) generation: u64,
    pub(super) journal_from: u64,
    pub(super) key: LogKey,
    /// The newest entries. **Invariant:** holds everything that is not written.
    pub(super) tail: Run,
    /// Completions of what is not complete, in order.
    pub(super) waiting: VecDeque<Waiting>,
    /// Segments in order; the last one is written to. May be empty.
    pub(super) segments: Segments,
    pub(super) removed: Removed,
    pub(super) start: Offset,
    /// Nobody reads below this any more, which may be further than `start`: files and manifest follow.
    pub(super) evicted: Offset,
    pub(super) synced: Next,
    /// How far a segment was synced at last: it may be further than `synced`, by what was written early.
    pub(super) synced_end: Option<SegmentEnd>,
    pub(super) written: Next,
    pub(super) durable: Next,
    pub(super) taken: Next,
    pub(super) end: Next,
    /// Bytes of frames that are pending.
    pub(super) pending_bytes: u64,
    /// Bytes of frames that are durable in the journal and not written.
    pub(super) behind_bytes: u64,
    /// Entries before this one need not be kept in memory once they have completed.
    pub(super) release_before: Index,
    /// How often something was cut off the files.
    pub(super) cuts: u64,
    /// Everything before this index has completed.
    pub(super) completed: Index,
    /// Records that are known to be lost.
    pub(super) damage: Lost,
    /// Whether more is known to be damaged than its file says.
    pub(super) owes_damage: bool,
    pub(super) truncation: Truncation,
    /// Segments that were trimmed away; their files go once the manifest says so.
    pub(super) doomed: Vec<Segment>,
    /// Whether the manifest on disk is behind this.
    pub(super) owes_manifest: bool,
    /// Whether the flusher knows that something is pending.
    pub(super) queued: bool,
    /// Whether the writer knows that there is something to write or to store.
    pub(super) behind: bool,
    /// Why there are no more appends.
    pub(super) closed: Option<StorageError>,
    /// Whether a clean stop was marked, or there is nothing to mark any more.
    pub(super) ended: bool,
}

/// A truncation that was begun and has not come to its end: what was durable may not be any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Truncation {
    None,
    /// Entries from this one on are being taken off the files: the manifest says so.
    From(Index),
    /// All files go: a new generation makes them void.
    Everything,
}

impl Truncation {
    /// What the manifest says of it.
    fn from(self) -> Option<Index> {
        match self {
            Truncation::From(from) => Some(from),
            Truncation::None | Truncation::Everything => None,
        }
    }
}

/// Whom to tell once everything before `next` is durable.
pub(super) struct Waiting {
    next: Next,
    on_durable: Completion,
}

/// What a round of the flusher takes of a log.
#[derive(Clone, Copy)]
pub(super) struct Taken {
    pub(super) from: Next,
    pub(super) upto: Next,
    /// Bytes of its frames.
    pub(super) bytes: u64,
}

/// Completions that are due, called once the lock is gone.
#[must_use = "somebody waits for these"]
pub(super) struct Due(Vec<Completion>);

impl Due {
    pub(super) fn succeed(self) {
        self.0.into_iter().for_each(|completion| completion(Ok(())));
    }

    pub(super) fn fail(self, why: &StorageError) {
        self.0.into_iter().for_each(|completion| completion(Err(why.clone())));
    }
}

impl State {
    /// Takes an append into the tail; it is to be written later.
    pub(super) fn append(
        &mut self,
        entries: Vec<Entry>,
        on_durable: Completion,
    ) -> Result<(), (Completion, StorageError)> {
        if let Some(why) = &self.closed {
            return Err((on_durable, why.clone()));
        }
        let next = match self.end.check(&entries) {
            Ok(next) => next,
            Err(error) => return Err((on_durable, error)),
        };
        self.pending_bytes += frames_len(&entries);
        entries.into_iter().for_each(|entry| self.tail.push(entry));
        self.waiting.push_back(Waiting { next, on_durable });
        self.end = next;
        Ok(())
    }

    /// What a round is to make durable: what is written already and need only be synced, while the writer goes
    /// on with what comes behind it; or else `bytes_max` of what is pending, and a little more.
    pub(super) fn take(&mut self, bytes_max: u64) -> Taken {
        let (upto, bytes) = match self.written_early() {
            Some(upto) => (upto, frames_len(self.tail.range(self.taken.index..upto.index))),
            None if self.pending_bytes <= bytes_max => (self.end, self.pending_bytes),
            None => self.piece(self.taken, bytes_max),
        };
        let taken = Taken { from: self.taken, upto, bytes };
        self.pending_bytes -= bytes;
        self.taken = upto;
        self.queued = upto.index < self.end.index;
        taken
    }

    /// The end of the appends that no round has taken and that are written.
    fn written_early(&self) -> Option<Next> {
        if self.written.index <= self.taken.index {
            return None;
        }
        let count = self.waiting.partition_point(|waiting| waiting.next.index <= self.written.index);
        let last = self.waiting.get(count.checked_sub(1)?)?.next;
        (last.index > self.taken.index).then_some(last)
    }

    /// The end of the next `bytes_max` that are neither taken nor written; `None` when there are none.
    pub(super) fn early_piece(&self, bytes_max: u64) -> Option<Next> {
        let from = if self.written.index > self.taken.index { self.written } else { self.taken };
        (from.index < self.end.index).then(|| self.piece(from, bytes_max).0)
    }

    /// Whole appends from `from` on: their end, and how many bytes they are, `bytes_max` and a little more if
    /// there are so many.
    fn piece(&self, from: Next, bytes_max: u64) -> (Next, u64) {
        let mut bytes = 0;
        let mut entries = self.tail.range(from.index..self.end.index);
        let enough = entries.find(|entry| {
            bytes += frame_len(entry);
            bytes >= bytes_max
        });
        let Some(enough) = enough else { return (self.end, bytes) };
        let at = self.waiting.partition_point(|waiting| waiting.next.index <= enough.index);
        let upto = self.waiting.get(at).map_or(self.end, |append| append.next);
        (upto, bytes + frames_len(self.tail.range(enough.index + 1..upto.index)))
    }

    /// Entries were written to the end of the last segment.
    pub(super) fn wrote(&mut self, entries: &[Entry], segment_bytes: u64) {
        let Some(segment) = self.segments.last_mut() else { return };
        entries.iter().for_each(|entry| segment.push(entry, segment_bytes));
        if let Some(last) = entries.last() {
            self.written = Next::after(last);
        }
        self.behind_bytes = match self.written.index >= self.durable.index {
            true => 0,
            false => self.behind_bytes.saturating_sub(frames_len(entries)),
        };
        // Whoever has written them holds them still: their memory cannot be used again.
        let _ = self.shrink_tail();
    }

    /// Everything written before `upto` is on disk, in segments.
    pub(super) fn synced(&mut self, upto: Next) {
        // A truncation may have taken some of it back.
        let upto = if upto.index <= self.written.index { upto } else { self.written };
        if upto.index >= self.synced.index {
            self.synced = upto;
        }
        if upto.index >= self.durable.index {
            self.durable = upto;
        }
    }

    /// Everything before `upto` is on disk, in the journal.
    /// Returns how many bytes more are there and in no segment.
    pub(super) fn journaled(&mut self, taken: &Taken) -> u64 {
        if self.end.index < taken.upto.index {
            return 0; // taken back meanwhile: the log was removed
        }
        if taken.upto.index > self.durable.index {
            self.durable = taken.upto;
        }
        // A part of it may have gone to the segment.
        let behind = match self.written.index <= taken.from.index {
            true => taken.bytes,
            false => frames_len(self.tail.range(self.written.index..taken.upto.index)),
        };
        self.behind_bytes += behind;
        behind
    }

    /// Whether the index of the last segment is to be stored.
    pub(super) fn is_index_due(&self, policy: SyncPolicy) -> bool {
        let Some(last) = self.segments.last() else { return false };
        match policy {
            SyncPolicy::Always => self.checkpoint().is_some_and(|point| last.is_index_due(&point)),
            // Nothing of it is synced, but then it will be.
            SyncPolicy::Every(_) | SyncPolicy::Never => last.is_index_due(last.end()),
        }
    }

    /// Where the last segment ends, and which one it is: what a sync that begins now makes durable.
    pub(super) fn written_end(&self) -> Option<SegmentEnd> {
        self.segments.last().map(|last| (last.key, *last.end()))
    }

    /// How far the last segment is known to be durable.
    pub(super) fn checkpoint(&self) -> Option<IndexPoint> {
        let last = self.segments.last()?;
        self.synced_end.filter(|(key, _)| *key == last.key).map(|(_, point)| point)
    }

    /// A sync of a segment made it durable as far as this. Another one that began later may have ended before.
    pub(super) fn synced_to(&mut self, (key, end): SegmentEnd) {
        let is_further =
            self.synced_end.is_some_and(|(last, point)| last == key && point.position > end.position);
        if !is_further {
            self.synced_end = Some((key, end));
        }
    }

    /// Bytes of the last segment that are not known to be durable.
    pub(super) fn unsynced_bytes(&self) -> u64 {
        let written = self.segments.last().map_or(0, |last| last.end().position);
        written.saturating_sub(self.checkpoint().map_or(0, |point| point.position))
    }

    /// The completions of everything before `index`.
    pub(super) fn complete(&mut self, index: Index) -> Due {
        self.completed = self.completed.max(index);
        let due = self.waiting.partition_point(|waiting| waiting.next.index <= index);
        Due(self.waiting.drain(..due).map(|waiting| waiting.on_durable).collect())
    }

    /// Takes back everything from `floor` on, and returns all completions.
    pub(super) fn roll_back(&mut self, floor: Next) -> Due {
        self.tail.truncate(floor.index);
        self.completed = self.completed.min(floor.index);
        self.release_before = self.release_before.min(floor.index);
        (self.taken, self.end) = (floor, floor);
        self.pending_bytes = 0;
        if self.written.index > floor.index {
            self.written = floor;
        }
        Due(self.waiting.drain(..).map(|waiting| waiting.on_durable).collect())
    }

    /// Takes back what no round has taken, and returns its completions.
    pub(super) fn refuse_pending(&mut self) -> Due {
        let taken = self.waiting.partition_point(|waiting| waiting.next.index <= self.taken.index);
        self.tail.truncate(self.taken.index);
        self.end = self.taken;
        self.pending_bytes = 0;
        Due(self.waiting.drain(taken..).map(|waiting| waiting.on_durable).collect())
    }

    /// Takes the entries from `from` on out of memory, and returns the completions of the appends that they
    /// belong to. No round is under way, and what is in files is not touched.
    pub(super) fn forget(&mut self, from: Index) -> Due {
        let kept = self.waiting.partition_point(|waiting| waiting.next.index <= from);
        let due = Due(self.waiting.drain(kept..).map(|waiting| waiting.on_durable).collect());
        self.tail.truncate(from);
        self.completed = self.completed.min(from);
        self.release_before = self.release_before.min(from);
        self.end = match self.tail.last() {
            Some(last) => Next::after(last),
            None => self.written,
        };
        // What was appended together may have been cut in two: nobody waits for the first part.
        self.pending_bytes = frames_len(self.tail.range(self.taken.index..self.end.index));
        due
    }

    /// Entries before `index` need not be kept in memory. Gives the large ones of them, whose memory may be used again.
    pub(super) fn release(&mut self, index: Index) -> Vec<Bytes> {
        self.release_before = self.release_before.max(index);
        self.shrink_tail()
    }

    /// Lets go of entries in memory that are written, have completed, and that nobody wants to keep. Written is
    /// not enough: what is under way may be written in part, and then goes to the journal as a whole. Gives the large
    /// ones.
    fn shrink_tail(&mut self) -> Vec<Bytes> {
        let mut large = Vec::new();
        let index = self.release_before.min(self.written.index).min(self.completed);
        while self.tail.first().is_some_and(|first| first.index < index) {
            let payload = self.tail.pop_front().map(|entry| entry.payload);
            large.extend(payload.filter(Spares::is_worth_keeping));
        }
        large
    }

    pub(super) fn bounds(&self) -> Bounds {
        Bounds {
            removed: self.removed,
            start: self.readable_from(),
            end: self.end.offset,
            durable: self.durable.offset,
            next_index: self.end.index,
            last_epoch: self.end.epoch_min,
            last_append_time: Some(self.end.append_time_min).filter(|time| *time != Millis::MIN),
            size_bytes: self.pending_bytes + self.behind_bytes + self.segments.bytes(),
            damaged: self.damage.count_from(self.readable_from()),
        }
    }

    /// Records of a segment are known to be lost. Says whether that is news.
    pub(super) fn note_damage(&mut self, key: SegmentKey, lost: Range<Offset>) -> bool {
        if let Some(segment) = self.segments.iter_mut().find(|segment| segment.key == key) {
            self.owes_damage |= !std::mem::replace(&mut segment.damaged, true);
        }
        let is_news = self.damage.note(lost);
        self.owes_damage |= is_news;
        is_news
    }

    /// This is known to be damaged, too, as far as it speaks of what is there.
    pub(super) fn know_damage(&mut self, mut damage: Damage) {
        if damage.generation != self.generation {
            return;
        }
        damage.lost.forget_from(self.end.offset);
        for lost in damage.lost.ranges() {
            self.owes_damage |= self.damage.note(lost.clone());
        }
        for segment in self.segments.iter_mut() {
            if damage.holds(segment.header.generation, segment.header.base_index) {
                self.owes_damage |= !std::mem::replace(&mut segment.damaged, true);
            }
        }
    }

    /// What is known to be damaged, as it is stored.
    pub(super) fn known_damage(&self) -> Damage {
        let segments = self.segments.iter().chain(&self.doomed).filter(|segment| segment.damaged);
        let name = |segment: &Segment| (segment.header.generation, segment.header.base_index);
        Damage {
            generation: self.generation,
            lost: self.damage.clone(),
            segments: segments.map(name).collect(),
            is_unknown: false,
        }
    }

    /// Moves the start up to `to`, behind the entries that this removes, all of which are written. Readers see
    /// it at once; files go later.
    pub(super) fn retire(&mut self, to: Offset, removed: Removed) {
        self.start = to;
        self.removed = removed;
        self.owes_manifest = true;
        self.damage.forget_before(to);
        self.release(removed.next_index);
        let is_over = |segment: &&Segment| segment.end().index <= removed.next_index;
        let sealed = self.segments.len().saturating_sub(1);
        let mut count = self.segments[..sealed].iter().take_while(is_over).count();
        // The last one, too, if all that was ever appended is trimmed: the next append begins another.
        let all_gone = removed.next_index == self.end.index && self.synced.index == self.end.index;
        if all_gone && self.segments.last().is_some_and(|last| !last.is_empty()) {
            count = self.segments.len();
        }
        self.doomed.extend(self.segments.split_front(count));
    }

    /// Whether entries may be taken away.
    pub(super) fn check_open(&self) -> Result<(), StorageError> {
        match &self.closed {
            Some(why @ (StorageError::NotFound { .. } | StorageError::Closed | StorageError::Reopened)) => {
                Err(why.clone())
            }
            _ => Ok(()),
        }
    }

    /// Whether its files may be written.
    pub(super) fn check_writable(&self) -> Result<(), StorageError> {
        match &self.closed {
            Some(
                why @ (StorageError::NotFound { .. } | StorageError::Poisoned(_) | StorageError::Reopened),
            ) => Err(why.clone()),
            _ => Ok(()),
        }
    }

    pub(super) fn check_there(&self) -> Result<(), StorageError> {
        match &self.closed {
            Some(gone @ (StorageError::NotFound { .. } | StorageError::Reopened)) => Err(gone.clone()),
            _ => Ok(()),
        }
    }

    pub(super) fn check_readable(&self, from: Offset) -> Result<(), StorageError> {
        self.check_there()?;
        let (start, end) = (self.readable_from(), self.end.offset);
        if from < start || from > end {
            return Err(StorageError::OutOfRange { wanted: from, start, end });
        }
        Ok(())
    }

    /// Where readers find the log to begin.
    pub(super) fn readable_from(&self) -> Offset {
        self.start.max(self.evicted)
    }

    /// The entries for a reader at `from`, shared; `None` when they are not in memory.
    pub(super) fn tail_portion(
        &self,
        from: Offset,
        upper: Offset,
        bytes_max: usize,
    ) -> Result<Option<Vec<Entry>>, StorageError> {
        self.check_readable(from)?;
        let in_memory = from == self.end.offset || self.tail.holds(from);
        Ok(in_memory.then(|| self.tail.portion(from, upper, bytes_max)))
    }

    pub(super) fn check_index(&self, wanted: Index) -> Result<(), StorageError> {
        self.check_there()?;
        let (first, next) = (self.removed.next_index, self.end.index);
        if wanted < first || wanted > next {
            return Err(StorageError::IndexOutOfRange { wanted, first, next });
        }
        Ok(())
    }

    /// Where to read the entry that holds `offset`, which is written. What lies in no segment is lost.
    pub(super) fn extent_of_offset(&self, offset: Offset) -> Result<Extent, StorageError> {
        let at = self.segments.partition_point(|segment| segment.end().offset <= offset);
        match self.segments.get(at) {
            Some(segment) if segment.base().offset <= offset => Ok(segment.extent(Lookup::Offset(offset))),
            found => Err(self.lost_before(found, offset)),
        }
    }

    /// Where to read the entry with `index`. What lies in no segment is lost.
    pub(super) fn extent_of_index(&self, index: Index) -> Result<Extent, StorageError> {
        let at = self.segments.partition_point(|segment| segment.end().index <= index);
        match self.segments.get(at) {
            Some(segment) if segment.base().index <= index => Ok(segment.extent(Lookup::Index(index))),
            found => Err(self.lost_before(found, self.start)),
        }
    }

    /// Whether the segment of this extent is there and was not cut since.
    pub(super) fn is_listed(&self, extent: &Extent) -> bool {
        let at = self.segments.partition_point(|segment| segment.end().index < extent.end.index);
        self.segments.get(at).is_some_and(|segment| segment.key == extent.key)
    }

    /// For what should lie before this segment, or at the end of all.
    fn lost_before(&self, segment: Option<&Segment>, wanted: Offset) -> StorageError {
        let after = segment.map_or(self.written.offset, |segment| segment.base().offset);
        let known = self.damage.around(wanted);
        let path = segment.map_or_else(|| self.id.to_string().into(), |segment| segment.path.clone());
        StorageError::damaged(path, 0, "what came before it is lost").losing(known.unwrap_or(wanted..after))
    }

    /// The parts of segments that may hold what is sought, in order.
    pub(super) fn extents(&self, lookup: Lookup) -> Vec<Extent> {
        let may_hold = |segment: &&Segment| match lookup {
            Lookup::RecordTimestamp(timestamp) => segment.end().max_timestamp_before >= timestamp,
            Lookup::AppendedAfter(time, _) => segment.end().append_time > time,
            Lookup::Offset(offset) => segment.end().offset > offset,
            Lookup::Index(index) => segment.end().index > index,
        };
        let kept = self.segments.iter().filter(|segment| segment.end().offset > self.start);
        kept.filter(|segment| !segment.is_empty()).filter(may_hold).map(|s| s.extent(lookup)).collect()
    }

    /// Whether every entry that is kept is in the tail.
    pub(super) fn tail_is_all(&self) -> bool {
        self.tail.first().map_or(self.end.index, |first| first.index) <= self.removed.next_index
    }

    pub(super) fn manifest(&self) -> Manifest {
        let newest = self.written.append_time_min.max(self.durable.append_time_min);
        Manifest {
            id: self.id.clone(),
            generation: self.generation,
            removed: self.removed,
            start: self.start,
            last_append_time: Some(newest).filter(|time| *time != Millis::MIN),
            durable: self.durable.offset,
            durable_index: self.durable.index,
            journal_from: self.journal_from,
            key: self.key,
            truncating: self.truncation.from(),
        }
    }
}

fn frames_len<'a>(entries: impl IntoIterator<Item = &'a Entry>) -> u64 {
    entries.into_iter().map(frame_len).sum()
}
