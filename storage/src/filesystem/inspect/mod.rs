//! Looking into a data directory that no server uses, without changing anything in it.
//!
//! ```text
//!   Inspection::open -- locks, and reads the marker
//!        |-- verify    every file there is, each finding as it is made
//!        `-- entries   what a log holds, one entry after the other
//! ```
//!
//! Verifying follows what opening does (see module [`filesystem`](super)), with two differences: it reads all
//! that is there, not only what was written since the last checkpoint, and it mends nothing. Each log by
//! itself: manifest, blobs, segments, frames, indexes. Then the journal, once for all logs. Only then is it known
//! how far each log was durable, and so whether bytes at its end that are no frame are torn or damaged.
//!
//! What is found is [damage](Severity::Damage) or a [note](Severity::Note). Notes cost no message: a torn tail, an
//! index that will be rebuilt, a manifest slot that a crash has torn, what an earlier start kept aside.
//!
//! - **Invariant:** no byte and no name in the directory changes. Not even the lock file is created: where there
//!   is none, no server was ever there.
//! - **Invariant:** memory is bounded by one read, one index, one record of the journal, and a few words for each
//!   entry that is in the journal only.

mod entries;
mod finding;
mod journal;
mod log;
mod points;
mod read_only;
mod small_files;
mod verify;
mod walk;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

pub use self::{
    entries::{Entries, Located, Location},
    finding::{Event, Finding, Severity, Totals},
};
use self::{read_only::ReadOnly, verify::Verifier};
use super::{
    directory::{Directory, LOGS},
    disk::Disk,
    durable::{DELETED_SUFFIX, NEW_SUFFIX},
    manifest::{Manifest, newest},
};
use crate::{LogId, StorageError};

/// A data directory that is looked into; locked for as long as this lives.
pub struct Inspection {
    disk: Arc<dyn Disk>,
    root: PathBuf,
    directory: Directory,
}

impl Inspection {
    /// Opens a data directory for looking into it.
    ///
    /// # Errors
    /// When it is not there or is no data directory, a server uses it ([`StorageError::Locked`]), or its format
    /// is unknown.
    pub fn open(root: &Path) -> Result<Inspection, StorageError> {
        Inspection::open_on(Arc::new(ReadOnly), root)
    }

    /// As [`open`](Inspection::open), on a disk of one's own. Nothing on it is changed, but for the lock file if
    /// locking creates it.
    ///
    /// # Errors
    /// As there.
    pub fn open_on(disk: Arc<dyn Disk>, root: &Path) -> Result<Inspection, StorageError> {
        let directory = Directory::open_as_it_is(&*disk, root)?;
        Ok(Inspection { disk, root: root.to_owned(), directory })
    }

    /// Reads everything and says what it finds, in the order in which it is found.
    ///
    /// # Errors
    /// When a directory cannot be listed. A file that cannot be read is a finding.
    pub fn verify(&self, seen: impl FnMut(Event)) -> Result<Totals, StorageError> {
        Verifier::new(self, seen)?.run()
    }

    /// The logs whose manifest can be read, by topic and partition.
    ///
    /// # Errors
    /// When the directory cannot be listed.
    pub fn logs(&self) -> Result<Vec<LogId>, StorageError> {
        let mut logs = Vec::new();
        for dir in self.log_dirs()? {
            if let Ok(Some(slots)) = Manifest::load_slots(&*self.disk, &dir)
                && let Ok((manifest, _)) = newest(slots)
            {
                logs.push(manifest.id);
            }
        }
        logs.sort();
        Ok(logs)
    }

    /// What is there under the name of a log, in order; without what is being made or removed.
    fn log_dirs(&self) -> Result<Vec<PathBuf>, StorageError> {
        let mut dirs = list(&*self.disk, &self.root.join(LOGS))?;
        dirs.retain(|dir| self.disk.is_dir(dir) && !is_leftover(dir));
        Ok(dirs)
    }
}

impl std::fmt::Debug for Inspection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inspection").field("root", &self.root).finish_non_exhaustive()
    }
}

/// What a directory holds, in order; nothing when it is not there.
fn list(disk: &dyn Disk, dir: &Path) -> Result<Vec<PathBuf>, StorageError> {
    if !disk.is_dir(dir) {
        return Ok(Vec::new());
    }
    let mut paths = disk.list(dir).map_err(|error| StorageError::io("reading", dir, error))?;
    paths.sort();
    Ok(paths)
}

/// Whether it was being made or removed when the last server ended.
fn is_leftover(path: &Path) -> bool {
    let name = path.to_string_lossy();
    name.ends_with(NEW_SUFFIX) || name.ends_with(DELETED_SUFFIX)
}
