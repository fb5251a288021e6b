//! [`KafkaDoor`]: the connections of Kafka clients.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use kafka_protocol::{ResponseError, messages::BrokerId, protocol::StrBytes};
use minikafka_broker::{Broker, Endpoint, Error, Node, NodeId, Partition, TopicDescription, TopicSummary};
use minikafka_storage::{Epoch, TopicId};
use tokio::{
    net::TcpStream,
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use uuid::Uuid;

use super::{
    Counts, connection, errors, fetch, frames::Incoming, large_reply::LargeReplies, rarely::Rarely,
    refused::Refused, topic_name,
};
use crate::{accept::Takes, room::Room};

/// The connections of Kafka clients. Cheap to clone.
#[derive(Clone)]
pub(crate) struct KafkaDoor {
    door: Arc<Door>,
    room: Room,
    tasks: TaskTracker,
    /// Tells connections to end once they have answered.
    stopping: CancellationToken,
    /// Ends them as they are.
    cut: CancellationToken,
}

/// What all connections share.
pub(super) struct Door {
    pub(super) broker: Broker,
    pub(super) counts: Arc<Counts>,
    /// Room for the bytes of large requests.
    pub(super) incoming: Arc<Incoming>,
    /// Room for the bytes of replies with messages.
    pub(super) outgoing: Arc<Semaphore>,
    /// Room for the bytes of large replies without messages.
    pub(super) large_replies: LargeReplies,
    /// How long a client may be silent when it waits for nothing.
    pub(super) idle_timeout: Duration,
}

impl KafkaDoor {
    /// No connections yet.
    pub(crate) fn new(
        broker: Broker,
        counts: Arc<Counts>,
        idle_timeout: Duration,
        room: Room,
        stopping: CancellationToken,
    ) -> KafkaDoor {
        let door = Door {
            incoming: Arc::new(Incoming::new(broker.spares())),
            broker,
            counts,
            outgoing: Arc::new(Semaphore::new(fetch::BUDGET_BYTES)),
            large_replies: LargeReplies::default(),
            idle_timeout,
        };
        KafkaDoor {
            door: Arc::new(door),
            room,
            tasks: TaskTracker::new(),
            stopping,
            cut: CancellationToken::new(),
        }
    }

    /// Waits until all connections have ended, which they do once `stopping` is cancelled and they have answered.
    /// Cuts those that have not at the deadline.
    pub(crate) async fn finish(&self, deadline: Duration) {
        self.tasks.close();
        if timeout(deadline, self.tasks.wait()).await.is_err() {
            tracing::warn!(connections = self.tasks.len(), "cut Kafka connections that did not end in time");
            self.cut.cancel();
            self.tasks.wait().await;
        }
    }
}

impl Takes for KafkaDoor {
    fn room(&self) -> &Room {
        &self.room
    }

    fn serve(&self, stream: TcpStream, peer: SocketAddr, room: OwnedSemaphorePermit) {
        let KafkaDoor { door, stopping, cut, .. } = self.clone();
        let counted = door.counts.connections.open();
        self.tasks.spawn(async move {
            tokio::select! {
                biased;
                () = Rarely::new(cut.cancelled()) => tracing::debug!(%peer, "cut a Kafka connection"),
                ended = connection::serve(&door, stream, peer, stopping) => match ended {
                    Ok(()) => tracing::trace!(%peer, "a Kafka connection ended"),
                    // Clients that vanish, and those that speak something else.
                    Err(error) => tracing::debug!(%peer, %error, "a Kafka connection failed"),
                },
            }
            drop((room, counted));
        });
    }
}

impl Door {
    /// The code that a client is told about an error.
    pub(super) fn refuse(&self, error: &Error) -> i16 {
        self.counts.error(errors::code(error))
    }

    /// A partition of a topic that Kafka's clients may see.
    pub(super) fn partition(&self, topic: &str, partition: i32) -> Result<Partition, ResponseError> {
        let number = number(topic, partition)?;
        self.broker.partition(topic, Some(number)).map_err(|error| errors::code(&error))
    }

    /// The number of a partition that is there, in service or not.
    pub(super) fn number_of(&self, topic: &str, partition: i32) -> Result<u32, ResponseError> {
        let number = number(topic, partition)?;
        self.broker.check_partition(topic, number).map_err(|error| errors::code(&error))?;
        Ok(number)
    }

    /// A partition of a topic that has this id.
    pub(super) fn partition_with_id(&self, topic: Uuid, partition: i32) -> Result<Partition, ResponseError> {
        let topic = self.topic_with_id(topic)?;
        let number = u32::try_from(partition).map_err(|_| ResponseError::UnknownTopicOrPartition)?;
        self.broker.partition_with_id(topic.id, number).map_err(|error| errors::code(&error))
    }

    /// The topic that has this id. One that clients do not see has none that they could know.
    pub(super) fn topic_with_id(&self, id: Uuid) -> Result<TopicSummary, ResponseError> {
        let found = self.broker.topic_with_id(Door::topic_id(id)).map_err(|error| errors::code(&error))?;
        match topic_name::is_allowed(&found.name) {
            true => Ok(found),
            false => Err(ResponseError::UnknownTopicId),
        }
    }

    /// A topic that Kafka's clients may see.
    pub(super) fn topic(&self, name: &str) -> Result<TopicDescription, Refused> {
        if !topic_name::is_allowed(name) {
            return Err(Refused::new(ResponseError::InvalidTopicException, topic_name::RULE));
        }
        Ok(self.broker.describe_topic(name)?)
    }

    /// A topic's id, as the broker has it.
    pub(super) fn topic_id(id: Uuid) -> TopicId {
        TopicId::from_bytes(id.into_bytes())
    }

    /// The node that this is.
    pub(super) fn node_id(&self) -> BrokerId {
        node_id(self.broker.node_id())
    }

    /// The nodes that Kafka's clients can reach.
    pub(super) fn nodes(&self) -> Vec<(BrokerId, Endpoint)> {
        let reached = |node: Node| Some((node_id(node.id), node.kafka?));
        self.broker.nodes().into_iter().filter_map(reached).collect()
    }

    /// The cluster that this is, as Kafka's clients and tools write it.
    pub(super) fn cluster_id(&self) -> StrBytes {
        StrBytes::from_string(BASE64_URL_SAFE_NO_PAD.encode(self.broker.cluster_id().as_bytes()))
    }

    /// Checks the leader epoch that a client believes in; -1 is none.
    pub(super) fn check_epoch(&self, partition: &Partition, epoch: i32) -> Result<(), ResponseError> {
        let wanted = u64::try_from(epoch).ok();
        partition.check_leader_epoch(wanted).map_err(|error| errors::code(&error))
    }
}

/// A partition's number, of a topic that Kafka's clients may name.
fn number(topic: &str, partition: i32) -> Result<u32, ResponseError> {
    if !topic_name::is_allowed(topic) {
        return Err(ResponseError::InvalidTopicException);
    }
    u32::try_from(partition).map_err(|_| ResponseError::UnknownTopicOrPartition)
}

/// The term of a leader, as the protocol has it.
pub(super) fn epoch(epoch: Epoch) -> i32 {
    i32::try_from(epoch).unwrap_or(i32::MAX)
}

/// A node, as the protocol has it.
pub(super) fn node_id(id: NodeId) -> BrokerId {
    BrokerId(i32::try_from(id.0).unwrap_or(i32::MAX))
}
