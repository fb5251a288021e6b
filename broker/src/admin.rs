//! Creating, altering and deleting topics: one change at a time, and each to its end.
//!
//! A caller may go away at any moment, as clients do. The work runs in a task of its own, so that a log is
//! never there without its topic, nor a topic half deleted.
//!
//! What comes first, the logs or the command, is [`metadata`](crate::metadata)'s rule.

use std::{collections::BTreeSet, future::Future, ops::Range, sync::Arc};

use minikafka_storage::{Log, LogId, TopicId};
use tokio::{sync::OwnedMutexGuard, task::JoinSet};

use crate::{
    Broker, Error, TopicChange, TopicSettings, TopicSummary,
    broker::blocking,
    metadata::{Command, Metadata, Output, TopicRecord},
    partition::PartitionState,
    retention::RunningRetention,
    topic::Topic,
    validate_topic_name,
};

/// Logs that are created at the same time: their syncs overlap, and so many are not more than a disk can do.
const CREATIONS_MAX: usize = 8;
/// What a topic without partitions breaks.
const AT_LEAST_ONE: &str = "has at least one partition, not 0";

/// What those who create, alter, delete and stop hold, one at a time.
#[derive(Debug, Default)]
pub(crate) struct Admin {
    /// The logs of deleted topics whose removal failed.
    pub(crate) leftovers: Vec<LogId>,
    /// New logs of changes of which nobody knows whether they are on the disk.
    pub(crate) in_doubt: Vec<LogId>,
    /// How often the log of the metadata was opened again when that was last looked into.
    pub(crate) reopenings_seen: u64,
    pub(crate) retention: Option<RunningRetention>,
}

type Turn = OwnedMutexGuard<Admin>;

impl Broker {
    /// Creates a topic with the server's settings; see [`create_topic_with`](Broker::create_topic_with).
    ///
    /// # Errors
    /// As there.
    pub async fn create_topic(&self, topic: &str, partitions: u32) -> Result<TopicSummary, Error> {
        self.create_topic_with(topic, partitions, TopicSettings::default()).await
    }

    /// Creates a topic with so many partitions and settings of its own; all of it is durable on return, or
    /// nothing is there.
    ///
    /// A caller that goes away before the return finds the topic created, or not.
    ///
    /// # Errors
    /// [`Error::InvalidTopicName`], [`Error::InvalidPartitions`], [`Error::InvalidSetting`],
    /// [`Error::TopicExists`], [`Error::TooManyPartitions`], or a storage error.
    pub async fn create_topic_with(
        &self,
        topic: &str,
        partitions: u32,
        settings: TopicSettings,
    ) -> Result<TopicSummary, Error> {
        // Whether it may be there, only those know who had their turn before.
        self.check_wish(topic, partitions, &settings)?;
        let topic = topic.to_owned();
        self.in_turn(move |broker, turn| broker.create(turn, topic, partitions, settings)).await
    }

    /// Checks everything that [`create_topic_with`](Broker::create_topic_with) does before it writes, and creates
    /// nothing. Somebody else may have created the topic before the caller comes to it. `beside`: partitions that the caller
    /// creates before these.
    ///
    /// # Errors
    /// As there, but for storage errors.
    pub fn check_creation(
        &self,
        topic: &str,
        partitions: u32,
        settings: &TopicSettings,
        beside: u32,
    ) -> Result<(), Error> {
        self.check_wish(topic, partitions, settings)?;
        if self.0.topics.get(topic).is_some() {
            return Err(Error::TopicExists(topic.to_owned()));
        }
        self.0.topics.check_usable(topic)?;
        self.check_room_for(beside.saturating_add(partitions))
    }

    /// Changes a topic; all of it is durable on return, or nothing happened.
    ///
    /// A caller that goes away before the return finds the topic changed, or not.
    ///
    /// # Errors
    /// [`Error::InvalidTopicName`], [`Error::TopicNotFound`], [`Error::InvalidPartitions`] when it would have
    /// fewer partitions, [`Error::InvalidSetting`], [`Error::TooManyPartitions`], or a storage error.
    pub async fn alter_topic(&self, topic: &str, change: TopicChange) -> Result<TopicSummary, Error> {
        validate_topic_name(topic)?;
        change.set.check(&self.0.config)?;
        let topic = topic.to_owned();
        self.in_turn(move |broker, turn| broker.alter(turn, topic, change)).await
    }

    /// Checks everything that [`alter_topic`](Broker::alter_topic) does before it writes, and changes nothing.
    ///
    /// # Errors
    /// As there, but for storage errors.
    pub fn check_alteration(&self, topic: &str, change: &TopicChange) -> Result<(), Error> {
        validate_topic_name(topic)?;
        self.altered(topic, change).map(drop)
    }

    /// Deletes a topic and its messages; durable on return. Readers and producers of it fail with
    /// [`Error::TopicNotFound`].
    ///
    /// A caller that goes away before the return finds the topic deleted, or not.
    ///
    /// # Errors
    /// [`Error::InvalidTopicName`], [`Error::TopicNotFound`]; [`Error::NotDeleted`] when the disk failed and
    /// nobody knows; [`Error::NotRemoved`] when the topic is deleted and its logs could not be removed: deleting
    /// it again tries again.
    pub async fn delete_topic(&self, topic: &str) -> Result<(), Error> {
        validate_topic_name(topic)?;
        let topic = topic.to_owned();
        self.in_turn(|broker, turn| broker.delete(turn, topic)).await
    }

    /// As [`delete_topic`](Broker::delete_topic), the topic that has this id, whatever its name: never one that was
    /// created under that name meanwhile. Returns its name.
    ///
    /// # Errors
    /// As there, with [`Error::TopicIdNotFound`] when no topic has the id.
    pub async fn delete_topic_with_id(&self, id: TopicId) -> Result<String, Error> {
        self.in_turn(move |broker, turn| async move {
            let name = broker.topic_with_id(id)?.name;
            broker.delete(turn, name.clone()).await?;
            Ok(name)
        })
        .await
    }

    /// Gives so many ids to producers, never given before and never again. Returns them.
    ///
    /// # Errors
    /// When the disk fails, or all are used up.
    pub async fn allocate_producer_ids(&self, count: u32) -> Result<Range<i64>, Error> {
        match self.0.metadata.submit(Command::AllocateProducerIds(count)).await? {
            Output::ProducerIds(first) => Ok(first..first.saturating_add(count.into())),
            _ => Err(Error::InvalidRequest("all producer ids are used up".to_owned())),
        }
    }

    /// The id that is given next: those below it may be somebody's.
    pub(crate) fn next_producer_id(&self) -> i64 {
        self.0.metadata.read(Metadata::next_producer_id)
    }

    /// Runs `work` alone, in a task of its own, once there is no doubt about what others have done before. Whoever goes
    /// away while waiting for the turn has asked for nothing.
    pub(crate) async fn in_turn<T: Send + 'static, W>(
        &self,
        work: impl FnOnce(Broker, Turn) -> W + Send + 'static,
    ) -> Result<T, Error>
    where
        W: Future<Output = Result<T, Error>> + Send + 'static,
    {
        let mut turn = self.0.admin.clone().lock_owned().await;
        self.check_running()?;
        let broker = self.clone();
        let working = async move {
            broker.clear_doubt(&mut turn).await?;
            work(broker, turn).await
        };
        match tokio::spawn(working).await {
            Ok(outcome) => outcome,
            Err(join) if join.is_panic() => std::panic::resume_unwind(join.into_panic()),
            Err(_) => Err(Error::Stopping),
        }
    }

    async fn create(
        self,
        mut turn: Turn,
        name: String,
        partitions: u32,
        settings: TopicSettings,
    ) -> Result<TopicSummary, Error> {
        self.check_creation(&name, partitions, &settings, 0)?;
        let record = TopicRecord { id: TopicId::random().map_err(Error::Storage)?, partitions, settings };
        let logs = self.create_logs(&name, record.id, 0..partitions).await?;
        let command = Command::CreateTopic(name.clone(), record);
        self.submit_with(&mut turn, &logs, command, &name).await?;
        let topic = self.serve_topic(name, record, logs).await?;
        tracing::info!(topic = topic.name, id = %topic.id, partitions = topic.count(), "created topic");
        Ok(topic.summary())
    }

    async fn alter(self, mut turn: Turn, name: String, change: TopicChange) -> Result<TopicSummary, Error> {
        let (topic, record) = self.altered(&name, &change)?;
        let (before, TopicRecord { partitions, settings, .. }) = (topic.count(), record);
        let logs = self.create_logs(&name, topic.id, before..partitions).await?;
        let command = Command::AlterTopic(name.clone(), record);
        self.submit_with(&mut turn, &logs, command, &name).await?;
        let altered = self.serve_topic(name, record, logs).await?;
        altered.served().for_each(|partition| partition.core.rearm_retention());
        tracing::info!(topic = altered.name, partitions = altered.count(), ?settings, "altered topic");
        Ok(altered.summary())
    }

    /// What is wrong with a new topic whatever there is.
    fn check_wish(&self, topic: &str, partitions: u32, settings: &TopicSettings) -> Result<(), Error> {
        validate_topic_name(topic)?;
        settings.check(&self.0.config)?;
        if partitions == 0 {
            let rule = AT_LEAST_ONE.to_owned();
            return Err(Error::InvalidPartitions { topic: topic.to_owned(), rule });
        }
        Ok(())
    }

    /// A topic, and what it will be after a change, if that may be.
    fn altered(&self, name: &str, change: &TopicChange) -> Result<(Arc<Topic>, TopicRecord), Error> {
        change.set.check(&self.0.config)?;
        let topic = self.0.topics.require(name)?;
        let (before, partitions) = (topic.count(), change.partitions.unwrap_or(topic.count()));
        if partitions < before {
            // Who has fewer has at least two, unless none are asked for.
            let rule = match partitions {
                0 => AT_LEAST_ONE.to_owned(),
                _ => format!(
                    "has {before} partitions and cannot have {partitions}: they are added, never taken away, because messages are in them"
                ),
            };
            return Err(Error::InvalidPartitions { topic: name.to_owned(), rule });
        }
        let settings = topic.settings.changed(change)?;
        self.check_room_for(partitions - before)?;
        let record = TopicRecord { id: topic.id, partitions, settings };
        Ok((topic, record))
    }

    /// Submits a command about a topic whose new logs are there, and takes them back when it fails for certain.
    async fn submit_with(
        &self,
        turn: &mut Turn,
        logs: &[NewLog],
        command: Command,
        name: &str,
    ) -> Result<(), Error> {
        let ids = logs.iter().map(|(id, _)| id.clone());
        let error = match self.0.metadata.submit(command).await {
            Ok(Output::Done) => return Ok(()),
            // If it is on the disk, the logs are needed, and if it is not, they go when that shows.
            Err(unknown @ Error::OutcomeUnknown { .. }) => {
                turn.in_doubt.extend(ids);
                return Err(unknown);
            }
            Err(error) => error,
            Ok(Output::TopicExists) => Error::TopicExists(name.to_owned()),
            Ok(_) => Error::TopicNotFound(name.to_owned()),
        };
        self.take_back(ids.collect()).await;
        Err(error)
    }

    async fn delete(self, mut turn: Turn, name: String) -> Result<(), Error> {
        if let Some(topic) = self.0.topics.get(&name) {
            let deletion = self.0.metadata.submit(Command::DeleteTopic(name.clone(), topic.id)).await;
            let deletion = match deletion {
                // What is acknowledged from now on may be gone when it shows: nothing is.
                Err(source @ Error::OutcomeUnknown { .. }) => {
                    Err(Error::NotDeleted { topic: name.clone(), source: Box::new(source) })
                }
                Err(error) => return Err(error),
                Ok(_) => Ok(()),
            };
            self.0.topics.remove(&name);
            for partition in topic.served() {
                partition.end(PartitionState::Deleted).await;
            }
            deletion?;
            let log_id = |partition| LogId { topic: name.clone(), partition, topic_id: topic.id };
            turn.leftovers.extend((0..topic.count()).map(log_id));
        }
        let ours: Vec<LogId> = turn.leftovers.iter().filter(|id| id.topic == name).cloned().collect();
        if ours.is_empty() {
            return Err(Error::TopicNotFound(name));
        }
        self.remove_logs(&mut turn.leftovers, ours)
            .await
            .map_err(|source| Error::NotRemoved { topic: name.clone(), source: Box::new(source) })?;
        tracing::info!(topic = name, "deleted topic");
        Ok(())
    }

    /// Removes logs of deleted topics, and then forgets about those topics. What is removed is no leftover.
    pub(crate) async fn remove_logs(
        &self,
        leftovers: &mut Vec<LogId>,
        logs: Vec<LogId>,
    ) -> Result<(), Error> {
        let storage = self.0.storage.clone();
        let (removed, outcome) = blocking(move || {
            let mut removed = Vec::new();
            let removal = logs.into_iter().try_for_each(|id| {
                storage.remove(&id)?;
                removed.push(id);
                Ok(())
            });
            Ok((removed, removal))
        })
        .await?;
        leftovers.retain(|id| !removed.contains(id));
        blocking(|| outcome).await?;
        let mut ids: Vec<TopicId> = removed.into_iter().map(|id| id.topic_id).collect();
        ids.dedup();
        ids.retain(|id| leftovers.iter().all(|left| left.topic_id != *id));
        if let Err(error) = self.0.metadata.submit(Command::ForgetTopics(ids)).await {
            // The next opening forgets about them.
            tracing::warn!(%error, "deleted topics are still remembered");
        }
        Ok(())
    }

    /// Removes these logs, which are all that is left of deleted topics, and forgets about those topics.
    pub(crate) async fn clear_away(
        &self,
        admin: &mut Admin,
        deleted: BTreeSet<TopicId>,
        logs: Vec<LogId>,
    ) -> Result<(), Error> {
        admin.leftovers = logs.clone();
        if let Err(error) = self.remove_logs(&mut admin.leftovers, logs).await {
            tracing::error!(%error, "logs of deleted topics cannot be removed, the next start tries again");
            return Ok(());
        }
        // Of some there was nothing left.
        self.0.metadata.submit(Command::ForgetTopics(deleted.into_iter().collect())).await?;
        Ok(())
    }

    fn check_room_for(&self, more: u32) -> Result<(), Error> {
        let (there, more, max) =
            (self.0.topics.partition_count(), more as usize, self.0.config.partitions_max);
        if more > 0 && there + more > max {
            Err(Error::TooManyPartitions { there, more, max })
        } else {
            Ok(())
        }
    }

    /// Creates logs of a topic, a few at a time: all of them, or none.
    async fn create_logs(
        &self,
        name: &str,
        topic_id: TopicId,
        numbers: Range<u32>,
    ) -> Result<Vec<NewLog>, Error> {
        let mut ids = numbers.map(|partition| LogId { topic: name.to_owned(), partition, topic_id });
        let (mut running, mut created, mut begun) = (JoinSet::new(), Vec::new(), Vec::new());
        let mut failed = None;
        loop {
            while running.len() < CREATIONS_MAX
                && failed.is_none()
                && let Some(id) = ids.next()
            {
                begun.push(id.clone());
                let storage = self.0.storage.clone();
                running.spawn(blocking(move || storage.open(&id).map(|log| (id, log))));
            }
            match running.join_next().await {
                None => break,
                Some(Ok(Ok(log))) => created.push(log),
                Some(Ok(Err(error))) => failed = failed.or(Some(error)),
                Some(Err(join)) if join.is_panic() => std::panic::resume_unwind(join.into_panic()),
                Some(Err(_)) => failed = failed.or(Some(Error::Stopping)),
            }
        }
        if let Some(error) = failed {
            self.take_back(begun).await;
            return Err(error);
        }
        created.sort_by_key(|(id, _)| id.partition);
        Ok(created)
    }

    /// Removes logs that came to nothing. They hold nothing, and the next opening removes what is left.
    pub(crate) async fn take_back(&self, logs: Vec<LogId>) {
        let storage = self.0.storage.clone();
        let removed = blocking(move || {
            let mut outcome = Ok(());
            for id in &logs {
                outcome = outcome.and(storage.remove(id));
            }
            outcome
        });
        if let Err(error) = removed.await {
            tracing::warn!(%error, "remains of a failed change stay until the next start");
        }
    }
}

/// A log that has just been created.
type NewLog = (LogId, Arc<dyn Log>);
