//! What can be said about topics and partitions.

use std::time::Duration;

use minikafka_record::Offset;
use minikafka_storage::TopicId;

use crate::Effective;

/// A topic, in short.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicSummary {
    /// Name.
    pub name: String,
    /// Identity: changes when a topic is deleted and created again.
    pub id: TopicId,
    /// Number of partitions.
    pub partitions: u32,
}

/// A topic with its partitions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicDescription {
    /// The short of it.
    pub summary: TopicSummary,
    /// Its partitions, from 0; `None` for one whose log is lost.
    pub partitions: Vec<Option<PartitionBounds>>,
    /// Age at which messages are evicted; `None`: never.
    pub retention: Effective<Option<Duration>>,
    /// Bytes that each partition may take up before its oldest messages are evicted; `None`: no limit.
    pub retention_bytes: Effective<Option<u64>>,
    /// Largest message or batch, in bytes.
    pub message_bytes_max: Effective<u64>,
}

/// Where a partition begins and ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartitionBounds {
    /// First offset not evicted.
    pub start: Offset,
    /// First offset that cannot be read yet.
    pub high_watermark: Offset,
    /// First offset not yet written.
    pub end: Offset,
    /// Below it, everything is on this disk.
    pub durable: Offset,
    /// Bytes that the partition takes up in its storage.
    pub size_bytes: u64,
    /// Messages from the start on that are known to be lost to damage of the disk; fetching them fails with
    /// [`Error::Damaged`](crate::Error::Damaged).
    pub damaged: u64,
}
