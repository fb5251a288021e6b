//! Reopening: a log that has failed is recovered in the running process, as it would be after a restart.
//!
//! Nothing of what the failed log remembers is believed but what was durable: its files are read again from their
//! last checkpoint on, written over themselves and synced, as at a start. What was durable in the journal only is
//! still in memory, or written to a segment that is not synced; of that, what the segment has lost goes there again,
//! and then the manifest makes void whatever the journal says of the log: a record whose sync has failed must not come
//! back with entries that nobody was promised, behind others that have taken their numbers. If the segment has lost
//! what is not in memory any more, only the journal has it: the log waits for a restart.
//!
//! The failed log can be read from until the new one takes its place.

use std::sync::Arc;

use crate::{
    Entry, Index, StorageError,
    filesystem::{
        damage::Damage,
        edition::Edition,
        log::FileLog,
        manifest::{Manifest, Sequence},
        recovery::{Opened, Progress, Why},
        state::{State, Truncation},
    },
    run::Next,
};

/// What is known of a log that has failed beside what its files say.
struct Known {
    generation: u64,
    /// First record of the journal that speaks of it.
    journal_from: u64,
    /// What was durable; `None` if a truncation was under way, which takes some of it back.
    durable: Option<Next>,
    /// What was durable in segments. A file whose sync has failed may have lost what was written behind it.
    synced: Next,
    /// Entries that were durable in the journal only, as far as they are in memory.
    journaled: Vec<Entry>,
    /// What is damaged. Not all of it may be in its file yet.
    damage: Damage,
}

impl Known {
    fn of(state: &State) -> Known {
        Known {
            generation: state.generation,
            journal_from: state.journal_from,
            durable: (state.truncation == Truncation::None).then_some(state.durable),
            synced: state.synced,
            journaled: state.tail.entries(state.synced.index..state.durable.index, usize::MAX),
            damage: state.known_damage(),
        }
    }

    /// Whether whole segments up to `end` and memory have all that was durable in the journal only.
    fn has_journaled(&self, end: Index) -> bool {
        let durable = self.durable.unwrap_or(self.synced).index;
        let first = self.journaled.first().map_or(durable, |first| first.index);
        first <= self.synced.index.max(end)
    }
}

impl FileLog {
    /// Recovers the log from the disk, and takes this handle of it out of service. The caller sees to it that
    /// nobody does so at the same time.
    ///
    /// # Errors
    /// When the disk fails or is full, the log is damaged beyond opening, or it takes the journal to open it: then
    /// everything stays as it was.
    pub(in crate::filesystem) fn reopen(&self) -> Result<Arc<FileLog>, StorageError> {
        // A round that is under way may still write entries of this log to the journal; no later one does.
        let journal_from = {
            let _rounds = self.shared.lock_rounds();
            self.shared.next_journal_sequence()
        };
        // From here on nobody changes its files: whoever holds these asks first whether the log has failed.
        let files = self.lock_files();
        let mut sequence = self.lock_manifest();
        let known = Known::of(&self.state());
        let damage = known.damage.clone();
        let log = self.recover(known, &mut sequence)?;
        if let Err(error) = self.hand_over(&log, journal_from, damage) {
            log.abandon(&StorageError::Reopened);
            // What this handle writes next must count.
            *sequence = *log.lock_manifest();
            return Err(error);
        }
        self.retire(&files, &StorageError::Reopened);
        self.retire_editions();
        // What the journal has of it is void: its files may be used again.
        self.shared.writer.unpin();
        let end = log.state().end.offset;
        tracing::warn!(log = ?self.dir, %end, "the log was opened anew after a failure, it takes appends again");
        Ok(log)
    }

    /// Whoever still reads a segment through this handle is not to store what it learns of it: the new log may cut it
    /// meanwhile.
    fn retire_editions(&self) {
        let editions: Vec<_> = {
            let state = self.state();
            state.segments.iter().chain(&state.doomed).map(|segment| segment.edition.clone()).collect()
        };
        editions.iter().for_each(Edition::retire);
    }

    /// The log as the disk has it. What is in the manifest may come from a write that has failed: `sequence`, and not
    /// the file, says how often it was surely written, and so which slot is written next, by whichever handle.
    fn recover(&self, known: Known, sequence: &mut Sequence) -> Result<Arc<FileLog>, StorageError> {
        let disk = &*self.shared.disk;
        let Some((manifest, found)) = Manifest::load(disk, &self.dir)? else {
            return Err(StorageError::damaged(&self.dir, 0, "the manifest is missing"));
        };
        if found > *sequence {
            // It may be in the system's cache only: written again, before anything is removed because of it.
            manifest.store(disk, &self.dir, sequence)?;
        }
        self.go_by(&manifest);
        // A truncation or a reset that has failed may have made it void.
        let is_same = manifest.journal_from == known.journal_from
            && manifest.generation == known.generation
            && manifest.truncating.is_none();
        let progress = Arc::new(Progress::new(1));
        let damaged = known.damage.segments.clone();
        let mut opened =
            Opened::open(&self.dir, manifest, sequence, Why::Failure { damaged }, &self.shared, &progress)?;
        if is_same {
            if !known.has_journaled(opened.end.index) {
                let what = "a segment has lost what only the journal has now, a restart brings it back";
                return Err(StorageError::Poisoned(what.to_owned()));
            }
            known.journaled.into_iter().for_each(|entry| opened.offer(entry));
            known.durable.into_iter().for_each(|durable| opened.mark(durable.index, durable.offset));
        }
        opened.finish(&self.shared)
    }

    /// A truncation or a reset has happened if the manifest says so, although this log has only seen it fail: files go
    /// now. Should the new log fail behind that, what this one writes and remembers is no longer from before.
    fn go_by(&self, manifest: &Manifest) {
        let mut state = self.state();
        if manifest.generation != state.generation {
            // Nobody waits: the log has failed.
            let _ = state.begin_anew(manifest);
        } else if let Some(from) = manifest.truncating {
            state.truncation = Truncation::From(from);
        }
    }

    /// Brings the new log to where this one was.
    fn hand_over(&self, log: &FileLog, journal_from: u64, damage: Damage) -> Result<(), StorageError> {
        log.sync()?;
        {
            let mut state = log.state();
            state.journal_from = state.journal_from.max(journal_from);
            state.know_damage(damage);
        }
        {
            let mut sequence = log.lock_manifest();
            let manifest = log.state().manifest();
            manifest.store_twice(&*log.shared.disk, &log.dir, &mut sequence)?;
        }
        // An eviction that could not be written down was visible: the start never goes back.
        let (start, end) = (self.state().readable_from(), log.state().end.offset);
        log.trim_prefix(start.min(end))?;
        log.remember_damage_soon();
        Ok(())
    }
}
