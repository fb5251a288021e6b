//! Reading from segments, and finding places by time.
//!
//! A reader that follows the log from its start comes back for the entry behind the last one it got. Where
//! that lies in its file is remembered for the last few reads of each log, so nothing is read twice; others
//! look it up in the index.
//!
//! Damage is read over: what cannot be read is lost, and the next whole frame goes on. Whoever asks for a
//! record that is lost is told which ones are, and where to go on. Bytes that the disk fails to read are read over,
//! too, but they are not called damaged: another time they may be there.

use std::{
    collections::VecDeque,
    ops::Range,
    sync::{Mutex, PoisonError},
};

use minikafka_record::{Offset, RecordBatch};

use super::{
    extent::Extent,
    handles::SegmentKey,
    index::{IndexPoint, Lookup},
    log::FileLog,
    scan::{Frame, FrameScan, ScanError, Skipped},
    state::State,
};
use crate::{
    Entry, Index, Millis, Place, Seek, StorageError,
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
    /// Records that are lost or cannot be read, and why.
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
    /// The segment was removed or cut before it ended: look again.
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
                if let Some(entries) = state.tail_portion(from, upper, bytes_max)? {
                    drop(state);
                    return Ok(run::read_entries(&entries, from, upper, bytes_max));
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
                // A segment that is gone was trimmed or cut meanwhile: the next look says so.
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
        'look: loop {
            let (extents, mut sought, in_tail) = {
                let state = self.state();
                state.check_there()?;
                let lookup = match seek {
                    Seek::RecordTimestamp(timestamp) => Lookup::RecordTimestamp(timestamp),
                    Seek::AppendedAfter(time) => Lookup::AppendedAfter(time, state.start),
                    Seek::Offset(offset) => {
                        let offset = offset.max(state.start);
                        // What is in memory is not looked for on the disk.
                        if let Some(place) = state.tail.holding(offset).filter(|place| place.offset == offset)
                        {
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
                (extents, Sought { seek, start: state.start, found: None, unread: None }, in_tail)
            };
            for extent in extents {
                let scanned =
                    self.scan(&extent, SEEK_CHUNK_LEN, |seen| sought.look(seen, extent.end.append_time))?;
                if let Scanned::Gone = scanned {
                    continue 'look;
                }
                if sought.found.is_some() {
                    break;
                }
            }
            return Ok(sought.outcome(in_tail));
        }
    }

    /// Shows the frames of an extent to `visit`, verified, and what is lost between them, until it has seen
    /// enough. What was shown counts only if the segment is still the same afterwards: under a reader it may have
    /// been cut, and then anything may have been there, damage that is none and entries that are no more.
    pub(super) fn scan(
        &self,
        extent: &Extent,
        chunk_len: usize,
        visit: impl FnMut(Seen) -> Step,
    ) -> Result<Scanned, StorageError> {
        let outcome = self.scan_file(extent, chunk_len, visit);
        let state = self.state();
        // A log that is removed takes its files with it.
        state.check_there()?;
        if state.is_listed(extent) { outcome } else { Ok(Scanned::Gone) }
    }

    fn scan_file(
        &self,
        extent: &Extent,
        chunk_len: usize,
        visit: impl FnMut(Seen) -> Step,
    ) -> Result<Scanned, StorageError> {
        let Some((point, scan)) = extent.scan(&self.shared, chunk_len)? else {
            return Err(extent.missing());
        };
        let mut walk = Walk { log: self, extent, scan, next: point, is_whole: true };
        walk.run(visit)?;
        Ok(Scanned::At(Some(walk.next).filter(|_| walk.is_whole)))
    }

    /// A range of records turned out to be lost.
    fn note_lost(&self, key: SegmentKey, lost: &Range<Offset>, why: &StorageError) {
        let (first, last) = (lost.start.number(), lost.end.get());
        if let StorageError::Unreadable { .. } = why {
            tracing::error!(log = ?self.dir, first, last, reason = %why, "messages cannot be read");
            return;
        }
        let is_news = {
            let mut state = self.state();
            if state.segments.iter().all(|segment| segment.key != key) {
                return; // it was trimmed or cut under the reader
            }
            state.note_damage(key, lost.clone())
        };
        self.remember_damage_soon();
        if is_news {
            tracing::error!(log = ?self.dir, first, last, reason = %why, "messages are lost to damage of the disk");
        }
    }
}

/// What a search has come to.
struct Sought {
    seek: Seek,
    start: Offset,
    found: Option<Place>,
    /// Records before the next entry that cannot be read just now: they may be as young as that.
    unread: Option<Place>,
}

impl Sought {
    /// Looks at the next entry of a segment whose last one was appended at `end_time`. What is lost holds nothing
    /// that could be found.
    fn look(&mut self, seen: Seen, end_time: Millis) -> Step {
        let entry = match seen {
            Seen::Entry(entry) => entry,
            Seen::Lost(records, StorageError::Unreadable { .. }) => {
                let offset = records.start.max(self.start);
                self.unread.get_or_insert(Place { offset, time: end_time });
                return Step::Next;
            }
            Seen::Lost(..) => return Step::Next,
        };
        self.found = match self.seek {
            Seek::RecordTimestamp(timestamp) => run::record_in_entry(&entry, timestamp, self.start),
            Seek::AppendedAfter(time) => run::appended_in_entry(&entry, time, self.start),
            Seek::Offset(offset) => run::holding_entry(&entry, offset.max(self.start)),
            Seek::Newest(_) => None,
        };
        if self.found.is_some() {
            return Step::Stop;
        }
        self.unread = None;
        Step::Next
    }

    /// What was found in the segments, or in the tail behind them.
    fn outcome(self, in_tail: Option<Place>) -> Option<Place> {
        let found = self.found.or(in_tail);
        match (self.seek, self.unread) {
            // What is evicted by its age is not to take with it what has none that could be read.
            (Seek::AppendedAfter(_), Some(unread)) => {
                Some(Place { time: found.map_or(unread.time, |found| found.time), ..unread })
            }
            _ => found,
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
                Err(error) => {
                    self.is_whole = false;
                    let Skipped { is_found, unreadable } = self.scan.skip_unreadable();
                    // What cannot be read may be whole: nothing between is called damaged then.
                    let error = match error {
                        ScanError::Bad { .. } => unreadable.unwrap_or(error),
                        ScanError::Unreadable { .. } => error,
                    };
                    why = Some(self.extent.error(error));
                    if !is_found {
                        self.lose(self.extent.end.offset, why, &mut visit);
                        return Ok(());
                    }
                    continue;
                }
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
