//! [`Traffic`]: what goes in and out, counted for each request and each fetch, never for each message.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use minikafka_storage::Histogram;

/// Topics that are counted by name: clients choose the names and auto-create makes topics of them, and each name
/// costs whoever collects the figures some memory, for as long as he keeps them. The first so many topics that
/// there are have a name of their own, for as long as they are there; all others are counted together.
pub const TOPICS_COUNTED_MAX: usize = 100;

/// What all partitions of a topic have in common. Relaxed throughout: figures for people, which order nothing.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    produced_messages: AtomicU64,
    produced_bytes: AtomicU64,
    fetched_messages: AtomicU64,
    fetched_bytes: AtomicU64,
}

/// What went in and out of a topic since the server was started, or of all topics without a count of their own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TopicTraffic {
    /// `None`: of all topics beyond the first [`TOPICS_COUNTED_MAX`].
    pub topic: Option<String>,
    /// Messages that were produced and committed.
    pub produced_messages: u64,
    /// Their bytes, as batches.
    pub produced_bytes: u64,
    /// Messages that were fetched, by all readers together.
    pub fetched_messages: u64,
    /// The bytes of their batches.
    pub fetched_bytes: u64,
}

/// Of a whole broker.
#[derive(Debug)]
pub(crate) struct Traffic {
    /// Gone when all partitions of the topic are. A std lock: held for a look-up, never across an await.
    topics: Mutex<BTreeMap<String, Weak<Counters>>>,
    others: Arc<Counters>,
    pub(crate) produce_durations: Histogram,
    pub(crate) produced_batch_bytes: Histogram,
    pub(crate) produced_batch_messages: Histogram,
    pub(crate) fetch_durations: Histogram,
    pub(crate) evicted_messages: AtomicU64,
    pub(crate) evicted_bytes: AtomicU64,
}

impl Default for Traffic {
    fn default() -> Traffic {
        Traffic {
            topics: Mutex::default(),
            others: Arc::default(),
            produce_durations: Histogram::of_durations(),
            produced_batch_bytes: Histogram::of_bytes(),
            produced_batch_messages: Histogram::of_counts(),
            fetch_durations: Histogram::of_durations(),
            evicted_messages: AtomicU64::new(0),
            evicted_bytes: AtomicU64::new(0),
        }
    }
}

impl Traffic {
    /// The meter of a partition of this topic.
    pub(crate) fn meter(self: &Arc<Traffic>, topic: &str) -> Meter {
        Meter { topic: self.counters(topic), all: self.clone() }
    }

    fn counters(&self, topic: &str) -> Arc<Counters> {
        let mut topics = self.lock();
        if let Some(counters) = topics.get(topic).and_then(Weak::upgrade) {
            return counters;
        }
        if topics.len() >= TOPICS_COUNTED_MAX {
            topics.retain(|_, counters| counters.strong_count() > 0);
        }
        if topics.len() >= TOPICS_COUNTED_MAX {
            return self.others.clone();
        }
        let counters = Arc::<Counters>::default();
        topics.insert(topic.to_owned(), Arc::downgrade(&counters));
        counters
    }

    /// By name; those without one last, if there ever were any.
    pub(crate) fn by_topic(&self) -> Vec<TopicTraffic> {
        let topics = self.lock();
        let counted = topics.iter().filter_map(|(name, counters)| Some((name.clone(), counters.upgrade()?)));
        let mut traffic: Vec<_> = counted.map(|(name, counters)| counters.traffic(Some(name))).collect();
        drop(topics);
        let others = self.others.traffic(None);
        if others != TopicTraffic::default() {
            traffic.push(others);
        }
        traffic
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Weak<Counters>>> {
        self.topics.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counters {
    fn traffic(&self, topic: Option<String>) -> TopicTraffic {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        TopicTraffic {
            topic,
            produced_messages: load(&self.produced_messages),
            produced_bytes: load(&self.produced_bytes),
            fetched_messages: load(&self.fetched_messages),
            fetched_bytes: load(&self.fetched_bytes),
        }
    }
}

/// Counts what goes in and out of a partition.
#[derive(Clone, Debug)]
pub(crate) struct Meter {
    topic: Arc<Counters>,
    all: Arc<Traffic>,
}

impl Meter {
    /// A produce that began then is committed.
    pub(crate) fn produced(&self, messages: u64, bytes: u64, begin: Instant) {
        self.topic.produced_messages.fetch_add(messages, Ordering::Relaxed);
        self.topic.produced_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.all.produced_batch_bytes.record(bytes);
        self.all.produced_batch_messages.record(messages);
        self.all.produce_durations.record_since(begin);
    }

    /// A fetch that found something to read then has it.
    pub(crate) fn fetched(&self, messages: u64, bytes: u64, begin: Instant) {
        self.topic.fetched_messages.fetch_add(messages, Ordering::Relaxed);
        self.topic.fetched_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.all.fetch_durations.record_since(begin);
    }

    /// Messages were evicted, and so many bytes given back.
    pub(crate) fn evicted(&self, messages: u64, bytes: u64) {
        self.all.evicted_messages.fetch_add(messages, Ordering::Relaxed);
        self.all.evicted_bytes.fetch_add(bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_beyond_the_limit_are_counted_together_until_there_is_room() {
        let traffic = Arc::new(Traffic::default());
        let mut meters: Vec<Meter> =
            (0..TOPICS_COUNTED_MAX + 2).map(|n| traffic.meter(&format!("{n:03}"))).collect();
        meters.iter().for_each(|meter| meter.produced(1, 10, Instant::now()));
        let by_topic = traffic.by_topic();
        assert_eq!(by_topic.len(), TOPICS_COUNTED_MAX + 1);
        let others = by_topic.last().unwrap();
        assert_eq!((others.topic.as_deref(), others.produced_messages, others.produced_bytes), (None, 2, 20));

        let another = traffic.meter("000");
        another.produced(1, 10, Instant::now());
        assert_eq!(traffic.by_topic()[0].produced_messages, 2, "partitions of a topic count together");

        drop(another);
        meters.remove(0);
        let new = traffic.meter("new");
        new.produced(5, 50, Instant::now());
        let by_topic = traffic.by_topic();
        assert!(by_topic.iter().any(|topic| topic.topic.as_deref() == Some("new")), "{by_topic:?}");
        assert!(by_topic.iter().all(|topic| topic.topic.as_deref() != Some("000")), "{by_topic:?}");
    }
}
