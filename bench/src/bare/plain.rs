//! A plain loop that writes.

use std::{
    fs::File,
    io::Write,
    path::Path,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use crate::memory::fresh_dir;

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
    let dir = fresh_dir(dir)?;
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

/// Bytes per second that one thread writes, and does not sync, of pieces that another one has just made for it: what is
/// written comes from memory that no processor has at hand, as with every log.
pub(crate) fn write_handed_over(
    dir: &Path,
    piece: &[u8],
    waiting: usize,
    time: Duration,
) -> anyhow::Result<f64> {
    let dir = fresh_dir(dir)?;
    let mut file = File::create(dir.path().join("bare"))?;
    thread::scope(|scope| {
        let (hand_over, pieces) = mpsc::sync_channel(waiting);
        scope.spawn(move || while hand_over.send(piece.to_vec()).is_ok() {});
        let mut written = 0;
        let started = Instant::now();
        while started.elapsed() < time {
            let piece = pieces.recv()?;
            file.write_all(&piece)?;
            written += piece.len();
        }
        Ok(written as f64 / started.elapsed().as_secs_f64())
    })
}
