//! Changes of topics whose outcome nobody knew, because the disk failed over the command.
//!
//! It shows when the log of the metadata is opened again: then the command is there, or it never was. Whoever changes
//! topics has it opened first, so that no change is built upon what is in doubt; and when somebody else has, it is
//! looked into at once.
//!
//! | in doubt was | and it is on the disk | and it is not |
//! |---|---|---|
//! | create, add partitions | served | its logs are removed |
//! | delete | the logs are removed | served again |

use std::sync::{Arc, Weak};

use minikafka_storage::{Log, LogId, StorageError};
use tokio::sync::watch;

use crate::{
    Broker, Error,
    admin::Admin,
    broker::{Inner, blocking},
    metadata::TopicRecord,
};

/// Has it looked into whenever the log of the metadata was opened again. Ends with the broker.
pub(crate) fn watch(broker: &Broker) {
    tokio::spawn(follow_reopenings(Arc::downgrade(&broker.0), broker.0.metadata.reopened()));
}

async fn follow_reopenings(broker: Weak<Inner>, mut reopened: watch::Receiver<u64>) {
    while reopened.changed().await.is_ok() {
        let Some(inner) = broker.upgrade() else { return };
        match Broker(inner).in_turn(async |_, _| Ok(())).await {
            Ok(()) => {}
            Err(Error::Stopping) => return,
            Err(error) => {
                tracing::error!(%error, "changes of topics stay in doubt until somebody changes one");
            }
        }
    }
}

impl Broker {
    /// Leaves no doubt about changes of topics, and serves the topics as they are.
    ///
    /// # Errors
    /// When the log of the metadata is not open again, or the disk fails once more: then it is done another time.
    pub(crate) async fn clear_doubt(&self, admin: &mut Admin) -> Result<(), Error> {
        self.0.metadata.clear_doubt().await?;
        let reopenings = *self.0.metadata.reopened().borrow();
        if admin.reopenings_seen != reopenings {
            self.take_up(admin).await?;
            admin.reopenings_seen = reopenings;
        }
        Ok(())
    }

    async fn take_up(&self, admin: &mut Admin) -> Result<(), Error> {
        let (known, deleted) =
            self.0.metadata.read(|metadata| (metadata.topics().clone(), metadata.deleted().clone()));
        let storage = self.0.storage.clone();
        let there = blocking(move || storage.list()).await?;
        for (name, record) in known.iter().filter(|(name, record)| !self.serves(name, record)) {
            let logs = self.open_new(name, record, &there).await?;
            let topic = self.serve_topic(name.clone(), *record, logs).await?;
            topic.served().for_each(|partition| partition.core.rearm_retention());
            tracing::warn!(topic = name, id = %topic.id, partitions = topic.count(), "the topic is as the disk has it, which was in doubt");
        }
        let has_topic = |id: &LogId| {
            let record = known.get(&id.topic).filter(|record| record.id == id.topic_id);
            record.is_some_and(|record| id.partition < record.partitions)
        };
        let in_doubt = std::mem::take(&mut admin.in_doubt);
        self.take_back(in_doubt.into_iter().filter(|id| !has_topic(id)).collect()).await;
        if deleted.is_empty() {
            return Ok(());
        }
        let left = there.into_iter().filter(|id| deleted.contains(&id.topic_id)).collect();
        self.clear_away(admin, deleted, left).await
    }

    /// Whether a topic is served as the metadata has it.
    fn serves(&self, name: &str, record: &TopicRecord) -> bool {
        self.0.topics.get(name).is_some_and(|topic| {
            TopicRecord { id: topic.id, partitions: topic.count(), settings: topic.settings } == *record
        })
    }

    /// Opens the logs of a topic that are not served. One that is not `there`, or is damaged, is lost, and not made anew.
    ///
    /// # Errors
    /// When the disk fails: what it holds may be sound.
    async fn open_new(
        &self,
        name: &str,
        record: &TopicRecord,
        there: &[LogId],
    ) -> Result<Vec<(LogId, Arc<dyn Log>)>, Error> {
        let served = self.0.topics.get(name).filter(|topic| topic.id == record.id);
        let new = served.map_or(0, |topic| topic.count())..record.partitions;
        let mut ids: Vec<_> = there.iter().filter(|id| id.topic_id == record.id).cloned().collect();
        ids.retain(|id| new.contains(&id.partition));
        ids.sort_unstable_by_key(|id| id.partition);
        let storage = self.0.storage.clone();
        let open = move |id: LogId| match storage.open(&id) {
            Ok(log) => Ok(Some((id, log))),
            Err(error @ (StorageError::Io { .. } | StorageError::Full(_))) => Err(error),
            Err(error) => {
                tracing::error!(partition = %id, %error, "the log of a topic that was in doubt cannot be opened");
                Ok(None)
            }
        };
        blocking(move || ids.into_iter().filter_map(|id| open(id).transpose()).collect()).await
    }
}
