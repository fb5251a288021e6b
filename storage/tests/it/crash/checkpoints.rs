//! How much an opening reads after a crash.

use std::{path::Path, sync::mpsc};

use minikafka_record::Offset;
use minikafka_storage::{
    Storage,
    filesystem::{Options, SyncPolicy},
};

use super::{run::open, tiny};
use crate::{
    backend::{append_message, begin_append, entry_at, id},
    fake_disk::{ChangeLike, FakeDisk, PowerLoss},
};

const APPEND_BYTES: usize = 1024 * 1024;
const APPENDS: usize = 48;
const IN_FLIGHT: usize = 8;
/// For the journal: less than there is when the flusher helps the writer.
const SMALL_BYTES: usize = 32 * 1024;
const SMALL_APPENDS: usize = 480;
/// Growth of so small a segment after which its index is stored again.
const SMALL_STEP: u64 = 2 << 20;
/// More than what the writer leaves for later.
const LEFT_BYTES: u64 = 5 << 20;
/// More than any writer needs that is only slow.
const APPENDS_MAX: usize = 512;
/// So much that none is full: a full one is sealed, and its index stored, whatever became of checkpoints.
const SEGMENT_BYTES: u64 = 4 << 30;

/// A segment that is written up to `bytes`, a sync of one, and an index that is stored, in this order.
fn with_checkpoint_of<T>(bytes: u64, look: impl FnOnce(&[ChangeLike<'_>]) -> T) -> T {
    let is_segment = |path: &Path| path.extension().is_some_and(|found| found == "log");
    look(&[
        &|name, path, written| name == "write" && is_segment(path) && written.end >= bytes,
        &|name, path, _| name == "sync" && is_segment(path),
        &|name, path, _| name == "rename" && path.to_string_lossy().ends_with(".index.new"),
    ])
}

/// Large appends that never end: something is always written and not synced yet. The checkpoint follows nonetheless.
#[test]
fn the_checkpoint_follows_appends_that_never_pause() {
    let options = Options { tail_bytes: 0, segment_bytes: SEGMENT_BYTES, ..Options::default() };
    let disk = FakeDisk::new();
    let storage = open(&disk, &options).unwrap();
    let log = storage.open(&id("t")).unwrap();
    let value = vec![b'x'; APPEND_BYTES];
    let send = || begin_append(&*log, vec![entry_at(&*log, 1, 0, &[&value])]);
    let mut waiting: Vec<mpsc::Receiver<_>> = (0..IN_FLIGHT).map(|_| send()).collect();
    for number in IN_FLIGHT..APPENDS {
        waiting.remove(0).recv().unwrap().unwrap();
        waiting.push(send());
        if number.is_multiple_of(5) {
            // It follows, and never runs ahead: what it speaks of would be missed.
            let disk = FakeDisk::with(&disk.image_after(&PowerLoss::NothingUnsynced));
            let bounds = open(&disk, &options).unwrap().open(&id("t")).unwrap().bounds();
            assert_eq!(bounds.damaged, 0, "after {number} appends");
            assert!(bounds.end.get() > (number - IN_FLIGHT) as u64, "{bounds:?}");
        }
    }
    // The writer stores an index when it has its turn; meanwhile appends go on.
    let in_flight = (IN_FLIGHT * APPEND_BYTES) as u64;
    let mut appended = (APPENDS * APPEND_BYTES) as u64;
    let follows = |appended: u64| {
        let covered = appended - 2 * in_flight - appended / 8;
        with_checkpoint_of(covered, |changes| disk.has_changes(changes))
    };
    while !follows(appended) {
        waiting.remove(0).recv().unwrap().unwrap();
        waiting.push(send());
        appended += APPEND_BYTES as u64;
        assert!(appended < (APPENDS_MAX * APPEND_BYTES) as u64, "no checkpoint follows");
    }
    let image = disk.live_image();
    waiting.into_iter().for_each(|wait| wait.recv().unwrap().unwrap());
    drop(storage);
    let disk = FakeDisk::with(&image);
    let storage = open(&disk, &options).unwrap();
    let read = disk.read_bytes();
    let written = storage.open(&id("t")).unwrap().bounds().size_bytes;
    // What was on its way when the index was stored, and since; and steps of the checkpoint, each an eighth of the
    // segment: one behind which it was stored, and one that is on its way. Twice: it is read, and written over itself.
    let step = written / 8;
    let behind = 3 * in_flight + 2 * step;
    assert!(written > 30 << 20, "{written}");
    assert!(read < 2 * behind + (1 << 20), "{read} of {written} bytes were read");
}

/// What is written while a sync is under way is not what that sync makes durable, and the checkpoint does not speak of it.
#[test]
fn a_checkpoint_speaks_of_nothing_that_came_during_the_sync() {
    // No less than the growth after which an index is stored: the first append is to make one due.
    const EARLY_BYTES: usize = 2 << 20;
    let options = Options { early_bytes: EARLY_BYTES as u64, ..Options::default() };
    let disk = FakeDisk::new();
    let storage = open(&disk, &options).unwrap();
    let log = storage.open(&id("t")).unwrap();
    let append = |value: &[u8]| begin_append(&*log, vec![entry_at(&*log, 1, 0, &[value])]);
    let hold = disk.hold_syncs_of("log");
    let first = append(&vec![b'x'; EARLY_BYTES - 1]);
    disk.wait_for_held_sync();
    // Two pieces for the writer, which does not wait for the flusher.
    let piece = [b'y'; EARLY_BYTES / 8];
    let later: Vec<_> = (0..17).map(|_| append(&piece)).collect();
    let is_segment = |path: &Path| path.extension().is_some_and(|found| found == "log");
    // When the second is there, the writer has told of the first.
    disk.wait_for_change(|name, path, bytes| {
        name == "write" && is_segment(path) && bytes.end > 3 * EARLY_BYTES as u64
    });
    hold.release_waiting();
    first.recv().unwrap().unwrap();
    disk.wait_for_change(|name, path, _| name == "rename" && path.to_string_lossy().ends_with(".index.new"));
    for seed in 0..20 {
        let disk = FakeDisk::with(&disk.image_after(&PowerLoss::seeded(seed)));
        let bounds = open(&disk, &options).unwrap().open(&id("t")).unwrap().bounds();
        assert_eq!(bounds.damaged, 0, "seed {seed}");
        assert!(bounds.end > Offset::ZERO, "seed {seed}");
    }
    drop(hold);
    later.into_iter().for_each(|wait| wait.recv().unwrap().unwrap());
}

/// Files of the journal that are full are emptied together, so that each log is synced once.
#[test]
fn full_files_of_the_journal_are_emptied_three_at_a_time() {
    // A record takes a page, and a file four of them.
    const FILE_RECORDS: usize = 4;
    let options = Options { direct_bytes: u64::MAX, journal_files: 12, ..tiny(SyncPolicy::Always) };
    let disk = FakeDisk::new();
    let storage = open(&disk, &options).unwrap();
    let log = storage.open(&id("t")).unwrap();
    let append =
        |files: usize| (0..files * FILE_RECORDS).for_each(|_| _ = append_message(&*log, 1, b"small"));
    // More than the header of its segment.
    let written = 200;
    // One is full when the next one is begun.
    append(3);
    let is_segment = |path: &Path| path.extension().is_some_and(|end| end == "log");
    let emptying: [ChangeLike<'_>; 2] = [
        &|name, path, bytes| name == "write" && is_segment(path) && bytes.end >= written,
        &|name, path, _| name == "sync" && is_segment(path),
    ];
    assert!(!disk.has_changes(&emptying), "they are emptied before there are three");
    append(1);
    disk.wait_for_changes(&emptying);
}

/// Small appends go to the journal, and the writer brings them to the segment: the checkpoint follows there, too, long
/// before a file of the journal is full.
#[test]
fn the_checkpoint_follows_small_appends() {
    let options = Options { tail_bytes: 0, journal_bytes: 64 << 20, ..Options::default() };
    let disk = FakeDisk::new();
    let storage = open(&disk, &options).unwrap();
    let log = storage.open(&id("t")).unwrap();
    let value = vec![b'x'; SMALL_BYTES];
    for _ in 0..SMALL_APPENDS {
        append_message(&*log, 1, &value);
    }
    let written = log.bounds().size_bytes;
    // The writer does it, when it has its turn.
    with_checkpoint_of(written - LEFT_BYTES - SMALL_STEP, |changes| disk.wait_for_changes(changes));
    let image = disk.live_image();
    drop((storage, log));
    let files = image.files().filter(|path| path.extension().is_some_and(|found| found == "journal"));
    let journal: usize = files.filter_map(|path| image.file(path)).map(<[u8]>::len).sum();
    let disk = FakeDisk::with(&image);
    let storage = open(&disk, &options).unwrap();
    let read = disk.read_bytes();
    assert_eq!(storage.open(&id("t")).unwrap().bounds().damaged, 0);
    // What the writer leaves for later, and steps of the checkpoint: twice, as above. The journal is read whole.
    let behind = LEFT_BYTES + 2 * SMALL_STEP;
    assert!(written > 14 << 20, "{written}");
    assert!(
        read < journal as u64 + 2 * behind + (1 << 20),
        "{read} of {written} bytes, {journal} of them journal"
    );
}
