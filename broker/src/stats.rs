//! [`BrokerStats`]: what a broker says about itself to those who watch over it.

use std::sync::atomic::Ordering;

use minikafka_storage::{HistogramSnapshot, StorageStats};

use crate::{Broker, Error, TopicTraffic};

/// How a broker is, and what it has done since it was started.
#[derive(Clone, Debug)]
pub struct BrokerStats {
    /// Topics there are.
    pub topics: u64,
    /// Their partitions, also those that are lost.
    pub partitions: u64,
    /// Those whose log is missing or damaged: out of service until somebody restores it.
    pub lost_partitions: u64,
    /// What went in and out, by topic.
    pub traffic: Vec<TopicTraffic>,
    /// From the call of produce, the wait for room counted in, until the messages are committed: in microseconds.
    pub produce_durations: HistogramSnapshot,
    /// Sizes of what was produced and committed, one for each request: a batch, or messages that become one.
    pub produced_batch_bytes: HistogramSnapshot,
    /// Messages in each of them.
    pub produced_batch_messages: HistogramSnapshot,
    /// From the moment when there is something to read until it is read: in microseconds.
    pub fetch_durations: HistogramSnapshot,
    /// Messages that were evicted.
    pub evicted_messages: u64,
    /// Bytes that were given back by that.
    pub evicted_bytes: u64,
    /// Bytes of messages that wait for the disk.
    pub waiting_bytes: u64,
    /// Messages that are known to be lost to damage of the disk and are not evicted yet.
    pub damaged_messages: u64,
    /// Bytes that all partitions take up.
    pub stored_bytes: u64,
    /// How the storage is.
    pub storage: StorageStats,
}

/// Why a broker takes no messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unready {
    /// It stops.
    Stopping,
    /// There is no room: this is what the storage says.
    Full(String),
    /// A thread of the storage has ended: nothing becomes durable.
    StorageStopped,
}

impl Broker {
    /// How it is and what it has done. Asks every partition and the system: for a thread that may block.
    pub fn stats(&self) -> BrokerStats {
        let (mut topics, mut partitions, mut served) = (0, 0, 0);
        let (mut damaged_messages, mut stored_bytes) = (0, 0);
        for topic in self.0.topics.all() {
            topics += 1;
            partitions += u64::from(topic.count());
            for partition in topic.served() {
                let bounds = partition.core.log().bounds();
                served += 1;
                damaged_messages += bounds.damaged;
                stored_bytes += bounds.size_bytes;
            }
        }
        let traffic = &self.0.traffic;
        BrokerStats {
            topics,
            partitions,
            lost_partitions: partitions - served,
            traffic: traffic.by_topic(),
            produce_durations: traffic.produce_durations.snapshot(),
            produced_batch_bytes: traffic.produced_batch_bytes.snapshot(),
            produced_batch_messages: traffic.produced_batch_messages.snapshot(),
            fetch_durations: traffic.fetch_durations.snapshot(),
            evicted_messages: traffic.evicted_messages.load(Ordering::Relaxed),
            evicted_bytes: traffic.evicted_bytes.load(Ordering::Relaxed),
            waiting_bytes: (self.0.room_bytes as usize).saturating_sub(self.0.room.available_permits())
                as u64,
            damaged_messages,
            stored_bytes,
            storage: self.0.storage.stats(),
        }
    }

    /// Why it takes no messages at the moment; nothing: it takes them. Asks the system: for a thread that may
    /// block.
    ///
    /// Partitions whose log has failed are no reason, not even if all have: they are opened again when somebody
    /// produces, so nobody is to be sent elsewhere.
    pub fn unready(&self) -> Vec<Unready> {
        if self.is_stopping() {
            return vec![Unready::Stopping];
        }
        let storage = self.0.storage.stats();
        let stopped = storage.stopped.then_some(Unready::StorageStopped);
        [stopped, storage.full.map(Unready::Full)].into_iter().flatten().collect()
    }

    /// Whether it takes nothing new, because it stops.
    pub fn is_stopping(&self) -> bool {
        matches!(self.check_running(), Err(Error::Stopping))
    }
}
