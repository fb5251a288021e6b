//! [`Opened`], a log on its way from the disk into service.

use std::{
    collections::{BTreeSet, VecDeque},
    path::{Path, PathBuf},
    sync::Arc,
};

use minikafka_record::Offset;

use super::{
    Progress,
    bad::{Bad, later},
    segments::{self, Segments},
    truncation,
};
use crate::{
    Entry, Index, Millis, StorageError,
    filesystem::{
        Shared,
        damage::Damage,
        durable,
        frame::{Salt, frame_len},
        index::IndexPoint,
        log::FileLog,
        manifest::{Manifest, Sequence},
        scan::{FrameScan, ScanError},
        segment::{READ_CHUNK_LEN, Segment, SegmentHeader, scan_error},
        state::{State, Truncation},
        writer_queue::Behind,
    },
    run::{Next, Run},
};

/// A log whose own files have been read, and that is being told what the journal holds of it.
pub(super) struct Opened {
    pub(super) manifest: Manifest,
    sequence: Sequence,
    pub(super) dir: PathBuf,
    pub(super) segments: Vec<Segment>,
    /// What is known of the end of the log: where whole frames end, and then where the journal's entries do.
    pub(super) end: Next,
    /// Where the last segment holds something else than frames.
    pub(super) bad: Option<Bad>,
    /// Entries of the journal that the segments do not have, in order, perhaps with gaps.
    pub(super) journal: VecDeque<Entry>,
    /// Everything below this offset, and before this index, was durable once.
    pub(super) durable: (Offset, Index),
    /// What is known to be damaged, and what the file says of it.
    pub(super) damage: Damage,
    stored_damage: Damage,
    when_full: durable::WhenFull,
    progress: Arc<Progress>,
}

/// Why a log is opened.
pub(super) enum Why {
    /// The storage is.
    Start,
    /// It has failed in this process, which knows these of its segments to be damaged, by generation and base index.
    Failure { damaged: BTreeSet<(u64, Index)> },
}

impl Why {
    fn when_full(&self) -> durable::WhenFull {
        match self {
            // Eviction needs the log to be open.
            Why::Start => durable::WhenFull::GoOn,
            // What was not synced is only in the system's cache; it is tried again later.
            Why::Failure { .. } => durable::WhenFull::Fail,
        }
    }
}

impl Opened {
    /// Reads the log in `dir`. `sequence` is how often its manifest was written, also when this fails.
    pub(super) fn open(
        dir: &Path,
        mut manifest: Manifest,
        sequence: &mut Sequence,
        why: Why,
        shared: &Shared,
        progress: &Arc<Progress>,
    ) -> Result<Opened, StorageError> {
        let stored_damage = Damage::load(&*shared.disk, dir)?;
        let mut damage = stored_damage.clone();
        let when_full = why.when_full();
        if let Why::Failure { damaged } = why {
            damage.segments.extend(damaged);
        }
        if damage.generation != manifest.generation {
            damage.lost.clear();
            damage.generation = manifest.generation;
        }
        if let Some(from) = manifest.truncating {
            // What it says of the end is from before.
            (manifest.durable, manifest.durable_index) = (manifest.start, manifest.removed.next_index);
            truncation::finish(dir, &manifest, from, &damage, shared)?;
        }
        let Segments { segments, checkpoint, last_len } =
            segments::find(dir, &manifest, &damage, shared, progress)?;
        let mut opened = Opened {
            durable: (manifest.durable, manifest.durable_index),
            end: Next { index: 0, offset: Offset::ZERO, epoch_min: 0, append_time_min: Millis::MIN },
            manifest,
            sequence: *sequence,
            dir: dir.to_owned(),
            segments,
            bad: None,
            journal: VecDeque::new(),
            damage,
            stored_damage,
            when_full,
            progress: progress.clone(),
        };
        if let Some(checkpoint) = checkpoint {
            opened.mark(checkpoint.index, checkpoint.offset);
            if checkpoint.position > last_len {
                opened.forget_index(sequence, shared)?;
            }
        }
        opened.read_last(last_len, shared)?;
        opened.keep_last(shared)?;
        opened.check_chain()?;
        opened.end = opened.find_end();
        opened.end_truncation(sequence, shared)?;
        opened.sequence = *sequence;
        Ok(opened)
    }

    /// Whoever made the last segment may have ended, or failed, before its header and its name were durable: then it has
    /// nothing else yet.
    fn keep_last(&self, shared: &Shared) -> Result<(), StorageError> {
        let Some(last) = self.segments.last().filter(|last| last.is_empty()) else { return Ok(()) };
        durable::rewrite(&*last.file(shared)?, &last.path, 0..last.end().position, self.when_full)?;
        durable::sync_dir(&*shared.disk, &self.dir)
    }

    /// A truncation that was under way is at its end, and so are what was known of the records that it took away and
    /// the note in the manifest, in this order.
    fn end_truncation(&mut self, sequence: &mut Sequence, shared: &Shared) -> Result<(), StorageError> {
        if self.manifest.truncating.take().is_none() {
            return Ok(());
        }
        if self.damage.lost.forget_from(self.end.offset) {
            self.damage.store(&*shared.disk, &self.dir)?;
        }
        self.manifest.store_truncated(&*shared.disk, &self.dir, sequence)
    }

    /// The index speaks of more than the segment holds. What is appended there now would be taken for what it speaks
    /// of: the manifest remembers that something was there, and the index goes.
    fn forget_index(&mut self, sequence: &mut Sequence, shared: &Shared) -> Result<(), StorageError> {
        (self.manifest.durable, self.manifest.durable_index) = self.durable;
        self.manifest.store(&*shared.disk, &self.dir, sequence)?;
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
    pub(super) fn read_last(&mut self, len: u64, shared: &Shared) -> Result<(), StorageError> {
        let Some(last) = self.segments.last_mut() else { return Ok(()) };
        let from = last.end().position;
        if from >= len {
            return Ok(());
        }
        let (file, path) = (last.file(shared)?, last.path.clone());
        let failed = |error| scan_error(&path, error);
        let mut scan = FrameScan::new(file.clone(), last.header.salt, from, len, READ_CHUNK_LEN)
            .with_progress(self.progress.clone());
        let mut durable = self.durable.0;
        self.bad = loop {
            match scan.next() {
                Ok(Some(frame)) => {
                    durable = durable.max(frame.durable);
                    let (end, entry) = (*last.end(), &frame.entry);
                    if entry.index > end.index && entry.base_offset >= end.offset {
                        // Records were lost before, and the log went on behind them.
                        self.damage.lost.note(end.offset..entry.base_offset);
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
        durable::rewrite(&*file, &path, from..last.end().position, self.when_full)
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
                self.damage.lost.note(expected.offset..base.offset);
            }
            expected = *segment.end();
        }
        Ok(())
    }

    /// What the next entry must carry.
    pub(super) fn find_end(&self) -> Next {
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
            self.end_at(&bad, shared)?;
        }
        // What is trimmed and not synced may be in the journal still, and then the log goes on from there.
        if self.journal.front().is_none_or(|first| first.index > self.end.index) {
            self.drop_trimmed(shared)?;
        }
        let (written, tail) = self.follow_journal(shared)?;
        Ok(self.into_log(written, tail, shared))
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
            segments: self.segments.into(),
            removed: self.manifest.removed,
            start: self.manifest.start,
            evicted: self.manifest.start,
            synced: written,
            synced_end: None,
            written,
            durable: self.end,
            taken: self.end,
            end: self.end,
            pending_bytes: 0,
            behind_bytes,
            damage: self.damage.lost,
            owes_damage: false,
            truncation: Truncation::None,
            doomed: Vec::new(),
            owes_manifest: false,
            queued: false,
            behind: false,
            cuts: 0,
            closed: None,
            ended: false,
        };
        state.damage.forget_before(state.start);
        state.owes_damage = state.known_damage() != self.stored_damage;
        let log = FileLog::new(key, self.dir, state, self.sequence, shared.clone());
        if behind_bytes > 0 {
            let mut behind = Behind::default();
            behind.note(&log, &mut log.state(), behind_bytes);
            shared.writer.push_behind(behind, behind_bytes);
        }
        log.remember_damage_soon();
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
