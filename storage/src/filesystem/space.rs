//! [`Headroom`], the room that is kept free on the disk.
//!
//! Evictions, deletions and what is durable in the journal have to be written when the disk is full of messages,
//! too. So appends are refused while less than the headroom is free: the log is read-only then, and takes
//! appends again by itself once there is room. Logs of the server's own business are small, and may use it.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use super::disk::{Disk, Space};
use crate::StorageError;

/// Most bytes that are kept free.
const HEADROOM_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// Part of the file system that is kept free, if that is less: one in so many.
const HEADROOM_PART: u64 = 20;
/// Bytes written after which the system is asked again: others write, too.
const ASK_AFTER_BYTES: u64 = 4 * 1024 * 1024;
/// While there is no room, the system is asked at most so often, and only when somebody appends.
const ASK_PAUSE: Duration = Duration::from_millis(200);

/// How many bytes are to stay free on a file system of this size.
pub(super) fn headroom_bytes(space: Space) -> u64 {
    (space.total_bytes / HEADROOM_PART).min(HEADROOM_BYTES_MAX)
}

/// Watches the room on the disk, by asking before appends and at no other time.
pub(super) struct Headroom {
    root: PathBuf,
    /// Bytes that may be written before the system is asked again.
    left: u64,
    /// Why appends are refused, and since when.
    full: Option<(String, Instant)>,
}

impl Headroom {
    pub(super) fn new(root: PathBuf) -> Headroom {
        Headroom { root, left: 0, full: None }
    }

    /// Asks for room for so many bytes.
    ///
    /// # Errors
    /// [`StorageError::Full`], when the headroom would be touched.
    pub(super) fn take(&mut self, disk: &dyn Disk, bytes: u64) -> Result<(), StorageError> {
        if let Some((why, asked)) = &self.full {
            if asked.elapsed() < ASK_PAUSE {
                return Err(StorageError::Full(why.clone()));
            }
        } else if let Some(left) = self.left.checked_sub(bytes) {
            self.left = left;
            return Ok(());
        }
        // A system that does not say has to refuse by itself.
        let Ok(space) = disk.space(&self.root) else { return Ok(()) };
        let kept = headroom_bytes(space);
        let room = space.available_bytes.saturating_sub(kept);
        if room < bytes {
            let why = format!(
                "the disk has {} bytes left, of which {kept} are kept free for evictions and deletions",
                space.available_bytes
            );
            if self.full.is_none() {
                tracing::warn!(root = ?self.root, why, "no messages are taken until there is room, reads go on");
            }
            self.full = Some((why.clone(), Instant::now()));
            return Err(StorageError::Full(why));
        }
        if self.full.take().is_some() {
            tracing::info!(root = ?self.root, "there is room on the disk again: messages are taken");
        }
        self.left = ASK_AFTER_BYTES.min((room - bytes) / 2);
        Ok(())
    }
}
