//! DescribeLogDirs: how much each partition takes up.

use std::collections::BTreeMap;

use kafka_protocol::{
    messages::{
        DescribeLogDirsRequest, DescribeLogDirsResponse, TopicName,
        describe_log_dirs_request::DescribableLogDirTopic,
        describe_log_dirs_response::{DescribeLogDirsPartition, DescribeLogDirsResult, DescribeLogDirsTopic},
    },
    protocol::StrBytes,
};
use minikafka_broker::TopicDescription;
use minikafka_storage::Durability;

use super::super::{
    door::Door,
    shape::{Field, INTS, TEXT, array},
    topic_name,
};

pub(in super::super) static SHAPE: &[Field] = &[array(TOPIC)];
static TOPIC: &[Field] = &[TEXT, INTS];

/// There is one directory. Where it is concerns nobody beyond this machine.
const ON_DISK: &str = "data";
const IN_MEMORY: &str = "memory";

/// All partitions, or those that are named and there: about others nothing is said, as in Kafka.
pub(in super::super) async fn describe(
    door: &Door,
    _version: i16,
    request: DescribeLogDirsRequest,
) -> DescribeLogDirsResponse {
    let topics = match request.topics {
        None => all(door),
        Some(named) => some(door, named),
    };
    let directory = if door.broker.durability() == Durability::Memory { IN_MEMORY } else { ON_DISK };
    let result = DescribeLogDirsResult::default()
        .with_log_dir(StrBytes::from_static_str(directory))
        .with_topics(topics);
    DescribeLogDirsResponse::default().with_results(vec![result])
}

fn all(door: &Door) -> Vec<DescribeLogDirsTopic> {
    let topics = door.broker.topics("", usize::MAX).into_iter();
    let seen = topics.filter(|topic| topic_name::is_allowed(&topic.name));
    seen.filter_map(|topic| door.topic(&topic.name).ok()).map(|found| sizes(&found, |_| true)).collect()
}

/// Whoever names a topic several times gets it once.
fn some(door: &Door, named: Vec<DescribableLogDirTopic>) -> Vec<DescribeLogDirsTopic> {
    let mut wanted = BTreeMap::<TopicName, Vec<i32>>::new();
    for DescribableLogDirTopic { topic, partitions, .. } in named {
        wanted.entry(topic).or_default().extend(partitions);
    }
    let mut topics = Vec::with_capacity(wanted.len());
    for (name, mut numbers) in wanted {
        numbers.sort_unstable();
        if let Ok(found) = door.topic(&name) {
            topics.push(sizes(&found, |number| numbers.binary_search(&number).is_ok()));
        }
    }
    topics
}

/// The partitions of a topic that are wanted and in service.
fn sizes(topic: &TopicDescription, is_wanted: impl Fn(i32) -> bool) -> DescribeLogDirsTopic {
    let numbered = (0..).zip(&topic.partitions).filter(|(number, _)| is_wanted(*number));
    let partitions = numbered.filter_map(|(number, bounds)| {
        let size = i64::try_from(bounds.as_ref()?.size_bytes).unwrap_or(i64::MAX);
        Some(DescribeLogDirsPartition::default().with_partition_index(number).with_partition_size(size))
    });
    DescribeLogDirsTopic::default()
        .with_name(TopicName(StrBytes::from_string(topic.summary.name.clone())))
        .with_partitions(partitions.collect())
}
