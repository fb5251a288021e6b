//! Damage that was found once is known for good: over a restart and a power loss, on a full disk, and by eviction.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use minikafka_record::Offset;
use minikafka_storage::{
    Log, Storage, StorageError,
    filesystem::{
        FileStorage, Options, SyncPolicy,
        inspect::{Event, Finding, Inspection, Severity},
    },
};

use super::{
    check::ensure,
    run::{ROOT, open},
    tiny,
};
use crate::{
    backend::{append, append_message, entry_at, id, read_values},
    fake_disk::{Class, Errno, FakeDisk, Fault, Image, PowerLoss},
};

const COUNT: u64 = 20;
/// Where frames of a segment begin: behind its header, and the first one.
const FIRST_FRAME: usize = 128;
const SECOND_FRAME: usize = FIRST_FRAME + 64 + 79;
/// Of the message that is lost.
const LOST: Offset = Offset::new(1);

fn options() -> Options {
    Options { segment_bytes: 500, tail_bytes: 0, journal_bytes: 0, ..tiny(SyncPolicy::Always) }
}

/// A log in several segments that was stopped.
fn stopped() -> Image {
    let disk = FakeDisk::new();
    let storage = open(&disk, &options()).unwrap();
    let log = storage.open(&id("t")).unwrap();
    (0..COUNT).for_each(|time| _ = append_message(&*log, time as i64, b"some message"));
    storage.close().unwrap();
    disk.live_image()
}

/// One whose first segment has lost its second message since.
fn damaged() -> Image {
    let mut image = stopped();
    let first = first_segment(&image).unwrap();
    image.file_mut(&first).unwrap()[SECOND_FRAME + 70] ^= 1;
    image
}

fn first_segment(image: &Image) -> Option<PathBuf> {
    let is_first = |path: &&Path| path.ends_with("00000000000000000000.log");
    image.files().find(is_first).map(Path::to_owned)
}

fn file(image: &Image, end: &str) -> Option<Vec<u8>> {
    let path = image.files().find(|path| path.to_string_lossy().ends_with(end))?;
    image.file(path).map(<[u8]>::to_vec)
}

/// Reads what is lost, and learns that.
fn find_damage(log: &dyn Log) {
    match log.read(LOST, Offset::new(COUNT), 1) {
        Err(StorageError::Damaged { lost, .. }) => assert_eq!(lost, Some(LOST..LOST.plus(1))),
        other => panic!("{other:?}"),
    }
}

/// What the disk holds for good once there is a file with this name.
fn wait_for(disk: &FakeDisk, end: &str) -> Image {
    let begun = Instant::now();
    loop {
        let image = disk.image_after(&PowerLoss::NothingUnsynced);
        if file(&image, end).is_some() {
            return image;
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "no {end} after 30 s");
        std::thread::yield_now();
    }
}

/// An image with damage that a server has found.
pub(super) fn remembered() -> Image {
    let disk = FakeDisk::with(&damaged());
    let storage = open(&disk, &options()).unwrap();
    find_damage(&*storage.open(&id("t")).unwrap());
    wait_for(&disk, "/damage")
}

/// Whether a server knows the damage of [`remembered`] before anybody reads.
pub(super) fn check_remembered(image: &Image) -> Result<(), String> {
    let (_disk, _storage, log) = opened(image);
    let damaged = log.bounds().damaged;
    ensure!(damaged == 1, "{damaged} messages are said to be damaged");
    find_damage(&*log);
    Ok(())
}

/// An image of a log that was being truncated to four entries: the manifest says so, and the files are as they were.
pub(super) fn in_a_truncation() -> Image {
    for point in 0.. {
        let disk = FakeDisk::new();
        let storage = open(&disk, &options()).unwrap();
        let log = storage.open(&id("t")).unwrap();
        (0..COUNT).for_each(|time| _ = append_message(&*log, time as i64, b"some message"));
        disk.stop_after(point);
        let _ = log.truncate(4);
        let image = disk.image_after(&PowerLoss::NothingUnsynced);
        let manifest = file(&image, "/manifest").unwrap();
        // The format of each slot.
        if [0, 4096].iter().all(|slot| manifest[slot + 4..slot + 8] == [0, 0, 0, 3]) {
            return image;
        }
        assert!(disk.is_stopped(), "the manifest never says so");
    }
    unreachable!("there are enough points")
}

/// Whether a server brings the truncation of [`in_a_truncation`] to its end.
pub(super) fn check_in_a_truncation(image: &Image) -> Result<(), String> {
    let (_disk, _storage, log) = opened(image);
    let bounds = log.bounds();
    ensure!((bounds.next_index, bounds.damaged) == (4, 0), "{bounds:?}");
    ensure!(append_message(&*log, 99, b"next") == 5, "another number");
    ensure!(read_values(&*log, Offset::ZERO, 100).len() == 5, "not all can be read");
    Ok(())
}

fn opened(image: &Image) -> (FakeDisk, FileStorage, Arc<dyn Log>) {
    let disk = FakeDisk::with(image);
    let storage = open(&disk, &options()).unwrap();
    let log = storage.open(&id("t")).unwrap();
    (disk, storage, log)
}

#[test]
fn whoever_finds_damage_does_not_wait_until_it_is_remembered() {
    let disk = FakeDisk::with(&damaged());
    let storage = open(&disk, &options()).unwrap();
    let log = storage.open(&id("t")).unwrap();
    assert_eq!(log.bounds().damaged, 0, "nobody has looked yet");
    disk.hold_syncs();
    find_damage(&*log);
    disk.wait_for_held_sync();
    find_damage(&*log);
    log.read(LOST.plus(1), Offset::new(COUNT), 1).unwrap();
    assert_eq!(log.bounds().damaged, 1);
    disk.release_syncs();
    wait_for(&disk, "/damage");
}

#[test]
fn a_restart_knows_the_damage_and_eviction_sets_the_segment_aside() {
    let image = remembered();
    let content = image.file(&first_segment(&image).unwrap()).unwrap().to_vec();
    let (disk, _storage, log) = opened(&image);
    assert_eq!(log.bounds().damaged, 1, "before anybody reads");
    log.trim(Offset::new(COUNT)).unwrap();
    assert_eq!(log.bounds().damaged, 0, "evicted");
    let image = disk.live_image();
    assert_eq!(first_segment(&image), None);
    assert_eq!(file(&image, ".log.damaged"), Some(content));
    assert_eq!(append_message(&*log, 99, b"next"), COUNT + 1, "no number is given again");
    drop((log, _storage));
    let (disk, storage, log) = opened(&image);
    assert_eq!(log.bounds().damaged, 0);
    storage.close().unwrap();
    assert_eq!(file(&disk.live_image(), "/damage"), None, "there is nothing left to know");
}

/// A damaged segment is there, under its own name or the other one, whatever stops an eviction or a reset.
#[test]
fn a_crash_in_an_eviction_or_a_reset_removes_no_damaged_segment() {
    let image = remembered();
    let content = image.file(&first_segment(&image).unwrap()).unwrap().to_vec();
    type TakeAway = fn(&dyn Log) -> Result<(), StorageError>;
    let all: [TakeAway; 3] = [
        |log| log.trim(Offset::new(COUNT - 2)),
        |log| log.reset(log.bounds().removed, Offset::new(100)),
        |log| log.truncate(0),
    ];
    for take_away in all {
        for point in 0.. {
            let disk = FakeDisk::with(&image);
            let storage = open(&disk, &options()).unwrap();
            let log = storage.open(&id("t")).unwrap();
            disk.stop_after(point);
            let _ = take_away(&*log);
            let is_last = !disk.is_stopped();
            for image in [disk.live_image(), disk.image_after(&PowerLoss::NothingUnsynced)] {
                let (disk, ..) = opened(&image);
                let image = disk.live_image();
                let kept = file(&image, "00000000000000000000.log").filter(|kept| *kept == content);
                let aside = file(&image, ".log.damaged");
                assert!(
                    kept.or(aside).as_ref() == Some(&content),
                    "after {point} changes: {}",
                    disk.trace(20)
                );
            }
            if is_last {
                break;
            }
        }
    }
}

#[test]
fn a_full_disk_keeps_damage_from_being_remembered_and_nothing_else() {
    let disk = FakeDisk::with(&damaged());
    let storage = open(&disk, &options()).unwrap();
    let log = storage.open(&id("t")).unwrap();
    let image = disk.live_image();
    let used: usize = image.files().map(|path| image.file(path).unwrap().len()).sum();
    disk.set_capacity(used as u64);
    find_damage(&*log);
    log.read(LOST.plus(1), Offset::new(COUNT), 1).unwrap();
    assert_eq!(log.bounds().damaged, 1);
    // The writer has begun, and comes to no end.
    disk.wait_for_change(|_, path, _| path.ends_with("damage.new"));
    assert!(file(&disk.live_image(), "/damage").is_none());
    disk.set_capacity(1 << 40);
    // The writer asks again.
    wait_for(&disk, "/damage");
    assert_eq!(append_message(&*log, 99, b"next"), COUNT + 1, "the log has not failed");
}

#[test]
fn an_error_when_it_is_remembered_does_not_stop_the_log() {
    let disk = FakeDisk::with(&damaged());
    let storage = open(&disk, &options()).unwrap();
    let log = storage.open(&id("t")).unwrap();
    disk.fail(Fault { class: Class::Change, after: 0, count: 1, errno: Errno::Eio });
    let before = disk.changes();
    find_damage(&*log);
    while disk.changes() == before {
        std::thread::yield_now();
    }
    assert_eq!(append_message(&*log, 99, b"next"), COUNT + 1);
    storage.close().unwrap();
    assert!(file(&disk.live_image(), "/damage").is_some(), "a stop stores what is owed");
}

/// What is known in memory only is known still when the log has failed and is opened again.
#[test]
fn damage_that_is_not_remembered_yet_outlives_a_reopening() {
    for is_half_evicted in [false, true] {
        let image = damaged();
        let content = image.file(&first_segment(&image).unwrap()).unwrap().to_vec();
        let disk = FakeDisk::with(&image);
        let storage = open(&disk, &options()).unwrap();
        let log = storage.open(&id("t")).unwrap();
        let eio = Fault { class: Class::Change, after: 0, count: 1, errno: Errno::Eio };
        disk.fail(eio);
        let before = disk.changes();
        find_damage(&*log);
        while disk.changes() == before {
            std::thread::yield_now();
        }
        disk.fail_in("flusher");
        append(&*log, vec![entry_at(&*log, 99, 0, &[b"in doubt"])]).unwrap_err();
        disk.heal();
        if is_half_evicted {
            // The manifest says so, and the file is there.
            disk.fail(Fault { after: 2, ..eio });
            log.trim(Offset::new(COUNT - 2)).unwrap_err();
            disk.heal();
            assert!(first_segment(&disk.live_image()).is_some());
        }
        disk.forgive_failed_syncs("/data/logs");
        let again = storage.open(&id("t")).unwrap();
        if !is_half_evicted {
            assert_eq!(again.bounds().damaged, 1);
            wait_for(&disk, "/damage");
            again.trim(Offset::new(COUNT - 2)).unwrap();
        }
        assert_eq!(file(&disk.live_image(), ".log.damaged").as_ref(), Some(&content));
    }
}

/// Row 4, for this file: it is there twice.
#[test]
fn a_flipped_bit_in_what_is_known_of_damage_costs_nothing() {
    let image = remembered();
    let path = image.files().find(|path| path.ends_with("damage")).unwrap().to_owned();
    let len = image.file(&path).unwrap().len();
    for at in 0..len {
        let mut flipped = image.clone();
        flipped.file_mut(&path).unwrap()[at] ^= 1 << (at % 8);
        let (disk, _storage, log) = opened(&flipped);
        assert_eq!(log.bounds().damaged, 1, "byte {at}");
        log.trim(Offset::new(COUNT)).unwrap();
        assert!(file(&disk.live_image(), ".log.damaged").is_some(), "byte {at}");
    }
}

#[test]
fn when_both_copies_are_spoiled_every_segment_counts_as_damaged() {
    let mut image = remembered();
    let path = image.files().find(|path| path.ends_with("damage")).unwrap().to_owned();
    let content = image.file_mut(&path).unwrap();
    let half = content.len() / 2;
    (content[20], content[half + 20]) = (0xff, 0xff);
    let (disk, _storage, log) = opened(&image);
    assert_eq!(log.bounds().damaged, 0, "it is found again when it is read");
    find_damage(&*log);
    assert_eq!(log.bounds().damaged, 1);
    log.trim(Offset::new(COUNT)).unwrap();
    let names = disk.live_image();
    assert!(names.files().filter(|path| path.to_string_lossy().ends_with(".log.damaged")).count() > 3);
    assert!(file(&names, "/damage.damaged").is_some());
}

/// Whatever stops the start that finds the file spoiled, and the next one, and although a file like it was set aside
/// before.
#[test]
fn a_crash_does_not_forget_that_every_segment_may_be_damaged() {
    let mut image = remembered();
    let path = image.files().find(|path| path.ends_with("damage")).unwrap().to_owned();
    let content = image.file_mut(&path).unwrap();
    let half = content.len() / 2;
    (content[20], content[half + 20]) = (0xff, 0xff);
    let content = content.clone();
    let disk = FakeDisk::with(&image);
    drop(open(&disk, &options()).unwrap());
    let mut image = disk.live_image();
    assert_eq!(file(&image, "/damage.damaged").as_ref(), Some(&content));
    // Spoiled once more, in another way.
    let mut other = content.clone();
    other[21] ^= 1;
    image.insert(&path, Some(other.clone()));
    for point in 0.. {
        let disk = FakeDisk::with(&image);
        disk.stop_after(point);
        drop(open(&disk, &options()));
        let is_last = !disk.is_stopped();
        for image in [disk.live_image(), disk.image_after(&PowerLoss::NothingUnsynced)] {
            let (disk, _storage, log) = opened(&image);
            log.trim(Offset::new(COUNT)).unwrap();
            let names = disk.live_image();
            let count = names.files().filter(|path| path.to_string_lossy().ends_with(".log.damaged")).count();
            assert!(count > 3, "{count} segments are set aside after {point} changes");
            assert_eq!(file(&names, "/damage.damaged").as_ref(), Some(&content));
            assert_eq!(file(&names, "/damage.1.damaged").as_ref(), Some(&other));
        }
        if is_last {
            break;
        }
    }
    let findings = verify(&image);
    let aside = findings.iter().find(|finding| finding.path.ends_with("damage.damaged")).unwrap();
    assert!(aside.what.contains("what was known of damage"), "{aside:?}");
}

/// What the journal has of a log that cannot be opened stays there, start after start, and no more of it than that.
#[test]
fn the_journal_does_not_grow_for_a_log_that_is_left_alone() {
    let options = Options { direct_bytes: u64::MAX, journal_bytes: 64 * 1024, ..tiny(SyncPolicy::Always) };
    let disk = FakeDisk::new();
    let storage = open(&disk, &options).unwrap();
    let logs = ["t", "other"].map(|topic| storage.open(&id(topic)).unwrap());
    logs.iter().for_each(|log| _ = append_message(&**log, 1, b"only in the journal"));
    let mut image = disk.live_image();
    drop((logs, storage));
    let is_manifest = |path: &&Path| path.ends_with("manifest") && path.to_string_lossy().contains("/t-0.");
    let manifest = image.files().find(is_manifest).unwrap().to_owned();
    let whole = image.file(&manifest).unwrap().to_vec();
    image.insert(&manifest, Some(vec![0xff; whole.len()]));
    let is_journal = |path: &&Path| path.extension().is_some_and(|found| found == "journal");
    let mut most = 0;
    for _ in 0..10 {
        let disk = FakeDisk::with(&image);
        let storage = open(&disk, &options).unwrap();
        assert!(storage.open(&id("t")).is_err());
        let other = storage.open(&id("other")).unwrap();
        (0..20).for_each(|_| _ = append_message(&*other, 1, &[b'x'; 1000]));
        storage.close().unwrap();
        image = disk.live_image();
        most = most.max(image.files().filter(is_journal).count());
    }
    assert!(most <= 5, "{most} files of the journal");
    image.insert(&manifest, Some(whole));
    let storage = open(&FakeDisk::with(&image), &options).unwrap();
    assert_eq!(read_values(&*storage.open(&id("t")).unwrap(), Offset::ZERO, 100), ["only in the journal"]);
    assert_eq!(read_values(&*storage.open(&id("other")).unwrap(), Offset::ZERO, 100).len(), 201);
}

/// What is truncated is no longer lost, whatever stops it: the log is as before, or as after.
#[test]
fn a_crash_in_a_truncation_leaves_no_damage_of_what_it_took() {
    let mut image = damaged();
    let path =
        image.files().filter(|path| path.to_string_lossy().ends_with(".log")).nth(2).unwrap().to_owned();
    image.file_mut(&path).unwrap()[SECOND_FRAME + 70] ^= 1;
    let (disk, _storage, log) = opened(&image);
    find_damage(&*log);
    let mut next = LOST.plus(1);
    while next < Offset::new(COUNT) {
        match log.read(next, Offset::new(COUNT), 1) {
            Ok(batches) => next = batches[0].end_offset(),
            Err(StorageError::Damaged { lost, .. }) => next = lost.unwrap().end,
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(log.bounds().damaged, 2);
    drop(log);
    _storage.close().unwrap();
    let image = disk.live_image();
    let (mut before, mut after) = (0, 0);
    for point in 0.. {
        let (disk, _storage, log) = opened(&image);
        assert_eq!(log.bounds().damaged, 2);
        disk.stop_after(point);
        let _ = log.truncate(4);
        let is_last = !disk.is_stopped();
        let losses =
            (0..4).map(|seed| PowerLoss::seeded(point * 4 + seed)).chain([PowerLoss::NothingUnsynced]);
        for loss in losses {
            let (disk, storage, log) = opened(&disk.image_after(&loss));
            let bounds = log.bounds();
            match bounds.next_index {
                COUNT => before += u64::from(bounds.damaged == 2),
                4 => after += u64::from(bounds.damaged == 1),
                other => panic!("after {point} changes it goes to {other}"),
            }
            assert_eq!(bounds.damaged, if bounds.next_index == 4 { 1 } else { 2 }, "after {point} changes");
            (bounds.next_index..COUNT + 1)
                .for_each(|time| _ = append_message(&*log, 100 + time as i64, b"other"));
            storage.close().unwrap();
            let (_, _storage, log) = opened(&disk.live_image());
            assert_eq!(log.bounds().damaged, bounds.damaged);
            log.read(Offset::new(COUNT), Offset::new(COUNT + 1), 1).unwrap();
        }
        if is_last {
            break;
        }
    }
    assert!(before > 0 && after > 0, "{before}, {after}");
}

/// A note that came back would speak of messages that have taken the numbers of those that were lost.
#[test]
fn once_nothing_is_damaged_any_more_the_disk_says_so() {
    let mut image = stopped();
    let segment = |path: &&Path| path.extension().is_some_and(|found| found == "log");
    let last = image.files().filter(segment).max().unwrap().to_owned();
    image.file_mut(&last).unwrap()[FIRST_FRAME + 70] ^= 1;
    let (disk, _storage, log) = opened(&image);
    log.read(Offset::ZERO, Offset::new(COUNT), usize::MAX).unwrap();
    let first_lost =
        (0..COUNT).find(|at| log.read(Offset::new(*at), Offset::new(COUNT), 1).is_err()).unwrap();
    wait_for(&disk, "/damage");
    log.truncate(first_lost - 1).unwrap();
    assert_eq!(log.bounds().damaged, 0);
    assert_eq!(file(&disk.image_after(&PowerLoss::NothingUnsynced), "/damage"), None);
}

fn verify(image: &Image) -> Vec<Finding> {
    let disk = Arc::new(FakeDisk::with(image));
    let mut findings = Vec::new();
    let inspection = Inspection::open_on(disk, Path::new(ROOT)).unwrap();
    inspection
        .verify(|event| {
            if let Event::Found(finding) = event {
                findings.push(finding);
            }
        })
        .unwrap();
    findings
}

#[test]
fn verifying_says_what_a_server_has_found() {
    let image = remembered();
    let notes = |findings: &[Finding]| -> Vec<String> {
        let notes = findings.iter().filter(|finding| finding.severity == Severity::Note);
        notes.map(|finding| finding.what.clone()).collect()
    };
    let findings = verify(&image);
    assert_eq!(notes(&findings), ["a server has found damage: 1 messages lost, segments to set aside: 1"]);
    assert_eq!(findings.len(), 2, "and finds it itself: {findings:#?}");

    let mut mended = image.clone();
    let first = first_segment(&image).unwrap();
    mended.file_mut(&first).unwrap()[SECOND_FRAME + 70] ^= 1;
    let findings = verify(&mended);
    assert!(findings.iter().all(|finding| finding.severity == Severity::Note), "{findings:#?}");
    assert!(notes(&findings)[1].contains("not all of messages 2 to 2"), "{findings:#?}");

    let mut spoiled = image;
    let path = spoiled.files().find(|path| path.ends_with("damage")).unwrap().to_owned();
    spoiled.file_mut(&path).unwrap()[20] ^= 1;
    let damages = verify(&spoiled);
    let of_file = damages.iter().find(|finding| finding.path == path && finding.severity == Severity::Damage);
    assert!(of_file.is_some_and(|finding| finding.what.contains("the first is damaged")), "{damages:#?}");
}
