//! [`Verifier`], which reads everything once.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use super::{
    Event, Finding, Inspection, Severity, Totals,
    journal::JournalFiles,
    list,
    log::LogCheck,
    points::Points,
    small_files,
    walk::{Place, Step, Walk},
};
use crate::{
    LogId, StorageError,
    filesystem::{
        directory::JOURNAL,
        disk::OpenMode,
        index::SegmentIndex,
        journal::{LogKey, RecordBody},
        recovery::{self, Files, Found},
        segment::{INDEX_SUFFIX, SEGMENT_HEADER_LEN, Segment, SegmentHeader},
    },
};

/// Progress is said again after so many bytes.
const PROGRESS_BYTES: u64 = 1024 * 1024;

/// See [`Inspection::verify`].
pub(super) struct Verifier<'a, F> {
    inspection: &'a Inspection,
    seen: F,
    totals: Totals,
    done: u64,
    said: u64,
}

impl<'a, F: FnMut(Event)> Verifier<'a, F> {
    pub(super) fn new(inspection: &'a Inspection, seen: F) -> Result<Verifier<'a, F>, StorageError> {
        let mut verifier = Verifier { inspection, seen, totals: Totals::default(), done: 0, said: 0 };
        let mut dirs = inspection.log_dirs()?;
        dirs.extend([inspection.root.clone(), inspection.root.join(JOURNAL)]);
        for dir in dirs {
            verifier.totals.bytes += verifier.files(&dir)?.iter().map(|path| verifier.len(path)).sum::<u64>();
        }
        Ok(verifier)
    }

    pub(super) fn run(mut self) -> Result<Totals, StorageError> {
        let Inspection { disk, root, .. } = self.inspection;
        self.say_progress();
        for place in small_files::marker_damage(&**disk, root) {
            self.found(Severity::Damage, None, place);
        }
        for place in small_files::strangers(&**disk, root)? {
            self.found(Severity::Note, None, place);
        }
        self.pass(&self.files(root)?);
        let mut logs = HashMap::new();
        for dir in self.inspection.log_dirs()? {
            if let Some(log) = self.log(&dir)? {
                logs.insert(log.manifest.key, log);
            }
        }
        let bad_record = self.journal(&mut logs)?;
        let mut logs: Vec<LogCheck> = logs.into_values().collect();
        logs.sort_by(|one, other| one.id().cmp(other.id()));
        for mut log in logs {
            let (entries, records) = log.conclude(bad_record.as_ref());
            self.totals.journaled_entries += entries;
            self.totals.records += records;
            self.say(&mut log);
        }
        self.done = self.totals.bytes;
        self.say_progress();
        Ok(self.totals)
    }

    /// Reads the log in `dir` by itself. `None` when nobody knows whose it is.
    fn log(&mut self, dir: &Path) -> Result<Option<LogCheck>, StorageError> {
        let disk = &*self.inspection.disk;
        let files = self.files(dir)?;
        let mut log = match small_files::manifest(disk, dir) {
            Ok((manifest, notes)) => {
                let mut log = LogCheck::new(manifest, dir);
                notes.into_iter().for_each(|place| log.note(place));
                log
            }
            Err(place) => {
                let what = format!("{}: nobody knows whose log this is, none of it can be read", place.what);
                self.found(Severity::Damage, None, Place { what, ..place });
                self.pass(&files);
                return Ok(None);
            }
        };
        self.totals.logs += 1;
        let (known, bad) = small_files::known_damage(disk, dir);
        bad.into_iter().for_each(|place| log.damage(place));
        log.know(&known);
        small_files::blob_damage(disk, &files).into_iter().for_each(|place| log.damage(place));
        small_files::leftovers(&files).into_iter().for_each(|place| log.note(place));
        let (_, others): (Vec<_>, Vec<_>) =
            files.into_iter().partition(|path| Segment::base_index_of(path).is_some());
        self.pass(&others);
        match recovery::list(dir, &log.manifest, disk) {
            Ok(segments) => self.segments(&mut log, segments),
            Err(error) => log.damage(Place::whole(dir, format!("its segments cannot be read: {error}"))),
        }
        self.say(&mut log);
        Ok(Some(log))
    }

    fn segments(&mut self, log: &mut LogCheck, Files { segments, void, unborn }: Files) {
        self.totals.segments += (segments.len() + void.len() + unborn.len()) as u64;
        for left in &unborn {
            log.note(Place::whole(
                &left.path,
                "it was being made and has no frames, the next start removes it",
            ));
            self.done += left.len;
        }
        let (found, cut): (Vec<_>, Vec<_>) =
            segments.into_iter().partition(|found| !log.is_truncated(found.base_index));
        for left in &cut {
            log.note(Place::whole(&left.path, "is being truncated, the next start removes it"));
            self.done += left.len;
        }
        let first = log.manifest.removed.next_index;
        let trimmed = found.windows(2).take_while(|pair| pair[1].base_index <= first).count();
        for left in void.iter().chain(&found[..trimmed]) {
            log.note(Place::whole(&left.path, "left over from what was removed, the next start removes it"));
            self.done += left.len;
        }
        let (mut is_first, count) = (true, found.len());
        for (at, segment) in found.iter().enumerate().skip(trimmed) {
            let (is_last, before) = (at + 1 == count, self.done);
            match &segment.header {
                Ok(_) if segment.is_ahead(&log.manifest) => {
                    log.damage(Place::at(&segment.path, 0, "the manifest is older than this segment"));
                }
                Ok(header) => {
                    log.segment(&segment.path, header, is_first, is_last);
                    is_first = false;
                    self.segment(log, segment, header, is_last);
                }
                Err(what) => log.suspect(Place::at(&segment.path, 0, what.clone())),
            }
            self.done = before + segment.len;
            self.say(log);
        }
    }

    fn segment(&mut self, log: &mut LogCheck, segment: &Found, header: &SegmentHeader, is_last: bool) {
        let mut points = self.points(log, segment, header, is_last);
        let before = self.done;
        let failed = |error| Place::whole(&segment.path, format!("cannot be read: {error}"));
        let walk = Walk::new(&*self.inspection.disk, segment, header, SEGMENT_HEADER_LEN);
        let mut walk = match walk {
            Ok(walk) => walk,
            Err(error) => return log.suspect(failed(error)),
        };
        loop {
            match walk.next() {
                Ok(Some(Step::Frame(frame))) if log.is_truncated(frame.entry.index) => {
                    points = None;
                    let what = "what comes from here on is being truncated, the next start cuts it off";
                    log.note(Place::at(&segment.path, frame.position, what));
                    break;
                }
                Ok(Some(Step::Frame(frame))) => {
                    self.totals.frames += 1;
                    if log.frame(&frame) {
                        self.totals.records += u64::from(frame.entry.record_count);
                        if let Some(points) = &mut points {
                            points.frame(frame.position, &frame.entry);
                        }
                    }
                }
                Ok(Some(Step::Bad { position, what })) => {
                    log.suspect(Place::at(&segment.path, position, what));
                    if let Some(points) = &mut points {
                        points.hole(position, walk.position());
                    }
                }
                Ok(None) => break,
                Err(error) => {
                    // What comes behind cannot be compared.
                    points = None;
                    log.suspect(failed(error));
                }
            }
            self.done = before + walk.position();
            if self.done >= self.said + PROGRESS_BYTES {
                self.say_progress();
            }
        }
        if let Some(mut points) = points {
            points.finish();
            points.wrong.into_iter().for_each(|place| log.damage(place));
        }
    }

    /// The stored index of a segment. A cache: that there is none, or no whole one, is worth a note.
    fn points(
        &self,
        log: &mut LogCheck,
        segment: &Found,
        header: &SegmentHeader,
        is_last: bool,
    ) -> Option<Points> {
        let path = segment.path.with_extension(INDEX_SUFFIX);
        let disk = &*self.inspection.disk;
        let Some(index) = SegmentIndex::load(disk, &path, header) else {
            if disk.open(&path, OpenMode::Existing).is_ok() {
                log.note(Place::whole(
                    &path,
                    "the index is damaged or not of this segment, it is built again",
                ));
            } else if !is_last {
                log.note(Place::whole(&path, "the index is missing, it is built again"));
            }
            return None;
        };
        let end = index.end();
        if log.manifest.truncating.is_some() {
            return None;
        }
        if is_last {
            log.mark(end.index, end.offset);
        }
        if !is_last && end.position != segment.len {
            log.note(Place::whole(&path, "the index is not that of the whole segment, it is built again"));
            return None;
        }
        Some(Points::new(path, &index, header))
    }

    /// Tells the logs what the journal holds of them. Gives the first record that is not whole.
    fn journal(&mut self, logs: &mut HashMap<LogKey, LogCheck>) -> Result<Option<Place>, StorageError> {
        let Inspection { disk, root, directory } = self.inspection;
        let dir = root.join(JOURNAL);
        let journal = JournalFiles::open(&**disk, &dir, directory.salt)?;
        for place in &journal.unreadable {
            self.found(Severity::Damage, None, place.clone());
        }
        let mut bad = journal.gaps();
        for found in &journal.records {
            let sequence = found.header.sequence;
            self.done += found.header.len as u64;
            match journal.read(found) {
                Ok(body) => {
                    self.totals.journal_records += 1;
                    tell(logs, sequence, body);
                }
                Err(place) => bad.push(place),
            }
            if self.done >= self.said + PROGRESS_BYTES {
                self.say_progress();
            }
        }
        for place in &bad {
            self.found(Severity::Note, None, place.clone());
        }
        Ok(journal.unreadable.into_iter().chain(bad).next())
    }

    /// The files in a directory, in order.
    fn files(&self, dir: &Path) -> Result<Vec<PathBuf>, StorageError> {
        let disk = &*self.inspection.disk;
        let mut files = list(disk, dir)?;
        files.retain(|path| !disk.is_dir(path));
        Ok(files)
    }

    /// Bytes of a file; none when it cannot be opened, which is found out when it is read.
    fn len(&self, path: &Path) -> u64 {
        let file = self.inspection.disk.open(path, OpenMode::Existing);
        file.and_then(|file| file.len()).unwrap_or(0)
    }

    /// These files are done with.
    fn pass(&mut self, files: &[PathBuf]) {
        self.done += files.iter().map(|path| self.len(path)).sum::<u64>();
    }

    fn say(&mut self, log: &mut LogCheck) {
        log.take_findings().into_iter().for_each(|finding| self.tell(finding));
    }

    fn found(&mut self, severity: Severity, log: Option<LogId>, place: Place) {
        let Place { path, position, what } = place;
        self.tell(Finding { severity, log, path, position, what, lost: None });
    }

    fn tell(&mut self, finding: Finding) {
        match finding.severity {
            Severity::Note => self.totals.notes += 1,
            Severity::Damage => self.totals.damages += 1,
        }
        self.totals.lost_records += finding.lost.as_ref().map_or(0, |lost| lost.end.since(lost.start));
        (self.seen)(Event::Found(finding));
    }

    fn say_progress(&mut self) {
        self.said = self.done;
        let done = self.done.min(self.totals.bytes);
        (self.seen)(Event::Progress { done, total: self.totals.bytes });
    }
}

/// As opening does it: what was truncated or removed since is void.
fn tell(logs: &mut HashMap<LogKey, LogCheck>, sequence: u64, body: RecordBody) {
    for mark in body.marks {
        if let Some(log) = logs.get_mut(&mark.key)
            // The mark speaks of the record before.
            && sequence > log.manifest.journal_from
        {
            log.mark(mark.index, mark.offset);
        }
    }
    for (key, entries) in body.sections {
        if let Some(log) = logs.get_mut(&key)
            && sequence >= log.manifest.journal_from
        {
            entries.iter().for_each(|entry| log.offer(entry));
        }
    }
}
