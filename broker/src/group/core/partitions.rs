//! [`PartitionMap`], something for each of some partitions.

use std::collections::BTreeMap;

/// A value for each of some partitions of topics, ordered by topic and number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PartitionMap<V> {
    by_topic: BTreeMap<String, BTreeMap<u32, V>>,
}

/// Partitions of topics, ordered by topic and number.
pub(crate) type PartitionSet = PartitionMap<()>;

impl<V> Default for PartitionMap<V> {
    fn default() -> PartitionMap<V> {
        PartitionMap { by_topic: BTreeMap::new() }
    }
}

impl<V> PartitionMap<V> {
    pub(crate) fn get(&self, topic: &str, partition: u32) -> Option<&V> {
        self.by_topic.get(topic)?.get(&partition)
    }

    pub(crate) fn contains(&self, topic: &str, partition: u32) -> bool {
        self.get(topic, partition).is_some()
    }

    pub(crate) fn insert(&mut self, topic: &str, partition: u32, value: V) {
        match self.by_topic.get_mut(topic) {
            Some(partitions) => partitions.insert(partition, value),
            None => self.by_topic.entry(topic.to_owned()).or_default().insert(partition, value),
        };
    }

    /// Keeps what `keep` says, which may change the values.
    pub(crate) fn retain(&mut self, mut keep: impl FnMut(&str, u32, &mut V) -> bool) {
        self.by_topic.retain(|topic, partitions| {
            partitions.retain(|partition, value| keep(topic, *partition, value));
            !partitions.is_empty()
        });
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, u32, &V)> {
        self.by_topic.iter().flat_map(|(topic, partitions)| {
            partitions.iter().map(move |(partition, value)| (topic.as_str(), *partition, value))
        })
    }

    pub(crate) fn values_mut(&mut self) -> impl Iterator<Item = (&str, u32, &mut V)> {
        self.by_topic.iter_mut().flat_map(|(topic, partitions)| {
            partitions.iter_mut().map(move |(partition, value)| (topic.as_str(), *partition, value))
        })
    }

    /// The topics that have a partition in here.
    pub(crate) fn topics(&self) -> impl Iterator<Item = &str> {
        self.by_topic.keys().map(String::as_str)
    }

    /// What there is of one topic.
    pub(crate) fn of_topic(&self, topic: &str) -> impl Iterator<Item = (u32, &V)> {
        let partitions = self.by_topic.get(topic);
        partitions.into_iter().flatten().map(|(partition, value)| (*partition, value))
    }

    pub(crate) fn of_topic_mut(&mut self, topic: &str) -> impl Iterator<Item = &mut V> {
        self.by_topic.get_mut(topic).into_iter().flat_map(BTreeMap::values_mut)
    }

    pub(crate) fn len(&self) -> usize {
        self.by_topic.values().map(BTreeMap::len).sum()
    }
}

impl<'a, V> FromIterator<(&'a str, u32, V)> for PartitionMap<V> {
    fn from_iter<I: IntoIterator<Item = (&'a str, u32, V)>>(items: I) -> PartitionMap<V> {
        let mut map = PartitionMap::default();
        for (topic, partition, value) in items {
            map.insert(topic, partition, value);
        }
        map
    }
}

impl<'a> FromIterator<(&'a str, u32)> for PartitionSet {
    fn from_iter<I: IntoIterator<Item = (&'a str, u32)>>(items: I) -> PartitionSet {
        items.into_iter().map(|(topic, partition)| (topic, partition, ())).collect()
    }
}
