//! [`Memory`], what a partition remembers of its producers, shared by its owner, its completions and whoever asks;
//! and how it outlives the process.
//!
//! A snapshot is stored beside the log at a clean stop, every [`SNAPSHOT_BYTES`], and before an eviction takes what
//! no snapshot has. Opening reads the last one, and the log from there on.

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use minikafka_record::{Offset, ProducerStamp};
use minikafka_storage::{Index, Log, LogId, Millis, Storage, StorageError};

use super::{
    Admission, Completed, EntryId, ProducerDescription, ProducerIdentity, replay,
    snapshot::Snapshot,
    state::{Place, Producers},
};
use crate::append_clock::millis;

/// Bytes of the log from one snapshot to the next. It bounds what opening reads after a crash, a tenth of a second
/// or so, and makes what is written for snapshots nothing beside the messages.
pub(crate) const SNAPSHOT_BYTES: u64 = 64 << 20;
/// At a clean stop, so many bytes are read again more cheaply than a snapshot is stored.
const SNAPSHOT_BYTES_MIN: u64 = 1 << 20;
/// Name of the blob.
pub(super) const BLOB: &str = "producers";

/// See the module. `W` is one who waits for an answer.
pub(crate) struct Memory<W> {
    /// Not held on to: whoever drops a broker without closing it lets go of its storage.
    storage: Weak<dyn Storage>,
    id: LogId,
    /// A std lock: held for a look at an entry's batches, never while anything waits.
    producers: Mutex<Producers<W>>,
    /// Held while a snapshot is stored, by threads that may wait for the disk.
    stored: Mutex<Stored>,
    /// Of the log, since the last snapshot.
    bytes: AtomicU64,
    /// Entries below this index are stored for good, and known to `producers`.
    committed_index: AtomicU64,
    /// The offset that goes with it, or an earlier one.
    committed_offset: AtomicU64,
}

/// The last snapshot that was stored.
#[derive(Clone, Copy, Debug, Default)]
struct Stored {
    next_index: Index,
    next_offset: Offset,
}

impl<W> Memory<W> {
    /// What is known of the producers of a log. Blocks on the disk.
    ///
    /// # Errors
    /// When the log cannot be read, damage excepted: what is lost is not remembered.
    pub(crate) fn open(
        storage: &Arc<dyn Storage>,
        id: LogId,
        log: &dyn Log,
        expiry: Duration,
    ) -> Result<Memory<W>, StorageError> {
        let mut producers = Producers::new(millis(expiry));
        let snapshot = load(&**storage, &id)?;
        let stored = snapshot.as_ref().map_or(Stored::default(), |snapshot| Stored {
            next_index: snapshot.next_index,
            next_offset: snapshot.next_offset,
        });
        let bytes = replay::replay(&mut producers, snapshot, &id, log)?;
        let bounds = log.bounds();
        Ok(Memory {
            committed_index: bounds.next_index.into(),
            committed_offset: bounds.end.get().into(),
            storage: Arc::downgrade(storage),
            id,
            producers: Mutex::new(producers),
            stored: Mutex::new(stored),
            bytes: bytes.into(),
        })
    }

    /// The log was opened again after a failure: what was on its way then is in it or not, and what is there must not
    /// be stored again. Blocks on the disk.
    ///
    /// # Errors
    /// As [`open`](Memory::open).
    pub(crate) fn learn(&self, log: &dyn Log) -> Result<(), StorageError> {
        let from = replay::Start {
            index: self.committed_index.load(Ordering::Acquire),
            offset: Offset::new(self.committed_offset.load(Ordering::Acquire)),
        };
        // Without the lock: the disk may be slow.
        let mut news: Producers<W> = Producers::new(Millis::MAX);
        replay::by_index(&mut news, from, &self.id, log)?;
        let mut producers = self.lock();
        for (id, producer) in news.by_id {
            for place in producer.stored {
                producers
                    .0
                    .observe(ProducerStamp { id, epoch: producer.epoch, sequence: place.sequence }, place);
            }
        }
        drop(producers);
        let bounds = log.bounds();
        self.note_committed(bounds.next_index, bounds.end);
        Ok(())
    }

    /// Those who are about to judge the batches of an entry, or to complete one.
    pub(crate) fn lock(&self) -> Locked<'_, W> {
        Locked(self.producers.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What is remembered at `now`, ordered by id.
    pub(crate) fn describe(&self, now: Millis) -> Vec<ProducerDescription> {
        let mut producers = self.lock();
        producers.0.sweep(now);
        let mut descriptions: Vec<_> = producers
            .0
            .by_id
            .iter()
            .filter_map(|(id, producer)| {
                let last = producer.stored.back()?;
                Some(ProducerDescription {
                    partition: self.id.partition,
                    identity: ProducerIdentity { id: *id, epoch: producer.epoch },
                    last_sequence: last.last_sequence(),
                    last_offset: last.base_offset.plus(u64::from(last.count).saturating_sub(1)),
                    last_append_time: last.append_time,
                })
            })
            .collect();
        drop(producers);
        descriptions.sort_unstable_by_key(|description| description.identity.id);
        descriptions
    }

    /// The newest epoch of a producer, if it is remembered.
    pub(crate) fn epoch_of(&self, id: i64) -> Option<i16> {
        let producers = self.lock();
        producers.0.by_id.get(&id).map(|producer| producer.epoch).filter(|epoch| *epoch >= 0)
    }

    /// The log has grown. Says whether it is time for a snapshot: once.
    pub(crate) fn grown(&self, bytes: u64) -> bool {
        let before = self.bytes.fetch_add(bytes, Ordering::Relaxed);
        before < SNAPSHOT_BYTES && before + bytes >= SNAPSHOT_BYTES
    }

    /// Entries up to this one are stored, and what they say of producers is known here.
    pub(crate) fn note_committed(&self, next_index: Index, next_offset: Offset) {
        self.committed_index.store(next_index, Ordering::Release);
        self.committed_offset.store(next_offset.get(), Ordering::Release);
    }

    /// Stores a snapshot. Blocks on the disk.
    pub(crate) fn store(&self) -> Result<(), StorageError> {
        let mut stored = self.stored();
        // Even if it fails: the next one comes after as many bytes, and not with every entry.
        self.bytes.store(0, Ordering::Relaxed);
        // What is behind them is read again, and is no news where the snapshot has it. The end of the log would not
        // do: a failure may take it off, and its indexes are given again.
        let next_offset = Offset::new(self.committed_offset.load(Ordering::Acquire));
        let next_index = self.committed_index.load(Ordering::Acquire);
        let snapshot = self.lock().0.snapshot(next_index, next_offset);
        let storage = self.storage.upgrade().ok_or(StorageError::Closed)?;
        storage.store_blob(&self.id, BLOB, &snapshot.encode())?;
        *stored = Stored { next_index: snapshot.next_index, next_offset: snapshot.next_offset };
        Ok(())
    }

    /// Stores a snapshot if reading the log again would take longer. For a clean stop.
    pub(crate) fn store_at_stop(&self) -> Result<(), StorageError> {
        let is_news = self.committed_index.load(Ordering::Acquire) > self.stored().next_index;
        let is_long = self.bytes.load(Ordering::Relaxed) >= SNAPSHOT_BYTES_MIN;
        if is_news && (is_long || !self.lock().0.by_id.is_empty()) { self.store() } else { Ok(()) }
    }

    /// Stores a snapshot if evicting what lies below `to` would make a batch of a producer unknown after a crash.
    pub(crate) fn store_before_trim(&self, to: Offset) -> Result<(), StorageError> {
        let known = self.stored().next_offset;
        let is_only_there = |place: &Place| place.base_offset >= known && place.base_offset < to;
        let would_forget = {
            let producers = self.lock();
            // Any of the last five may come again, not only the last.
            let mut stored = producers.0.by_id.values().flat_map(|producer| &producer.stored);
            stored.any(is_only_there)
        };
        if would_forget { self.store() } else { Ok(()) }
    }

    fn stored(&self) -> MutexGuard<'_, Stored> {
        self.stored.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The last snapshot. One that cannot be read is as good as none.
fn load(storage: &dyn Storage, id: &LogId) -> Result<Option<Snapshot>, StorageError> {
    let unreadable = |error: &dyn fmt::Display| {
        tracing::warn!(partition = %id, %error, "what was stored about producers cannot be read, and is made again from the log");
        None
    };
    match storage.load_blob(id, BLOB) {
        Ok(None) => Ok(None),
        Ok(Some(bytes)) => Ok(Snapshot::decode(bytes).map_or_else(|error| unreadable(&error), Some)),
        Err(error @ (StorageError::Damaged { .. } | StorageError::Format { .. })) => Ok(unreadable(&error)),
        Err(error) => Err(error),
    }
}

/// The producers, under their lock.
pub(crate) struct Locked<'m, W>(MutexGuard<'m, Producers<W>>);

impl<W> Locked<'_, W> {
    /// See [`Producers::begin_entry`].
    pub(crate) fn begin_entry(&mut self) -> EntryId {
        self.0.begin_entry()
    }

    /// See [`Producers::admit`].
    pub(crate) fn admit(
        &mut self,
        stamp: ProducerStamp,
        count: u32,
        base_offset: Offset,
        now: Millis,
        entry: EntryId,
        waiter: W,
    ) -> Admission<W> {
        self.0.admit(stamp, count, base_offset, now, entry, waiter)
    }

    /// See [`Producers::complete`].
    pub(crate) fn complete(&mut self, entry: EntryId, ids: &[i64], is_stored: bool) -> Vec<Completed<W>> {
        self.0.complete(entry, ids, is_stored)
    }

    /// See [`Producers::cut`].
    pub(crate) fn cut(&mut self, end: Offset) -> Vec<Completed<W>> {
        self.0.cut(end)
    }
}
