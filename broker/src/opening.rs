//! Opening a broker: the metadata says which topics there are, and the logs of the storage are put in their places.
//!
//! | logs | are |
//! |---|---|
//! | of a topic that there is | served |
//! | of a topic that was deleted | removed |
//! | that no topic has, and empty | removed: their creation did not come to its end |
//! | that no topic has, with messages | adopted, with a warning: a topic is made of them |
//!
//! A partition whose log is not there is lost: it is reported, and not made anew, for nobody knows which numbers it
//! has given. When the metadata is new, or has lost something, empty logs are adopted, too: nobody can say that their
//! creation was not acknowledged.
//!
//! One name is one topic. Of several with messages nobody but the operator can say which is meant, so the broker
//! does not start rather than hide messages.
//!
//! A log that is there and cannot be opened is as good as missing until the next start, and is left as it is. If the
//! metadata does not know its topic, nobody makes another one of its name: whoever asks for it is told why.

use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock, atomic::AtomicBool},
};

use minikafka_storage::{Log, LogId, Storage, StorageError, TopicId};
use tokio::sync::{Mutex, Semaphore};

use crate::{
    AppendClock, Broker, BrokerConfig, ClusterId, Error, TopicSettings,
    admin::Admin,
    broker::{Inner, blocking},
    doubt,
    group::{self, AppendTimes, Coordinator},
    machine::{INTERNAL_PREFIX, Machine},
    metadata::{self, Command, Metadata, TopicRecord},
    producers::ProducerIds,
    retention::{Retention, RetentionQueue},
    topic::Topics,
};

/// Threads that may wait for cold reads at the same time: enough to keep a disk busy, few enough to bound
/// memory.
const COLD_READS_MAX: usize = 8;

/// The logs of a topic, by partition.
type Logs = BTreeMap<u32, Arc<dyn Log>>;
/// The topics of one name. There should be one.
type Namesakes = BTreeMap<TopicId, Logs>;

/// What lies in the storage.
#[derive(Default)]
struct Found {
    topics: BTreeMap<String, Namesakes>,
    /// Newest append time of all logs.
    newest: Option<i64>,
    /// Whether there is a log of the metadata.
    has_metadata: bool,
    /// Logs that are there and cannot be opened.
    unusable: Vec<(LogId, StorageError)>,
}

impl Broker {
    /// Opens all logs of a storage, evicts what grew too old meanwhile, and starts. Runs inside a tokio
    /// runtime. An eviction that fails is logged and tried again later.
    ///
    /// # Errors
    /// When the storage does not say which logs there are, or two topics with messages have the same name.
    pub async fn open(storage: Arc<dyn Storage>, config: BrokerConfig) -> Result<Broker, Error> {
        let found = {
            let storage = storage.clone();
            blocking(move || open_logs(&*storage)).await?
        };
        let clock = Arc::new(AppendClock::start(config.clock.clone(), found.newest, config.retention));
        let metadata =
            Machine::open(storage.clone(), metadata::log_id(), Metadata::default(), clock.clone()).await?;
        let (retention, armed) = RetentionQueue::new();
        let room_bytes =
            u32::try_from(config.waiting_bytes_max).unwrap_or(u32::MAX).min(Semaphore::MAX_PERMITS as u32);
        let groups = Coordinator::open(storage.clone(), clock.clone(), config.position_retention).await?;
        let broker = Broker(Arc::new(Inner {
            topics: Topics::new(),
            metadata,
            groups: Arc::new(groups),
            admin: Arc::new(Mutex::new(Admin::default())),
            room: Arc::new(Semaphore::new(room_bytes as usize)),
            room_bytes,
            cold_reads: Arc::new(Semaphore::new(COLD_READS_MAX)),
            stopping: AtomicBool::new(false),
            traffic: Arc::default(),
            producer_ids: ProducerIds::default(),
            append_times: AppendTimes::default(),
            kafka: OnceLock::new(),
            storage,
            config,
            clock,
            retention,
        }));
        broker.place(found).await?;
        doubt::watch(&broker);
        // Once all topics are there: positions of those that are not are forgotten.
        group::tasks::start(&broker);
        for (core, error) in broker.evict_all().await? {
            tracing::error!(partition = %core.id, %error, "eviction failed, trying again");
        }
        let retention = Retention { clock: broker.0.clock.clone(), armed };
        broker.0.admin.lock().await.retention = Some(retention.start());
        Ok(broker)
    }

    /// Puts the logs that were found in their places, and tells the metadata what it does not know.
    async fn place(&self, found: Found) -> Result<(), Error> {
        let metadata = &self.0.metadata;
        let found = self.remove_deleted(found).await?;
        let mut topics = found.topics;
        self.set_unusable_aside(&mut topics, found.unusable);
        // Before the first start of a version that has metadata there were logs without it.
        let is_knowing = found.has_metadata && !metadata.has_losses();
        if is_knowing {
            self.remove_unfinished(&mut topics).await;
        }
        let adopted = self.adopt(&mut topics).await?;
        let has_id = metadata.read(|metadata| metadata.cluster_id().is_some());
        let new_id = || ClusterId::random().map(Some).map_err(Error::Storage);
        if metadata.has_losses() || adopted > 0 {
            metadata.submit(Command::Recover(new_id()?)).await?;
        } else if !has_id {
            metadata.submit(Command::Begin(new_id()?)).await?;
        }
        if metadata.has_losses()
            && let Err(error) = metadata.snapshot().await
        {
            tracing::error!(%error, "the next start finds the same damage");
        }
        self.serve(topics).await
    }

    /// What the metadata does not know and cannot be opened as a whole is no topic, and keeps its name.
    fn set_unusable_aside(
        &self,
        topics: &mut BTreeMap<String, Namesakes>,
        unusable: Vec<(LogId, StorageError)>,
    ) {
        for (LogId { topic: name, .. }, why) in unusable {
            if self.0.metadata.read(|metadata| !metadata.topics().contains_key(&name)) {
                topics.remove(&name);
                self.0.topics.refuse(name, why);
            }
        }
    }

    /// Removes the logs of topics that were deleted, also those that cannot be opened: once nobody knows any more that they
    /// were deleted, the next start would adopt them. Returns the others.
    async fn remove_deleted(&self, mut found: Found) -> Result<Found, Error> {
        let deleted = self.0.metadata.read(|metadata| metadata.deleted().clone());
        if deleted.is_empty() {
            return Ok(found);
        }
        found.topics.values_mut().for_each(|namesakes| namesakes.retain(|id, _| !deleted.contains(id)));
        found.unusable.retain(|(id, _)| !deleted.contains(&id.topic_id));
        let storage = self.0.storage.clone();
        let mut logs = blocking(move || storage.list()).await?;
        logs.retain(|id| deleted.contains(&id.topic_id));
        self.clear_away(&mut *self.0.admin.lock().await, deleted, logs).await?;
        Ok(found)
    }

    /// Removes logs whose creation did not come to its end: no topic has them, and they are empty.
    async fn remove_unfinished(&self, topics: &mut BTreeMap<String, Namesakes>) {
        let known = self.0.metadata.read(|metadata| metadata.topics().clone());
        for (name, namesakes) in topics.iter_mut() {
            for (topic_id, logs) in namesakes.iter_mut() {
                let topic = known.get(name).filter(|topic| topic.id == *topic_id);
                let partitions = topic.map_or(0, |topic| topic.partitions);
                let is_used = logs.iter().any(|(number, log)| *number >= partitions && has_messages(log));
                if !is_used {
                    let surplus = logs.split_off(&partitions);
                    self.remove_empty(ids(name, *topic_id, &surplus)).await;
                }
            }
            namesakes.retain(|_, logs| !logs.is_empty());
        }
    }

    /// Has the metadata know the logs that it does not know. Returns how many topics they are.
    async fn adopt(&self, topics: &mut BTreeMap<String, Namesakes>) -> Result<usize, Error> {
        let mut adopted = 0;
        for (name, namesakes) in topics.iter_mut() {
            let known = self.0.metadata.read(|metadata| metadata.topics().get(name).copied());
            self.choose_namesake(name, known.map(|topic| topic.id), namesakes).await?;
            let Some((topic_id, logs)) = namesakes.iter().next() else { continue };
            let partitions = logs.keys().next_back().map_or(0, |last| last + 1);
            let command = match known {
                None => {
                    let record =
                        TopicRecord { id: *topic_id, partitions, settings: TopicSettings::default() };
                    Command::CreateTopic(name.clone(), record)
                }
                Some(topic) if topic.partitions < partitions => {
                    Command::AlterTopic(name.clone(), TopicRecord { partitions, ..topic })
                }
                Some(_) => continue,
            };
            tracing::warn!(topic = name, id = %topic_id, partitions, "adopting logs that no topic has had");
            self.0.metadata.submit(command).await?;
            adopted += 1;
        }
        Ok(adopted)
    }

    /// Leaves one topic of a name: the one that is known, or else the one that has messages.
    async fn choose_namesake(
        &self,
        name: &str,
        known: Option<TopicId>,
        namesakes: &mut Namesakes,
    ) -> Result<(), Error> {
        let mut used: Vec<TopicId> = known.into_iter().collect();
        let with_messages =
            namesakes.iter().filter(|(id, logs)| Some(**id) != known && logs.values().any(has_messages));
        used.extend(with_messages.map(|(id, _)| *id));
        if used.len() > 1 {
            return Err(Error::AmbiguousTopic { topic: name.to_owned(), ids: used });
        }
        // When all are empty, one stays: its creation may have been acknowledged.
        let Some(chosen) = used.pop().or_else(|| namesakes.keys().next_back().copied()) else {
            return Ok(());
        };
        for (topic_id, logs) in namesakes.iter().filter(|(id, _)| **id != chosen) {
            self.remove_empty(ids(name, *topic_id, logs)).await;
        }
        namesakes.retain(|id, _| *id == chosen);
        Ok(())
    }

    async fn remove_empty(&self, logs: Vec<LogId>) {
        for id in logs {
            tracing::warn!(partition = %id, id = %id.topic_id, "removing an empty log that no topic has");
            let (storage, removed) = (self.0.storage.clone(), id.clone());
            if let Err(error) = blocking(move || storage.remove(&removed)).await {
                // It is in nobody's way, and the next start tries again.
                tracing::error!(partition = %id, id = %id.topic_id, %error, "removing it failed");
            }
        }
    }

    /// Starts all topics that the metadata knows.
    async fn serve(&self, mut topics: BTreeMap<String, Namesakes>) -> Result<(), Error> {
        let known = self.0.metadata.read(|metadata| metadata.topics().clone());
        for (name, record) in known {
            let logs = topics.remove(&name).and_then(|mut found| found.remove(&record.id));
            let id = |partition| LogId { topic: name.clone(), partition, topic_id: record.id };
            let logs = logs.unwrap_or_default().into_iter().map(|(number, log)| (id(number), log)).collect();
            self.serve_topic(name, record, logs).await?;
        }
        Ok(())
    }
}

/// Whether anything was ever appended.
fn has_messages(log: &Arc<dyn Log>) -> bool {
    log.bounds().next_index > 0
}

fn ids(name: &str, topic_id: TopicId, logs: &Logs) -> Vec<LogId> {
    logs.keys().map(|partition| LogId { topic: name.to_owned(), partition: *partition, topic_id }).collect()
}

fn open_logs(storage: &dyn Storage) -> Result<Found, StorageError> {
    let mut found = Found::default();
    let metadata = metadata::log_id();
    for id in storage.list()? {
        let log = match storage.open(&id) {
            Ok(log) => log,
            Err(why) if id.topic.starts_with(INTERNAL_PREFIX) => {
                // Its owner decides what to do about it.
                tracing::error!(log = %id, error = %why, "a log of the server's own cannot be opened");
                continue;
            }
            Err(why) => {
                tracing::error!(partition = %id, error = %why, "the partition cannot be used until the server is started again");
                found.unusable.push((id, why));
                continue;
            }
        };
        found.newest = found.newest.max(log.bounds().last_append_time);
        // What the server itself has is opened by whoever owns it.
        if id.topic.starts_with(INTERNAL_PREFIX) {
            found.has_metadata |= id.topic == metadata.topic && has_messages(&log);
        } else {
            found
                .topics
                .entry(id.topic)
                .or_default()
                .entry(id.topic_id)
                .or_default()
                .insert(id.partition, log);
        }
    }
    Ok(found)
}
