//! What a process had changed and not synced when it was killed, and the next one finds and goes by: a power loss behind
//! that takes nothing of what the next one showed.

use std::sync::Arc;

use bytes::Bytes;
use minikafka_record::Offset;
use minikafka_storage::{
    Bounds, Log, Removed, Storage, StorageError,
    filesystem::{FileStorage, Options, SyncPolicy},
};

use super::{run::open, variants};
use crate::{
    backend::{append, append_message, entry_at, id, read_values},
    fake_disk::{Class, Errno, FakeDisk, Fault, PowerLoss},
};

const LOSSES: u64 = 30;
const BLOB: &str = "positions";

/// Something that a process is killed in the middle of.
type Change = fn(&dyn Storage, &Arc<dyn Log>) -> Result<(), StorageError>;

/// What a storage shows of its log.
#[derive(Debug, PartialEq)]
struct Shown {
    bounds: Bounds,
    values: Vec<Bytes>,
    blob: Option<Bytes>,
}

impl Shown {
    fn by(storage: &dyn Storage) -> Shown {
        let log = storage.open(&id("t")).unwrap();
        // How many bytes that takes may differ.
        let bounds = Bounds { size_bytes: 0, ..log.bounds() };
        let blob = storage.load_blob(&id("t"), BLOB).unwrap();
        Shown { bounds, values: read_values(&*log, bounds.start, 1), blob }
    }

    /// What is evicted may come back.
    fn assert_has(&self, shown: &Shown, when: &str) {
        let Bounds { removed, start, .. } = self.bounds;
        assert!(start <= shown.bounds.start, "{when}: {self:?}, {shown:?}");
        assert_eq!(self.bounds, Bounds { removed, start, ..shown.bounds }, "{when}");
        assert!(self.values.ends_with(&shown.values), "{when}: {self:?}, {shown:?}");
        assert_eq!(self.blob, shown.blob, "{when}");
    }
}

/// A storage with a log of some segments, and a blob.
fn started(disk: &FakeDisk, options: &Options) -> (FileStorage, Arc<dyn Log>) {
    let storage = open(disk, options).unwrap();
    let log = storage.open(&id("t")).unwrap();
    (0..20).for_each(|at| _ = append_message(&*log, 1, format!("message {at}").as_bytes()));
    storage.store_blob(&id("t"), BLOB, b"before").unwrap();
    (storage, log)
}

/// Has the power go, in many ways: what was shown is still there.
fn lose_power(disk: &FakeDisk, options: &Options, seed: u64, shown: &Shown, when: &str) {
    let losses = (0..LOSSES).map(|loss| PowerLoss::seeded(LOSSES * seed + loss));
    for loss in losses.chain([PowerLoss::NothingUnsynced]) {
        let when = format!("{when}, {loss:?}, {options:?}");
        let there = open(&FakeDisk::with(&disk.image_after(&loss)), options);
        let there = there.unwrap_or_else(|error| panic!("{when}: {error}"));
        Shown::by(&there).assert_has(shown, &when);
    }
}

/// Kills a process at each change that it makes, lets another one open what is there and append, and has the power go.
/// Returns the number of kills.
fn kill_in(change: Change, seed: u64) -> usize {
    let mut kills = 0;
    for options in variants(SyncPolicy::Always) {
        for changes in 0.. {
            let disk = FakeDisk::new();
            let (storage, log) = started(&disk, &options);
            disk.stop_after(changes);
            let outcome = change(&storage, &log);
            if !disk.is_stopped() {
                outcome.unwrap();
                break;
            }
            kills += 1;
            let when = format!("killed after {changes} changes");
            let disk = disk.after_kill();
            drop((storage, log));
            let storage = open(&disk, &options).unwrap();
            lose_power(&disk, &options, seed, &Shown::by(&storage), &when);
            let log = storage.open(&id("t")).unwrap();
            // New segments: names are durable now, and so is what was removed.
            (0..5).for_each(|_| _ = append_message(&*log, 1, &[b'x'; 300]));
            lose_power(&disk, &options, seed + 1000, &Shown::by(&storage), &when);
        }
    }
    println!("kills: {kills}");
    kills
}

#[test]
fn a_trim() {
    assert!(kill_in(|_, log| log.trim(Offset::new(15)), 1) > 10);
}

#[test]
fn a_truncation() {
    assert!(kill_in(|_, log| log.truncate(9), 2) > 10);
}

#[test]
fn a_reset() {
    let change: Change = |_, log| log.reset(Removed { next_index: 100, epoch: 3 }, Offset::new(500));
    assert!(kill_in(change, 3) > 10);
}

#[test]
fn a_blob() {
    assert!(kill_in(|storage, _| storage.store_blob(&id("t"), BLOB, b"after"), 4) > 10);
}

/// The manifest goes to two slots in turn, and neither of the last two may be on the disk.
#[test]
fn a_trim_behind_another_one() {
    let options = &variants(SyncPolicy::Always)[0];
    let mut kills = 0;
    for (first, second) in (0..12).flat_map(|first| (0..12).map(move |second| (first, second))) {
        let disk = FakeDisk::new();
        let (storage, log) = started(&disk, options);
        disk.stop_after(first);
        let _ = log.trim(Offset::new(9));
        let disk = disk.after_kill();
        drop((storage, log));
        let storage = open(&disk, options).unwrap();
        let log = storage.open(&id("t")).unwrap();
        disk.stop_after(second);
        let _ = log.trim(Offset::new(15));
        kills += usize::from(disk.is_stopped());
        let when = format!("killed after {first} and {second} changes");
        let disk = disk.after_kill();
        let mut shown = Shown::by(&open(&disk, options).unwrap());
        let kept = shown.values.len() - 5;
        shown.values.drain(..kept);
        lose_power(&disk, options, 12 * first + second, &shown, &when);
    }
    assert!(kills > 30, "{kills}");
}

/// A log that has failed is opened anew by what its manifest says, which may not be on the disk either.
#[test]
fn a_reopening_behind_a_trim_that_failed() {
    let mut kills = 0;
    for (failing, changes) in (0..4).flat_map(|failing| (0..40).map(move |changes| (failing, changes))) {
        let options = &variants(SyncPolicy::Always)[0];
        let disk = FakeDisk::new();
        let (storage, log) = started(&disk, options);
        // Owed to the log then, and stored before the append of one that fails.
        disk.fail(Fault { class: Class::Change, after: failing, count: 1, errno: Errno::Eio });
        let _ = log.trim(Offset::new(15));
        disk.heal();
        disk.fail_in("flusher");
        let _ = append(&*log, vec![entry_at(&*log, 1, 0, &[b"in doubt"])]);
        disk.heal();
        disk.forgive_failed_syncs("/data/logs");
        disk.stop_after(changes);
        let reopened = storage.open(&id("t"));
        if !disk.is_stopped() {
            reopened.unwrap();
            continue;
        }
        kills += 1;
        let image = |loss| disk.image_after(&PowerLoss::seeded(LOSSES * changes + loss));
        for loss in 0..LOSSES {
            let storage = open(&FakeDisk::with(&image(loss)), options).unwrap();
            let shown = Shown::by(&storage);
            let when = format!("failed after {failing}, killed after {changes} changes, loss {loss}");
            assert_eq!(shown.bounds.damaged, 0, "{when}: {shown:?}");
            let values = shown.values.into_iter().filter(|value| value != "in doubt");
            let kept = values.skip_while(|value| value != "message 15").collect::<Vec<_>>();
            assert_eq!(
                kept,
                ["message 15", "message 16", "message 17", "message 18", "message 19"],
                "{when}"
            );
        }
    }
    assert!(kills > 30, "{kills}");
}
