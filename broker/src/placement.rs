//! [`Placement`]: which nodes have a partition, and which one leads it.

use minikafka_storage::Epoch;

use crate::{Broker, Partition};

/// A node of the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u32);

impl NodeId {
    /// A server that is on its own.
    pub const ALONE: NodeId = NodeId(1);
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
