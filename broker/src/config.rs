//! [`BrokerConfig`], what can be chosen.

use std::{sync::Arc, time::Duration};

use crate::{Clock, NodeId, SystemClock};

/// How a broker keeps its topics. The defaults are those of the server.
#[derive(Clone, Debug)]
pub struct BrokerConfig {
    /// Age at which messages are evicted; `None`: never.
    pub retention: Option<Duration>,
    /// Bytes that a partition may take up in its storage; its oldest messages are evicted when it takes up
    /// more, in the steps in which the storage gives space back. What is being written to is never evicted.
    /// `None`: no limit.
    pub retention_bytes: Option<u64>,
    /// Whether a produce creates the topic that it names.
    pub auto_create: AutoCreate,
    /// Partitions of a topic that a produce creates, or anybody who does not say how many; at least one.
    pub partitions: u32,
    /// Most partitions that there may be. There is a limit because with auto-create any client makes them.
    pub partitions_max: usize,
    /// Largest message or batch, in bytes as a batch. A compressed batch is counted as it is sent, and may
    /// expand to eight times as many bytes, at most 64 MiB; see [`Expansion`](minikafka_record::Expansion).
    pub message_bytes_max: usize,
    /// Bytes of messages that may wait for the disk, over all partitions; producers are slowed down at the
    /// bound. One half is written while the other gathers: more than a disk takes in a few syncs is memory
    /// that makes nothing faster.
    pub waiting_bytes_max: usize,
    /// How long a partition remembers an idempotent producer that sends nothing to it.
    pub producer_expiry: Duration,
    /// How long positions of a consumer group are kept from the moment on when it has no members.
    pub position_retention: Duration,
    /// Which node of the cluster this is.
    pub node_id: NodeId,
    /// Where the append clock takes its time from; tests bring their own.
    pub clock: Arc<dyn Clock>,
}

/// Whether a produce creates the topic that it names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AutoCreate {
    /// It does.
    Enabled,
    /// It fails with [`Error::TopicNotFound`](crate::Error::TopicNotFound).
    Disabled,
}

impl Default for BrokerConfig {
    fn default() -> BrokerConfig {
        BrokerConfig {
            retention: Some(Duration::from_secs(168 * 3600)),
            retention_bytes: None,
            auto_create: AutoCreate::Enabled,
            partitions: 1,
            partitions_max: 10_000,
            message_bytes_max: 3 * 1024 * 1024,
            waiting_bytes_max: 16 * 1024 * 1024,
            producer_expiry: Duration::from_secs(24 * 3600),
            position_retention: Duration::from_secs(168 * 3600),
            node_id: NodeId::ALONE,
            clock: Arc::new(SystemClock),
        }
    }
}
