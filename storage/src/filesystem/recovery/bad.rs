//! [`Bad`], bytes at the end of the last segment that are no frames: a torn tail, or damage.

use std::{ops::Range, path::Path};

use minikafka_record::Offset;

use super::opened::Opened;
use crate::{
    Index, StorageError,
    filesystem::{
        Shared,
        disk::Disk,
        durable::{self, with_suffix},
        scan::{FrameScan, ScanError},
        segment::{READ_CHUNK_LEN, Segment, scan_error},
        write::cut,
    },
};

/// Suffix of the file that keeps what was cut off behind the last whole frame, or left out of the journal.
pub(in crate::filesystem) const TORN_SUFFIX: &str = ".torn";

/// Bytes of the last segment that are no frames.
pub(super) struct Bad {
    pub(super) position: u64,
    pub(super) len: u64,
    pub(super) what: &'static str,
    /// What follows the last whole frame behind them, if there is one.
    pub(super) later: Option<Index>,
}

impl Opened {
    /// Cuts off what is torn; goes on behind what is damaged.
    pub(super) fn end_at(&mut self, bad: &Bad, shared: &Shared) -> Result<(), StorageError> {
        match self.is_torn(bad) {
            true => self.cut_torn_tail(bad, shared),
            false => self.read_over(bad, shared),
        }
    }

    /// Whether what is no frame is torn: never durable, or the journal has all of it.
    fn is_torn(&self, bad: &Bad) -> bool {
        let mut next = (self.end.index, self.end.offset);
        for entry in &self.journal {
            if (entry.index, entry.base_offset) != next {
                return false;
            }
            next = (entry.index + 1, entry.end_offset());
        }
        let has_all = next.1 >= self.durable.0 && next.0 >= self.durable.1;
        has_all && (self.journal.is_empty() || bad.later.is_none_or(|later| later <= next.0))
    }

    /// Cuts the file behind its last whole frame, and keeps the rest aside unless the journal has it.
    fn cut_torn_tail(&mut self, bad: &Bad, shared: &Shared) -> Result<(), StorageError> {
        let Some(last) = self.segments.last() else { return Ok(()) };
        let (file, path) = (last.file(shared)?, &last.path);
        let mut torn = vec![0; (bad.len - bad.position) as usize];
        durable::read_exact_at(&*file, &mut torn, bad.position)
            .map_err(|error| StorageError::unreadable(path, bad.position, error))?;
        if self.journal.is_empty() && torn.iter().any(|byte| *byte != 0) {
            let aside = with_suffix(path, &format!(".{}{TORN_SUFFIX}", bad.position));
            // If not, they are gone: they were never acknowledged.
            let _ = keep_aside(&*shared.disk, &aside, &torn)?;
        }
        cut(&*file, path, bad.position)?;
        tracing::warn!(
            ?path,
            position = bad.position,
            bytes = torn.len(),
            offset = %self.end.offset,
            what = bad.what,
            journaled = self.journal.len(),
            "cut off a torn tail: bytes behind the last whole frame, never acknowledged or still in the journal"
        );
        Ok(())
    }

    /// Goes on behind damage: what is whole is kept, the rest is lost and stays where it is.
    fn read_over(&mut self, bad: &Bad, shared: &Shared) -> Result<(), StorageError> {
        let Some(last) = self.segments.last_mut() else { return Ok(()) };
        let mut index = last.index().cloned().expect("the last segment is written to");
        let salt = last.header.salt;
        let mut scan = FrameScan::new(last.file(shared)?, salt, bad.position, bad.len, READ_CHUNK_LEN);
        index
            .push_frames(&mut scan, Index::MAX, shared.options.segment_bytes)
            .map_err(|error| scan_error(&last.path, error))?;
        let before = self.end.offset;
        index.skip_to(bad.len);
        let error = StorageError::damaged(&last.path, bad.position, bad.what);
        tracing::error!(%error, "the segment is damaged: what is whole in it is kept");
        last.set_index(index);
        last.damaged = true;
        self.end = self.find_end();
        while self.journal.front().is_some_and(|first| first.index < self.end.index) {
            self.journal.pop_front();
        }
        // Where the holes are, a reader finds out; how many records there are at most is known now.
        if bad.later.is_some()
            && let Some(last) = self.segments.last()
        {
            let holes = holes(last, before, self.end.offset, shared)?;
            holes.into_iter().for_each(|lost| _ = self.damage.lost.note(lost));
        }
        Ok(())
    }
}

/// Keeps bytes that are about to be cut off or written over. Says whether there was room for them.
pub(in crate::filesystem) fn keep_aside(
    disk: &dyn Disk,
    aside: &Path,
    bytes: &[u8],
) -> Result<bool, StorageError> {
    match durable::replace(disk, aside, bytes) {
        // A full disk must not keep a log from opening: eviction is what makes room.
        Err(StorageError::Full(what)) => {
            tracing::warn!(path = ?aside, what, "there is no room to keep torn or damaged bytes aside");
            Ok(false)
        }
        kept => kept.map(|()| true),
    }
}

/// What follows the last whole frame behind what is none, and the largest durable offset that any of them
/// names.
pub(super) fn later(scan: &mut FrameScan, durable: &mut Offset) -> Result<Option<Index>, ScanError> {
    let mut later = None;
    while scan.skip_damage()? {
        loop {
            match scan.next() {
                Ok(Some(frame)) => {
                    *durable = (*durable).max(frame.durable);
                    later = Some(frame.entry.index + 1);
                }
                Ok(None) => return Ok(later),
                Err(ScanError::Bad { .. }) => break,
                Err(error) => return Err(error),
            }
        }
    }
    Ok(later)
}

/// The records between two offsets that are in no whole frame of a segment.
fn holes(
    segment: &Segment,
    from: Offset,
    to: Offset,
    shared: &Shared,
) -> Result<Vec<Range<Offset>>, StorageError> {
    let failed = |error| scan_error(&segment.path, error);
    let (salt, end) = (segment.header.salt, segment.end().position);
    let start = segment.base().position;
    let mut scan = FrameScan::new(segment.file(shared)?, salt, start, end, READ_CHUNK_LEN);
    let (mut holes, mut next) = (Vec::new(), from);
    loop {
        match scan.next() {
            Ok(Some(frame)) => {
                if frame.entry.base_offset > next {
                    holes.push(next..frame.entry.base_offset);
                }
                next = next.max(frame.entry.end_offset());
            }
            Ok(None) => break,
            Err(ScanError::Bad { .. }) => {
                if !scan.skip_damage().map_err(failed)? {
                    break;
                }
            }
            Err(error) => return Err(failed(error)),
        }
    }
    if to > next {
        holes.push(next..to);
    }
    Ok(holes)
}
