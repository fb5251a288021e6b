//! Reading what a log says about its producers: their stamps stand in the headers of its batches.

use minikafka_record::{Offset, RecordBatch};
use minikafka_storage::{Log, LogId, Millis, Seek, StorageError};

use super::{
    memory::SNAPSHOT_BYTES,
    snapshot::Snapshot,
    state::{Place, Producers},
};

/// Bytes that are read at a time.
const READ_BYTES: usize = 1 << 20;
/// Most bytes that are read at all, from the end of the log. There is a snapshot in each [`SNAPSHOT_BYTES`], unless
/// storing them failed, or the log is from a time when no batch had a producer.
const READ_BYTES_MAX: u64 = 4 * SNAPSHOT_BYTES;

/// Adds what a snapshot and the log behind it say. Returns how many bytes the latter has.
pub(super) fn replay<W>(
    producers: &mut Producers<W>,
    snapshot: Option<Snapshot>,
    id: &LogId,
    log: &dyn Log,
) -> Result<u64, StorageError> {
    let bounds = log.bounds();
    let snapshot = snapshot.unwrap_or_default();
    let from = Start { index: snapshot.next_index, offset: snapshot.next_offset };
    producers.restore(snapshot, bounds.end);
    let newest = log.seek(Seek::Newest(READ_BYTES_MAX));
    match newest {
        // Behind the snapshot there is more than is worth reading.
        Ok(Some(newest)) if newest.offset > from.offset.max(bounds.start) => {
            by_offset(producers, newest.offset, id, log)
        }
        Ok(_) | Err(StorageError::Damaged { .. }) => by_index(producers, from, id, log),
        Err(error) => Err(error),
    }
}

/// Where to begin.
#[derive(Clone, Copy)]
pub(super) struct Start {
    pub(super) index: u64,
    pub(super) offset: Offset,
}

/// Reads entries, which say when they were appended.
pub(super) fn by_index<W>(
    producers: &mut Producers<W>,
    from: Start,
    id: &LogId,
    log: &dyn Log,
) -> Result<u64, StorageError> {
    let bounds = log.bounds();
    let mut next = from.index.max(bounds.removed.next_index);
    let mut offset = from.offset.max(bounds.start);
    let mut bytes = 0;
    while next < bounds.next_index {
        let entries = match log.entries(next..bounds.next_index, READ_BYTES) {
            Ok(entries) => entries,
            // Nobody knows the index behind the damage.
            Err(StorageError::Damaged { .. }) => {
                return Ok(bytes + by_offset(producers, offset, id, log)?);
            }
            Err(error) => return Err(error),
        };
        let Some(last) = entries.last() else { break };
        (next, offset) = (last.index + 1, last.end_offset());
        for entry in &entries {
            bytes += entry.payload.len() as u64;
            entry.batches().for_each(|batch| observe(producers, &batch, entry.append_time));
        }
    }
    Ok(bytes)
}

/// Reads batches, around damage. When they were appended is not known but for the last: so producers expire later
/// than they would.
fn by_offset<W>(
    producers: &mut Producers<W>,
    from: Offset,
    id: &LogId,
    log: &dyn Log,
) -> Result<u64, StorageError> {
    let bounds = log.bounds();
    let append_time = bounds.last_append_time.unwrap_or(Millis::MIN);
    let mut next = from.max(bounds.start);
    let mut bytes = 0;
    while next < bounds.end {
        match log.read(next, bounds.end, READ_BYTES) {
            Ok(batches) => {
                let Some(last) = batches.last() else { break };
                next = last.end_offset();
                for batch in &batches {
                    bytes += batch.bytes().len() as u64;
                    observe(producers, batch, append_time);
                }
            }
            Err(StorageError::Damaged { lost: Some(lost), .. }) if lost.end > next => next = lost.end,
            Err(error @ StorageError::Damaged { .. }) => {
                tracing::warn!(partition = %id, %error, "what the damaged part says about producers is not known");
                break;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(bytes)
}

fn observe<W>(producers: &mut Producers<W>, batch: &RecordBatch, append_time: Millis) {
    if let Some(stamp) = batch.header().producer() {
        let place = Place {
            sequence: stamp.sequence,
            count: batch.count() as u32,
            base_offset: batch.base_offset(),
            append_time,
        };
        producers.observe(stamp, place);
    }
}
