//! What is evicted from a partition: what is too old, what is too much, and what somebody wants to be gone.
//!
//! By age, to the message. By size, in the steps in which storage gives space back: whole segments of a log in
//! files, entries of one in memory; what is being written to stays, however large.

use std::{sync::atomic::Ordering, time::Duration};

use minikafka_record::Offset;
use minikafka_storage::{Millis, Place, Seek, StorageError};

use crate::{Error, Partition, append_clock::millis, partition::PartitionCore};

/// Part of the size limit that is freed beyond what has to be, one in so many, and by which a log that cannot
/// shrink grows until the next look. So there is a look once in so many bytes, not with each message.
const SIZE_STEP_PART: u64 = 64;

/// What a partition may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    pub(crate) age_max: Option<Duration>,
    pub(crate) bytes_max: Option<u64>,
}

impl Limits {
    /// Append time at or before which messages are too old, if any can be.
    pub(crate) fn cutoff(&self, now: Millis) -> Option<Millis> {
        self.age_max.map(|age_max| now.saturating_sub(millis(age_max)))
    }

    /// Evicts all that these limits do not allow at this time.
    pub(crate) fn enforce(&self, core: &PartitionCore, now: Millis) -> Result<(), StorageError> {
        if let Some(cutoff) = self.cutoff(now) {
            by_age(core, cutoff)?;
        }
        by_size(core)
    }
}

/// Evicts what was appended at `cutoff` or before. Returns the append time of the oldest message left.
pub(crate) fn by_age(core: &PartitionCore, cutoff: Millis) -> Result<Option<Millis>, StorageError> {
    let high_watermark = core.high_watermark();
    let after = |time| {
        let place = core.log().seek(Seek::AppendedAfter(time))?;
        Ok::<_, StorageError>(place.filter(|place| place.offset < high_watermark))
    };
    let mut oldest = after(cutoff)?;
    let bounds = core.log().bounds();
    if bounds.damaged > 0 {
        // What is lost has no age that could be read. It goes with the message before it; where there is none,
        // with the one behind it, or with the last one there ever was.
        let last = bounds.last_append_time.unwrap_or(cutoff);
        let first = after(Millis::MIN)?;
        let is_young = oldest.is_some() || last > cutoff;
        if is_young && first.map(|place| place.offset) == oldest.map(|place| place.offset) {
            let time = oldest.map_or(last, |place| place.time);
            oldest = Some(Place { offset: bounds.start, time });
        }
    }
    trim(core, oldest.map_or(high_watermark, |place| place.offset))?;
    Ok(oldest.map(|place| place.time))
}

/// Evicts the oldest messages when the log takes up more than the limit, until it does not, and says from which
/// size on it is worth looking again.
pub(crate) fn by_size(core: &PartitionCore) -> Result<(), StorageError> {
    let mut limit = core.watch.limits.kept().bytes_max;
    loop {
        let Some(bytes_max) = limit else { return Ok(()) };
        let step = bytes_max / SIZE_STEP_PART;
        let before = core.log().bounds();
        if before.size_bytes > bytes_max
            && let Some(newest) = core.log().seek(Seek::Newest(bytes_max - step))?
        {
            trim(core, newest.offset.min(core.high_watermark()))?;
        }
        let after = core.log().bounds();
        let left = after.size_bytes.saturating_add(step);
        core.watch.look_above_bytes.store(left.max(bytes_max), Ordering::Release);
        // What was appended meanwhile may be too much again, and perhaps nothing comes any more that would be reason to look.
        let is_shrinking = after.start > before.start && after.size_bytes > bytes_max;
        // Somebody may have changed the limit meanwhile, and must not find the old one at work.
        let now = core.watch.limits.kept().bytes_max;
        if now == limit && !is_shrinking {
            return Ok(());
        }
        limit = now;
    }
}

impl Partition {
    /// Evicts all messages before `end`, whatever their age and size, and returns the first offset that is left, which
    /// lies behind `end` if they had been evicted before. Readers see the new start at once, and it is durable on
    /// return; a caller that goes away may find it done or not.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] when `end` lies beyond what is committed; when the partition is no longer in service, or
    /// the disk fails.
    pub async fn evict_before(&self, end: Offset) -> Result<Offset, Error> {
        self.core.check_open()?;
        if end > self.core.high_watermark() {
            return Err(self.core.out_of_range(end, self.bounds().start));
        }
        // As many at a time as there may be cold reads: this waits for the same disk.
        let turn = self.core.cold_reads.clone().acquire_owned().await.map_err(|_| Error::Stopping)?;
        let core = self.core.clone();
        let trimmed = tokio::task::spawn_blocking(move || {
            let trimmed = trim(&core, end);
            drop(turn);
            trimmed
        });
        match trimmed.await {
            Ok(outcome) => outcome.map_err(|error| self.core.error(error))?,
            Err(join) if join.is_panic() => std::panic::resume_unwind(join.into_panic()),
            Err(_) => return Err(Error::Stopping),
        }
        Ok(self.bounds().start)
    }
}

fn trim(core: &PartitionCore, to: Offset) -> Result<(), StorageError> {
    let log = core.log();
    let before = log.bounds();
    let start = before.start;
    if to > start {
        core.producers.store_before_trim(to)?;
    }
    // Even if nothing is to go: an earlier trim may have work left, after a full disk.
    log.trim(to)?;
    if to > start {
        let evicted = to.since(start);
        core.meter.evicted(evicted, before.size_bytes.saturating_sub(log.bounds().size_bytes));
        tracing::debug!(partition = %core.id, evicted, start = %Offset::number(to), "evicted");
    }
    Ok(())
}
