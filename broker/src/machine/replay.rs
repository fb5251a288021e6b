//! Opening a machine: the snapshot, and then what the log holds behind it.

use std::sync::Arc;

use minikafka_record::{Offset, RecordBatch};
use minikafka_storage::{Log, LogId, Millis, Storage, StorageError};

use super::{
    StateMachine,
    snapshot::{LoadError, Snapshot},
};
use crate::Error;

/// Bytes that are read at a time.
const READ_BYTES: usize = 1024 * 1024;
/// Logs that may follow each other, each because the one before could not be opened at all: more is not damage,
/// but a disk that nothing can be stored on.
const SUCCESSORS_MAX: u32 = 16;

/// What the log has made of the state.
pub(super) struct Replayed<S> {
    pub(super) id: LogId,
    pub(super) log: Arc<dyn Log>,
    pub(super) state: S,
    /// End of what is applied: of the log.
    pub(super) applied: Offset,
    /// Bytes of commands since the snapshot.
    pub(super) bytes: u64,
    pub(super) has_losses: bool,
}

pub(super) fn open<S: StateMachine>(
    storage: &dyn Storage,
    id: LogId,
    state: S,
) -> Result<Replayed<S>, Error> {
    let (id, log, is_whole) = open_log(storage, id)?;
    let start = log.bounds().start;
    let mut replayed = Replayed { id, log, state, applied: start, bytes: 0, has_losses: !is_whole };
    replayed.restore(storage)?;
    replayed.apply_all()?;
    Ok(replayed)
}

/// The newest log of a machine, and whether it is the first one.
fn open_log(storage: &dyn Storage, mut id: LogId) -> Result<(LogId, Arc<dyn Log>, bool), Error> {
    let found = storage.list().map_err(Error::Storage)?;
    let first = id.partition;
    let newest = found.iter().filter(|log| log.topic == id.topic && log.topic_id == id.topic_id);
    id.partition = newest.map(|log| log.partition).max().unwrap_or(first);
    let mut is_whole = true;
    loop {
        match storage.open_reserved(&id) {
            Ok(log) => return Ok((id, log, is_whole)),
            Err(error @ StorageError::Damaged { .. }) if id.partition < first + SUCCESSORS_MAX => {
                tracing::error!(log = %id, %error, "what this log held is lost, another one takes its place");
                id.partition += 1;
                is_whole = false;
            }
            Err(StorageError::Full(what)) => return Err(Error::Full(what)),
            Err(error) => return Err(Error::Storage(error)),
        }
    }
}

/// The commands of one entry, and when it was appended.
type Round<C> = (Vec<C>, Millis);

/// What a log that was opened again after a failure holds from `from` on: what was on its way then, and is there for
/// good.
pub(super) fn read_rounds<S: StateMachine>(
    log: &dyn Log,
    from: Offset,
) -> Result<Vec<Round<S::Command>>, Error> {
    let end = log.bounds().end;
    let (mut next, mut rounds) = (from, Vec::new());
    while next < end {
        let batches = log.read(next, end, READ_BYTES).map_err(Error::Storage)?;
        for batch in &batches {
            let mut round = (Vec::new(), Millis::MIN);
            for record in batch.records() {
                let record = record.map_err(Error::from)?;
                if record.offset < next {
                    continue;
                }
                let command = S::decode(record.value.as_deref().unwrap_or_default());
                let command = command.map_err(|error| Error::InvalidRequest(error.to_string()))?;
                round.0.push(command);
                round.1 = record.timestamp;
                next = record.offset.plus(1);
            }
            rounds.push(round);
        }
    }
    Ok(rounds)
}

impl<S: StateMachine> Replayed<S> {
    fn restore(&mut self, storage: &dyn Storage) -> Result<(), Error> {
        match Snapshot::load(storage, &self.id) {
            Ok(Some(snapshot)) => {
                let restored = self.state.restore(&snapshot.state);
                restored.map_err(|error| self.unreadable("snapshot", &error))?;
                if snapshot.offset() < self.applied {
                    self.lost(&"the snapshot is older than the log's start");
                }
                self.applied = self.applied.max(snapshot.offset());
                Ok(())
            }
            Ok(None) if self.applied == Offset::ZERO => Ok(()),
            Ok(None) => {
                self.lost(&"the snapshot is missing");
                Ok(())
            }
            Err(LoadError::Storage(error @ StorageError::Damaged { .. })) => {
                self.lost(&error);
                Ok(())
            }
            Err(LoadError::Storage(error)) => Err(Error::Storage(error)),
            Err(LoadError::Format(error)) => Err(self.unreadable("snapshot", &error)),
        }
    }

    fn apply_all(&mut self) -> Result<(), Error> {
        let end = self.log.bounds().end;
        if self.applied > end {
            self.lost(&"the log ends before the snapshot");
            self.applied = end;
        }
        while self.applied < end {
            match self.log.read(self.applied, end, READ_BYTES) {
                Ok(batches) => {
                    let before = self.applied;
                    batches.iter().try_for_each(|batch| self.apply(batch))?;
                    if self.applied == before {
                        return Ok(());
                    }
                }
                Err(StorageError::Damaged { lost, .. }) => {
                    let next = lost.map_or(end, |lost| lost.end).clamp(self.applied.plus(1), end);
                    self.lost(&format_args!("commands {} to {} are damaged", self.applied.number(), next));
                    self.applied = next;
                }
                Err(error) => return Err(Error::Storage(error)),
            }
        }
        Ok(())
    }

    fn apply(&mut self, batch: &RecordBatch) -> Result<(), Error> {
        self.bytes += batch.bytes().len() as u64;
        let (mut outputs, mut at) = (Vec::new(), Millis::MIN);
        for record in batch.records() {
            let record = record.map_err(Error::from)?;
            if record.offset < self.applied {
                continue;
            }
            let command = S::decode(record.value.as_deref().unwrap_or_default());
            let command = command
                .map_err(|error| self.unreadable(&format!("command {}", record.offset.number()), &error))?;
            at = record.timestamp;
            outputs.push(self.state.apply(command, at));
            self.applied = record.offset.plus(1);
        }
        for output in outputs.iter_mut().filter(|output| S::is_unsettled(output)) {
            self.state.settle(output, at);
        }
        Ok(())
    }

    fn lost(&mut self, what: &dyn std::fmt::Display) {
        tracing::error!(log = %self.id, %what, "the disk has lost a part of what the server knows");
        self.has_losses = true;
    }

    fn unreadable(&self, what: &str, error: &dyn std::fmt::Display) -> Error {
        Error::LaterVersion { log: self.id.to_string(), what: format!("{what}: {error}") }
    }
}
