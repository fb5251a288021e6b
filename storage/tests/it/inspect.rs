//! Looking into a data directory: what is whole is found whole, what is not is found with the right numbers, and
//! nothing changes.

use std::{
    collections::BTreeMap,
    fs,
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

use minikafka_record::{Checksum, Offset};
use minikafka_storage::{
    EntryKind, StorageError,
    filesystem::{
        Options,
        inspect::{Event, Finding, Inspection, Location, Severity, Totals},
    },
    memory::MemoryStorage,
};

use crate::backend::{Backend, append, append_message, entry_at, id};

/// Some segments of some frames each, straight to them.
fn segments_only() -> Options {
    Options { segment_bytes: 700, tail_bytes: 0, journal_bytes: 0, ..Options::default() }
}

/// Everything goes to the journal, and stays there as long as it can.
fn journal_only() -> Options {
    Options { direct_bytes: u64::MAX, ..Options::default() }
}

/// A directory that was left as it is, by a kill or a clean stop.
struct Left(Backend);

impl Left {
    fn killed(mut backend: Backend) -> Left {
        // Lets go of the directory, as the end of the process does.
        backend.storage = Arc::new(MemoryStorage::new(0));
        Left(backend)
    }

    fn stopped(backend: Backend) -> Left {
        backend.storage.close().unwrap();
        Left::killed(backend)
    }

    fn root(&self) -> &Path {
        self.0.path()
    }

    /// The files with this in their name, in order.
    fn files(&self, part: &str) -> Vec<PathBuf> {
        let is_wanted =
            |path: &Path| path.strip_prefix(self.root()).unwrap().to_string_lossy().contains(part);
        snapshot(self.root()).into_keys().filter(|path| is_wanted(path)).collect()
    }

    fn file(&self, part: &str, at: usize) -> PathBuf {
        self.files(part).swap_remove(at)
    }
}

/// What is in all files below a directory.
fn snapshot(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => files.extend(snapshot(&path)),
            false => _ = files.insert(path.clone(), fs::read(&path).unwrap()),
        }
    }
    files
}

/// Verifies, and looks whether anything was changed by it.
fn verify(root: &Path) -> (Totals, Vec<Finding>) {
    let before = snapshot(root);
    let (mut findings, mut progress) = (Vec::new(), Vec::new());
    let totals = Inspection::open(root).unwrap().verify(|event| match event {
        Event::Found(finding) => findings.push(finding),
        Event::Progress { done, total } => progress.push((done, total)),
    });
    let totals = totals.unwrap();
    assert_eq!(snapshot(root), before, "nothing changes");
    let bytes = before.values().map(Vec::len).sum::<usize>() as u64;
    assert_eq!(totals.bytes, bytes);
    assert!(progress.is_sorted(), "{progress:?}");
    assert_eq!(progress.last(), Some(&(bytes, bytes)));
    let count = |severity| findings.iter().filter(|finding| finding.severity == severity).count() as u64;
    assert_eq!((totals.notes, totals.damages), (count(Severity::Note), count(Severity::Damage)));
    (totals, findings)
}

fn assert_whole(root: &Path) -> Totals {
    let (totals, findings) = verify(root);
    assert!(findings.is_empty(), "{findings:#?}");
    assert!(totals.is_whole());
    totals
}

/// The damage, which is to be one.
fn damage(root: &Path) -> Finding {
    let (totals, findings) = verify(root);
    let mut damages: Vec<Finding> =
        findings.iter().filter(|finding| finding.severity == Severity::Damage).cloned().collect();
    assert_eq!((damages.len(), totals.damages), (1, 1), "{findings:#?}");
    damages.remove(0)
}

fn flip(path: &Path, at: usize) {
    let mut content = fs::read(path).unwrap();
    content[at] ^= 0x10;
    fs::write(path, content).unwrap();
}

fn offsets(range: Range<u64>) -> Option<Range<Offset>> {
    Some(Offset::new(range.start)..Offset::new(range.end))
}

fn filled(options: Options, messages: i64) -> Backend {
    let backend = Backend::filesystem(options);
    let log = backend.log("t");
    (0..messages).for_each(|time| _ = append_message(&*log, time, b"some message"));
    backend
}

/// Offset of the first record of a segment.
fn base_offset(segment: &Path) -> u64 {
    u64::from_be_bytes(fs::read(segment).unwrap()[32..40].try_into().unwrap())
}

#[test]
fn what_was_stopped_or_killed_is_whole() {
    for options in [segments_only(), journal_only(), Options::default()] {
        let backend = filled(options.clone(), 20);
        backend.storage.store_blob(&id("t"), "vote", b"me").unwrap();
        let log = backend.log("u");
        let internal = entry_at(&*log, 1, 3, &[]);
        append(&*log, vec![internal]).unwrap();
        append(&*log, vec![entry_at(&*log, 2, 3, &[b"a", b"b"])]).unwrap();
        drop(log);
        let left = Left::stopped(backend);
        let totals = assert_whole(left.root());
        assert_eq!((totals.logs, totals.frames, totals.records), (2, 22, 22), "{totals:?}");
        assert_eq!((totals.journaled_entries, totals.lost_records), (0, 0));

        let left = Left::killed(filled(options, 20));
        let totals = assert_whole(left.root());
        assert_eq!((totals.logs, totals.frames + totals.journaled_entries, totals.records), (1, 20, 20));
    }
}

#[test]
fn what_only_the_journal_has_is_counted() {
    let left = Left::killed(filled(journal_only(), 5));
    // As if the machine had gone down before the writer came.
    let segment = left.file(".log", 0);
    let header = fs::read(&segment).unwrap()[..128].to_vec();
    fs::write(&segment, header).unwrap();
    let totals = assert_whole(left.root());
    assert_eq!((totals.frames, totals.journaled_entries, totals.records), (0, 5, 5));
    assert_eq!(totals.journal_records, 5);

    // The marks of the records behind it say that it was durable.
    let journal = left.file("journal/", 0);
    let content = fs::read(&journal).unwrap();
    flip(&journal, 4096 + 100);
    let found = damage(left.root());
    assert_eq!((found.path, found.position, found.lost), (journal.clone(), Some(4096), offsets(1..2)));

    // Of the last one nothing says so.
    fs::write(&journal, &content).unwrap();
    flip(&journal, 4 * 4096 + 100);
    let (totals, findings) = verify(left.root());
    assert!(totals.is_whole() && totals.journaled_entries == 4, "{findings:#?}");
    assert_eq!(findings[0].position, Some(4 * 4096));
}

#[test]
fn a_flip_in_any_byte_of_a_frame_is_found_with_its_number() {
    let left = Left::stopped(filled(segments_only(), 20));
    let path = left.file(".log", 1);
    let whole = fs::read(&path).unwrap();
    let first = base_offset(&path);
    let len = (whole.len() - 128) / (base_offset(&left.file(".log", 2)) - first) as usize;
    for at in 128 + len..128 + 2 * len {
        flip(&path, at);
        let found = damage(left.root());
        assert_eq!(found.lost, offsets(first + 1..first + 2), "byte {at}");
        assert_eq!((found.position, &found.path), (Some((128 + len) as u64), &path));
        assert_eq!(found.log, Some(id("t")));
        fs::write(&path, &whole).unwrap();
    }
    assert_whole(left.root());
}

#[test]
fn a_damaged_header_or_a_missing_file_costs_the_segment() {
    let left = Left::stopped(filled(segments_only(), 20));
    let paths = left.files(".log");
    let lost = offsets(base_offset(&paths[1])..base_offset(&paths[2]));
    let whole = fs::read(&paths[1]).unwrap();
    (0..2).for_each(|copy| flip(&paths[1], 64 * copy + 20));
    let found = damage(left.root());
    assert_eq!((found.position, &found.lost), (Some(0), &lost));
    fs::remove_file(&paths[1]).unwrap();
    let found = damage(left.root());
    assert_eq!((&found.path, &found.lost), (&paths[2], &lost));
    fs::write(&paths[1], whole).unwrap();

    // The last one, of which the index says how far it went.
    let last = paths.last().unwrap();
    let from = base_offset(last);
    (0..2).for_each(|copy| flip(last, 64 * copy + 20));
    assert_eq!(damage(left.root()).lost, offsets(from..20));
}

#[test]
fn a_torn_tail_is_a_note_and_a_cut_below_a_mark_is_damage() {
    let left = Left::killed(filled(Options { journal_bytes: 0, ..Options::default() }, 3));
    let path = left.file(".log", 0);
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() - 5]).unwrap();
    let (totals, findings) = verify(left.root());
    assert!(totals.is_whole() && findings.len() == 1 && findings[0].what.contains("torn"), "{findings:#?}");
    assert_eq!(totals.records, 2);

    let left = Left::stopped(filled(Options { journal_bytes: 0, ..Options::default() }, 3));
    let path = left.file(".log", 0);
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() - 5]).unwrap();
    // The manifest and the index say that three were durable.
    let found = damage(left.root());
    assert_eq!((&found.path, found.lost), (&path, offsets(2..3)));
    assert_eq!(found.position, Some((128 + (whole.len() - 128) / 3 * 2) as u64));
}

#[test]
fn small_files_are_checked() {
    let backend = filled(segments_only(), 20);
    backend.storage.store_blob(&id("t"), "vote", b"me").unwrap();
    let left = Left::stopped(backend);
    let blob = left.file("blob-", 0);
    let whole = fs::read(&blob).unwrap();
    flip(&blob, 16);
    let found = damage(left.root());
    assert_eq!((&found.path, found.lost), (&blob, None));
    fs::write(&blob, whole).unwrap();

    let marker = left.root().join("minikafka");
    flip(&marker, 520);
    let found = damage(left.root());
    assert!(found.path == marker && found.what.contains("second"), "{found:?}");
    flip(&marker, 520);

    let index = left.file(".index", 0);
    flip(&index, 30);
    let (totals, findings) = verify(left.root());
    assert!(totals.is_whole() && findings[0].path == index, "a cache: {findings:?}");
    fs::remove_file(&index).unwrap();
    let (totals, findings) = verify(left.root());
    assert!(totals.is_whole() && findings[0].path == index, "a cache: {findings:?}");

    let manifest = left.file("manifest", 0);
    flip(&manifest, 4096 + 30);
    let (totals, findings) = verify(left.root());
    let slot = findings.iter().find(|finding| finding.path == manifest).unwrap();
    assert!(totals.is_whole() && slot.position == Some(4096), "{slot:?}");
    flip(&manifest, 30);
    assert!(damage(left.root()).what.contains("nobody knows"));
}

#[test]
fn an_index_of_another_segment_is_a_note() {
    let [one, other] = [20, 20].map(|messages| Left::stopped(filled(segments_only(), messages)));
    let index = one.file(".index", 0);
    fs::copy(other.file(".index", 0), &index).unwrap();
    let (totals, findings) = verify(one.root());
    assert!(totals.is_whole() && findings[0].path == index, "{findings:?}");
}

#[test]
fn an_index_that_is_whole_and_wrong_is_damage() {
    let left = Left::stopped(filled(segments_only(), 20));
    let index = left.file(".index", 0);
    let mut content = fs::read(&index).unwrap();
    // The second envelope holds the points; the first of them begins with the position.
    let points = 88;
    content[points + 16 + 7] += 1;
    let mut checksum = Checksum::new();
    checksum.update(&content[points..points + 12]);
    checksum.update(&content[points + 16..]);
    content[points + 12..points + 16].copy_from_slice(&checksum.finish().to_be_bytes());
    fs::write(&index, content).unwrap();
    let found = damage(left.root());
    assert!(found.path == index && found.what.contains("byte 129"), "{found:?}");
}

#[test]
fn what_counts_for_nothing_is_noted() {
    let left = Left::stopped(filled(segments_only(), 3));
    let dir = left.file("manifest", 0).parent().unwrap().to_owned();
    fs::write(dir.join("00000000000000000000.log.99.torn"), b"x").unwrap();
    fs::write(dir.join("00000000000000000007.log.damaged"), b"x").unwrap();
    fs::write(dir.join("blob-vote.new"), b"x").unwrap();
    fs::create_dir(left.root().join("logs/x.deleted")).unwrap();
    fs::write(left.root().join("notes.txt"), b"x").unwrap();
    let (totals, findings) = verify(left.root());
    assert_eq!((totals.notes, totals.damages), (5, 0), "{findings:#?}");
}

#[test]
fn evicted_damage_is_a_note() {
    let backend = filled(segments_only(), 20);
    backend.log("t").trim(Offset::new(2)).unwrap();
    let left = Left::stopped(backend);
    flip(&left.file(".log", 0), 128 + 70);
    let (totals, findings) = verify(left.root());
    assert!(totals.is_whole() && findings[0].what.contains("evicted"), "{findings:#?}");
}

#[test]
fn a_directory_that_is_not_ours_or_in_use_is_refused() {
    let backend = filled(segments_only(), 3);
    let outcome = Inspection::open(backend.path());
    assert!(matches!(outcome, Err(StorageError::Locked(_))), "{outcome:?}");
    let dir = tempfile::tempdir().unwrap();
    let outcome = Inspection::open(dir.path());
    assert!(matches!(outcome, Err(StorageError::Io { .. })), "{outcome:?}");
    assert!(snapshot(dir.path()).is_empty());
    fs::write(dir.path().join("letter"), b"dear").unwrap();
    let outcome = Inspection::open(dir.path());
    assert!(matches!(outcome, Err(StorageError::Foreign(..))), "{outcome:?}");
    let outcome = Inspection::open(&dir.path().join("nowhere"));
    assert!(matches!(outcome, Err(StorageError::Io { .. })), "{outcome:?}");
    // While somebody looks, no server starts, and when nobody does, it does.
    let left = Left::stopped(backend);
    let inspection = Inspection::open(left.root()).unwrap();
    let server = minikafka_storage::filesystem::FileStorage::open(left.root(), Options::default());
    assert!(matches!(server, Err(StorageError::Locked(_))));
    drop(inspection);
    minikafka_storage::filesystem::FileStorage::open(left.root(), Options::default()).unwrap();
}

#[test]
fn entries_come_from_segments_and_from_the_journal() {
    let left = Left::killed(filled(journal_only(), 5));
    let segment = left.file(".log", 0);
    let header = fs::read(&segment).unwrap()[..128].to_vec();
    fs::write(&segment, header).unwrap();
    let inspection = Inspection::open(left.root()).unwrap();
    assert_eq!(inspection.logs().unwrap(), [id("t")]);
    let entries: Vec<_> = inspection.entries(&id("t"), Offset::new(2)).unwrap().map(Result::unwrap).collect();
    assert_eq!(entries.iter().map(|found| found.entry.base_offset.get()).collect::<Vec<_>>(), [2, 3, 4]);
    let sequences = entries.iter().map(|found| match found.location {
        Location::Journal { sequence, .. } => sequence,
        Location::Segment { .. } => 0,
    });
    assert_eq!(sequences.collect::<Vec<_>>(), [3, 4, 5]);

    let left = Left::stopped(filled(segments_only(), 20));
    flip(&left.file(".log", 0), 128 + 70);
    let inspection = Inspection::open(left.root()).unwrap();
    let (whole, bad): (Vec<_>, Vec<_>) =
        inspection.entries(&id("t"), Offset::ZERO).unwrap().partition(Result::is_ok);
    assert_eq!((whole.len(), bad.len()), (19, 1));
    assert!(matches!(bad[0], Err(StorageError::Damaged { position: 128, .. })), "{bad:?}");
    let last = whole.last().unwrap().as_ref().unwrap();
    assert_eq!((last.entry.kind, last.entry.base_offset), (EntryKind::Data, Offset::new(19)));
    assert!(inspection.entries(&id("nobody"), Offset::ZERO).is_err());
}
