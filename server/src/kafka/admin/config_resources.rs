//! ListConfigResources: what has settings. Topics and this node have some; groups, clients' metrics and loggers have none of
//! their own. Version 0 asks for clients' metrics only.

use kafka_protocol::{
    ResponseError,
    messages::{
        ListConfigResourcesRequest, ListConfigResourcesResponse,
        list_config_resources_response::ConfigResource,
    },
    protocol::StrBytes,
};

use super::super::{
    door::Door,
    shape::{BYTES, Field},
    topic_name,
};

/// An array of bytes looks as bytes do.
pub(in super::super) static SHAPE: &[Field] = &[BYTES.since(1)];

/// Kinds of resources, by Kafka's numbers.
const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const BROKER_LOGGER: i8 = 8;
const CLIENT_METRICS: i8 = 16;
const GROUP: i8 = 32;

/// The first version that asks for kinds.
const KINDS_SINCE: i16 = 1;

/// Those of the kinds that are asked for; of all, if none is.
pub(in super::super) async fn list(
    door: &Door,
    version: i16,
    request: ListConfigResourcesRequest,
) -> ListConfigResourcesResponse {
    let wanted = request.resource_types;
    let is_known = |kind: &i8| [TOPIC, BROKER, BROKER_LOGGER, CLIENT_METRICS, GROUP].contains(kind);
    if !wanted.iter().all(is_known) {
        let code = door.counts.error(ResponseError::UnsupportedVersion);
        return ListConfigResourcesResponse::default().with_error_code(code);
    }
    let is_wanted = |kind: i8| version >= KINDS_SINCE && (wanted.is_empty() || wanted.contains(&kind));
    let mut resources = Vec::new();
    if is_wanted(TOPIC) {
        let topics = door.broker.topics("", usize::MAX).into_iter();
        let visible = topics.filter(|topic| topic_name::is_allowed(&topic.name));
        resources.extend(visible.map(|topic| resource(TOPIC, topic.name)));
    }
    if is_wanted(BROKER) {
        resources.push(resource(BROKER, door.node_id().to_string()));
    }
    ListConfigResourcesResponse::default().with_config_resources(resources)
}

fn resource(kind: i8, name: String) -> ConfigResource {
    ConfigResource::default().with_resource_type(kind).with_resource_name(StrBytes::from_string(name))
}
