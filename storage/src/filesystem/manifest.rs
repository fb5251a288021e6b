//! The manifest of a log: who it is and where it begins. File `manifest`.
//!
//! The file has two slots of 4 KiB, written in turn and in place: a torn write spoils one of them, and the
//! other is still there. In place, because that needs no new block: eviction must work on a full disk. It
//! takes one sync instead of the two of a rename. The slot with the larger sequence counts. What must not be
//! undone by the loss of a slot, a truncation or a reset, is written to both.
//!
//! A slot is an [envelope](super::sealed), magic `MKLM`, with this body, and zeros behind it; all integers
//! are big-endian:
//!
//! | type | field |
//! |---|---|
//! | u64 | sequence: how often the manifest was written |
//! | 16 bytes | topic id |
//! | u32 | partition |
//! | u64 | generation: segments of another one are left over from before a reset |
//! | u64 | removed: index of the first entry kept |
//! | u64 | removed: leader epoch of the last entry removed |
//! | u64 | log start offset |
//! | i64 | newest append time ever seen when this was written, or the least i64 |
//! | u64 | durable offset when this was written |
//! | u64 | index that followed it |
//! | u64 | sequence of the first journal record that still speaks of this log |
//! | 16 bytes | key of this log in the journal, random |
//! | u32, bytes | topic name, UTF-8 |
//! | u64 | format 3 only: index from which on entries are being truncated |
//!
//! Format 3 is written while a truncation is under way, and 2 otherwise. A truncation takes several steps on several
//! files; with its aim in the manifest first, a crash in between leaves something that opening brings to its end.

use std::{
    io::{self, IoSlice},
    path::Path,
    sync::Arc,
};

use bytes::{Buf, BufMut, Bytes};
use minikafka_record::Offset;

use super::{
    disk::{Disk, DiskFile, OpenMode},
    durable,
    journal::LogKey,
    sealed,
};
use crate::{Index, LogId, Millis, Removed, StorageError, TopicId, log_id::random_bytes};

const MAGIC: [u8; 4] = *b"MKLM";
const FORMAT: u32 = 2;
/// The format of one with a truncation under way.
const FORMAT_TRUNCATING: u32 = 3;
const FIXED_LEN: usize = 8 + 16 + 4 + 8 * 8 + 16 + 4;
/// Bytes of a slot.
pub(super) const SLOT_LEN: usize = 4096;
/// Longest topic name that fits into a slot.
const NAME_LEN_MAX: usize = SLOT_LEN - FIXED_LEN - sealed::HEADER_LEN - 8;

/// The name of the file.
pub(super) const MANIFEST: &str = "manifest";

/// How often a manifest was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Sequence(u64);

/// What a slot says.
pub(super) type Slot = Result<(Manifest, Sequence), StorageError>;

/// Who a log is and where it begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Manifest {
    pub(super) id: LogId,
    pub(super) generation: u64,
    pub(super) removed: Removed,
    pub(super) start: Offset,
    pub(super) last_append_time: Option<Millis>,
    /// Everything below was durable when this was written,
    pub(super) durable: Offset,
    /// and this index followed.
    pub(super) durable_index: Index,
    /// Journal records before this one speak of what was truncated since.
    pub(super) journal_from: u64,
    /// How the journal calls this log, and no log before or after it.
    pub(super) key: LogKey,
    /// Entries from this one on are being truncated: none of them counts any more.
    pub(super) truncating: Option<Index>,
}

impl Manifest {
    /// The manifest of a new log.
    pub(super) fn new(id: LogId) -> Result<Manifest, StorageError> {
        Ok(Manifest {
            id,
            generation: 0,
            removed: Removed::default(),
            start: Offset::ZERO,
            last_append_time: None,
            durable: Offset::ZERO,
            durable_index: 0,
            journal_from: 0,
            key: LogKey(random_bytes()?),
            truncating: None,
        })
    }

    /// Reads the manifest of the log in `dir`, and how often it was written; `None` when there is none.
    pub(super) fn load(disk: &dyn Disk, dir: &Path) -> Result<Option<(Manifest, Sequence)>, StorageError> {
        Manifest::load_slots(disk, dir)?.map(newest).transpose()
    }

    /// As [`load`](Manifest::load), for those who go by what it says: what must be in both slots is in both then, also
    /// if whoever stored it came as far as one.
    pub(super) fn load_whole(
        disk: &dyn Disk,
        dir: &Path,
    ) -> Result<Option<(Manifest, Sequence)>, StorageError> {
        let Some(slots) = Manifest::load_slots(disk, dir)? else { return Ok(None) };
        let (manifest, mut sequence) = newest(slots.clone())?;
        if slots.iter().flatten().any(|(other, _)| other.undoes(&manifest)) {
            manifest.store_again(disk, dir, &mut sequence)?;
        }
        Ok(Some((manifest, sequence)))
    }

    /// Whether this one, which is older or the same, must not count any more.
    fn undoes(&self, newest: &Manifest) -> bool {
        self.generation != newest.generation || (self.truncating.is_some() && newest.truncating.is_none())
    }

    /// As [`load`](Manifest::load), both slots.
    pub(super) fn load_slots(disk: &dyn Disk, dir: &Path) -> Result<Option<[Slot; 2]>, StorageError> {
        let path = dir.join(MANIFEST);
        let Some(file) = durable::read_file(disk, &path)? else { return Ok(None) };
        let slots = [file.slice(..file.len().min(SLOT_LEN)), file.slice(file.len().min(SLOT_LEN)..)];
        let slots = slots.map(|slot| {
            let (format, body) = sealed::unseal_one_of(&path, slot, MAGIC, FORMAT..=FORMAT_TRUNCATING)?;
            Manifest::decode(format, body)
                .ok_or_else(|| StorageError::damaged(&path, 0, "its fields do not fit"))
        });
        Ok(Some(slots))
    }

    /// Creates the manifest of a new log in `dir`, with both slots; the file is durable on return, its name
    /// is not.
    pub(super) fn create(&self, disk: &dyn Disk, dir: &Path) -> Result<(), StorageError> {
        let path = dir.join(MANIFEST);
        if self.id.topic.len() > NAME_LEN_MAX {
            let what = format!("a topic name has at most {NAME_LEN_MAX} bytes");
            let error = io::Error::new(io::ErrorKind::InvalidInput, what);
            return Err(StorageError::io("creating", path, error));
        }
        let mut slots = self.slot(Sequence(0));
        slots.extend(self.slot(Sequence(1)));
        let write = || {
            let file = disk.open(&path, OpenMode::Create)?;
            durable::write_all_at(&*file, &mut [IoSlice::new(&slots)], 0)?;
            file.sync()
        };
        write().map_err(|error| durable::io_or_full("creating", &path, error))
    }

    /// Writes the manifest of the log in `dir`; durable on return. After a failure the last one counts, and
    /// the same slot is written next.
    pub(super) fn store(
        &self,
        disk: &dyn Disk,
        dir: &Path,
        sequence: &mut Sequence,
    ) -> Result<(), StorageError> {
        let next = Sequence(sequence.0 + 1);
        let file = self.write(disk, dir, next)?;
        // From here on nobody knows which manifest counts: no error of a sync passes.
        durable::sync(&*file, &dir.join(MANIFEST))?;
        *sequence = next;
        Ok(())
    }

    /// Writes the slot that counts over itself, to be synced with all else. If a sync of it has failed, the system takes
    /// it for written: see [`durable::rewrite`]. The other slot stays as it is. Either this one is on the disk, and a
    /// write of the same bytes changes nothing there; or it is not, and the other one is what a torn write leaves.
    pub(super) fn write_again(disk: &dyn Disk, dir: &Path) -> Result<(), StorageError> {
        let Some((manifest, sequence)) = Manifest::load(disk, dir)? else { return Ok(()) };
        manifest.write(disk, dir, sequence).map(drop)
    }

    /// Writes the slot of this sequence. The file is to be synced.
    fn write(
        &self,
        disk: &dyn Disk,
        dir: &Path,
        sequence: Sequence,
    ) -> Result<Arc<dyn DiskFile>, StorageError> {
        let path = dir.join(MANIFEST);
        let write = || {
            let file = disk.open(&path, OpenMode::Existing)?;
            let position = (sequence.0 % 2) * SLOT_LEN as u64;
            durable::write_all_at(&*file, &mut [IoSlice::new(&self.slot(sequence))], position)?;
            Ok(file)
        };
        write().map_err(|error| durable::io_or_full("writing", &path, error))
    }

    /// As [`store`](Manifest::store), in both slots, so that the loss of one does not bring the last manifest
    /// back.
    pub(super) fn store_twice(
        &self,
        disk: &dyn Disk,
        dir: &Path,
        sequence: &mut Sequence,
    ) -> Result<(), StorageError> {
        self.store(disk, dir, sequence)?;
        self.store_again(disk, dir, sequence)
    }

    /// Stores in the other slot what one of them says.
    fn store_again(&self, disk: &dyn Disk, dir: &Path, sequence: &mut Sequence) -> Result<(), StorageError> {
        match self.store(disk, dir, sequence) {
            // It counts already: an error that says that nothing was changed would be wrong.
            Err(StorageError::Full(what)) => {
                tracing::warn!(?dir, what, "the manifest is stored once only");
                Ok(())
            }
            outcome => outcome,
        }
    }

    /// After a truncation has come to its end. Both slots must say so, or the loss of one would bring it back, with
    /// other entries in the place of those that it was about.
    pub(super) fn store_truncated(
        &self,
        disk: &dyn Disk,
        dir: &Path,
        sequence: &mut Sequence,
    ) -> Result<(), StorageError> {
        self.store(disk, dir, sequence)?;
        self.store(disk, dir, sequence)
    }

    fn slot(&self, sequence: Sequence) -> Vec<u8> {
        let format = if self.truncating.is_some() { FORMAT_TRUNCATING } else { FORMAT };
        let mut slot = sealed::seal(MAGIC, format, &self.encode(sequence));
        slot.resize(SLOT_LEN, 0);
        slot
    }

    fn encode(&self, sequence: Sequence) -> Vec<u8> {
        let mut out = Vec::with_capacity(FIXED_LEN + self.id.topic.len());
        out.put_u64(sequence.0);
        out.put_slice(self.id.topic_id.as_bytes());
        out.put_u32(self.id.partition);
        out.put_u64(self.generation);
        out.put_u64(self.removed.next_index);
        out.put_u64(self.removed.epoch);
        out.put_u64(self.start.get());
        out.put_i64(self.last_append_time.unwrap_or(Millis::MIN));
        out.put_u64(self.durable.get());
        out.put_u64(self.durable_index);
        out.put_u64(self.journal_from);
        out.put_slice(&self.key.0);
        out.put_u32(u32::try_from(self.id.topic.len()).expect("topic names are short"));
        out.put_slice(self.id.topic.as_bytes());
        self.truncating.iter().for_each(|from| out.put_u64(*from));
        out
    }

    fn decode(format: u32, mut body: Bytes) -> Option<(Manifest, Sequence)> {
        if body.len() < FIXED_LEN {
            return None;
        }
        let sequence = Sequence(body.get_u64());
        let mut topic_id = [0; 16];
        body.copy_to_slice(&mut topic_id);
        let partition = body.get_u32();
        let generation = body.get_u64();
        let removed = Removed { next_index: body.get_u64(), epoch: body.get_u64() };
        let start = Offset::new(body.get_u64());
        let last_append_time = Some(body.get_i64()).filter(|time| *time != Millis::MIN);
        let durable = Offset::new(body.get_u64());
        let (durable_index, journal_from) = (body.get_u64(), body.get_u64());
        let mut key = LogKey([0; 16]);
        body.copy_to_slice(&mut key.0);
        let name_len = body.get_u32() as usize;
        let rest_len = if format == FORMAT_TRUNCATING { 8 } else { 0 };
        if body.len() != name_len + rest_len {
            return None;
        }
        let topic = String::from_utf8(body.split_to(name_len).into()).ok()?;
        let truncating = body.has_remaining().then(|| body.get_u64());
        let id = LogId { topic, partition, topic_id: TopicId::from_bytes(topic_id) };
        let manifest = Manifest {
            id,
            generation,
            removed,
            start,
            last_append_time,
            durable,
            durable_index,
            journal_from,
            key,
            truncating,
        };
        Some((manifest, sequence))
    }
}

/// The slot that counts.
pub(super) fn newest(slots: [Slot; 2]) -> Slot {
    match slots {
        [Ok(first), Ok(second)] if second.1 > first.1 => Ok(second),
        [Ok(first), _] => Ok(first),
        [Err(_), Ok(second)] => Ok(second),
        [Err(error), Err(_)] => Err(error),
    }
}
