//! Fetching: from memory if possible, from the disk if not; at the end, waiting to be woken.

use std::time::{Duration, Instant as StdInstant};

use minikafka_record::{Offset, RecordBatch};
use minikafka_storage::{Log, StorageError};
use tokio::time::Instant;

use crate::{Error, Partition, partition::PartitionCore};

/// What was fetched.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// Whole batches, in order, as stored; the first holds the wanted offset, and may begin before it. Empty
    /// when nothing came in time.
    pub batches: Vec<RecordBatch>,
    /// Where to fetch next.
    pub next: Offset,
    /// First offset not evicted.
    pub start: Offset,
    /// First offset that cannot be read yet.
    pub high_watermark: Offset,
}

impl Partition {
    /// The batches from the one that holds `from`: at least one, and no more once they have `bytes_max`
    /// bytes. At the end, waits up to `wait` for the next one.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] when `from` lies before the start or beyond the high watermark;
    /// [`Error::Damaged`] when the message at `from` is lost: it says where to go on;
    /// [`Error::Stopping`] and [`Error::TopicNotFound`] also while it waits.
    pub async fn fetch(&self, from: Offset, bytes_max: usize, wait: Duration) -> Result<Fetched, Error> {
        let deadline = Instant::now().checked_add(wait);
        let mut progress = self.core.progress.subscribe();
        loop {
            self.core.check_open()?;
            let high_watermark = progress.borrow_and_update().high_watermark;
            let start = self.core.log.bounds().start;
            if from < start || from > high_watermark {
                return Err(self.core.out_of_range(from, start));
            }
            if from < high_watermark {
                let begin = StdInstant::now();
                let batches = self.read(from, high_watermark, bytes_max).await?;
                let next = batches.last().map_or(from, RecordBatch::end_offset);
                let bytes: usize = batches.iter().map(|batch| batch.bytes().len()).sum();
                self.core.meter.fetched(next.since(from), bytes as u64, begin);
                tracing::debug!(
                    partition = %self.core.id,
                    number = from.number(),
                    count = next.since(from),
                    bytes,
                    "fetched"
                );
                return Ok(Fetched { batches, next, start, high_watermark });
            }
            let woken = match deadline {
                Some(deadline) => tokio::time::timeout_at(deadline, progress.changed()).await.is_ok(),
                None => progress.changed().await.is_ok(),
            };
            if !woken {
                return Ok(Fetched { batches: Vec::new(), next: from, start, high_watermark });
            }
        }
    }

    async fn read(&self, from: Offset, upper: Offset, bytes_max: usize) -> Result<Vec<RecordBatch>, Error> {
        let in_memory = self.core.log.read_tail(from, upper, bytes_max);
        if let Some(batches) = in_memory.map_err(|error| self.core.read_error(from, error))? {
            return Ok(batches);
        }
        let core = self.core.clone();
        let read = move |log: &dyn Log| Ok(log.read(from, upper, bytes_max));
        self.core.read_cold(read).await?.map_err(|error| core.read_error(from, error))
    }
}

impl PartitionCore {
    /// What a storage error means to who reads at `from`.
    fn read_error(&self, from: Offset, error: StorageError) -> Error {
        let StorageError::Damaged { lost, .. } = &error else { return self.error(error) };
        // Eviction may have gone past it meanwhile.
        let next = lost.as_ref().map(|lost| lost.end.max(self.log.bounds().start));
        Error::Damaged {
            topic: self.id.topic.clone(),
            partition: self.id.partition,
            from: lost.as_ref().map_or(from, |lost| lost.start.max(from)),
            // Whoever goes on must get ahead.
            next: next.filter(|next| *next > from),
            reason: error.to_string(),
        }
    }
}
