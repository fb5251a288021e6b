//! [`Replay`]: what the journal holds when a storage is opened.

use std::{
    collections::{HashMap, HashSet},
    io,
    path::PathBuf,
    sync::Arc,
};

use bytes::BytesMut;

use super::{
    JournalFile, LogKey, Mark, PAGE_LEN, SUFFIX,
    bad::{BadBytes, headless, keep_all},
    record::{HEADER_LEN, RecordBody, RecordHeader},
};
use crate::{
    Entry, StorageError,
    filesystem::{
        disk::{Disk, DiskFile, OpenMode},
        durable::{self, NEW_SUFFIX},
        frame::Salt,
        log::FileLog,
        recovery::Progress,
    },
};

/// All files of the journal, and where their records lie.
pub(in crate::filesystem) struct Replay {
    salt: Salt,
    files: Vec<JournalFile>,
    /// In the order of their sequence.
    records: Vec<Found>,
    /// What should have been records.
    bad: Vec<BadBytes>,
    /// Which logs the records of each file speak of.
    keys: Vec<HashSet<LogKey>>,
}

/// Whether all that is no whole record has been put aside, so that the files may be written over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::filesystem) enum Aside {
    All,
    /// There was no room for it.
    NotAll,
}

/// A record whose header is whole.
#[derive(Clone, Copy)]
struct Found {
    header: RecordHeader,
    file: usize,
    position: u64,
}

impl Replay {
    /// Looks for records in all files of a directory.
    pub(in crate::filesystem) fn open(
        disk: &dyn Disk,
        dir: PathBuf,
        salt: Salt,
    ) -> Result<Replay, StorageError> {
        durable::create_dir(disk, &dir)?;
        // The removal of a file by the last clean stop is to be durable before its sequences are used again.
        durable::sync_dir(disk, &dir)?;
        let mut paths = disk.list(&dir).map_err(|error| StorageError::io("reading", dir, error))?;
        for path in paths.iter().filter(|path| path.to_string_lossy().ends_with(NEW_SUFFIX)) {
            durable::remove_file(disk, path)?;
        }
        paths.retain(|path| path.extension().is_some_and(|extension| extension == SUFFIX));
        paths.sort();
        let mut replay =
            Replay { salt, files: Vec::new(), records: Vec::new(), bad: Vec::new(), keys: Vec::new() };
        for path in paths {
            replay.add(disk, path)?;
        }
        replay.records.sort_by_key(|found| found.header.sequence);
        Ok(replay)
    }

    fn add(&mut self, disk: &dyn Disk, path: PathBuf) -> Result<(), StorageError> {
        let fail = |error| durable::io_or_full("reading", &path, error);
        let file = disk.open(&path, OpenMode::Existing).map_err(fail)?;
        let len = file.len().map_err(fail)?;
        let records: Vec<_> = find_records(&*file, len, self.salt).map_err(fail)?.collect();
        let at = self.files.len();
        self.bad.extend(headless(&path, &file, len, self.salt, &records).map_err(fail)?);
        let records = records.into_iter();
        self.records.extend(records.map(|(position, header)| Found { header, file: at, position }));
        durable::sync(&*file, &path)?;
        // A file with another name is not ours to make, but it is read like the others.
        let number = path.file_stem().and_then(|stem| stem.to_str()?.parse().ok()).unwrap_or(0);
        self.keys.push(HashSet::new());
        let logs = HashMap::new();
        self.files.push(JournalFile { number, file, path, position: len, len, logs, is_spoiled: false });
        Ok(())
    }

    /// The sequence that the next record must have at least.
    pub(in crate::filesystem) fn next_sequence(&self) -> u64 {
        self.records.last().map_or(1, |last| last.header.sequence + 1)
    }

    /// Shows all records to `visit`: sequence, marks, entries by log. Those that are damaged are left out, and their
    /// bytes kept aside: the files are going to be written over. Those of the last round, or of one that failed, may
    /// never have been synced: they are made durable, since from now on they count.
    pub(in crate::filesystem) fn visit(
        &mut self,
        disk: &dyn Disk,
        progress: &Progress,
        mut visit: impl FnMut(u64, &[Mark], Vec<(LogKey, Vec<Entry>)>) -> Result<(), StorageError>,
    ) -> Result<Aside, StorageError> {
        let (mut last_round, mut doubtful, mut last_marked) = (Vec::new(), Vec::new(), None);
        let mut next = None;
        for found in &self.records {
            // A sequence is missing behind a round that has failed.
            if next.replace(found.header.sequence + 1) != Some(found.header.sequence) {
                doubtful.append(&mut last_round);
            }
            let JournalFile { file, path, .. } = &self.files[found.file];
            let body = read_body(&**file, found.position, &found.header)
                .map_err(|error| StorageError::unreadable(path, found.position, error))?;
            progress.read(found.header.len as u64);
            match found.header.decode(body.freeze(), self.salt) {
                Some(RecordBody { marks, sections }) => {
                    self.keys[found.file].extend(marks.iter().map(|mark| mark.key));
                    self.keys[found.file].extend(sections.iter().map(|(key, _)| *key));
                    visit(found.header.sequence, &marks, sections)?;
                    // The first record of a round says what the one before made durable.
                    if !marks.is_empty() {
                        last_round.clear();
                        last_marked = Some(found.header.sequence);
                    }
                    last_round.push(found);
                }
                None => self.bad.push(BadBytes {
                    path: path.clone(),
                    file: file.clone(),
                    range: found.position..found.position + found.header.len as u64,
                    sequence: found.header.sequence,
                }),
            }
        }
        for found in doubtful.into_iter().chain(last_round) {
            let JournalFile { file, path, .. } = &self.files[found.file];
            durable::rewrite(
                &**file,
                path,
                found.position..found.position + found.header.len as u64,
                durable::WhenFull::GoOn,
            )?;
        }
        keep_all(disk, &self.bad, last_marked)
    }

    /// The log has entries that are in these files only.
    pub(in crate::filesystem) fn note(&mut self, log: &Arc<FileLog>) {
        let state = log.state();
        if state.behind_bytes > 0 {
            let upto = state.durable.index;
            drop(state);
            self.files.iter_mut().for_each(|file| file.note(log, upto));
        }
    }

    /// The files: those that speak of these logs only, to be emptied and used again, and the others.
    pub(in crate::filesystem) fn split_files(
        self,
        is_known: impl Fn(&LogKey) -> bool,
    ) -> (Vec<JournalFile>, Vec<JournalFile>) {
        let (known, others): (Vec<_>, Vec<_>) =
            self.files.into_iter().zip(self.keys).partition(|(_, keys)| keys.iter().all(&is_known));
        let files = |list: Vec<(JournalFile, _)>| list.into_iter().map(|(file, _)| file).collect();
        (files(known), files(others))
    }

    /// The files, to be emptied and used again.
    pub(in crate::filesystem) fn into_files(self) -> Vec<JournalFile> {
        self.files
    }
}

/// Reads what follows the header of the record at a position.
pub(in crate::filesystem) fn read_body(
    file: &dyn DiskFile,
    position: u64,
    header: &RecordHeader,
) -> io::Result<BytesMut> {
    let mut body = BytesMut::zeroed(header.len - HEADER_LEN);
    durable::read_exact_at(file, &mut body, position + HEADER_LEN as u64)?;
    Ok(body)
}

/// Looks for a record on each page that is not inside another one.
pub(in crate::filesystem) fn find_records(
    file: &dyn DiskFile,
    len: u64,
    salt: Salt,
) -> io::Result<impl Iterator<Item = (u64, RecordHeader)> + use<>> {
    let mut records = Vec::new();
    let mut position = 0;
    while position + PAGE_LEN <= len {
        let mut header = [0; HEADER_LEN];
        durable::read_exact_at(file, &mut header, position)?;
        let found = RecordHeader::parse(&header, salt).filter(|header| header.len as u64 <= len - position);
        position += match found {
            Some(header) => {
                records.push((position, header));
                (header.len as u64).next_multiple_of(PAGE_LEN)
            }
            None => PAGE_LEN,
        };
    }
    Ok(records.into_iter())
}
