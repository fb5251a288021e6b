//! How much an opening reads after a crash.

use std::sync::mpsc;

use minikafka_storage::{Storage, filesystem::Options};

use super::run::open;
use crate::{
    backend::{begin_append, entry_at, id},
    fake_disk::{FakeDisk, PowerLoss},
};

const APPEND_BYTES: usize = 1024 * 1024;
const APPENDS: usize = 48;
const IN_FLIGHT: usize = 8;

/// Large appends that never end: something is always written and not synced yet. The checkpoint follows nonetheless.
#[test]
fn the_checkpoint_follows_appends_that_never_pause() {
    let options = Options { tail_bytes: 0, ..Options::default() };
    let disk = FakeDisk::new();
    let storage = open(&disk, &options).unwrap();
    let log = storage.open(&id("t")).unwrap();
    let value = vec![b'x'; APPEND_BYTES];
    let send = || begin_append(&*log, vec![entry_at(&*log, 1, 0, &[&value])]);
    let mut waiting: Vec<mpsc::Receiver<_>> = (0..IN_FLIGHT).map(|_| send()).collect();
    for number in IN_FLIGHT..APPENDS {
        waiting.remove(0).recv().unwrap().unwrap();
        waiting.push(send());
        if number.is_multiple_of(5) {
            // It follows, and never runs ahead: what it speaks of would be missed.
            let disk = FakeDisk::with(&disk.image_after(&PowerLoss::NothingUnsynced));
            let bounds = open(&disk, &options).unwrap().open(&id("t")).unwrap().bounds();
            assert_eq!(bounds.damaged, 0, "after {number} appends");
            assert!(bounds.end.get() > (number - IN_FLIGHT) as u64, "{bounds:?}");
        }
    }
    let image = disk.live_image();
    waiting.into_iter().for_each(|wait| wait.recv().unwrap().unwrap());
    drop(storage);
    let disk = FakeDisk::with(&image);
    let storage = open(&disk, &options).unwrap();
    let read = disk.read_bytes();
    let written = storage.open(&id("t")).unwrap().bounds().size_bytes;
    // What was on its way, a step of the checkpoint (an eighth of the segment), and what came while the writer
    // stored it. Twice: it is read, and written over itself.
    let step = written / 8;
    let behind = (IN_FLIGHT * APPEND_BYTES) as u64 + 2 * step;
    assert!(written > 30 << 20, "{written}");
    assert!(read < 2 * behind + (1 << 20), "{read} of {written} bytes were read");
}
