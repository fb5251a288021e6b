//! What a process had changed and not synced when it was killed, and the next one finds and goes by: a power loss behind
//! that takes nothing of what the next one showed.

use std::{ops::Range, path::Path, sync::Arc};

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

/// Ways in which the power goes, behind one kill; and behind each of two.
const LOSSES: u64 = 15;
const LOSSES_OF_TWO: u64 = 2;
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
}

/// A storage with a log of some segments, and a blob.
fn started(disk: &FakeDisk, options: &Options) -> (FileStorage, Arc<dyn Log>) {
    let storage = open(disk, options).unwrap();
    let log = storage.open(&id("t")).unwrap();
    (0..20).for_each(|at| _ = append_message(&*log, 1, format!("message {at}").as_bytes()));
    storage.store_blob(&id("t"), BLOB, b"before").unwrap();
    (storage, log)
}

/// The ways to the disk, and one without a journal and with one segment.
fn options() -> Vec<Options> {
    let variants = variants(SyncPolicy::Always);
    let one_segment = Options { segment_bytes: 100_000, journal_bytes: 0, ..variants[0].clone() };
    [variants, vec![one_segment]].concat()
}

/// Has the power go, in many ways: what was shown is still there.
fn lose_power(disk: &FakeDisk, options: &Options, seeds: Range<u64>, shown: &Shown, when: &str) {
    let losses = seeds.map(PowerLoss::seeded);
    for loss in losses.chain([PowerLoss::NothingUnsynced]) {
        let when = format!("{when}, {loss:?}, {options:?}");
        let there = open(&FakeDisk::with(&disk.image_after(&loss)), options);
        let there = there.unwrap_or_else(|error| panic!("{when}: {error}"));
        assert_eq!(Shown::by(&there), *shown, "{when}");
    }
}

/// Opens what is there, and has the power go: before and after an append.
fn lose_power_behind_opening(disk: &FakeDisk, options: &Options, seeds: Range<u64>, when: &str) {
    let storage = open(disk, options).unwrap();
    let log = storage.open(&id("t")).unwrap();
    lose_power(disk, options, seeds.clone(), &Shown::by(&storage), when);
    (0..5).for_each(|_| _ = append_message(&*log, 1, &[b'x'; 300]));
    lose_power(disk, options, seeds, &Shown::by(&storage), when);
}

/// Ends an opening at each change that it makes. With the power: what was under way before has happened, or not. Without:
/// the next one shows nothing that a power loss takes.
fn end_in_opening(disk: &FakeDisk, options: &Options, seed: u64, expected: &[Shown; 2], when: &str) {
    for changes in 0.. {
        let disk = disk.after_kill();
        disk.stop_after(changes);
        let opened = open(&disk, options);
        if !disk.is_stopped() {
            opened.unwrap();
            break;
        }
        let when = format!("{when}, and in the opening after {changes}, {options:?}");
        let seeds = seed + changes..seed + changes + LOSSES_OF_TWO;
        for loss in seeds.clone() {
            let image = disk.image_after(&PowerLoss::seeded(loss));
            let there = open(&FakeDisk::with(&image), options);
            let there = there.unwrap_or_else(|error| panic!("{when}, {loss}: {error}"));
            let shown = Shown::by(&there);
            let is_like = |other: &Shown| shown.values == other.values && shown.blob == other.blob;
            let is_right = shown.bounds.damaged == 0 && expected.iter().any(is_like);
            assert!(is_right, "{when}, {loss}: {shown:?}");
        }
        drop(opened);
        lose_power_behind_opening(&disk.after_kill(), options, seeds, &when);
    }
}

/// Kills a process at each change that it makes, and shows what another one finds then, and what was done last. Returns the
/// number of kills.
fn each_kill(change: Change, options: &Options, mut look: impl FnMut(u64, &'static str, &FakeDisk)) -> usize {
    for changes in 0.. {
        let disk = FakeDisk::new();
        let (storage, log) = started(&disk, options);
        disk.stop_after(changes);
        let outcome = change(&storage, &log);
        if !disk.is_stopped() {
            outcome.unwrap();
            return changes as usize;
        }
        let (last, disk) = (disk.last_change(), disk.after_kill());
        drop((storage, log));
        look(changes, last, &disk);
    }
    unreachable!("a change ends")
}

/// Kills a process at each change that it makes, lets another one open what is there and append, and has the power go.
/// Returns the number of kills.
fn kill_in(change: Change, seed: u64) -> usize {
    let mut kills = 0;
    for options in options() {
        let (before, _) = started(&FakeDisk::new(), &options);
        let (after, log) = started(&FakeDisk::new(), &options);
        change(&after, &log).unwrap();
        let expected = [Shown::by(&before), Shown::by(&after)];
        kills += each_kill(change, &options, |changes, _, disk| {
            let when = format!("killed after {changes} changes");
            end_in_opening(disk, &options, 1000 * seed + changes, &expected, &when);
            lose_power_behind_opening(disk, &options, LOSSES * seed..LOSSES * (seed + 1), &when);
        });
    }
    println!("kills: {kills}");
    kills
}

/// Has one change that a process makes fail and kills it, lets another one open what is there and append, and has the
/// power go. What a sync that failed has lost is there for the other one to see, and only it can bring it to the disk.
/// Returns the number of failures.
fn fail_in(change: Change, seed: u64) -> usize {
    let mut failures = 0;
    for options in options() {
        for after in 0.. {
            let disk = FakeDisk::new();
            let (storage, log) = started(&disk, &options);
            let planned = disk.changes() + after;
            disk.fail(Fault { class: Class::Change, after, count: 1, errno: Errno::Eio });
            let outcome = change(&storage, &log);
            if disk.changes() <= planned {
                outcome.unwrap();
                break;
            }
            failures += 1;
            let disk = disk.after_kill();
            drop((storage, log));
            let when = format!("failed after {after} changes, killed");
            lose_power_behind_opening(&disk, &options, LOSSES * seed..LOSSES * (seed + 1), &when);
        }
    }
    println!("failures: {failures}");
    failures
}

/// Killed at each of its changes, and failed at each of them and killed behind that.
fn kill_and_fail_in(change: Change, seed: u64) {
    assert!(kill_in(change, seed) > 10 && fail_in(change, seed + 7) > 10);
}

#[test]
fn a_trim() {
    kill_and_fail_in(|_, log| log.trim(Offset::new(15)), 1);
}

#[test]
fn a_trim_of_all() {
    kill_and_fail_in(|_, log| log.trim(Offset::new(20)), 2);
}

#[test]
fn a_truncation() {
    kill_and_fail_in(|_, log| log.truncate(9), 3);
}

#[test]
fn a_reset() {
    kill_and_fail_in(|_, log| log.reset(Removed { next_index: 100, epoch: 3 }, Offset::new(500)), 4);
}

#[test]
fn a_blob() {
    kill_and_fail_in(|storage, _| storage.store_blob(&id("t"), BLOB, b"after"), 5);
}

#[test]
fn a_removal() {
    assert!(kill_in(|storage, _| storage.remove(&id("t")), 6) > 10);
}

/// Of the two slots of a manifest the disk may lose one: what has come to its end, with both of them written or because
/// the next process has found one, is not undone by that.
#[test]
fn a_slot_that_is_lost_behind_a_kill() {
    let changes: [Change; 3] = [
        |_, log| log.truncate(9),
        |_, log| log.truncate(0),
        |_, log| log.reset(Removed { next_index: 100, epoch: 3 }, Offset::new(500)),
    ];
    let mut kills = 0;
    for (change, options) in
        changes.into_iter().flat_map(|change| options().into_iter().map(move |o| (change, o)))
    {
        each_kill(change, &options, |changes, last, disk| {
            // A write that is cut short spoils a slot itself.
            if last == "write" {
                return;
            }
            kills += 1;
            let storage = open(disk, &options).unwrap();
            let log = storage.open(&id("t")).unwrap();
            (0..5).for_each(|_| _ = append_message(&*log, 1, b"after"));
            let shown = Shown::by(&storage);
            for slot in 0..2 {
                let mut image = disk.image_after(&PowerLoss::NothingUnsynced);
                let manifest = image.files().find(|path| path.ends_with("manifest")).unwrap().to_owned();
                image.file_mut(&manifest).unwrap()[slot * 4096] ^= 1;
                let there = open(&FakeDisk::with(&image), &options).unwrap();
                assert_eq!(Shown::by(&there), shown, "killed after {changes}, slot {slot}, {options:?}");
            }
        });
    }
    assert!(kills > 50, "{kills}");
}

/// What was opened before is opened still: whatever is found may only be less durable.
#[test]
fn a_disk_that_cannot_make_durable_what_was_left() {
    let options = &options()[0];
    let disk = FakeDisk::new();
    let (storage, log) = started(&disk, options);
    let shown = Shown::by(&storage);
    let disk = disk.after_kill();
    drop((storage, log));
    // The manifest, the whole, the logs and the journal, before anything else is changed.
    disk.fail(Fault { class: Class::Change, after: 0, count: 4, errno: Errno::Eio });
    let storage = open(&disk, options).unwrap();
    let is_sync_all = |name: &str, _: &Path, _: &Range<u64>| name == "sync_all";
    disk.wait_for_changes(&[&is_sync_all, &is_sync_all, &is_sync_all]);
    assert_eq!(Shown::by(&storage), shown);
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
