//! The filesystem backend: segments of checksummed frames, and a journal that makes many logs durable at once.
//!
//! ```text
//!   append ---> tail (memory) ---> journal, or segment ---> sync ---> completions
//!   any thread   readable at once   \_____ one flusher thread for all logs _____/
//!                      \
//!                       `--> segments, behind; checkpoints: one writer thread
//! ```
//!
//! `append` puts entries into the log's tail and tells the flusher; it never waits for the disk. The flusher
//! takes what all logs have: what is small goes into one record of the [journal], what is large straight to the
//! segment of its log. It syncs, and only then completes: that is group commit, and the duration of the sync
//! itself forms the group. The writer brings what is only in the journal to the segments later. See
//! [`SyncPolicy`] for those who want less.
//!
//! Everything written is in frames with checksums (module `frame`); frames are in segments (`segment`), which
//! roll by size and age; a sparse index (`index`) tells where to look and how much of a segment was durable; a
//! small manifest (`manifest`) tells where the log begins. The directory is drawn in `directory`, all sync and
//! rename craft is in `durable`, and all of it asks the system for nothing but what [`disk`] says.
//!
//! - **Invariant:** a completion with success is called after the sync of every byte up to its entries (with
//!   [`SyncPolicy::Always`]).
//! - **Invariant:** after an error of a write or a sync, the log takes no more appends: a sync is never tried
//!   again, because the system may have dropped the bytes it failed to write. A full disk is no such error:
//!   the append fails, nothing of it is kept, the next one is tried. Opening the log again recovers it from
//!   the disk, in the running process as after a restart (`recovery::reopen`).
//! - **Invariant:** a thread that panics fails every log (`crash`): nobody waits for what nobody does any more.
//! - **Invariant:** what is read from a file is verified before it is returned.
//! - **Invariant:** an offset is never used for two records, whatever was lost.
//!
//! Opening first makes durable what a killed process has left unsynced. Then it reads what was written since the last
//! checkpoint: of each log the end of its last segment, and the journal. Bytes behind the last whole frame that were never synced are a torn tail: they are cut off, and
//! kept aside in a file that ends in `.torn`, if there is room for it. If anything whole says that these bytes
//! had been synced once (a later frame, an index, the manifest, the journal), they are damage: they stay where
//! they are, what was in them is lost and reported, and the log goes on behind them. One case cannot be told
//! apart: when the very last group commit is damaged and nothing later says that it was durable.
//!
//! What is found to be damaged, then or by a reader later, is remembered in a small file (`damage`). Bytes that the
//! disk fails to read are not called damaged: who asks for them is told, what lies around them is served, and the
//! log is left alone if it is opened just then ([`StorageError::Unreadable`](crate::StorageError::Unreadable)).
//!
//! [`inspect`] comes to the same decisions without changing a byte, for the operator of a server that is stopped.
//!
//! [journal]: self#the-journal

mod buffers;
mod counters;
mod crash;
mod cut;
mod damage;
mod directory;
pub mod disk;
mod durable;
mod edition;
mod extent;
mod flusher;
mod frame;
mod handles;
mod index;
mod indexes;
pub mod inspect;
mod journal;
mod log;
mod logs;
mod manifest;
mod read;
mod recovery;
mod scan;
mod sealed;
mod segment;
mod segments;
mod space;
mod state;
mod storage;
mod trim;
mod write;
mod writer;
mod writer_queue;

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

pub use self::storage::FileStorage;
use self::{
    buffers::Buffers, counters::Counters, crash::Crash, disk::Disk, flusher::FlushQueue, handles::Handles,
    indexes::Indexes, writer_queue::WriterQueue,
};
use crate::Spares;

/// When written entries are synced, and so when they complete.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SyncPolicy {
    /// Before they complete. Nothing acknowledged is ever lost.
    #[default]
    Always,
    /// Every so often. Entries complete when they are written to the operating system: a crash of the process
    /// loses nothing, power loss up to this much, and the numbers of what was lost are given again.
    Every(Duration),
    /// When the operating system likes, and when a segment is full. As above, without a bound.
    Never,
}

/// What can be chosen.
#[derive(Clone, Debug)]
pub struct Options {
    /// When entries are synced.
    pub sync: SyncPolicy,
    /// Size at which a segment is sealed and the next one begun.
    pub segment_bytes: u64,
    /// Age of its first entry at which a segment is sealed and the next one begun, if it holds more than a few
    /// messages; `None`: never. Eviction gives space back segment by segment, so it is a part of how long
    /// messages are kept.
    pub segment_age: Option<Duration>,
    /// Bytes of durable entries kept in memory for readers near the end, over all logs.
    pub tail_bytes: u64,
    /// Segment files kept open.
    pub open_files: usize,
    /// Size at which a file of the journal is full. Small files are soon written over, which is faster than to make a
    /// file longer. 0: no journal, each log is synced by itself.
    pub journal_bytes: u64,
    /// How many such files there are at most, and two at least, beside those that wait for a log that has failed. Three are enough while
    /// the disk is quick: one is written to, one is being emptied, one is spare. With many logs it takes longer to empty
    /// one, but then the next ones are soon done.
    pub journal_files: usize,
    /// Time without a journal after a write or a sync of it has failed. Then it begins anew, in new files.
    pub journal_pause: Duration,
    /// What waits of one log goes to the journal together with that of others while it has fewer bytes than
    /// this, and straight to the log's segment otherwise.
    pub direct_bytes: u64,
    /// All that waits, of all logs, goes to the journal as a whole while it has fewer bytes than this: one sync of a
    /// file that does not grow costs less than one of a segment that does.
    pub small_round_bytes: u64,
    /// Each time that so many bytes more wait of one log, they are written while the flusher is still busy with
    /// what came before; it syncs them in its next round. Few times as much is written, synced and completed
    /// at once, so that the disk always has something to do and nobody waits for much else.
    pub early_bytes: u64,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            sync: SyncPolicy::default(),
            segment_bytes: 128 * 1024 * 1024,
            segment_age: None,
            tail_bytes: 8 * 1024 * 1024,
            open_files: 512,
            journal_bytes: 16 * 1024 * 1024,
            journal_files: 12,
            journal_pause: Duration::from_secs(10),
            direct_bytes: 64 * 1024,
            small_round_bytes: 256 * 1024,
            early_bytes: 1024 * 1024,
        }
    }
}

/// What all logs of a storage share.
struct Shared {
    options: Options,
    disk: Arc<dyn Disk>,
    handles: Handles,
    indexes: Indexes,
    buffers: Buffers,
    spares: Spares,
    queue: FlushQueue,
    writer: Arc<WriterQueue>,
    /// Sequence of the next record of the journal.
    journal_sequence: Arc<AtomicU64>,
    /// Whether the journal files that were found are kept as they are, for logs that could not be opened.
    journal_kept: AtomicBool,
    rounds: Mutex<()>,
    counters: Counters,
    crash: Crash,
}

impl Shared {
    /// Keeps the flusher from beginning a round.
    fn lock_rounds(&self) -> MutexGuard<'_, ()> {
        self.rounds.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the journal says of a log is void before this. Only while no round is under way.
    fn next_journal_sequence(&self) -> u64 {
        self.journal_sequence.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What logs share, without threads.
    pub(super) fn shared() -> Shared {
        let disk = Arc::new(disk::SystemDisk);
        Shared {
            handles: Handles::new(disk.clone(), 8),
            indexes: Indexes::default(),
            buffers: Buffers::default(),
            spares: Spares::default(),
            queue: FlushQueue::default(),
            writer: Arc::new(WriterQueue::new(Options::default().journal_files)),
            journal_sequence: Arc::new(AtomicU64::new(1)),
            journal_kept: AtomicBool::new(false),
            rounds: Mutex::new(()),
            counters: Counters::default(),
            crash: Crash::default(),
            options: Options::default(),
            disk,
        }
    }
}
