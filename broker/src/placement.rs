//! What clients of a cluster ask for: its [`Node`]s, and by [`Placement`] which of them have a partition, and which one
//! leads it. A server on its own is all there is.

use std::fmt;

use minikafka_storage::Epoch;

use crate::{Broker, Partition};

/// A node of the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u32);

impl NodeId {
    /// A server that is on its own.
    pub const ALONE: NodeId = NodeId(1);
}

/// An address under which clients find a node again.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// A name, or an address without brackets.
    pub host: String,
    /// Its port.
    pub port: u16,
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

/// A node, as others are told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its number.
    pub id: NodeId,
    /// Where it serves Kafka's clients, if it does.
    pub kafka: Option<Endpoint>,
}

/// Where a partition is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    /// The node that takes and gives its messages; `None` while there is none.
    pub leader: Option<NodeId>,
    /// The term of that leader.
    pub leader_epoch: Epoch,
    /// All nodes that have it.
    pub replicas: Vec<NodeId>,
    /// Those among them that have all that is committed.
    pub in_sync: Vec<NodeId>,
}

impl Broker {
    /// The node that this is.
    pub fn node_id(&self) -> NodeId {
        self.config().node_id
    }

    /// Says where this node serves Kafka's clients, once it does. The first that is said counts.
    pub fn advertise_kafka(&self, endpoint: Endpoint) {
        // Of a second door to the same node, clients need not know.
        let _ = self.0.kafka.set(endpoint);
    }

    /// All nodes.
    pub fn nodes(&self) -> Vec<Node> {
        vec![Node { id: self.node_id(), kafka: self.0.kafka.get().cloned() }]
    }

    /// The node that changes topics; `None` while there is none.
    pub fn controller(&self) -> Option<NodeId> {
        Some(self.node_id())
    }

    /// The node that looks after a group; `None` while there is none.
    pub fn coordinator(&self, _group: &str) -> Option<NodeId> {
        Some(self.node_id())
    }

    /// How many nodes have each partition. Without a cluster, this one.
    pub fn replication_factor(&self) -> u32 {
        1
    }

    /// Where a partition is. Without a cluster, here.
    pub fn placement(&self, partition: &Partition) -> Placement {
        let here = self.node_id();
        Placement {
            leader: Some(here),
            leader_epoch: partition.leader_epoch(),
            replicas: vec![here],
            in_sync: vec![here],
        }
    }
}
