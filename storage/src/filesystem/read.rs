//! Reading from segments, and finding places by time.

use std::ops::Range;

use minikafka_record::{Offset, RecordBatch};

use super::{log::FileLog, scan::Frame, segment::Extent, state::State};
use crate::{
    Entry, Index, Place, Seek, StorageError,
    run::{self, BatchCollector},
};

/// Read at a time when a look-up hunts for one frame.
const SEEK_CHUNK_LEN: usize = 64 * 1024;
/// Most that is read at a time: large enough for a disk to stream, small enough to be had many times at once.
const READ_CHUNK_LEN_MAX: usize = 4 * 1024 * 1024;

impl FileLog {
    pub(super) fn read_batches(
        &self,
        from: Offset,
        upper: Offset,
        bytes_max: usize,
    ) -> Result<Vec<RecordBatch>, StorageError> {
        loop {
            let extent = {
                let state = self.state();
                state.check_readable(from)?;
                if from == state.end.offset || state.tail.holds(from) {
                    return Ok(state.tail.read(from, upper, bytes_max));
                }
                state
                    .extent_of_offset(from)
                    .ok_or_else(|| lost(&state, "no segment holds an offset that is kept"))?
            };
            let mut collector = BatchCollector::new(from, upper, bytes_max);
            let chunk_len = bytes_max.saturating_add(SEEK_CHUNK_LEN).min(READ_CHUNK_LEN_MAX);
            let whole = self.scan(&extent, chunk_len, |frame| {
                let is_before = frame.entry.end_offset() <= from;
                if is_before || collector.take(&frame.entry) { Step::Next } else { Step::Stop }
            })?;
            // A segment that is gone was trimmed meanwhile: the next look says so.
            if whole {
                return Ok(collector.batches);
            }
        }
    }

    pub(super) fn read_entries(
        &self,
        range: Range<Index>,
        bytes_max: usize,
    ) -> Result<Vec<Entry>, StorageError> {
        loop {
            let extent = {
                let state = self.state();
                state.check_index(range.start)?;
                let in_memory = state.tail.first().is_none_or(|first| first.index <= range.start);
                if in_memory && (range.start == state.end.index || state.tail.get(range.start).is_some()) {
                    return Ok(state.tail.entries(range, bytes_max));
                }
                state
                    .extent_of_index(range.start)
                    .ok_or_else(|| lost(&state, "no segment holds an index that is kept"))?
            };
            let (mut entries, mut bytes) = (Vec::new(), 0);
            let chunk_len = bytes_max.saturating_add(SEEK_CHUNK_LEN).min(READ_CHUNK_LEN_MAX);
            let whole = self.scan(&extent, chunk_len, |frame| {
                if frame.entry.index >= range.end || (bytes >= bytes_max && !entries.is_empty()) {
                    return Step::Stop;
                }
                if frame.entry.index >= range.start {
                    bytes += frame.entry.payload.len();
                    entries.push(frame.entry);
                }
                Step::Next
            })?;
            if whole {
                return Ok(entries);
            }
        }
    }

    pub(super) fn find(&self, seek: Seek) -> Result<Option<Place>, StorageError> {
        let (extents, start, in_tail) = {
            let state = self.state();
            state.check_there()?;
            let extents = if state.tail_is_all() { Vec::new() } else { extents(&state, seek) };
            let in_tail = match seek {
                Seek::RecordTimestamp(timestamp) => state.tail.record_at(timestamp, state.start),
                Seek::AppendedAfter(time) => state.tail.appended_after(time, state.start),
            };
            (extents, state.start, in_tail)
        };
        let mut found = None;
        for extent in extents {
            // What was trimmed meanwhile holds nothing that is still of interest.
            self.scan(&extent, SEEK_CHUNK_LEN, |frame| {
                found = match seek {
                    Seek::RecordTimestamp(timestamp) => run::record_in_entry(&frame.entry, timestamp, start),
                    Seek::AppendedAfter(time) => run::appended_in_entry(&frame.entry, time, start),
                };
                if found.is_some() { Step::Stop } else { Step::Next }
            })?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(in_tail)
    }

    /// Shows the frames of an extent to `visit`, verified, until it has seen enough. Says whether the segment
    /// was still there.
    pub(super) fn scan(
        &self,
        extent: &Extent,
        chunk_len: usize,
        mut visit: impl FnMut(Frame) -> Step,
    ) -> Result<bool, StorageError> {
        let Some(mut scan) = extent.scan(&self.shared.handles, chunk_len)? else {
            let state = self.state();
            // A log that is removed takes its files with it.
            state.check_there()?;
            let is_listed = state.segments.iter().any(|segment| segment.key == extent.key);
            return if is_listed { Err(extent.missing()) } else { Ok(false) };
        };
        while let Some(frame) = scan.next().map_err(|error| extent.error(error))? {
            if let Step::Stop = visit(frame) {
                break;
            }
        }
        Ok(true)
    }
}

/// Whether a scan goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Next,
    Stop,
}

/// The parts of segments that may hold what is sought, in order.
fn extents(state: &State, seek: Seek) -> Vec<Extent> {
    let kept = state
        .segments
        .iter()
        .filter(|segment| segment.end().offset > state.start && !segment.index.is_empty());
    match seek {
        Seek::RecordTimestamp(timestamp) => kept
            .filter(|segment| segment.end().max_timestamp_before >= timestamp)
            .map(|segment| segment.extent(segment.index.before_timestamp(timestamp)))
            .collect(),
        Seek::AppendedAfter(time) => kept
            .filter(|segment| segment.end().append_time > time)
            .map(|segment| {
                let by_time = segment.index.before_appended(time);
                let by_start = segment.index.before_offset(state.start);
                segment.extent(if by_time.position > by_start.position { by_time } else { by_start })
            })
            .collect(),
    }
}

/// For what cannot be unless the log's own bookkeeping is wrong.
fn lost(state: &State, what: &str) -> StorageError {
    StorageError::Damaged { path: state.id.to_string().into(), position: 0, what: what.to_owned() }
}
