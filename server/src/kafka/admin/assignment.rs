//! Replicas that a client has chosen itself: as many as the broker makes, on nodes that it knows.

use std::collections::HashSet;

use kafka_protocol::{
    ResponseError,
    messages::{BrokerId, create_topics_request::CreatableReplicaAssignment},
};

use super::super::{
    door::{self, Door},
    refused::{Outcome, Refused},
};

/// As many as the server has them.
const DEFAULT: i16 = -1;

/// How many replicas each partition has.
pub(super) fn factor(door: &Door) -> i16 {
    i16::try_from(door.broker.replication_factor()).unwrap_or(i16::MAX)
}

/// Checks how many replicas each partition is to have.
pub(super) fn check_factor(door: &Door, wanted: i16) -> Outcome<()> {
    let factor = factor(door);
    let rule = match wanted {
        DEFAULT => return Ok(()),
        wanted if wanted == factor => return Ok(()),
        ..1 => "the replication factor is larger than 0, or -1 for the default".to_owned(),
        _ => {
            format!("the replication factor is {factor} here: {wanted} replicas of a partition have no place")
        }
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
    let known: Vec<BrokerId> = door.broker.nodes().iter().map(|node| door::node_id(node.id)).collect();
    if let Some(unknown) = nodes.iter().find(|node| !known.contains(node)) {
        return Err(refuse(format!("there is no node {}", **unknown)));
    }
    if nodes.iter().collect::<HashSet<_>>().len() < nodes.len() {
        return Err(refuse("a node has one replica of a partition"));
    }
    match factor(door) {
        factor if nodes.len() == factor as usize => Ok(()),
        factor => Err(refuse(format!("the replication factor is {factor} here, not {}", nodes.len()))),
    }
}

fn refuse(rule: impl Into<String>) -> Refused {
    Refused::new(ResponseError::InvalidReplicaAssignment, rule)
}
