//! A thread of the storage that panics: everybody is told, nobody waits for ever.

use std::sync::{Arc, mpsc};

use minikafka_record::Offset;
use minikafka_storage::{Log, Storage, StorageError, filesystem::Options};

use super::{run::open, tiny};
use crate::{
    backend::{append, append_message, begin_append, entry_at, id, read_values},
    fake_disk::FakeDisk,
};

/// Two logs with a message each.
fn started(options: &Options) -> (FakeDisk, Arc<dyn Storage>, [Arc<dyn Log>; 2]) {
    let disk = FakeDisk::new();
    let storage: Arc<dyn Storage> = Arc::new(open(&disk, options).unwrap());
    let logs = ["busy", "idle"].map(|topic| storage.open(&id(topic)).unwrap());
    logs.iter().for_each(|log| _ = append_message(&**log, 1, b"before"));
    (disk, storage, logs)
}

/// Everybody is told, whatever they ask for; what was acknowledged is there, now and after a restart.
fn check_crashed(
    thread: &'static str,
    (disk, storage, logs): (FakeDisk, Arc<dyn Storage>, [Arc<dyn Log>; 2]),
    told: &mpsc::Receiver<StorageError>,
    options: &Options,
) {
    let crashed = |error: &StorageError| {
        assert!(error.to_string().contains(&format!("{thread} thread panicked")), "{error}");
        assert!(!error.is_retryable(), "only a restart helps");
    };
    crashed(&told.recv().expect("who asked for it is told"));
    let (tell, late) = mpsc::channel();
    storage.when_failed(Box::new(move |error| drop(tell.send(error))));
    crashed(&late.recv().expect("who asks later is told at once"));
    for log in &logs {
        let error = append(&**log, vec![entry_at(&**log, 2, 0, &[b"later"])]).unwrap_err();
        assert!(matches!(error, StorageError::Poisoned(_)), "{error:?}");
        crashed(&error);
        assert_eq!(read_values(&**log, Offset::ZERO, 1)[0], "before", "reads go on");
    }
    crashed(&storage.open(&id("busy")).expect_err("it cannot be recovered without a restart"));
    crashed(&storage.open(&id("new")).expect_err("nobody would write it"));
    for _ in 0..2 {
        crashed(&storage.close().unwrap_err());
    }
    drop((storage, logs));
    let storage = open(&FakeDisk::with(&disk.live_image()), options).unwrap();
    for topic in ["busy", "idle"] {
        let log = storage.open(&id(topic)).unwrap();
        assert_eq!(read_values(&*log, Offset::ZERO, 1)[0], "before");
        append_message(&*log, 3, b"after");
    }
}

fn hook(storage: &dyn Storage) -> mpsc::Receiver<StorageError> {
    let (tell, told) = mpsc::channel();
    storage.when_failed(Box::new(move |error| drop(tell.send(error))));
    told
}

#[test]
fn a_flusher_that_panics_fails_everything() {
    let variants = super::variants(minikafka_storage::filesystem::SyncPolicy::Always);
    for options in variants.into_iter().chain([tiny(minikafka_storage::filesystem::SyncPolicy::Never)]) {
        let started = started(&options);
        let (disk, storage, [busy, idle]) = &started;
        let told = hook(&**storage);
        disk.panic_in("flusher");
        let waiting =
            [busy, idle, busy].map(|log| begin_append(&**log, vec![entry_at(&**log, 2, 0, &[b"x"])]));
        for wait in waiting {
            let error = wait.recv().expect("a completion is called exactly once").unwrap_err();
            assert!(error.to_string().contains("flusher thread panicked"), "{error}");
        }
        check_crashed("flusher", started, &told, &options);
    }
}

#[test]
fn a_writer_that_panics_fails_everything() {
    // The journal is soon full, and then the writer has something to do.
    let options =
        Options { direct_bytes: u64::MAX, ..tiny(minikafka_storage::filesystem::SyncPolicy::Always) };
    let started = started(&options);
    let (disk, storage, [busy, _]) = &started;
    let told = hook(&**storage);
    disk.panic_in("writer");
    let error = loop {
        if let Err(error) = append(&**busy, vec![entry_at(&**busy, 2, 0, &[&[b'x'; 1000]])]) {
            break error;
        }
    };
    assert!(error.to_string().contains("writer thread panicked"), "{error}");
    check_crashed("writer", started, &told, &options);
}
