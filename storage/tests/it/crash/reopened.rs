//! Logs that have failed and are opened again in the running process, while the others go on. Row 6.

use std::{sync::Arc, time::Duration};

use minikafka_record::Offset;
use minikafka_storage::{
    Log, Removed, Storage, StorageError,
    filesystem::{FileStorage, Options, SyncPolicy},
};

use super::{run::open, tiny, variants};
use crate::{
    backend::{append, append_message, begin_append, entry, entry_at, id, read_values},
    fake_disk::{Class, Errno, FakeDisk, Fault, PowerLoss},
};

const EIO: Fault = Fault { class: Class::Change, after: 0, count: 1, errno: Errno::Eio };

/// A storage with logs that hold a message each.
fn started(disk: &FakeDisk, options: &Options, topics: &[&str]) -> (FileStorage, Vec<Arc<dyn Log>>) {
    let storage = open(disk, options).unwrap();
    let logs: Vec<_> = topics.iter().map(|topic| storage.open(&id(topic)).unwrap()).collect();
    logs.iter().for_each(|log| _ = append_message(&**log, 1, b"before"));
    (storage, logs)
}

/// Has the next append of this log fail, and the log with it, and no other.
fn fail(disk: &FakeDisk, log: &dyn Log) {
    disk.fail_in("flusher");
    let failed = append(log, vec![entry_at(log, 1, 0, &[b"in doubt"])]).unwrap_err();
    assert!(matches!(failed, StorageError::Io { .. }), "{failed:?}");
    let refused = append(log, vec![entry_at(log, 1, 0, &[b"refused"])]).unwrap_err();
    assert!(matches!(refused, StorageError::Poisoned(_)), "{refused:?}");
    disk.heal();
}

fn without_doubt(log: &dyn Log) -> Vec<bytes::Bytes> {
    let mut values = read_values(log, Offset::ZERO, 1);
    values.retain(|value| value != "in doubt");
    values
}

fn journal_files(disk: &FakeDisk) -> usize {
    let image = disk.live_image();
    image.files().filter(|path| path.extension().is_some_and(|found| found == "journal")).count()
}

/// Each change that opening it again makes fails once: then it stays as it was, and the next try succeeds.
#[test]
fn reopening_that_fails_is_tried_again() {
    let mut failures = 0;
    for options in variants(SyncPolicy::Always) {
        for (class, errno) in
            [(Class::Change, Errno::Eio), (Class::Change, Errno::Enospc), (Class::Look, Errno::Eio)]
        {
            for after in 0.. {
                let disk = FakeDisk::new();
                let (storage, logs) = started(&disk, &options, &["t", "other"]);
                append_message(&*logs[0], 1, b"more");
                fail(&disk, &*logs[0]);
                disk.forgive_failed_syncs("/data/logs");
                // It empties what is left of the journal, for the other log.
                disk.spare("writer");
                disk.fail(Fault { class, after, count: 1, errno });
                let first = storage.open(&id("t"));
                disk.heal();
                disk.forgive_failed_syncs("/data/logs");
                let is_over = first.is_ok();
                if first.is_err() {
                    failures += 1;
                    assert_eq!(without_doubt(&*logs[0]), ["before", "more"], "reads go on");
                }
                let again = first.or_else(|_| storage.open(&id("t"))).unwrap();
                append_message(&*again, 1, b"after");
                assert_eq!(without_doubt(&*again), ["before", "more", "after"]);
                assert_eq!(again.bounds().damaged, 0);
                append_message(&*logs[1], 1, b"more");
                assert!(disk.retried_syncs().is_empty(), "{:?}", disk.retried_syncs());
                drop((storage, logs, again));
                for image in [disk.live_image(), disk.image_after(&PowerLoss::NothingUnsynced)] {
                    let storage = open(&FakeDisk::with(&image), &options).unwrap();
                    let log = storage.open(&id("t")).unwrap();
                    assert_eq!(without_doubt(&*log), ["before", "more", "after"]);
                    assert_eq!(read_values(&*storage.open(&id("other")).unwrap(), Offset::ZERO, 1).len(), 2);
                }
                if is_over {
                    break;
                }
            }
        }
    }
    println!("reopenings that failed once: {failures}, lost: 0");
    assert!(failures > 20, "{failures}");
}

/// What is evicted between two tries stays evicted: the one that failed may have written the manifest.
#[test]
fn an_eviction_behind_a_reopening_that_failed_is_not_undone() {
    let (mut failures, mut evictions) = (0, 0);
    for options in variants(SyncPolicy::Always) {
        for after in 0.. {
            let disk = FakeDisk::new();
            let (storage, logs) = started(&disk, &options, &["t"]);
            (0..20).for_each(|_| _ = append_message(&*logs[0], 1, b"more"));
            // Owed to the log in its place, which so has something to do behind its manifest.
            disk.fail(Fault { count: 1000, ..EIO });
            logs[0].trim(Offset::new(3)).unwrap_err();
            append(&*logs[0], vec![entry_at(&*logs[0], 1, 0, &[b"in doubt"])]).unwrap_err();
            disk.heal();
            disk.forgive_failed_syncs("/data/logs");
            disk.fail(Fault { after, ..EIO });
            let first = storage.open(&id("t"));
            disk.heal();
            disk.forgive_failed_syncs("/data/logs");
            if first.is_ok() {
                break;
            }
            failures += 1;
            if logs[0].trim(Offset::new(7)).is_err() {
                continue;
            }
            evictions += 1;
            for image in [disk.live_image(), disk.image_after(&PowerLoss::NothingUnsynced)] {
                let storage = open(&FakeDisk::with(&image), &options).unwrap();
                let bounds = storage.open(&id("t")).unwrap().bounds();
                assert_eq!((bounds.start, bounds.damaged), (Offset::new(7), 0), "after {after}");
            }
            let again = storage.open(&id("t")).unwrap();
            assert_eq!((again.bounds().start, again.bounds().damaged), (Offset::new(7), 0));
        }
    }
    println!("reopenings that failed: {failures}, evictions behind them: {evictions}, undone: 0");
    assert!(evictions > 10, "{evictions} of {failures}");
}

/// Lets a truncation fail at each of its changes, behind one that has not, and looks at what is there then.
fn fail_truncations(
    first: Option<u64>,
    second: u64,
    look: impl Fn(&FakeDisk, &Options, &FileStorage, &dyn Log),
) {
    let mut failures = 0;
    for options in variants(SyncPolicy::Always) {
        for after in 0.. {
            let disk = FakeDisk::new();
            let (storage, logs) = started(&disk, &options, &["t"]);
            (0..20).for_each(|_| _ = append_message(&*logs[0], 1, b"more"));
            first.into_iter().for_each(|first| logs[0].truncate(first).unwrap());
            disk.fail(Fault { after, ..EIO });
            let outcome = logs[0].truncate(second);
            disk.heal();
            if outcome.is_ok() {
                break;
            }
            failures += 1;
            println!("after {after}, {options:?}");
            look(&disk, &options, &storage, &*logs[0]);
        }
    }
    assert!(failures > 10, "{failures}");
}

/// A truncation of everything that fails half way has happened: an eviction behind it makes no damage of that.
#[test]
fn an_eviction_behind_a_truncation_that_failed_loses_nothing() {
    fail_truncations(None, 0, |disk, options, storage, log| {
        // Refused where nothing is left.
        let _ = log.trim(Offset::new(5));
        for image in [disk.live_image(), disk.image_after(&PowerLoss::NothingUnsynced)] {
            let storage = open(&FakeDisk::with(&image), options).unwrap();
            assert_eq!(storage.open(&id("t")).unwrap().bounds().damaged, 0);
        }
        disk.forgive_failed_syncs("/data/logs");
        assert_eq!(storage.open(&id("t")).unwrap().bounds().damaged, 0);
    });
}

/// What the failed log remembers as durable is from before the truncation that its manifest speaks of.
#[test]
fn reopening_behind_a_second_truncation_that_failed_finds_no_damage() {
    fail_truncations(Some(10), 5, |disk, _, storage, _| {
        disk.forgive_failed_syncs("/data/logs");
        let bounds = storage.open(&id("t")).unwrap().bounds();
        assert!(bounds.damaged == 0 && [5, 10].contains(&bounds.next_index), "{bounds:?}");
    });
}

/// Lets a change of a log fail at each of its changes of the disk, behind a truncation that has not, and a reopening
/// behind it at each of its own: the next one finds no damage, nor does a restart, whatever was evicted meanwhile.
fn fail_and_fail_to_reopen(change: impl Fn(&dyn Log) -> Result<(), StorageError>, next_indexes: [u64; 2]) {
    let mut failures = 0;
    let evictions = [None, Some(9)];
    let variants = variants(SyncPolicy::Always).into_iter();
    for (options, eviction) in
        variants.flat_map(|options| evictions.map(|eviction| (options.clone(), eviction)))
    {
        let fail = |failing| {
            let disk = FakeDisk::new();
            let (storage, logs) = truncated(&disk, &options);
            disk.spare("writer");
            disk.fail(Fault { after: failing, ..EIO });
            let outcome = change(&*logs[0]);
            disk.heal();
            disk.forgive_failed_syncs("/data/logs");
            outcome.is_err().then_some((disk, storage, logs))
        };
        for failing in (0..).take_while(|failing| fail(*failing).is_some()) {
            for after in 0.. {
                let Some((disk, storage, logs)) = fail(failing) else { break };
                disk.spare("writer");
                disk.fail(Fault { after, ..EIO });
                let reopened = storage.open(&id("t"));
                disk.heal();
                disk.forgive_failed_syncs("/data/logs");
                if reopened.is_ok() {
                    break;
                }
                failures += 1;
                // Refused where nothing is left.
                eviction.into_iter().for_each(|to| _ = logs[0].trim(Offset::new(to)));
                let when = format!("failed after {failing}, {after}, evicted {eviction:?}, {options:?}");
                for image in [disk.live_image(), disk.image_after(&PowerLoss::NothingUnsynced)] {
                    let storage = open(&FakeDisk::with(&image), &options).unwrap();
                    let bounds = storage.open(&id("t")).unwrap().bounds();
                    assert_eq!(bounds.damaged, 0, "{when}: {bounds:?}");
                }
                let bounds = storage.open(&id("t")).unwrap().bounds();
                assert_eq!(bounds.damaged, 0, "{when}: {bounds:?}");
                // What was evicted although it was truncated is not given again.
                let is_right =
                    [next_indexes.as_slice(), eviction.as_slice()].concat().contains(&bounds.next_index);
                assert!(is_right, "{when}: {bounds:?}");
            }
        }
    }
    println!("reopenings that failed: {failures}");
    assert!(failures > 100, "{failures}");
}

/// A storage with a log that was truncated to ten messages.
fn truncated(disk: &FakeDisk, options: &Options) -> (FileStorage, Vec<Arc<dyn Log>>) {
    let (storage, logs) = started(disk, options, &["t"]);
    (0..20).for_each(|_| _ = append_message(&*logs[0], 1, b"more"));
    logs[0].truncate(10).unwrap();
    (storage, logs)
}

/// The reopening that fails may have brought the truncation to its end.
#[test]
fn reopening_that_fails_behind_a_truncation_that_failed_finds_no_damage_later() {
    fail_and_fail_to_reopen(|log| log.truncate(5), [5, 10]);
}

#[test]
fn reopening_that_fails_behind_a_truncation_of_all_that_failed_finds_no_damage_later() {
    fail_and_fail_to_reopen(|log| log.truncate(0), [0, 10]);
}

#[test]
fn reopening_that_fails_behind_a_reset_that_failed_finds_no_damage_later() {
    let removed = Removed { next_index: 100, epoch: 3 };
    fail_and_fail_to_reopen(|log| log.reset(removed, Offset::new(500)), [100, 10]);
}

/// What is not acknowledged and gone stays gone, although the journal may still have it.
#[test]
fn what_the_journal_has_of_a_round_that_failed_does_not_come_back() {
    let options = Options { direct_bytes: 1000, ..tiny(SyncPolicy::Always) };
    // Whatever the disk made of the record: all of it, a part, nothing.
    for seed in 0..20 {
        let disk = FakeDisk::new();
        let (storage, logs) = started(&disk, &options, &["t"]);
        // The write, or the sync behind it.
        disk.fail(Fault { after: seed % 2, ..EIO });
        let next = logs[0].bounds();
        let doubtful = (0..3).map(|at| entry(next.next_index + at, next.end.plus(at), 1, 0, &[b"in doubt"]));
        append(&*logs[0], doubtful.collect()).unwrap_err();
        let log = storage.open(&id("t")).unwrap();
        let end = log.bounds().end;
        // Straight to the segment, so that no later record of the journal takes these numbers.
        append(&*log, vec![entry_at(&*log, 1, 0, &[&[b'x'; 1000]])]).unwrap();
        drop((storage, logs, log));
        for image in [disk.live_image(), disk.image_after(&PowerLoss::seeded(seed))] {
            let storage = open(&FakeDisk::with(&image), &options).unwrap();
            assert_eq!(storage.open(&id("t")).unwrap().bounds().end, end.plus(1), "seed {seed}");
        }
    }
}

/// The journal begins anew in other files, so that the disk need not sync each log by itself for ever.
#[test]
fn a_journal_that_has_failed_begins_anew_in_other_files() {
    let options = Options { direct_bytes: u64::MAX, journal_bytes: 64 * 1024, ..tiny(SyncPolicy::Always) };
    let disk = FakeDisk::new();
    let (storage, mut logs) = started(&disk, &options, &["a", "b", "c"]);
    for round in 0..20 {
        let failing = round % 3;
        fail(&disk, &*logs[failing]);
        logs[failing] = storage.open(&id(["a", "b", "c"][failing])).unwrap();
        // One sync for all of them: it is the journal's. The first append makes its file.
        append_message(&*logs[failing], 1, b"first");
        disk.hold_syncs();
        let first = begin_append(&*logs[0], vec![entry_at(&*logs[0], 1, 0, &[b"first"])]);
        disk.wait_for_held_sync();
        let rest =
            [&logs[1], &logs[2]].map(|log| begin_append(&**log, vec![entry_at(&**log, 1, 0, &[b"rest"])]));
        let before = disk.file_syncs("journal");
        disk.release_syncs();
        first.recv().unwrap().unwrap();
        rest.into_iter().for_each(|wait| wait.recv().unwrap().unwrap());
        // The sync that was held may have been the writer's: then that of the first one counts, too. Without a
        // journal there are none.
        let syncs = disk.file_syncs("journal") - before;
        assert!((1..=2).contains(&syncs), "round {round}: {syncs} syncs for three logs");
    }
    assert!(disk.retried_syncs().is_empty(), "{:?}", disk.retried_syncs());
    storage.close().unwrap();
    assert_eq!(journal_files(&disk), 0, "after a clean stop nothing in it counts");
}

/// A file of the journal that cannot be made, or whose name cannot be made durable, is a failure of the journal: the
/// logs of the round fail, and the others go on without it for a while instead of failing one by one.
#[test]
fn a_journal_file_that_cannot_be_made_fails_one_round() {
    let options = Options {
        direct_bytes: u64::MAX,
        journal_pause: Duration::from_secs(3600),
        ..tiny(SyncPolicy::Always)
    };
    for after in 0..2 {
        let disk = FakeDisk::new();
        let storage = open(&disk, &options).unwrap();
        let [failing, other] = ["failing", "other"].map(|topic| storage.open(&id(topic)).unwrap());
        // The first append makes the first file.
        disk.fail(Fault { after, ..EIO });
        let failed = append(&*failing, vec![entry_at(&*failing, 1, 0, &[b"in doubt"])]).unwrap_err();
        assert!(matches!(failed, StorageError::Io { .. }), "{failed:?}");
        append_message(&*other, 1, b"to its segment");
        assert_eq!(disk.file_syncs("journal"), 0, "no other log is tried on it");
        let failing = storage.open(&id("failing")).unwrap();
        append_message(&*failing, 1, b"after");
        drop((storage, other));
        for image in [disk.live_image(), disk.image_after(&PowerLoss::NothingUnsynced)] {
            let storage = open(&FakeDisk::with(&image), &options).unwrap();
            assert_eq!(without_doubt(&*storage.open(&id("failing")).unwrap()), ["after"]);
            assert_eq!(without_doubt(&*storage.open(&id("other")).unwrap()), ["to its segment"]);
        }
    }
}

/// A log that has failed keeps files of the journal from being used again; once it was opened again, or removed, they
/// are.
#[test]
fn files_that_were_pinned_for_a_failed_log_are_used_again() {
    let options = Options { direct_bytes: u64::MAX, ..tiny(SyncPolicy::Always) };
    for is_removed in [false, true] {
        let disk = FakeDisk::new();
        let (storage, mut logs) = started(&disk, &options, &["t", "other"]);
        for _ in 0..10 {
            append_message(&*logs[0], 1, b"only in the journal");
            fail(&disk, &*logs[0]);
            for _ in 0..40 {
                append_message(&*logs[1], 1, &[b'x'; 1000]);
            }
            if is_removed {
                storage.remove(&id("t")).unwrap();
            }
            logs[0] = storage.open(&id("t")).unwrap();
            append_message(&*logs[0], 1, b"after");
        }
        assert_eq!(without_doubt(&*logs[0]).len(), if is_removed { 1 } else { 21 });
        // The writer empties and removes them, when it has its turn.
        let mut appends = 0;
        while journal_files(&disk) > 5 {
            append_message(&*logs[1], 1, &[b'x'; 1000]);
            appends += 1;
            assert!(appends < 10_000, "{}", journal_files(&disk));
        }
    }
}

/// What is durable in the journal and has no segment to go to: the log fails, rather than taking more and more, and has
/// everything when it is opened again.
#[test]
fn a_log_whose_next_segment_cannot_be_made_fails() {
    let options = Options { direct_bytes: u64::MAX, ..tiny(SyncPolicy::Always) };
    for is_made in [false, true] {
        let disk = FakeDisk::new();
        let storage = open(&disk, &options).unwrap();
        let log = storage.open(&id("t")).unwrap();
        match is_made {
            true => disk.fail_syncs_in("writer"),
            false => disk.fail_creations_in("writer"),
        }
        let mut durable = 0;
        while append(&*log, vec![entry_at(&*log, 1, 0, &[&[b'x'; 1000]])]).is_ok() {
            durable += 1;
            assert!(durable < 2000, "it goes on with nothing but the journal");
        }
        let refused = append(&*log, vec![entry_at(&*log, 1, 0, &[b"refused"])]).unwrap_err();
        assert!(matches!(refused, StorageError::Poisoned(_)), "{refused:?}");
        disk.heal();
        let log = storage.open(&id("t")).unwrap();
        let read = read_values(&*log, Offset::ZERO, 1).len();
        assert!((durable..=durable + 1).contains(&read), "{read} of {durable}");
        let end = append_message(&*log, 1, b"after");
        let image = disk.image_after(&PowerLoss::NothingUnsynced);
        let left = open(&FakeDisk::with(&image), &options).unwrap().open(&id("t")).unwrap().bounds();
        assert_eq!((left.damaged, left.end), (0, Offset::ZERO.plus(end)));
        // The writer empties the files when it has its turn.
        let mut appends = 0;
        while storage.stats().journal.unwrap().pinned_files > 0 {
            append_message(&*log, 1, b"after");
            appends += 1;
            assert!(appends < 10_000, "{:?}", storage.stats());
        }
    }
}

/// A round of so many logs that what is said of them in the next record is more than a file holds.
#[test]
fn a_file_smaller_than_its_marks_is_used_nonetheless() {
    let options = Options {
        direct_bytes: u64::MAX,
        journal_bytes: 4096,
        journal_files: 12,
        ..tiny(SyncPolicy::Always)
    };
    let disk = FakeDisk::new();
    let topics: Vec<_> = (0..300).map(|number| format!("t{number}")).collect();
    let topics: Vec<_> = topics.iter().map(String::as_str).collect();
    let (_storage, logs) = started(&disk, &options, &topics);
    for _ in 0..3 {
        disk.hold_syncs();
        let first = begin_append(&*logs[0], vec![entry_at(&*logs[0], 1, 0, &[b"first"])]);
        disk.wait_for_held_sync();
        let rest: Vec<_> =
            logs[1..].iter().map(|log| begin_append(&**log, vec![entry_at(&**log, 1, 0, &[b"x"])])).collect();
        disk.release_syncs();
        first.recv().unwrap().unwrap();
        rest.into_iter().for_each(|wait| wait.recv().unwrap().unwrap());
        // Its files may be full, until the writer has had its turn.
        let (before, mut appends) = (disk.file_syncs("journal"), 0);
        while disk.file_syncs("journal") == before {
            append_message(&*logs[0], 1, b"alone");
            appends += 1;
            assert!(appends < 2000, "the journal is not used any more");
        }
    }
}

/// A log that goes on failing is none the worse for being opened again and again.
#[test]
fn a_log_may_fail_again_and_again() {
    for options in variants(SyncPolicy::Always) {
        let disk = FakeDisk::new();
        let (storage, mut logs) = started(&disk, &options, &["t"]);
        for _ in 0..30 {
            fail(&disk, &*logs[0]);
            logs[0] = storage.open(&id("t")).unwrap();
            append_message(&*logs[0], 1, b"after");
        }
        assert_eq!(without_doubt(&*logs[0]).len(), 31);
        storage.close().unwrap();
    }
}

/// An eviction that could not be written down was visible, and stays so.
#[test]
fn the_start_does_not_go_back() {
    for options in variants(SyncPolicy::Always) {
        let disk = FakeDisk::new();
        let (storage, logs) = started(&disk, &options, &["t"]);
        (0..20).for_each(|_| _ = append_message(&*logs[0], 1, b"message"));
        disk.fail(Fault { count: 1000, ..EIO });
        logs[0].trim(Offset::new(7)).unwrap_err();
        assert_eq!(logs[0].bounds().start, Offset::new(7));
        append(&*logs[0], vec![entry_at(&*logs[0], 1, 0, &[b"in doubt"])]).unwrap_err();
        disk.heal();
        let log = storage.open(&id("t")).unwrap();
        assert_eq!(log.bounds().start, Offset::new(7));
        drop((storage, logs, log));
        let disk = FakeDisk::with(&disk.image_after(&PowerLoss::NothingUnsynced));
        let storage = open(&disk, &options).unwrap();
        assert_eq!(storage.open(&id("t")).unwrap().bounds().start, Offset::new(7));
    }
}

/// What is served after a restart is on the disk, also of a round that failed long before the last one.
#[test]
fn a_round_of_several_records_that_failed_is_as_doubtful_as_the_last_one() {
    let options = Options {
        direct_bytes: u64::MAX,
        early_bytes: u64::MAX,
        journal_pause: Duration::ZERO,
        ..Options::default()
    };
    let large = vec![b'x'; 5 << 20];
    let mut failures = 0;
    for after in 0..6 {
        let disk = FakeDisk::new();
        let (storage, logs) = started(&disk, &options, &["a", "b", "c"]);
        let hold = disk.hold_syncs_in(&["flusher", "writer"]);
        let first = begin_append(&*logs[2], vec![entry_at(&*logs[2], 1, 0, &[b"first"])]);
        disk.wait_for_held_sync();
        // Too much for one record.
        let round =
            [&logs[0], &logs[1]].map(|log| begin_append(&**log, vec![entry_at(&**log, 1, 0, &[&large])]));
        disk.spare("writer");
        disk.fail(Fault { after, ..EIO });
        // Nobody takes away the file that it is in.
        hold.only(&["writer"]);
        first.recv().unwrap().unwrap();
        failures += round.into_iter().filter(|wait| wait.recv().unwrap().is_err()).count();
        disk.heal();
        let c = storage.open(&id("c")).unwrap();
        (0..5).for_each(|_| _ = append_message(&*c, 1, b"later"));
        let disk = disk.after_kill();
        drop((hold, storage, logs, c));
        // What opening promises is there when nobody comes to bring it to the segments.
        let open_without_writer = |disk: &FakeDisk| {
            disk.fail_in("writer");
            let storage = open(disk, &options).unwrap();
            let ends = ["a", "b", "c"].map(|topic| storage.open(&id(topic)).unwrap().bounds().end);
            (ends, disk.image_after(&PowerLoss::NothingUnsynced))
        };
        let (served, image) = open_without_writer(&disk);
        assert_eq!(open_without_writer(&FakeDisk::with(&image)).0, served, "after {after}");
        assert_eq!(served[2], Offset::new(7));
    }
    assert!(failures > 2, "{failures}");
}

/// A name that was not durable when the process was killed, of a directory or a segment, and which the next one goes by.
#[test]
fn what_is_appended_after_a_kill_survives_a_power_loss() {
    let mut kills = 0;
    for options in variants(SyncPolicy::Always) {
        for changes in 0..90 {
            let disk = FakeDisk::new();
            disk.stop_after(changes);
            let started = open(&disk, &options).and_then(|storage| Ok((storage.open(&id("t"))?, storage)));
            let durable = started.as_ref().map_or(0, |(log, _)| {
                let message = |_: &u64| append(&**log, vec![entry_at(&**log, 1, 0, &[&[b'x'; 300]])]).is_ok();
                (0..10_u64).take_while(message).count() as u64
            });
            kills += u64::from(disk.is_stopped());
            let disk = disk.after_kill();
            drop(started);
            let storage = open(&disk, &options).unwrap();
            let log = storage.open(&id("t")).unwrap();
            let end = append_message(&*log, 1, b"after");
            assert!(end > durable, "{durable}, {end}");
            let image = disk.image_after(&PowerLoss::NothingUnsynced);
            let bounds = open(&FakeDisk::with(&image), &options).unwrap().open(&id("t")).unwrap().bounds();
            assert_eq!(
                (bounds.damaged, bounds.end),
                (0, Offset::ZERO.plus(end)),
                "after {changes}, {options:?}"
            );
        }
    }
    assert!(kills > 100, "{kills}");
}

/// A close that fails may be called again: it fails again or makes up for it, and nothing is lost either way.
#[test]
fn a_second_close_after_a_failed_one_loses_nothing() {
    for options in variants(SyncPolicy::Always) {
        for errno in [Errno::Eio, Errno::Enospc] {
            for after in 0..6 {
                let disk = FakeDisk::new();
                let (storage, logs) = started(&disk, &options, &["t", "other"]);
                disk.fail(Fault { after, errno, ..EIO });
                let first = storage.close();
                disk.heal();
                let second = storage.close();
                let is_full = matches!(first, Err(StorageError::Full(_)));
                assert!(second.is_ok() || !is_full, "{first:?}, {second:?}");
                drop((storage, logs));
                for image in [disk.live_image(), disk.image_after(&PowerLoss::NothingUnsynced)] {
                    let storage = open(&FakeDisk::with(&image), &options).unwrap();
                    for topic in ["t", "other"] {
                        let log = storage.open(&id(topic)).unwrap();
                        assert_eq!(read_values(&*log, Offset::ZERO, 1), ["before"]);
                        append_message(&*log, 1, b"after");
                    }
                }
            }
        }
    }
}
