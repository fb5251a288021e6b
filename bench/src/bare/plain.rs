//! A plain loop that writes.

use std::{
    fs::File,
    io::Write,
    path::Path,
    time::{Duration, Instant},
};

/// Bytes of one write call.
const PIECE_BYTES: usize = 1 << 20;

/// When the loop syncs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sync {
    /// After so many bytes each.
    EachBytes(usize),
    /// Not at all.
    Never,
}

/// Bytes per second that one thread writes to a growing file, for some time.
pub(crate) fn write(dir: &Path, sync: Sync, time: Duration) -> anyhow::Result<f64> {
    let dir = tempfile::tempdir_in(dir)?;
    let mut file = File::create(dir.path().join("bare"))?;
    let piece = vec![b'x'; PIECE_BYTES];
    let (mut written, mut unsynced) = (0, 0);
    let started = Instant::now();
    while started.elapsed() < time {
        file.write_all(&piece)?;
        written += piece.len();
        unsynced += piece.len();
        if matches!(sync, Sync::EachBytes(bytes) if bytes <= unsynced) {
            file.sync_data()?;
            unsynced = 0;
        }
    }
    if sync != Sync::Never {
        file.sync_data()?;
    }
    Ok(written as f64 / started.elapsed().as_secs_f64())
}
