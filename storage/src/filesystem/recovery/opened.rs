//! [`Opened`], a log on its way from the disk into service.

use std::{
    collections::VecDeque,
    io::IoSlice,
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

use minikafka_record::Offset;

use super::segments::{self, Segments};
use crate::{
    Entry, Epoch, Index, Millis, StorageError,
    filesystem::{
        Shared,
        durable::{self, with_suffix},
        frame::{Salt, encode_header, frame_len},
        index::IndexPoint,
        log::FileLog,
        manifest::{Manifest, Sequence},
        scan::{FrameScan, ScanError},
        segment::{READ_CHUNK_LEN, Segment, SegmentHeader, scan_error},
        state::State,
        write::cut,
        writer::Behind,
    },
    run::{Next, Run},
};

/// Suffix of the file that keeps what was cut off behind the last whole frame.
pub(in crate::filesystem) const TORN_SUFFIX: &str = ".torn";

/// A log whose own files have been read, and that is being told what the journal holds of it.
pub(super) struct Opened {
    pub(super) manifest: Manifest,
    sequence: Sequence,
    dir: PathBuf,
    segments: Vec<Segment>,
    /// What is known of the end of the log: where whole frames end, and then where the journal's entries do.
    end: Next,
    /// Where the last segment holds something else than frames.
    bad: Option<Bad>,
    /// Entries of the journal that the segments do not have, in order, perhaps with gaps.
    journal: VecDeque<Entry>,
    /// Everything below this offset, and before this index, was durable once.
    durable: (Offset, Index),
    damage: Vec<Range<Offset>>,
}

/// Bytes of the last segment that are no frames.
struct Bad {
    position: u64,
    len: u64,
    what: &'static str,
    /// What follows the last whole frame behind them, if there is one.
    later: Option<Index>,
}

impl Opened {
    /// Reads the log in `dir`.
    pub(super) fn open(
        dir: &Path,
        manifest: Manifest,
        sequence: Sequence,
        shared: &Shared,
    ) -> Result<Opened, StorageError> {
        let Segments { segments, checkpoint, last_len } = segments::find(dir, &manifest, shared)?;
        let mut opened = Opened {
            durable: (manifest.durable, manifest.durable_index),
            end: Next { index: 0, offset: Offset::ZERO, epoch_min: 0, append_time_min: Millis::MIN },
            manifest,
            sequence,
            dir: dir.to_owned(),
            segments,
            bad: None,
            journal: VecDeque::new(),
            damage: Vec::new(),
        };
        if let Some(checkpoint) = checkpoint {
            opened.mark(checkpoint.index, checkpoint.offset);
            if checkpoint.position > last_len {
                opened.forget_index(shared)?;
            }
        }
        opened.read_last(last_len, shared)?;
        opened.check_chain()?;
        opened.end = opened.find_end();
        Ok(opened)
    }

    /// The index speaks of more than the segment holds. What is appended there now would be taken for what it speaks
    /// of: the manifest remembers that something was there, and the index goes.
    fn forget_index(&mut self, shared: &Shared) -> Result<(), StorageError> {
        (self.manifest.durable, self.manifest.durable_index) = self.durable;
        self.manifest.store(&*shared.disk, &self.dir, &mut self.sequence)?;
        let Some(last) = self.segments.last() else { return Ok(()) };
        durable::remove_file(&*shared.disk, &last.index_path())?;
        durable::sync_dir(&*shared.disk, &self.dir)
    }

    /// Everything up to here was durable once.
    pub(super) fn mark(&mut self, index: Index, offset: Offset) {
        self.durable = (self.durable.0.max(offset), self.durable.1.max(index));
    }

    /// Takes an entry of the journal, unless it is in a segment.
    pub(super) fn offer(&mut self, entry: Entry) {
        if entry.index < self.end.index {
            return;
        }
        while self.journal.back().is_some_and(|last| last.index >= entry.index) {
            self.journal.pop_back();
        }
        self.journal.push_back(entry);
    }

    /// Reads the last segment from its checkpoint on, up to what is no frame.
    fn read_last(&mut self, len: u64, shared: &Shared) -> Result<(), StorageError> {
        let Some(last) = self.segments.last_mut() else { return Ok(()) };
        let from = last.end().position;
        if from >= len {
            return Ok(());
        }
        let (file, path) = (last.file(shared)?, last.path.clone());
        let failed = |error| scan_error(&path, error);
        let mut scan = FrameScan::new(file.clone(), last.header.salt, from, len, READ_CHUNK_LEN);
        let mut durable = self.durable.0;
        self.bad = loop {
            match scan.next() {
                Ok(Some(frame)) => {
                    durable = durable.max(frame.durable);
                    let (end, entry) = (*last.end(), &frame.entry);
                    if entry.index > end.index && entry.base_offset >= end.offset {
                        // Records were lost before, and the log went on behind them.
                        self.damage.push(end.offset..entry.base_offset);
                        last.jump(entry.index, entry.base_offset);
                    } else if (entry.index, entry.base_offset) != (end.index, end.offset) {
                        let what = "the frame does not continue the log";
                        break Some(Bad { position: frame.position, len, what, later: None });
                    }
                    last.push(&frame.entry, shared.options.segment_bytes);
                }
                Ok(None) => break None,
                Err(ScanError::Bad { position, what }) => {
                    let later = later(&mut scan, &mut durable).map_err(failed)?;
                    break Some(Bad { position, len, what, later });
                }
                Err(error) => return Err(failed(error)),
            }
        };
        self.durable.0 = durable;
        // What is read from now on counts as committed, and may so far be in the system's cache only.
        durable::rewrite(&*file, &path, from..last.end().position)
    }

    /// Removes a last segment of which all is trimmed, or that was lost beyond what was ever synced and
    /// trimmed: numbers are not given again.
    fn drop_trimmed(&mut self, shared: &Shared) -> Result<(), StorageError> {
        let Some(last) = self.segments.last() else { return Ok(()) };
        let first = self.manifest.removed.next_index;
        let is_kept = last.end().offset >= self.manifest.start
            && (last.end().index > first || last.header.base_index >= first);
        if is_kept {
            return Ok(());
        }
        last.remove(shared)?;
        self.segments.pop();
        self.end = self.find_end();
        Ok(())
    }

    /// The first segment holds the first entry that is kept, and each goes on where the one before ends: what
    /// lies between is lost.
    fn check_chain(&mut self) -> Result<(), StorageError> {
        let mut expected = IndexPoint {
            index: self.manifest.removed.next_index,
            offset: self.manifest.start,
            ..IndexPoint::base(&EMPTY)
        };
        for (at, segment) in self.segments.iter().enumerate() {
            let base = segment.base();
            if at > 0 && (base.index < expected.index || base.offset < expected.offset) {
                let what =
                    format!("it begins with index {}, the one before ends at {}", base.index, expected.index);
                return Err(StorageError::damaged(&segment.path, 0, what));
            }
            if base.index > expected.index && base.offset > expected.offset {
                self.damage.push(expected.offset..base.offset);
            }
            expected = *segment.end();
        }
        Ok(())
    }

    /// What the next entry must carry.
    fn find_end(&self) -> Next {
        let newest = self.segments.iter().map(|segment| segment.end().append_time).max();
        let append_time_min =
            newest.unwrap_or(Millis::MIN).max(self.manifest.last_append_time.unwrap_or(Millis::MIN));
        match self.segments.last().map(Segment::end) {
            Some(end) => {
                Next { index: end.index, offset: end.offset, epoch_min: end.epoch_before, append_time_min }
            }
            None => Next {
                index: self.manifest.removed.next_index,
                offset: self.manifest.start,
                epoch_min: self.manifest.removed.epoch,
                append_time_min,
            },
        }
    }

    /// The log, ready for service.
    pub(super) fn finish(mut self, shared: &Arc<Shared>) -> Result<Arc<FileLog>, StorageError> {
        self.mend(shared)?;
        if let Some(bad) = self.bad.take() {
            match self.is_torn(&bad) {
                true => self.cut_torn_tail(&bad, shared)?,
                false => self.read_over(&bad, shared)?,
            }
        }
        // What is trimmed and not synced may be in the journal still, and then the log goes on from there.
        if self.journal.front().is_none_or(|first| first.index > self.end.index) {
            self.drop_trimmed(shared)?;
        }
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
        Ok(self.into_log(written, tail, shared))
    }

    /// Where frames are missing with others behind them, the journal may have what is missing: written again, it
    /// fills the gap, and what is behind it can be read.
    fn mend(&mut self, shared: &Shared) -> Result<(), StorageError> {
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
            .map_err(|error| StorageError::io("reading", path, error))?;
        if self.journal.is_empty() && torn.iter().any(|byte| *byte != 0) {
            let aside = with_suffix(path, &format!(".{}{TORN_SUFFIX}", bad.position));
            match durable::replace(&*shared.disk, &aside, &torn) {
                // A full disk must not keep the log from opening: eviction is what makes room.
                Err(StorageError::Full(what)) => {
                    tracing::warn!(?path, what, "the torn tail is not kept aside");
                }
                kept => kept?,
            }
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
        let outcome = segments::read_frames(&mut index, &mut scan, shared.options.segment_bytes);
        outcome.map_err(|error| scan_error(&last.path, error))?;
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
        if bad.later.is_some() {
            self.damage.extend(holes(last_extent(&self.segments), before, self.end.offset, shared)?);
        }
        Ok(())
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
        if !lost.is_empty() {
            self.damage.push(lost);
        }
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

    fn into_log(self, written: Next, tail: Run, shared: &Arc<Shared>) -> Arc<FileLog> {
        let behind_bytes = tail.entries(0..Index::MAX, usize::MAX).iter().map(frame_len).sum();
        let key = self.manifest.key;
        let mut state = State {
            id: self.manifest.id,
            generation: self.manifest.generation,
            journal_from: self.manifest.journal_from,
            key,
            release_before: self.end.index,
            completed: self.end.index,
            tail,
            waiting: VecDeque::new(),
            segments: self.segments,
            removed: self.manifest.removed,
            start: self.manifest.start,
            synced: written,
            written,
            durable: self.end,
            taken: self.end,
            end: self.end,
            pending_bytes: 0,
            behind_bytes,
            unsynced_bytes: 0,
            damage: Vec::new(),
            doomed: Vec::new(),
            owes_manifest: false,
            queued: false,
            behind: false,
            cuts: 0,
            closed: None,
            ended: false,
        };
        for lost in self.damage {
            state.note_damage(lost);
        }
        let log = FileLog::new(key, self.dir, state, self.sequence, shared.clone());
        if behind_bytes > 0 {
            let mut behind = Behind::default();
            behind.note(&log, &mut log.state(), behind_bytes);
            shared.writer.push_behind(behind, behind_bytes);
        }
        log
    }
}

/// Where a log without segments begins.
const EMPTY: SegmentHeader = SegmentHeader {
    generation: 0,
    base_index: 0,
    base_offset: Offset::ZERO,
    epoch_before: 0,
    salt: Salt([0; 8]),
};

/// What follows the last whole frame behind what is none, and the largest durable offset that any of them
/// names.
fn later(scan: &mut FrameScan, durable: &mut Offset) -> Result<Option<Index>, ScanError> {
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

fn last_extent(segments: &[Segment]) -> Option<&Segment> {
    segments.last()
}

/// The records between two offsets that are in no whole frame of a segment.
fn holes(
    segment: Option<&Segment>,
    from: Offset,
    to: Offset,
    shared: &Shared,
) -> Result<Vec<Range<Offset>>, StorageError> {
    let Some(segment) = segment else { return Ok(Vec::new()) };
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
                if !scan.skip_damage().map_err(|error| failed(error.into()))? {
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
