//! [`Logs`], the logs that are open, by their id.
//!
//! To create, remove or reopen a log takes many syncs. Whoever does so has a claim on its id: those who want the
//! same id wait for it, and nobody else waits.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
};

use super::log::FileLog;
use crate::LogId;

/// The logs that are open.
pub(super) struct Logs {
    state: Mutex<State>,
    /// A claim was given up.
    given_up: Condvar,
}

struct State {
    open: HashMap<LogId, Arc<FileLog>>,
    claimed: HashSet<LogId>,
}

impl Logs {
    pub(super) fn new(logs: impl IntoIterator<Item = (LogId, Arc<FileLog>)>) -> Logs {
        let state = State { open: logs.into_iter().collect(), claimed: HashSet::new() };
        Logs { state: Mutex::new(state), given_up: Condvar::new() }
    }

    pub(super) fn get(&self, id: &LogId) -> Option<Arc<FileLog>> {
        self.lock().open.get(id).cloned()
    }

    pub(super) fn ids(&self) -> Vec<LogId> {
        self.lock().open.keys().cloned().collect()
    }

    pub(super) fn all(&self) -> Vec<Arc<FileLog>> {
        self.lock().open.values().cloned().collect()
    }

    /// Waits until nobody else has a claim on this id.
    pub(super) fn claim(&self, id: &LogId) -> Claim<'_> {
        let taken = |state: &mut State| !state.claimed.insert(id.clone());
        drop(self.given_up.wait_while(self.lock(), taken).unwrap_or_else(PoisonError::into_inner));
        Claim { logs: self, id: id.clone() }
    }

    /// No change of the map can panic half way.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right to put and to take the log with an id. Given up when it goes.
pub(super) struct Claim<'a> {
    logs: &'a Logs,
    id: LogId,
}

impl Claim<'_> {
    pub(super) fn log(&self) -> Option<Arc<FileLog>> {
        self.logs.get(&self.id)
    }

    pub(super) fn put(&self, log: Arc<FileLog>) {
        self.logs.lock().open.insert(self.id.clone(), log);
    }

    pub(super) fn take(&self) -> Option<Arc<FileLog>> {
        self.logs.lock().open.remove(&self.id)
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        self.logs.lock().claimed.remove(&self.id);
        self.logs.given_up.notify_all();
    }
}
