//! A disk that takes its time over a sync: nobody waits but who must. Row 8.

use std::{
    sync::{Arc, mpsc},
    time::{Duration, Instant},
};

use minikafka_record::Offset;
use minikafka_storage::{
    Log, Storage, StorageError,
    filesystem::{Options, SyncPolicy},
};

use super::{run::open, variants};
use crate::{
    backend::{append_message, begin_append, entry_at, id, read_values},
    fake_disk::FakeDisk,
};

const APPENDS: u64 = 200;

/// Two logs, one of them with an append whose sync waits.
fn stalled(options: &Options) -> (FakeDisk, Arc<dyn Storage>, [Arc<dyn Log>; 2]) {
    let disk = FakeDisk::new();
    let storage: Arc<dyn Storage> = Arc::new(open(&disk, options).unwrap());
    let logs = ["busy", "other"].map(|topic| storage.open(&id(topic)).unwrap());
    logs.iter().for_each(|log| _ = append_message(&**log, 1, b"before"));
    disk.hold_syncs();
    (disk, storage, logs)
}

#[test]
fn a_stalled_sync_stalls_neither_appends_nor_readers() {
    for options in variants(SyncPolicy::Always) {
        let (disk, _storage, [busy, other]) = stalled(&options);
        let (done, completed) = mpsc::channel();
        for number in 0..APPENDS {
            let done = done.clone();
            let next = entry_at(&*busy, 2, 0, &[&[b'x'; 100]]);
            busy.append(vec![next], Box::new(move |outcome| done.send((number, outcome.is_ok())).unwrap()));
            if number == 0 {
                disk.wait_for_held_sync();
            }
        }
        // All of this is answered while the disk stands still.
        let bounds = busy.bounds();
        assert_eq!((bounds.end, bounds.durable), (Offset::new(APPENDS + 1), Offset::new(1)));
        assert!(bounds.size_bytes > 100 * APPENDS, "the caller can see what waits");
        let waiting = begin_append(&*other, vec![entry_at(&*other, 2, 0, &[b"x"])]);
        assert_eq!(other.bounds().end, Offset::new(2));
        let tail = busy.read_tail(Offset::new(APPENDS), Offset::new(APPENDS + 1), 1).unwrap();
        assert_eq!(tail.expect("what is not written is in memory").len(), 1);
        assert_eq!(read_values(&*busy, Offset::ZERO, 1).len() as u64, APPENDS + 1);
        assert!(completed.try_recv().is_err() && waiting.try_recv().is_err(), "nothing is durable");
        disk.release_syncs();
        drop(done);
        let order: Vec<(u64, bool)> = completed.iter().collect();
        assert_eq!(order, (0..APPENDS).map(|number| (number, true)).collect::<Vec<_>>());
        waiting.recv().unwrap().unwrap();
        assert_eq!(busy.bounds().durable, busy.bounds().end);
    }
}

/// An eviction is seen at once, also one that has to wait for the disk before any file goes.
#[test]
fn a_stalled_sync_serves_nothing_that_is_evicted() {
    for options in variants(SyncPolicy::Always) {
        let (disk, _storage, [busy, _other]) = stalled(&options);
        let waiting = begin_append(&*busy, vec![entry_at(&*busy, 2, 0, &[b"x"])]);
        disk.wait_for_held_sync();
        let to = Offset::new(1);
        std::thread::scope(|scope| {
            let trim = scope.spawn(|| busy.trim(to));
            let begun = Instant::now();
            while busy.bounds().start < to && begun.elapsed() < Duration::from_secs(10) {
                std::thread::yield_now();
            }
            let start = busy.bounds().start;
            let refused = busy.read(Offset::ZERO, to, 1);
            let is_over = trim.is_finished();
            disk.release_syncs();
            trim.join().unwrap().unwrap();
            assert_eq!(start, to);
            assert!(matches!(refused, Err(StorageError::OutOfRange { .. })), "{refused:?}");
            assert!(!is_over, "it is durable before it returns");
        });
        waiting.recv().unwrap().unwrap();
        assert_eq!(busy.bounds().start, to);
    }
}

#[test]
fn a_disk_that_dies_in_a_sync_answers_everybody() {
    for options in variants(SyncPolicy::Always) {
        let (disk, storage, [busy, other]) = stalled(&options);
        let waiting: Vec<_> = [&busy, &other, &busy]
            .map(|log| begin_append(&**log, vec![entry_at(&**log, 2, 0, &[b"x"])]))
            .into();
        disk.wait_for_held_sync();
        disk.stop();
        for wait in waiting {
            wait.recv().expect("a completion is called exactly once").unwrap_err();
        }
        let after = begin_append(&*busy, vec![entry_at(&*busy, 2, 0, &[b"x"])]);
        after.recv().expect("a completion is called exactly once").unwrap_err();
        assert_eq!(busy.bounds().durable, Offset::new(1));
        drop(storage);
    }
}
