//! [`SegmentIndex`], the sparse index of a segment: where to begin looking.
//!
//! Its file, beside the segment, is a cache and a checkpoint. It is written after a sync of the segment, when
//! the segment is sealed and every so often before: so everything below its end was durable, and opening the
//! log reads on from there. It is believed only if it is whole and speaks of just this segment; otherwise it
//! is rebuilt from the frames.
//!
//! The file is two [envelopes](super::sealed), one behind the other, both with magic `MKIX`; all integers
//! big-endian. The first one says what opening a log wants to know of each segment:
//!
//! | type | field |
//! |---|---|
//! | u64 | base index of the segment |
//! | u64 | generation of the log |
//! | 8 bytes | salt of the segment |
//! | point | the end: what a next frame would begin with |
//!
//! The second one is a point for each place, in order. A point is: u64 position, u64 index, u64 base offset,
//! u64 leader epoch before it, i64 append time (of the frame here; at the end, of the last frame), i64
//! largest record timestamp before it.

use std::path::Path;

use bytes::{Buf, BufMut, Bytes};
use minikafka_record::Offset;

use super::{
    disk::{Disk, OpenMode},
    durable,
    frame::frame_len,
    scan::{FrameScan, ScanError},
    sealed,
    segment::{SEGMENT_HEADER_LEN, SegmentHeader},
};
use crate::{Entry, Epoch, Index, Millis};

const MAGIC: [u8; 4] = *b"MKIX";
const FORMAT: u32 = 2;
const POINT_LEN: usize = 48;
/// Bytes of the first envelope.
const SUMMARY_LEN: usize = sealed::HEADER_LEN + 24 + POINT_LEN;
/// Least bytes of frames between two points: a look-up reads about half of this before it finds its entry.
const INTERVAL_BYTES_MIN: u64 = 64 * 1024;
/// Points of a full segment, about: bounds the memory of a log.
const POINTS_MAX: u64 = 512;

/// A place in a segment where a frame begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct IndexPoint {
    pub(super) position: u64,
    pub(super) index: Index,
    pub(super) offset: Offset,
    /// Leader epoch of the entry before.
    pub(super) epoch_before: Epoch,
    pub(super) append_time: Millis,
    /// Largest record timestamp before, in this segment.
    pub(super) max_timestamp_before: Millis,
}

/// What to look for in an index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lookup {
    /// The entry that holds this offset.
    Offset(Offset),
    /// The entry with this index.
    Index(Index),
    /// The first record with this timestamp or a later one.
    RecordTimestamp(Millis),
    /// The first entry appended later than this that ends behind this offset.
    AppendedAfter(Millis, Offset),
}

/// Whether every byte of what was read is part of a frame, and every frame follows the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Health {
    Whole,
    Damaged,
}

/// See the module's page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SegmentIndex {
    base: IndexPoint,
    points: Vec<IndexPoint>,
    end: IndexPoint,
}

impl IndexPoint {
    /// What the first frame of a segment begins with.
    pub(super) fn base(header: &SegmentHeader) -> IndexPoint {
        IndexPoint {
            position: SEGMENT_HEADER_LEN,
            index: header.base_index,
            offset: header.base_offset,
            epoch_before: header.epoch_before,
            append_time: Millis::MIN,
            max_timestamp_before: Millis::MIN,
        }
    }

    /// What a frame behind that of `entry` would begin with, if that begins here.
    pub(super) fn after(&self, entry: &Entry) -> IndexPoint {
        IndexPoint {
            position: self.position + frame_len(entry),
            index: entry.index + 1,
            offset: entry.end_offset(),
            epoch_before: entry.epoch,
            append_time: entry.append_time,
            max_timestamp_before: self.max_timestamp_before.max(entry.max_timestamp().unwrap_or(Millis::MIN)),
        }
    }
}

impl SegmentIndex {
    /// The index of an empty segment.
    pub(super) fn new(header: &SegmentHeader) -> SegmentIndex {
        let base = IndexPoint::base(header);
        SegmentIndex { base, points: Vec::new(), end: base }
    }

    /// Takes note of the next entry.
    pub(super) fn push(&mut self, entry: &Entry, segment_bytes: u64) {
        let interval = INTERVAL_BYTES_MIN.max(segment_bytes / POINTS_MAX);
        let here = IndexPoint { append_time: entry.append_time, ..self.end };
        let is_far = |last: &IndexPoint| here.position - last.position >= interval;
        if self.points.last().is_none_or(is_far) {
            self.points.push(here);
        }
        self.end = here.after(entry);
    }

    /// Takes note of all frames that can be read and begin before the entry with index `before`; what lies between
    /// them is skipped.
    pub(super) fn push_frames(
        &mut self,
        scan: &mut FrameScan,
        before: Index,
        segment_bytes: u64,
    ) -> Result<Health, ScanError> {
        let mut health = Health::Whole;
        while self.end.index < before {
            match scan.next() {
                Ok(Some(frame)) if frame.entry.index >= before => {
                    if frame.position != self.end.position {
                        health = Health::Damaged;
                        self.skip_to(frame.position);
                        self.jump(before, frame.entry.base_offset);
                    }
                    break;
                }
                Ok(Some(frame)) => {
                    if (frame.position, frame.entry.index) != (self.end.position, self.end.index) {
                        health = Health::Damaged;
                        self.skip_to(frame.position);
                        self.jump(frame.entry.index, frame.entry.base_offset);
                    }
                    self.push(&frame.entry, segment_bytes);
                }
                Ok(None) => break,
                Err(ScanError::Bad { .. }) => {
                    health = Health::Damaged;
                    if !scan.skip_damage()? {
                        break;
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(health)
    }

    /// Frames go on at `position`: what lies between is damaged.
    pub(super) fn skip_to(&mut self, position: u64) {
        self.end.position = position;
    }

    /// Frames go on with this index and offset: what lies between is lost.
    pub(super) fn jump(&mut self, index: Index, offset: Offset) {
        (self.end.index, self.end.offset) = (index, offset);
    }

    /// Append time of the first entry.
    pub(super) fn begun(&self) -> Option<Millis> {
        self.points.first().map(|first| first.append_time)
    }

    /// Forgets everything from the last point before the entry with `index` on, which must not be the first
    /// one. Returns where that is: the frames between there and `index` are to be pushed again.
    pub(super) fn rewind(&mut self, index: Index) -> IndexPoint {
        let keep = self.points.partition_point(|point| point.index < index).saturating_sub(1);
        let point = self.points.get(keep).copied().unwrap_or(self.base);
        self.points.truncate(keep);
        self.end = point;
        point
    }

    /// What a next frame would begin with: everything here is before it.
    pub(super) fn end(&self) -> &IndexPoint {
        &self.end
    }

    /// As it was when it ended here.
    pub(super) fn upto(&self, end: &IndexPoint) -> SegmentIndex {
        let count = self.points.partition_point(|point| point.position < end.position);
        SegmentIndex { base: self.base, points: self.points[..count].to_vec(), end: *end }
    }

    /// The places that it knows, in order.
    pub(super) fn points(&self) -> &[IndexPoint] {
        &self.points
    }

    /// Where to begin looking.
    pub(super) fn find(&self, lookup: Lookup) -> IndexPoint {
        match lookup {
            Lookup::Offset(offset) => self.last(|point| point.offset <= offset),
            Lookup::Index(index) => self.last(|point| point.index <= index),
            Lookup::RecordTimestamp(timestamp) => self.last(|point| point.max_timestamp_before < timestamp),
            Lookup::AppendedAfter(time, start) => {
                let by_time = self.last(|point| point.append_time <= time);
                let by_start = self.last(|point| point.offset <= start);
                if by_time.position > by_start.position { by_time } else { by_start }
            }
        }
    }

    /// The last point with a property that holds up to some point, or else the base.
    fn last(&self, holds: impl Fn(&IndexPoint) -> bool) -> IndexPoint {
        match self.points.partition_point(holds) {
            0 => self.base,
            found => self.points[found - 1],
        }
    }

    /// The content of the file.
    pub(super) fn encode(&self, header: &SegmentHeader) -> Vec<u8> {
        let mut summary = Vec::with_capacity(SUMMARY_LEN);
        summary.put_u64(header.base_index);
        summary.put_u64(header.generation);
        summary.put_slice(&header.salt.0);
        put(&mut summary, &self.end);
        let mut points = Vec::with_capacity(POINT_LEN * self.points.len());
        self.points.iter().for_each(|point| put(&mut points, point));
        let mut content = sealed::seal(MAGIC, FORMAT, &summary);
        content.extend(sealed::seal(MAGIC, FORMAT, &points));
        content
    }

    /// Reads the file; `None` unless it is whole and speaks of the segment with this header.
    pub(super) fn load(disk: &dyn Disk, path: &Path, header: &SegmentHeader) -> Option<SegmentIndex> {
        let content = durable::read_file(disk, path).ok()??;
        let end = decode_summary(path, content.slice(..SUMMARY_LEN.min(content.len())), header)?;
        let mut body = sealed::unseal(path, content.slice(SUMMARY_LEN..), MAGIC, FORMAT).ok()?;
        if !body.len().is_multiple_of(POINT_LEN) {
            return None;
        }
        let mut points = Vec::with_capacity(body.len() / POINT_LEN);
        while body.has_remaining() {
            points.push(take(&mut body));
        }
        Some(SegmentIndex { base: IndexPoint::base(header), points, end })
    }

    /// Reads the end from the file; `None` as for [`load`](SegmentIndex::load).
    pub(super) fn load_end(disk: &dyn Disk, path: &Path, header: &SegmentHeader) -> Option<IndexPoint> {
        let mut summary = vec![0; SUMMARY_LEN];
        let file = disk.open(path, OpenMode::Existing).ok()?;
        durable::read_exact_at(&*file, &mut summary, 0).ok()?;
        decode_summary(path, summary.into(), header)
    }
}

fn decode_summary(path: &Path, summary: Bytes, header: &SegmentHeader) -> Option<IndexPoint> {
    let mut body = sealed::unseal(path, summary, MAGIC, FORMAT).ok()?;
    if body.len() != SUMMARY_LEN - sealed::HEADER_LEN {
        return None;
    }
    let owner = (body.get_u64(), body.get_u64(), body.split_to(header.salt.0.len()));
    let is_ours =
        owner.0 == header.base_index && owner.1 == header.generation && owner.2 == header.salt.0[..];
    is_ours.then(|| take(&mut body))
}

fn put(out: &mut Vec<u8>, point: &IndexPoint) {
    out.put_u64(point.position);
    out.put_u64(point.index);
    out.put_u64(point.offset.get());
    out.put_u64(point.epoch_before);
    out.put_i64(point.append_time);
    out.put_i64(point.max_timestamp_before);
}

fn take(body: &mut Bytes) -> IndexPoint {
    IndexPoint {
        position: body.get_u64(),
        index: body.get_u64(),
        offset: Offset::new(body.get_u64()),
        epoch_before: body.get_u64(),
        append_time: body.get_i64(),
        max_timestamp_before: body.get_i64(),
    }
}
