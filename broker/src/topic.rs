//! [`Topics`], the topics there are.

use std::{
    collections::BTreeMap,
    ops::Bound,
    sync::{
        Arc, PoisonError, RwLock, RwLockReadGuard,
        atomic::{AtomicU32, Ordering},
    },
};

use minikafka_storage::{StorageError, TopicId};
use tokio::sync::watch;

use crate::{CheckedPayload, Error, Partition, TopicSettings, TopicSummary, settings::TopicLimits};

/// A topic and its partitions, as it is until somebody alters it: then another one takes its place.
#[derive(Debug)]
pub(crate) struct Topic {
    pub(crate) name: String,
    pub(crate) id: TopicId,
    /// By number. `None`: the log is lost.
    pub(crate) partitions: Vec<Option<Partition>>,
    pub(crate) settings: TopicSettings,
    /// What counts. The partitions have it, too.
    pub(crate) limits: Arc<TopicLimits>,
    /// Whose turn it is among the partitions, for messages that may go to any.
    turn: AtomicU32,
}

impl Topic {
    pub(crate) fn new(
        name: String,
        id: TopicId,
        partitions: Vec<Option<Partition>>,
        settings: TopicSettings,
        limits: Arc<TopicLimits>,
    ) -> Topic {
        Topic { name, id, partitions, settings, limits, turn: AtomicU32::new(0) }
    }

    pub(crate) fn summary(&self) -> TopicSummary {
        TopicSummary { name: self.name.clone(), id: self.id, partitions: self.count() }
    }

    /// Number of partitions.
    pub(crate) fn count(&self) -> u32 {
        self.partitions.len() as u32
    }

    /// The partitions that are in service.
    pub(crate) fn served(&self) -> impl Iterator<Item = &Partition> {
        self.partitions.iter().flatten()
    }

    /// A partition by number; none means the first.
    pub(crate) fn partition(&self, number: Option<u32>) -> Result<Partition, Error> {
        let number = number.unwrap_or(0);
        match self.partitions.get(number as usize) {
            Some(Some(partition)) => Ok(partition.clone()),
            Some(None) => Err(Error::PartitionLost { topic: self.name.clone(), partition: number }),
            None => Err(Error::PartitionNotFound {
                topic: self.name.clone(),
                partition: number,
                partitions: self.count(),
            }),
        }
    }

    /// The partition for messages that do not name one: where their keys say, or the next one in turn.
    pub(crate) fn choose(&self, payload: &CheckedPayload) -> Result<Partition, Error> {
        let count = self.count();
        if count == 1 {
            return self.partition(None);
        }
        if let Some(number) = payload.partition_of_keys(count)? {
            return self.partition(Some(number));
        }
        // Relaxed: any turn will do. A lost partition gives its turn to the next one.
        let first = self.turn.fetch_add(1, Ordering::Relaxed);
        let mut turns = (0..count).map(|more| first.wrapping_add(more) % count);
        let served = turns.find_map(|number| self.partitions[number as usize].clone());
        served.map_or_else(|| self.partition(Some(first % count)), Ok)
    }
}

/// The topics there are.
#[derive(Debug)]
pub(crate) struct Topics {
    /// A std lock: it is held for a look-up, never across an await.
    there: RwLock<There>,
    /// Topics that are there and cannot be used until the next start, because a log of theirs could not be opened.
    unusable: RwLock<BTreeMap<String, StorageError>>,
    /// How often a topic was created, altered or deleted; those who wait for one watch it.
    changed: watch::Sender<u64>,
}

/// The same topics, twice.
#[derive(Debug, Default)]
struct There {
    by_name: BTreeMap<String, Arc<Topic>>,
    by_id: BTreeMap<TopicId, Arc<Topic>>,
}

impl Topics {
    pub(crate) fn new() -> Topics {
        Topics { there: RwLock::default(), unusable: RwLock::default(), changed: watch::Sender::new(0) }
    }

    pub(crate) fn get(&self, name: &str) -> Option<Arc<Topic>> {
        self.there().by_name.get(name).cloned()
    }

    pub(crate) fn with_id(&self, id: TopicId) -> Result<Arc<Topic>, Error> {
        self.there().by_id.get(&id).cloned().ok_or(Error::TopicIdNotFound(id))
    }

    pub(crate) fn require(&self, name: &str) -> Result<Arc<Topic>, Error> {
        let Some(topic) = self.get(name) else {
            self.check_usable(name)?;
            return Err(Error::TopicNotFound(name.to_owned()));
        };
        Ok(topic)
    }

    /// The topic is there and cannot be used, for this reason.
    pub(crate) fn refuse(&self, name: String, why: StorageError) {
        self.unusable.write().unwrap_or_else(PoisonError::into_inner).insert(name, why);
    }

    /// Whether a topic of this name may be looked for or made.
    pub(crate) fn check_usable(&self, name: &str) -> Result<(), Error> {
        match self.unusable.read().unwrap_or_else(PoisonError::into_inner).get(name) {
            Some(why) => Err(Error::Storage(why.clone())),
            None => Ok(()),
        }
    }

    /// Adds a topic, or puts it in the place of the one that has its name.
    pub(crate) fn insert(&self, topic: Topic) -> Arc<Topic> {
        let topic = Arc::new(topic);
        let mut there = self.there.write().unwrap_or_else(PoisonError::into_inner);
        there.by_id.insert(topic.id, topic.clone());
        there.by_name.insert(topic.name.clone(), topic.clone());
        drop(there);
        self.wake();
        topic
    }

    pub(crate) fn remove(&self, name: &str) -> Option<Arc<Topic>> {
        let mut there = self.there.write().unwrap_or_else(PoisonError::into_inner);
        let removed = there.by_name.remove(name);
        if let Some(topic) = &removed {
            there.by_id.remove(&topic.id);
        }
        drop(there);
        // Groups have to know.
        self.wake();
        removed
    }

    /// Up to `count` topics with names behind `after`, ordered by name.
    pub(crate) fn page(&self, after: &str, count: usize) -> Vec<Arc<Topic>> {
        let there = self.there();
        there
            .by_name
            .range::<str, _>((Bound::Excluded(after), Bound::Unbounded))
            .take(count)
            .map(|(_, topic)| topic.clone())
            .collect()
    }

    pub(crate) fn all(&self) -> Vec<Arc<Topic>> {
        self.page("", usize::MAX)
    }

    pub(crate) fn partition_count(&self) -> usize {
        self.there().by_name.values().map(|topic| topic.partitions.len()).sum()
    }

    fn there(&self) -> RwLockReadGuard<'_, There> {
        self.there.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes those who wait for a topic.
    pub(crate) fn wake(&self) {
        self.changed.send_modify(|changed| *changed += 1);
    }

    /// Changes whenever a topic is created, altered or deleted.
    pub(crate) fn watch(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }
}
