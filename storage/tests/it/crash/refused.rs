//! Parts that are refused when half of them is written, and what is left of them.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    thread,
};

use minikafka_record::Offset;
use minikafka_storage::{
    Entry, Log, Storage, StorageError,
    filesystem::{
        FileStorage, Options, SyncPolicy,
        inspect::{Event, Inspection, Severity},
    },
};

use super::{
    run::{ROOT, open},
    tiny,
};
use crate::{
    backend::{append, append_message, begin_append, entry, entry_at, id, read_values},
    fake_disk::{Class, Errno, FakeDisk, Fault, Image, PowerLoss},
};

/// Bytes of the header of a segment.
const HEADER_LEN: usize = 128;
/// Small messages, and some that fill a segment.
const SMALL: &[u8] = b"small";
const LARGE: &[u8] = &[b'x'; 1000];

/// Everything goes straight to the segments.
fn direct() -> Options {
    Options { journal_bytes: 0, ..tiny(SyncPolicy::Always) }
}

fn started(disk: &FakeDisk) -> (FileStorage, Arc<dyn Log>) {
    let storage = open(disk, &direct()).unwrap();
    let log = storage.open(&id("t")).unwrap();
    (storage, log)
}

/// Entries for three segments.
fn straddling(log: &dyn Log) -> Vec<Entry> {
    let bounds = log.bounds();
    let message = |at| if at < 2 { LARGE } else { SMALL };
    let entry = |at| entry(bounds.next_index + at, bounds.end.plus(at), 1, 0, &[message(at)]);
    (0..3).map(entry).collect()
}

/// What is left when the process is killed now, and when the power goes.
fn images(disk: &FakeDisk) -> [Image; 4] {
    let [one, other] = [1, 2].map(|seed| disk.image_after(&PowerLoss::seeded(seed)));
    [disk.live_image(), disk.image_after(&PowerLoss::NothingUnsynced), one, other]
}

/// A log of these messages, and the path of its last segment.
fn with_messages(messages: &[&[u8]], is_clean: bool) -> (Image, PathBuf) {
    let disk = FakeDisk::new();
    let (storage, log) = started(&disk);
    messages.iter().for_each(|message| _ = append_message(&*log, 1, message));
    if is_clean {
        storage.close().unwrap();
    }
    let image = disk.live_image();
    let last = segments(&image).pop().unwrap();
    (image, last)
}

fn segments(image: &Image) -> Vec<PathBuf> {
    let mut paths: Vec<_> = image.files().filter(|path| is_segment(path)).map(Path::to_owned).collect();
    paths.sort();
    paths
}

fn is_segment(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "log")
}

/// A segment file with this index for its name and nothing in it but its header.
fn header_only(index: usize) -> (PathBuf, Vec<u8>) {
    let mut messages = vec![SMALL; index + 1];
    messages[index - 1] = LARGE;
    let (image, path) = with_messages(&messages, false);
    let header = image.file(&path).unwrap()[..HEADER_LEN].to_vec();
    (path, header)
}

/// What earlier versions have left of segments that they could not make: among the entries of the last segment, or of
/// one that others follow.
#[test]
fn what_never_became_a_segment_is_removed() {
    let [few, followed, later] = [
        (vec![SMALL; 6], 2, 5),
        (vec![SMALL, SMALL, SMALL, LARGE, SMALL, SMALL], 2, 3),
        (vec![SMALL, SMALL, SMALL, LARGE, SMALL, SMALL, SMALL], 5, 6),
    ];
    for (messages, index, trimmed) in [few, followed, later] {
        let (path, header) = header_only(index);
        for (len, is_clean) in [0, 100, HEADER_LEN].into_iter().flat_map(|len| [(len, false), (len, true)]) {
            for trim_to in [0, trimmed] {
                let context = format!("{index} among {}, {len} bytes, {is_clean}, {trim_to}", messages.len());
                let (image, _) = with_messages(&messages, is_clean);
                let disk = FakeDisk::with(&image);
                let (storage, log) = started(&disk);
                log.trim(Offset::new(trim_to)).unwrap();
                if is_clean {
                    storage.close().unwrap();
                }
                let mut image = disk.live_image();
                image.insert(&path, Some(header[..len].to_vec()));
                assert_eq!(damages(&image), Vec::<String>::new(), "{context}");
                let disk = FakeDisk::with(&image);
                let (_storage, log) = started(&disk);
                assert_eq!(log.bounds().damaged, 0, "{context}");
                assert_eq!(read_values(&*log, Offset::new(trim_to), 1), messages[trim_to as usize..]);
                assert_eq!(append_message(&*log, 1, SMALL), messages.len() as u64 + 1);
                let left = disk.image_after(&PowerLoss::NothingUnsynced);
                assert_eq!(left.file(&path), None, "{context}");
            }
        }
    }
}

fn damages(image: &Image) -> Vec<String> {
    let inspection = Inspection::open_on(Arc::new(FakeDisk::with(image)), Path::new(ROOT)).unwrap();
    let mut damages = Vec::new();
    let note = |event| match event {
        Event::Found(finding) if finding.severity == Severity::Damage => damages.push(finding.what),
        _ => {}
    };
    inspection.verify(note).unwrap();
    damages
}

/// Each change fails that is made for a part which needs two segments more, and perhaps those behind it: then that
/// segment cannot be removed either. What is left of it is not in the way of the small messages that then take its
/// numbers in the first one.
#[test]
fn a_segment_that_could_not_be_made_is_not_in_the_way_of_the_next_entries() {
    let (mut refusals, mut failures) = (0, 0);
    for (errno, count) in [Errno::Eio, Errno::Enospc].into_iter().flat_map(|errno| [(errno, 1), (errno, 2)]) {
        for after in 0.. {
            let disk = FakeDisk::new();
            let (storage, mut log) = started(&disk);
            append_message(&*log, 1, SMALL);
            let before = disk.changes();
            disk.fail(Fault { class: Class::Change, after, count, errno });
            let outcome = append(&*log, straddling(&*log));
            disk.heal();
            if disk.changes() <= before + after {
                break;
            }
            if outcome.is_ok() {
                continue;
            }
            if append(&*log, Vec::new()).is_ok() {
                refusals += 1;
                let left = disk.image_after(&PowerLoss::NothingUnsynced);
                assert_eq!([disk.live_image(), left].map(|image| segments(&image).len()), [1, 1]);
            } else {
                failures += 1;
                disk.forgive_failed_syncs(ROOT);
                log = storage.open(&id("t")).unwrap();
            }
            (0..5).for_each(|_| _ = append_message(&*log, 1, SMALL));
            log.trim(Offset::new(4)).unwrap();
            let served = read_values(&*log, Offset::new(4), 1);
            let images = images(&disk);
            drop((storage, log));
            for image in images {
                let (_storage, log) = started(&FakeDisk::with(&image));
                assert_eq!(log.bounds().damaged, 0, "{errno:?} after {after}");
                assert_eq!(read_values(&*log, Offset::new(4), 1), served, "{errno:?} after {after}");
            }
        }
    }
    println!("refusals: {refusals}, failures: {failures}, lost: 0");
    assert!(refusals > 8 && failures > 4, "{refusals}, {failures}");
}

/// The power goes while a part is taken back, of which one segment is there and the next one could not be made.
#[test]
fn a_power_loss_behind_a_segment_that_could_not_be_made_loses_nothing() {
    let fail = |after, stop_after| {
        let disk = FakeDisk::new();
        let (_storage, log) = started(&disk);
        append_message(&*log, 1, SMALL);
        let before = disk.changes();
        disk.fail(Fault { class: Class::Change, after, count: 1, errno: Errno::Enospc });
        disk.stop_after(stop_after);
        let _ = append(&*log, straddling(&*log));
        (disk.changes() > before + after).then_some(disk)
    };
    let mut losses = 0;
    for after in 0.. {
        let mut stop_after = after + 1;
        while let Some(disk) = fail(after, stop_after).filter(FakeDisk::is_stopped) {
            for seed in 0..8 {
                losses += 1;
                let image = disk.image_after(&PowerLoss::seeded(stop_after * 8 + seed));
                let (_storage, log) = started(&FakeDisk::with(&image));
                let context = format!("after {after}, {stop_after}, seed {seed}");
                assert_eq!(log.bounds().damaged, 0, "{context}");
                assert_eq!(read_values(&*log, Offset::ZERO, 1)[0], SMALL, "{context}");
            }
            stop_after += 1;
        }
        if fail(after, u64::MAX / 2).is_none() {
            break;
        }
    }
    println!("losses of power: {losses}, of messages: 0");
    assert!(losses > 500, "{losses}");
}

/// Whoever is told that a message is not stored sends it again.
#[test]
fn what_could_not_be_taken_back_is_in_doubt() {
    let disk = FakeDisk::new();
    let (storage, log) = started(&disk);
    append_message(&*log, 1, SMALL);
    // The first entry goes to the segment that is open.
    disk.run_out_of_files();
    let outcome = append(&*log, straddling(&*log));
    assert!(matches!(outcome, Err(StorageError::Io { .. })), "{outcome:?}");
    disk.heal();
    let log = storage.open(&id("t")).unwrap();
    assert_eq!(read_values(&*log, Offset::ZERO, 1), [SMALL, LARGE], "it is stored all the same");
}

/// As above, of what was written early to a file that is not open any more when it is to be synced.
#[test]
fn what_was_written_and_cannot_be_synced_is_in_doubt() {
    let disk = FakeDisk::new();
    let options = Options { segment_bytes: 1 << 20, open_files: 1, early_bytes: 100, ..direct() };
    let storage = open(&disk, &options).unwrap();
    let logs = ["t", "other"].map(|topic| storage.open(&id(topic)).unwrap());
    logs.iter().for_each(|log| _ = append_message(&**log, 1, SMALL));
    let hold = disk.hold_syncs_in(&["flusher"]);
    let send = |log: &Arc<dyn Log>| begin_append(&**log, vec![entry_at(&**log, 1, 0, &[LARGE])]);
    let synced = send(&logs[1]);
    disk.wait_for_held_sync();
    // The file of the second one is open then, and no other.
    let early = [("/t-", 1000), ("/other-", 2000)].map(|(dir, written)| {
        let answer = send(&logs[usize::from(dir == "/other-")]);
        let is_its = |path: &Path| is_segment(path) && path.to_string_lossy().contains(dir);
        disk.wait_for_change(|name, path, bytes| name == "write" && is_its(path) && bytes.end > written);
        answer
    });
    disk.run_out_of_files();
    drop(hold);
    synced.recv().unwrap().unwrap();
    let [outcome, other] = early.map(|answer| answer.recv().unwrap());
    assert!(matches!(outcome, Err(StorageError::Io { .. })), "{outcome:?}");
    other.unwrap();
    disk.heal();
    let log = storage.open(&id("t")).unwrap();
    assert_eq!(read_values(&*log, Offset::ZERO, 1), [SMALL, LARGE], "it is stored all the same");
}

/// What is trimmed stays until the manifest says so, also if that has failed and is owed.
#[test]
fn taking_a_part_back_removes_nothing_that_a_trim_still_has_to_write_down() {
    for is_owed in [false, true] {
        let disk = FakeDisk::new();
        let (_storage, log) = started(&disk);
        [LARGE, LARGE, LARGE, SMALL].iter().for_each(|message| _ = append_message(&*log, 1, message));
        let trim = || log.trim(Offset::new(2));
        thread::scope(|scope| {
            let hold = disk.hold_syncs_in(&["trimmer"]);
            let trimmer = if is_owed {
                disk.fail(Fault { class: Class::Change, after: 0, count: 1, errno: Errno::Enospc });
                trim().unwrap_err();
                None
            } else {
                let trimmer = thread::Builder::new().name("trimmer".to_owned());
                let trimmer = trimmer.spawn_scoped(scope, trim).unwrap();
                disk.wait_for_held_sync();
                Some(trimmer)
            };
            disk.fail_creations_in("flusher");
            append(&*log, straddling(&*log)).unwrap_err();
            disk.heal();
            append(&*log, Vec::new()).expect("it was refused, and nothing else");
            for image in images(&disk) {
                let (_storage, log) = started(&FakeDisk::with(&image));
                assert_eq!((log.bounds().damaged, log.bounds().end), (0, Offset::new(4)));
            }
            drop(hold);
            trimmer.map_or_else(trim, |trimmer| trimmer.join().unwrap()).unwrap();
        });
        assert_eq!(segments(&disk.live_image()).len(), 2, "then they go");
    }
}
