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
    assert_eq!(append_message(&*storage.open(&id("a")).unwrap(), 1, b"first"), 1);
}

/// Where the frame of each message begins in the first segment.
fn frame(number: u64) -> u64 {
    128 + number * (64 + 79)
}

#[test]
fn what_cannot_be_read_is_named_and_the_rest_is_served() {
    let image = lived();
    for with_index in [true, false] {
        let mut image = image.clone();
        if !with_index {
            let path = path_of(&image, "a", "00000000000000000000.index");
            image.file_mut(&path).unwrap().clear();
        }
        let disk = FakeDisk::with(&image);
        let storage = open(&disk, &options()).unwrap();
        let log = storage.open(&id("a")).unwrap();
        if !with_index {
            // Opening has made it again.
            let path = path_of(&disk.live_image(), "a", "00000000000000000000.index");
            disk.spoil(&path, 0..u64::MAX);
        }
        let path = path_of(&image, "a", "00000000000000000000.log");
        disk.spoil(&path, frame(1) + 70..frame(1) + 80);
        check_around(&*log, &path);
        assert_eq!(append_message(&*log, 99, b"next"), COUNT + 1, "appends go on");
        disk.mend();
        assert_eq!(read_values(&*log, Offset::ZERO, 100).len() as u64, COUNT + 1, "nothing was lost");
        assert_eq!(log.bounds().damaged, 0);
    }
}

fn check_around(log: &dyn Log, path: &Path) {
    let (end, lost) = (log.bounds().end, Offset::new(1)..Offset::new(2));
    assert_eq!(log.read(Offset::ZERO, end, 1).unwrap().len(), 1);
    for _ in 0..2 {
        match log.read(lost.start, end, 1) {
            Err(StorageError::Unreadable { path: found, position, records, .. }) => {
                assert_eq!((found, position, records), (path.to_owned(), frame(1), Some(lost.clone())));
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
