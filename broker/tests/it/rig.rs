//! A memory storage that fails, or holds things back, when it is told to.

use std::{
    collections::{HashMap, HashSet},
    fmt,
    ops::Range,
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use minikafka_record::{Offset, RecordBatch};
use minikafka_storage::{
    Bounds, Completion, Durability, Entry, FailureHook, Index, Log, LogId, Place, Removed, Seek, Storage,
    StorageError, memory::MemoryStorage,
};
use tokio::sync::watch;

/// The storage.
#[derive(Debug)]
pub(crate) struct RigStorage {
    memory: MemoryStorage,
    rig: Arc<Rig>,
}

/// What it is told, and what it has seen.
pub(crate) struct Rig {
    state: Mutex<State>,
    changed: Condvar,
    /// What was done, in order: waited for, not polled.
    events: watch::Sender<Vec<String>>,
}

#[derive(Default)]
struct State {
    /// Calls that fail, such as "trim t".
    failing: HashSet<String>,
    /// Calls that wait.
    held: HashSet<String>,
    /// Completions that wait, while "append" is held.
    completions: Vec<Held>,
    /// The log that was opened last, by topic and partition: it is opened again only when it has failed.
    logs: HashMap<String, Arc<RigLog>>,
    /// For each entry, the length of its payload and the room that it pins.
    payloads: Vec<(usize, usize)>,
}

/// A completion, and what it is to say.
pub(crate) type Held = (Completion, Result<(), StorageError>);

impl Rig {
    pub(crate) fn new() -> (Arc<RigStorage>, Arc<Rig>) {
        let rig = Arc::new(Rig {
            state: Mutex::default(),
            changed: Condvar::new(),
            events: watch::Sender::new(Vec::new()),
        });
        (Arc::new(RigStorage { memory: MemoryStorage::new(u64::MAX), rig: rig.clone() }), rig)
    }

    pub(crate) fn fail(&self, call: &str) {
        self.state.lock().unwrap().failing.insert(call.to_owned());
    }

    pub(crate) fn mend(&self, call: &str) {
        self.state.lock().unwrap().failing.remove(call);
    }

    pub(crate) fn hold(&self, call: &str) {
        self.state.lock().unwrap().held.insert(call.to_owned());
    }

    /// Takes what is held of "append", to be let go later; what comes next passes.
    pub(crate) fn take_held(&self) -> Vec<Held> {
        let mut state = self.state.lock().unwrap();
        state.held.remove("append");
        std::mem::take(&mut state.completions)
    }

    /// Lets go of what was held.
    pub(crate) fn release(&self, call: &str) {
        let completions = {
            let mut state = self.state.lock().unwrap();
            state.held.remove(call);
            if call == "append" { std::mem::take(&mut state.completions) } else { Vec::new() }
        };
        self.changed.notify_all();
        completions.into_iter().for_each(|(completion, outcome)| completion(outcome));
    }

    pub(crate) fn payloads(&self) -> Vec<(usize, usize)> {
        self.state.lock().unwrap().payloads.clone()
    }

    pub(crate) fn events(&self) -> Vec<String> {
        self.events.borrow().clone()
    }

    /// Waits until something was done `count` times.
    pub(crate) async fn seen(&self, event: &str, count: usize) {
        self.until(|events| events.iter().filter(|seen| *seen == event).count() >= count).await;
    }

    /// Waits until what was done is enough.
    pub(crate) async fn until(&self, mut enough: impl FnMut(&[String]) -> bool) {
        let mut events = self.events.subscribe();
        let waiting = events.wait_for(|events| enough(events));
        drop(tokio::time::timeout(Duration::from_secs(20), waiting).await.expect("it never happened"));
    }

    fn saw(&self, event: &str) {
        self.events.send_modify(|events| events.push(event.to_owned()));
    }

    /// Begins a call: waits while it is held, and says whether it fails.
    fn enter(&self, call: &str) -> Result<(), StorageError> {
        self.saw(call);
        let held = |state: &mut State| state.held.contains(call);
        // Not for ever, so that a test that fails meanwhile ends.
        let state = self.state.lock().unwrap();
        let (state, _) = self.changed.wait_timeout_while(state, Duration::from_secs(30), held).unwrap();
        let fails = state.failing.contains(call);
        drop(state);
        if !fails {
            return Ok(());
        }
        self.saw(&format!("{call} failed"));
        Err(StorageError::Poisoned(call.to_owned()))
    }
}

impl fmt::Debug for Rig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Rig")
    }
}

impl RigStorage {
    fn log(&self, id: &LogId, log: Arc<dyn Log>) -> Arc<dyn Log> {
        let key = format!("{} {}", id.topic, id.partition);
        let mut state = self.rig.state.lock().unwrap();
        match state.logs.get(&key) {
            Some(known) if Arc::ptr_eq(&known.log, &log) && !known.has_failed() => known.clone(),
            _ => {
                let has_failed = AtomicBool::new(false);
                let opened =
                    Arc::new(RigLog { topic: id.topic.clone(), log, rig: self.rig.clone(), has_failed });
                state.logs.insert(key, opened.clone());
                opened
            }
        }
    }
}

impl Storage for RigStorage {
    fn open(&self, id: &LogId) -> Result<Arc<dyn Log>, StorageError> {
        let log = self.memory.open(id)?;
        self.rig.enter(&format!("open {} {}", id.topic, id.partition))?;
        self.rig.enter(&format!("open {}", id.topic))?;
        Ok(self.log(id, log))
    }

    fn open_reserved(&self, id: &LogId) -> Result<Arc<dyn Log>, StorageError> {
        let log = self.memory.open_reserved(id)?;
        self.rig.enter(&format!("open {}", id.topic))?;
        Ok(self.log(id, log))
    }

    fn list(&self) -> Result<Vec<LogId>, StorageError> {
        self.memory.list()
    }

    fn remove(&self, id: &LogId) -> Result<(), StorageError> {
        self.rig.enter(&format!("remove {}", id.topic))?;
        self.memory.remove(id)
    }

    fn load_blob(&self, id: &LogId, name: &str) -> Result<Option<Bytes>, StorageError> {
        self.memory.load_blob(id, name)
    }

    fn store_blob(&self, id: &LogId, name: &str, blob: &[u8]) -> Result<(), StorageError> {
        let call = format!("blob {}", id.topic);
        self.rig.enter(&call)?;
        self.memory.store_blob(id, name, blob)?;
        self.rig.saw(&format!("{call} done"));
        Ok(())
    }

    fn close(&self) -> Result<(), StorageError> {
        self.rig.enter("close")?;
        self.memory.close()
    }

    fn durability(&self) -> Durability {
        self.memory.durability()
    }

    fn when_failed(&self, hook: FailureHook) {
        self.memory.when_failed(hook);
    }
}

#[derive(Debug)]
struct RigLog {
    topic: String,
    log: Arc<dyn Log>,
    rig: Arc<Rig>,
    /// Takes no more appends until it is opened again.
    has_failed: AtomicBool,
}

impl RigLog {
    fn has_failed(&self) -> bool {
        self.has_failed.load(Ordering::Relaxed)
    }
}

impl Log for RigLog {
    fn append(&self, mut entries: Vec<Entry>, on_durable: Completion) {
        if self.has_failed() {
            return on_durable(Err(StorageError::Poisoned("the disk is broken".to_owned())));
        }
        if let Err(refused) = self.rig.enter(&format!("refuse {}", self.topic)) {
            return on_durable(Err(refused));
        }
        // A disk that fails over a sync may have kept what it was given.
        let is_kept = self.rig.enter(&format!("doubt {}", self.topic)).is_err();
        if self.rig.enter(&format!("append {}", self.topic)).is_err() || is_kept {
            self.has_failed.store(true, Ordering::Relaxed);
            if is_kept {
                self.log.append(entries, Box::new(drop));
            }
            let source = Arc::new(std::io::Error::other("the disk is broken"));
            return on_durable(Err(StorageError::Io { action: "syncing", path: "t".into(), source }));
        }
        for entry in &mut entries {
            // Bytes do not tell their capacity, but nobody else has these yet.
            let payload = std::mem::take(&mut entry.payload).try_into_mut().unwrap();
            self.rig.state.lock().unwrap().payloads.push((payload.len(), payload.capacity()));
            entry.payload = payload.freeze();
        }
        let rig = self.rig.clone();
        let completion = Box::new(move |outcome| {
            let mut state = rig.state.lock().unwrap();
            if state.held.contains("append") {
                state.completions.push((on_durable, outcome));
            } else {
                drop(state);
                on_durable(outcome);
            }
        });
        self.log.append(entries, completion);
    }

    fn read_tail(
        &self,
        from: Offset,
        upper: Offset,
        bytes_max: usize,
    ) -> Result<Option<Vec<RecordBatch>>, StorageError> {
        self.log.read_tail(from, upper, bytes_max)
    }

    fn read(&self, from: Offset, upper: Offset, bytes_max: usize) -> Result<Vec<RecordBatch>, StorageError> {
        self.log.read(from, upper, bytes_max)
    }

    fn entries(&self, range: Range<Index>, bytes_max: usize) -> Result<Vec<Entry>, StorageError> {
        self.log.entries(range, bytes_max)
    }

    fn bounds(&self) -> Bounds {
        self.log.bounds()
    }

    fn seek(&self, seek: Seek) -> Result<Option<Place>, StorageError> {
        self.rig.enter(&format!("seek {}", self.topic))?;
        self.log.seek(seek)
    }

    fn truncate(&self, from: Index) -> Result<(), StorageError> {
        self.log.truncate(from)
    }

    fn trim(&self, to: Offset) -> Result<(), StorageError> {
        let call = format!("trim {}", self.topic);
        self.rig.enter(&call)?;
        self.log.trim(to)?;
        self.rig.saw(&format!("{call} done"));
        Ok(())
    }

    fn reset(&self, removed: Removed, start: Offset) -> Result<(), StorageError> {
        self.log.reset(removed, start)
    }
}
