//! Replicas that a client has chosen itself. Without a cluster there is one choice: each partition is on this node.

use kafka_protocol::{
    ResponseError,
    messages::{BrokerId, create_topics_request::CreatableReplicaAssignment},
};

use super::super::{
    door::Door,
    refused::{Outcome, Refused},
};

/// Replicas that each partition has.
pub(super) const REPLICAS: i16 = 1;
/// As many as the server has them.
const DEFAULT: i16 = -1;

/// Checks how many replicas each partition is to have.
pub(super) fn check_factor(wanted: i16) -> Outcome<()> {
    let rule = match wanted {
        DEFAULT | REPLICAS => return Ok(()),
        ..1 => "the replication factor is larger than 0, or -1 for the default".to_owned(),
        _ => format!("there is one node, so that {wanted} replicas of a partition have no place"),
    };
    Err(Refused::new(ResponseError::InvalidReplicationFactor, rule))
}

/// Checks the places of all partitions of a new topic. Returns how many these are.
pub(super) fn count(door: &Door, assignments: &[CreatableReplicaAssignment]) -> Outcome<u32> {
    let mut numbers: Vec<i32> = assignments.iter().map(|assignment| assignment.partition_index).collect();
    numbers.sort_unstable();
    if !numbers.iter().copied().eq(0..assignments.len() as i32) {
        return Err(refuse("the partitions of an assignment are numbered from 0 on, each once"));
    }
    for assignment in assignments {
        check_nodes(door, &assignment.broker_ids)?;
    }
    Ok(assignments.len() as u32)
}

/// Checks the nodes that a partition is to be on.
pub(super) fn check_nodes(door: &Door, nodes: &[BrokerId]) -> Outcome<()> {
    let this = door.node_id();
    match nodes {
        [node] if *node == this => Ok(()),
        [] => Err(refuse("a partition is on one node at least")),
        nodes if nodes.iter().all(|node| *node == this) => {
            Err(refuse("a node has one replica of a partition"))
        }
        _ => Err(refuse(format!("there is no node but {}", *this))),
    }
}

fn refuse(rule: impl Into<String>) -> Refused {
    Refused::new(ResponseError::InvalidReplicaAssignment, rule)
}
