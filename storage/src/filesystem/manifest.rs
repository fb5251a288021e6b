//! The manifest of a log: who it is and where it begins. File `manifest`, replaced as a whole.
//!
//! Body of the [envelope](super::sealed), magic `MKLM`:
//!
//! | type | field |
//! |---|---|
//! | 16 bytes | topic id |
//! | u32 | partition |
//! | u64 | generation: segments of another one are left over from before a reset |
//! | u64 | removed: index of the first entry kept |
//! | u64 | removed: leader epoch of the last entry removed |
//! | u64 | log start offset |
//! | i64 | newest append time ever seen when this was written, or the least i64 |
//! | u64 | durable offset when this was written |
//! | u32, bytes | topic name, UTF-8 |

use std::{fs, path::Path};

use bytes::{Buf, BufMut, Bytes};
use minikafka_record::Offset;

use super::{durable, sealed};
use crate::{LogId, Millis, Removed, StorageError, TopicId};

const MAGIC: [u8; 4] = *b"MKLM";
const FORMAT: u32 = 1;
const FIXED_LEN: usize = 16 + 4 + 8 * 6 + 4;

/// The name of the file.
pub(super) const MANIFEST: &str = "manifest";

/// Who a log is and where it begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Manifest {
    pub(super) id: LogId,
    pub(super) generation: u64,
    pub(super) removed: Removed,
    pub(super) start: Offset,
    pub(super) last_append_time: Option<Millis>,
    pub(super) durable: Offset,
}

impl Manifest {
    /// The manifest of a new log.
    pub(super) fn new(id: LogId) -> Manifest {
        Manifest {
            id,
            generation: 0,
            removed: Removed::default(),
            start: Offset::ZERO,
            last_append_time: None,
            durable: Offset::ZERO,
        }
    }

    /// Reads the manifest of the log in `dir`.
    pub(super) fn load(dir: &Path) -> Result<Manifest, StorageError> {
        let path = dir.join(MANIFEST);
        let file = fs::read(&path).map_err(|error| StorageError::io("reading", &path, error))?;
        let body = sealed::unseal(&path, file.into(), MAGIC, FORMAT)?;
        Manifest::decode(body).ok_or_else(|| StorageError::Damaged {
            path,
            position: 0,
            what: "its fields do not fit".to_owned(),
        })
    }

    /// Replaces the manifest of the log in `dir`; durable on return.
    pub(super) fn store(&self, dir: &Path) -> Result<(), StorageError> {
        durable::replace(&dir.join(MANIFEST), &sealed::seal(MAGIC, FORMAT, &self.encode()))
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(FIXED_LEN + self.id.topic.len());
        out.put_slice(self.id.topic_id.as_bytes());
        out.put_u32(self.id.partition);
        out.put_u64(self.generation);
        out.put_u64(self.removed.next_index);
        out.put_u64(self.removed.epoch);
        out.put_u64(self.start.get());
        out.put_i64(self.last_append_time.unwrap_or(Millis::MIN));
        out.put_u64(self.durable.get());
        out.put_u32(u32::try_from(self.id.topic.len()).expect("topic names are short"));
        out.put_slice(self.id.topic.as_bytes());
        out
    }

    fn decode(mut body: Bytes) -> Option<Manifest> {
        if body.len() < FIXED_LEN {
            return None;
        }
        let mut topic_id = [0; 16];
        body.copy_to_slice(&mut topic_id);
        let partition = body.get_u32();
        let generation = body.get_u64();
        let removed = Removed { next_index: body.get_u64(), epoch: body.get_u64() };
        let start = Offset::new(body.get_u64());
        let last_append_time = Some(body.get_i64()).filter(|time| *time != Millis::MIN);
        let durable = Offset::new(body.get_u64());
        let name_len = body.get_u32() as usize;
        if body.len() != name_len {
            return None;
        }
        let topic = String::from_utf8(body.into()).ok()?;
        let id = LogId { topic, partition, topic_id: TopicId::from_bytes(topic_id) };
        Some(Manifest { id, generation, removed, start, last_append_time, durable })
    }
}
