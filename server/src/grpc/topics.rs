//! Topics: list, describe, create, alter, delete.

use minikafka_broker::{Broker, PartitionBounds, TopicSummary};
use minikafka_proto::v1::{
    AlterTopicRequest, AlterTopicResponse, CreateTopicRequest, CreateTopicResponse, DeleteTopicRequest,
    DeleteTopicResponse, DescribeTopicRequest, DescribeTopicResponse, Durability, ListTopicsRequest,
    ListTopicsResponse, PartitionDescription, TopicSummary as WireSummary,
};
use minikafka_storage::Durability as Stored;

use super::{
    refusal::{Refusal, refuse},
    settings,
};

/// Topics on a page when nobody says how many.
const PAGE_DEFAULT: usize = 1000;
/// Most topics on a page: with the longest names, what a default client takes.
const PAGE_MAX: usize = 10_000;

pub(super) fn list(broker: &Broker, request: &ListTopicsRequest) -> ListTopicsResponse {
    let page_size = match request.page_size {
        0 => PAGE_DEFAULT,
        wanted => (wanted as usize).min(PAGE_MAX),
    };
    // One more tells whether there is another page.
    let mut topics = broker.topics(&request.page_token, page_size + 1);
    let is_last = topics.len() <= page_size;
    topics.truncate(page_size);
    let next_page_token = match topics.last() {
        Some(last) if !is_last => last.name.clone(),
        _ => String::new(),
    };
    ListTopicsResponse { topics: topics.into_iter().map(summary).collect(), next_page_token }
}

pub(super) async fn describe(
    broker: &Broker,
    request: &DescribeTopicRequest,
) -> Result<DescribeTopicResponse, Refusal> {
    if request.create_missing {
        broker.create_missing_topic(&request.topic).await.map_err(refuse(broker))?;
    }
    let topic = broker.describe_topic(&request.topic).map_err(refuse(broker))?;
    let partitions = topic.partitions.iter().enumerate();
    Ok(DescribeTopicResponse {
        name: topic.summary.name,
        id: topic.summary.id.to_string(),
        partitions: partitions.map(|(number, bounds)| partition(number as u32, bounds.as_ref())).collect(),
        retention_ms: topic.retention.value.map(|age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX)),
        retention_bytes: topic.retention_bytes.value,
        durability: durability(broker.durability()).into(),
        message_bytes_max: topic.message_bytes_max.value,
        retention_ms_source: settings::source(topic.retention.source).into(),
        retention_bytes_source: settings::source(topic.retention_bytes.source).into(),
        message_bytes_max_source: settings::source(topic.message_bytes_max.source).into(),
    })
}

pub(super) async fn create(
    broker: &Broker,
    request: &CreateTopicRequest,
) -> Result<CreateTopicResponse, Refusal> {
    let partitions = match request.partitions {
        0 => broker.config().partitions,
        partitions => partitions,
    };
    let settings = settings::settings(request.settings)?;
    let topic = broker.create_topic_with(&request.topic, partitions, settings).await;
    Ok(CreateTopicResponse { topic: Some(summary(topic.map_err(refuse(broker))?)) })
}

pub(super) async fn alter(
    broker: &Broker,
    request: &AlterTopicRequest,
) -> Result<AlterTopicResponse, Refusal> {
    let change = settings::change(request)?;
    let topic = broker.alter_topic(&request.topic, change).await.map_err(refuse(broker))?;
    Ok(AlterTopicResponse { topic: Some(summary(topic)) })
}

pub(super) async fn delete(
    broker: &Broker,
    request: &DeleteTopicRequest,
) -> Result<DeleteTopicResponse, Refusal> {
    broker.delete_topic(&request.topic).await.map_err(refuse(broker))?;
    Ok(DeleteTopicResponse {})
}

fn summary(topic: TopicSummary) -> WireSummary {
    WireSummary { name: topic.name, id: topic.id.to_string(), partitions: topic.partitions }
}

fn partition(number: u32, bounds: Option<&PartitionBounds>) -> PartitionDescription {
    let Some(bounds) = bounds else {
        return PartitionDescription { partition: number, is_lost: true, ..PartitionDescription::default() };
    };
    PartitionDescription {
        partition: number,
        start_number: bounds.start.number(),
        end_number: bounds.high_watermark.number(),
        durable_number: bounds.durable.number(),
        // Without a cluster there is one leader, for good.
        leader_epoch: 0,
        size_bytes: bounds.size_bytes,
        damaged_messages: bounds.damaged,
        is_lost: false,
    }
}

fn durability(durability: Stored) -> Durability {
    match durability {
        Stored::Synced => Durability::Synced,
        Stored::Periodic(_) => Durability::Periodic,
        Stored::Cached => Durability::Cached,
        Stored::Memory => Durability::Memory,
    }
}
