//! [`GroupCommit`]: a buffer, write, fdatasync, tell everybody.

use std::{
    fs::File,
    io::{self, IoSlice, Seek, SeekFrom, Write},
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
/// Bytes of a file that is written over: more than are written at once, and no more than the system keeps in memory anyway.
const IN_PLACE_BYTES: usize = 64 * 1024 * 1024;
const PAGE_LEN: u64 = 4096;

/// The least that group commit takes: one file, one thread that writes what waits, syncs it and answers. The file grows, as
/// a log does, or does not.
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
        GroupCommit::start(File::create(dir.join("bare"))?, None)
    }

    /// Over the same bytes of a new file again and again, which are there already: of all that is synced this is the
    /// cheapest, and no log, which keeps what it gets.
    pub(crate) fn in_place(dir: &Path) -> io::Result<GroupCommit> {
        let mut file = File::create(dir.join("bare"))?;
        // No zeros: there are file systems that give those no room.
        let ones = vec![1; WRITE_BYTES_MAX];
        (0..IN_PLACE_BYTES / WRITE_BYTES_MAX).try_for_each(|_| file.write_all(&ones))?;
        file.sync_all()?;
        GroupCommit::start(file, Some(IN_PLACE_BYTES))
    }

    fn start(file: File, in_place: Option<usize>) -> io::Result<GroupCommit> {
        let shared = Arc::new(Shared::default());
        let committer = std::thread::spawn({
            let shared = shared.clone();
            move || shared.commit(file, in_place)
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

    fn commit(&self, mut file: File, in_place: Option<usize>) {
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
            let len = copied.len() + large.iter().map(Bytes::len).sum::<usize>();
            let begun = in_place.map_or(Ok(()), |bytes| rewind(&mut file, bytes, len));
            let written = begun.and_then(|()| write(&mut file, &copied, &large));
            let outcome = written.and_then(|()| file.sync_data());
            let outcome = outcome.map_err(|error| error.to_string());
            producers.into_iter().for_each(|done| done(outcome.clone()));
            copied.clear();
            spare = copied;
        }
    }
}

/// Goes to the next page of a file of so many bytes, or to the first where a group of `len` bytes would make it longer.
fn rewind(file: &mut File, bytes: usize, len: usize) -> io::Result<()> {
    let position = file.stream_position()?.next_multiple_of(PAGE_LEN);
    let is_within = position + len as u64 <= bytes as u64;
    file.seek(SeekFrom::Start(if is_within { position } else { 0 }))?;
    Ok(())
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
