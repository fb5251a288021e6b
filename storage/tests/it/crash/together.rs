//! A round that writes to the segments of many logs: several threads write and sync them. Each log's appends complete
//! after its own sync, and by what that one says.

use std::sync::{Arc, mpsc};

use minikafka_record::Offset;
use minikafka_storage::{
    Log, Storage, StorageError,
    filesystem::{Options, SyncPolicy},
};

use super::{run::open, tiny};
use crate::{
    backend::{begin_append, entry_at, id, read_values},
    fake_disk::{FakeDisk, PowerLoss},
};

/// More than one thread writes and syncs.
const LOGS: usize = 40;

type Waiting = mpsc::Receiver<Result<(), StorageError>>;

fn options() -> Options {
    Options { journal_bytes: 0, ..tiny(SyncPolicy::Always) }
}

fn name(log: usize) -> String {
    format!("log{log}")
}

fn open_all(storage: &dyn Storage) -> Vec<Arc<dyn Log>> {
    (0..LOGS).map(|log| storage.open(&id(&name(log))).unwrap()).collect()
}

fn append(log: &Arc<dyn Log>) -> Waiting {
    begin_append(&**log, vec![entry_at(&**log, 1, 0, &[b"message"])])
}

/// Appends to all logs: to the first one in a round of its own, whose sync waits, and to all others behind it.
fn append_to_all(disk: &FakeDisk, logs: &[Arc<dyn Log>]) -> Vec<Waiting> {
    disk.hold_syncs();
    let first = append(&logs[0]);
    disk.wait_for_held_sync();
    [first].into_iter().chain(logs[1..].iter().map(append)).collect()
}

#[test]
fn what_is_acknowledged_of_many_logs_survives_a_loss_of_power() {
    for seed in 0..20 {
        let disk = FakeDisk::new();
        let storage = open(&disk, &options()).unwrap();
        let logs = open_all(&storage);
        let waiting = append_to_all(&disk, &logs);
        assert!(waiting.iter().all(|waiting| waiting.try_recv().is_err()), "nothing is durable");
        disk.release_syncs();
        // As soon as the last one is told, the power goes.
        waiting.iter().for_each(|waiting| waiting.recv().unwrap().unwrap());
        let disk = FakeDisk::with(&disk.image_after(&PowerLoss::seeded(seed)));
        let storage = open(&disk, &options()).unwrap();
        for log in 0..LOGS {
            let log = storage.open(&id(&name(log))).unwrap();
            assert_eq!(read_values(&*log, Offset::ZERO, 100), ["message"], "seed {seed}");
        }
    }
}

/// Of logs with so many messages each, when the helpers have this trouble. Gives what those are told who wait for them.
fn errors_among_many(messages: u64, trouble: impl FnOnce(&FakeDisk)) -> Vec<StorageError> {
    let disk = FakeDisk::new();
    let storage = open(&disk, &options()).unwrap();
    let logs = open_all(&storage);
    for _ in 0..messages {
        logs.iter().for_each(|log| append(log).recv().unwrap().unwrap());
    }
    let mut waiting = append_to_all(&disk, &logs);
    trouble(&disk);
    disk.release_syncs();
    // The first one's is the flusher's own.
    waiting.remove(0).recv().unwrap().unwrap();
    let told = waiting.iter().map(|waiting| waiting.recv().unwrap().unwrap_err()).collect();
    for log in &logs[1..] {
        assert_eq!(log.bounds().durable, Offset::new(messages), "nothing more was acknowledged");
    }
    assert_eq!(logs[0].bounds().durable, Offset::new(messages + 1));
    told
}

fn check_io(errors: &[StorageError]) {
    assert!(errors.iter().all(|error| matches!(error, StorageError::Io { .. })), "{errors:?}");
}

#[test]
fn a_sync_that_fails_among_many_is_told_to_those_who_wait_for_it() {
    check_io(&errors_among_many(1, |disk| disk.fail_syncs_in("flusher-helper")));
}

#[test]
fn a_write_that_fails_among_many_is_told_to_those_who_wait_for_it() {
    check_io(&errors_among_many(1, |disk| disk.fail_in("flusher-helper")));
}

#[test]
fn a_segment_that_cannot_be_created_among_many_is_told_to_those_who_wait_for_it() {
    check_io(&errors_among_many(0, |disk| disk.fail_in("flusher-helper")));
}
