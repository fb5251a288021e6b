//! [`GroupCommit`]: a buffer, write, fdatasync, tell everybody.

use std::{
    fs::File,
    io::{self, IoSlice, Write},
    path::Path,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::JoinHandle,
};

use bytes::Bytes;

use crate::load::Done;

/// Larger appends are written from where they are, smaller ones are copied together first.
const COPIED_MAX: usize = 16 * 1024;
/// Bytes that one call writes: whoever writes much more takes memory that the host of a virtual machine has taken back. The
/// log does not either.
const WRITE_BYTES_MAX: usize = 1024 * 1024;

/// The least that group commit takes: one file, one thread that writes what waits, syncs it and answers.
#[derive(Debug)]
pub(crate) struct GroupCommit {
    shared: Arc<Shared>,
    committer: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    ready: Condvar,
}

/// What waits for the disk.
#[derive(Default)]
struct Waiting {
    copied: Vec<u8>,
    large: Vec<Bytes>,
    producers: Vec<Done>,
    closed: bool,
}

impl GroupCommit {
    /// Onto a new file in a directory.
    pub(crate) fn create(dir: &Path) -> io::Result<GroupCommit> {
        let file = File::create(dir.join("bare"))?;
        let shared = Arc::new(Shared::default());
        let committer = std::thread::spawn({
            let shared = shared.clone();
            move || shared.commit(file)
        });
        Ok(GroupCommit { shared, committer: Some(committer) })
    }

    /// Tells `done` once the bytes are on the disk.
    pub(crate) fn append(&self, bytes: &Bytes, done: Done) {
        let mut waiting = self.shared.lock();
        if bytes.len() <= COPIED_MAX {
            waiting.copied.extend_from_slice(bytes);
        } else {
            waiting.large.push(bytes.clone());
        }
        waiting.producers.push(done);
        drop(waiting);
        self.shared.ready.notify_one();
    }
}

impl Drop for GroupCommit {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.ready.notify_one();
        if let Some(committer) = self.committer.take() {
            // It has told the producers what went wrong.
            let _ = committer.join();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn commit(&self, mut file: File) {
        // Kept from group to group: growing a buffer anew each time is no limit of the machine.
        let mut spare = Vec::new();
        loop {
            let mut waiting = self.lock();
            while waiting.producers.is_empty() {
                if waiting.closed {
                    return;
                }
                waiting = self.ready.wait(waiting).unwrap_or_else(PoisonError::into_inner);
            }
            let mut copied = std::mem::replace(&mut waiting.copied, std::mem::take(&mut spare));
            let large = std::mem::take(&mut waiting.large);
            let producers = std::mem::take(&mut waiting.producers);
            drop(waiting);
            let outcome = write(&mut file, &copied, &large).and_then(|()| file.sync_data());
            let outcome = outcome.map_err(|error| error.to_string());
            producers.into_iter().for_each(|done| done(outcome.clone()));
            copied.clear();
            spare = copied;
        }
    }
}

fn write(file: &mut File, copied: &[u8], large: &[Bytes]) -> io::Result<()> {
    let parts = [copied].into_iter().chain(large.iter().map(|bytes| &bytes[..]));
    let mut slices: Vec<IoSlice<'_>> =
        parts.flat_map(|part| part.chunks(WRITE_BYTES_MAX)).map(IoSlice::new).collect();
    let mut slices = &mut slices[..];
    while !slices.is_empty() {
        let mut bytes = 0;
        let is_within = |slice: &&IoSlice<'_>| {
            bytes += slice.len();
            bytes <= WRITE_BYTES_MAX
        };
        let count = slices.iter().take_while(is_within).count();
        let written = file.write_vectored(&slices[..count])?;
        IoSlice::advance_slices(&mut slices, written);
    }
    Ok(())
}

impl std::fmt::Debug for Waiting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Waiting").field("producers", &self.producers.len()).finish_non_exhaustive()
    }
}
