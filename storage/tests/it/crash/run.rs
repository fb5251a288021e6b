//! [`Run`], a storage on a fake disk at work, with everything that it promises written down.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use minikafka_record::{BatchBuilder, Offset};
use minikafka_storage::{
    Bounds, Entry, EntryKind, Log, Removed, Storage, StorageError,
    filesystem::{FileStorage, Options},
};

use super::{
    ledger::{Answer, Change, Ledger, World},
    script::Step,
};
use crate::{
    backend::{append, id},
    fake_disk::{FakeDisk, Image, PowerLoss},
};

/// Where the storage is on the disk.
pub(super) const ROOT: &str = "/data";

/// Opens the storage on a disk.
pub(super) fn open(disk: &FakeDisk, options: &Options) -> Result<FileStorage, StorageError> {
    FileStorage::open_on(Arc::new(disk.clone()), Path::new(ROOT), options.clone())
}

/// A storage at work.
pub(super) struct Run {
    pub(super) disk: FakeDisk,
    options: Options,
    storage: Option<FileStorage>,
    logs: BTreeMap<String, Arc<dyn Log>>,
    pub(super) ledger: Ledger,
    answers: BTreeMap<String, Vec<Arc<Answer>>>,
    /// Those that nobody has waited for.
    pending: Vec<Arc<Answer>>,
    clock: Clock,
    /// If wanted: what was durable when an append was answered.
    pub(super) samples: Option<Samples>,
}

/// What tells one entry from another.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Clock {
    serial: u64,
    epoch: u64,
    time: i64,
}

/// The durable image at the moment of an answer, and the entry that was answered.
pub(super) type Samples = Arc<Mutex<Vec<(Image, String, Entry)>>>;

impl Run {
    /// Opens the storage on a disk, on which things are as `ledger` says.
    pub(super) fn open(
        disk: &FakeDisk,
        options: &Options,
        ledger: Ledger,
        clock: Clock,
    ) -> Result<Run, (Ledger, StorageError)> {
        let storage = match open(disk, options) {
            Ok(storage) => storage,
            Err(error) => return Err((ledger, error)),
        };
        Ok(Run {
            disk: disk.clone(),
            options: options.clone(),
            storage: Some(storage),
            logs: BTreeMap::new(),
            ledger,
            answers: BTreeMap::new(),
            pending: Vec::new(),
            clock,
            samples: None,
        })
    }

    pub(super) fn storage(&self) -> &FileStorage {
        self.storage.as_ref().expect("a storage that is open")
    }

    /// The log of a topic, if it was opened.
    pub(super) fn log(&self, topic: &str) -> Option<Arc<dyn Log>> {
        self.logs.get(topic).cloned()
    }

    /// Opens a log that has failed again, while the others go on. What it holds then is promised.
    pub(super) fn recover(&mut self, topic: &str) -> Result<Arc<dyn Log>, StorageError> {
        self.disk.forgive_failed_syncs("/data/logs");
        let log = self.storage().open(&id(topic))?;
        let next_index = log.bounds().next_index;
        for world in self.ledger.logs.get_mut(topic).into_iter().flatten() {
            if let World::Present(content) = world {
                content.floor = content.floor.max(next_index);
            }
        }
        self.logs.insert(topic.to_owned(), log.clone());
        Ok(log)
    }

    pub(super) fn topics(&self) -> Vec<String> {
        self.logs.keys().cloned().collect()
    }

    /// Takes the steps until one fails.
    pub(super) fn steps(&mut self, steps: &[Step]) -> Result<(), StorageError> {
        steps.iter().try_for_each(|step| self.step(step))
    }

    /// Takes a step. One that concerns a log that is not open opens it first.
    pub(super) fn step(&mut self, step: &Step) -> Result<(), StorageError> {
        match step {
            Step::Open { topic } => self.open_log(topic).map(drop),
            Step::Append { topic, entries, bytes } => self.send(topic, *entries, *bytes)?.wait(),
            Step::Send { topic, entries, bytes } => {
                let answer = self.send(topic, *entries, *bytes)?;
                self.pending.push(answer);
                Ok(())
            }
            Step::Wait => self.wait(),
            Step::Trim { topic, percent } => self.trim(topic, *percent),
            Step::Truncate { topic, percent } => self.truncate(topic, *percent),
            Step::Reset { topic } => self.reset(topic),
            Step::Remove { topic } => self.remove(topic),
            Step::Blob { topic, name, bytes } => self.store_blob(topic, name, *bytes),
            Step::Reopen => self.reopen(),
        }
    }

    /// Ends the storage as a crash does, and gives back what is known. Every append must have been answered,
    /// and those of a log in order.
    pub(super) fn end(mut self) -> Result<(Ledger, Clock), String> {
        self.logs.clear();
        self.storage = None;
        for (topic, answers) in &self.answers {
            let mut turns = Vec::new();
            for answer in answers {
                turns.extend(answer.turn()?);
            }
            if !turns.is_sorted() {
                return Err(format!("log {topic}: successes come out of order: {turns:?}"));
            }
        }
        Ok((self.ledger, self.clock))
    }

    fn open_log(&mut self, topic: &str) -> Result<Arc<dyn Log>, StorageError> {
        if let Some(log) = self.logs.get(topic) {
            return Ok(log.clone());
        }
        let log = self.change(topic, &Change::Create, |run| run.storage().open(&id(topic)))?;
        self.logs.insert(topic.to_owned(), log.clone());
        Ok(log)
    }

    /// Makes a change and writes down what becomes of it.
    fn change<T>(
        &mut self,
        topic: &str,
        change: &Change,
        make: impl FnOnce(&Run) -> Result<T, StorageError>,
    ) -> Result<T, StorageError> {
        let before = self.ledger.begin(topic, change);
        let outcome = make(self);
        match &outcome {
            Ok(_) => self.ledger.done(topic, before, change),
            // Nothing was changed; but readers see a new start at once.
            Err(StorageError::Full(_)) if !matches!(change, Change::Trim(_)) => {
                self.ledger.logs.insert(topic.to_owned(), before);
            }
            Err(_) => {}
        }
        outcome
    }

    /// Begins an append of so many entries.
    pub(super) fn send(&mut self, topic: &str, count: u64, bytes: u64) -> Result<Arc<Answer>, StorageError> {
        let log = self.open_log(topic)?;
        let bounds = log.bounds();
        let (mut index, mut offset) = (bounds.next_index, bounds.end);
        self.clock.time = self.clock.time.max(bounds.last_append_time.unwrap_or(0));
        self.clock.epoch = self.clock.epoch.max(bounds.last_epoch);
        let mut entries = Vec::new();
        for _ in 0..count {
            let entry = self.clock.entry(topic, index, offset, bytes);
            (index, offset) = (index + 1, entry.end_offset());
            entries.push(entry);
        }
        let (answer, completion) = match (&self.samples, entries.last()) {
            (Some(samples), Some(last)) => {
                let (samples, disk) = (samples.clone(), self.disk.clone());
                let (topic, last) = (topic.to_owned(), last.clone());
                Answer::with(move |outcome| {
                    if outcome.is_ok() {
                        let image = disk.image_after(&PowerLoss::NothingUnsynced);
                        samples.lock().unwrap().push((image, topic, last));
                    }
                })
            }
            _ => Answer::new(),
        };
        self.ledger.attempt(topic, &entries, &answer);
        self.answers.entry(topic.to_owned()).or_default().push(answer.clone());
        log.append(entries, completion);
        Ok(answer)
    }

    /// Waits for all answers, whatever they are.
    pub(super) fn settle(&mut self) {
        // The ledger has them.
        let _ = self.wait();
    }

    /// Waits for all answers; an error is the first of them.
    fn wait(&mut self) -> Result<(), StorageError> {
        let outcomes: Vec<_> = self.pending.drain(..).map(|answer| answer.wait()).collect();
        outcomes.into_iter().try_for_each(|outcome| match outcome {
            // Taken back by somebody who was allowed to.
            Err(StorageError::Truncated | StorageError::NotFound { .. }) => Ok(()),
            outcome => outcome,
        })
    }

    fn trim(&mut self, topic: &str, percent: u64) -> Result<(), StorageError> {
        let log = self.open_log(topic)?;
        self.wait()?;
        // A truncation may have left the first part of an append, for which nobody waits: what is trimmed has
        // completed.
        append(&*log, Vec::new())?;
        let Bounds { start, end, .. } = log.bounds();
        let to = start.plus((end.get() - start.get()) * percent / 100);
        self.change(topic, &Change::Trim(to), |_| log.trim(to))
    }

    /// What is trimmed is committed, so nobody truncates below the start.
    fn truncate(&mut self, topic: &str, percent: u64) -> Result<(), StorageError> {
        let log = self.open_log(topic)?;
        let Bounds { removed, start, next_index, .. } = log.bounds();
        let first = removed.next_index + u64::from(start > Offset::ZERO);
        if first > next_index {
            return Ok(());
        }
        let from = first + (next_index - first) * percent / 100;
        self.clock.epoch += 1;
        self.change(topic, &Change::Truncate(from), |_| log.truncate(from))
    }

    fn reset(&mut self, topic: &str) -> Result<(), StorageError> {
        let log = self.open_log(topic)?;
        let Bounds { next_index, end, last_epoch, .. } = log.bounds();
        // Mostly ahead, sometimes back to where other entries were.
        let (next_index, start) = match self.clock.serial % 3 {
            0 => (next_index / 2, Offset::new(end.get() / 2)),
            more => (next_index + 10 * more, end.plus(100 * more)),
        };
        let removed = Removed { next_index, epoch: last_epoch };
        self.change(topic, &Change::Reset(removed, start), |_| log.reset(removed, start))
    }

    fn remove(&mut self, topic: &str) -> Result<(), StorageError> {
        self.logs.remove(topic);
        self.change(topic, &Change::Remove, |run| run.storage().remove(&id(topic)))
    }

    fn store_blob(&mut self, topic: &str, name: &str, bytes: u64) -> Result<(), StorageError> {
        let after = self.open_log(topic)?.bounds().next_index;
        let value = self.clock.message(name, bytes);
        let change = Change::Blob { name: name.to_owned(), value: value.clone(), after };
        self.change(topic, &change, |run| run.storage().store_blob(&id(topic), name, &value))
    }

    fn reopen(&mut self) -> Result<(), StorageError> {
        self.storage().close()?;
        self.ledger.closed();
        let topics = self.topics();
        self.logs.clear();
        self.storage = None;
        self.storage = Some(open(&self.disk, &self.options)?);
        topics.iter().try_for_each(|topic| self.open_log(topic).map(drop))
    }
}

impl Clock {
    /// The next entry of a log: data in one or two batches, or now and then internal.
    fn entry(&mut self, topic: &str, index: u64, base_offset: Offset, bytes: u64) -> Entry {
        self.time += i64::from(self.serial.is_multiple_of(2));
        let (kind, record_count, payload) = match self.serial % 6 {
            5 => (EntryKind::Internal, 0, Bytes::from(self.message(topic, bytes))),
            4 => {
                let (first, second) = (self.batch(topic, base_offset, 2, bytes), 1);
                let rest = self.batch(topic, base_offset.plus(2), second, bytes);
                (EntryKind::Data, 3, Bytes::from([first, rest].concat()))
            }
            more => {
                let count = 1 + more as u32 / 2;
                (EntryKind::Data, count, self.batch(topic, base_offset, count, bytes))
            }
        };
        Entry { index, epoch: self.epoch, base_offset, record_count, append_time: self.time, kind, payload }
    }

    fn batch(&mut self, topic: &str, base_offset: Offset, count: u32, bytes: u64) -> Bytes {
        let mut batch = BatchBuilder::new();
        for _ in 0..count {
            let message = self.message(topic, bytes);
            batch.push(self.time, None, Some(&message), &[]);
        }
        batch.finish(base_offset, self.epoch as i32)
    }

    /// A message unlike all others.
    fn message(&mut self, topic: &str, bytes: u64) -> Vec<u8> {
        self.serial += 1;
        let mut message = format!("{topic} {}", self.serial).into_bytes();
        message.resize(message.len().max(bytes as usize), b'-');
        message
    }
}
