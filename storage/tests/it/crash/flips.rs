//! Flipped bits, in every byte of every kind of file. Row 4, and row 5 for the index.
//!
//! Whatever byte is wrong: the storage opens, what is served is what was appended, and what is missing is
//! reported, as [`StorageError::Damaged`] where it is read and in [`Bounds::damaged`], or has come back from
//! another copy. No number is given again. What may be refused as a whole is named below, file by file.
//!
//! **The limit:** the last group commit, when nothing later says that it was durable, cannot be told from a
//! torn tail. After a clean stop there is no such commit; after a crash the suite lets the last one go.
//!
//! [`Bounds::damaged`]: minikafka_storage::Bounds::damaged

use std::path::Path;

use minikafka_record::Offset;
use minikafka_storage::{
    Entry, Log, Storage, StorageError,
    filesystem::{Options, SyncPolicy},
};

use super::{
    check::ensure,
    ledger::{Content, Ledger, Trust, World},
    run::{Clock, Run, open},
    script::parse,
    variants,
};
use crate::{
    backend::{append, entry_at, id},
    fake_disk::{FakeDisk, Image},
};

const SCRIPT: &str = "
    append a 2x30
    append b 1x20
    blob a vote 40
    append a 2x300
    append b 2x300
    append a 1x20
    trim a 20
    append a 1x600
    append b 1x20
    append a 1x20
    append b 1x20
";

/// How a history ended, and so what may be missing without a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// Everything is known to be durable.
    Clean,
    /// The last entry of each log may be taken for a torn tail.
    Killed,
}

/// What one flip did.
#[derive(Clone, Copy, Debug, Default)]
struct Figures {
    flips: u64,
    reported: u64,
    refused: u64,
}

#[test]
fn a_flipped_bit_is_never_served_and_never_passed_over_in_silence() {
    for end in [End::Clean, End::Killed] {
        let mut figures = Figures::default();
        for (number, options) in variants(SyncPolicy::Always).into_iter().enumerate() {
            let (image, ledger) = lived(end, &options);
            flip_all(&image, &ledger, (number, end), &options, &mut figures);
        }
        println!("{end:?}: {figures:?}, wrong: 0");
        assert!(figures.flips > 1000 && figures.reported > 100, "{figures:?}");
    }
}

fn lived(end: End, options: &Options) -> (Image, Ledger) {
    let disk = FakeDisk::new();
    let mut run = Run::open(&disk, options, Ledger::default(), Clock::default()).unwrap();
    run.steps(&parse(SCRIPT)).unwrap();
    if end == End::Clean {
        run.storage().close().unwrap();
    }
    let image = disk.live_image();
    (image, run.end().unwrap().0)
}

/// Flips a bit in every fifth byte: others with each of the options. Fields are longer than that.
fn flip_all(
    image: &Image,
    ledger: &Ledger,
    (part, end): (usize, End),
    options: &Options,
    figures: &mut Figures,
) {
    let paths: Vec<_> = image.files().map(Path::to_owned).collect();
    for path in &paths {
        let content = image.file(path).unwrap();
        for at in interesting(content).into_iter().filter(|at| at % 5 == part) {
            let bit = at % 8;
            let mut flipped = image.clone();
            flipped.file_mut(path).unwrap()[at] ^= 1 << bit;
            figures.flips += 1;
            if let Err(error) = check_flipped(&flipped, path, ledger, end, options, figures) {
                panic!("{}, bit {bit} of byte {at}, {end:?}, {options:?}:\n{error}", path.display());
            }
        }
    }
}

/// Every byte, but of long runs of zeros only some.
fn interesting(content: &[u8]) -> Vec<usize> {
    let is_dull = |at: usize| {
        let around = &content[at.saturating_sub(16)..(at + 16).min(content.len())];
        around.iter().all(|byte| *byte == 0)
    };
    (0..content.len()).filter(|at| at % 509 == 0 || !is_dull(*at)).collect()
}

fn check_flipped(
    image: &Image,
    path: &Path,
    ledger: &Ledger,
    end: End,
    options: &Options,
    figures: &mut Figures,
) -> Result<(), String> {
    let disk = FakeDisk::with(image);
    let storage = match open(&disk, options) {
        Ok(storage) => storage,
        Err(error) => return refused(&error, path, figures),
    };
    let mut reported = false;
    for (topic, worlds) in &ledger.logs {
        let [World::Present(content)] = &worlds[..] else { continue };
        let log = match storage.open(&id(topic)) {
            Ok(log) => log,
            Err(error) => {
                refused(&error, path, figures)?;
                continue;
            }
        };
        reported |= check_log(&*log, content, end).map_err(|error| format!("log {topic}: {error}"))?;
        reported |= check_blob(&storage, topic, content)?;
        check_goes_on(&*log, content).map_err(|error| format!("log {topic}: {error}"))?;
    }
    figures.reported += u64::from(reported);
    Ok(())
}

/// What may be refused: everything or a log, when nobody can know what it is.
fn refused(error: &StorageError, path: &Path, figures: &mut Figures) -> Result<(), String> {
    figures.refused += 1;
    match error {
        StorageError::Damaged { .. } | StorageError::Format { .. } => Ok(()),
        _ => Err(format!("refused because of {}: {error}", path.display())),
    }
}

/// Reads everything: each record must be right or reported. Says whether something was.
fn check_log(log: &dyn Log, content: &Content, end: End) -> Result<bool, String> {
    let entries = content.entries();
    let bounds = log.bounds();
    let all = entries.last().map_or(bounds.start, Entry::end_offset);
    let known = match (end, &entries[..]) {
        (End::Killed, [.., last]) => last.base_offset,
        _ => all,
    };
    ensure!(bounds.end >= known, "it ends at {}, {known} was acknowledged", bounds.end);
    ensure!(bounds.end <= all, "it ends at {}, only {all} was appended", bounds.end);
    let (least, largest) = content.starts;
    // An earlier manifest may count: the start may be that of an earlier trim.
    ensure!(bounds.start <= largest, "starts at {}, trimmed from {least} to {largest}", bounds.start);
    let (mut next, mut missing) = (bounds.start, 0);
    while next < bounds.end {
        match log.read(next, bounds.end, 1) {
            Ok(batches) => {
                ensure!(!batches.is_empty(), "nothing at {next}");
                for batch in &batches {
                    let expected = entries
                        .iter()
                        .flat_map(Entry::batches)
                        .find(|b| b.base_offset() == batch.base_offset());
                    ensure!(expected.is_some_and(|e| e.bytes() == batch.bytes()), "a wrong batch at {next}");
                    next = batch.end_offset();
                }
            }
            Err(StorageError::Damaged { lost: Some(lost), .. }) => {
                ensure!(lost.contains(&next) && lost.end <= bounds.end, "lost {lost:?}, read at {next}");
                missing += lost.end.since(next);
                next = lost.end;
            }
            Err(error) => return Err(format!("reading {next}: {error}")),
        }
    }
    let damaged = log.bounds().damaged;
    ensure!(damaged >= missing, "{missing} records are missing, {damaged} are reported");
    Ok(missing > 0)
}

/// A blob is right, or reported.
fn check_blob(storage: &dyn Storage, topic: &str, content: &Content) -> Result<bool, String> {
    for (name, blobs) in &content.blobs {
        match storage.load_blob(&id(topic), name) {
            Ok(found) => {
                let found = found.map(|bytes| bytes.to_vec());
                ensure!(blobs.iter().any(|blob| blob.value == found), "blob {name}: {found:?}");
            }
            Err(StorageError::Damaged { .. }) => return Ok(true),
            Err(error) => return Err(format!("blob {name}: {error}")),
        }
    }
    Ok(false)
}

/// The log takes appends, behind everything that it ever acknowledged and knows of.
fn check_goes_on(log: &dyn Log, content: &Content) -> Result<(), String> {
    let end = log.bounds().end;
    let next = entry_at(log, i64::MAX / 2, log.bounds().last_epoch, &[b"after the damage"]);
    append(log, vec![next.clone()]).map_err(|error| format!("appending after the damage: {error}"))?;
    let read =
        log.read(end, end.plus(1), 1).map_err(|error| format!("reading what was appended: {error}"))?;
    ensure!(read[0].bytes() == &next.payload, "something else than what was appended");
    let floor = content.must(Trust::Answers);
    ensure!(next.index + 1 >= floor, "index {} is given again", next.index);
    Ok(())
}

/// An index is a cache: missing, cut or mixed up, it is built again.
#[test]
fn an_index_is_never_missed() {
    for options in variants(SyncPolicy::Always) {
        let (image, ledger) = lived(End::Clean, &options);
        let is_index = |path: &&Path| path.extension().is_some_and(|extension| extension == "index");
        let indexes: Vec<_> = image.files().filter(is_index).map(Path::to_owned).collect();
        assert!(indexes.len() >= 4, "{indexes:?}");
        let check = |image: &Image| {
            let mut figures = Figures::default();
            check_flipped(image, &indexes[0], &ledger, End::Clean, &options, &mut figures).unwrap();
            assert_eq!((figures.reported, figures.refused), (0, 0));
        };
        for (number, path) in indexes.iter().enumerate() {
            let other = image.file(&indexes[(number + 1) % indexes.len()]).unwrap().to_vec();
            let own = image.file(path).unwrap().to_vec();
            for content in [other, Vec::new(), own[..own.len() / 2].to_vec(), [own.clone(), own].concat()] {
                let mut spoiled = image.clone();
                spoiled.insert(path, Some(content));
                check(&spoiled);
            }
            let mut missing = image.clone();
            missing.remove(path).unwrap();
            check(&missing);
        }
    }
}

/// Offsets say where in a log something is: a record that is lost is not the first of the next one.
#[test]
fn what_is_lost_is_counted_from_the_start_on() {
    let options = variants(SyncPolicy::Always).remove(1);
    let (mut image, _) = lived(End::Clean, &options);
    let is_segment = |path: &&Path| path.extension().is_some_and(|extension| extension == "log");
    let path = image.files().find(is_segment).unwrap().to_owned();
    let content = image.file_mut(&path).unwrap();
    let half = content.len() / 2;
    content[half..].fill(0x55);
    let storage = open(&FakeDisk::with(&image), &options).unwrap();
    let log = storage.open(&id("a")).unwrap();
    let lost = loop_until_damaged(&*log);
    assert!(log.bounds().damaged > 0);
    log.trim(lost).unwrap();
    assert_eq!(log.bounds().damaged, 0, "what is trimmed is not missed");
}

/// Reads on until something is lost, and gives the offset where to go on.
fn loop_until_damaged(log: &dyn Log) -> Offset {
    let mut next = log.bounds().start;
    loop {
        match log.read(next, log.bounds().end, 1) {
            Ok(batches) => next = batches.last().expect("the damage comes first").end_offset(),
            Err(StorageError::Damaged { lost: Some(lost), .. }) => return lost.end,
            Err(error) => panic!("{error}"),
        }
    }
}
