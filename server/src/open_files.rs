//! The limit of open files: each connection and each segment takes one.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Connections that a server takes when the system sets no limit to open files.
const CONNECTIONS_CEILING: u64 = 100_000;
/// Connections that a server takes at least, whatever the limit.
const CONNECTIONS_FLOOR: u64 = 16;

/// Raises the soft limit of open files of this process as far as the hard limit allows. Returns what it is
/// then; `None`: there is no limit.
///
/// The default soft limit, 1024 in most places, is for programs that use `select`. This is for binaries: a
/// library should not change its process.
pub fn raise_open_files() -> Option<u64> {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        // macOS refuses more than a constant of its kernel; what was there stays.
        Err(_) => limit.current,
    }
}

/// How many connections a server takes at the same time: half of the open files there may be. The other half
/// is left to the storage and to the rest.
pub fn connections_max() -> usize {
    (files_max() / 2).clamp(CONNECTIONS_FLOOR, CONNECTIONS_CEILING) as usize
}

/// How many segments may be kept open: a quarter of the open files there may be.
pub(crate) fn segments_max() -> usize {
    usize::try_from(files_max() / 4).unwrap_or(usize::MAX)
}

/// Files that this process may have open.
pub(crate) fn files_max() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}
