//! [`State`], what a log knows of itself, under its lock. No I/O happens here.

use std::collections::VecDeque;

use minikafka_record::Offset;

use super::{
    frame::frame_len,
    manifest::Manifest,
    segment::{Extent, Segment},
};
use crate::{
    Bounds, Completion, Entry, Index, LogId, Millis, Removed, StorageError,
    run::{Next, Run},
};

/// What a log knows of itself.
///
/// ```text
///     removed/start       durable        written          end
///        |  segments         |              |              |
///        |           [ tail: the newest entries, in memory ]
///                            | unsynced     | pending      |     completions that wait
/// ```
pub(super) struct State {
    pub(super) id: LogId,
    pub(super) generation: u64,
    /// The newest entries. **Invariant:** holds everything that is not written.
    pub(super) tail: Run,
    /// Appends that are not written.
    pub(super) pending: Vec<Append>,
    /// Completions of what is written but not complete: the index behind their entries, and whom to tell.
    pub(super) unsynced: VecDeque<(Index, Completion)>,
    /// Segments in order; the last one is written to. May be empty.
    pub(super) segments: Vec<Segment>,
    pub(super) removed: Removed,
    pub(super) start: Offset,
    pub(super) durable: Next,
    pub(super) written: Next,
    pub(super) end: Next,
    /// Bytes of frames that are pending.
    pub(super) pending_bytes: u64,
    /// Segments that were trimmed away; their files go once the manifest says so.
    pub(super) doomed: Vec<Segment>,
    /// Whether the manifest on disk is behind this.
    pub(super) owes_manifest: bool,
    /// Whether the flusher knows that something is pending.
    pub(super) queued: bool,
    /// Why there are no more appends.
    pub(super) closed: Option<StorageError>,
    /// Whether a clean stop was marked, or there is nothing to mark any more.
    pub(super) ended: bool,
}

/// One append on its way to the file.
pub(super) struct Append {
    pub(super) entries: Vec<Entry>,
    /// What follows its entries.
    pub(super) next: Next,
    pub(super) on_durable: Completion,
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
        entries.iter().for_each(|entry| self.tail.push(entry.clone()));
        self.pending.push(Append { entries, next, on_durable });
        self.end = next;
        Ok(())
    }

    /// What is to be written, and the durable offset to write into its frames.
    pub(super) fn take_pending(&mut self) -> (Vec<Append>, Offset) {
        self.queued = false;
        self.pending_bytes = 0;
        (std::mem::take(&mut self.pending), self.durable.offset)
    }

    /// A run of appends was written to the end of the last segment.
    pub(super) fn wrote(&mut self, appends: Vec<Append>) {
        for Append { entries, next, on_durable } in appends {
            if let Some(segment) = self.segments.last_mut() {
                entries.iter().for_each(|entry| segment.index.push(entry));
            }
            self.written = next;
            self.unsynced.push_back((next.index, on_durable));
        }
    }

    /// Everything before `upto` is on disk.
    pub(super) fn synced(&mut self, upto: Next) {
        // A truncation may have taken some of it back.
        let upto = if upto.index <= self.written.index { upto } else { self.written };
        if upto.index >= self.durable.index {
            self.durable = upto;
        }
    }

    /// The completions of everything before `index`.
    pub(super) fn complete(&mut self, index: Index) -> Due {
        let due = self.unsynced.partition_point(|(next, _)| *next <= index);
        Due(self.unsynced.drain(..due).map(|(_, completion)| completion).collect())
    }

    /// Takes back what is not written, and returns its completions.
    pub(super) fn unappend(&mut self, taken: Vec<Append>) -> Due {
        self.tail.truncate(self.written.index);
        self.end = self.written;
        self.pending_bytes = 0;
        Due(taken.into_iter().chain(self.pending.drain(..)).map(|append| append.on_durable).collect())
    }

    /// Takes back what nobody has begun to write, and returns its completions.
    pub(super) fn refuse_pending(&mut self) -> Due {
        let pending = std::mem::take(&mut self.pending);
        self.pending_bytes = 0;
        if let Some(first) = pending.iter().flat_map(|append| &append.entries).next() {
            self.tail.truncate(first.index);
            self.end = self.tail.last().map_or(self.written, Next::after);
        }
        Due(pending.into_iter().map(|append| append.on_durable).collect())
    }

    /// After a failed sync: takes back what is written but not durable, too.
    pub(super) fn unwrite(&mut self) -> Due {
        self.written = self.durable;
        let Due(mut due) = self.unappend(Vec::new());
        due.extend(self.unsynced.drain(..).map(|(_, completion)| completion));
        Due(due)
    }

    /// Takes the entries from `from` on out of memory, and returns the completions of the appends that they
    /// belong to. What is in the file is not touched.
    pub(super) fn forget(&mut self, from: Index) -> Due {
        let mut due = Vec::new();
        for Append { mut entries, next, on_durable } in std::mem::take(&mut self.pending) {
            if next.index <= from {
                self.pending.push(Append { entries, next, on_durable });
                continue;
            }
            due.push(on_durable);
            entries.retain(|entry| entry.index < from);
            if let Some(next) = entries.last().map(Next::after) {
                self.pending.push(Append { entries, next, on_durable: Box::new(|_| ()) });
            }
        }
        let kept = self.unsynced.partition_point(|(next, _)| *next <= from);
        due.extend(self.unsynced.drain(kept..).map(|(_, completion)| completion));
        self.tail.truncate(from);
        self.pending_bytes = self.pending.iter().map(|append| frames_len(&append.entries)).sum();
        self.end = self.pending.last().map_or(self.written, |append| append.next);
        Due(due)
    }

    /// Lets go of entries in memory that are written, before `index`.
    pub(super) fn shrink_tail(&mut self, index: Index) {
        let index = index.min(self.written.index);
        while self.tail.first().is_some_and(|first| first.index < index) {
            self.tail.pop_front();
        }
    }

    pub(super) fn bounds(&self) -> Bounds {
        Bounds {
            removed: self.removed,
            start: self.start,
            end: self.end.offset,
            durable: self.durable.offset,
            next_index: self.end.index,
            last_epoch: self.end.epoch_min,
            last_append_time: Some(self.end.append_time_min).filter(|time| *time != Millis::MIN),
            size_bytes: self.pending_bytes
                + self.segments.iter().map(|segment| segment.end().position).sum::<u64>(),
        }
    }

    /// Moves the start up to `to`, behind the entries that this removes. Readers see it at once; files go
    /// later.
    pub(super) fn retire(&mut self, to: Offset, removed: Removed) {
        self.start = to;
        self.removed = removed;
        self.owes_manifest = true;
        self.shrink_tail(removed.next_index);
        let is_over = |segment: &&Segment| segment.end().index <= removed.next_index;
        let sealed = self.segments.len().saturating_sub(1);
        let mut count = self.segments[..sealed].iter().take_while(is_over).count();
        // The last one, too, if all that was ever appended is trimmed: the next append begins another.
        let all_gone = removed.next_index == self.end.index
            && self.written.index == self.end.index
            && self.durable.index == self.written.index
            && self.unsynced.is_empty();
        let has_frames = self.segments.last().is_some_and(|last| !last.index.is_empty());
        if all_gone && has_frames {
            count = self.segments.len();
        }
        self.doomed.extend(self.segments.drain(..count));
    }

    /// Whether entries may be taken away.
    pub(super) fn check_open(&self) -> Result<(), StorageError> {
        match &self.closed {
            Some(why @ (StorageError::NotFound { .. } | StorageError::Closed)) => Err(why.clone()),
            _ => Ok(()),
        }
    }

    pub(super) fn check_there(&self) -> Result<(), StorageError> {
        match &self.closed {
            Some(removed @ StorageError::NotFound { .. }) => Err(removed.clone()),
            _ => Ok(()),
        }
    }

    pub(super) fn check_readable(&self, from: Offset) -> Result<(), StorageError> {
        self.check_there()?;
        if from < self.start || from > self.end.offset {
            return Err(StorageError::OutOfRange { wanted: from, start: self.start, end: self.end.offset });
        }
        Ok(())
    }

    pub(super) fn check_index(&self, wanted: Index) -> Result<(), StorageError> {
        self.check_there()?;
        let (first, next) = (self.removed.next_index, self.end.index);
        if wanted < first || wanted > next {
            return Err(StorageError::IndexOutOfRange { wanted, first, next });
        }
        Ok(())
    }

    /// Where to read the entry that holds `offset`, which is written.
    pub(super) fn extent_of_offset(&self, offset: Offset) -> Option<Extent> {
        let segment =
            self.segments.get(self.segments.partition_point(|segment| segment.end().offset <= offset))?;
        Some(segment.extent(segment.index.before_offset(offset)))
    }

    /// Where to read the entry with `index`.
    pub(super) fn extent_of_index(&self, index: Index) -> Option<Extent> {
        let segment =
            self.segments.get(self.segments.partition_point(|segment| segment.end().index <= index))?;
        Some(segment.extent(segment.index.before_index(index)))
    }

    /// Whether every entry that is kept is in the tail.
    pub(super) fn tail_is_all(&self) -> bool {
        self.tail.first().map_or(self.end.index, |first| first.index) <= self.removed.next_index
    }

    pub(super) fn manifest(&self) -> Manifest {
        Manifest {
            id: self.id.clone(),
            generation: self.generation,
            removed: self.removed,
            start: self.start,
            last_append_time: Some(self.written.append_time_min).filter(|time| *time != Millis::MIN),
            durable: self.durable.offset,
        }
    }
}

fn frames_len(entries: &[Entry]) -> u64 {
    entries.iter().map(frame_len).sum()
}
