//! [`Counters`], what the threads of a storage count, and how that becomes [`StorageStats`].

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::Instant,
};

use super::{SyncPolicy, space::headroom_bytes, storage::FileStorage};
use crate::{Histogram, JournalStats, StorageError, StorageStats};

/// Relaxed throughout: figures for people, which order nothing.
#[derive(Debug)]
pub(super) struct Counters {
    group_bytes: Histogram,
    group_entries: Histogram,
    journal_syncs: Histogram,
    segment_syncs: Histogram,
    /// Bytes of the round under way.
    round_bytes: AtomicU64,
    journal_failed: AtomicBool,
    /// Bytes that were refused last for want of room; 0 when others were taken since.
    refused_bytes: AtomicU64,
}

impl Default for Counters {
    fn default() -> Counters {
        Counters {
            group_bytes: Histogram::of_bytes(),
            group_entries: Histogram::of_counts(),
            journal_syncs: Histogram::of_durations(),
            segment_syncs: Histogram::of_durations(),
            round_bytes: AtomicU64::new(0),
            journal_failed: AtomicBool::new(false),
            refused_bytes: AtomicU64::new(0),
        }
    }
}

impl Counters {
    /// A round begins that makes so much durable. `room`: whether there was room for all that was to be; if not,
    /// this much was refused.
    pub(super) fn round_begins(&self, bytes: u64, entries: u64, room: Result<(), u64>) {
        match room {
            Ok(()) if bytes > 0 => self.refused_bytes.store(0, Ordering::Relaxed),
            // Only logs that may use what is kept free: that says nothing about the others.
            Ok(()) | Err(0) => {}
            Err(refused) => self.refused_bytes.store(refused, Ordering::Relaxed),
        }
        if bytes > 0 {
            self.round_bytes.store(bytes, Ordering::Relaxed);
            self.group_bytes.record(bytes);
            self.group_entries.record(entries);
        }
    }

    pub(super) fn round_ends(&self, journal_failed: bool) {
        self.round_bytes.store(0, Ordering::Relaxed);
        self.journal_failed.store(journal_failed, Ordering::Relaxed);
    }

    pub(super) fn journal_synced(&self, begin: Instant) {
        self.journal_syncs.record_since(begin);
        tracing::debug!(file = "journal", took = ?begin.elapsed(), "synced");
    }

    pub(super) fn segment_synced(&self, begin: Instant) {
        self.segment_syncs.record_since(begin);
        tracing::debug!(file = "segment", took = ?begin.elapsed(), "synced");
    }
}

impl FileStorage {
    /// See [`Storage::stats`](crate::Storage::stats).
    pub(super) fn collect_stats(&self) -> StorageStats {
        let (shared, counters) = (&self.shared, &self.shared.counters);
        let is_synced_later = shared.options.sync != SyncPolicy::Always;
        let mut stats = StorageStats {
            group_bytes: counters.group_bytes.snapshot(),
            group_entries: counters.group_entries.snapshot(),
            journal_syncs: counters.journal_syncs.snapshot(),
            segment_syncs: counters.segment_syncs.snapshot(),
            // With the other policies they are counted as written, log by log.
            unsynced_bytes: if is_synced_later { 0 } else { counters.round_bytes.load(Ordering::Relaxed) },
            journal: Some(JournalStats {
                failed: counters.journal_failed.load(Ordering::Relaxed),
                ..shared.writer.journal_stats()
            })
            .filter(|_| shared.options.journal_bytes > 0 && !is_synced_later),
            stopped: shared.crash.check().is_err() || !self.threads_run(),
            ..StorageStats::default()
        };
        for log in self.logs_there() {
            let state = log.state();
            stats.logs += 1;
            let has_failed =
                matches!(state.closed, Some(StorageError::Poisoned(_) | StorageError::Crashed { .. }));
            stats.poisoned_logs += u64::from(has_failed);
            stats.unsynced_bytes += state.pending_bytes;
            stats.unsynced_bytes += if is_synced_later { state.unsynced_bytes() } else { 0 };
        }
        self.collect_space(&mut stats);
        stats
    }

    /// Asks the system how much room there is: what was refused may be taken now, although nobody has tried.
    fn collect_space(&self, stats: &mut StorageStats) {
        let Ok(space) = self.shared.disk.space(self.root()) else { return };
        let kept = headroom_bytes(space);
        let room = space.available_bytes.saturating_sub(kept);
        stats.free_bytes = Some(space.available_bytes);
        stats.total_bytes = Some(space.total_bytes);
        if room == 0 || room < self.shared.counters.refused_bytes.load(Ordering::Relaxed) {
            let free = space.available_bytes;
            stats.full = Some(format!(
                "the disk has {free} bytes left, of which {kept} are kept free for evictions and deletions"
            ));
        }
    }
}
