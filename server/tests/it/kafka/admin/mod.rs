//! Administration over the Kafka door.

mod cluster;
mod configs;
mod create_topics;
mod delete_topics;
mod partitions;
mod producers;
mod records;
mod topic_partitions;

use kafka_protocol::{
    messages::{
        CreateTopicsRequest, DescribeConfigsRequest, MetadataRequest,
        create_topics_request::{CreatableTopic, CreatableTopicConfig},
        create_topics_response::CreatableTopicResult,
        describe_configs_request::DescribeConfigsResource,
        describe_configs_response::{DescribeConfigsResourceResult, DescribeConfigsResult},
        metadata_response::MetadataResponseTopic,
    },
    protocol::StrBytes,
};

use super::client::{Client, name, wanted};

/// Types of resources.
const TOPIC: i8 = 2;
const BROKER: i8 = 4;

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

/// A topic to be created, with everything as the server has it.
fn new_topic(topic: &str) -> CreatableTopic {
    CreatableTopic::default().with_name(name(topic)).with_num_partitions(-1).with_replication_factor(-1)
}

fn with_configs(topic: CreatableTopic, configs: &[(&str, &str)]) -> CreatableTopic {
    let config = |(name, value): &(&str, &str)| {
        CreatableTopicConfig::default().with_name(text(name)).with_value(Some(text(value)))
    };
    topic.with_configs(configs.iter().map(config).collect())
}

async fn create(client: &mut Client, topic: CreatableTopic) -> CreatableTopicResult {
    let mut response = client.ask(7, &CreateTopicsRequest::default().with_topics(vec![topic])).await;
    assert_eq!(response.topics.len(), 1);
    response.topics.remove(0)
}

/// What Metadata says of a topic, which is not created by that.
async fn metadata(client: &mut Client, topic: &str) -> MetadataResponseTopic {
    let request = MetadataRequest::default().with_topics(Some(vec![wanted(topic)]));
    let mut response = client.ask(12, &request.with_allow_auto_topic_creation(false)).await;
    response.topics.remove(0)
}

async fn describe(client: &mut Client, kind: i8, name: &str) -> DescribeConfigsResult {
    let resource = DescribeConfigsResource::default()
        .with_resource_type(kind)
        .with_resource_name(text(name))
        .with_configuration_keys(None);
    let request = DescribeConfigsRequest::default().with_resources(vec![resource]);
    let request = request.with_include_synonyms(true).with_include_documentation(true);
    client.ask(4, &request).await.results.remove(0)
}

fn find<'a>(result: &'a DescribeConfigsResult, name: &str) -> &'a DescribeConfigsResourceResult {
    result.configs.iter().find(|config| config.name.as_str() == name).expect(name)
}

/// Value and source of a setting.
async fn value(client: &mut Client, topic: &str, name: &str) -> (String, i8) {
    let result = describe(client, TOPIC, topic).await;
    let config = find(&result, name);
    (config.value.clone().unwrap().to_string(), config.config_source)
}
