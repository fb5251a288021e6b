//! [`Run`], consecutive entries in memory: all that a memory log has, and the tail of a log on disk.

use std::{collections::VecDeque, ops::Range};

use minikafka_record::{Offset, RecordBatch};

use crate::{Entry, EntryKind, Epoch, Index, Millis, Place, StorageError};

/// What an entry takes up beside its payload.
const ENTRY_OVERHEAD_BYTES: u64 = 128;

/// Consecutive entries, found by offset or index.
#[derive(Debug, Default)]
pub(crate) struct Run {
    entries: VecDeque<Entry>,
    bytes: u64,
}

/// What the next entry of a log must carry.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Next {
    pub(crate) index: Index,
    pub(crate) offset: Offset,
    pub(crate) epoch_min: Epoch,
    pub(crate) append_time_min: Millis,
}

impl Next {
    /// What must follow `entry`.
    pub(crate) fn after(entry: &Entry) -> Next {
        Next {
            index: entry.index + 1,
            offset: entry.end_offset(),
            epoch_min: entry.epoch,
            append_time_min: entry.append_time,
        }
    }

    /// Checks that `entries` continue the log, and gives what must follow them.
    pub(crate) fn check(mut self, entries: &[Entry]) -> Result<Next, StorageError> {
        for entry in entries {
            let continues = entry.index == self.index
                && entry.base_offset == self.offset
                && entry.epoch >= self.epoch_min
                && entry.append_time >= self.append_time_min;
            if !continues {
                return Err(StorageError::Discontinuous {
                    index: entry.index,
                    offset: entry.base_offset,
                    next_index: self.index,
                    end: self.offset,
                });
            }
            debug_assert!(
                entry.kind == EntryKind::Data || entry.record_count == 0,
                "internal entries take no offset"
            );
            self = Next::after(entry);
        }
        Ok(self)
    }
}

/// The batches of entries from the one that holds `from`, with a base offset below `upper`.
pub(crate) fn read_entries<'a>(
    entries: impl IntoIterator<Item = &'a Entry>,
    from: Offset,
    upper: Offset,
    bytes_max: usize,
) -> Vec<RecordBatch> {
    let mut reader = BatchCollector::new(from, upper, bytes_max);
    for entry in entries {
        if !reader.take(entry) {
            break;
        }
    }
    reader.batches
}

/// Bytes that `entry` takes up in memory.
pub(crate) fn memory_bytes(entry: &Entry) -> u64 {
    entry.payload.len() as u64 + ENTRY_OVERHEAD_BYTES
}

/// Whether trimming to `to` removes all of `entry`.
pub(crate) fn ends_before(entry: &Entry, to: Offset) -> bool {
    match entry.kind {
        EntryKind::Data => entry.end_offset() <= to,
        EntryKind::Internal => entry.base_offset < to,
    }
}

impl Run {
    pub(crate) fn first(&self) -> Option<&Entry> {
        self.entries.front()
    }

    pub(crate) fn last(&self) -> Option<&Entry> {
        self.entries.back()
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(crate) fn push(&mut self, entry: Entry) {
        self.bytes += memory_bytes(&entry);
        self.entries.push_back(entry);
    }

    pub(crate) fn pop_front(&mut self) -> Option<Entry> {
        let entry = self.entries.pop_front()?;
        self.bytes -= memory_bytes(&entry);
        Some(entry)
    }

    /// Removes the first entry if all of it lies before `to`. An internal entry between two records goes with
    /// the earlier one.
    pub(crate) fn pop_before(&mut self, to: Offset) -> Option<Entry> {
        self.first().filter(|first| ends_before(first, to))?;
        self.pop_front()
    }

    /// Removes the entries from `from` on.
    pub(crate) fn truncate(&mut self, from: Index) {
        while self.entries.back().is_some_and(|last| last.index >= from) {
            if let Some(entry) = self.entries.pop_back() {
                self.bytes -= memory_bytes(&entry);
            }
        }
    }

    pub(crate) fn clear(&mut self) {
        self.entries.clear();
        self.bytes = 0;
    }

    /// Whether the record at `offset` is here.
    pub(crate) fn holds(&self, offset: Offset) -> bool {
        match (self.first(), self.last()) {
            (Some(first), Some(last)) => first.base_offset <= offset && offset < last.end_offset(),
            _ => false,
        }
    }

    /// The batches from the one that holds `from`, with a base offset below `upper`.
    pub(crate) fn read(&self, from: Offset, upper: Offset, bytes_max: usize) -> Vec<RecordBatch> {
        let first = self.entries.partition_point(|entry| entry.end_offset() <= from);
        read_entries(self.entries.range(first..), from, upper, bytes_max)
    }

    /// The entries that a reader at `from` wants, or a little more: shared, to be looked into later.
    pub(crate) fn portion(&self, from: Offset, upper: Offset, bytes_max: usize) -> Vec<Entry> {
        let first = self.entries.partition_point(|entry| entry.end_offset() <= from);
        let mut bytes = 0;
        let is_wanted = |(at, entry): &(usize, &Entry)| {
            let is_wanted = bytes < bytes_max.max(1) && entry.base_offset < upper;
            // The first one may have much before `from`, and an internal one has no batches.
            if *at > 0 && entry.kind == EntryKind::Data {
                bytes += entry.payload.len();
            }
            is_wanted
        };
        self.entries
            .range(first..)
            .enumerate()
            .take_while(is_wanted)
            .map(|(_, entry)| entry.clone())
            .collect()
    }

    /// The entries in a range of indexes.
    pub(crate) fn range(&self, range: Range<Index>) -> impl Iterator<Item = &Entry> {
        let (start, end) = (self.count_before(range.start), self.count_before(range.end));
        self.entries.range(start..end.max(start))
    }

    /// How many entries come before an index. These have no gaps, so there is nothing to search for.
    fn count_before(&self, index: Index) -> usize {
        let first = self.first().map_or(index, |first| first.index);
        let count = index.saturating_sub(first).min(self.entries.len() as u64);
        count as usize
    }

    /// The entries in a range of indexes, as far as they have `bytes_max`; at least one.
    pub(crate) fn entries(&self, range: Range<Index>, bytes_max: usize) -> Vec<Entry> {
        let start = range.start;
        let mut bytes = 0;
        self.range(range)
            .take_while(|entry| {
                let wanted = entry.index == start || bytes < bytes_max;
                bytes += entry.payload.len();
                wanted
            })
            .cloned()
            .collect()
    }

    /// The entry with this index.
    pub(crate) fn get(&self, index: Index) -> Option<&Entry> {
        let first = self.first()?.index;
        self.entries.get(usize::try_from(index.checked_sub(first)?).ok()?)
    }

    /// The last entry that trimming to `to` removes.
    pub(crate) fn last_before(&self, to: Offset) -> Option<&Entry> {
        let count = self.entries.partition_point(|entry| ends_before(entry, to));
        self.entries.get(count.checked_sub(1)?)
    }

    /// The first entry with records that was appended later than `time`, and ends behind `start`.
    pub(crate) fn appended_after(&self, time: Millis, start: Offset) -> Option<Place> {
        let first = self.entries.partition_point(|entry| entry.append_time <= time);
        self.entries.range(first..).find_map(|entry| appended_in_entry(entry, time, start))
    }

    /// The entry that holds this offset, or the first one behind it.
    pub(crate) fn holding(&self, offset: Offset) -> Option<Place> {
        let first = self.entries.partition_point(|entry| entry.end_offset() <= offset);
        self.entries.range(first..).find_map(|entry| holding_entry(entry, offset))
    }

    /// The first record of the newest entries that together take up at most so many bytes; the last one is
    /// always among them. `None` when all do.
    pub(crate) fn newest(&self, bytes: u64, start: Offset) -> Option<Place> {
        let mut sum = 0;
        let mut newest = self.entries.iter().rev().enumerate().take_while(|(age, entry)| {
            sum += memory_bytes(entry);
            sum <= bytes || *age == 0
        });
        let (_, first) = newest.by_ref().last()?;
        let is_all = self.first().is_none_or(|oldest| oldest.index == first.index);
        (!is_all).then(|| Place { offset: first.base_offset.max(start), time: first.append_time })
    }

    /// The first record at `start` or later with this timestamp or a later one.
    pub(crate) fn record_at(&self, timestamp: Millis, start: Offset) -> Option<Place> {
        self.entries
            .iter()
            .filter(|entry| entry.end_offset() > start)
            .find_map(|entry| record_in_entry(entry, timestamp, start))
    }
}

/// The first record of `entry` at `start` or later, if the entry was appended later than `time`.
pub(crate) fn appended_in_entry(entry: &Entry, time: Millis, start: Offset) -> Option<Place> {
    let wanted = entry.append_time > time && entry.end_offset() > start && entry.record_count > 0;
    wanted.then(|| Place { offset: entry.base_offset.max(start), time: entry.append_time })
}

/// The record of `entry` at `offset`, or its first, if it has one there or later.
pub(crate) fn holding_entry(entry: &Entry, offset: Offset) -> Option<Place> {
    let wanted = entry.end_offset() > offset && entry.record_count > 0;
    wanted.then(|| Place { offset: entry.base_offset.max(offset), time: entry.append_time })
}

/// The first record of `entry` at `start` or later with this timestamp or a later one.
pub(crate) fn record_in_entry(entry: &Entry, timestamp: Millis, start: Offset) -> Option<Place> {
    entry
        .batches()
        .filter(|batch| batch.header().max_timestamp >= timestamp && batch.end_offset() > start)
        .flat_map(|batch| batch.records().map_while(Result::ok))
        .find(|record| record.offset >= start && record.timestamp >= timestamp)
        .map(|record| Place { offset: record.offset, time: record.timestamp })
}

/// Collects whole batches until there are enough.
pub(crate) struct BatchCollector {
    from: Offset,
    upper: Offset,
    bytes_left: usize,
    pub(crate) batches: Vec<RecordBatch>,
}

impl BatchCollector {
    pub(crate) fn new(from: Offset, upper: Offset, bytes_max: usize) -> BatchCollector {
        BatchCollector { from, upper, bytes_left: bytes_max, batches: Vec::new() }
    }

    /// Room for more.
    pub(crate) fn bytes_left(&self) -> usize {
        self.bytes_left
    }

    /// Whether the last batch taken is the last one of this entry.
    pub(crate) fn has_all_of(&self, entry: &Entry) -> bool {
        self.batches.last().is_some_and(|last| last.end_offset() >= entry.end_offset())
    }

    /// Takes the batches of the next entry; says whether there is room for more.
    pub(crate) fn take(&mut self, entry: &Entry) -> bool {
        if entry.base_offset >= self.upper {
            return false;
        }
        for batch in entry.batches() {
            if batch.end_offset() <= self.from {
                continue;
            }
            let len = batch.bytes().len();
            if batch.base_offset() >= self.upper || (len > self.bytes_left && !self.batches.is_empty()) {
                return false;
            }
            self.bytes_left = self.bytes_left.saturating_sub(len);
            self.batches.push(batch);
        }
        self.bytes_left > 0
    }
}
