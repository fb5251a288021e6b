//! Retention: one task and one timer evict from all partitions.
//!
//! A partition with messages is armed: the task knows when its oldest message will be too old. A partition
//! without messages is not, and costs nothing. What expires within half a tick is evicted together, so a
//! message is gone at most one tick (a tenth of the retention, at most a second) after its age. Several
//! partitions are evicted from at a time, so that many that are due together are done within that tick.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, binary_heap::PeekMut},
    error::Error,
    sync::{Arc, Weak},
    time::Duration,
};

use minikafka_record::Offset;
use minikafka_storage::{Millis, Place, Seek, StorageError};
use tokio::{
    sync::{mpsc, watch},
    task::{JoinHandle, JoinSet},
};

use crate::{
    append_clock::{AppendClock, millis},
    partition::PartitionCore,
};

const TICK_MAX: Duration = Duration::from_secs(1);
/// Longest sleep. The timer stands still while the machine sleeps and the append clock does not.
const SLEEP_MAX: Duration = Duration::from_secs(60);
/// After a failed eviction: space is to be there soon after the cause of the failure is gone.
const RETRY: Duration = Duration::from_secs(2);
/// Evictions at the same time: enough to trim a thousand partitions within a tick, few enough not to crowd
/// out the disk's other work.
const EVICTIONS_MAX: usize = 8;

/// Where partitions announce that they have something to evict one day.
#[derive(Clone, Debug)]
pub(crate) struct RetentionQueue(mpsc::UnboundedSender<Weak<PartitionCore>>);

impl RetentionQueue {
    /// Bounded by the number of partitions: each is with the task, here or in its heap, at most once, because
    /// only the task disarms.
    pub(crate) fn new() -> (RetentionQueue, mpsc::UnboundedReceiver<Weak<PartitionCore>>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (RetentionQueue(sender), receiver)
    }

    pub(crate) fn push(&self, partition: &Arc<PartitionCore>) {
        // Without a task nothing is ever evicted.
        let _ = self.0.send(Arc::downgrade(partition));
    }
}

/// The task. Ends when it is told to, or the broker is gone.
pub(crate) struct Retention {
    pub(crate) age_max: Duration,
    pub(crate) clock: Arc<AppendClock>,
    pub(crate) armed: mpsc::UnboundedReceiver<Weak<PartitionCore>>,
}

/// The task, once it runs.
#[derive(Debug)]
pub(crate) struct RunningRetention {
    stop: watch::Sender<()>,
    task: JoinHandle<()>,
}

impl RunningRetention {
    /// Evicts nothing more, and waits for the evictions that run. Not to be called again once it has
    /// returned.
    pub(crate) async fn stop(&mut self) {
        self.stop.send_replace(());
        if let Err(join) = (&mut self.task).await {
            tracing::error!(error = %join, "the retention task failed");
        }
    }
}

/// A partition and the append time at which something of it is due.
struct Due {
    at: Millis,
    partition: Weak<PartitionCore>,
    attempt: Attempt,
}

/// Whether the last eviction failed; only the first failure in a row is an error in the log.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Attempt {
    First,
    Again,
}

impl Retention {
    pub(crate) fn start(self) -> RunningRetention {
        let (stop, stopped) = watch::channel(());
        RunningRetention { stop, task: tokio::spawn(self.run(stopped)) }
    }

    async fn run(mut self, mut stopped: watch::Receiver<()>) {
        let mut due: BinaryHeap<Reverse<Due>> = BinaryHeap::new();
        let mut running = JoinSet::new();
        loop {
            while running.len() < EVICTIONS_MAX
                && let Some(next) = self.pop(&mut due)
            {
                running.spawn(evict_in_time(next, self.clock.clone(), self.age_max));
            }
            // With none to spare, the next is due when one of them has ended.
            let sleep =
                due.peek().filter(|_| running.len() < EVICTIONS_MAX).map(|next| self.until(next.0.at));
            tokio::select! {
                _ = stopped.changed() => break,
                Some(partition) = self.armed.recv() => {
                    // What is oldest in it is yet to be found out.
                    due.push(Reverse(Due { at: Millis::MIN, partition, attempt: Attempt::First }));
                }
                Some(ended) = running.join_next() => due.extend(ended.ok().flatten().map(Reverse)),
                () = tokio::time::sleep(sleep.unwrap_or(SLEEP_MAX)), if sleep.is_some() => {}
            }
        }
        while running.join_next().await.is_some() {}
    }

    /// The next partition, if it is due.
    fn pop(&self, due: &mut BinaryHeap<Reverse<Due>>) -> Option<Due> {
        let next = due.peek_mut()?;
        self.until(next.0.at).is_zero().then(|| PeekMut::pop(next).0)
    }

    fn until(&self, at: Millis) -> Duration {
        let left = at.saturating_sub(self.clock.now());
        Duration::from_millis(left.max(0) as u64).min(SLEEP_MAX)
    }
}

/// Evicts what is too old now, and says when to come again.
async fn evict_in_time(due: Due, clock: Arc<AppendClock>, age_max: Duration) -> Option<Due> {
    let Due { partition, attempt, .. } = due;
    let core = partition.upgrade()?;
    let name = core.id.clone();
    let now = clock.now();
    let half_tick = millis((age_max / 10).min(TICK_MAX) / 2).max(1);
    let age_max = millis(age_max);
    let outcome = tokio::task::spawn_blocking(move || {
        let oldest = evict(&core, now.saturating_sub(age_max))?;
        if oldest.is_none() {
            core.disarm_retention();
        }
        Ok(oldest)
    });
    let error: Box<dyn Error + Send + Sync> = match outcome.await {
        Ok(Ok(Some(oldest))) => {
            let at = oldest.saturating_add(age_max).max(now).saturating_add(half_tick);
            return Some(Due { at, partition, attempt: Attempt::First });
        }
        Ok(Ok(None) | Err(StorageError::NotFound { .. } | StorageError::Closed)) => return None,
        Ok(Err(error)) => error.into(),
        Err(join) => join.into(),
    };
    match attempt {
        Attempt::First => tracing::error!(partition = %name, %error, "eviction failed, trying again"),
        Attempt::Again => tracing::debug!(partition = %name, %error, "eviction failed again"),
    }
    Some(Due { at: now.saturating_add(millis(RETRY)), partition, attempt: Attempt::Again })
}

/// Evicts what was appended at `cutoff` or before. Returns the append time of the oldest message left.
pub(crate) fn evict(core: &Arc<PartitionCore>, cutoff: Millis) -> Result<Option<Millis>, StorageError> {
    let high_watermark = core.high_watermark();
    let after = |time| {
        let place = core.log.seek(Seek::AppendedAfter(time))?;
        Ok::<_, StorageError>(place.filter(|place| place.offset < high_watermark))
    };
    let mut oldest = after(cutoff)?;
    let bounds = core.log.bounds();
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

fn trim(core: &PartitionCore, to: Offset) -> Result<(), StorageError> {
    let start = core.log.bounds().start;
    // Even if nothing is to go: an earlier trim may have work left, after a full disk.
    core.log.trim(to)?;
    if to > start {
        let evicted = to.since(start);
        tracing::debug!(partition = %core.id, evicted, start = %Offset::number(to), "evicted");
    }
    Ok(())
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
