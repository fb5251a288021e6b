//! A sync of a segment that fails, and behind which its pages leave the memory: readers see what was there before. What
//! was acknowledged is in the journal, and nobody may make that void.

use bytes::Bytes;
use minikafka_record::Offset;
use minikafka_storage::{
    Log, Storage, StorageError,
    filesystem::{FileStorage, Options, SyncPolicy},
};

use super::{run::open, tiny};
use crate::{
    backend::{append, append_message, entry_at, id, read_values},
    fake_disk::{FakeDisk, PowerLoss},
};

/// Where segments are sealed one by one, and where they are synced to empty a file of the journal.
fn options(tail_bytes: u64) -> [Options; 2] {
    [900, 100_000].map(|segment_bytes| Options {
        direct_bytes: u64::MAX,
        segment_bytes,
        tail_bytes,
        ..tiny(SyncPolicy::Always)
    })
}

fn message(number: usize) -> Vec<u8> {
    let mut message = format!("message {number} ").into_bytes();
    message.resize(1000, b'-');
    message
}

/// Appends until the writer has failed the log, of which so many entries were acknowledged.
fn fail(disk: &FakeDisk, options: &Options) -> (FileStorage, usize) {
    let storage = open(disk, options).unwrap();
    let log = storage.open(&id("t")).unwrap();
    disk.revert_failed_syncs();
    disk.fail_syncs_in("writer");
    let is_durable =
        |number: &usize| append(&*log, vec![entry_at(&*log, 1, 0, &[&message(*number)])]).is_ok();
    let durable = (0..2000).take_while(is_durable).count();
    assert!(durable < 2000, "it goes on with nothing but the journal");
    disk.heal();
    (storage, durable)
}

fn assert_whole(log: &dyn Log, durable: usize) {
    let values = read_values(log, Offset::ZERO, 1);
    assert!(values.len() >= durable, "{} of {durable}", values.len());
    assert!(values[..durable].iter().cloned().eq((0..durable).map(|number| Bytes::from(message(number)))));
    assert_eq!(log.bounds().damaged, 0);
}

#[test]
fn what_a_segment_has_lost_is_still_in_memory() {
    for options in options(1 << 20) {
        let disk = FakeDisk::new();
        let (storage, durable) = fail(&disk, &options);
        let log = storage.open(&id("t")).unwrap();
        assert_whole(&*log, durable);
        append_message(&*log, 1, b"after");
        drop((storage, log));
        for image in [disk.live_image(), disk.image_after(&PowerLoss::NothingUnsynced)] {
            let storage = open(&FakeDisk::with(&image), &options).unwrap();
            assert_whole(&*storage.open(&id("t")).unwrap(), durable);
        }
    }
}

/// Then it is in the journal and nowhere else: a log that is opened again in the process would make that void.
#[test]
fn what_a_segment_and_memory_have_lost_comes_back_with_a_restart() {
    let mut refused = 0;
    for options in options(0) {
        let disk = FakeDisk::new();
        let (storage, durable) = fail(&disk, &options);
        for _ in 0..2 {
            match storage.open(&id("t")) {
                Ok(log) => assert_whole(&*log, durable),
                Err(StorageError::Poisoned(_)) => refused += 1,
                Err(error) => panic!("{error}"),
            }
        }
        let _ = storage.close();
        drop(storage);
        for image in [disk.live_image(), disk.image_after(&PowerLoss::NothingUnsynced)] {
            let storage = open(&FakeDisk::with(&image), &options).unwrap();
            assert_whole(&*storage.open(&id("t")).unwrap(), durable);
        }
    }
    assert!(refused > 0);
}
