//! Bytes that the disk fails to read. They are not called damaged: nobody knows whether they are.

use std::path::{Path, PathBuf};

use minikafka_record::Offset;
use minikafka_storage::{
    Log, Seek, Storage, StorageError,
    filesystem::{Options, SyncPolicy},
};

use super::{run::open, tiny};
use crate::{
    backend::{append_message, id, read_values},
    fake_disk::{FakeDisk, Image},
};

const COUNT: u64 = 20;

fn options() -> Options {
    Options { segment_bytes: 500, tail_bytes: 0, ..tiny(SyncPolicy::Always) }
}

/// Two logs with messages in segments and in the journal, killed.
fn lived() -> Image {
    let disk = FakeDisk::new();
    let storage = open(&disk, &options()).unwrap();
    for topic in ["a", "b"] {
        let log = storage.open(&id(topic)).unwrap();
        (0..COUNT).for_each(|time| _ = append_message(&*log, time as i64, b"some message"));
    }
    disk.live_image()
}

/// A file of a log.
fn path_of(image: &Image, topic: &str, end: &str) -> PathBuf {
    let dir = format!("/{topic}-0.");
    let is_it = |path: &&Path| {
        let path = path.to_string_lossy();
        path.contains(&dir) && path.ends_with(end)
    };
    image.files().find(is_it).expect("it is there").to_owned()
}

#[test]
fn a_log_that_cannot_be_read_at_opening_is_left_alone_and_the_others_are_opened() {
    let image = lived();
    for end in ["manifest", "00000000000000000000.log"] {
        let disk = FakeDisk::with(&image);
        let path = path_of(&image, "a", end);
        disk.spoil(&path, 0..u64::MAX);
        let storage = open(&disk, &options()).unwrap();
        let others = storage.open(&id("b")).unwrap();
        assert_eq!(read_values(&*others, Offset::ZERO, 100).len() as u64, COUNT, "{end}");
        assert_eq!(append_message(&*others, 99, b"next"), COUNT + 1);
        let error = storage.open(&id("a")).unwrap_err();
        assert!(matches!(error, StorageError::Io { .. } | StorageError::Unreadable { .. }), "{error:?}");
        assert!(error.to_string().contains(&path.display().to_string()), "{error}");
        let is_listed = storage.list().unwrap().contains(&id("a"));
        assert_eq!(is_listed, end != "manifest", "as far as it is known whose log it is");
        drop(others);
        storage.close().unwrap();
        drop(storage);
        // Nothing of it was touched, not in the journal either.
        disk.mend();
        let storage = open(&disk, &options()).unwrap();
        let log = storage.open(&id("a")).unwrap();
        assert_eq!((log.bounds().end, log.bounds().damaged), (Offset::new(COUNT), 0), "{end}");
        assert_eq!(read_values(&*log, Offset::ZERO, 100).len() as u64, COUNT, "{end}");
        assert_eq!(append_message(&*log, 99, b"next"), COUNT + 1);
    }
}

#[test]
fn a_log_that_was_left_alone_can_be_removed() {
    let image = lived();
    let disk = FakeDisk::with(&image);
    disk.spoil(&path_of(&image, "a", "00000000000000000000.log"), 0..u64::MAX);
    let storage = open(&disk, &options()).unwrap();
    storage.open(&id("a")).unwrap_err();
    storage.remove(&id("a")).unwrap();
    assert_eq!(storage.list().unwrap(), [id("b")]);
    disk.mend();
    assert_eq!(append_message(&*storage.open(&id("a")).unwrap(), 1, b"first"), 1);
}

/// A log whose key is not known may have entries in whatever file speaks of a log that is not there.
#[test]
fn files_of_the_journal_that_are_kept_for_a_log_are_bounded_over_many_starts() {
    let mut image = lived();
    let manifest = path_of(&image, "a", "manifest");
    for start in 0..30 {
        let disk = FakeDisk::with(&image);
        disk.spoil(&manifest, 0..u64::MAX);
        let storage = open(&disk, &options()).unwrap();
        let passing = storage.open(&id("passing")).unwrap();
        append_message(&*passing, start, b"soon gone");
        storage.remove(&id("passing")).unwrap();
        let others = storage.open(&id("b")).unwrap();
        append_message(&*others, COUNT as i64 + start, b"some message");
        image = disk.live_image();
    }
    let files = image.files().filter(|path| path.extension().is_some_and(|end| end == "journal")).count();
    assert!((9..=12).contains(&files), "{files}");
    let disk = FakeDisk::with(&image);
    let storage = open(&disk, &options()).unwrap();
    for (topic, count) in [("a", COUNT), ("b", COUNT + 30)] {
        let values = read_values(&*storage.open(&id(topic)).unwrap(), Offset::ZERO, 100);
        assert_eq!(values.len() as u64, count, "{topic}");
    }
}

/// Bytes of a message that takes up some pages: a disk fails to read whole pages.
const LARGE_LEN: usize = 10_000;
const PAGE_LEN: u64 = 4096;

/// A log of large messages in segments of some of them, and the bytes of each frame.
fn large() -> (Image, u64) {
    let disk = FakeDisk::new();
    let storage = open(&disk, &large_options()).unwrap();
    let log = storage.open(&id("a")).unwrap();
    (0..COUNT).for_each(|time| _ = append_message(&*log, time as i64, &[7; LARGE_LEN]));
    storage.close().unwrap();
    let image = disk.live_image();
    let first = image.file(&path_of(&image, "a", "00000000000000000000.log")).unwrap();
    let frames = (first.len() - 128) / LARGE_LEN;
    assert!(frames > 3, "{frames}");
    let frame_len = (first.len() as u64 - 128) / frames as u64;
    (image, frame_len)
}

fn large_options() -> Options {
    Options { segment_bytes: 50_000, journal_bytes: 0, ..options() }
}

#[test]
fn what_cannot_be_read_is_named_and_the_rest_is_served() {
    let (image, frame_len) = large();
    let second = 128 + frame_len;
    let page = (second / PAGE_LEN + 1) * PAGE_LEN;
    assert!(page + PAGE_LEN < second + frame_len, "the page is a part of the second frame");
    for with_index in [true, false] {
        let disk = FakeDisk::with(&image);
        let storage = open(&disk, &large_options()).unwrap();
        let log = storage.open(&id("a")).unwrap();
        if !with_index {
            disk.spoil(&path_of(&image, "a", "00000000000000000000.index"), 0..u64::MAX);
        }
        let path = path_of(&image, "a", "00000000000000000000.log");
        disk.spoil(&path, page..page + PAGE_LEN);
        check_around(&*log, &path, second);
        assert_eq!(append_message(&*log, 99, b"next"), COUNT + 1, "appends go on");
        disk.mend();
        assert_eq!(read_values(&*log, Offset::ZERO, 100).len() as u64, COUNT + 1, "nothing was lost");
        assert_eq!(log.bounds().damaged, 0);
    }
}

fn check_around(log: &dyn Log, path: &Path, second: u64) {
    let (end, lost) = (log.bounds().end, Offset::new(1)..Offset::new(2));
    assert_eq!(log.read(Offset::ZERO, end, 1).unwrap().len(), 1);
    for _ in 0..2 {
        match log.read(lost.start, end, 1) {
            Err(StorageError::Unreadable { path: found, position, records, .. }) => {
                assert_eq!((found, position, records), (path.to_owned(), second, Some(lost.clone())));
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(read_values(log, lost.end, 1).len() as u64, COUNT - 2, "what lies behind is served");
    assert_eq!(log.bounds().damaged, 0, "nobody knows whether it is lost");
    // The message has an age that nobody can read: it is not evicted with the one before it.
    let place = log.seek(Seek::AppendedAfter(0)).unwrap().unwrap();
    assert_eq!(place.offset, lost.start);
    let place = log.seek(Seek::AppendedAfter(2)).unwrap().unwrap();
    assert_eq!(place.offset, Offset::new(3));
}
