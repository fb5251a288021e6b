//! Retention: one task and one timer evict from all partitions.
//!
//! A partition with messages is armed: the task knows when its oldest message will be too old. A partition
//! without messages is not, and costs nothing. One that takes up too much says so when the commit that makes it
//! too large is done; nobody looks at sizes otherwise. What expires within half a tick is evicted together, so a
//! message is gone at most one tick (a tenth of the retention, at most a second) after its age. Several
//! partitions are evicted from at a time, so that many that are due together are done within that tick.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, binary_heap::PeekMut},
    error::Error,
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use minikafka_storage::{Millis, StorageError};
use tokio::{
    sync::{mpsc, watch},
    task::{JoinHandle, JoinSet},
};

use crate::{
    append_clock::{AppendClock, millis},
    eviction::{self, Limits},
    partition::PartitionCore,
    settings::TopicLimits,
};

const TICK_MAX: Duration = Duration::from_secs(1);
/// Longest sleep. The timer stands still while the machine sleeps and the append clock does not.
const SLEEP_MAX: Duration = Duration::from_secs(60);
/// After a failed eviction: space is to be there soon after the cause of the failure is gone.
const RETRY: Duration = Duration::from_secs(2);
/// Evictions at the same time: enough to trim a thousand partitions within a tick, few enough not to crowd
/// out the disk's other work.
const EVICTIONS_MAX: usize = 8;

/// Why a partition is looked after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// It has messages, which grow too old one day.
    Age,
    /// It takes up too much.
    Size,
}

/// A partition that has something to evict, now or one day.
type Announcement = (Why, Turn, Weak<PartitionCore>);

/// How often the limits of a partition have changed: what was due by the old ones is void.
type Turn = u64;

/// Where partitions announce that they have something to evict.
#[derive(Clone, Debug)]
pub(crate) struct RetentionQueue(mpsc::UnboundedSender<Announcement>);

impl RetentionQueue {
    /// Bounded by the number of partitions: each is with the task, here or in its heap, at most once for each
    /// reason and change of its limits, because only the task disarms.
    pub(crate) fn new() -> (RetentionQueue, mpsc::UnboundedReceiver<Announcement>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (RetentionQueue(sender), receiver)
    }
}

/// What a partition has told the retention task.
#[derive(Debug)]
pub(crate) struct Watch {
    queue: RetentionQueue,
    /// What counts for its topic.
    pub(crate) limits: Arc<TopicLimits>,
    by_age: Armed,
    by_size: Armed,
    /// Bytes above which there may be too much.
    pub(crate) look_above_bytes: AtomicU64,
}

/// Whether the task knows that there is something to evict, now or one day, and by which turn: one word, so that
/// what is void cannot disarm. The lowest bit says whether, the others are the turn.
#[derive(Debug, Default)]
struct Armed(AtomicU64);

impl Armed {
    fn is_armed(&self) -> bool {
        self.0.load(Ordering::Acquire) & 1 == 1
    }

    fn is_current(&self, turn: Turn) -> bool {
        self.0.load(Ordering::Acquire) >> 1 == turn
    }

    /// Arms, unless it is. Returns the turn if it was not.
    fn arm(&self) -> Option<Turn> {
        let before = self.0.fetch_or(1, Ordering::AcqRel);
        (before & 1 == 0).then_some(before >> 1)
    }

    /// Arms for a new turn.
    fn rearm(&self) -> Turn {
        let next = |word: u64| Some(((word >> 1) + 1) << 1 | 1);
        let before = self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, next);
        (before.unwrap_or_else(|word| word) >> 1) + 1
    }

    /// Ends a turn, if it is the current one.
    fn disarm(&self, turn: Turn) -> bool {
        let armed = turn << 1 | 1;
        self.0.compare_exchange(armed, turn << 1, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}

impl Watch {
    pub(crate) fn new(queue: RetentionQueue, limits: Arc<TopicLimits>) -> Watch {
        let look_above_bytes = limits.kept().bytes_max.unwrap_or(u64::MAX).into();
        Watch { queue, limits, by_age: Armed::default(), by_size: Armed::default(), look_above_bytes }
    }

    fn armed(&self, why: Why) -> &Armed {
        match why {
            Why::Age => &self.by_age,
            Why::Size => &self.by_size,
        }
    }
}

impl PartitionCore {
    /// Has retention look after this partition where there is need to, unless it does already.
    pub(crate) fn arm_retention(self: &Arc<Self>) {
        self.arm(Why::Age);
        self.arm(Why::Size);
    }

    /// The limits have changed: what is due is to be found out anew.
    pub(crate) fn rearm_retention(self: &Arc<Self>) {
        let bytes_max = self.watch.limits.kept().bytes_max;
        self.watch.look_above_bytes.store(bytes_max.unwrap_or(u64::MAX), Ordering::Release);
        for why in [Why::Age, Why::Size] {
            self.announce(why, self.watch.armed(why).rearm());
        }
    }

    fn arm(self: &Arc<Self>, why: Why) {
        let armed = self.watch.armed(why);
        // Looked at first, because by age it almost always is.
        if armed.is_armed() || !self.has_to_evict(why) {
            return;
        }
        if let Some(turn) = armed.arm() {
            self.announce(why, turn);
        }
    }

    fn announce(self: &Arc<Self>, why: Why, turn: Turn) {
        // After a stop nothing is evicted.
        let _ = self.watch.queue.0.send((why, turn, Arc::downgrade(self)));
    }

    /// Whether there is something to evict, now or one day.
    fn has_to_evict(&self, why: Why) -> bool {
        let Limits { age_max, bytes_max } = self.watch.limits.kept();
        match why {
            Why::Age => age_max.is_some() && self.log().bounds().start < self.high_watermark(),
            Why::Size => {
                let look_above_bytes = self.watch.look_above_bytes.load(Ordering::Acquire);
                bytes_max.is_some() && self.log().bounds().size_bytes > look_above_bytes
            }
        }
    }

    /// Retention is done with this partition, until there is something to evict again. Only the retention task
    /// may say so: nobody else knows whether it has the partition still.
    fn disarm(self: &Arc<Self>, why: Why, turn: Turn) {
        if self.watch.armed(why).disarm(turn) {
            // Something may have been committed since it was looked at.
            self.arm(why);
        }
    }
}

/// The task. Ends when it is told to, or the broker is gone.
pub(crate) struct Retention {
    pub(crate) clock: Arc<AppendClock>,
    pub(crate) armed: mpsc::UnboundedReceiver<Announcement>,
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
    why: Why,
    turn: Turn,
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
                running.spawn(evict_in_time(next, self.clock.clone()));
            }
            // With none to spare, the next is due when one of them has ended.
            let sleep =
                due.peek().filter(|_| running.len() < EVICTIONS_MAX).map(|next| self.until(next.0.at));
            tokio::select! {
                _ = stopped.changed() => break,
                Some((why, turn, partition)) = self.armed.recv() => {
                    // What is oldest in it is yet to be found out.
                    due.push(Reverse(Due { at: Millis::MIN, why, turn, partition, attempt: Attempt::First }));
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

/// Evicts what has to go now, and says when to come again.
async fn evict_in_time(due: Due, clock: Arc<AppendClock>) -> Option<Due> {
    let Due { why, turn, partition, attempt, .. } = due;
    let core = partition.upgrade().filter(|core| core.watch.armed(why).is_current(turn))?;
    let name = core.id.clone();
    let now = clock.now();
    let outcome = tokio::task::spawn_blocking(move || {
        let next = look(&core, why, now)?;
        if next.is_none() {
            core.disarm(why, turn);
        }
        Ok(next)
    });
    let error: Box<dyn Error + Send + Sync> = match outcome.await {
        Ok(Ok(Some(at))) => return Some(Due { at, why, turn, partition, attempt: Attempt::First }),
        Ok(Ok(None) | Err(StorageError::NotFound { .. } | StorageError::Closed)) => return None,
        // There is another log in its place, or will be in a moment.
        Ok(Err(StorageError::Reopened)) => {
            let at = now.saturating_add(millis(RETRY));
            return Some(Due { at, why, turn, partition, attempt: Attempt::First });
        }
        Ok(Err(error)) => error.into(),
        Err(join) => join.into(),
    };
    match attempt {
        Attempt::First => tracing::error!(partition = %name, %error, "eviction failed, trying again"),
        Attempt::Again => tracing::debug!(partition = %name, %error, "eviction failed again"),
    }
    Some(Due { at: now.saturating_add(millis(RETRY)), why, turn, partition, attempt: Attempt::Again })
}

/// Evicts for one reason. Returns when something is due again, if that is known.
fn look(core: &PartitionCore, why: Why, now: Millis) -> Result<Option<Millis>, StorageError> {
    match why {
        Why::Age => {
            // Without the limit nobody announces it, but it may have gone since.
            let Some(age_max) = core.watch.limits.kept().age_max else { return Ok(None) };
            let half_tick = millis((age_max / 10).min(TICK_MAX) / 2).max(1);
            let age_max = millis(age_max);
            let oldest = eviction::by_age(core, now.saturating_sub(age_max))?;
            Ok(oldest.map(|oldest| oldest.saturating_add(age_max).max(now).saturating_add(half_tick)))
        }
        Why::Size => eviction::by_size(core).map(|()| None),
    }
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
