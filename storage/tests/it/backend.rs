//! Both backends, and a log to play with.

use std::sync::{Arc, mpsc};

use bytes::Bytes;
use minikafka_record::{BatchBuilder, Offset};
use minikafka_storage::{
    Entry, EntryKind, Epoch, Log, LogId, Millis, Storage, StorageError, TopicId,
    filesystem::{FileStorage, Options, SyncPolicy},
    memory::MemoryStorage,
};
use tempfile::TempDir;

/// A storage of some kind that can be opened again.
pub(crate) struct Backend {
    pub(crate) storage: Arc<dyn Storage>,
    dir: Option<(TempDir, Options)>,
}

impl Backend {
    pub(crate) fn memory() -> Backend {
        Backend { storage: Arc::new(MemoryStorage::new(u64::MAX)), dir: None }
    }

    pub(crate) fn filesystem(options: Options) -> Backend {
        let dir = tempfile::tempdir().unwrap();
        let storage = Arc::new(FileStorage::open(dir.path(), options.clone()).unwrap());
        Backend { storage, dir: Some((dir, options)) }
    }

    /// Every kind that must behave the same: tiny segments and a tiny tail make everything happen often.
    pub(crate) fn all() -> Vec<(&'static str, Backend)> {
        let tiny = |sync, direct_bytes| Options {
            sync,
            segment_bytes: 700,
            tail_bytes: 300,
            open_files: 2,
            journal_bytes: 16 * 1024,
            direct_bytes,
            small_round_bytes: 0,
            early_bytes: 150,
            ..Options::default()
        };
        vec![
            ("memory", Backend::memory()),
            ("filesystem", Backend::filesystem(Options::default())),
            ("filesystem, tiny, journal", Backend::filesystem(tiny(SyncPolicy::Always, u64::MAX))),
            ("filesystem, tiny, no journal", Backend::filesystem(tiny(SyncPolicy::Always, 0))),
            ("filesystem, tiny, both", Backend::filesystem(tiny(SyncPolicy::Always, 200))),
            ("filesystem, tiny, no sync", Backend::filesystem(tiny(SyncPolicy::Never, 0))),
        ]
    }

    pub(crate) fn path(&self) -> &std::path::Path {
        self.dir.as_ref().expect("a filesystem backend").0.path()
    }

    /// Ends the storage as a crash of the process would, and opens it again. Memory keeps what it has.
    pub(crate) fn crash(&mut self) {
        if let Some((dir, options)) = &self.dir {
            // The old one must have let go of its lock.
            self.storage = Arc::new(MemoryStorage::new(0));
            self.storage = Arc::new(FileStorage::open(dir.path(), options.clone()).unwrap());
        }
    }

    pub(crate) fn close_and_open(&mut self) {
        self.storage.close().unwrap();
        self.crash();
    }

    pub(crate) fn is_memory(&self) -> bool {
        self.dir.is_none()
    }

    pub(crate) fn log(&self, topic: &str) -> Arc<dyn Log> {
        self.storage.open(&id(topic)).unwrap()
    }
}

/// The log of a topic. No two topics have the same id, but one that is made again has its old one.
pub(crate) fn id(topic: &str) -> LogId {
    let mut topic_id = [7u8; 16];
    for (at, byte) in topic.bytes().enumerate() {
        topic_id[at % 16] = topic_id[at % 16].rotate_left(3) ^ byte;
    }
    LogId { topic: topic.to_owned(), partition: 0, topic_id: TopicId::from_bytes(topic_id) }
}

/// The entry that continues `log` with a batch of these messages.
pub(crate) fn entry_at(log: &dyn Log, append_time: Millis, epoch: Epoch, messages: &[&[u8]]) -> Entry {
    let bounds = log.bounds();
    entry(bounds.next_index, bounds.end, append_time, epoch, messages)
}

pub(crate) fn entry(
    index: u64,
    base_offset: Offset,
    append_time: Millis,
    epoch: Epoch,
    messages: &[&[u8]],
) -> Entry {
    let mut batch = BatchBuilder::new();
    for message in messages {
        batch.push(append_time, None, Some(message), &[]);
    }
    let (kind, payload) = match messages {
        [] => (EntryKind::Internal, Bytes::from_static(b"internal")),
        _ => (EntryKind::Data, batch.finish(base_offset, epoch as i32)),
    };
    Entry { index, epoch, base_offset, record_count: messages.len() as u32, append_time, kind, payload }
}

/// Appends and waits until it is durable.
pub(crate) fn append(log: &dyn Log, entries: Vec<Entry>) -> Result<(), StorageError> {
    begin_append(log, entries).recv().expect("a completion is called exactly once")
}

/// Appends; the completion comes through the channel.
pub(crate) fn begin_append(log: &dyn Log, entries: Vec<Entry>) -> mpsc::Receiver<Result<(), StorageError>> {
    let (done, wait) = mpsc::channel();
    log.append(entries, Box::new(move |outcome| drop(done.send(outcome))));
    wait
}

/// Appends one message in an entry of its own.
pub(crate) fn append_message(log: &dyn Log, append_time: Millis, message: &[u8]) -> u64 {
    let entry = entry_at(log, append_time, log.bounds().last_epoch, &[message]);
    let number = entry.base_offset.number();
    append(log, vec![entry]).unwrap();
    number
}

/// Values of all messages from `from` to the end, read in small portions.
pub(crate) fn read_values(log: &dyn Log, from: Offset, bytes_max: usize) -> Vec<Bytes> {
    let end = log.bounds().end;
    let (mut next, mut values) = (from, Vec::new());
    while next < end {
        let batches = log.read(next, end, bytes_max).unwrap();
        assert!(!batches.is_empty(), "nothing at {next} of {end}");
        for batch in batches {
            assert_eq!(batch.base_offset().max(next), next, "a gap");
            for record in batch.records().map(Result::unwrap).filter(|record| record.offset >= next) {
                values.push(record.value.unwrap());
            }
            next = batch.end_offset();
        }
    }
    values
}
