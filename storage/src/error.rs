//! What can go wrong in a log. Variants say what the caller can do.

use std::{
    io,
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

use minikafka_record::Offset;

use crate::Index;

/// An error of a storage or a log. Cloned to everybody who waits for the same sync.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StorageError {
    /// The log was removed.
    #[error("log \"{log}\" is not there")]
    NotFound {
        /// Its directory name.
        log: String,
    },
    /// Read from below the start or from beyond the end.
    #[error("offset {wanted} is out of range [{start}, {end}]")]
    OutOfRange {
        /// What was asked for.
        wanted: Offset,
        /// The first offset kept.
        start: Offset,
        /// The first offset not yet written.
        end: Offset,
    },
    /// An index that was removed or is not there yet.
    #[error("index {wanted} is out of range [{first}, {next}]")]
    IndexOutOfRange {
        /// What was asked for.
        wanted: Index,
        /// The first index kept.
        first: Index,
        /// The index that the next entry takes.
        next: Index,
    },
    /// The entries do not continue the log: ask for its bounds and stamp them again. Happens after a failure
    /// took entries off the end.
    #[error(
        "entry with index {index} and offset {offset} does not continue a log at index {next_index} and offset {end}"
    )]
    Discontinuous {
        /// The entry's.
        index: Index,
        /// The entry's.
        offset: Offset,
        /// The log's.
        next_index: Index,
        /// The log's.
        end: Offset,
    },
    /// The entries were removed by a truncation or a reset before they were durable.
    #[error("entries were truncated before they were durable")]
    Truncated,
    /// No space left: on the disk, or under the memory limit. Passes when space returns; nothing of the
    /// entries is kept.
    #[error("no space left for messages: {0}")]
    Full(String),
    /// The disk failed. The log takes no more appends until it is opened again; what was acknowledged stays
    /// readable.
    #[error("{action} {path:?} failed: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: Arc<io::Error>,
    },
    /// The log failed before and takes no appends until it is opened again.
    #[error("log takes no appends since an earlier failure: {0}")]
    Poisoned(String),
    /// A thread of the storage panicked: nothing is taken any more until the server is started again, and nobody
    /// knows what became of the entries that were on their way. What was acknowledged stays readable.
    #[error("the storage takes nothing more since its {thread} thread panicked: restart the server")]
    Crashed {
        /// Which thread.
        thread: &'static str,
    },
    /// The log had failed and was opened anew: this handle is out of service. Open the log to get the other one.
    #[error("the log was opened anew after a failure, this handle of it is out of service")]
    Reopened,
    /// Bytes on the disk are not what was written. They are kept and never served.
    #[error("{path:?} is damaged at byte {position}: {what}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where in it.
        position: u64,
        /// What does not fit.
        what: String,
        /// The records that are lost by it: whoever reads goes on at its end. `None` when that is not known.
        lost: Option<Range<Offset>>,
    },
    /// The disk failed to read these bytes. Nobody knows whether they are whole; perhaps it works another time. What
    /// lies elsewhere can be read, and appends go on.
    #[error("reading {path:?} at byte {position} failed: {source}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Where in it.
        position: u64,
        /// What the system said.
        #[source]
        source: Arc<io::Error>,
        /// The records that cannot be read by it: what lies behind them can be. `None` when that is not known.
        records: Option<Range<Offset>>,
    },
    /// Another process uses the directory.
    #[error("data directory {0:?} is locked: another server uses it")]
    Locked(PathBuf),
    /// The directory holds something else.
    #[error("{0:?} is not a MiniKafka data directory: it is not empty and has no file named \"{1}\"")]
    Foreign(PathBuf, &'static str),
    /// The directory was written by a version that this one does not know.
    #[error("{path:?} has format {found}, this version reads format {known}")]
    Format {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// Ours.
        known: u32,
    },
    /// The storage was closed.
    #[error("storage is closed")]
    Closed,
}

impl StorageError {
    /// An I/O error with what was tried on what.
    pub(crate) fn io(action: &'static str, path: impl Into<PathBuf>, source: io::Error) -> StorageError {
        StorageError::Io { action, path: path.into(), source: Arc::new(source) }
    }

    /// A failed read, with the records that cannot be read by it not known.
    pub(crate) fn unreadable(path: impl Into<PathBuf>, position: u64, source: io::Error) -> StorageError {
        StorageError::Unreadable { path: path.into(), position, source: Arc::new(source), records: None }
    }

    /// Damage, with the records that are lost by it not known.
    pub(crate) fn damaged(path: impl Into<PathBuf>, position: u64, what: impl Into<String>) -> StorageError {
        StorageError::Damaged { path: path.into(), position, what: what.into(), lost: None }
    }

    /// Damage or a failed read, with the records that it is about.
    pub(crate) fn losing(self, offsets: Range<Offset>) -> StorageError {
        match self {
            StorageError::Damaged { path, position, what, .. } => {
                StorageError::Damaged { path, position, what, lost: Some(offsets) }
            }
            StorageError::Unreadable { path, position, source, .. } => {
                StorageError::Unreadable { path, position, source, records: Some(offsets) }
            }
            other => other,
        }
    }

    /// As those are told who wait for an append when the log in `dir` fails: whatever was tried, nobody knows what the
    /// disk holds. Also when something had only run out, by which they would take it that nothing is kept.
    pub(crate) fn in_doubt(&self, dir: &Path) -> StorageError {
        match self {
            StorageError::Io { .. } | StorageError::Crashed { .. } => self.clone(),
            StorageError::Unreadable { path, source, .. } => {
                StorageError::Io { action: "reading", path: path.clone(), source: source.clone() }
            }
            other => StorageError::io("writing to", dir, io::Error::other(other.clone())),
        }
    }

    /// Whether the same call may succeed later without anybody's help to the storage.
    pub fn is_retryable(&self) -> bool {
        use StorageError::{Discontinuous, Full, Reopened, Truncated};
        matches!(self, Full(_) | Truncated | Discontinuous { .. } | Reopened)
    }
}
