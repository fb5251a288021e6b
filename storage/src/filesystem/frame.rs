//! Frames: how an entry lies in a segment file.
//!
//! | at | type | field |
//! |---|---|---|
//! | 0 | 4 bytes | the first half of the segment's salt |
//! | 4 | u32 | CRC-32C of the salt, of bytes 8 to 64, and of what its batches' own CRCs leave out (see below) |
//! | 8 | u32 | length of the payload |
//! | 12 | u8 | kind: 0 data, 1 internal |
//! | 13 | u8 x 3 | zero |
//! | 16 | u64 | index |
//! | 24 | u64 | leader epoch |
//! | 32 | u64 | base offset |
//! | 40 | u32 | record count |
//! | 44 | u32 | zero |
//! | 48 | i64 | append time, milliseconds since the Unix epoch |
//! | 56 | u64 | durable offset known when the frame was written |
//! | 64 | bytes | payload: record batches, or the bytes of an internal entry |
//!
//! All integers are big-endian. Each batch carries a CRC over everything behind its first 21 bytes, so the
//! frame's CRC covers those 21 bytes of each batch and not the records again. The payload of an internal
//! entry is covered whole.
//!
//! The salt is random and stands in the segment's header. No client knows it, so whatever bytes a message
//! holds, or a reused block of the disk, they are never taken for a frame of this segment.
//!
//! The durable offset is what tells a torn tail from damage: bytes below the largest one known were synced
//! once.

use bytes::{Buf, BufMut, Bytes};
use minikafka_record::{BATCH_UNCHECKED_LEN, Checksum, Offset, RecordBatch};

use crate::{Entry, EntryKind, StorageError, log_id::random_bytes};

/// Bytes before the payload.
pub(super) const FRAME_HEADER_LEN: usize = 64;
/// Where the checked part of the header begins.
const CHECKED: usize = 8;

/// Makes the frames of a segment unlike all other bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Salt(pub(super) [u8; 8]);

impl Salt {
    /// A new one.
    ///
    /// # Errors
    /// When the system has no randomness to give.
    pub(super) fn random() -> Result<Salt, StorageError> {
        random_bytes().map(Salt)
    }

    /// What each frame begins with.
    fn magic(&self) -> [u8; 4] {
        let [a, b, c, d, ..] = self.0;
        [a, b, c, d]
    }

    /// Where in `bytes` a frame may begin.
    pub(super) fn candidates(self, bytes: &[u8]) -> impl Iterator<Item = usize> {
        bytes.windows(4).enumerate().filter(move |(_, window)| **window == self.magic()).map(|(at, _)| at)
    }
}

/// A frame's header as read, before its checksum was looked at.
#[derive(Clone, Copy, Debug)]
pub(super) struct FrameHeader {
    checksum: u32,
    pub(super) payload_len: usize,
    kind: EntryKind,
    index: u64,
    epoch: u64,
    base_offset: Offset,
    record_count: u32,
    append_time: i64,
    pub(super) durable: Offset,
    checked: [u8; FRAME_HEADER_LEN - CHECKED],
}

/// Bytes of the frame of `entry`.
pub(super) fn frame_len(entry: &Entry) -> u64 {
    (FRAME_HEADER_LEN + entry.payload.len()) as u64
}

/// The header of the frame of `entry`; the payload follows as it is.
pub(super) fn encode_header(entry: &Entry, durable: Offset, salt: Salt) -> [u8; FRAME_HEADER_LEN] {
    let mut header = [0; FRAME_HEADER_LEN];
    let (front, mut checked) = header.split_at_mut(CHECKED);
    checked.put_u32(u32::try_from(entry.payload.len()).expect("an entry is far smaller than 4 GiB"));
    checked.put_u8(match entry.kind {
        EntryKind::Data => 0,
        EntryKind::Internal => 1,
    });
    checked.put_bytes(0, 3);
    checked.put_u64(entry.index);
    checked.put_u64(entry.epoch);
    checked.put_u64(entry.base_offset.get());
    checked.put_u32(entry.record_count);
    checked.put_u32(0);
    checked.put_i64(entry.append_time);
    checked.put_u64(durable.get());
    front[..4].copy_from_slice(&salt.magic());
    let checksum = checksum(salt, &header[CHECKED..], entry.kind, &entry.payload);
    header[4..CHECKED].copy_from_slice(&checksum.to_be_bytes());
    header
}

impl FrameHeader {
    /// Reads a header.
    ///
    /// # Errors
    /// What does not fit.
    pub(super) fn parse(bytes: &[u8; FRAME_HEADER_LEN], salt: Salt) -> Result<FrameHeader, &'static str> {
        let mut rest = &bytes[..];
        if rest.get_u32().to_be_bytes() != salt.magic() {
            return Err("no frame begins here");
        }
        let checksum = rest.get_u32();
        let mut checked = [0; FRAME_HEADER_LEN - CHECKED];
        checked.copy_from_slice(rest);
        let payload_len = rest.get_u32() as usize;
        let kind = match rest.get_u8() {
            0 => EntryKind::Data,
            1 => EntryKind::Internal,
            _ => return Err("the frame's kind is unknown"),
        };
        rest.advance(3);
        let (index, epoch, base_offset) = (rest.get_u64(), rest.get_u64(), rest.get_u64());
        let record_count = rest.get_u32();
        rest.advance(4);
        let (append_time, durable) = (rest.get_i64(), rest.get_u64());
        Ok(FrameHeader {
            checksum,
            payload_len,
            kind,
            index,
            epoch,
            base_offset: Offset::new(base_offset),
            record_count,
            append_time,
            durable: Offset::new(durable),
            checked,
        })
    }

    /// The entry, once everything about it has been verified: the frame's checksum and those of its batches.
    ///
    /// # Errors
    /// What does not fit.
    pub(super) fn verify(&self, payload: Bytes, salt: Salt) -> Result<Entry, &'static str> {
        if checksum(salt, &self.checked, self.kind, &payload) != self.checksum {
            return Err("the frame's checksum does not match");
        }
        let entry = Entry {
            index: self.index,
            epoch: self.epoch,
            base_offset: self.base_offset,
            record_count: self.record_count,
            append_time: self.append_time,
            kind: self.kind,
            payload,
        };
        let mut records = 0;
        for batch in entry.batches() {
            batch.verify_checksum().map_err(|_| "a batch's checksum does not match")?;
            records += batch.count();
        }
        if records != entry.record_count as usize {
            return Err("the frame's record count does not match its batches");
        }
        Ok(entry)
    }
}

/// The frame's checksum. A payload that is not a row of batches gives some value, too: then it does not
/// match.
fn checksum(salt: Salt, checked_header: &[u8], kind: EntryKind, payload: &Bytes) -> u32 {
    let mut checksum = Checksum::new();
    checksum.update(&salt.0);
    checksum.update(checked_header);
    match kind {
        EntryKind::Internal => checksum.update(payload),
        EntryKind::Data => {
            let mut rest = payload.clone();
            while let Ok(Some(batch)) = RecordBatch::split_from(&mut rest) {
                checksum.update(&batch.bytes()[..BATCH_UNCHECKED_LEN]);
            }
            // Whatever is no batch is under this checksum, not under one of its own.
            checksum.update(&rest);
        }
    }
    checksum.finish()
}
