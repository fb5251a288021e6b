//! Opening a broker: what lies in the storage becomes topics.
//!
//! One name is one topic. A crash, or a removal that failed, can leave several logs of one name behind, with
//! different ids. Those that never held a message are removed; of several that did, nobody but the operator
//! can say which is meant, so the broker does not start rather than hide messages.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::AtomicBool},
};

use minikafka_storage::{Log, LogId, Storage, StorageError, TopicId};
use tokio::sync::{Mutex, Semaphore};

use crate::{
    Broker, BrokerConfig, Error,
    admin::Admin,
    append_clock::AppendClock,
    broker::{Inner, blocking},
    eviction::Limits,
    retention::{Retention, RetentionQueue},
    topic::{Topic, Topics},
};

/// Threads that may wait for cold reads at the same time: enough to keep a disk busy, few enough to bound
/// memory.
const COLD_READS_MAX: usize = 8;

/// The logs of a topic, by partition.
type Logs = BTreeMap<u32, Arc<dyn Log>>;
/// The topics of one name. There should be one.
type Namesakes = BTreeMap<TopicId, Logs>;

impl Broker {
    /// Opens all logs of a storage, evicts what grew too old meanwhile, and starts. Runs inside a tokio
    /// runtime. An eviction that fails is logged and tried again later.
    ///
    /// # Errors
    /// When a log cannot be opened, or two topics with messages have the same name.
    pub async fn open(storage: Arc<dyn Storage>, config: BrokerConfig) -> Result<Broker, Error> {
        let opened = {
            let storage = storage.clone();
            blocking(move || open_logs(&*storage)).await?
        };
        let newest = opened
            .values()
            .flat_map(Namesakes::values)
            .flat_map(Logs::values)
            .filter_map(|log| log.bounds().last_append_time)
            .max();
        let clock = Arc::new(AppendClock::start(config.clock.clone(), newest, config.retention));
        let limits = Limits { age_max: config.retention, bytes_max: config.retention_bytes };
        let (retention, armed) = RetentionQueue::new(limits);
        let room_bytes =
            u32::try_from(config.waiting_bytes_max).unwrap_or(u32::MAX).min(Semaphore::MAX_PERMITS as u32);
        let broker = Broker(Arc::new(Inner {
            topics: Topics::new([]),
            admin: Arc::new(Mutex::new(Admin::default())),
            room: Arc::new(Semaphore::new(room_bytes as usize)),
            room_bytes,
            cold_reads: Arc::new(Semaphore::new(COLD_READS_MAX)),
            stopping: AtomicBool::new(false),
            traffic: Arc::default(),
            storage,
            config,
            clock,
            retention,
        }));
        for (name, namesakes) in opened {
            broker.adopt(name, namesakes).await?;
        }
        for (core, error) in broker.evict_all().await? {
            tracing::error!(partition = %core.id, %error, "eviction failed, trying again");
        }
        if limits.age_max.is_some() || limits.bytes_max.is_some() {
            let retention = Retention { limits, clock: broker.0.clock.clone(), armed };
            broker.0.admin.lock().await.retention = Some(retention.start());
        }
        Ok(broker)
    }

    /// Makes a topic of the logs that were found under its name.
    async fn adopt(&self, name: String, namesakes: Namesakes) -> Result<(), Error> {
        // When all are empty, one stays: its creation may have been acknowledged.
        let (mut used, mut empty): (Vec<_>, Vec<_>) =
            namesakes.into_iter().partition(|(_, logs)| logs.values().any(|log| log.bounds().next_index > 0));
        if used.is_empty() {
            used.extend(empty.pop());
        }
        if used.len() > 1 {
            let ids = used.into_iter().map(|(id, _)| id).collect();
            return Err(Error::AmbiguousTopic { topic: name, ids });
        }
        let id_of = |partition, topic_id| LogId { topic: name.clone(), partition, topic_id };
        for (topic_id, logs) in empty {
            for partition in logs.into_keys() {
                self.remove_surplus(id_of(partition, topic_id)).await;
            }
        }
        for (id, logs) in used {
            let partitions = logs
                .into_iter()
                .map(|(partition, log)| self.start_partition(id_of(partition, id), log))
                .collect();
            self.0.topics.insert(Topic { name: name.clone(), id, partitions });
        }
        Ok(())
    }

    async fn remove_surplus(&self, id: LogId) {
        tracing::warn!(partition = %id, id = %id.topic_id, "removing a second, empty log of this name");
        let (storage, removed) = (self.0.storage.clone(), id.clone());
        if let Err(error) = blocking(move || storage.remove(&removed)).await {
            // It is in nobody's way, and the next start tries again.
            tracing::error!(partition = %id, id = %id.topic_id, %error, "removing it failed");
        }
    }
}

fn open_logs(storage: &dyn Storage) -> Result<BTreeMap<String, Namesakes>, StorageError> {
    let mut opened: BTreeMap<String, Namesakes> = BTreeMap::new();
    for id in storage.list()? {
        let log = storage.open(&id)?;
        opened.entry(id.topic).or_default().entry(id.topic_id).or_default().insert(id.partition, log);
    }
    Ok(opened)
}
