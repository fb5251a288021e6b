//! What only a disk can get wrong.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use minikafka_record::Offset;
use minikafka_storage::{
    Durability, StorageError,
    filesystem::{FileStorage, Options, SyncPolicy},
};

use crate::backend::{Backend, append, append_message, begin_append, entry_at, id, read_values};

fn log_dir(root: &Path) -> PathBuf {
    fs::read_dir(root.join("logs")).unwrap().next().expect("a log").unwrap().path()
}

fn files(root: &Path, extension: &str) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> =
        fs::read_dir(log_dir(root)).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|found| found == extension));
    files.sort();
    files
}

fn open(root: &Path) -> Result<FileStorage, StorageError> {
    FileStorage::open(root, Options::default())
}

/// The memory of large entries that are no longer the newest is there for others, once nobody reads them.
#[test]
fn large_entries_leave_their_memory_behind() {
    // Straight to its segment, and by nobody but the flusher.
    const LEN: usize = 600_000;
    for sync in [SyncPolicy::Always, SyncPolicy::Never] {
        let backend = Backend::filesystem(Options { sync, tail_bytes: 0, ..Options::default() });
        let log = backend.log("t");
        let spares = backend.storage.spares();
        let mut entry = entry_at(&*log, 1, 0, &[&vec![b'x'; LEN]]);
        entry.payload = entry.payload.to_vec().into();
        let len = entry.payload.len();
        assert!(spares.take(len).is_none());
        append(&*log, vec![entry]).unwrap();
        // The next round lets go of what has completed by then, if nothing has before.
        append_message(&*log, 2, b"small");
        let spare = spares.take(len).expect("the memory of the first one");
        assert!(spare.is_empty() && spare.capacity() >= len);
    }
}

#[test]
fn a_tail_torn_at_any_byte_is_cut_to_the_last_whole_frame() {
    let mut backend = Backend::filesystem(Options { journal_bytes: 0, ..Options::default() });
    let log = backend.log("t");
    append_message(&*log, 1, b"first");
    let whole = fs::metadata(&files(backend.path(), "log")[0]).unwrap().len();
    append_message(&*log, 2, b"second");
    drop(log);
    let path = files(backend.path(), "log").remove(0);
    let content = fs::read(&path).unwrap();
    let manifest = fs::read(log_dir(backend.path()).join("manifest")).unwrap();
    for len in whole..content.len() as u64 {
        backend.storage = Arc::new(minikafka_storage::memory::MemoryStorage::new(0));
        fs::write(&path, &content[..len as usize]).unwrap();
        fs::write(log_dir(backend.path()).join("manifest"), &manifest).unwrap();
        backend.crash();
        let log = backend.log("t");
        assert_eq!(read_values(&*log, Offset::ZERO, 1), ["first"], "cut to {len}");
        assert_eq!(append_message(&*log, 3, b"third"), 2);
        assert_eq!(read_values(&*log, Offset::ZERO, 1), ["first", "third"], "cut to {len}");
        let (torn, cut) = (files(backend.path(), "torn"), &content[whole as usize..len as usize]);
        // Nobody misses zeros, and one of 256 salts begins with one.
        assert_eq!(torn.len(), usize::from(cut.iter().any(|byte| *byte != 0)), "kept aside");
        if let Some(torn) = torn.first() {
            assert_eq!(fs::read(torn).unwrap(), cut);
            fs::remove_file(torn).unwrap();
        }
    }
}

#[test]
fn damage_below_a_durable_mark_is_reported_and_never_cut() {
    let mut backend = Backend::filesystem(Options { journal_bytes: 0, ..Options::default() });
    let log = backend.log("t");
    // The third frame says that the first was durable when it was written.
    (1..=3).for_each(|time| _ = append_message(&*log, time, b"some message"));
    drop(log);
    let path = files(backend.path(), "log").remove(0);
    backend.storage = Arc::new(minikafka_storage::memory::MemoryStorage::new(0));
    let content = fs::read(&path).unwrap();
    let frame_len = (content.len() - 128) / 3;
    for at in 128..128 + frame_len {
        let mut damaged = content.clone();
        damaged[at] ^= 0x10;
        fs::write(&path, &damaged).unwrap();
        backend.crash();
        let log = backend.log("t");
        assert_eq!(log.bounds().damaged, 1, "byte {at}");
        match log.read(Offset::ZERO, Offset::new(3), 10) {
            Err(StorageError::Damaged { lost, .. }) => assert_eq!(lost, Some(Offset::ZERO..Offset::new(1))),
            other => panic!("byte {at}: {other:?}"),
        }
        assert_eq!(read_values(&*log, Offset::new(1), 1).len(), 2, "the rest is there");
        assert_eq!(append_message(&*log, 4, b"next"), 4, "numbers go on behind the damage");
        drop(log);
        backend.crash();
        assert_eq!(read_values(&*backend.log("t"), Offset::new(1), 1).len(), 3);
        assert!(fs::read(&path).unwrap().starts_with(&damaged), "left as it is");
        backend.storage = Arc::new(minikafka_storage::memory::MemoryStorage::new(0));
    }
}

#[test]
fn a_damaged_segment_is_set_aside_when_its_messages_are_evicted() {
    let mut backend =
        Backend::filesystem(Options { segment_bytes: 300, tail_bytes: 0, ..Options::default() });
    let log = backend.log("t");
    (0..20).for_each(|time| _ = append_message(&*log, time, b"some message"));
    drop(log);
    backend.close_and_open();
    let path = files(backend.path(), "log").remove(0);
    let mut content = fs::read(&path).unwrap();
    content[128 + 64 + 70] ^= 1;
    fs::write(&path, &content).unwrap();
    let log = backend.log("t");
    log.read(Offset::ZERO, Offset::new(20), 1).unwrap_err();
    log.trim(Offset::new(20)).unwrap();
    assert!(!path.exists());
    assert_eq!(files(backend.path(), "damaged").len(), 1);
    assert_eq!(fs::read(&files(backend.path(), "damaged")[0]).unwrap(), content);
}

#[test]
fn a_damaged_batch_in_a_sealed_segment_is_never_served() {
    let mut backend = Backend::filesystem(Options {
        segment_bytes: 300,
        tail_bytes: 0,
        journal_bytes: 0,
        ..Options::default()
    });
    let log = backend.log("t");
    (0..20).for_each(|time| _ = append_message(&*log, time, b"some message"));
    drop(log);
    backend.close_and_open();
    let path = files(backend.path(), "log").remove(0);
    let mut content = fs::read(&path).unwrap();
    content[128 + 64 + 70] ^= 1;
    fs::write(&path, content).unwrap();
    let log = backend.log("t");
    let outcome = log.read(Offset::ZERO, Offset::new(20), 1);
    assert!(matches!(outcome, Err(StorageError::Damaged { .. })), "{outcome:?}");
    assert_eq!(read_values(&*log, Offset::new(10), 1).len(), 10, "the rest is there");
}

#[test]
fn an_index_is_only_a_cache() {
    let mut backend = Backend::filesystem(Options {
        segment_bytes: 1000,
        tail_bytes: 0,
        journal_bytes: 0,
        ..Options::default()
    });
    let log = backend.log("t");
    (0..100).for_each(|time| _ = append_message(&*log, time, format!("message {time}").as_bytes()));
    let expected = read_values(&*log, Offset::ZERO, 1);
    drop(log);
    backend.storage.close().unwrap();
    let indexes = files(backend.path(), "index");
    assert!(indexes.len() > 5);
    fs::remove_file(&indexes[0]).unwrap();
    fs::write(&indexes[1], b"rubbish").unwrap();
    fs::copy(&indexes[3], &indexes[2]).unwrap();
    let mut flipped = fs::read(&indexes[4]).unwrap();
    *flipped.last_mut().unwrap() ^= 1;
    fs::write(&indexes[4], flipped).unwrap();
    backend.crash();
    assert_eq!(read_values(&*backend.log("t"), Offset::ZERO, 1), expected);
    assert!(indexes[0].exists(), "rebuilt");
}

#[test]
fn space_comes_back_with_trimming() {
    let backend =
        Backend::filesystem(Options { segment_bytes: 10_000, journal_bytes: 0, ..Options::default() });
    let log = backend.log("t");
    (0..100).for_each(|time| _ = append_message(&*log, time, &[b'x'; 1000]));
    let full = log.bounds().size_bytes;
    assert!(full > 100_000 && files(backend.path(), "log").len() > 5);
    log.trim(Offset::new(50)).unwrap();
    let half = log.bounds().size_bytes;
    assert!(half < full * 6 / 10, "{half} of {full}");
    log.trim(Offset::new(100)).unwrap();
    assert_eq!(log.bounds().size_bytes, 0);
    assert!(files(backend.path(), "log").is_empty());
    assert_eq!(append_message(&*log, 100, b"goes on"), 101);
}

#[test]
fn a_trim_survives_a_crash() {
    let mut backend = Backend::filesystem(Options {
        segment_bytes: 500,
        tail_bytes: 0,
        journal_bytes: 0,
        ..Options::default()
    });
    for to in [3, 10, 20] {
        let log = backend.log("t");
        while log.bounds().end < Offset::new(20) {
            append_message(&*log, 7, b"message");
        }
        log.trim(Offset::new(to)).unwrap();
        let before = log.bounds();
        drop(log);
        backend.crash();
        let after = backend.log("t").bounds();
        assert_eq!((after.start, after.end, after.removed), (before.start, before.end, before.removed));
        assert_eq!(after.last_append_time, Some(7));
    }
}

#[test]
fn a_second_server_on_a_directory_is_refused() {
    let backend = Backend::filesystem(Options { journal_bytes: 0, ..Options::default() });
    let second = open(backend.path());
    assert!(matches!(second, Err(StorageError::Locked(_))), "{second:?}");
}

#[test]
fn a_foreign_directory_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("thesis.tex"), "irreplaceable").unwrap();
    let outcome = open(dir.path());
    assert!(matches!(outcome, Err(StorageError::Foreign(..))), "{outcome:?}");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing was added");
}

#[test]
fn an_unknown_format_is_refused() {
    let backend = Backend::filesystem(Options { journal_bytes: 0, ..Options::default() });
    let root = backend.path().to_owned();
    let marker = root.join("minikafka");
    let keep = backend;
    drop(keep.storage);
    fs::write(&marker, b"MKDD").unwrap();
    assert!(matches!(open(&root), Err(StorageError::Damaged { .. })));
}

#[test]
fn a_directory_that_cannot_be_written_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    File::create(&file).unwrap();
    let outcome = open(&file.join("below"));
    assert!(matches!(outcome, Err(StorageError::Io { .. })), "{outcome:?}");
}

#[test]
fn names_from_outside_stay_inside() {
    let mut backend = Backend::filesystem(Options { journal_bytes: 0, ..Options::default() });
    let names = ["../../escape", "a/b", "nul\0", ".", "", &"long ".repeat(100)];
    for name in names {
        append_message(&*backend.log(name), 1, name.as_bytes());
    }
    backend.crash();
    let mut found: Vec<String> = backend.storage.list().unwrap().into_iter().map(|id| id.topic).collect();
    found.sort();
    let mut expected = names.map(str::to_owned);
    expected.sort();
    assert_eq!(found, expected);
    assert_eq!(fs::read_dir(backend.path().join("logs")).unwrap().count(), names.len());
}

#[test]
fn half_made_logs_are_swept_away() {
    let mut backend = Backend::filesystem(Options { journal_bytes: 0, ..Options::default() });
    append_message(&*backend.log("t"), 1, b"x");
    let dir = log_dir(backend.path());
    for suffix in [".new", ".deleted"] {
        let mut half = dir.clone().into_os_string();
        half.push(suffix);
        fs::create_dir(half).unwrap();
    }
    backend.crash();
    assert_eq!(backend.storage.list().unwrap(), [id("t")]);
    assert_eq!(fs::read_dir(backend.path().join("logs")).unwrap().count(), 1);
}

#[test]
fn the_policy_says_what_an_acknowledgement_means() {
    let durability = |sync| Backend::filesystem(Options { sync, ..Options::default() }).storage.durability();
    assert_eq!(durability(SyncPolicy::Always), Durability::Synced);
    assert_eq!(durability(SyncPolicy::Never), Durability::Cached);
    let every = Duration::from_millis(100);
    assert_eq!(durability(SyncPolicy::Every(every)), Durability::Periodic(every));
}

#[test]
fn with_a_timer_the_durable_offset_follows_by_itself() {
    let backend = Backend::filesystem(Options {
        sync: SyncPolicy::Every(Duration::from_millis(5)),
        ..Options::default()
    });
    let log = backend.log("t");
    append_message(&*log, 1, b"x");
    let started = std::time::Instant::now();
    while log.bounds().durable < log.bounds().end {
        assert!(started.elapsed() < Duration::from_secs(30), "never synced");
        std::thread::yield_now();
    }
}

#[test]
fn many_logs_and_producers_share_the_flusher() {
    let mut backend = Backend::filesystem(Options {
        segment_bytes: 2000,
        tail_bytes: 1000,
        open_files: 4,
        ..Options::default()
    });
    std::thread::scope(|scope| {
        for topic in 0..8 {
            let log = backend.log(&format!("t{topic}"));
            scope.spawn(move || {
                let waits: Vec<_> = (0..100u32)
                    .map(|number| begin_append(&*log, vec![entry_at(&*log, 1, 0, &[&number.to_be_bytes()])]))
                    .collect();
                waits.into_iter().for_each(|wait| wait.recv().unwrap().unwrap());
            });
        }
    });
    backend.crash();
    for topic in 0..8 {
        let values = read_values(&*backend.log(&format!("t{topic}")), Offset::ZERO, 5000);
        let expected: Vec<Vec<u8>> = (0..100u32).map(|number| number.to_be_bytes().to_vec()).collect();
        assert_eq!(values, expected);
    }
}

#[test]
fn readers_race_trimming_without_harm() {
    let backend = Backend::filesystem(Options {
        segment_bytes: 2000,
        tail_bytes: 500,
        open_files: 3,
        ..Options::default()
    });
    let log = backend.log("t");
    std::thread::scope(|scope| {
        for _ in 0..2 {
            let log = log.clone();
            scope.spawn(move || {
                let mut next = Offset::ZERO;
                while next < Offset::new(600) {
                    let bounds = log.bounds();
                    match log.read(next.max(bounds.start), bounds.durable, 400) {
                        Ok(batches) => next = batches.last().map_or(next, |batch| batch.end_offset()),
                        Err(StorageError::OutOfRange { .. }) => next = log.bounds().start,
                        Err(error) => panic!("{error}"),
                    }
                }
            });
        }
        for number in 0..600 {
            append(&*log, vec![entry_at(&*log, number, 0, &[b"some message"])]).unwrap();
            if number % 20 == 19 {
                log.trim(Offset::new(number as u64 - 10)).unwrap();
            }
        }
    });
}
