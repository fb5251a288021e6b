//! The memory backend: simple, fast, gone with the process. The oracle for the filesystem backend.
//!
//! What is appended is as durable as it will ever be, so completions fire before `append` returns. All logs
//! of a storage share one limit in bytes; beyond it, appends fail with [`StorageError::Full`] until trimming
//! or removing logs makes room.

mod log;

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;

use self::log::MemoryLog;
use crate::{Durability, FailureHook, Log, LogId, Storage, StorageError, StorageStats};

/// Logs in memory.
#[derive(Debug)]
pub struct MemoryStorage {
    logs: Mutex<HashMap<LogId, Stored>>,
    budget: Arc<Budget>,
    /// For logs of the server's own business, which are small.
    reserve: Arc<Budget>,
}

#[derive(Debug)]
struct Stored {
    log: Arc<MemoryLog>,
    blobs: HashMap<String, Bytes>,
}

impl MemoryStorage {
    /// An empty storage that takes up to `limit_bytes` of entries, over all logs.
    pub fn new(limit_bytes: u64) -> MemoryStorage {
        MemoryStorage {
            logs: Mutex::default(),
            budget: Arc::new(Budget::new(limit_bytes)),
            reserve: Arc::new(Budget::new(u64::MAX)),
        }
    }

    fn open_with(&self, id: &LogId, budget: &Arc<Budget>) -> Result<Arc<dyn Log>, StorageError> {
        let mut logs = self.logs();
        let stored = logs.entry(id.clone()).or_insert_with(|| Stored {
            log: Arc::new(MemoryLog::new(budget.clone())),
            blobs: HashMap::new(),
        });
        Ok(stored.log.clone())
    }

    /// No user code runs under the lock, so a panic elsewhere leaves the map whole.
    fn logs(&self) -> std::sync::MutexGuard<'_, HashMap<LogId, Stored>> {
        self.logs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Storage for MemoryStorage {
    fn open(&self, id: &LogId) -> Result<Arc<dyn Log>, StorageError> {
        self.open_with(id, &self.budget)
    }

    fn open_reserved(&self, id: &LogId) -> Result<Arc<dyn Log>, StorageError> {
        self.open_with(id, &self.reserve)
    }

    fn list(&self) -> Result<Vec<LogId>, StorageError> {
        Ok(self.logs().keys().cloned().collect())
    }

    fn remove(&self, id: &LogId) -> Result<(), StorageError> {
        let removed = self.logs().remove(id);
        if let Some(stored) = removed {
            stored.log.close(StorageError::NotFound { log: id.to_string() });
        }
        Ok(())
    }

    fn load_blob(&self, id: &LogId, name: &str) -> Result<Option<Bytes>, StorageError> {
        let logs = self.logs();
        let stored = logs.get(id).ok_or_else(|| StorageError::NotFound { log: id.to_string() })?;
        Ok(stored.blobs.get(name).cloned())
    }

    fn store_blob(&self, id: &LogId, name: &str, blob: &[u8]) -> Result<(), StorageError> {
        let mut logs = self.logs();
        let stored = logs.get_mut(id).ok_or_else(|| StorageError::NotFound { log: id.to_string() })?;
        stored.blobs.insert(name.to_owned(), Bytes::copy_from_slice(blob));
        Ok(())
    }

    fn close(&self) -> Result<(), StorageError> {
        for stored in self.logs().values() {
            stored.log.close(StorageError::Closed);
        }
        Ok(())
    }

    fn stats(&self) -> StorageStats {
        let Budget { limit_bytes, used_bytes, refused_bytes } = &*self.budget;
        let used = used_bytes.load(Ordering::Relaxed);
        let free = limit_bytes.saturating_sub(used);
        let is_full = free == 0 || free < refused_bytes.load(Ordering::Relaxed);
        StorageStats {
            logs: self.logs().len() as u64,
            free_bytes: Some(free),
            total_bytes: Some(*limit_bytes),
            full: is_full.then(|| format!("{used} of {limit_bytes} bytes of memory are used")),
            ..StorageStats::default()
        }
    }

    fn durability(&self) -> Durability {
        Durability::Memory
    }

    /// Nothing here can fail as a whole.
    fn when_failed(&self, _: FailureHook) {}
}

/// The bytes that all logs of a storage share.
#[derive(Debug)]
struct Budget {
    limit_bytes: u64,
    used_bytes: AtomicU64,
    /// Bytes that were refused last; 0 when there was room for others since.
    refused_bytes: AtomicU64,
}

impl Budget {
    fn new(limit_bytes: u64) -> Budget {
        Budget { limit_bytes, used_bytes: 0.into(), refused_bytes: 0.into() }
    }

    fn take(&self, bytes: u64) -> Result<(), StorageError> {
        // Relaxed: a counter; the entries themselves are published by their log's lock.
        self.used_bytes
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
                used.checked_add(bytes).filter(|sum| *sum <= self.limit_bytes)
            })
            .map(|_| {
                // Looked at first, because it almost always is.
                if self.refused_bytes.load(Ordering::Relaxed) != 0 {
                    self.refused_bytes.store(0, Ordering::Relaxed);
                }
            })
            .map_err(|used| {
                self.refused_bytes.store(bytes, Ordering::Relaxed);
                let limit = self.limit_bytes;
                StorageError::Full(format!(
                    "{used} of {limit} bytes of memory are used, {bytes} more are needed"
                ))
            })
    }

    fn give_back(&self, bytes: u64) {
        self.used_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}
