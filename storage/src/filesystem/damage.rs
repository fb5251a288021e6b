//! [`Damage`], what is known to be damaged in a log. File `damage`, which is there once something is.
//!
//! Damage is found when something is read, and that may be long ago when its messages are evicted: a segment that
//! is known to be damaged is set aside then, not removed, also after a restart. The file is written by the writer
//! thread after a reader has found something, by opening, and by a clean stop; a disk that has no room for it is
//! asked again. What it says is only what was seen: whoever mends a segment by hand removes it.
//!
//! The file is twice the same [envelope](super::sealed), magic `MKDG`, one behind the other, for one may get spoiled.
//! All integers are big-endian:
//!
//! | type | field |
//! |---|---|
//! | u64 | generation of the log that has lost the records |
//! | u32 | number of segments |
//! | segment * | u64 generation, u64 base index: what is to be set aside |
//! | range * | u64 first offset that is lost, u64 first one behind it; in order, to the end of the body |
//!
//! When both are spoiled, nobody knows which segments are damaged: all are set aside when their turn comes. The file
//! is copied aside then, and stays what it is until the writer thread has stored that.

use std::{collections::BTreeSet, ops::Range, path::Path};

use bytes::{Buf, BufMut, Bytes};
use minikafka_record::Offset;

use super::{disk::Disk, durable, recovery::keep_aside, sealed, segment::DAMAGED_SUFFIX};
use crate::{Index, StorageError};

/// The name of the file.
pub(super) const DAMAGE: &str = "damage";
const MAGIC: [u8; 4] = *b"MKDG";
const FORMAT: u32 = 1;
const SEGMENT_LEN: usize = 16;
const RANGE_LEN: usize = 16;

/// Records that are lost: ranges in order, apart from each other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Lost(Vec<Range<Offset>>);

impl Lost {
    /// These are lost, too. Says whether that is news.
    pub(super) fn note(&mut self, lost: Range<Offset>) -> bool {
        if lost.is_empty() || self.0.iter().any(|known| known.start <= lost.start && lost.end <= known.end) {
            return false;
        }
        let from = self.0.partition_point(|known| known.end < lost.start);
        let to = self.0.partition_point(|known| known.start <= lost.end);
        let start = self.0[from..to].first().map_or(lost.start, |first| first.start.min(lost.start));
        let end = self.0[from..to].last().map_or(lost.end, |last| last.end.max(lost.end));
        self.0.splice(from..to, [start..end]);
        true
    }

    /// How many there are from `start` on.
    pub(super) fn count_from(&self, start: Offset) -> u64 {
        self.0.iter().map(|lost| lost.end.get().saturating_sub(lost.start.max(start).get())).sum()
    }

    /// The range that holds an offset.
    pub(super) fn around(&self, offset: Offset) -> Option<Range<Offset>> {
        self.0.iter().find(|lost| lost.contains(&offset)).cloned()
    }

    /// Nobody asks for what lies below any more.
    pub(super) fn forget_before(&mut self, start: Offset) {
        self.0.retain(|lost| lost.end > start);
    }

    /// What lies at or beyond is no longer a part of the log. Says whether there was something.
    pub(super) fn forget_from(&mut self, end: Offset) -> bool {
        let before = self.0.clone();
        self.0.retain(|lost| lost.start < end);
        self.0.iter_mut().for_each(|lost| lost.end = lost.end.min(end));
        self.0 != before
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    pub(super) fn ranges(&self) -> &[Range<Offset>] {
        &self.0
    }
}

/// What is known to be damaged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Damage {
    /// Of the log that has lost the records.
    pub(super) generation: u64,
    pub(super) lost: Lost,
    /// Segments that are never to be removed, by generation and base index.
    pub(super) segments: BTreeSet<(u64, Index)>,
    /// Nobody knows which segments are damaged: each may be.
    pub(super) is_unknown: bool,
}

impl Damage {
    /// Reads what is known of the log in `dir`.
    ///
    /// # Errors
    /// When the file cannot be read, or a later version has written it.
    pub(super) fn load(disk: &dyn Disk, dir: &Path) -> Result<Damage, StorageError> {
        let path = dir.join(DAMAGE);
        let Some(file) = durable::read_file(disk, &path)? else { return Ok(Damage::default()) };
        let content = file.clone();
        let copies = parse_copies(&path, file);
        if let Some(error) = copies.iter().find_map(|copy| copy.as_ref().err()) {
            tracing::error!(%error, "what is known of the log's damage is itself damaged");
        }
        match copies {
            [Ok(damage), _] | [Err(StorageError::Damaged { .. }), Ok(damage)] => Ok(damage),
            [Err(StorageError::Damaged { .. }), Err(StorageError::Damaged { .. })] => {
                copy_aside(disk, &path, &content)?;
                Ok(Damage { is_unknown: true, ..Damage::default() })
            }
            [Err(error), Ok(_)] | [Err(_), Err(error)] => Err(error),
        }
    }

    /// Stores it in place of what was known before; durable on return.
    pub(super) fn store(&self, disk: &dyn Disk, dir: &Path) -> Result<(), StorageError> {
        let path = dir.join(DAMAGE);
        if self.is_none() {
            durable::remove_file(disk, &path)?;
            // If it came back, it could speak of messages that have taken the numbers of those that were lost.
            return durable::sync_dir(disk, dir);
        }
        let envelope = sealed::seal(MAGIC, FORMAT, &self.encode());
        durable::replace(disk, &path, &[&envelope[..], &envelope[..]].concat())
    }

    /// Whether a segment is to be set aside.
    pub(super) fn holds(&self, generation: u64, base_index: Index) -> bool {
        self.is_unknown || self.segments.contains(&(generation, base_index))
    }

    /// Whether nothing is damaged.
    pub(super) fn is_none(&self) -> bool {
        self.lost.ranges().is_empty() && self.segments.is_empty()
    }

    fn encode(&self) -> Vec<u8> {
        let mut body = Vec::new();
        body.put_u64(self.generation);
        body.put_u32(u32::try_from(self.segments.len()).expect("a log has fewer segments than that"));
        for (generation, base_index) in &self.segments {
            body.put_u64(*generation);
            body.put_u64(*base_index);
        }
        for lost in self.lost.ranges() {
            body.put_u64(lost.start.get());
            body.put_u64(lost.end.get());
        }
        body
    }

    fn decode(mut body: Bytes) -> Option<Damage> {
        if body.len() < 12 {
            return None;
        }
        let mut damage = Damage { generation: body.get_u64(), ..Damage::default() };
        let count = body.get_u32() as usize;
        if body.len() / SEGMENT_LEN < count || !(body.len() - count * SEGMENT_LEN).is_multiple_of(RANGE_LEN) {
            return None;
        }
        for _ in 0..count {
            damage.segments.insert((body.get_u64(), body.get_u64()));
        }
        while body.has_remaining() {
            damage.lost.note(Offset::new(body.get_u64())..Offset::new(body.get_u64()));
        }
        Some(damage)
    }
}

/// Keeps a file of which nothing can be read, for whoever can still make something of it. The file itself stays until
/// another is in its place: as long as it is there, each opening knows that each segment may be damaged.
fn copy_aside(disk: &dyn Disk, path: &Path, content: &[u8]) -> Result<(), StorageError> {
    let mut aside = durable::with_suffix(path, DAMAGED_SUFFIX);
    for number in 1.. {
        match durable::read_file(disk, &aside)? {
            None => break,
            // An earlier start came no further.
            Some(kept) if kept == content => return Ok(()),
            Some(_) => aside = durable::with_suffix(path, &format!(".{number}{DAMAGED_SUFFIX}")),
        }
    }
    keep_aside(disk, &aside, content).map(drop)
}

/// What each of the two envelopes of the file says.
pub(super) fn parse_copies(path: &Path, file: Bytes) -> [Result<Damage, StorageError>; 2] {
    let second = file.slice(file.len() / 2..);
    [file, second].map(|copy| {
        let body = sealed::unseal(path, copy, MAGIC, FORMAT)?;
        Damage::decode(body).ok_or_else(|| StorageError::damaged(path, 0, "its fields do not fit"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lost(ranges: &[Range<u64>]) -> Lost {
        let mut lost = Lost::default();
        ranges.iter().for_each(|range| _ = lost.note(offsets(range)));
        lost
    }

    fn offsets(range: &Range<u64>) -> Range<Offset> {
        Offset::new(range.start)..Offset::new(range.end)
    }

    #[test]
    fn what_is_lost_is_kept_whole_whatever_the_order() {
        let known = lost(&[10..20, 30..40]);
        for (more, expected) in [
            (15..18, "10..20 30..40"),
            (15..25, "10..25 30..40"),
            (5..12, "5..20 30..40"),
            (20..30, "10..40"),
            (15..35, "10..40"),
            (0..50, "0..50"),
            (0..3, "0..3 10..20 30..40"),
            (50..60, "10..20 30..40 50..60"),
            (22..25, "10..20 22..25 30..40"),
            (7..7, "10..20 30..40"),
        ] {
            let mut found = known.clone();
            let is_news = found.note(offsets(&more));
            let shown: Vec<_> = found.ranges().iter().map(|r| format!("{}..{}", r.start, r.end)).collect();
            assert_eq!(shown.join(" "), expected, "{more:?}");
            assert_eq!(is_news, found != known, "{more:?}");
        }
    }

    #[test]
    fn what_is_lost_is_counted_and_forgotten() {
        let mut known = lost(&[10..20, 30..40]);
        assert_eq!([0, 15, 25, 40].map(|start| known.count_from(Offset::new(start))), [20, 15, 10, 0]);
        assert_eq!(known.around(Offset::new(19)), Some(offsets(&(10..20))));
        assert_eq!(known.around(Offset::new(20)), None);
        known.forget_before(Offset::new(15));
        assert_eq!(known.ranges().len(), 2);
        assert!(known.forget_from(Offset::new(35)) && !known.forget_from(Offset::new(35)));
        assert_eq!(known.ranges(), [offsets(&(10..20)), offsets(&(30..35))]);
    }
}
