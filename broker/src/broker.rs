//! [`Broker`], the one handle that doors share.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use minikafka_storage::{Durability, LogId, Millis, Storage, StorageError, TopicId};
use tokio::sync::{Mutex, Semaphore, watch};

use crate::{
    AutoCreate, BrokerConfig, CheckedPayload, Error, Partition, Payload, TopicDescription, TopicSummary,
    append_clock::{AppendClock, millis},
    partition::{PartitionCore, PartitionState, Progress},
    retention::{self, Retention, RetentionQueue},
    topic::{Topic, Topics},
    validate_topic_name,
};

/// Threads that may wait for cold reads at the same time: enough to keep a disk busy, few enough to bound memory.
const COLD_READS_MAX: usize = 8;

/// All topics of a server. Cheap to clone.
#[derive(Clone)]
pub struct Broker(Arc<Inner>);

struct Inner {
    storage: Arc<dyn Storage>,
    config: BrokerConfig,
    clock: Arc<AppendClock>,
    topics: Topics,
    /// Topics are created and deleted one at a time.
    admin: Mutex<()>,
    room: Arc<Semaphore>,
    room_bytes: u32,
    cold_reads: Arc<Semaphore>,
    retention: RetentionQueue,
    stopping: AtomicBool,
}

impl Broker {
    /// Opens all logs of a storage, evicts what grew too old meanwhile, and starts. Runs inside a tokio runtime.
    ///
    /// # Errors
    /// When a log cannot be opened.
    pub async fn open(storage: Arc<dyn Storage>, config: BrokerConfig) -> Result<Broker, Error> {
        let opened = {
            let storage = storage.clone();
            blocking(move || open_logs(&*storage)).await?
        };
        let newest = opened.iter().filter_map(|(_, log)| log.bounds().last_append_time).max();
        let clock = Arc::new(AppendClock::start(config.clock.clone(), newest));
        let (retention, armed) = RetentionQueue::new();
        let room_bytes =
            u32::try_from(config.waiting_bytes_max).unwrap_or(u32::MAX).min(Semaphore::MAX_PERMITS as u32);
        let broker = Broker(Arc::new(Inner {
            topics: Topics::new([]),
            admin: Mutex::new(()),
            room: Arc::new(Semaphore::new(room_bytes as usize)),
            room_bytes,
            cold_reads: Arc::new(Semaphore::new(COLD_READS_MAX)),
            stopping: AtomicBool::new(false),
            storage,
            config,
            clock,
            retention,
        }));
        broker.adopt(opened);
        broker.evict().await?;
        if let Some(age_max) = broker.0.config.retention {
            tokio::spawn(Retention { age_max, clock: broker.0.clock.clone(), armed }.run());
        }
        Ok(broker)
    }

    /// Makes topics of the logs that were found.
    fn adopt(&self, opened: Vec<(LogId, Arc<dyn minikafka_storage::Log>)>) {
        let mut topics: BTreeMap<(String, TopicId), BTreeMap<u32, _>> = BTreeMap::new();
        for (id, log) in opened {
            topics.entry((id.topic, id.topic_id)).or_default().insert(id.partition, log);
        }
        for ((name, id), logs) in topics {
            let partitions = logs
                .into_iter()
                .map(|(partition, log)| {
                    self.start_partition(LogId { topic: name.clone(), partition, topic_id: id }, log)
                })
                .collect();
            self.0.topics.insert(Topic { name, id, partitions });
        }
    }

    fn start_partition(&self, id: LogId, log: Arc<dyn minikafka_storage::Log>) -> Partition {
        let progress = Progress { high_watermark: log.bounds().end, state: PartitionState::Open };
        Partition::start(PartitionCore {
            id,
            log,
            clock: self.0.clock.clone(),
            room: self.0.room.clone(),
            room_bytes: self.0.room_bytes,
            cold_reads: self.0.cold_reads.clone(),
            progress: watch::Sender::new(progress),
            retention: self.0.retention.clone(),
            retention_armed: AtomicBool::new(false),
        })
    }

    /// How it keeps its topics.
    pub fn config(&self) -> &BrokerConfig {
        &self.0.config
    }

    /// What an acknowledgement means.
    pub fn durability(&self) -> Durability {
        self.0.storage.durability()
    }

    /// Checks what a producer brings: at least one message, the size limit, and everything about an encoded batch. Done before the topic is looked up,
    /// so that a refused message creates none.
    ///
    /// # Errors
    /// [`Error::InvalidRequest`], [`Error::InvalidBatch`], [`Error::MessageTooLarge`].
    pub fn check(&self, payload: Payload) -> Result<CheckedPayload, Error> {
        payload.check(self.0.config.message_bytes_max)
    }

    /// A partition of a topic that is there; no number means partition 0.
    ///
    /// # Errors
    /// [`Error::InvalidTopicName`], [`Error::TopicNotFound`], [`Error::PartitionNotFound`].
    pub fn partition(&self, topic: &str, partition: Option<u32>) -> Result<Partition, Error> {
        match self.0.topics.get(topic) {
            Some(topic) => topic.partition(partition),
            None => {
                validate_topic_name(topic)?;
                Err(Error::TopicNotFound(topic.to_owned()))
            }
        }
    }

    /// As [`partition`](Broker::partition), but creates the topic when it is not there, if the configuration says so.
    ///
    /// # Errors
    /// As there, or why it could not be created.
    pub async fn partition_to_produce(
        &self,
        topic: &str,
        partition: Option<u32>,
    ) -> Result<Partition, Error> {
        match self.partition(topic, partition) {
            Err(Error::TopicNotFound(_)) if self.0.config.auto_create == AutoCreate::Enabled => {
                if let Some(number @ 1..) = partition {
                    return Err(Error::PartitionNotFound {
                        topic: topic.to_owned(),
                        partition: number,
                        partitions: 1,
                    });
                }
                match self.create_topic(topic, 1).await {
                    Ok(_) | Err(Error::TopicExists(_)) => self.partition(topic, partition),
                    Err(error) => Err(error),
                }
            }
            found => found,
        }
    }

    /// As [`partition`](Broker::partition), but waits until the topic is created.
    ///
    /// # Errors
    /// As there, but for the missing topic; [`Error::Stopping`] when the broker stops meanwhile.
    pub async fn partition_when_created(
        &self,
        topic: &str,
        partition: Option<u32>,
    ) -> Result<Partition, Error> {
        let mut created = self.0.topics.watch();
        loop {
            self.check_running()?;
            created.mark_unchanged();
            match self.partition(topic, partition) {
                Err(Error::TopicNotFound(_)) => {}
                found => return found,
            }
            created.changed().await.map_err(|_| Error::Stopping)?;
        }
    }

    /// Up to `count` topics with names behind `after`, ordered by name; from the first with an empty `after`.
    pub fn topics(&self, after: &str, count: usize) -> Vec<TopicSummary> {
        self.0.topics.page(after, count).iter().map(|topic| topic.summary()).collect()
    }

    /// One topic with its partitions.
    ///
    /// # Errors
    /// [`Error::InvalidTopicName`], [`Error::TopicNotFound`].
    pub fn describe_topic(&self, topic: &str) -> Result<TopicDescription, Error> {
        validate_topic_name(topic)?;
        let topic = self.0.topics.require(topic)?;
        Ok(TopicDescription {
            summary: topic.summary(),
            partitions: topic.partitions.iter().map(Partition::bounds).collect(),
            retention: self.0.config.retention,
        })
    }

    /// Creates a topic; durable on return. There is one partition in each topic today.
    ///
    /// # Errors
    /// [`Error::InvalidTopicName`], [`Error::TopicExists`], [`Error::TooManyPartitions`], or a storage error.
    pub async fn create_topic(&self, topic: &str, partitions: u32) -> Result<TopicSummary, Error> {
        validate_topic_name(topic)?;
        if partitions != 1 {
            return Err(Error::InvalidRequest(format!(
                "a topic has 1 partition in this version, not {partitions}"
            )));
        }
        let _admin = self.0.admin.lock().await;
        self.check_running()?;
        if self.0.topics.get(topic).is_some() {
            return Err(Error::TopicExists(topic.to_owned()));
        }
        let max = self.0.config.partitions_max;
        if self.0.topics.partition_count() >= max {
            return Err(Error::TooManyPartitions { max });
        }
        let topic_id = TopicId::random().map_err(Error::Storage)?;
        let id = LogId { topic: topic.to_owned(), partition: 0, topic_id };
        let log = {
            let (storage, id) = (self.0.storage.clone(), id.clone());
            blocking(move || storage.open(&id)).await?
        };
        let partition = self.start_partition(id, log);
        let topic =
            self.0.topics.insert(Topic { name: topic.to_owned(), id: topic_id, partitions: vec![partition] });
        tracing::info!(topic = topic.name, id = %topic.id, "created topic");
        Ok(topic.summary())
    }

    /// Deletes a topic and its messages; durable on return. Readers and producers of it fail with
    /// [`Error::TopicNotFound`].
    ///
    /// # Errors
    /// [`Error::InvalidTopicName`], [`Error::TopicNotFound`], or a storage error: then the topic is out of service and may be back
    /// after a restart.
    pub async fn delete_topic(&self, topic: &str) -> Result<(), Error> {
        validate_topic_name(topic)?;
        let _admin = self.0.admin.lock().await;
        self.check_running()?;
        let topic = self.0.topics.remove(topic).ok_or_else(|| Error::TopicNotFound(topic.to_owned()))?;
        for partition in &topic.partitions {
            partition.end(PartitionState::Deleted).await;
            let (storage, id) = (self.0.storage.clone(), partition.core.id.clone());
            blocking(move || storage.remove(&id)).await?;
        }
        tracing::info!(topic = topic.name, id = %topic.id, "deleted topic");
        Ok(())
    }

    /// Evicts what is too old right now. Retention does so by itself; this is for the start, and for those who want to
    /// wait for it.
    ///
    /// # Errors
    /// When a log cannot be read or trimmed.
    pub async fn evict(&self) -> Result<(), Error> {
        let Some(age_max) = self.0.config.retention else { return Ok(()) };
        let cutoff: Millis = self.0.clock.now().saturating_sub(millis(age_max));
        let cores: Vec<_> = self
            .0
            .topics
            .all()
            .iter()
            .flat_map(|topic| topic.partitions.clone())
            .map(|partition| partition.core)
            .collect();
        blocking(move || cores.iter().try_for_each(|core| retention::evict(core, cutoff).map(|_| ()))).await
    }

    /// Lets nothing new in: from now on produces and fetches, waiting ones too, fail with [`Error::Stopping`]. What was taken goes on.
    pub fn begin_stop(&self) {
        self.0.stopping.store(true, Ordering::Release);
        for topic in self.0.topics.all() {
            topic.partitions.iter().for_each(|partition| partition.core.set_state(PartitionState::Stopping));
        }
        self.0.topics.wake();
    }

    /// Stops: lets nothing new in, waits until everything taken is committed and answered, and closes the storage.
    ///
    /// # Errors
    /// When the storage cannot make everything durable.
    pub async fn close(&self) -> Result<(), Error> {
        let _admin = self.0.admin.lock().await;
        self.begin_stop();
        // All room is free only when nothing is on its way any more.
        let all = self.0.room.acquire_many(self.0.room_bytes).await;
        self.0.room.close();
        drop(all);
        for topic in self.0.topics.all() {
            for partition in &topic.partitions {
                partition.end(PartitionState::Stopping).await;
            }
        }
        let storage = self.0.storage.clone();
        blocking(move || storage.close()).await
    }

    fn check_running(&self) -> Result<(), Error> {
        if self.0.stopping.load(Ordering::Acquire) { Err(Error::Stopping) } else { Ok(()) }
    }
}

impl fmt::Debug for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Broker").field("config", &self.0.config).finish_non_exhaustive()
    }
}

type OpenedLog = (LogId, Arc<dyn minikafka_storage::Log>);

fn open_logs(storage: &dyn Storage) -> Result<Vec<OpenedLog>, StorageError> {
    storage.list()?.into_iter().map(|id| storage.open(&id).map(|log| (id, log))).collect()
}

/// Runs what waits for the disk on a thread that may.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StorageError> + Send + 'static,
) -> Result<T, Error> {
    match tokio::task::spawn_blocking(work).await {
        Ok(outcome) => outcome.map_err(|error| match error {
            StorageError::Full(what) => Error::Full(what),
            StorageError::Closed => Error::Stopping,
            other => Error::Storage(other),
        }),
        Err(join) if join.is_panic() => std::panic::resume_unwind(join.into_panic()),
        Err(_) => Err(Error::Stopping),
    }
}
