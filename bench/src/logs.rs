//! [`Logs`]: MiniKafka's storage with some logs, and what is appended to them.

use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::{Bytes, BytesMut};
use minikafka_record::{BatchBuilder, Offset};
use minikafka_storage::{
    Entry, EntryKind, Log, LogId, Storage, TopicId,
    filesystem::{FileStorage, Options},
};

use crate::load::Done;

/// Logs in files, each with its owner.
#[derive(Debug)]
pub(crate) struct Logs {
    storage: FileStorage,
    logs: Vec<OwnedLog>,
}

#[derive(Debug)]
struct OwnedLog {
    log: Arc<dyn Log>,
    /// A log has one owner, who gives entries their place; this stands for it.
    owner: Mutex<()>,
}

/// What is appended again and again: one encoded batch, ready to be stored.
#[derive(Clone, Debug)]
pub(crate) struct Payload {
    pub(crate) bytes: Bytes,
    pub(crate) records: u32,
}

impl Payload {
    /// One record of so many bytes.
    pub(crate) fn single(value_len: usize) -> Payload {
        Payload::batch(value_len, value_len)
    }

    /// A batch of records with values of `value_len` bytes, as many as make up `bytes`, and at least one.
    pub(crate) fn batch(bytes: usize, value_len: usize) -> Payload {
        let value = vec![b'x'; value_len];
        let mut batch = BatchBuilder::with_capacity(bytes + value_len + 64);
        while batch.is_empty() || batch.len() + value_len <= bytes {
            batch.push(0, None, Some(&value), &[]);
        }
        let records = batch.count() as u32;
        Payload { bytes: batch.finish(Offset::ZERO, 0), records }
    }
}

impl Logs {
    /// Opens the storage, with the logs of as many partitions; they are created when they are not there.
    pub(crate) fn open(dir: &Path, options: Options, partitions: usize) -> anyhow::Result<Logs> {
        let storage = FileStorage::open(dir, options)?;
        let mut logs = Vec::with_capacity(partitions);
        for partition in 0..partitions {
            // The same identity each time, so that a second opening finds them.
            let topic_id = TopicId::from_bytes((partition as u128).to_be_bytes());
            let topic = format!("bench-{partition:04}");
            let log = storage.open(&LogId { topic, partition: 0, topic_id })?;
            logs.push(OwnedLog { log, owner: Mutex::new(()) });
        }
        Ok(Logs { storage, logs })
    }

    /// Appends a payload to the log that `at` means, counted around all of them.
    pub(crate) fn append(&self, at: usize, payload: &Payload, done: Done) {
        let OwnedLog { log, owner } = &self.logs[at % self.logs.len()];
        let _owner = owner.lock().unwrap_or_else(PoisonError::into_inner);
        let bounds = log.bounds();
        let entry = Entry {
            index: bounds.next_index,
            epoch: 0,
            base_offset: bounds.end,
            record_count: payload.records,
            append_time: 0,
            kind: EntryKind::Data,
            payload: place(&payload.bytes, bounds.end),
        };
        let done = move |outcome: Result<(), _>| done(outcome.map_err(|error| format!("{error}")));
        log.append(vec![entry], Box::new(done));
    }

    /// Messages in all logs.
    pub(crate) fn messages(&self) -> u64 {
        self.logs.iter().map(|log| log.log.bounds().end.number() - 1).sum()
    }

    /// Stops cleanly.
    pub(crate) fn close(self) -> anyhow::Result<()> {
        Ok(self.storage.close()?)
    }
}

/// What a broker does with small batches: a copy that carries its offset, which Kafka's format has in its first
/// eight bytes. The copy of a large one is not what is measured here.
fn place(bytes: &Bytes, base: Offset) -> Bytes {
    const COPIED_MAX: usize = 16 * 1024 + 256;
    if bytes.len() > COPIED_MAX {
        return bytes.clone();
    }
    let mut copy = BytesMut::from(&bytes[..]);
    copy[..8].copy_from_slice(&base.as_i64().to_be_bytes());
    copy.freeze()
}
