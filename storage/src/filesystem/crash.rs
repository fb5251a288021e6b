//! What happens when a thread of the storage panics: [`Crash`] and [`Watch`].
//!
//! A panic is a bug, or a disk behind the [`Disk`](super::disk::Disk) trait that has one. Nobody knows what the
//! thread left half done, so nothing goes on: every log fails, whoever waits is told, and only a restart, which
//! reads everything from the disk, mends it. What has completed stays readable.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use super::{Shared, logs::Logs};
use crate::{FailureHook, StorageError};

/// Whether a thread has panicked, and whom to tell.
#[derive(Default)]
pub(super) struct Crash {
    error: OnceLock<StorageError>,
    hooks: Mutex<Vec<FailureHook>>,
}

impl Crash {
    /// # Errors
    /// That a thread has panicked.
    pub(super) fn check(&self) -> Result<(), StorageError> {
        self.error.get().cloned().map_or(Ok(()), Err)
    }

    /// Tells when a thread panics, or that one has.
    pub(super) fn tell(&self, hook: FailureHook) {
        self.hooks.lock().unwrap_or_else(PoisonError::into_inner).push(hook);
        // Behind the push: whoever panics now finds the hook, or is found.
        self.tell_all();
    }

    fn tell_all(&self) {
        let Some(error) = self.error.get() else { return };
        let hooks = std::mem::take(&mut *self.hooks.lock().unwrap_or_else(PoisonError::into_inner));
        hooks.into_iter().for_each(|hook| hook(error.clone()));
    }
}

/// Held by a thread of the storage for as long as it runs.
pub(super) struct Watch {
    thread: &'static str,
    shared: Arc<Shared>,
    logs: Arc<Logs>,
}

impl Watch {
    pub(super) fn new(thread: &'static str, shared: &Arc<Shared>, logs: &Arc<Logs>) -> Watch {
        Watch { thread, shared: shared.clone(), logs: logs.clone() }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        let error = StorageError::Crashed { thread: self.thread };
        tracing::error!(%error, "the storage has failed");
        // Before the logs are looked at: one that is created meanwhile is looked at by its creator.
        let _ = self.shared.crash.error.set(error.clone());
        self.shared.queue.close();
        self.shared.writer.end();
        self.logs.all().iter().for_each(|log| log.poison(&error));
        self.shared.crash.tell_all();
    }
}
