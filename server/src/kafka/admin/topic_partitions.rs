//! DescribeTopicPartitions: what Metadata says of topics, in pieces (KIP-966).

use std::collections::BTreeSet;

use kafka_protocol::{
    messages::{
        DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse, TopicName,
        describe_topic_partitions_request,
        describe_topic_partitions_response::{
            Cursor, DescribeTopicPartitionsResponsePartition, DescribeTopicPartitionsResponseTopic,
        },
    },
    protocol::StrBytes,
};
use minikafka_broker::TopicSummary;
use uuid::Uuid;

use super::super::{
    door::Door,
    metadata::{OPERATIONS_UNKNOWN, Placed},
    shape::{Field, I32, TEXT, array, maybe},
    topic_name,
};

pub(in super::super) static SHAPE: &[Field] = &[array(TOPIC), I32, maybe(CURSOR)];
static TOPIC: &[Field] = &[TEXT];
static CURSOR: &[Field] = &[TEXT, I32];

/// Partitions of one reply at most, as in Kafka.
const PARTITIONS_MAX: usize = 2000;

/// The topics that are named, or all if none is: by name, from the cursor on, as many partitions as fit.
pub(in super::super) async fn describe(
    door: &Door,
    _version: i16,
    request: DescribeTopicPartitionsRequest,
) -> DescribeTopicPartitionsResponse {
    let mut room = usize::try_from(request.response_partition_limit).unwrap_or(0).clamp(1, PARTITIONS_MAX);
    let (after, mut first) = match request.cursor {
        Some(describe_topic_partitions_request::Cursor { topic_name, partition_index, .. }) => {
            (Some(topic_name), u32::try_from(partition_index).unwrap_or(0))
        }
        None => (None, 0),
    };
    let names = match request.topics.is_empty() {
        true => all(door),
        false => request.topics.into_iter().map(|topic| topic.name).collect(),
    };
    let mut response = DescribeTopicPartitionsResponse::default();
    for name in names.into_iter().filter(|name| after.as_ref().is_none_or(|after| name >= after)) {
        if after.as_ref() != Some(&name) {
            first = 0;
        }
        if room == 0 {
            return response.with_next_cursor(Some(cursor(name, 0)));
        }
        let (topic, next) = one(door, &name, first, &mut room);
        response.topics.push(topic);
        if let Some(next) = next {
            return response.with_next_cursor(Some(cursor(name, next)));
        }
    }
    response
}

fn all(door: &Door) -> BTreeSet<TopicName> {
    let topics = door.broker.topics("", usize::MAX).into_iter();
    let seen = topics.filter(|topic| topic_name::is_allowed(&topic.name));
    seen.map(|topic| TopicName(StrBytes::from_string(topic.name))).collect()
}

/// A topic from one of its partitions on, and the partition that comes next, if there is no room for it.
fn one(
    door: &Door,
    name: &TopicName,
    first: u32,
    room: &mut usize,
) -> (DescribeTopicPartitionsResponseTopic, Option<u32>) {
    let described = DescribeTopicPartitionsResponseTopic::default()
        .with_name(Some(name.clone()))
        .with_topic_authorized_operations(OPERATIONS_UNKNOWN);
    let TopicSummary { id, partitions: count, .. } = match door.topic(name) {
        Ok(topic) => topic.summary,
        Err(refused) => return (described.with_error_code(refused.tell(door).0), None),
    };
    let end = first.saturating_add(*room as u32).min(count);
    let partitions: Vec<_> = (first..end).map(|number| partition(door, name, number)).collect();
    *room -= partitions.len();
    let described = described.with_topic_id(Uuid::from_bytes(*id.as_bytes())).with_partitions(partitions);
    (described, (end < count).then_some(end))
}

fn partition(door: &Door, topic: &str, number: u32) -> DescribeTopicPartitionsResponsePartition {
    let Placed { code, leader, leader_epoch, replicas, in_sync } = Placed::of(door, topic, number);
    DescribeTopicPartitionsResponsePartition::default()
        .with_error_code(code)
        .with_partition_index(number as i32)
        .with_leader_id(leader)
        .with_leader_epoch(leader_epoch)
        .with_replica_nodes(replicas)
        .with_isr_nodes(in_sync)
        // Those that could lead without being in sync: none. The Java client does not take null.
        .with_eligible_leader_replicas(Some(Vec::new()))
        .with_last_known_elr(Some(Vec::new()))
}

fn cursor(topic: TopicName, partition: u32) -> Cursor {
    Cursor::default().with_topic_name(topic).with_partition_index(partition as i32)
}
