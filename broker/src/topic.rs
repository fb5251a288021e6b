//! [`Topics`], the topics there are.

use std::{
    collections::BTreeMap,
    ops::Bound,
    sync::{Arc, PoisonError, RwLock},
};

use minikafka_storage::TopicId;
use tokio::sync::watch;

use crate::{Error, Partition, TopicSummary};

/// A topic and its partitions.
#[derive(Debug)]
pub(crate) struct Topic {
    pub(crate) name: String,
    pub(crate) id: TopicId,
    /// By number.
    pub(crate) partitions: Vec<Partition>,
}

impl Topic {
    pub(crate) fn summary(&self) -> TopicSummary {
        TopicSummary { name: self.name.clone(), id: self.id, partitions: self.partitions.len() as u32 }
    }

    /// A partition by number; none means the first.
    pub(crate) fn partition(&self, number: Option<u32>) -> Result<Partition, Error> {
        let number = number.unwrap_or(0);
        self.partitions.get(number as usize).cloned().ok_or_else(|| Error::PartitionNotFound {
            topic: self.name.clone(),
            partition: number,
            partitions: self.partitions.len() as u32,
        })
    }
}

/// The topics there are, by name.
#[derive(Debug)]
pub(crate) struct Topics {
    /// A std lock: it is held for a look-up, never across an await.
    by_name: RwLock<BTreeMap<String, Arc<Topic>>>,
    /// How often a topic was created; those who wait for one watch it.
    created: watch::Sender<u64>,
}

impl Topics {
    pub(crate) fn new(topics: impl IntoIterator<Item = Topic>) -> Topics {
        let by_name = topics.into_iter().map(|topic| (topic.name.clone(), Arc::new(topic))).collect();
        Topics { by_name: RwLock::new(by_name), created: watch::Sender::new(0) }
    }

    pub(crate) fn get(&self, name: &str) -> Option<Arc<Topic>> {
        self.by_name.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    pub(crate) fn require(&self, name: &str) -> Result<Arc<Topic>, Error> {
        self.get(name).ok_or_else(|| Error::TopicNotFound(name.to_owned()))
    }

    pub(crate) fn insert(&self, topic: Topic) -> Arc<Topic> {
        let topic = Arc::new(topic);
        let mut by_name = self.by_name.write().unwrap_or_else(PoisonError::into_inner);
        by_name.insert(topic.name.clone(), topic.clone());
        drop(by_name);
        self.wake();
        topic
    }

    pub(crate) fn remove(&self, name: &str) -> Option<Arc<Topic>> {
        let removed = self.by_name.write().unwrap_or_else(PoisonError::into_inner).remove(name);
        // Groups have to know.
        self.wake();
        removed
    }

    /// Up to `count` topics with names behind `after`, ordered by name.
    pub(crate) fn page(&self, after: &str, count: usize) -> Vec<Arc<Topic>> {
        let by_name = self.by_name.read().unwrap_or_else(PoisonError::into_inner);
        by_name
            .range::<str, _>((Bound::Excluded(after), Bound::Unbounded))
            .take(count)
            .map(|(_, topic)| topic.clone())
            .collect()
    }

    pub(crate) fn all(&self) -> Vec<Arc<Topic>> {
        self.page("", usize::MAX)
    }

    pub(crate) fn partition_count(&self) -> usize {
        let by_name = self.by_name.read().unwrap_or_else(PoisonError::into_inner);
        by_name.values().map(|topic| topic.partitions.len()).sum()
    }

    /// Wakes those who wait for a topic.
    pub(crate) fn wake(&self) {
        self.created.send_modify(|created| *created += 1);
    }

    /// Changes whenever a topic is created.
    pub(crate) fn watch(&self) -> watch::Receiver<u64> {
        self.created.subscribe()
    }
}
