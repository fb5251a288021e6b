//! Files that do not go together: an index that speaks of more than its segment holds (row 5), a journal whose
//! marks are wrong. What is whole is served, what is missing is reported, and no number is made up.

use std::{
    fs,
    path::{Path, PathBuf},
};

use minikafka_record::Offset;
use minikafka_storage::{
    Log, Removed, Storage, StorageError,
    filesystem::{
        FileStorage, Options,
        inspect::{Event, Inspection},
    },
};
use tempfile::TempDir;

use crate::backend::{append_message, id};

const MESSAGE: &[u8] = b"some message";
/// Bytes before the first frame of a segment.
const SEGMENT_HEADER_LEN: usize = 128;
/// A record of the journal begins on a page of its own.
const PAGE_LEN: usize = 4096;

/// A directory with a log of so many messages, each with a frame of its own: as a clean stop leaves it, or a kill.
fn filled(options: &Options, count: u64, is_clean: bool) -> TempDir {
    let root = tempfile::tempdir().unwrap();
    let storage = FileStorage::open(root.path(), options.clone()).unwrap();
    let log = storage.open(&id("t")).unwrap();
    (0..count).for_each(|time| _ = append_message(&*log, time as i64, MESSAGE));
    if is_clean {
        storage.close().unwrap();
        return root;
    }
    copy(root.path())
}

/// Everything in a directory, somewhere else.
fn copy(root: &Path) -> TempDir {
    let image = tempfile::tempdir().unwrap();
    copy_into(root, image.path());
    image
}

fn copy_into(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy_into(&entry.path(), &target),
            false => _ = fs::copy(entry.path(), target).unwrap(),
        }
    }
}

/// The segments of the log, in order.
fn segments(root: &Path) -> Vec<PathBuf> {
    let dir = fs::read_dir(root.join("logs")).unwrap().next().expect("a log").unwrap().path();
    let mut paths: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "log"));
    paths.sort();
    paths
}

/// How many messages can be read from `from` on, before `to` or what is lost; and what is lost then.
fn read_up_to(log: &dyn Log, from: u64, to: u64) -> (u64, Option<std::ops::Range<Offset>>) {
    let mut next = Offset::new(from);
    while next < Offset::new(to) {
        match log.read(next, Offset::new(to), 1) {
            Ok(batches) => next = batches.last().expect("there is one").end_offset(),
            Err(StorageError::Damaged { lost, .. }) => return (next.get() - from, lost),
            Err(error) => panic!("{error}"),
        }
    }
    (next.get() - from, None)
}

#[test]
fn a_last_segment_shorter_than_its_index_is_served_as_far_as_it_is_whole() {
    const COUNT: u64 = 6;
    let options = Options { journal_bytes: 0, ..Options::default() };
    let root = filled(&options, COUNT, true);
    let content = fs::read(&segments(root.path())[0]).unwrap();
    let frame_len = (content.len() - SEGMENT_HEADER_LEN) / COUNT as usize;
    for len in (SEGMENT_HEADER_LEN..content.len()).step_by(frame_len / 3) {
        let whole = ((len - SEGMENT_HEADER_LEN) / frame_len) as u64;
        let image = copy(root.path());
        fs::write(&segments(image.path())[0], &content[..len]).unwrap();
        for end in COUNT..COUNT + 2 {
            let storage = FileStorage::open(image.path(), options.clone()).unwrap();
            let log = storage.open(&id("t")).unwrap();
            assert_eq!(log.bounds().damaged, COUNT - whole, "cut to {len}, end {end}");
            let lost = Offset::new(whole)..Offset::new(COUNT);
            assert_eq!(read_up_to(&*log, 0, end), (whole, Some(lost)), "cut to {len}");
            assert_eq!(read_up_to(&*log, COUNT, end), (end - COUNT, None), "cut to {len}");
            assert_eq!(append_message(&*log, 9, MESSAGE), end + 1, "numbers go on behind what is lost");
        }
    }
}

#[test]
fn a_full_segment_shorter_than_its_index_is_served_as_far_as_it_is_whole() {
    const COUNT: u64 = 6;
    let options = Options { journal_bytes: 0, segment_bytes: 400, ..Options::default() };
    let root = filled(&options, COUNT, true);
    let [first, second] = [0, 1].map(|at| segments(root.path())[at].clone());
    let in_first: u64 = second.file_stem().unwrap().to_str().unwrap().parse().unwrap();
    assert!(in_first > 1, "{in_first}");
    let content = fs::read(&first).unwrap();
    fs::write(&first, &content[..content.len() - 10]).unwrap();
    let storage = FileStorage::open(root.path(), options).unwrap();
    let log = storage.open(&id("t")).unwrap();
    let lost = Offset::new(in_first - 1)..Offset::new(in_first);
    assert_eq!(read_up_to(&*log, 0, COUNT), (in_first - 1, Some(lost)));
    assert_eq!(read_up_to(&*log, in_first, COUNT), (COUNT - in_first, None));
    assert_eq!(append_message(&*log, 9, MESSAGE), COUNT + 1);
}

#[test]
fn a_damaged_journal_makes_up_no_numbers() {
    let options = Options::default();
    let root = filled(&options, 3, false);
    let name = "journal/000.journal";
    let content = fs::read(root.path().join(name)).unwrap();
    // The second record: what it says of the first one, and its own entry.
    let record = &content[PAGE_LEN..2 * PAGE_LEN];
    let len = record.iter().rposition(|byte| *byte != 0).expect("there is a second record") + 1;
    for at in PAGE_LEN..PAGE_LEN + len {
        let image = copy(root.path());
        let mut damaged = content.clone();
        damaged[at] ^= 0x40;
        fs::write(image.path().join(name), damaged).unwrap();
        let storage = FileStorage::open(image.path(), options.clone()).unwrap();
        let bounds = storage.open(&id("t")).unwrap().bounds();
        assert_eq!((bounds.end, bounds.damaged), (Offset::new(3), 1), "byte {at}");
    }
}

/// The names of what is in the journal's directory, in order, and what is in them.
fn journal(root: &Path) -> Vec<(String, Vec<u8>)> {
    let paths = fs::read_dir(root.join("journal")).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = paths
        .map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), fs::read(path).unwrap()))
        .collect();
    files.sort();
    files
}

#[test]
fn bytes_of_the_journal_that_are_no_record_are_kept_aside() {
    let options = Options::default();
    let root = filled(&options, 3, false);
    let content = fs::read(root.path().join("journal/000.journal")).unwrap();
    // A byte of a record's body or header, of one that is followed by others or not.
    for (at, page, kept) in [
        (100, 0, "000.journal.0.1.damaged"),
        (20, 0, "000.journal.0.1.damaged"),
        (PAGE_LEN + 100, 1, "000.journal.4096.2.damaged"),
        (PAGE_LEN + 20, 1, "000.journal.4096.2.damaged"),
        (2 * PAGE_LEN + 100, 2, "000.journal.8192.3.torn"),
        (2 * PAGE_LEN + 20, 2, "000.journal.8192.3.torn"),
    ] {
        let image = copy(root.path());
        let mut damaged = content.clone();
        damaged[at] ^= 0x40;
        fs::write(image.path().join("journal/000.journal"), &damaged).unwrap();
        let storage = FileStorage::open(image.path(), options.clone()).unwrap();
        let log = storage.open(&id("t")).unwrap();
        (0..5).for_each(|time| _ = append_message(&*log, 10 + time, MESSAGE));
        drop(log);
        storage.close().unwrap();
        drop(storage);
        // A clean stop removes the journal, and not this.
        let found = journal(image.path());
        assert_eq!(found.len(), 1, "byte {at}: {found:?}");
        let (name, bytes) = &found[0];
        assert_eq!(name, kept, "byte {at}");
        let record = &damaged[page * PAGE_LEN..(page + 1) * PAGE_LEN];
        assert!(record.starts_with(bytes) && bytes.len() > 100, "byte {at}: {} bytes", bytes.len());
        // Verifying names it for what it is.
        let inspection = Inspection::open(image.path()).unwrap();
        let mut said = Vec::new();
        inspection
            .verify(|event| {
                if let Event::Found(found) = event {
                    said.push(found.what);
                }
            })
            .unwrap();
        assert!(
            said.iter().any(|what| what.contains("record of the journal that an earlier start kept")),
            "{said:?}"
        );
    }
}

#[test]
fn what_nobody_asks_for_is_removed_by_opening() {
    let root = filled(&Options::default(), 3, true);
    let dir = segments(root.path())[0].parent().unwrap().to_owned();
    let mine = dir.join("00000000000000000000.index");
    let left = ["00000000000000000007.index", "00000000000000000000.index.new", "damage.new"];
    left.iter().for_each(|name| fs::write(dir.join(name), b"left over").unwrap());
    assert!(mine.exists());
    FileStorage::open(root.path(), Options::default()).unwrap();
    left.iter().for_each(|name| assert!(!dir.join(name).exists(), "{name}"));
    assert!(mine.exists());
}

#[test]
fn what_the_journal_says_of_another_log_tells_damage_from_a_torn_end() {
    let root = tempfile::tempdir().unwrap();
    let storage = FileStorage::open(root.path(), Options::default()).unwrap();
    let logs = ["a", "b"].map(|topic| storage.open(&id(topic)).unwrap());
    logs.iter().for_each(|log| _ = append_message(&**log, 1, MESSAGE));
    let image = copy(root.path());
    let path = image.path().join("journal/000.journal");
    let mut content = fs::read(&path).unwrap();
    // In the record of the first log, which nothing follows in that log.
    content[100] ^= 1;
    fs::write(&path, content).unwrap();
    let storage = FileStorage::open(image.path(), Options::default()).unwrap();
    let log = storage.open(&id("a")).unwrap();
    assert_eq!(log.bounds().damaged, 1);
    assert_eq!(append_message(&*log, 2, MESSAGE), 2, "no number is given again");
}

#[test]
fn a_spoiled_slot_of_the_manifest_undoes_no_reset_and_no_truncation() {
    type TakeAway = fn(&dyn Log);
    let take_away: [(TakeAway, u64); 2] = [
        (|log| log.reset(Removed { next_index: 100, epoch: 1 }, Offset::new(100)).unwrap(), 100),
        (|log| log.truncate(1).unwrap(), 1),
    ];
    for (take_away, end) in take_away {
        let root = tempfile::tempdir().unwrap();
        let storage = FileStorage::open(root.path(), Options::default()).unwrap();
        let log = storage.open(&id("t")).unwrap();
        (0..3).for_each(|time| _ = append_message(&*log, time, MESSAGE));
        take_away(&*log);
        // What comes in its place is not to be taken away again.
        (0..2).for_each(|time| _ = append_message(&*log, 5 + time, MESSAGE));
        let slot_len = PAGE_LEN;
        for slot in 0..2 {
            let image = copy(root.path());
            let dir = fs::read_dir(image.path().join("logs")).unwrap().next().expect("a log").unwrap();
            let mut manifest = fs::read(dir.path().join("manifest")).unwrap();
            manifest[slot * slot_len + 20] ^= 1;
            fs::write(dir.path().join("manifest"), manifest).unwrap();
            let storage = FileStorage::open(image.path(), Options::default()).unwrap();
            let log = storage.open(&id("t")).unwrap();
            assert_eq!((log.bounds().end, log.bounds().damaged), (Offset::new(end + 2), 0), "slot {slot}");
            assert_eq!(append_message(&*log, 9, MESSAGE), end + 3, "slot {slot}");
        }
    }
}
