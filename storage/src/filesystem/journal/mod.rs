//! The journal: one place where small appends of many logs become durable with one sync.
//!
//! ```text
//!   a round of the flusher                       later, the writer
//!   log 1: 3 entries  \                           \
//!   log 2: 1 entry     > one record, one sync      > written to the segments of each log, synced at leisure:
//!   log 7: 8 entries  /      |                    /  then the record has no purpose any more
//!                            v
//!   journal/000.journal  | record | record | record |    | <- next one
//!   journal/001.journal  | of last time, to be overwritten     |
//! ```
//!
//! Syncing the segment of each log costs one sync for each; with a thousand logs that is all the disk can do.
//! The journal costs one, and a second write of the same bytes; so what is large goes straight to its segment
//! (see module `flusher`), and only what is small comes here, by itself or with all that waits.
//!
//! Files are reused in place once every log that has entries in them has them in synced segments. Writing over
//! blocks that are there is faster to sync than growing a file, because only the bytes have to reach the disk.
//! A record begins on a page of its own, so what is durable is never written again.
//!
//! - **Invariant:** a record is written only after the sync of the one before; so of all records only those of
//!   the last round can be torn. After a round that failed, a sequence is left out: what was in it is as doubtful as
//!   the last round is.
//! - **Invariant:** a file is not reused before everything in it is durable elsewhere, or void; and never after a
//!   write or a sync of it has failed.
//!
//! When that happens, or the next file cannot be made, the logs that had a part in the round fail, and the others go
//! on without a journal for a while, so that a disk that is broken for good does not fail them all in turn. Then it
//! begins anew, in new files; the old ones go once the segments have what was durable in them.
//!
//! Opening a storage reads all records in the order of their sequence and hands their entries to the logs,
//! which take those that continue them. What is older than a log's segments is skipped, and what was truncated
//! or removed is void: the manifest names the first record that counts. A record that is not whole is left out, and
//! its bytes are kept aside in a file of its own beside the journal, before they are written over: in one that ends in
//! `.torn` when it may never have been durable, and in `.damaged` when it was.

mod bad;
mod record;
mod replay;

use std::{
    collections::HashMap,
    io::IoSlice,
    path::PathBuf,
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use self::record::RecordBuilder;
pub(super) use self::{
    record::{Mark, PAGE_LEN, RecordBody, RecordHeader},
    replay::{Aside, Replay, find_records, read_body},
};
use super::{
    disk::{Disk, DiskFile, OpenMode},
    durable,
    frame::Salt,
    log::FileLog,
    state::Taken,
    writer_queue::WriterQueue,
};
use crate::{Index, StorageError};

/// A record takes no more logs once it has this many bytes, or those of a whole file.
const RECORD_BYTES: usize = 4 * 1024 * 1024;
/// A file grows by so much at a time, in zeros: most syncs then have only bytes to write and no new length,
/// which takes a third less time. Not more, for the sync that has to write the zeros.
const GROWTH_BYTES: u64 = 64 * 1024;
/// A buffer that has grown beyond this is given back.
const BUFFER_KEPT: usize = 1024 * 1024;
pub(super) const SUFFIX: &str = "journal";

/// Which log, in a record: random bytes that its manifest names. A log that is removed and made again gets others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct LogKey(pub(super) [u8; 16]);

/// One file of the journal.
pub(super) struct JournalFile {
    /// What it is named by.
    pub(super) number: usize,
    file: Arc<dyn DiskFile>,
    path: PathBuf,
    /// Where the next record goes.
    position: u64,
    /// Bytes that are there to be written over.
    len: u64,
    /// Logs with entries in it, and the index behind the last one.
    pub(super) logs: HashMap<LogKey, (Weak<FileLog>, Index)>,
    /// Whether a write or a sync of it has failed: nobody knows what is in it, and nothing is written to it again.
    pub(super) is_spoiled: bool,
}

impl JournalFile {
    /// Nothing in it counts any more.
    pub(super) fn empty(&mut self) {
        self.logs.clear();
        self.position = 0;
    }

    /// Nobody needs it any more. If it stays, the next start empties it.
    pub(super) fn remove(self, disk: &dyn Disk) {
        if let Err(error) = durable::remove_file(disk, &self.path) {
            tracing::warn!(%error, "a spoiled file of the journal stays");
        }
    }

    fn note(&mut self, log: &Arc<FileLog>, upto: Index) {
        self.logs.insert(log.key, (Arc::downgrade(log), upto));
    }
}

/// What a round brings of one log.
pub(super) struct Part {
    pub(super) log: Arc<FileLog>,
    pub(super) taken: Taken,
}

/// The end of the journal, which the flusher writes to.
pub(super) struct Journal {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    salt: Salt,
    file_bytes: u64,
    writer: Arc<WriterQueue>,
    /// Sequence of the next record.
    next: Arc<AtomicU64>,
    active: Option<JournalFile>,
    /// Files written to in this round and not synced, beside the active one.
    unsynced: Vec<JournalFile>,
    is_dirty: bool,
    /// What the last round made durable, to be said in the next record.
    marks: Vec<Mark>,
    buffer: Vec<u8>,
    /// When a write or a sync has failed; nothing is written for a while then.
    failed: Option<Instant>,
    pause: Duration,
}

/// How far the journal came.
pub(super) enum Written {
    /// All of it.
    All,
    /// So many parts; there is no file for more.
    UpTo(usize),
    /// So many parts, for this reason.
    Failed(usize, StorageError),
}

impl Journal {
    pub(super) fn new(
        disk: Arc<dyn Disk>,
        dir: PathBuf,
        salt: Salt,
        file_bytes: u64,
        pause: Duration,
        writer: Arc<WriterQueue>,
        next: Arc<AtomicU64>,
    ) -> Journal {
        Journal {
            disk,
            dir,
            salt,
            file_bytes,
            writer,
            next,
            active: None,
            unsynced: Vec::new(),
            is_dirty: false,
            marks: Vec::new(),
            buffer: Vec::new(),
            failed: None,
            pause,
        }
    }

    /// Whether anything can be written now.
    pub(super) fn is_usable(&mut self) -> bool {
        if let Some(failed) = self.failed
            && failed.elapsed() >= self.pause
        {
            self.give_up_files();
            self.failed = None;
        }
        self.failed.is_none() && self.file_bytes > 0
    }

    /// After a failure of the disk nobody knows what is in the files that are open.
    fn fail(&mut self) {
        self.failed = Some(Instant::now());
        self.give_up_files();
        self.is_dirty = false;
        self.marks.clear();
        // The record that failed may have taken no sequence yet; behind it, one is missing.
        self.next.fetch_add(2, Ordering::AcqRel);
    }

    fn give_up_files(&mut self) {
        self.unsynced.drain(..).chain(self.active.take()).for_each(|file| self.writer.push_spoiled(file));
    }

    /// Whether a write or a sync failed.
    pub(super) fn has_failed(&self) -> bool {
        self.failed.is_some()
    }

    /// Writes parts of a round; they are durable after the next [`sync`](Journal::sync).
    pub(super) fn write(&mut self, parts: &[Part]) -> Written {
        let mut done = 0;
        while done < parts.len() {
            // Said once: a later record may follow a truncation.
            let marks = if done == 0 { &self.marks[..] } else { &[] };
            let mut record = RecordBuilder::new(std::mem::take(&mut self.buffer), marks, self.salt);
            let mut end = done;
            let bytes_max = RECORD_BYTES.min(self.file_bytes as usize);
            // One at least: marks of many logs may be all that a small file holds.
            while end < parts.len() && (end == done || record.len() < bytes_max) {
                let Part { log, taken } = &parts[end];
                let state = log.state();
                let entries = state.tail.entries(taken.from.index..taken.upto.index, usize::MAX);
                let durable = state.durable.offset;
                drop(state);
                record.push(log.key, &entries, durable);
                end += 1;
            }
            match self.write_record(record, &parts[done..end]) {
                Ok(true) => done = end,
                Ok(false) => return Written::UpTo(done),
                Err(error) => return Written::Failed(done, error),
            }
        }
        Written::All
    }

    /// Writes a record; says whether there was a file for it.
    fn write_record(&mut self, record: RecordBuilder, parts: &[Part]) -> Result<bool, StorageError> {
        let record = record.finish(self.next.load(Ordering::Acquire));
        let fits = self.make_room(record.len() as u64);
        let outcome = match fits {
            Ok(true) => self.append(&record),
            other => other,
        };
        self.buffer = record;
        if self.buffer.capacity() > BUFFER_KEPT {
            self.buffer = Vec::new();
        }
        // A full disk has changed nothing. After any other error, of a file that could not be made for one, nobody
        // knows.
        let is_written = outcome.inspect_err(|error| {
            if !matches!(error, StorageError::Full(_)) {
                self.fail();
            }
        })?;
        if !is_written {
            return Ok(false);
        }
        self.next.fetch_add(1, Ordering::AcqRel);
        let active = self.active.as_mut().expect("it was just written to");
        parts.iter().for_each(|part| active.note(&part.log, part.taken.upto.index));
        Ok(true)
    }

    fn append(&mut self, record: &[u8]) -> Result<bool, StorageError> {
        let Some(active) = &mut self.active else { return Ok(false) };
        let end = active.position + record.len() as u64;
        durable::write_all_at(&*active.file, &mut [IoSlice::new(record)], active.position)
            .map_err(|error| durable::io_or_full("writing", &active.path, error))?;
        active.position = end;
        self.is_dirty = true;
        if end > active.len {
            active.len = end;
            if !grow(active, self.file_bytes) {
                // The record itself is there, to be synced.
                self.failed = Some(Instant::now());
            }
        }
        Ok(true)
    }

    /// Sees to it that the active file takes so many bytes; says whether there is such a file.
    fn make_room(&mut self, bytes: u64) -> Result<bool, StorageError> {
        if let Some(active) = &self.active {
            // A file takes at least one record.
            if active.position == 0 || active.position + bytes <= self.file_bytes {
                return Ok(true);
            }
        }
        let Some(next) = self.next_file()? else { return Ok(false) };
        if let Some(full) = self.active.replace(next) {
            if self.is_dirty { self.unsynced.push(full) } else { self.writer.push_full(full) }
        }
        Ok(true)
    }

    /// A file that may be written over, or a new one.
    fn next_file(&mut self) -> Result<Option<JournalFile>, StorageError> {
        if let Some(free) = self.writer.take_free() {
            return Ok(Some(free));
        }
        let Some(number) = self.writer.new_file() else { return Ok(None) };
        let path = self.dir.join(format!("{number:03}.{SUFFIX}"));
        let create = self.disk.open(&path, OpenMode::Create);
        let created =
            create.map_err(|error| durable::io_or_full("creating", &path, error)).and_then(|file| {
                durable::sync_dir(&*self.disk, &self.dir)?;
                let logs = HashMap::new();
                Ok(JournalFile { number, file, path, position: 0, len: 0, logs, is_spoiled: false })
            });
        created.map(Some).inspect_err(|_| self.writer.no_new_file())
    }

    /// Makes what was written durable.
    ///
    /// # Errors
    /// When the disk fails: then nobody knows what it holds of this round.
    pub(super) fn sync(&mut self, parts: &[Part]) -> Result<(), StorageError> {
        if !std::mem::take(&mut self.is_dirty) {
            return Ok(());
        }
        let mut dirty = self.unsynced.iter().chain(&self.active);
        let outcome = dirty.try_for_each(|file| durable::sync(&*file.file, &file.path));
        outcome.inspect_err(|_| self.fail())?;
        self.unsynced.drain(..).for_each(|full| self.writer.push_full(full));
        let mark = |part: &Part| Mark {
            key: part.log.key,
            index: part.taken.upto.index,
            offset: part.taken.upto.offset,
        };
        self.marks.clear();
        // Of a log that failed meanwhile nothing was written.
        let is_kept = |part: &&Part| part.log.state().end.index >= part.taken.upto.index;
        self.marks.extend(parts.iter().filter(is_kept).map(mark));
        Ok(())
    }
}

/// Fills the file with zeros some way ahead of its records: a help only, which a full disk may refuse. Says
/// whether the disk is sound.
fn grow(active: &mut JournalFile, file_bytes: u64) -> bool {
    let len = (active.len + GROWTH_BYTES).min(file_bytes) / PAGE_LEN * PAGE_LEN;
    if len <= active.len {
        return true;
    }
    let zeros = vec![0; (len - active.len) as usize];
    match durable::write_all_at(&*active.file, &mut [IoSlice::new(&zeros)], active.len) {
        Ok(_) => {
            active.len = len;
            true
        }
        Err(error) => matches!(durable::io_or_full("growing", &active.path, error), StorageError::Full(_)),
    }
}
