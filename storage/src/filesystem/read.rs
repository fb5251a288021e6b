//! Reading from segments, and finding places by time.
//!
//! A reader that follows the log from its start comes back for the entry behind the last one it got. Where
//! that lies in its file is remembered for the last few reads of each log, so nothing is read twice; others
//! look it up in the index.
//!
//! Damage is read over: what cannot be read is lost, and the next whole frame goes on. Whoever asks for a
//! record that is lost is told which ones are, and where to go on.

use std::{
    collections::VecDeque,
    ops::Range,
    sync::{Mutex, PoisonError},
};

use minikafka_record::{Offset, RecordBatch};

use super::{
    handles::SegmentKey,
    index::{IndexPoint, Lookup},
    log::FileLog,
    scan::{Frame, FrameScan, ScanError},
    segment::Extent,
    state::State,
};
use crate::{
    Entry, Index, Place, Seek, StorageError,
    run::{self, BatchCollector},
};

/// Read at a time when a look-up hunts for one frame.
const SEEK_CHUNK_LEN: usize = 64 * 1024;
/// Most that is read at a time: large enough for a disk to stream, small enough to be had many times at once.
const READ_CHUNK_LEN_MAX: usize = 4 * 1024 * 1024;
/// Readers of a log whose places are remembered.
const CURSORS_MAX: usize = 8;

/// Where readers are, by the offset that they will ask for next.
#[derive(Debug, Default)]
pub(super) struct Cursors(Mutex<VecDeque<(SegmentKey, IndexPoint)>>);

impl Cursors {
    /// The place where the frame begins that begins with this offset, if somebody has just read up to it.
    fn take(&self, key: SegmentKey, offset: Offset) -> Option<IndexPoint> {
        let mut cursors = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let at = cursors.iter().position(|(of, point)| *of == key && point.offset == offset)?;
        cursors.remove(at).map(|(_, point)| point)
    }

    fn put(&self, key: SegmentKey, point: IndexPoint) {
        let mut cursors = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if cursors.len() >= CURSORS_MAX {
            cursors.pop_front();
        }
        cursors.push_back((key, point));
    }

    /// Frames are no longer where they were.
    pub(super) fn clear(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

/// What a visitor of frames sees.
pub(super) enum Seen {
    Entry(Entry),
    /// Records that are lost, and why.
    Lost(Range<Offset>, StorageError),
}

/// Whether a scan goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Next,
    Stop,
    /// Stop, and the last entry was not used up.
    StopBefore,
}

/// How a scan ended.
pub(super) enum Scanned {
    /// The segment was removed before it began.
    Gone,
    /// Here: with the place of the next frame, if nothing was lost on the way.
    At(Option<IndexPoint>),
}

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
                state.extent_of_offset(from)?
            };
            let (key, extent) = (extent.key, self.resume(extent, from));
            let mut collector = BatchCollector::new(from, upper, bytes_max);
            let mut lost = None;
            let chunk_len = bytes_max.saturating_add(SEEK_CHUNK_LEN).min(READ_CHUNK_LEN_MAX);
            let scanned = self.scan(&extent, chunk_len, |seen| match seen {
                Seen::Entry(entry) if entry.end_offset() <= from => Step::Next,
                Seen::Entry(entry) => match collector.take(&entry) {
                    // The next one is likely as large: read now and refused, it would be read again.
                    true if collector.bytes_left() < entry.payload.len() => Step::Stop,
                    true => Step::Next,
                    // Readers of what is left of it, and of what lies above, come back for this entry.
                    false if collector.has_all_of(&entry) => Step::Stop,
                    false => Step::StopBefore,
                },
                Seen::Lost(range, why) if range.end > from => {
                    lost = Some(why.losing(range));
                    Step::Stop
                }
                Seen::Lost(..) => Step::Next,
            })?;
            match (scanned, lost) {
                // A segment that is gone was trimmed meanwhile: the next look says so.
                (Scanned::Gone, _) => {}
                (_, Some(lost)) if collector.batches.is_empty() => return Err(lost),
                (Scanned::At(point), _) => {
                    if let Some(point) = point {
                        self.cursors.put(key, point);
                        extent.will_read(&self.shared, point.position, chunk_len);
                    }
                    return Ok(collector.batches);
                }
            }
        }
    }

    /// The extent from where the last reader ended that was on its way to `from`, if there is one.
    fn resume(&self, extent: Extent, from: Offset) -> Extent {
        match self.cursors.take(extent.key, from) {
            Some(point) => extent.at(point),
            None => extent,
        }
    }

    pub(super) fn read_entries(
        &self,
        range: Range<Index>,
        bytes_max: usize,
    ) -> Result<Vec<Entry>, StorageError> {
        loop {
            let (extent, range) = {
                let state = self.state();
                state.check_index(range.start)?;
                let range = range.start..range.end.min(state.end.index);
                let in_memory = state.tail.first().is_none_or(|first| first.index <= range.start);
                if in_memory && (range.start == state.end.index || state.tail.get(range.start).is_some()) {
                    return Ok(state.tail.entries(range, bytes_max));
                }
                (state.extent_of_index(range.start)?, range)
            };
            let (mut entries, mut bytes) = (Vec::<Entry>::new(), 0);
            let mut lost = None;
            let chunk_len = bytes_max.saturating_add(SEEK_CHUNK_LEN).min(READ_CHUNK_LEN_MAX);
            let scanned = self.scan(&extent, chunk_len, |seen| match seen {
                Seen::Entry(entry) if entry.index < range.start => Step::Next,
                Seen::Entry(entry) => {
                    if entry.index >= range.end || (bytes >= bytes_max && !entries.is_empty()) {
                        return Step::Stop;
                    }
                    bytes += entry.payload.len();
                    entries.push(entry);
                    Step::Next
                }
                Seen::Lost(range, why) => {
                    lost = Some(why.losing(range));
                    Step::Next
                }
            })?;
            if let Scanned::Gone = scanned {
                continue;
            }
            // Indexes go on without a gap, or some were lost.
            let whole =
                entries.iter().zip(range.start..).take_while(|(entry, at)| entry.index == *at).count();
            entries.truncate(whole);
            return match lost {
                Some(lost) if entries.is_empty() => Err(lost),
                _ => Ok(entries),
            };
        }
    }

    pub(super) fn find(&self, seek: Seek) -> Result<Option<Place>, StorageError> {
        let (extents, start, in_tail) = {
            let state = self.state();
            state.check_there()?;
            let lookup = match seek {
                Seek::RecordTimestamp(timestamp) => Lookup::RecordTimestamp(timestamp),
                Seek::AppendedAfter(time) => Lookup::AppendedAfter(time, state.start),
                Seek::Offset(offset) => {
                    let offset = offset.max(state.start);
                    // What is in memory is not looked for on the disk.
                    if let Some(place) = state.tail.holding(offset).filter(|place| place.offset == offset) {
                        return Ok(Some(place));
                    }
                    Lookup::Offset(offset)
                }
                Seek::Newest(bytes) => return Ok(newest(&state, bytes)),
            };
            let extents = if state.tail_is_all() { Vec::new() } else { state.extents(lookup) };
            let in_tail = match seek {
                Seek::RecordTimestamp(timestamp) => state.tail.record_at(timestamp, state.start),
                Seek::AppendedAfter(time) => state.tail.appended_after(time, state.start),
                Seek::Offset(offset) => state.tail.holding(offset.max(state.start)),
                Seek::Newest(_) => None,
            };
            (extents, state.start, in_tail)
        };
        let mut found = None;
        for extent in extents {
            // What was trimmed meanwhile, or is lost, holds nothing that could be found.
            self.scan(&extent, SEEK_CHUNK_LEN, |seen| {
                let Seen::Entry(entry) = seen else { return Step::Next };
                found = match seek {
                    Seek::RecordTimestamp(timestamp) => run::record_in_entry(&entry, timestamp, start),
                    Seek::AppendedAfter(time) => run::appended_in_entry(&entry, time, start),
                    Seek::Offset(offset) => run::holding_entry(&entry, offset.max(start)),
                    Seek::Newest(_) => None,
                };
                if found.is_some() { Step::Stop } else { Step::Next }
            })?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(in_tail)
    }

    /// Shows the frames of an extent to `visit`, verified, and what is lost between them, until it has seen
    /// enough.
    pub(super) fn scan(
        &self,
        extent: &Extent,
        chunk_len: usize,
        visit: impl FnMut(Seen) -> Step,
    ) -> Result<Scanned, StorageError> {
        let Some((point, scan)) = extent.scan(&self.shared, chunk_len)? else {
            let state = self.state();
            // A log that is removed takes its files with it.
            state.check_there()?;
            let is_listed = state.segments.iter().any(|segment| segment.key == extent.key);
            return if is_listed { Err(extent.missing()) } else { Ok(Scanned::Gone) };
        };
        let mut walk = Walk { log: self, extent, scan, next: point, is_whole: true };
        walk.run(visit)?;
        Ok(Scanned::At(Some(walk.next).filter(|_| walk.is_whole)))
    }

    /// A range of records turned out to be lost.
    fn note_lost(&self, key: SegmentKey, lost: &Range<Offset>, why: &StorageError) {
        let is_news = {
            let mut state = self.state();
            if let Some(segment) = state.segments.iter_mut().find(|segment| segment.key == key) {
                segment.damaged = true;
            }
            state.note_damage(lost.clone())
        };
        if is_news {
            let (first, last) = (lost.start.number(), lost.end.get());
            tracing::error!(log = ?self.dir, first, last, reason = %why, "messages are lost to damage of the disk");
        }
    }
}

/// A scan that reads over damage.
struct Walk<'a> {
    log: &'a FileLog,
    extent: &'a Extent,
    scan: FrameScan,
    /// What the next frame should begin with.
    next: IndexPoint,
    is_whole: bool,
}

impl Walk<'_> {
    fn run(&mut self, mut visit: impl FnMut(Seen) -> Step) -> Result<(), StorageError> {
        let mut why = None;
        loop {
            let frame = match self.scan.next() {
                Ok(Some(frame)) => frame,
                Ok(None) => {
                    self.lose(self.extent.end.offset, why, &mut visit);
                    return Ok(());
                }
                Err(error @ ScanError::Bad { .. }) => {
                    self.is_whole = false;
                    why = Some(self.extent.error(error));
                    let goes_on = self.scan.skip_damage();
                    if !goes_on.map_err(|error| self.extent.error(error.into()))? {
                        self.lose(self.extent.end.offset, why, &mut visit);
                        return Ok(());
                    }
                    continue;
                }
                Err(error) => return Err(self.extent.error(error)),
            };
            if self.lose(frame.entry.base_offset, why.take(), &mut visit) == Step::Stop {
                return Ok(());
            }
            let before = self.next;
            self.next = after(&before, &frame);
            match visit(Seen::Entry(frame.entry)) {
                Step::Next => {}
                Step::Stop => return Ok(()),
                Step::StopBefore => {
                    self.next = before;
                    return Ok(());
                }
            }
        }
    }

    /// Records go on at `to`: those before it that were not seen are lost.
    fn lose(&mut self, to: Offset, why: Option<StorageError>, visit: &mut impl FnMut(Seen) -> Step) -> Step {
        if to <= self.next.offset {
            return Step::Next;
        }
        self.is_whole = false;
        let lost = self.next.offset..to;
        let what = "records are missing before this place";
        let why =
            why.unwrap_or_else(|| self.extent.error(ScanError::Bad { position: self.scan.position(), what }));
        self.log.note_lost(self.extent.key, &lost, &why);
        visit(Seen::Lost(lost, why))
    }
}

/// What the frame behind this one begins with. Times are not looked at by whoever resumes there.
fn after(point: &IndexPoint, frame: &Frame) -> IndexPoint {
    let entry = &frame.entry;
    IndexPoint {
        position: frame.position + super::frame::frame_len(entry),
        index: entry.index + 1,
        offset: entry.end_offset(),
        epoch_before: entry.epoch,
        append_time: entry.append_time,
        ..*point
    }
}

/// The first record of the newest whole segments that together take up at most so many bytes.
fn newest(state: &State, bytes: u64) -> Option<Place> {
    let mut sum = state.pending_bytes + state.behind_bytes;
    let mut place = None;
    for (age, segment) in state.segments.iter().rev().enumerate() {
        sum += segment.end().position;
        // The last one goes on being written to, however large.
        if sum > bytes && age > 0 {
            return place;
        }
        let offset = segment.base().offset.max(state.start);
        place = Some(Place { offset, time: segment.end().append_time });
    }
    None
}
