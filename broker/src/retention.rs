//! Retention: one task and one timer evict from all partitions.
//!
//! A partition with messages is armed: the task knows when its oldest message will be too old. A partition without
//! messages is not, and costs nothing. What expires within half a tick is evicted together, so a message is gone at
//! most one tick (a tenth of the retention, at most a second) after its age.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    sync::{Arc, Weak, atomic::Ordering},
    time::Duration,
};

use minikafka_record::Offset;
use minikafka_storage::{Millis, Seek, StorageError};
use tokio::sync::mpsc;

use crate::{
    append_clock::{AppendClock, millis},
    partition::PartitionCore,
};

const TICK_MAX: Duration = Duration::from_secs(1);
/// Longest sleep. The timer stands still while the machine sleeps and the append clock does not.
const SLEEP_MAX: Duration = Duration::from_secs(60);
/// After a failed eviction.
const RETRY: Duration = Duration::from_secs(10);

/// Where partitions announce that they have something to evict one day.
#[derive(Clone, Debug)]
pub(crate) struct RetentionQueue(mpsc::UnboundedSender<Weak<PartitionCore>>);

impl RetentionQueue {
    /// Bounded by the number of partitions: each is in it at most once.
    pub(crate) fn new() -> (RetentionQueue, mpsc::UnboundedReceiver<Weak<PartitionCore>>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (RetentionQueue(sender), receiver)
    }

    pub(crate) fn push(&self, partition: &Arc<PartitionCore>) {
        // Without a task nothing is ever evicted.
        let _ = self.0.send(Arc::downgrade(partition));
    }
}

/// The task. Ends when the broker is gone.
pub(crate) struct Retention {
    pub(crate) age_max: Duration,
    pub(crate) clock: Arc<AppendClock>,
    pub(crate) armed: mpsc::UnboundedReceiver<Weak<PartitionCore>>,
}

/// A partition and the append time at which something of it is due.
struct Due {
    at: Millis,
    partition: Weak<PartitionCore>,
}

impl Retention {
    pub(crate) async fn run(mut self) {
        let mut due: BinaryHeap<Reverse<Due>> = BinaryHeap::new();
        loop {
            let sleep = match due.peek() {
                Some(Reverse(next)) => self.until(next.at),
                None => SLEEP_MAX,
            };
            if sleep.is_zero() {
                let Some(Reverse(Due { partition, .. })) = due.pop() else { continue };
                due.extend(self.evict(partition).await.map(Reverse));
                continue;
            }
            let idle = due.is_empty();
            tokio::select! {
                armed = self.armed.recv() => match armed {
                    Some(partition) => due.extend(self.evict(partition).await.map(Reverse)),
                    None => return,
                },
                () = tokio::time::sleep(sleep), if !idle => {}
            }
        }
    }

    fn until(&self, at: Millis) -> Duration {
        let left = at.saturating_sub(self.clock.now());
        Duration::from_millis(left.max(0) as u64).min(SLEEP_MAX)
    }

    /// Evicts what is too old now, and says when to come again.
    async fn evict(&self, partition: Weak<PartitionCore>) -> Option<Due> {
        let core = partition.upgrade()?;
        let name = core.id.clone();
        let now = self.clock.now();
        let age_max = millis(self.age_max);
        let half_tick = millis((self.age_max / 10).min(TICK_MAX) / 2).max(1);
        // One at a time: eviction is not to crowd out the disk's other work.
        let outcome =
            tokio::task::spawn_blocking(move || evict(&core, now.saturating_sub(age_max))).await.ok()?;
        match outcome {
            Ok(Some(oldest)) => {
                Some(Due { at: oldest.saturating_add(age_max).max(now).saturating_add(half_tick), partition })
            }
            Ok(None) => None,
            Err(StorageError::NotFound { .. } | StorageError::Closed) => None,
            Err(error) => {
                tracing::error!(partition = %name, %error, "eviction failed, trying again");
                Some(Due { at: now.saturating_add(millis(RETRY)), partition })
            }
        }
    }
}

/// Evicts what was appended at `cutoff` or before. Returns the append time of the oldest message left.
pub(crate) fn evict(core: &Arc<PartitionCore>, cutoff: Millis) -> Result<Option<Millis>, StorageError> {
    let high_watermark = core.high_watermark();
    let oldest = core.log.seek(Seek::AppendedAfter(cutoff))?.filter(|place| place.offset < high_watermark);
    let to = oldest.map_or(high_watermark, |place| place.offset);
    let start = core.log.bounds().start;
    if to > start {
        core.log.trim(to)?;
        let evicted = to.since(start);
        tracing::debug!(partition = %core.id, evicted, start = %Offset::number(to), "evicted");
    }
    if oldest.is_none() {
        core.retention_armed.store(false, Ordering::Release);
        // Something may have been committed since the high watermark was read.
        core.arm_retention();
    }
    Ok(oldest.map(|place| place.time))
}

impl PartialEq for Due {
    fn eq(&self, other: &Due) -> bool {
        self.at == other.at
    }
}

impl Eq for Due {}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Due) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Due {
    fn cmp(&self, other: &Due) -> std::cmp::Ordering {
        self.at.cmp(&other.at)
    }
}
