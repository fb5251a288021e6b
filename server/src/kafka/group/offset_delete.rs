//! OffsetDelete: single positions of a group whose members do not read the topic.

use std::collections::HashSet;

use kafka_protocol::{
    ResponseError,
    messages::{
        OffsetDeleteRequest, OffsetDeleteResponse,
        offset_delete_request::OffsetDeleteRequestTopic,
        offset_delete_response::{OffsetDeleteResponsePartition, OffsetDeleteResponseTopic},
    },
};
use minikafka_broker::{Error, GroupError, TopicPartition};

use crate::kafka::{
    door::Door,
    shape::{Field, I32, TEXT, array},
};

pub(in crate::kafka) static SHAPE: &[Field] = &[TEXT, array(TOPIC)];
static TOPIC: &[Field] = &[TEXT, array(PARTITION)];
static PARTITION: &[Field] = &[I32];

/// Lets go of what can be let go of.
pub(super) async fn delete(door: &Door, request: OffsetDeleteRequest) -> OffsetDeleteResponse {
    let mut of = Vec::new();
    for OffsetDeleteRequestTopic { name, partitions, .. } in &request.topics {
        let there = partitions.iter().filter_map(|of| door.partition(name, of.partition_index).ok());
        of.extend(there.map(|found| TopicPartition { topic: name.to_string(), partition: found.number() }));
    }
    let in_use = match drop(door, &request.group_id, of).await {
        Ok(in_use) => in_use,
        Err(error) => return OffsetDeleteResponse::default().with_error_code(door.refuse_group(&error)),
    };
    let code = |topic: &str, index: i32| match door.partition(topic, index) {
        Err(error) => door.counts.error(error),
        Ok(_) if in_use.contains(topic) => door.counts.error(ResponseError::GroupSubscribedToTopic),
        Ok(_) => 0,
    };
    let topic = |OffsetDeleteRequestTopic { name, partitions, .. }| {
        let partition = |of: i32| {
            OffsetDeleteResponsePartition::default().with_partition_index(of).with_error_code(code(&name, of))
        };
        let partitions = partitions.into_iter().map(|of| partition(of.partition_index)).collect();
        OffsetDeleteResponseTopic::default().with_name(name).with_partitions(partitions)
    };
    OffsetDeleteResponse::default().with_topics(request.topics.into_iter().map(topic).collect())
}

/// Lets go of these positions but those of topics that are read, which are returned.
async fn drop(door: &Door, group: &str, mut of: Vec<TopicPartition>) -> Result<HashSet<String>, Error> {
    let mut in_use = HashSet::new();
    loop {
        match door.broker.drop_positions(group, &of).await {
            Ok(()) => return Ok(in_use),
            Err(Error::Group(GroupError::TopicInUse { topic, .. })) => {
                of.retain(|of| of.topic != topic);
                in_use.insert(topic);
            }
            Err(error) => return Err(error),
        }
    }
}
