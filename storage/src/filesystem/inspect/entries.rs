//! [`Entries`], what a log holds, one entry after the other.

use std::{
    collections::VecDeque,
    io,
    path::{Path, PathBuf},
};

use minikafka_record::Offset;

use super::{
    Inspection,
    journal::{Found as FoundRecord, JournalFiles},
    walk::{Step, Walk},
};
use crate::{
    Entry, Index, LogId, StorageError,
    filesystem::{
        directory::JOURNAL,
        frame::frame_len,
        index::{Lookup, SegmentIndex},
        journal::LogKey,
        manifest::{Manifest, newest},
        recovery::{self, Found},
        segment::{INDEX_SUFFIX, SEGMENT_HEADER_LEN},
    },
};

/// An entry and where it is.
#[derive(Clone, Debug)]
pub struct Located {
    /// The entry; everything about it has been verified.
    pub entry: Entry,
    /// Where it is.
    pub location: Location,
    /// Bytes that it takes up there.
    pub bytes: u64,
}

/// Where an entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// In a segment.
    Segment {
        /// The file.
        path: PathBuf,
        /// Where its frame begins.
        position: u64,
        /// Everything below was known to be durable when it was written there.
        durable: Offset,
    },
    /// In the journal, and in no segment.
    Journal {
        /// The file.
        path: PathBuf,
        /// Where the record that holds it begins.
        position: u64,
        /// Sequence of that record.
        sequence: u64,
    },
}

/// The entries of a log: those in segments, then those that only the journal has. An error does not end it: after
/// damage it goes on with the next whole frame.
pub struct Entries<'a> {
    inspection: &'a Inspection,
    manifest: Manifest,
    from: Offset,
    segments: VecDeque<Found>,
    walk: Option<(Walk, PathBuf)>,
    /// Index behind the last entry of a segment.
    next: Index,
    /// Once all segments are read.
    journal: Option<Journaled>,
}

/// The entries of a log that only the journal has.
struct Journaled {
    files: JournalFiles,
    /// Records that hold any, and which, in order.
    records: VecDeque<(FoundRecord, Vec<Index>)>,
    ready: VecDeque<Located>,
}

impl Inspection {
    /// The entries of a log from the one on that holds `from`, or the next one.
    ///
    /// # Errors
    /// When there is no such log, or its files cannot be listed.
    pub fn entries(&self, log: &LogId, from: Offset) -> Result<Entries<'_>, StorageError> {
        for dir in self.log_dirs()? {
            let Ok(Some(slots)) = Manifest::load_slots(&*self.disk, &dir) else { continue };
            if let Ok((manifest, _)) = newest(slots)
                && manifest.id == *log
            {
                let recovery::Files { mut segments, .. } = recovery::list(&dir, &manifest, &*self.disk)?;
                segments.retain(|found| manifest.truncating.is_none_or(|from| found.base_index < from));
                let base = |found: &Found| found.header.as_ref().ok().map(|header| header.base_offset);
                // A segment that is followed by one that begins at or before the place has nothing to show.
                let skip = segments.iter().skip(1).filter_map(base).take_while(|base| *base <= from).count();
                let next = manifest.removed.next_index;
                let segments = segments.into_iter().skip(skip).collect();
                return Ok(Entries {
                    inspection: self,
                    manifest,
                    from,
                    segments,
                    walk: None,
                    next,
                    journal: None,
                });
            }
        }
        Err(StorageError::NotFound { log: log.to_string() })
    }
}

impl Entries<'_> {
    fn advance(&mut self) -> Result<Option<Located>, StorageError> {
        loop {
            if let Some((walk, path)) = &mut self.walk {
                match walk.next().map_err(|error| StorageError::io("reading", &*path, error))? {
                    // A truncation is under way.
                    Some(Step::Frame(frame))
                        if self.manifest.truncating.is_some_and(|from| frame.entry.index >= from) =>
                    {
                        self.walk = None;
                    }
                    Some(Step::Frame(frame)) => {
                        self.next = self.next.max(frame.entry.index + 1);
                        let (position, durable) = (frame.position, frame.durable);
                        let location = Location::Segment { path: path.clone(), position, durable };
                        return Ok(Some(located(frame.entry, location)));
                    }
                    Some(Step::Bad { position, what }) => {
                        return Err(StorageError::damaged(&*path, position, what));
                    }
                    None => self.walk = None,
                }
            } else if let Some(segment) = self.segments.pop_front() {
                let walk = self.walk(&segment)?;
                self.walk = Some((walk, segment.path));
            } else if let Some(journal) = &mut self.journal {
                return journal.advance(self.manifest.key);
            } else {
                self.journal = Some(Journaled::open(self.inspection, &self.manifest, self.next)?);
            }
        }
    }

    /// Begins where the index says that the first wanted entry may be.
    fn walk(&self, segment: &Found) -> Result<Walk, StorageError> {
        let disk = &*self.inspection.disk;
        let header = match &segment.header {
            Ok(header) => header,
            Err(what) => return Err(StorageError::damaged(&segment.path, 0, what.clone())),
        };
        let index = SegmentIndex::load(disk, &segment.path.with_extension(INDEX_SUFFIX), header);
        let position =
            index.map_or(SEGMENT_HEADER_LEN, |index| index.find(Lookup::Offset(self.from)).position);
        Walk::new(disk, segment, header, position)
            .map_err(|error: io::Error| StorageError::io("opening", &segment.path, error))
    }
}

impl Iterator for Entries<'_> {
    type Item = Result<Located, StorageError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.advance() {
                // One without records counts as at its offset.
                Ok(Some(located))
                    if located.entry.end_offset().max(located.entry.base_offset.plus(1)) <= self.from => {}
                outcome => return outcome.transpose(),
            }
        }
    }
}

impl std::fmt::Debug for Entries<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Entries").field("log", &self.manifest.id).finish_non_exhaustive()
    }
}

impl Journaled {
    /// Finds out which record holds each entry: the last one that has it, as opening the log does it.
    fn open(inspection: &Inspection, manifest: &Manifest, next: Index) -> Result<Journaled, StorageError> {
        let Inspection { disk, root, directory } = inspection;
        let files = JournalFiles::open(&**disk, &root.join(JOURNAL), directory.salt)?;
        let mut records: VecDeque<(FoundRecord, Vec<Index>)> = VecDeque::new();
        for found in files.records.iter().filter(|found| found.header.sequence >= manifest.journal_from) {
            // What is torn or damaged is for verifying to tell.
            let Ok(body) = files.read(found) else { continue };
            let sections = body.sections.into_iter().filter(|(key, _)| *key == manifest.key);
            let indexes = sections.flat_map(|(_, entries)| entries).map(|entry| entry.index);
            let indexes: Vec<Index> = indexes.filter(|index| *index >= next).collect();
            let Some(first) = indexes.first() else { continue };
            records.iter_mut().for_each(|(_, earlier)| earlier.retain(|index| index < first));
            records.retain(|(_, earlier)| !earlier.is_empty());
            records.push_back((*found, indexes));
        }
        Ok(Journaled { files, records, ready: VecDeque::new() })
    }

    fn advance(&mut self, key: LogKey) -> Result<Option<Located>, StorageError> {
        loop {
            if let Some(ready) = self.ready.pop_front() {
                return Ok(Some(ready));
            }
            let Some((found, indexes)) = self.records.pop_front() else { return Ok(None) };
            let path: &Path = self.files.path(&found);
            let damaged = |what: String| StorageError::damaged(path, found.position, what);
            let body = self.files.read(&found).map_err(|place| damaged(place.what))?;
            let sections = body.sections.into_iter().filter(|(found, _)| *found == key);
            let entries = sections.flat_map(|(_, entries)| entries);
            let location = Location::Journal {
                path: path.to_owned(),
                position: found.position,
                sequence: found.header.sequence,
            };
            let wanted = entries.filter(|entry| indexes.binary_search(&entry.index).is_ok());
            self.ready.extend(wanted.map(|entry| located(entry, location.clone())));
        }
    }
}

fn located(entry: Entry, location: Location) -> Located {
    let bytes = frame_len(&entry);
    Located { entry, location, bytes }
}
