//! What is to go wrong: [`Plan`], which operation fails or is the last one, and [`Lies`], what the disk only
//! pretends to do.

use std::{
    fmt, io,
    ops::Range,
    path::{Path, PathBuf},
};

/// Which operations are counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// Whatever changes something, or makes it durable.
    Change,
    /// Whatever only looks.
    Look,
}

/// What the system says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Errno {
    /// The disk failed.
    Eio,
    /// The disk is full.
    Enospc,
    /// The process has as many files open as it may.
    Emfile,
}

impl Errno {
    pub(crate) fn error(self) -> io::Error {
        let code = match self {
            Errno::Eio => rustix::io::Errno::IO,
            Errno::Enospc => rustix::io::Errno::NOSPC,
            Errno::Emfile => rustix::io::Errno::MFILE,
        };
        code.into()
    }
}

/// An operation that fails.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fault {
    pub(crate) class: Class,
    /// Operations of this class before it.
    pub(crate) after: u64,
    /// How many operations in a row fail.
    pub(crate) count: u64,
    pub(crate) errno: Errno,
}

/// What is to go wrong.
#[derive(Clone, Debug, Default)]
pub(super) struct Plan {
    /// So many changes are made, then nothing works any more.
    pub(super) stop_after: Option<u64>,
    pub(super) fault: Option<Fault>,
    /// The fault is not for a thread of this name, whose operations are not counted.
    pub(super) spared: Option<&'static str>,
    /// A write takes no more bytes than this, as the system may have it.
    pub(super) write_bytes_max: Option<usize>,
    /// Bytes that cannot be read, by the name that the file is opened by.
    pub(super) spoilt: Vec<(PathBuf, Range<u64>)>,
    /// All changes that a thread of this name asks for fail, or those of this kind.
    pub(super) fail_in: Option<(&'static str, Option<&'static str>)>,
    /// No file or directory can be opened.
    pub(super) is_short_of_files: bool,
    /// A sync that fails shows everybody what is on the platter, instead of what it has not brought there.
    pub(super) reverts: bool,
    /// The next change that a thread of this name asks for panics.
    pub(super) panic_in: Option<&'static str>,
}

/// What takes a file descriptor, be it for a moment.
const OPENINGS: [&str; 5] = ["open", "create", "empty", "list", "sync_dir"];

impl Plan {
    /// Whether this needs a file descriptor, and there is none.
    pub(super) fn lacks_file(&self, operation: &str) -> bool {
        self.is_short_of_files && OPENINGS.contains(&operation)
    }

    /// Whether a read of these bytes fails.
    pub(super) fn is_spoilt(&self, path: &Path, bytes: &Range<u64>) -> bool {
        self.spoilt
            .iter()
            .any(|(of, spoilt)| of == path && spoilt.start < bytes.end && bytes.start < spoilt.end)
    }
}

/// What the disk only pretends to do: for planted bugs, as if the backend had forgotten to ask for it.
#[derive(Clone, Default)]
pub(crate) enum Lies {
    #[default]
    None,
    /// Syncs of these files.
    Sync(fn(&Path) -> bool),
    /// Syncs of these directories.
    SyncDir(fn(&Path) -> bool),
}

impl Lies {
    pub(super) fn sync(&self, path: &Path) -> bool {
        matches!(self, Lies::Sync(matching) if matching(path))
    }

    pub(super) fn sync_dir(&self, path: &Path) -> bool {
        matches!(self, Lies::SyncDir(matching) if matching(path))
    }
}

impl fmt::Debug for Lies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Lies::None => "None",
            Lies::Sync(_) => "Sync",
            Lies::SyncDir(_) => "SyncDir",
        })
    }
}
