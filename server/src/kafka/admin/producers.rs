//! DescribeProducers: the idempotent producers that a partition remembers.

use std::collections::HashSet;

use kafka_protocol::{
    ResponseError,
    messages::{
        DescribeProducersRequest, DescribeProducersResponse, ProducerId,
        describe_producers_response::{PartitionResponse, ProducerState, TopicResponse},
    },
};
use minikafka_broker::ProducerDescription;

use super::super::{
    door::Door,
    shape::{Field, INTS, TEXT, array},
};

pub(in super::super) static SHAPE: &[Field] = &[array(TOPIC)];
static TOPIC: &[Field] = &[TEXT, INTS];

/// Nobody coordinates transactions, and none is open.
const NONE: i32 = -1;

/// Everything that is asked.
pub(in super::super) async fn describe(
    door: &Door,
    _version: i16,
    request: DescribeProducersRequest,
) -> DescribeProducersResponse {
    let mut seen = HashSet::new();
    let topics = request.topics.into_iter().map(|topic| {
        let partitions = topic.partition_indexes.iter().map(|index| {
            let response = PartitionResponse::default().with_partition_index(*index).with_error_message(None);
            let found = match seen.insert((topic.name.clone(), *index)) {
                true => producers(door, &topic.name, *index),
                // To describe it again could make any reply out of a small request.
                false => Err(ResponseError::InvalidRequest),
            };
            match found {
                Ok(producers) => response.with_active_producers(producers),
                Err(error) => response.with_error_code(door.counts.error(error)),
            }
        });
        let partitions = partitions.collect();
        TopicResponse::default().with_name(topic.name).with_partitions(partitions)
    });
    DescribeProducersResponse::default().with_topics(topics.collect())
}

fn producers(door: &Door, topic: &str, partition: i32) -> Result<Vec<ProducerState>, ResponseError> {
    let producers = door.partition(topic, partition)?.producers();
    Ok(producers.into_iter().map(state).collect())
}

fn state(producer: ProducerDescription) -> ProducerState {
    ProducerState::default()
        .with_producer_id(ProducerId(producer.identity.id))
        .with_producer_epoch(producer.identity.epoch.into())
        .with_last_sequence(producer.last_sequence.get())
        .with_last_timestamp(producer.last_append_time)
        .with_coordinator_epoch(NONE)
        .with_current_txn_start_offset(NONE.into())
}
