//! [`StorageStats`]: what a storage says about itself to those who watch over it.

use crate::HistogramSnapshot;

/// How a storage is, and what it has done since it was opened. Counted once for each round and each sync, never
/// for each message.
#[derive(Clone, Debug, Default)]
pub struct StorageStats {
    /// What is made durable together, group commit by group commit, in bytes.
    pub group_bytes: HistogramSnapshot,
    /// The same in entries.
    pub group_entries: HistogramSnapshot,
    /// How long syncs of the journal took, in microseconds.
    pub journal_syncs: HistogramSnapshot,
    /// How long syncs of segments took, in microseconds.
    pub segment_syncs: HistogramSnapshot,
    /// Bytes that were appended and that a loss of power would take.
    pub unsynced_bytes: u64,
    /// The journal, if there is one.
    pub journal: Option<JournalStats>,
    /// Logs there are.
    pub logs: u64,
    /// Logs that take no more appends until they are opened again, because a write or a sync failed.
    pub poisoned_logs: u64,
    /// Bytes that can still be stored, the headroom counted in.
    pub free_bytes: Option<u64>,
    /// Bytes that there would be room for if nothing were stored.
    pub total_bytes: Option<u64>,
    /// Why messages are refused for want of room at the moment; `None`: they are taken.
    pub full: Option<String>,
    /// Whether there is nobody any more who would store what is appended: closed, or a thread has failed.
    pub stopped: bool,
}

/// How the journal is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JournalStats {
    /// Bytes that are durable in the journal and not yet in segments.
    pub behind_bytes: u64,
    /// Files that wait for their content to be in segments.
    pub full_files: u64,
    /// Files that cannot be emptied, because of logs that have failed.
    pub pinned_files: u64,
    /// Whether a write or a sync of it failed: each log is synced by itself, until it begins anew.
    pub failed: bool,
}
