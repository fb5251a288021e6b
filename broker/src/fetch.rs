//! Fetching: from memory if possible, from the disk if not; at the end, waiting to be woken.

use std::{
    future::Future,
    sync::Arc,
    time::{Duration, Instant as StdInstant},
};

use minikafka_record::{Offset, RecordBatch};
use minikafka_storage::{Log, StorageError};
use tokio::time::Instant;

use crate::{
    Error, Partition,
    partition::{PartitionCore, PartitionState, Progress},
};

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
            let Progress { log, high_watermark, .. } = progress.borrow_and_update().clone();
            let start = self.core.check_range(&*log, from, high_watermark)?;
            if from < high_watermark {
                let begin = StdInstant::now();
                let Some(batches) = self.read(log, from, high_watermark, bytes_max).await? else {
                    // It was opened again after a failure: the other one comes at once.
                    progress.changed().await.map_err(|_| Error::Stopping)?;
                    continue;
                };
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

    /// Whether `from` can be read, now or once it is written.
    ///
    /// # Errors
    /// [`Error::OutOfRange`], and when the partition is no longer in service.
    pub fn check_range(&self, from: Offset) -> Result<(), Error> {
        self.core.check_open()?;
        self.core.check_range(&*self.core.log(), from, self.core.high_watermark()).map(|_start| ())
    }

    /// Waits until a [`fetch`](Partition::fetch) at `from`, which was the end, has something to say: that there are
    /// messages, or that there will be none. Those who wait for many partitions at once keep one of these for each.
    pub fn wait_beyond(&self, from: Offset) -> impl Future<Output = ()> + Send + use<> {
        let mut progress = self.core.progress.subscribe();
        async move {
            let is_news = |now: &Progress| now.high_watermark > from || now.state != PartitionState::Open;
            // Without a sender there is no partition any more, which the fetch will say.
            let _ = progress.wait_for(is_news).await;
        }
    }

    /// `None` when another log has taken the place of this one.
    async fn read(
        &self,
        log: Arc<dyn Log>,
        from: Offset,
        upper: Offset,
        bytes_max: usize,
    ) -> Result<Option<Vec<RecordBatch>>, Error> {
        let outcome = match log.read_tail(from, upper, bytes_max) {
            Ok(Some(batches)) => Ok(batches),
            Ok(None) => self.core.read_cold(move |_| Ok(log.read(from, upper, bytes_max))).await?,
            Err(error) => Err(error),
        };
        match outcome {
            Ok(batches) => Ok(Some(batches)),
            Err(StorageError::Reopened) => Ok(None),
            Err(error) => Err(self.core.read_error(from, error)),
        }
    }
}

impl PartitionCore {
    /// The first offset kept, if `from` is not out of range.
    fn check_range(&self, log: &dyn Log, from: Offset, high_watermark: Offset) -> Result<Offset, Error> {
        let start = log.bounds().start;
        if from < start || from > high_watermark {
            return Err(self.out_of_range(from, start));
        }
        Ok(start)
    }

    /// What a storage error means to who reads at `from`.
    fn read_error(&self, from: Offset, error: StorageError) -> Error {
        let StorageError::Damaged { lost, .. } = &error else { return self.error(error) };
        // Eviction may have gone past it meanwhile.
        let next = lost.as_ref().map(|lost| lost.end.max(self.log().bounds().start));
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
