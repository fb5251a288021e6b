//! [`TopicPartition`], one of the logs that a topic consists of.

use std::{fmt, sync::Arc};

use minikafka_proto::v1;

/// A partition of a topic. Order is per partition.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicPartition {
    /// Name of the topic.
    pub topic: Arc<str>,
    /// Partition, from 0.
    pub partition: u32,
}

impl TopicPartition {
    /// A partition, counted from 0, of a topic.
    pub fn new(topic: impl Into<Arc<str>>, partition: u32) -> TopicPartition {
        TopicPartition { topic: topic.into(), partition }
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "partition {} of topic \"{}\"", self.partition, self.topic)
    }
}

impl From<&TopicPartition> for v1::TopicPartition {
    fn from(of: &TopicPartition) -> v1::TopicPartition {
        v1::TopicPartition { topic: of.topic.to_string(), partition: of.partition }
    }
}

impl From<v1::TopicPartition> for TopicPartition {
    fn from(of: v1::TopicPartition) -> TopicPartition {
        TopicPartition::new(of.topic, of.partition)
    }
}
