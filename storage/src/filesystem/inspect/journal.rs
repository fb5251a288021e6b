//! [`JournalFiles`], the journal as it is read by those who change nothing.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::BytesMut;

use super::{list, walk::Place};
use crate::{
    StorageError,
    filesystem::{
        disk::{Disk, DiskFile, OpenMode},
        frame::Salt,
        journal::{RecordBody, RecordHeader, SUFFIX, find_records, read_body},
    },
};

/// The files of the journal, and where their records lie.
pub(super) struct JournalFiles {
    salt: Salt,
    files: Vec<(PathBuf, Arc<dyn DiskFile>)>,
    /// In the order of their sequence.
    pub(super) records: Vec<Found>,
    /// What is wrong with the files themselves.
    pub(super) unreadable: Vec<Place>,
}

/// A record whose header is whole.
#[derive(Clone, Copy)]
pub(super) struct Found {
    pub(super) header: RecordHeader,
    pub(super) position: u64,
    file: usize,
}

impl JournalFiles {
    /// Looks for records in all files of a directory.
    pub(super) fn open(disk: &dyn Disk, dir: &Path, salt: Salt) -> Result<JournalFiles, StorageError> {
        let mut journal =
            JournalFiles { salt, files: Vec::new(), records: Vec::new(), unreadable: Vec::new() };
        for path in list(disk, dir)?.into_iter().filter(|path| is_journal(path)) {
            let read = || {
                let file = disk.open(&path, OpenMode::Existing)?;
                let records: Vec<_> = find_records(&*file, file.len()?, salt)?.collect();
                Ok::<_, std::io::Error>((file, records))
            };
            match read() {
                Ok((file, records)) => {
                    let at = journal.files.len();
                    let found = records.into_iter();
                    journal.records.extend(found.map(|(position, header)| Found {
                        header,
                        position,
                        file: at,
                    }));
                    journal.files.push((path, file));
                }
                Err(error) => {
                    let what = format!("cannot be read: {error}");
                    journal.unreadable.push(Place::whole(&path, what));
                }
            }
        }
        journal.records.sort_by_key(|found| found.header.sequence);
        Ok(journal)
    }

    pub(super) fn path(&self, found: &Found) -> &Path {
        &self.files[found.file].0
    }

    /// The content of a record.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn read(&self, found: &Found) -> Result<RecordBody, Place> {
        let (path, file) = &self.files[found.file];
        let body = read_body(&**file, found.position, &found.header)
            .map_err(|error| Place::at(path, found.position, format!("cannot be read: {error}")))?;
        found.header.decode(BytesMut::freeze(body), self.salt).ok_or_else(|| {
            let what = format!("record {} of the journal is torn or damaged", found.header.sequence);
            Place::at(path, found.position, what)
        })
    }

    /// Where in a file a record is missing between two others, by their sequences.
    pub(super) fn gaps(&self) -> Vec<Place> {
        let mut by_place: Vec<&Found> = self.records.iter().collect();
        by_place.sort_by_key(|found| (found.file, found.position));
        let pairs = by_place.windows(2).filter_map(|pair| {
            let ([first, second], true) = ([pair[0], pair[1]], pair[0].file == pair[1].file) else {
                return None;
            };
            // What follows with a smaller sequence is left over from an earlier use of the file.
            let is_gap = second.header.sequence > first.header.sequence + 1;
            let what = format!(
                "records {} to {} of the journal are missing before this one",
                first.header.sequence + 1,
                second.header.sequence.saturating_sub(1)
            );
            is_gap.then(|| Place::at(self.path(second), second.position, what))
        });
        pairs.collect()
    }
}

/// Whether it is named as the files of the journal are.
pub(super) fn is_journal(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == SUFFIX)
}
