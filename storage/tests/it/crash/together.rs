//! A round that has written to the segments of many logs: they are synced by several threads. Each log's appends
//! complete after its own sync, and by what that one says.

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

/// More than one thread syncs.
const LOGS: usize = 40;

type Waiting = mpsc::Receiver<Result<(), StorageError>>;

fn options() -> Options {
    Options { journal_bytes: 0, ..tiny(SyncPolicy::Always) }
}

fn name(log: usize) -> String {
    format!("log{log}")
}

/// Appends to all logs: to the first one in a round of its own, whose sync waits, and to all others behind it.
fn append_to_all(disk: &FakeDisk, storage: &dyn Storage) -> (Vec<Arc<dyn Log>>, Vec<Waiting>) {
    let logs: Vec<_> = (0..LOGS).map(|log| storage.open(&id(&name(log))).unwrap()).collect();
    disk.hold_syncs();
    let append = |log: &Arc<dyn Log>| begin_append(&**log, vec![entry_at(&**log, 1, 0, &[b"message"])]);
    let first = append(&logs[0]);
    disk.wait_for_held_sync();
    let waiting = [first].into_iter().chain(logs[1..].iter().map(append)).collect();
    (logs, waiting)
}

#[test]
fn what_is_acknowledged_of_many_logs_survives_a_loss_of_power() {
    for seed in 0..20 {
        let disk = FakeDisk::new();
        let storage = open(&disk, &options()).unwrap();
        let (_logs, waiting) = append_to_all(&disk, &storage);
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

#[test]
fn a_sync_that_fails_among_many_is_told_to_those_who_wait_for_it() {
    let disk = FakeDisk::new();
    let storage = open(&disk, &options()).unwrap();
    let (logs, mut waiting) = append_to_all(&disk, &storage);
    // The first one's is the flusher's own.
    disk.fail_in("flusher-sync");
    disk.release_syncs();
    waiting.remove(0).recv().unwrap().unwrap();
    for (log, waiting) in logs[1..].iter().zip(waiting) {
        let error = waiting.recv().unwrap().unwrap_err();
        assert!(matches!(error, StorageError::Io { .. }), "{error:?}");
        assert_eq!(log.bounds().durable, Offset::ZERO, "nothing of it was acknowledged");
    }
    assert_eq!(logs[0].bounds().durable, Offset::new(1));
}
