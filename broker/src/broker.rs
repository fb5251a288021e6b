//! [`Broker`], the one handle that doors share.

use std::{
    fmt,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
};

use minikafka_storage::{Durability, FailureHook, Log, LogId, Spares, Storage, StorageError, TopicId};
use tokio::sync::{Mutex, Semaphore, watch};

use crate::{
    AutoCreate, BrokerConfig, CheckedPayload, Endpoint, Error, Partition, Payload, TopicDescription,
    TopicSummary,
    admin::Admin,
    append_clock::AppendClock,
    group::{AppendTimes, Coordinator},
    machine::Machine,
    metadata::{Metadata, TopicRecord},
    owner::Produce,
    partition::{PartitionCore, PartitionState, Progress},
    producers::{Memory, ProducerIds},
    retention::{RetentionQueue, Watch},
    settings::TopicLimits,
    topic::{Topic, Topics},
    traffic::Traffic,
    validate_topic_name,
};

/// All topics of a server. Cheap to clone.
#[derive(Clone)]
pub struct Broker(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) config: BrokerConfig,
    pub(crate) clock: Arc<AppendClock>,
    pub(crate) topics: Topics,
    pub(crate) groups: Arc<Coordinator>,
    pub(crate) metadata: Machine<Metadata>,
    pub(crate) admin: Arc<Mutex<Admin>>,
    pub(crate) room: Arc<Semaphore>,
    pub(crate) room_bytes: u32,
    pub(crate) cold_reads: Arc<Semaphore>,
    pub(crate) retention: RetentionQueue,
    pub(crate) stopping: AtomicBool,
    pub(crate) traffic: Arc<Traffic>,
    pub(crate) producer_ids: ProducerIds,
    pub(crate) append_times: AppendTimes,
    /// Where this node serves Kafka's clients.
    pub(crate) kafka: OnceLock<Endpoint>,
}

impl Broker {
    /// Starts partitions on logs that are there. Reads what the logs say about producers first.
    async fn start_partitions(
        &self,
        logs: Vec<(LogId, Arc<dyn Log>)>,
        limits: &Arc<TopicLimits>,
    ) -> Result<Vec<Partition>, Error> {
        let (storage, expiry) = (self.0.storage.clone(), self.0.config.producer_expiry);
        let remembering = move || {
            let remembered = logs.into_iter().map(|(id, log)| {
                let producers = Memory::open(&storage, id.clone(), &*log, expiry)?;
                Ok((id, log, producers))
            });
            remembered.collect::<Result<Vec<_>, StorageError>>()
        };
        let remembered = blocking(remembering).await?;
        let start = |(id, log, producers)| self.start_partition(id, log, producers, limits.clone());
        Ok(remembered.into_iter().map(start).collect())
    }

    /// Serves a topic as the metadata has it: makes it, or brings the one that is there up to date. A partition without
    /// a log among the new ones is out of service.
    pub(crate) async fn serve_topic(
        &self,
        name: String,
        record: TopicRecord,
        new: Vec<(LogId, Arc<dyn Log>)>,
    ) -> Result<Arc<Topic>, Error> {
        let TopicRecord { id, partitions: count, settings } = record;
        let (limits, mut partitions) = match self.0.topics.get(&name).filter(|topic| topic.id == id) {
            Some(topic) => (topic.limits.clone(), topic.partitions.clone()),
            None => (Arc::new(TopicLimits::new(&settings, &self.0.config)), Vec::new()),
        };
        let mut started = self.start_partitions(new, &limits).await?.into_iter().peekable();
        for number in partitions.len() as u32..count {
            let partition = started.next_if(|partition| partition.number() == number);
            if partition.is_none() {
                tracing::error!(topic = name, partition = number, %id, "its log is missing or damaged: the partition is out of service");
            }
            partitions.push(partition);
        }
        limits.set(&settings, &self.0.config);
        Ok(self.0.topics.insert(Topic::new(name, id, partitions, settings, limits)))
    }

    fn start_partition(
        &self,
        id: LogId,
        log: Arc<dyn Log>,
        producers: Memory<Produce>,
        limits: Arc<TopicLimits>,
    ) -> Partition {
        let bounds = log.bounds();
        let progress = Progress { high_watermark: bounds.end, log, state: PartitionState::Open };
        Partition::start(PartitionCore {
            meter: self.0.traffic.meter(&id.topic),
            id,
            leader_epoch: bounds.last_epoch,
            storage: Arc::downgrade(&self.0.storage),
            has_failed: AtomicBool::new(false),
            clock: self.0.clock.clone(),
            room: self.0.room.clone(),
            room_bytes: self.0.room_bytes,
            cold_reads: self.0.cold_reads.clone(),
            progress: watch::Sender::new(progress),
            watch: Watch::new(self.0.retention.clone(), limits),
            producers,
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

    /// Calls `hook` once if the storage has failed as a whole or ever does: only a restart helps then. A topic whose
    /// disk fails is no such failure.
    pub fn when_failed(&self, hook: FailureHook) {
        self.0.storage.when_failed(hook);
    }

    /// Checks what a producer brings: at least one message, the size limit, and everything about an encoded
    /// batch. Done before the topic is looked up, so that a refused message creates none.
    ///
    /// # Errors
    /// [`Error::InvalidRequest`], [`Error::InvalidBatch`], [`Error::MessageTooLarge`],
    /// [`Error::BatchTooLarge`].
    pub fn check(&self, payload: Payload) -> Result<CheckedPayload, Error> {
        payload.check(self.0.config.message_bytes_max)
    }

    /// Memory that large messages have left behind, for a door to receive others in.
    pub fn spares(&self) -> Spares {
        self.0.storage.spares()
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
                self.0.topics.check_usable(topic)?;
                Err(Error::TopicNotFound(topic.to_owned()))
            }
        }
    }

    /// Whether a topic has a partition, which need not be in service.
    ///
    /// # Errors
    /// As [`partition`](Broker::partition), but for [`Error::PartitionLost`].
    pub fn check_partition(&self, topic: &str, partition: u32) -> Result<(), Error> {
        match self.partition(topic, Some(partition)) {
            Ok(_) | Err(Error::PartitionLost { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// A partition of the topic that has this id.
    ///
    /// # Errors
    /// [`Error::TopicIdNotFound`], [`Error::PartitionNotFound`].
    pub fn partition_with_id(&self, topic: TopicId, partition: u32) -> Result<Partition, Error> {
        self.0.topics.with_id(topic)?.partition(Some(partition))
    }

    /// The topic that has this id.
    ///
    /// # Errors
    /// [`Error::TopicIdNotFound`]: nobody has it, or not any more.
    pub fn topic_with_id(&self, id: TopicId) -> Result<TopicSummary, Error> {
        Ok(self.0.topics.with_id(id)?.summary())
    }

    /// The partition of a topic that takes this payload: the one that is named, or else the one that the keys of
    /// its messages say, or else the next one in turn. Creates the topic when it is not there, if the configuration
    /// says so.
    ///
    /// # Errors
    /// As [`partition`](Broker::partition), [`Error::InvalidRequest`] when the keys do not agree, or why the topic
    /// could not be created.
    pub async fn partition_to_produce(
        &self,
        topic: &str,
        partition: Option<u32>,
        payload: &CheckedPayload,
    ) -> Result<Partition, Error> {
        let BrokerConfig { auto_create, partitions, .. } = self.0.config;
        match self.choose_partition(topic, partition, payload) {
            Err(Error::TopicNotFound(_)) if auto_create == AutoCreate::Enabled => {
                if let Some(partition) = partition.filter(|partition| *partition >= partitions) {
                    let topic = topic.to_owned();
                    return Err(Error::PartitionNotFound { topic, partition, partitions });
                }
                // Keys that do not agree must not create it.
                payload.partition_of_keys(partitions)?;
                self.create_missing_topic(topic).await?;
                self.choose_partition(topic, partition, payload)
            }
            found => found,
        }
    }

    /// Creates a topic when it is not there, as a produce to it would: if the configuration says so.
    ///
    /// # Errors
    /// [`Error::InvalidTopicName`], [`Error::TopicNotFound`] when topics are created by hand only, or why it could
    /// not be created.
    pub async fn create_missing_topic(&self, topic: &str) -> Result<(), Error> {
        let BrokerConfig { auto_create, partitions, .. } = self.0.config;
        match self.partition(topic, None) {
            Err(Error::TopicNotFound(_)) if auto_create == AutoCreate::Enabled => {
                match self.create_topic(topic, partitions).await {
                    Ok(_) | Err(Error::TopicExists(_)) => Ok(()),
                    Err(error) => Err(error),
                }
            }
            Err(error @ Error::TopicNotFound(_)) => Err(error),
            // Also a topic whose first partition is out of service is there.
            _ => Ok(()),
        }
    }

    fn choose_partition(
        &self,
        topic: &str,
        partition: Option<u32>,
        payload: &CheckedPayload,
    ) -> Result<Partition, Error> {
        match (partition, self.0.topics.get(topic)) {
            // Sent again, it would go to another partition, which does not know it.
            (None, Some(topic)) if payload.producer().is_some() && topic.count() > 1 => {
                Err(Error::InvalidRequest(
                    "a batch of an idempotent producer names its partition: the topic has several".to_owned(),
                ))
            }
            (None, Some(topic)) => topic.choose(payload),
            _ => self.partition(topic, partition),
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
            partitions: topic.partitions.iter().map(|slot| slot.as_ref().map(Partition::bounds)).collect(),
            retention: topic.settings.retention(&self.0.config),
            retention_bytes: topic.settings.retention_bytes(&self.0.config),
            message_bytes_max: topic.settings.message_bytes_max(&self.0.config),
        })
    }

    /// Evicts what is too old or too much right now. Retention does so by itself; this is for those who want to
    /// wait for it.
    ///
    /// # Errors
    /// When a log cannot be read or trimmed: the first such error. All the others are evicted from
    /// nonetheless.
    pub async fn evict(&self) -> Result<(), Error> {
        match self.evict_all().await?.into_iter().next() {
            Some((core, error)) => Err(core.error(error)),
            None => Ok(()),
        }
    }

    /// Evicts from each partition, whatever happens to the others. Returns those that failed.
    pub(crate) async fn evict_all(&self) -> Result<Vec<(Arc<PartitionCore>, StorageError)>, Error> {
        let now = self.0.clock.now();
        let cores = self.cores();
        let failed = move |core: Arc<PartitionCore>| match core.watch.limits.kept().enforce(&core, now) {
            // Deleted meanwhile.
            Ok(()) | Err(StorageError::NotFound { .. }) => None,
            Err(error) => Some((core, error)),
        };
        blocking(move || Ok(cores.into_iter().filter_map(failed).collect())).await
    }

    /// All partitions.
    pub(crate) fn cores(&self) -> Vec<Arc<PartitionCore>> {
        let topics = self.0.topics.all();
        topics.iter().flat_map(|topic| topic.served()).map(|partition| partition.core.clone()).collect()
    }

    /// Lets nothing new in: from now on produces and fetches fail with [`Error::Stopping`], and so do those
    /// that wait for messages or, once they get it, for room. What was taken goes on.
    pub fn begin_stop(&self) {
        self.0.stopping.store(true, Ordering::Release);
        for topic in self.0.topics.all() {
            topic.served().for_each(|partition| partition.core.set_state(PartitionState::Stopping));
        }
        self.0.groups.begin_stop();
        self.0.topics.wake();
    }

    /// Stops: lets nothing new in, waits until everything taken is committed and answered and nothing is
    /// being evicted, and closes the storage.
    ///
    /// # Errors
    /// When the storage cannot make everything durable.
    pub async fn close(&self) -> Result<(), Error> {
        let mut admin = self.0.admin.lock().await;
        self.begin_stop();
        // All room is free only when nothing is on its way any more.
        let all = self.0.room.acquire_many(self.0.room_bytes).await;
        self.0.room.close();
        drop(all);
        for topic in self.0.topics.all() {
            for partition in topic.served() {
                partition.end(PartitionState::Stopping).await;
            }
        }
        if let Some(retention) = &mut admin.retention {
            retention.stop().await;
        }
        admin.retention = None;
        self.0.groups.close().await;
        self.0.metadata.close().await;
        let storage = self.0.storage.clone();
        let cores = self.cores();
        blocking(move || {
            for core in cores {
                // Without it, the next start reads more of the log.
                if let Err(error) = core.producers.store_at_stop() {
                    tracing::warn!(partition = %core.id, %error, "what is known of producers could not be stored");
                }
            }
            storage.close()
        })
        .await
    }

    pub(crate) fn check_running(&self) -> Result<(), Error> {
        if self.0.stopping.load(Ordering::Acquire) { Err(Error::Stopping) } else { Ok(()) }
    }
}

impl fmt::Debug for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Broker").field("config", &self.0.config).finish_non_exhaustive()
    }
}

/// Runs what waits for the disk on a thread that may.
pub(crate) async fn blocking<T: Send + 'static>(
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
