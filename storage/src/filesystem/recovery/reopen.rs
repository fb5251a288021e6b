//! Reopening: a log that has failed is recovered in the running process, as it would be after a restart.
//!
//! Nothing of what the failed log remembers is believed but what was durable: its files are read again from their
//! last checkpoint on, written over themselves and synced, as at a start. What was durable in the journal only is
//! still in memory; it goes to the segments now, and then the manifest makes void whatever the journal says of the
//! log: a record whose sync has failed must not come back with entries that nobody was promised, behind others that
//! have taken their numbers.
//!
//! The failed log can be read from until the new one takes its place.

use std::sync::Arc;

use crate::{
    Entry, StorageError,
    filesystem::{
        log::FileLog,
        manifest::Manifest,
        recovery::{Opened, Progress},
        state::State,
    },
    run::Next,
};

/// What is known of a log that has failed beside what its files say.
struct Known {
    /// First record of the journal that speaks of it.
    journal_from: u64,
    /// What was durable; `None` if a truncation was under way, which takes some of it back.
    durable: Option<Next>,
    /// Entries that were durable in the journal only.
    journaled: Vec<Entry>,
}

impl Known {
    fn of(state: &State) -> Known {
        Known {
            journal_from: state.journal_from,
            durable: (!state.is_truncating).then_some(state.durable),
            journaled: state.tail.entries(state.written.index..state.durable.index, usize::MAX),
        }
    }
}

impl FileLog {
    /// Recovers the log from the disk, and takes this handle of it out of service. The caller sees to it that
    /// nobody does so at the same time.
    ///
    /// # Errors
    /// When the disk fails or is full, or the log is damaged beyond opening: then everything stays as it was.
    pub(in crate::filesystem) fn reopen(&self) -> Result<Arc<FileLog>, StorageError> {
        // A round that is under way may still write entries of this log to the journal; no later one does.
        let journal_from = {
            let _rounds = self.shared.lock_rounds();
            self.shared.next_journal_sequence()
        };
        // From here on nobody changes its files: whoever holds these asks first whether the log has failed.
        let files = self.lock_files();
        let _manifest = self.lock_manifest();
        let known = Known::of(&self.state());
        let log = self.recover(known)?;
        if let Err(error) = self.hand_over(&log, journal_from) {
            log.abandon(&StorageError::Reopened);
            return Err(error);
        }
        self.retire(&files, &StorageError::Reopened);
        // What the journal has of it is void: its files may be used again.
        self.shared.writer.unpin();
        let end = log.state().end.offset;
        tracing::warn!(log = ?self.dir, %end, "the log was opened anew after a failure, it takes appends again");
        Ok(log)
    }

    /// The log as the disk has it.
    fn recover(&self, known: Known) -> Result<Arc<FileLog>, StorageError> {
        let Some(found) = Manifest::load(&*self.shared.disk, &self.dir)? else {
            return Err(StorageError::damaged(&self.dir, 0, "the manifest is missing"));
        };
        // A truncation or a reset that has failed may have made it void.
        let is_same = found.0.journal_from == known.journal_from;
        let mut opened = Opened::open(&self.dir, found, &self.shared, &Arc::new(Progress::new(1)))?;
        if is_same {
            known.journaled.into_iter().for_each(|entry| opened.offer(entry));
            known.durable.into_iter().for_each(|durable| opened.mark(durable.index, durable.offset));
        }
        opened.finish(&self.shared)
    }

    /// Brings the new log to where this one was.
    fn hand_over(&self, log: &FileLog, journal_from: u64) -> Result<(), StorageError> {
        log.sync()?;
        let start = {
            let failed = self.state();
            let mut state = log.state();
            state.journal_from = state.journal_from.max(journal_from);
            state.know_damage(failed.known_damage());
            failed.start
        };
        {
            let mut sequence = log.lock_manifest();
            let manifest = log.state().manifest();
            manifest.store_twice(&*log.shared.disk, &log.dir, &mut sequence)?;
        }
        // An eviction that could not be written down was visible: the start never goes back.
        let end = log.state().end.offset;
        log.trim_prefix(start.min(end))
    }
}
