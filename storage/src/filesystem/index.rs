//! [`SegmentIndex`], the sparse index of a segment: where to begin looking.
//!
//! It has a point for about every 64 KiB of frames and lives in memory. Its file, beside the segment, is a
//! cache: written when the segment is sealed, believed only if it is whole and speaks of just this segment,
//! rebuilt from the frames otherwise.
//!
//! Body of the [envelope](super::sealed), magic `MKIX`; all integers big-endian:
//!
//! | type | field |
//! |---|---|
//! | u64 | base index of the segment |
//! | u64 | generation of the log |
//! | 8 bytes | salt of the segment |
//! | point | the end: what a next frame would begin with |
//! | point * | one for each place, to the end of the body |
//!
//! A point is: u64 position, u64 index, u64 base offset, u64 leader epoch before it, i64 append time (of the
//! frame here; at the end, of the last frame), i64 largest record timestamp before it.

use std::{fs, path::Path};

use bytes::{Buf, BufMut, Bytes};
use minikafka_record::Offset;

use super::{
    frame::frame_len,
    sealed,
    segment::{SEGMENT_HEADER_LEN, SegmentHeader},
};
use crate::{Entry, Epoch, Index, Millis, StorageError};

const MAGIC: [u8; 4] = *b"MKIX";
const FORMAT: u32 = 1;
const POINT_LEN: usize = 48;
/// What says whose index it is.
const OWNER_LEN: usize = 24;
/// Bytes of frames between two points: a look-up reads about this much before it finds its entry.
const INTERVAL_BYTES: u64 = 64 * 1024;

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

/// See the module's page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SegmentIndex {
    points: Vec<IndexPoint>,
    end: IndexPoint,
}

impl SegmentIndex {
    /// The index of an empty segment.
    pub(super) fn new(header: &SegmentHeader) -> SegmentIndex {
        let end = IndexPoint {
            position: SEGMENT_HEADER_LEN,
            index: header.base_index,
            offset: header.base_offset,
            epoch_before: header.epoch_before,
            append_time: Millis::MIN,
            max_timestamp_before: Millis::MIN,
        };
        SegmentIndex { points: Vec::new(), end }
    }

    /// Takes note of the next entry.
    pub(super) fn push(&mut self, entry: &Entry) {
        let here = IndexPoint { append_time: entry.append_time, ..self.end };
        let is_far = |last: &IndexPoint| here.position - last.position >= INTERVAL_BYTES;
        if self.points.last().is_none_or(is_far) {
            self.points.push(here);
        }
        self.end = IndexPoint {
            position: here.position + frame_len(entry),
            index: entry.index + 1,
            offset: entry.end_offset(),
            epoch_before: entry.epoch,
            append_time: entry.append_time,
            max_timestamp_before: here.max_timestamp_before.max(entry.max_timestamp().unwrap_or(Millis::MIN)),
        };
    }

    /// Forgets everything from the last point before the entry with `index` on, which must not be the first
    /// one. Returns where that is: the frames between there and `index` are to be pushed again.
    pub(super) fn rewind(&mut self, index: Index) -> IndexPoint {
        let keep = self.points.partition_point(|point| point.index < index).saturating_sub(1);
        let point = self.points.get(keep).copied().unwrap_or(self.end);
        self.points.truncate(keep);
        self.end = point;
        point
    }

    /// What a next frame would begin with: everything here is before it.
    pub(super) fn end(&self) -> &IndexPoint {
        &self.end
    }

    pub(super) fn is_empty(&self) -> bool {
        self.points.is_empty()
    }

    /// Where to begin looking for the entry that holds `offset`.
    pub(super) fn before_offset(&self, offset: Offset) -> IndexPoint {
        self.last(|point| point.offset <= offset)
    }

    /// Where to begin looking for the entry with `index`.
    pub(super) fn before_index(&self, index: Index) -> IndexPoint {
        self.last(|point| point.index <= index)
    }

    /// Where to begin looking for the first record with a timestamp of `timestamp` or later.
    pub(super) fn before_timestamp(&self, timestamp: Millis) -> IndexPoint {
        self.last(|point| point.max_timestamp_before < timestamp)
    }

    /// Where to begin looking for the first entry appended later than `time`.
    pub(super) fn before_appended(&self, time: Millis) -> IndexPoint {
        self.last(|point| point.append_time <= time)
    }

    /// The last point with a property that holds up to some point, or else the first.
    fn last(&self, holds: impl Fn(&IndexPoint) -> bool) -> IndexPoint {
        let found = self.points.partition_point(holds).saturating_sub(1);
        self.points.get(found).copied().unwrap_or(self.end)
    }

    /// Writes the file. Not synced: it is a cache.
    pub(super) fn store(&self, path: &Path, header: &SegmentHeader) -> std::io::Result<()> {
        let mut body = Vec::with_capacity(OWNER_LEN + POINT_LEN * (1 + self.points.len()));
        body.put_u64(header.base_index);
        body.put_u64(header.generation);
        body.put_slice(&header.salt.0);
        self.points.iter().fold(put(&mut body, &self.end), |body, point| put(body, point));
        fs::write(path, sealed::seal(MAGIC, FORMAT, &body))
    }

    /// Reads the file; `None` unless it is whole and speaks of the segment with this header and length.
    pub(super) fn load(path: &Path, header: &SegmentHeader, segment_len: u64) -> Option<SegmentIndex> {
        let file = fs::read(path).ok()?;
        let decoded: Result<Bytes, StorageError> = sealed::unseal(path, file.into(), MAGIC, FORMAT);
        let mut body = decoded.ok()?;
        if body.len() < OWNER_LEN + POINT_LEN || !(body.len() - OWNER_LEN).is_multiple_of(POINT_LEN) {
            return None;
        }
        if (body.get_u64(), body.get_u64()) != (header.base_index, header.generation) {
            return None;
        }
        if body.split_to(header.salt.0.len()) != header.salt.0[..] {
            return None;
        }
        let end = take(&mut body);
        let mut points = Vec::with_capacity(body.len() / POINT_LEN);
        while body.has_remaining() {
            points.push(take(&mut body));
        }
        (end.position == segment_len).then_some(SegmentIndex { points, end })
    }
}

fn put<'a>(out: &'a mut Vec<u8>, point: &IndexPoint) -> &'a mut Vec<u8> {
    out.put_u64(point.position);
    out.put_u64(point.index);
    out.put_u64(point.offset.get());
    out.put_u64(point.epoch_before);
    out.put_i64(point.append_time);
    out.put_i64(point.max_timestamp_before);
    out
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
