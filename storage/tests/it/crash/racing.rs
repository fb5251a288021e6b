//! Readers in the middle of a read while the log changes under them.

use std::{sync::Arc, thread};

use minikafka_record::Offset;
use minikafka_storage::{
    Log, Storage, StorageError,
    filesystem::{FileStorage, Options},
};

use super::run::open;
use crate::{
    backend::{append_message, id, read_values},
    fake_disk::FakeDisk,
};

/// A log of twenty messages, all but the last few of which are in its segment only.
fn filled(disk: &FakeDisk) -> (FileStorage, Arc<dyn Log>) {
    let options = Options { tail_bytes: 0, journal_bytes: 0, ..Options::default() };
    let storage = open(disk, &options).unwrap();
    let log = storage.open(&id("t")).unwrap();
    (0..20).for_each(|number| _ = append_message(&*log, 1, format!("old {number}").as_bytes()));
    (storage, log)
}

/// A truncation between a reader's look at the index and its read of the file: what it finds there may be cut off,
/// or something else. That is no damage.
#[test]
fn a_truncation_under_a_reader_is_no_damage() {
    for (from, appended, len) in [(5, 0, 0), (5, 3, 10), (5, 40, 7), (9, 40, 300), (9, 1, 5000)] {
        let disk = FakeDisk::new();
        let (storage, log) = filled(&disk);
        disk.hold_next_read();
        let reader = thread::spawn({
            let log = log.clone();
            move || log.read(Offset::new(8), Offset::new(20), usize::MAX)
        });
        disk.wait_for_held_read();
        log.truncate(from).unwrap();
        (0..appended).for_each(|_| _ = append_message(&*log, 1, &vec![b'n'; len]));
        disk.release_read();
        match reader.join().unwrap() {
            Ok(batches) => {
                // At the end there is nothing.
                assert_eq!(batches.is_empty(), from + appended == 8);
                let values =
                    batches.iter().flat_map(|batch| batch.records()).map(|record| record.unwrap().value);
                for (at, value) in values.enumerate() {
                    let is_old = value.unwrap().starts_with(b"old");
                    assert_eq!(is_old, 8 + (at as u64) < from, "what was cut off is not served");
                }
            }
            Err(StorageError::OutOfRange { .. }) => assert!(from + appended < 8),
            Err(error) => panic!("{error}"),
        }
        assert_eq!(log.bounds().damaged, 0);
        assert_eq!(read_values(&*log, Offset::ZERO, 1).len() as u64, from + appended);
        drop(storage);
    }
}
