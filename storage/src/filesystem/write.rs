//! Writing: from the pending appends to the end of the last segment.

use std::{
    fs::File,
    io::{self, IoSlice},
    path::{Path, PathBuf},
    sync::Arc,
};

use minikafka_record::Offset;

use super::{
    durable,
    flusher::Written,
    frame::{FRAME_HEADER_LEN, Salt, encode_header, frame_len},
    handles::{Handles, SegmentKey},
    log::FileLog,
    segment::{Segment, SegmentHeader},
    state::Append,
};
use crate::{Entry, StorageError, run::memory_bytes};

/// Slices that one call may write; the system's own limit is 1024.
const SLICES_MAX: usize = 1024;

/// The place that a run of appends goes to.
struct Target {
    key: SegmentKey,
    file: Arc<File>,
    path: PathBuf,
    salt: Salt,
    position: u64,
}

/// Why appends were not written.
enum WriteError {
    /// Nothing was changed: the next ones may be.
    Refused(StorageError),
    /// A write or a sync failed: nobody knows what the disk holds.
    Failed(StorageError),
}

impl Target {
    fn new(segment: &Segment, handles: &Handles) -> Result<Target, StorageError> {
        Ok(Target {
            key: segment.key,
            file: segment.file(handles)?,
            path: segment.path.clone(),
            salt: segment.header.salt,
            position: segment.end().position,
        })
    }
}

impl FileLog {
    /// Writes what is pending. Only the flusher calls this. `None` when nothing needs a sync.
    pub(super) fn write_pending(self: Arc<Self>) -> Option<Written> {
        let files = self.lock_files();
        let (mut pending, durable) = self.state().take_pending();
        let bytes = pending.iter().flat_map(|append| &append.entries).map(memory_bytes).sum();
        let mut last = None;
        while !pending.is_empty() {
            match self.write_run(&mut pending, durable) {
                Ok(target) => last = Some(target),
                Err(WriteError::Refused(error)) => {
                    let due = self.state().unappend(pending);
                    due.fail(&error);
                    break;
                }
                Err(WriteError::Failed(error)) => {
                    let due = self.state().unappend(pending);
                    self.poison(&error);
                    due.fail(&error);
                    // What was written before is not synced any more, either.
                    return None;
                }
            }
        }
        let upto = self.state().written;
        drop(files);
        last.map(|Target { key, file, path, .. }| Written { log: self, key, file, path, upto, bytes })
    }

    /// Writes as many appends as fit into the last segment, and takes them off the front of `pending`. On an
    /// error nothing of them is in the file.
    fn write_run(&self, pending: &mut Vec<Append>, durable: Offset) -> Result<Target, WriteError> {
        let target = self.target()?;
        let room = self.shared.options.segment_bytes.saturating_sub(target.position);
        let mut bytes = 0;
        let count = pending
            .iter()
            .take_while(|append| {
                let fits = bytes < room;
                bytes += append.entries.iter().map(frame_len).sum::<u64>();
                fits
            })
            .count();
        // A new segment takes at least one append, however large.
        let run: Vec<Append> = pending.drain(..count.max(1)).collect();
        let entries: Vec<&Entry> = run.iter().flat_map(|append| &append.entries).collect();
        if let Err(error) = write_frames(&target, &entries, durable) {
            pending.splice(..0, run);
            return Err(take_back(&target, error));
        }
        self.state().wrote(run);
        Ok(target)
    }

    /// The last segment, or a new one when it is full.
    fn target(&self) -> Result<Target, WriteError> {
        if let Some(active) = self.active().map_err(WriteError::Refused)? {
            if active.position < self.shared.options.segment_bytes {
                return Ok(active);
            }
            self.seal(&active).map_err(WriteError::Failed)?;
        }
        self.begin_segment().map_err(WriteError::Refused)
    }

    /// The last segment, if there is one.
    fn active(&self) -> Result<Option<Target>, StorageError> {
        let state = self.state();
        state.segments.last().map(|segment| Target::new(segment, &self.shared.handles)).transpose()
    }

    fn begin_segment(&self) -> Result<Target, StorageError> {
        let salt = Salt::random()?;
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
        let segment = Segment::create(&self.dir, header, &self.shared.handles)?;
        let target = Target::new(&segment, &self.shared.handles)?;
        self.state().segments.push(segment);
        Ok(target)
    }

    /// Makes a full segment durable, whatever the policy: only the last segment of a log can have a torn
    /// tail.
    fn seal(&self, full: &Target) -> Result<(), StorageError> {
        durable::sync_data(&full.file, &full.path)?;
        let (index, path, header) = {
            let mut state = self.state();
            let written = state.written;
            state.synced(written);
            let Some(last) = state.segments.last() else { return Ok(()) };
            (last.index.clone(), last.index_path(), last.header)
        };
        if let Err(error) = index.store(&path, &header) {
            tracing::warn!(?path, %error, "index not written, it will be rebuilt when the log is opened");
        }
        Ok(())
    }
}

/// Takes a part of a run off the file again, so that a full disk leaves nothing half written.
fn take_back(target: &Target, error: io::Error) -> WriteError {
    if let Err(error) = target.file.set_len(target.position) {
        return WriteError::Failed(StorageError::io("cutting", &target.path, error));
    }
    match durable::io_or_full("writing", &target.path, error) {
        full @ StorageError::Full(_) => WriteError::Refused(full),
        failed => WriteError::Failed(failed),
    }
}

/// Writes the frames of `entries` to the end of the target, with few calls and no copies.
fn write_frames(target: &Target, entries: &[&Entry], durable: Offset) -> io::Result<()> {
    let mut position = target.position;
    for chunk in entries.chunks(SLICES_MAX / 2) {
        let headers: Vec<[u8; FRAME_HEADER_LEN]> =
            chunk.iter().map(|entry| encode_header(entry, durable, target.salt)).collect();
        let mut slices: Vec<IoSlice<'_>> = headers
            .iter()
            .zip(chunk)
            .flat_map(|(header, entry)| [IoSlice::new(header), IoSlice::new(&entry.payload)])
            .collect();
        position += write_all_vectored_at(&target.file, &mut slices, position)?;
    }
    Ok(())
}

fn write_all_vectored_at(file: &File, mut slices: &mut [IoSlice<'_>], position: u64) -> io::Result<u64> {
    let mut done = 0;
    // Skips empty slices at the front, which would look like an end.
    IoSlice::advance_slices(&mut slices, 0);
    while !slices.is_empty() {
        match rustix::io::pwritev(file, slices, position + done) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                done += written as u64;
                IoSlice::advance_slices(&mut slices, written);
            }
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(done)
}

/// Cuts a file to `len` bytes, durably.
pub(super) fn cut(file: &File, path: &Path, len: u64) -> Result<(), StorageError> {
    file.set_len(len).map_err(|error| StorageError::io("cutting", path, error))?;
    durable::sync_data(file, path)
}
