//! Writing to segments: from the tail to the end of the last segment.

use std::{
    io::{self, IoSlice},
    path::PathBuf,
    sync::Arc,
};

use minikafka_record::Offset;

use super::{
    disk::DiskFile,
    durable,
    frame::{FRAME_HEADER_LEN, Salt, encode_header, frame_len},
    handles::SegmentKey,
    index::SegmentIndex,
    log::{FileLog, Files},
    segment::{Segment, SegmentHeader},
};
use crate::{Entry, Millis, StorageError, run::Next};

/// Slices that one call may write; the system's own limit is 1024.
const SLICES_MAX: usize = 1024;
/// Bytes taken out of the tail at a time.
const RUN_BYTES: usize = 8 * 1024 * 1024;
/// A segment with fewer bytes is not rolled for its age: there is little to be had by evicting it.
const AGED_BYTES_MIN: u64 = 64 * 1024;

/// Whether a new segment may be begun when the last one is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rolling {
    /// It may, which takes a few syncs.
    Allowed,
    /// It may not: then as much is written as goes into the last segment.
    Not,
}

/// The segment that entries go to.
struct Target {
    key: SegmentKey,
    file: Arc<dyn DiskFile>,
    path: PathBuf,
    salt: Salt,
    position: u64,
    /// Append time of its first entry.
    begun: Option<Millis>,
}

/// A file with bytes that are not synced.
pub(super) struct Unsynced {
    pub(super) key: SegmentKey,
    pub(super) file: Arc<dyn DiskFile>,
    pub(super) path: PathBuf,
}

/// Why entries were not written.
#[derive(Debug)]
pub(super) enum WriteError {
    /// Nothing was changed: the next ones may be.
    Refused(StorageError),
    /// A write or a sync failed: nobody knows what the disk holds.
    Failed(StorageError),
}

impl From<WriteError> for StorageError {
    fn from(error: WriteError) -> StorageError {
        match error {
            WriteError::Refused(error) | WriteError::Failed(error) => error,
        }
    }
}

impl FileLog {
    /// Writes the entries before `upto` to the end of the last segment. Returns the file that was written to
    /// last, if any; those before are sealed and synced.
    pub(super) fn write_out(
        &self,
        files: &Files<'_>,
        upto: Next,
        rolling: Rolling,
    ) -> Result<Option<Unsynced>, WriteError> {
        let mut last = None;
        loop {
            let (first, durable) = {
                let state = self.state();
                if state.written.index >= upto.index {
                    break;
                }
                // Of a log that was opened anew the files are no longer this one's to write.
                state.check_writable().map_err(WriteError::Failed)?;
                let Some(first) = state.tail.get(state.written.index) else {
                    // The log has failed or was removed meanwhile, and what was to be written is taken back.
                    let why = state
                        .closed
                        .clone()
                        .expect("the tail of a log that is open holds what is not written");
                    return Err(WriteError::Failed(why));
                };
                (first.append_time, state.durable.offset)
            };
            let Some(target) = self.target(files, first, rolling)? else { break };
            self.write_run(&target, upto, durable)?;
            last = Some(Unsynced { key: target.key, file: target.file, path: target.path });
        }
        Ok(last)
    }

    /// Writes as many entries as fit into the target; at least one.
    fn write_run(&self, target: &Target, upto: Next, durable: Offset) -> Result<(), WriteError> {
        let mut entries = {
            let state = self.state();
            state.tail.entries(state.written.index..upto.index, RUN_BYTES)
        };
        let room = self.shared.options.segment_bytes.saturating_sub(target.position);
        let mut bytes = 0;
        let fitting = entries.iter().take_while(|entry| {
            let fits = bytes < room;
            bytes += frame_len(entry);
            fits
        });
        let count = fitting.count().max(1);
        entries.truncate(count);
        write_frames(target, &entries, durable).map_err(|error| take_back(target, error))?;
        let written_bytes = {
            // One look: the flusher adds to it.
            let mut state = self.state();
            let before = state.behind_bytes;
            state.wrote(&entries, self.shared.options.segment_bytes);
            before - state.behind_bytes
        };
        self.shared.writer.wrote(written_bytes);
        Ok(())
    }

    /// The last segment, or a new one when it is full; `None` when that would be needed and may not be.
    fn target(
        &self,
        files: &Files<'_>,
        first: Millis,
        rolling: Rolling,
    ) -> Result<Option<Target>, WriteError> {
        if let Some(target) = self.last_target().map_err(WriteError::Refused)? {
            if !self.is_over(&target, first) {
                return Ok(Some(target));
            }
            if rolling == Rolling::Not {
                return Ok(None);
            }
            self.seal(files, &target).map_err(WriteError::Failed)?;
        } else if rolling == Rolling::Not {
            return Ok(None);
        }
        self.begin_segment()?;
        self.last_target().map_err(WriteError::Refused)
    }

    /// The last segment, if there is one that may be written to.
    fn last_target(&self) -> Result<Option<Target>, StorageError> {
        let found = {
            let state = self.state();
            state.segments.last().filter(|last| !last.is_sealed()).map(|last| {
                let (key, path) = (last.key, last.path.clone());
                (key, path, last.header.salt, last.end().position, last.begun())
            })
        };
        let Some((key, path, salt, position, begun)) = found else { return Ok(None) };
        let file = self.shared.handles.get(key, &path);
        let file = file.map_err(|error| durable::io_or_full("opening", &path, error))?;
        Ok(Some(Target { key, file, path, salt, position, begun }))
    }

    /// Whether an entry with this append time goes to another segment.
    fn is_over(&self, target: &Target, append_time: Millis) -> bool {
        let options = &self.shared.options;
        let is_aged = |age: std::time::Duration| {
            let begun = target.begun.unwrap_or(append_time);
            target.position >= AGED_BYTES_MIN
                && append_time.saturating_sub(begun) >= age.as_millis() as Millis
        };
        target.position >= options.segment_bytes || options.segment_age.is_some_and(is_aged)
    }

    fn begin_segment(&self) -> Result<(), WriteError> {
        let salt = Salt::random().map_err(WriteError::Refused)?;
        let header = {
            let state = self.state();
            SegmentHeader {
                generation: state.generation,
                base_index: state.written.index,
                base_offset: state.written.offset,
                epoch_before: state.written.epoch_min,
                salt,
            }
        };
        let segment = Segment::create(&self.dir, header, &self.shared)?;
        // Known before it is used: also one that cannot be opened then is cut back with the others.
        self.state().segments.push(segment);
        Ok(())
    }

    /// Makes a full segment durable, whatever the policy: only the last segment of a log can have a torn
    /// tail.
    fn seal(&self, _files: &Files<'_>, full: &Target) -> Result<(), StorageError> {
        self.sync_segment(&*full.file, &full.path)?;
        let sealed = {
            let mut state = self.state();
            let settled = self.settled(&state);
            state.synced(settled);
            let Some(last) = state.segments.last_mut() else { return Ok(()) };
            let (header, path) = (last.header, last.index_path());
            last.seal().map(|index: SegmentIndex| (index.encode(&header), path))
        };
        if let Some((content, path)) = sealed {
            self.store_index(&path, &content);
        }
        Ok(())
    }
}

/// Takes a part of a run off the file again, so that a full disk leaves nothing half written.
fn take_back(target: &Target, error: io::Error) -> WriteError {
    // Durably: what was refused must not come back.
    if let Err(error) = cut(&*target.file, &target.path, target.position) {
        return WriteError::Failed(error);
    }
    match durable::io_or_full("writing", &target.path, error) {
        full @ StorageError::Full(_) => WriteError::Refused(full),
        failed => WriteError::Failed(failed),
    }
}

/// Writes the frames of `entries` to the end of the target, with few calls and no copies.
fn write_frames(target: &Target, entries: &[Entry], durable: Offset) -> io::Result<()> {
    let mut position = target.position;
    // No frame speaks of what comes behind it: that may be truncated later.
    let known = |entry: &Entry| durable.min(entry.base_offset);
    for chunk in entries.chunks(SLICES_MAX / 2) {
        let headers: Vec<[u8; FRAME_HEADER_LEN]> =
            chunk.iter().map(|entry| encode_header(entry, known(entry), target.salt)).collect();
        let mut slices: Vec<IoSlice<'_>> = headers
            .iter()
            .zip(chunk)
            .flat_map(|(header, entry)| [IoSlice::new(header), IoSlice::new(&entry.payload)])
            .collect();
        position += durable::write_all_at(&*target.file, &mut slices, position)?;
    }
    Ok(())
}

/// Cuts a file to `len` bytes, durably.
pub(super) fn cut(file: &dyn DiskFile, path: &std::path::Path, len: u64) -> Result<(), StorageError> {
    file.set_len(len).map_err(|error| StorageError::io("cutting", path, error))?;
    durable::sync(file, path)
}
