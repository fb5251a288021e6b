//! Creating and deleting topics: one at a time, and each to its end.
//!
//! A caller may go away at any moment, as clients do. The work runs in a task of its own, so that a log is
//! never there without its topic, nor a topic half deleted.

use std::future::Future;

use minikafka_storage::{LogId, TopicId};
use tokio::sync::OwnedMutexGuard;

use crate::{
    Broker, Error, TopicSummary, broker::blocking, partition::PartitionState, retention::RunningRetention,
    topic::Topic, validate_topic_name,
};

/// What those who create, delete and stop hold, one at a time.
#[derive(Debug, Default)]
pub(crate) struct Admin {
    /// The logs of deleted topics whose removal failed.
    leftovers: Vec<LogId>,
    pub(crate) retention: Option<RunningRetention>,
}

type Turn = OwnedMutexGuard<Admin>;

impl Broker {
    /// Creates a topic; durable on return. There is one partition in each topic today.
    ///
    /// A caller that goes away before the return finds the topic created, or not.
    ///
    /// # Errors
    /// [`Error::InvalidTopicName`], [`Error::TopicExists`], [`Error::TooManyPartitions`],
    /// [`Error::NotDeleted`] when remains of a deleted topic of this name still cannot be removed, or a
    /// storage error.
    pub async fn create_topic(&self, topic: &str, partitions: u32) -> Result<TopicSummary, Error> {
        validate_topic_name(topic)?;
        if partitions != 1 {
            return Err(Error::InvalidRequest(format!(
                "a topic has 1 partition in this version, not {partitions}"
            )));
        }
        let topic = topic.to_owned();
        self.in_turn(|broker, turn| broker.create(turn, topic)).await
    }

    /// Deletes a topic and its messages; durable on return. Readers and producers of it fail with
    /// [`Error::TopicNotFound`].
    ///
    /// A caller that goes away before the return finds the topic deleted, or not.
    ///
    /// # Errors
    /// [`Error::InvalidTopicName`], [`Error::TopicNotFound`]; [`Error::NotDeleted`] when the storage fails:
    /// then the topic is out of service and may be back after a restart, and deleting it again tries
    /// again.
    pub async fn delete_topic(&self, topic: &str) -> Result<(), Error> {
        validate_topic_name(topic)?;
        let topic = topic.to_owned();
        self.in_turn(|broker, turn| broker.delete(turn, topic)).await
    }

    /// Runs `work` alone, in a task of its own. Whoever goes away while waiting for the turn has asked for
    /// nothing.
    async fn in_turn<T: Send + 'static, W>(&self, work: impl FnOnce(Broker, Turn) -> W) -> Result<T, Error>
    where
        W: Future<Output = Result<T, Error>> + Send + 'static,
    {
        let turn = self.0.admin.clone().lock_owned().await;
        self.check_running()?;
        match tokio::spawn(work(self.clone(), turn)).await {
            Ok(outcome) => outcome,
            Err(join) if join.is_panic() => std::panic::resume_unwind(join.into_panic()),
            Err(_) => Err(Error::Stopping),
        }
    }

    async fn create(self, mut turn: Turn, topic: String) -> Result<TopicSummary, Error> {
        if self.0.topics.get(&topic).is_some() {
            return Err(Error::TopicExists(topic));
        }
        let max = self.0.config.partitions_max;
        if self.0.topics.partition_count() >= max {
            return Err(Error::TooManyPartitions { max });
        }
        // Two logs of one name with messages would keep the broker from starting.
        self.remove_leftovers(&mut turn, &topic).await?;
        let topic_id = TopicId::random().map_err(Error::Storage)?;
        let id = LogId { topic: topic.clone(), partition: 0, topic_id };
        let (storage, opened) = (self.0.storage.clone(), id.clone());
        let log = blocking(move || {
            storage.open(&opened).inspect_err(|_| {
                // What a failure leaves behind holds nothing; the next start removes it at the latest.
                if let Err(error) = storage.remove(&opened) {
                    tracing::warn!(partition = %opened, %error, "remains of a failed creation stay");
                }
            })
        })
        .await?;
        let partitions = vec![self.start_partition(id, log).await?];
        let topic = self.0.topics.insert(Topic { name: topic, id: topic_id, partitions });
        tracing::info!(topic = topic.name, id = %topic.id, "created topic");
        Ok(topic.summary())
    }

    async fn delete(self, mut turn: Turn, topic: String) -> Result<(), Error> {
        let deleted = self.0.topics.remove(&topic);
        for partition in deleted.iter().flat_map(|deleted| &deleted.partitions) {
            partition.end(PartitionState::Deleted).await;
            turn.leftovers.push(partition.core.id.clone());
        }
        let had_leftovers = self.remove_leftovers(&mut turn, &topic).await?;
        if !had_leftovers {
            return Err(Error::TopicNotFound(topic));
        }
        tracing::info!(topic, "deleted topic");
        Ok(())
    }

    /// Removes what deletions of this topic have left; says whether there was anything.
    async fn remove_leftovers(&self, turn: &mut Turn, topic: &str) -> Result<bool, Error> {
        let ours: Vec<LogId> = turn.leftovers.iter().filter(|id| id.topic == topic).cloned().collect();
        for id in &ours {
            let (storage, removed) = (self.0.storage.clone(), id.clone());
            blocking(move || storage.remove(&removed))
                .await
                .map_err(|source| Error::NotDeleted { topic: topic.to_owned(), source: Box::new(source) })?;
            turn.leftovers.retain(|left| left != id);
        }
        Ok(!ours.is_empty())
    }
}
