//! [`MemoryLog`], a log in memory.

use std::{
    ops::Range,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use minikafka_record::{Offset, RecordBatch};

use super::Budget;
use crate::{
    Bounds, Completion, Entry, Epoch, Index, Log, Millis, Place, Removed, Seek, StorageError,
    run::{self, Next, Run},
};

/// A log in memory.
#[derive(Debug)]
pub(super) struct MemoryLog {
    budget: Arc<Budget>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    run: Run,
    removed: Removed,
    start: Offset,
    end: Offset,
    next_index: Index,
    last_epoch: Epoch,
    last_append_time: Option<Millis>,
    /// Why there are no more appends.
    closed: Option<StorageError>,
}

impl MemoryLog {
    pub(super) fn new(budget: Arc<Budget>) -> MemoryLog {
        let state = State {
            run: Run::default(),
            removed: Removed::default(),
            start: Offset::ZERO,
            end: Offset::ZERO,
            next_index: 0,
            last_epoch: 0,
            last_append_time: None,
            closed: None,
        };
        MemoryLog { budget, state: Mutex::new(state) }
    }

    /// Takes no more appends. A removed log gives its memory back, too.
    pub(super) fn close(&self, why: StorageError) {
        let mut state = self.state();
        if matches!(why, StorageError::NotFound { .. }) {
            self.budget.give_back(state.run.bytes());
            state.run.clear();
        }
        state.closed = Some(why);
    }

    /// Every change below leaves the state whole before anything can panic.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn check_there(&self) -> Result<(), StorageError> {
        match &self.closed {
            Some(removed @ StorageError::NotFound { .. }) => Err(removed.clone()),
            _ => Ok(()),
        }
    }

    fn check_readable(&self, from: Offset) -> Result<(), StorageError> {
        self.check_there()?;
        if from < self.start || from > self.end {
            return Err(StorageError::OutOfRange { wanted: from, start: self.start, end: self.end });
        }
        Ok(())
    }

    fn append(&mut self, entries: Vec<Entry>, budget: &Budget) -> Result<(), StorageError> {
        if let Some(why) = &self.closed {
            return Err(why.clone());
        }
        let next = self.next().check(&entries)?;
        budget.take(entries.iter().map(run::memory_bytes).sum())?;
        entries.into_iter().for_each(|entry| self.run.push(entry));
        self.set_next(next);
        Ok(())
    }

    /// Whether entries may be taken away.
    fn check_open(&self) -> Result<(), StorageError> {
        self.closed.clone().map_or(Ok(()), Err)
    }

    fn next(&self) -> Next {
        Next {
            index: self.next_index,
            offset: self.end,
            epoch_min: self.last_epoch,
            append_time_min: self.last_append_time.unwrap_or(Millis::MIN),
        }
    }

    fn set_next(&mut self, next: Next) {
        self.next_index = next.index;
        self.end = next.offset;
        self.last_epoch = next.epoch_min;
        self.last_append_time = Some(next.append_time_min).filter(|time| *time != Millis::MIN);
    }
}

impl Log for MemoryLog {
    fn append(&self, entries: Vec<Entry>, on_durable: Completion) {
        // Called without the lock: a completion may read the log.
        let outcome = self.state().append(entries, &self.budget);
        on_durable(outcome);
    }

    fn read_tail(
        &self,
        from: Offset,
        upper: Offset,
        bytes_max: usize,
    ) -> Result<Option<Vec<RecordBatch>>, StorageError> {
        self.read(from, upper, bytes_max).map(Some)
    }

    fn read(&self, from: Offset, upper: Offset, bytes_max: usize) -> Result<Vec<RecordBatch>, StorageError> {
        let state = self.state();
        state.check_readable(from)?;
        Ok(state.run.read(from, upper, bytes_max))
    }

    fn entries(&self, range: Range<Index>, bytes_max: usize) -> Result<Vec<Entry>, StorageError> {
        let state = self.state();
        state.check_there()?;
        let (first, next) = (state.removed.next_index, state.next_index);
        if range.start < first || range.start > next {
            return Err(StorageError::IndexOutOfRange { wanted: range.start, first, next });
        }
        Ok(state.run.entries(range, bytes_max))
    }

    fn bounds(&self) -> Bounds {
        let state = self.state();
        Bounds {
            removed: state.removed,
            start: state.start,
            end: state.end,
            durable: state.end,
            next_index: state.next_index,
            last_epoch: state.last_epoch,
            last_append_time: state.last_append_time,
            size_bytes: state.run.bytes(),
            damaged: 0,
        }
    }

    fn seek(&self, seek: Seek) -> Result<Option<Place>, StorageError> {
        let state = self.state();
        Ok(match seek {
            Seek::RecordTimestamp(timestamp) => state.run.record_at(timestamp, state.start),
            Seek::AppendedAfter(time) => state.run.appended_after(time, state.start),
            Seek::Offset(offset) => state.run.holding(offset.max(state.start)),
            Seek::Newest(bytes) => state.run.newest(bytes, state.start),
        })
    }

    fn truncate(&self, from: Index) -> Result<(), StorageError> {
        let mut state = self.state();
        state.check_open()?;
        let (first, next) = (state.removed.next_index, state.next_index);
        if from < first {
            return Err(StorageError::IndexOutOfRange { wanted: from, first, next });
        }
        let Some(end) = state.run.get(from).map(|entry| entry.base_offset) else {
            return Ok(()); // nothing there to remove
        };
        let before = state.run.bytes();
        state.run.truncate(from);
        self.budget.give_back(before - state.run.bytes());
        state.next_index = from;
        state.end = end;
        state.start = state.start.min(end);
        state.last_epoch = state.run.last().map_or(state.removed.epoch, |last| last.epoch);
        if let Some(last) = state.run.last() {
            state.last_append_time = Some(last.append_time);
        }
        Ok(())
    }

    fn trim(&self, to: Offset) -> Result<(), StorageError> {
        let mut state = self.state();
        state.check_open()?;
        if to > state.end {
            return Err(StorageError::OutOfRange { wanted: to, start: state.start, end: state.end });
        }
        state.start = state.start.max(to);
        while let Some(entry) = state.run.pop_before(to) {
            self.budget.give_back(run::memory_bytes(&entry));
            state.removed = Removed { next_index: entry.index + 1, epoch: entry.epoch };
        }
        Ok(())
    }

    fn reset(&self, removed: Removed, start: Offset) -> Result<(), StorageError> {
        let mut state = self.state();
        state.check_open()?;
        self.budget.give_back(state.run.bytes());
        state.run.clear();
        state.removed = removed;
        state.start = start;
        state.end = start;
        state.next_index = removed.next_index;
        state.last_epoch = removed.epoch;
        state.last_append_time = None;
        Ok(())
    }
}
