//! Faults of the disk and of those who meddle with it, as far as they can be had without a fake disk.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use minikafka_record::Offset;
use minikafka_storage::{
    Removed, Seek, StorageError,
    filesystem::{Options, SyncPolicy},
    memory::MemoryStorage,
};

use crate::backend::{Backend, append, append_message, begin_append, entry_at, id, read_values};

fn tiny() -> Backend {
    Backend::filesystem(Options { segment_bytes: 500, tail_bytes: 0, journal_bytes: 0, ..Options::default() })
}

fn segments(root: &Path) -> Vec<PathBuf> {
    let dir = fs::read_dir(root.join("logs")).unwrap().next().expect("a log").unwrap().path();
    let mut files: Vec<PathBuf> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|found| found == "log"));
    files.sort();
    files
}

fn fill(backend: &Backend) {
    let log = backend.log("t");
    (0..40).for_each(|time| _ = append_message(&*log, time, b"message"));
}

/// Lets go of the directory, as the end of the process does.
fn let_go(backend: &mut Backend) {
    backend.storage = Arc::new(MemoryStorage::new(0));
}

#[test]
fn a_trim_that_could_not_be_finished_is_finished_by_the_next() {
    let backend = tiny();
    fill(&backend);
    let log = backend.log("t");
    let before = segments(backend.path()).len();
    let manifest = segments(backend.path())[0].with_file_name("manifest");
    let away = manifest.with_file_name("away");
    fs::rename(&manifest, &away).unwrap();
    log.trim(Offset::new(30)).unwrap_err();
    assert_eq!(log.bounds().start, Offset::new(30), "readers see the new start at once");
    assert_eq!(segments(backend.path()).len(), before, "no file goes before the manifest says so");
    fs::rename(&away, &manifest).unwrap();
    log.trim(Offset::new(30)).unwrap();
    assert!(segments(backend.path()).len() < before / 2);
}

#[test]
fn a_missing_segment_is_damage_and_no_endless_search() {
    let mut backend = tiny();
    fill(&backend);
    backend.close_and_open();
    let log = backend.log("t");
    fs::remove_file(&segments(backend.path())[1]).unwrap();
    let outcome = log.read(Offset::new(5), Offset::new(40), 10);
    assert!(matches!(outcome, Err(StorageError::Damaged { .. })), "{outcome:?}");
    assert_eq!(read_values(&*log, Offset::new(30), 10).len(), 10, "the rest is there");
}

#[test]
fn a_log_without_its_first_segments_reports_what_is_lost() {
    let mut backend = tiny();
    fill(&backend);
    let_go(&mut backend);
    fs::remove_file(&segments(backend.path())[0]).unwrap();
    backend.crash();
    let log = backend.log("t");
    let lost = log.bounds().damaged;
    assert!(lost > 0);
    let Err(StorageError::Damaged { lost: Some(range), .. }) = log.read(Offset::ZERO, Offset::new(40), 10)
    else {
        panic!("what is lost is not served");
    };
    assert_eq!(range, Offset::ZERO..Offset::new(lost));
    assert_eq!(read_values(&*log, range.end, 10).len() as u64, 40 - lost, "the rest is there");
    assert_eq!(append_message(&*log, 50, b"next"), 41, "numbers are not given again");
}

#[test]
fn a_log_without_any_segment_gives_no_number_again() {
    let mut backend = tiny();
    fill(&backend);
    // A clean stop says how far the log went.
    backend.close_and_open();
    let_go(&mut backend);
    segments(backend.path()).iter().for_each(|path| fs::remove_file(path).unwrap());
    backend.crash();
    let log = backend.log("t");
    assert_eq!(log.bounds().damaged, 40);
    assert_eq!(append_message(&*log, 50, b"next"), 41);
    assert_eq!(read_values(&*log, Offset::new(40), 10), ["next"]);
}

#[test]
fn what_a_message_holds_is_never_taken_for_a_frame() {
    let donor = Backend::filesystem(Options { journal_bytes: 0, ..Options::default() });
    fill(&donor);
    let mut value = fs::read(&segments(donor.path())[0]).unwrap();
    value.extend([0; 1000]);
    let mut backend = Backend::filesystem(Options { journal_bytes: 0, ..Options::default() });
    let log = backend.log("t");
    append_message(&*log, 1, b"first");
    append_message(&*log, 2, &value);
    drop(log);
    let_go(&mut backend);
    let path = segments(backend.path()).remove(0);
    let content = fs::read(&path).unwrap();
    fs::write(&path, &content[..content.len() - 10]).unwrap();
    backend.crash();
    assert_eq!(read_values(&*backend.log("t"), Offset::ZERO, 1), ["first"]);
}

#[test]
fn the_newest_append_time_is_that_of_any_segment() {
    let mut backend = tiny();
    fill(&backend);
    let_go(&mut backend);
    // As after a crash between the creation of a segment and its first frame.
    let last = segments(backend.path()).pop().unwrap();
    let content = fs::read(&last).unwrap();
    fs::write(&last, &content[..128]).unwrap();
    backend.crash();
    let newest = backend.log("t").bounds().last_append_time.unwrap();
    assert!((30..40).contains(&newest), "{newest}");
}

#[test]
fn a_file_that_cannot_be_opened_refuses_appends_until_it_can() {
    let backend = Backend::filesystem(Options { open_files: 1, journal_bytes: 0, ..Options::default() });
    let log = backend.log("t");
    append_message(&*log, 1, b"one");
    let path = segments(backend.path()).remove(0);
    // Takes the one place among the open files.
    append_message(&*backend.log("other"), 1, b"x");
    let away = path.with_extension("away");
    fs::rename(&path, &away).unwrap();
    append(&*log, vec![entry_at(&*log, 1, 0, &[b"refused"])]).unwrap_err();
    assert_eq!(log.bounds().end, Offset::new(1), "a refused message takes no number");
    fs::rename(&away, &path).unwrap();
    append_message(&*log, 1, b"two");
    assert_eq!(read_values(&*log, Offset::ZERO, 1), ["one", "two"]);
}

#[test]
fn leftovers_of_a_trim_are_removed_unread() {
    let mut backend = tiny();
    fill(&backend);
    let log = backend.log("t");
    let first = segments(backend.path()).remove(0);
    let mut content = fs::read(&first).unwrap();
    log.trim(Offset::new(30)).unwrap();
    drop(log);
    let_go(&mut backend);
    content[100] ^= 1;
    fs::write(&first, content).unwrap();
    backend.crash();
    assert_eq!(read_values(&*backend.log("t"), Offset::new(30), 1).len(), 10);
    assert!(!first.exists());
}

#[test]
fn a_spoiled_slot_of_the_manifest_leaves_the_other() {
    let mut backend = tiny();
    fill(&backend);
    for (round, slot) in [(1, 0), (2, 1)] {
        let log = backend.log("t");
        // Each trim writes the other slot.
        log.trim(Offset::new(round)).unwrap();
        drop(log);
        let_go(&mut backend);
        let path = segments(backend.path())[0].with_file_name("manifest");
        let good = fs::read(&path).unwrap();
        let mut spoiled = good.clone();
        spoiled[slot * 4096..slot * 4096 + 100].fill(0xff);
        fs::write(&path, &spoiled).unwrap();
        backend.crash();
        assert!(backend.log("t").bounds().start <= Offset::new(round));
        let_go(&mut backend);
        fs::write(&path, &good).unwrap();
        backend.crash();
    }
}

#[test]
fn a_closed_log_gives_nothing_away() {
    for (name, backend) in Backend::all() {
        let log = backend.log("t");
        append_message(&*log, 1, b"x");
        backend.storage.close().unwrap();
        assert!(matches!(log.trim(Offset::new(1)), Err(StorageError::Closed)), "{name}");
        assert!(matches!(log.truncate(0), Err(StorageError::Closed)), "{name}");
        assert_eq!(log.bounds().start, Offset::ZERO);
    }
}

#[test]
fn every_append_is_answered_after_the_storage_is_gone() {
    let mut backend = tiny();
    let log = backend.log("t");
    let_go(&mut backend);
    for _ in 0..3 {
        let wait = begin_append(&*log, vec![entry_at(&*log, 1, 0, &[b"x"])]);
        let outcome =
            wait.recv_timeout(Duration::from_secs(60)).expect("a completion is called exactly once");
        assert!(matches!(outcome, Err(StorageError::Closed)), "{outcome:?}");
    }
}

#[test]
fn a_removed_log_is_not_found_and_not_damaged() {
    let backend = tiny();
    fill(&backend);
    let log = backend.log("t");
    backend.storage.remove(&id("t")).unwrap();
    let outcome = log.seek(Seek::AppendedAfter(3));
    assert!(matches!(outcome, Err(StorageError::NotFound { .. })), "{outcome:?}");
}

#[test]
fn segments_newer_than_the_manifest_are_never_removed() {
    let mut backend = tiny();
    fill(&backend);
    let log = backend.log("t");
    let path = segments(backend.path())[0].with_file_name("manifest");
    let old = fs::read(&path).unwrap();
    log.reset(Removed { next_index: 100, epoch: 0 }, Offset::new(1000)).unwrap();
    (100..120).for_each(|time| _ = append_message(&*log, time, b"acknowledged"));
    drop(log);
    let_go(&mut backend);
    let before = segments(backend.path());
    fs::write(&path, old).unwrap();
    backend.crash();
    assert_eq!(
        backend.storage.list().unwrap(),
        [id("t")],
        "the log is left alone, and it is known whose it is"
    );
    let outcome = backend.storage.open(&id("t"));
    assert!(matches!(outcome, Err(StorageError::Damaged { .. })), "{outcome:?}");
    assert_eq!(segments(backend.path()), before);
}

#[test]
fn a_trim_left_over_from_before_a_reset_removes_nothing_new() {
    let mut backend = tiny();
    fill(&backend);
    let log = backend.log("t");
    let before = segments(backend.path());
    let manifest = before[0].with_file_name("manifest");
    let away = manifest.with_file_name("away");
    fs::rename(&manifest, &away).unwrap();
    log.trim(Offset::new(30)).unwrap_err();
    fs::rename(&away, &manifest).unwrap();
    // The next segment takes the name of one that the trim still had to remove.
    let base: u64 = before[1].file_stem().unwrap().to_str().unwrap().parse().unwrap();
    log.reset(Removed { next_index: base, epoch: 0 }, Offset::new(base)).unwrap();
    append_message(&*log, 50, b"one");
    append_message(&*log, 50, b"two");
    log.trim(Offset::new(base)).unwrap();
    drop(log);
    backend.crash();
    assert_eq!(read_values(&*backend.log("t"), Offset::new(base), 1), ["one", "two"]);
}

#[test]
fn without_sync_what_was_trimmed_may_be_lost_and_the_log_goes_on() {
    for to in [2, 3] {
        let mut backend = Backend::filesystem(Options { sync: SyncPolicy::Never, ..Options::default() });
        let log = backend.log("t");
        append(&*log, vec![entry_at(&*log, 1, 0, &[b"a", b"b", b"c"])]).unwrap();
        let path = segments(backend.path()).remove(0);
        let content = fs::read(&path).unwrap();
        log.trim(Offset::new(to)).unwrap();
        drop(log);
        let_go(&mut backend);
        // As after power loss: the frame never reached the disk, and neither did the removal of the file.
        fs::write(&path, &content[..128]).unwrap();
        backend.crash();
        assert_eq!(append_message(&*backend.log("t"), 2, b"d"), to + 1, "numbers are not given again");
    }
}

#[test]
fn a_log_that_is_left_alone_finds_its_journal_when_it_is_mended() {
    let mut backend = Backend::filesystem(Options { direct_bytes: u64::MAX, ..Options::default() });
    let other = backend.log("other");
    fill(&backend);
    append_message(&*other, 1, b"x");
    drop(other);
    let_go(&mut backend);
    let mut dirs = fs::read_dir(backend.path().join("logs")).unwrap().map(|entry| entry.unwrap().path());
    let path = dirs.find(|path| path.display().to_string().contains("/t-")).unwrap().join("manifest");
    let good = fs::read(&path).unwrap();
    fs::write(&path, b"spoiled").unwrap();
    backend.crash();
    append_message(&*backend.log("other"), 2, b"y");
    backend.storage.close().unwrap();
    let_go(&mut backend);
    fs::write(&path, good).unwrap();
    backend.crash();
    assert_eq!(read_values(&*backend.log("t"), Offset::ZERO, 1).len(), 40);
    assert_eq!(read_values(&*backend.log("other"), Offset::ZERO, 1), ["x", "y"]);
}
