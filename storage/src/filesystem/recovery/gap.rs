//! Gaps between what the segments hold, what the journal holds, and what is known to have been durable.

use std::io::IoSlice;

use minikafka_record::Offset;

use super::opened::Opened;
use crate::{
    Epoch, Index, StorageError,
    filesystem::{
        Shared, durable,
        frame::{Salt, encode_header},
        segment::{Segment, SegmentHeader},
    },
    run::{Next, Run},
};

impl Opened {
    /// Where frames are missing with others behind them, the journal may have what is missing: written again, it
    /// fills the gap, and what is behind it can be read.
    pub(super) fn mend(&mut self, shared: &Shared) -> Result<(), StorageError> {
        let Some(bad) = self.bad.take_if(|bad| bad.later.is_some() && self.journal.front().is_some()) else {
            return Ok(());
        };
        let mut missing = Run::default();
        let mut end = self.end;
        while let Some(entry) =
            self.journal.pop_front_if(|entry| (entry.index, entry.base_offset) == (end.index, end.offset))
        {
            end = Next::after(&entry);
            missing.push(entry);
        }
        if missing.first().is_none() {
            self.bad = Some(bad);
            return Ok(());
        }
        tracing::warn!(dir = ?self.dir, from = %self.end.offset, to = %end.offset, "restored from the journal");
        self.write_tail(&mut missing, shared)?;
        self.read_last(bad.len, shared)?;
        self.end = self.find_end();
        while self.journal.pop_front_if(|entry| entry.index < self.end.index).is_some() {}
        Ok(())
    }

    /// Follows the log to the last entry that the journal has, and to what was durable once. Gives the entries that
    /// are only in the journal, and where the segments end.
    pub(super) fn follow_journal(&mut self, shared: &Shared) -> Result<(Next, Run), StorageError> {
        let mut written = self.end;
        let mut tail = Run::default();
        while let Some(entry) = self.journal.pop_front() {
            if entry.index != self.end.index || entry.base_offset != self.end.offset {
                self.write_tail(&mut tail, shared)?;
                self.lose(entry.index, entry.base_offset, entry.epoch);
                written = self.end;
            }
            self.end = Next::after(&entry);
            tail.push(entry);
        }
        let (offset, index) = self.durable;
        if self.end.offset < offset || self.end.index < index {
            self.write_tail(&mut tail, shared)?;
            self.lose(index.max(self.end.index), offset.max(self.end.offset), self.end.epoch_min);
            written = self.end;
        }
        Ok((written, tail))
    }

    /// What should come before this index and offset is lost: the log goes on here.
    fn lose(&mut self, index: Index, offset: Offset, epoch: Epoch) {
        let lost = self.end.offset..offset;
        tracing::error!(
            dir = ?self.dir,
            first = lost.start.number(),
            last = lost.end.get(),
            "messages that were durable are lost to damage of the disk"
        );
        self.damage.lost.note(lost);
        (self.end.index, self.end.offset, self.end.epoch_min) =
            (index, offset, self.end.epoch_min.max(epoch));
        if let Some(last) = self.segments.last_mut() {
            last.jump(index, offset);
            last.damaged = true;
        }
    }

    /// Writes entries of the journal to the last segment: behind them comes a gap, and memory has none.
    fn write_tail(&mut self, tail: &mut Run, shared: &Shared) -> Result<(), StorageError> {
        let entries = std::mem::take(tail).entries(0..Index::MAX, usize::MAX);
        let Some(first) = entries.first() else { return Ok(()) };
        // The one that was written to may have been set aside.
        if self.segments.last().is_none_or(Segment::is_sealed) {
            let before = self.segments.last().map(|last| last.end().epoch_before);
            let header = SegmentHeader {
                generation: self.manifest.generation,
                base_index: first.index,
                base_offset: first.base_offset,
                epoch_before: before.unwrap_or(self.manifest.removed.epoch),
                salt: Salt::random()?,
            };
            self.segments.push(Segment::create(&self.dir, header, shared)?);
        }
        let last = self.segments.last_mut().expect("there is one now");
        let file = last.file(shared)?;
        for entry in &entries {
            let header = encode_header(entry, entry.base_offset, last.header.salt);
            let mut slices = [IoSlice::new(&header), IoSlice::new(&entry.payload)];
            durable::write_all_at(&*file, &mut slices, last.end().position)
                .map_err(|error| durable::io_or_full("writing", &last.path, error))?;
            last.push(entry, shared.options.segment_bytes);
        }
        durable::sync(&*file, &last.path)
    }
}
