//! The log: what MiniKafka stores, and the promises about it.
//!
//! A [`Storage`] holds logs; a [`Log`] holds the entries of one partition:
//!
//! ```text
//!     0        start                     durable            end
//!     |  trimmed  |  kept                    |  in memory     |
//!                 [-- entry --][-- entry --]...[-- entry --]     every entry: an index, a leader epoch,
//!                                                                a base offset, an append time, a payload
//!     start <= durable <= end;  ranges are half-open: [from, to)
//! ```
//!
//! **Written and durable are two events.** [`Log::append`] puts entries into the log's end, where they can be
//! read at once, and returns. Later, when they are as durable as the backend promises, the completion fires.
//! An entry is not acknowledged to anybody before that.
//!
//! **The caller decides, storage checks.** Index, epoch, base offset and append time come with the entry;
//! storage refuses what does not continue the log, and stamps nothing, so that replicas are identical.
//!
//! There are two backends: [`memory`] is simple and the oracle for [`filesystem`], which writes
//! segments, checksums everything and makes many logs durable with few syncs. Both pass one contract suite,
//! `tests/it/contract.rs`. To write a third, implement the two traits and run the suite.
//!
//! Whoever wants to know what a directory holds, and whether it is whole, without starting a server on it, looks
//! into it with [`filesystem::inspect`].
//!
//! What this crate is not: it knows no topics' settings, no clocks, no sockets and no async runtime.

mod entry;
mod error;
pub mod filesystem;
mod histogram;
mod log_id;
pub mod memory;
mod run;
mod spares;
mod stats;

use std::{fmt, ops::Range, sync::Arc};

use bytes::Bytes;
pub use entry::{Entry, EntryKind, Epoch, Index, Millis};
pub use error::StorageError;
pub use histogram::{Histogram, HistogramSnapshot};
pub use log_id::{LogId, LogIdError, TopicId};
use minikafka_record::{Offset, RecordBatch};
pub use spares::Spares;
pub use stats::{JournalStats, StorageStats};

/// A place that holds logs.
///
/// A trait object at the seam: the broker is compiled once, and a user may bring a backend of their own.
pub trait Storage: Send + Sync + fmt::Debug {
    /// Opens a log, creating it when it is not there. A new log is durable on return. Opening it again while
    /// it is open gives the same log, unless that has failed ([`StorageError::Io`]): then it is recovered from what
    /// is there for good, as after a restart, and its earlier handles fail with [`StorageError::Reopened`].
    /// Everything acknowledged is in it; what was on its way is in it or not, and numbers that were never
    /// acknowledged may be given again. May block.
    ///
    /// # Errors
    /// When the log cannot be created or recovered: nothing is left half made, and a log that had failed stays
    /// as it was, to be read from.
    fn open(&self, id: &LogId) -> Result<Arc<dyn Log>, StorageError>;

    /// As [`open`](Storage::open), for a log of the server's own business: its appends may use the room that is
    /// kept free, so that they go on when messages have filled the rest. Such a log has to stay small.
    ///
    /// # Errors
    /// As there.
    fn open_reserved(&self, id: &LogId) -> Result<Arc<dyn Log>, StorageError>;

    /// The logs there are, in no particular order; among them those that cannot be opened, if it is known whose they
    /// are: opening one says why.
    ///
    /// # Errors
    /// When the place cannot be read.
    fn list(&self) -> Result<Vec<LogId>, StorageError>;

    /// Removes a log with all that belongs to it; durable on return. Handles to it fail from then on.
    /// Removing a log that is not there is fine.
    ///
    /// # Errors
    /// When the removal cannot be made durable; the log may or may not be there after a restart.
    fn remove(&self, id: &LogId) -> Result<(), StorageError>;

    /// The blob `name` of a log, as last stored; `None` when there is none.
    ///
    /// # Errors
    /// When the log is not there, or the blob is damaged.
    fn load_blob(&self, id: &LogId, name: &str) -> Result<Option<Bytes>, StorageError>;

    /// Stores a small blob (a vote, a snapshot) beside a log, replacing the last one of that name as a whole.
    /// Durable on return, and after all appends that the log had taken before.
    ///
    /// # Errors
    /// When the log is not there or the disk fails; the old blob is kept.
    fn store_blob(&self, id: &LogId, name: &str, blob: &[u8]) -> Result<(), StorageError>;

    /// Makes everything durable, whatever the sync policy, and marks a clean stop. Appends fail from then on.
    ///
    /// # Errors
    /// When something could not be made durable.
    fn close(&self) -> Result<(), StorageError>;

    /// How the storage is and what it has done; nothing, for one that does not count. May ask the system how much
    /// room there is.
    fn stats(&self) -> StorageStats {
        StorageStats::default()
    }

    /// Memory of large entries that nobody needs any more, for those that come. One that keeps its entries in memory
    /// has none.
    fn spares(&self) -> Spares {
        Spares::default()
    }

    /// What a completion means here.
    fn durability(&self) -> Durability;

    /// Calls `hook` once if the storage as a whole has failed or ever fails, in a way that only a restart of the
    /// server mends; from any thread. Failures of single logs are no such failure.
    fn when_failed(&self, hook: FailureHook);
}

/// The entries of one partition.
///
/// One owner calls [`append`](Log::append) and [`truncate`](Log::truncate); anybody reads, at any time.
pub trait Log: Send + Sync + fmt::Debug {
    /// Appends entries, which continue the log. They can be read on return. `on_durable` is called exactly
    /// once, from any thread, perhaps before `append` returns; it must not block. With success it says
    /// that these entries and all before them are durable; successes of a log come in order. With an
    /// error it says that nothing of these entries is or will be in the log: they do not continue it, or
    /// it takes no appends (full, failed, removed, closed), or it failed on the way. But for two errors:
    /// after [`StorageError::Io`] and [`StorageError::Crashed`] nobody knows what the disk holds, and the entries
    /// may be there when the log is opened again. Never waits for the disk.
    fn append(&self, entries: Vec<Entry>, on_durable: Completion);

    /// The batches from the one that holds `from` up to `upper`, as far as they are in memory: at least one,
    /// and no more once `bytes_max` is reached. `None` when the first of them is not in memory: ask
    /// [`read`](Log::read), which may block. `upper` does not cut a batch: it is a committed offset, and
    /// batches are committed whole.
    ///
    /// # Errors
    /// When `from` is out of range.
    fn read_tail(
        &self,
        from: Offset,
        upper: Offset,
        bytes_max: usize,
    ) -> Result<Option<Vec<RecordBatch>>, StorageError>;

    /// As [`read_tail`](Log::read_tail), from wherever the batches are. Reading at the end gives none. May
    /// block on the disk. Every byte read from a disk is verified first.
    ///
    /// # Errors
    /// When `from` is out of range, the data is damaged, or the disk fails to read it: then what lies elsewhere can
    /// be read.
    fn read(&self, from: Offset, upper: Offset, bytes_max: usize) -> Result<Vec<RecordBatch>, StorageError>;

    /// The entries of a range of indexes: at least one if there is one, and no more once `bytes_max` is
    /// reached. May block.
    ///
    /// # Errors
    /// When the range begins before the first kept index, or the data is damaged.
    fn entries(&self, range: Range<Index>, bytes_max: usize) -> Result<Vec<Entry>, StorageError>;

    /// Where the log begins and ends. Never waits for the disk.
    fn bounds(&self) -> Bounds;

    /// Finds a place by time; `None` when there is no such place. May block.
    ///
    /// # Errors
    /// When the data is damaged.
    fn seek(&self, seek: Seek) -> Result<Option<Place>, StorageError>;

    /// Removes the entries from `from` on. Their pending completions fail with [`StorageError::Truncated`].
    /// Durable on return, and ahead of later appends whatever happens. May block, and everybody else who asks
    /// for the log with it: only a follower truncates, and nobody is to see half of it.
    ///
    /// # Errors
    /// When `from` lies below the first kept index, or the disk fails.
    fn truncate(&self, from: Index) -> Result<(), StorageError>;

    /// Moves the log start up to `to`; lower ones are a no-op. Readers see the new start at once, durable it
    /// is on return, then space is reclaimed as far as whole segments allow. `to` may lie inside an
    /// entry, and at most at the end of what has completed. May block.
    ///
    /// # Errors
    /// When `to` lies beyond the end, or the disk fails.
    fn trim(&self, to: Offset) -> Result<(), StorageError>;

    /// Throws everything away and goes on behind `removed`, the last entry that is no longer there, with
    /// `start` as the next offset: for a follower that was fed by a snapshot. Pending completions fail.
    /// Durable on return. May block.
    ///
    /// # Errors
    /// When the disk fails.
    fn reset(&self, removed: Removed, start: Offset) -> Result<(), StorageError>;
}

/// Called once, when appended entries are durable or have failed to be.
pub type Completion = Box<dyn FnOnce(Result<(), StorageError>) + Send>;

/// Called once, if a storage fails as a whole.
pub type FailureHook = Box<dyn FnOnce(StorageError) + Send>;

/// Where a log begins and ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// The last entry that was removed from the front.
    pub removed: Removed,
    /// First offset that is kept.
    pub start: Offset,
    /// First offset not yet written: what the next entry must carry.
    pub end: Offset,
    /// Below it, everything is on this disk.
    pub durable: Offset,
    /// Index that the next entry must carry.
    pub next_index: Index,
    /// Epoch of the last entry, or of the last removed one.
    pub last_epoch: Epoch,
    /// Append time of the last entry, in milliseconds since the Unix epoch; of the last one ever, if all are
    /// trimmed.
    pub last_append_time: Option<Millis>,
    /// Bytes that the log takes up.
    pub size_bytes: u64,
    /// Records from the start on that are known to be lost to damage of the disk. Their offsets are not used
    /// again, and reading them fails with [`StorageError::Damaged`], which says where to go on.
    pub damaged: u64,
}

/// The last entry that was removed from the front of a log: its index and epoch stay known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// Index of the first entry kept, one past the removed one's: 0 when nothing was ever removed.
    pub next_index: Index,
    /// Epoch of the removed entry.
    pub epoch: Epoch,
}

/// What to look for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seek {
    /// The first record whose own timestamp is this or later, as Kafka's ListOffsets does.
    RecordTimestamp(Millis),
    /// The first entry that was appended later than this: where eviction stops.
    AppendedAfter(Millis),
    /// The entry that holds this offset, to know when it was appended; the next one when that is lost.
    Offset(Offset),
    /// The first record of the newest part of the log that takes up at most so many bytes, in steps of whole
    /// segments; `None` when all of the log does. The part that is being written to is always counted in.
    Newest(u64),
}

/// What was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Offset of the record, or of the entry's first record that is kept.
    pub offset: Offset,
    /// The record's timestamp, or the entry's append time.
    pub time: Millis,
}

/// What a completion means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// On disk, synced.
    Synced,
    /// In the operating system's cache, synced every so often.
    Periodic(std::time::Duration),
    /// In the operating system's cache.
    Cached,
    /// In the memory of this process.
    Memory,
}
