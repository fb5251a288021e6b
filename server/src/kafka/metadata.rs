//! Metadata: the nodes, the topics, and who leads which partition.

use std::collections::HashSet;

use kafka_protocol::{
    ResponseError,
    messages::{
        BrokerId, MetadataRequest, MetadataResponse, TopicName,
        metadata_request::MetadataRequestTopic,
        metadata_response::{MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic},
    },
    protocol::StrBytes,
};
use minikafka_broker::{AutoCreate, Endpoint, Error, NodeId, Placement, TopicSummary};

use super::{
    door::{Door, node_id},
    errors,
    shape::{BOOL, Field, TEXT, UUID, array},
    topic_name,
};

pub(super) static SHAPE: &[Field] = &[array(TOPIC), BOOL.since(4), BOOL.since(8).until(10), BOOL.since(8)];
static TOPIC: &[Field] = &[UUID.since(10), TEXT];

/// The first version that asks for topics by their ids.
const IDS_SINCE: i16 = 12;
/// "Nobody has asked": there are no rights to tell of.
pub(super) const OPERATIONS_UNKNOWN: i32 = i32::MIN;
/// Nobody leads.
pub(super) const NO_NODE: BrokerId = BrokerId(-1);

/// Whether a topic that is asked for may be created by that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Missing {
    Create,
    Report,
}

/// All topics, or those that are named.
pub(super) async fn describe(door: &Door, version: i16, request: MetadataRequest) -> MetadataResponse {
    let node = |(id, Endpoint { host, port })| {
        let host = StrBytes::from_string(host);
        MetadataResponseBroker::default().with_node_id(id).with_host(host).with_port(i32::from(port))
    };
    // Before version 4 clients cannot say no.
    let missing = match version < 4 || request.allow_auto_topic_creation {
        true => Missing::Create,
        false => Missing::Report,
    };
    let topics = match request.topics {
        None => all(door),
        // Version 0 has no null for that.
        Some(none) if none.is_empty() && version == 0 => all(door),
        Some(named) => {
            // Each once, as Kafka does: to answer one again could make any reply out of a small request.
            let mut seen = HashSet::with_capacity(named.len());
            let mut topics = Vec::with_capacity(named.len());
            for topic in named {
                if seen.insert((topic.name.clone(), topic.topic_id)) {
                    topics.push(one(door, version, topic, missing).await);
                }
            }
            // To create one takes a while. Partitions are described when all of them are there, not held meanwhile.
            let describe =
                |topic: Result<_, _>| topic.map_or_else(|missing| missing, |topic| found(door, &topic));
            topics.into_iter().map(describe).collect()
        }
    };
    MetadataResponse::default()
        .with_brokers(door.nodes().into_iter().map(node).collect())
        .with_cluster_id(Some(door.cluster_id()))
        .with_controller_id(door.broker.controller().map_or(NO_NODE, node_id))
        .with_topics(topics)
        .with_cluster_authorized_operations(OPERATIONS_UNKNOWN)
}

fn all(door: &Door) -> Vec<MetadataResponseTopic> {
    let topics = door.broker.topics("", usize::MAX);
    let seen = topics.iter().filter(|topic| topic_name::is_allowed(&topic.name));
    seen.map(|topic| found(door, topic)).collect()
}

/// A topic that was found, or what is to be said of one that was not.
async fn one(
    door: &Door,
    version: i16,
    wanted: MetadataRequestTopic,
    missing: Missing,
) -> Result<TopicSummary, MetadataResponseTopic> {
    let (id, by_id) = (wanted.topic_id, version >= IDS_SINCE);
    let (name, topic) = match wanted.name {
        _ if by_id && !id.is_nil() => (None, door.topic_with_id(id)),
        Some(name) => {
            let topic = look_up(door, &name, missing).await;
            (Some(name), topic)
        }
        // Before, replies have no way to do without a name.
        None => (Some(TopicName(StrBytes::new())), Err(ResponseError::UnsupportedVersion)),
    };
    match topic {
        Ok(topic) => Ok(topic),
        Err(error) => Err(MetadataResponseTopic::default()
            .with_name(name)
            .with_topic_id(id)
            .with_topic_authorized_operations(OPERATIONS_UNKNOWN)
            .with_error_code(door.counts.error(error))),
    }
}

async fn look_up(door: &Door, name: &str, missing: Missing) -> Result<TopicSummary, ResponseError> {
    if !topic_name::is_allowed(name) {
        return Err(ResponseError::InvalidTopicException);
    }
    let described = door.broker.describe_topic(name).map(|topic| topic.summary);
    let config = door.broker.config();
    let summary = match described {
        Err(Error::TopicNotFound(_))
            if missing == Missing::Create && config.auto_create == AutoCreate::Enabled =>
        {
            match door.broker.create_topic(name, config.partitions).await {
                // Somebody else was quicker.
                Err(Error::TopicExists(_)) => door.broker.describe_topic(name).map(|topic| topic.summary),
                created => created,
            }
        }
        described => described,
    };
    summary.map_err(|error| errors::code(&error))
}

fn found(door: &Door, topic: &TopicSummary) -> MetadataResponseTopic {
    let partitions = (0..topic.partitions).map(|number| partition(door, &topic.name, number));
    MetadataResponseTopic::default()
        .with_name(Some(TopicName(StrBytes::from_string(topic.name.clone()))))
        .with_topic_id(uuid::Uuid::from_bytes(*topic.id.as_bytes()))
        .with_partitions(partitions.collect())
        .with_topic_authorized_operations(OPERATIONS_UNKNOWN)
}

fn partition(door: &Door, topic: &str, number: u32) -> MetadataResponsePartition {
    let Placed { code, leader, leader_epoch, replicas, in_sync } = Placed::of(door, topic, number);
    MetadataResponsePartition::default()
        .with_partition_index(number as i32)
        .with_error_code(code)
        .with_leader_id(leader)
        .with_leader_epoch(leader_epoch)
        .with_replica_nodes(replicas)
        .with_isr_nodes(in_sync)
}

/// Where a partition is, as the protocol has it.
pub(super) struct Placed {
    pub(super) code: i16,
    pub(super) leader: BrokerId,
    pub(super) leader_epoch: i32,
    pub(super) replicas: Vec<BrokerId>,
    pub(super) in_sync: Vec<BrokerId>,
}

impl Placed {
    pub(super) fn of(door: &Door, topic: &str, number: u32) -> Placed {
        let placement = match door.broker.partition(topic, Some(number)) {
            Ok(partition) => door.broker.placement(&partition),
            Err(error) => return Placed::nowhere(door.refuse(&error)),
        };
        let Placement { leader, leader_epoch, replicas, in_sync } = placement;
        let nodes = |nodes: Vec<NodeId>| nodes.into_iter().map(node_id).collect();
        let (leader, code) = match leader {
            Some(leader) => (node_id(leader), 0),
            None => (NO_NODE, door.counts.error(ResponseError::LeaderNotAvailable)),
        };
        let leader_epoch = i32::try_from(leader_epoch).unwrap_or(i32::MAX);
        Placed { code, leader, leader_epoch, replicas: nodes(replicas), in_sync: nodes(in_sync) }
    }

    fn nowhere(code: i16) -> Placed {
        Placed { code, leader: NO_NODE, leader_epoch: -1, replicas: Vec::new(), in_sync: Vec::new() }
    }
}
