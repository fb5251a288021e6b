//! Whose term a record is of: the leader epoch under which it was appended, and where the records of a term end.
//!
//! Leader epochs never fall within a log, so that a search by halves finds where one ends. A log of term 0 alone, as
//! every log is that never was in a cluster, is not looked at for that.

use minikafka_record::{Offset, RecordBatch};
use minikafka_storage::{Epoch, Log, StorageError};

use crate::{Error, Partition};

/// Where the records of a term end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TermEnd {
    /// The term: the one that was asked for, or the last one before it that has records.
    pub leader_epoch: Epoch,
    /// The offset behind its last record.
    pub end: Offset,
}

impl Partition {
    /// The leader epoch of the record at this offset, or of the first one behind it that can be read; the current one at the end.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub async fn leader_epoch_at(&self, offset: Offset) -> Result<Epoch, Error> {
        let current = self.leader_epoch();
        let log = self.core.log();
        if offset >= log.bounds().end || is_known_to_be_of_one_term(&*log) {
            return Ok(current);
        }
        let found = self.core.read_cold(move |log| epoch_at(log, offset)).await?;
        Ok(found.unwrap_or(current))
    }

    /// Where the committed records of a term end, as Kafka's OffsetForLeaderEpoch has it: of a term that has none, those of the
    /// terms before it. `None` for a term that is yet to come.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub async fn term_end(&self, leader_epoch: Epoch) -> Result<Option<TermEnd>, Error> {
        let (current, high_watermark) = (self.leader_epoch(), self.bounds().high_watermark);
        if leader_epoch >= current {
            let is_current = leader_epoch == current;
            return Ok(is_current.then_some(TermEnd { leader_epoch, end: high_watermark }));
        }
        self.core.read_cold(move |log| term_end(log, leader_epoch, high_watermark)).await.map(Some)
    }
}

/// Whether all its records are known to have been appended under the same leader epoch.
fn is_known_to_be_of_one_term(log: &dyn Log) -> bool {
    let bounds = log.bounds();
    bounds.removed.epoch == bounds.last_epoch
}

/// The epoch of the first record from an offset on that is neither evicted nor lost.
fn epoch_at(log: &dyn Log, offset: Offset) -> Result<Option<Epoch>, StorageError> {
    let mut from = offset;
    loop {
        let bounds = log.bounds();
        from = from.max(bounds.start);
        match log.read(from, bounds.end, 1) {
            Ok(batches) => return Ok(batches.first().map(epoch_of)),
            Err(StorageError::OutOfRange { start, .. }) if start > from => {}
            Err(StorageError::Damaged { lost: Some(lost), .. }) => from = lost.end,
            Err(error) => return Err(error),
        }
    }
}

fn epoch_of(batch: &RecordBatch) -> Epoch {
    Epoch::try_from(batch.header().leader_epoch).unwrap_or_default()
}

/// Of a term before the current one.
fn term_end(log: &dyn Log, wanted: Epoch, high_watermark: Offset) -> Result<TermEnd, StorageError> {
    let start = log.bounds().start;
    let (mut below, mut end) = (start, high_watermark);
    while below < end {
        let half = Offset::new(below.get() + (end.get() - below.get()) / 2);
        match epoch_at(log, half)? {
            Some(epoch) if epoch <= wanted => below = Offset::new(half.get() + 1),
            _ => end = half,
        }
    }
    let before = end.get().checked_sub(1).map(Offset::new).filter(|last| *last >= start);
    let last = before.map(|last| epoch_at(log, last)).transpose()?.flatten();
    Ok(TermEnd { leader_epoch: last.filter(|epoch| *epoch <= wanted).unwrap_or(wanted), end })
}
