//! The records of the journal: how the entries of many logs lie in a file.
//!
//! | at | type | field |
//! |---|---|---|
//! | 0 | 8 bytes | salt of the journal |
//! | 8 | u32 | CRC-32C of bytes 0 to 8 and 12 to 40 |
//! | 12 | u32 | length of the record, without padding |
//! | 16 | u64 | sequence: one more than that of the record before |
//! | 24 | u32 | CRC-32C of everything from byte 40 on |
//! | 28 | u32 | number of marks |
//! | 32 | 8 bytes | zero |
//! | 40 | mark * | what the round before this one made durable |
//! | | section * | entries, log by log, to the end of the record |
//!
//! All integers are big-endian. A record begins at a multiple of 4096 bytes and is padded with zeros.
//!
//! - A mark is the 16 bytes of the log's key, u64 index and u64 offset behind its last entry.
//! - A section is the 16 bytes of the log's key, u32 length of what follows, and [frames](crate::filesystem) with the
//!   journal's salt.
//!
//! The salt is random and known to nobody, so no message can hold what looks like a record. The marks tell a
//! torn record from a damaged one: what a later record says to have been durable was.

use bytes::{Buf, BufMut, Bytes};
use minikafka_record::{Checksum, Offset, crc32c};

use super::LogKey;
use crate::{
    Entry, Index,
    filesystem::frame::{FRAME_HEADER_LEN, FrameHeader, Salt, encode_header, frame_len},
};

/// Records begin at multiples of this: a page of the system's cache, so that no durable byte shares one with
/// what is written later.
pub(in crate::filesystem) const PAGE_LEN: u64 = 4096;
/// Bytes of a header.
pub(super) const HEADER_LEN: usize = 40;
const KEY_LEN: usize = 16;
const MARK_LEN: usize = KEY_LEN + 16;

/// Where a log ended when a round was durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::filesystem) struct Mark {
    pub(in crate::filesystem) key: LogKey,
    pub(in crate::filesystem) index: Index,
    pub(in crate::filesystem) offset: Offset,
}

/// A record in the making.
pub(super) struct RecordBuilder {
    out: Vec<u8>,
    marks: u32,
    salt: Salt,
}

impl RecordBuilder {
    /// A record with these marks, in a buffer that is used again.
    pub(super) fn new(mut out: Vec<u8>, marks: &[Mark], salt: Salt) -> RecordBuilder {
        out.clear();
        out.resize(HEADER_LEN, 0);
        for mark in marks {
            out.put_slice(&mark.key.0);
            out.put_u64(mark.index);
            out.put_u64(mark.offset.get());
        }
        RecordBuilder { out, marks: marks.len() as u32, salt }
    }

    /// Adds the entries of a log.
    pub(super) fn push(&mut self, key: LogKey, entries: &[Entry], durable: Offset) {
        let len: u64 = entries.iter().map(frame_len).sum();
        self.out.reserve(KEY_LEN + 4 + len as usize);
        self.out.put_slice(&key.0);
        self.out.put_u32(u32::try_from(len).expect("what waits for the disk is far less than 4 GiB"));
        for entry in entries {
            self.out.put_slice(&encode_header(entry, durable, self.salt));
            self.out.put_slice(&entry.payload);
        }
    }

    /// Bytes so far.
    pub(super) fn len(&self) -> usize {
        self.out.len()
    }

    /// The record, padded.
    pub(super) fn finish(self, sequence: u64) -> Vec<u8> {
        let RecordBuilder { mut out, marks, salt } = self;
        let len = out.len();
        let body = crc32c(&out[HEADER_LEN..]);
        let mut header = &mut out[..HEADER_LEN];
        header.put_slice(&salt.0);
        header.put_u32(0);
        header.put_u32(u32::try_from(len).expect("a record is far smaller than 4 GiB"));
        header.put_u64(sequence);
        header.put_u32(body);
        header.put_u32(marks);
        let checksum = header_checksum(&out);
        out[8..12].copy_from_slice(&checksum.to_be_bytes());
        out.resize(len.next_multiple_of(PAGE_LEN as usize), 0);
        out
    }
}

fn header_checksum(header: &[u8]) -> u32 {
    let mut checksum = Checksum::new();
    checksum.update(&header[..8]);
    checksum.update(&header[12..HEADER_LEN]);
    checksum.finish()
}

/// The header of a record.
#[derive(Clone, Copy, Debug)]
pub(in crate::filesystem) struct RecordHeader {
    pub(in crate::filesystem) sequence: u64,
    pub(in crate::filesystem) len: usize,
    body: u32,
    marks: u32,
}

impl RecordHeader {
    /// Reads a header; `None` when no record begins here.
    pub(super) fn parse(bytes: &[u8; HEADER_LEN], salt: Salt) -> Option<RecordHeader> {
        let mut rest = &bytes[8..];
        let (checksum, len, sequence) = (rest.get_u32(), rest.get_u32() as usize, rest.get_u64());
        let (body, marks) = (rest.get_u32(), rest.get_u32());
        let is_ours = bytes[..8] == salt.0 && checksum == header_checksum(bytes) && len >= HEADER_LEN;
        is_ours.then_some(RecordHeader { sequence, len, body, marks })
    }

    /// Reads what follows the header; `None` when it is not what was written.
    pub(in crate::filesystem) fn decode(&self, mut body: Bytes, salt: Salt) -> Option<RecordBody> {
        if crc32c(&body) != self.body || body.len() / MARK_LEN < self.marks as usize {
            return None;
        }
        let mut marks = Vec::with_capacity(self.marks as usize);
        for _ in 0..self.marks {
            let key = take_key(&mut body);
            marks.push(Mark { key, index: body.get_u64(), offset: Offset::new(body.get_u64()) });
        }
        let mut sections = Vec::new();
        while !body.is_empty() {
            if body.len() < KEY_LEN + 4 {
                return None;
            }
            let (key, len) = (take_key(&mut body), body.get_u32() as usize);
            if len > body.len() {
                return None;
            }
            sections.push((key, take_entries(body.split_to(len), salt)?));
        }
        Some(RecordBody { marks, sections })
    }
}

/// What is in a record.
pub(in crate::filesystem) struct RecordBody {
    pub(in crate::filesystem) marks: Vec<Mark>,
    pub(in crate::filesystem) sections: Vec<(LogKey, Vec<Entry>)>,
}

fn take_key(body: &mut Bytes) -> LogKey {
    let mut key = [0; KEY_LEN];
    body.copy_to_slice(&mut key);
    LogKey(key)
}

fn take_entries(mut frames: Bytes, salt: Salt) -> Option<Vec<Entry>> {
    let mut entries = Vec::new();
    while !frames.is_empty() {
        let header = FrameHeader::parse(frames.first_chunk::<FRAME_HEADER_LEN>()?, salt).ok()?;
        frames.advance(FRAME_HEADER_LEN);
        if header.payload_len > frames.len() {
            return None;
        }
        entries.push(header.verify(frames.split_to(header.payload_len), salt).ok()?);
    }
    Some(entries)
}
