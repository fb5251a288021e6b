//! Where a round becomes durable: in the journal, or in its logs' segments, by its size and that of its parts.

use std::sync::{Arc, mpsc};

use minikafka_storage::{
    Log, Storage, StorageError,
    filesystem::{Options, SyncPolicy},
};

use super::{run::open, tiny};
use crate::{
    backend::{append_message, begin_append, entry_at, id},
    fake_disk::FakeDisk,
};

type Waiting = mpsc::Receiver<Result<(), StorageError>>;

fn begin(log: &Arc<dyn Log>, bytes: usize) -> Waiting {
    begin_append(&**log, vec![entry_at(&**log, 1, 0, &[&vec![b'x'; bytes]])])
}

/// Appends so many bytes to each log, all in one round. Returns how often the journal was synced for it, and how often
/// segments were.
fn round(disk: &FakeDisk, logs: &[Arc<dyn Log>], bytes: &[usize]) -> (usize, usize) {
    disk.hold_syncs();
    // A round of its own, whose sync has begun when it is held.
    let first = begin(&logs[0], 1);
    disk.wait_for_held_sync();
    let before = (disk.file_syncs("journal"), disk.file_syncs("log"));
    let waiting: Vec<Waiting> = logs.iter().zip(bytes).map(|(log, bytes)| begin(log, *bytes)).collect();
    disk.release_syncs();
    [first].into_iter().chain(waiting).for_each(|wait| wait.recv().unwrap().unwrap());
    (disk.file_syncs("journal") - before.0, disk.file_syncs("log") - before.1)
}

#[test]
fn a_round_that_is_small_as_a_whole_goes_to_the_journal_and_large_parts_of_others_to_segments() {
    let options = Options {
        direct_bytes: 1000,
        small_round_bytes: 4000,
        segment_bytes: 1 << 20,
        journal_bytes: 1 << 20,
        ..tiny(SyncPolicy::Always)
    };
    let disk = FakeDisk::new();
    let storage = open(&disk, &options).unwrap();
    let logs: Vec<_> = ["a", "b", "c"].map(|topic| storage.open(&id(topic)).unwrap()).into();
    logs.iter().for_each(|log| _ = append_message(&**log, 1, b"before"));
    assert_eq!(round(&disk, &logs, &[500, 500, 500]), (1, 0), "small parts");
    assert_eq!(round(&disk, &logs, &[3000]), (1, 0), "one large part, of a small round");
    assert_eq!(round(&disk, &logs, &[500, 1500, 500]), (1, 0), "a large part of a small round");
    assert_eq!(round(&disk, &logs, &[5000]), (0, 1), "one large part");
    assert_eq!(round(&disk, &logs, &[500, 1500, 3000]), (1, 2), "large parts of a large round");
}
