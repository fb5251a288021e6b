//! DescribeConfigs.

use std::collections::HashSet;

use kafka_protocol::{
    ResponseError,
    messages::{
        DescribeConfigsRequest, DescribeConfigsResponse,
        describe_configs_request::DescribeConfigsResource,
        describe_configs_response::{
            DescribeConfigsResourceResult, DescribeConfigsResult, DescribeConfigsSynonym,
        },
    },
    protocol::StrBytes,
};

use super::{
    super::super::{
        door::Door,
        refused::{Outcome, Refused},
        shape::{BOOL, Field, I8, TEXT, TEXTS, array},
    },
    Entry, Resource, Synonym, broker, topic,
};

pub(in super::super::super) static SHAPE: &[Field] = &[array(RESOURCE), BOOL, BOOL.since(3)];
static RESOURCE: &[Field] = &[I8, TEXT, TEXTS];

/// How much is said of a setting.
#[derive(Clone, Copy, Debug)]
struct Wanted {
    synonyms: bool,
    documentation: bool,
}

/// Everything that is asked.
pub(in super::super::super) async fn describe(
    door: &Door,
    _version: i16,
    request: DescribeConfigsRequest,
) -> DescribeConfigsResponse {
    let wanted = Wanted { synonyms: request.include_synonyms, documentation: request.include_documentation };
    let mut seen = HashSet::new();
    let results = request.resources.into_iter().map(|resource| {
        let entries = match seen.insert((resource.resource_type, resource.resource_name.clone())) {
            true => entries(door, &resource),
            // To describe it again could make any reply out of a small request.
            false => Err(Refused::new(ResponseError::InvalidRequest, "a resource is named twice")),
        };
        describe_one(door, resource, entries, wanted)
    });
    DescribeConfigsResponse::default().with_results(results.collect())
}

fn describe_one(
    door: &Door,
    resource: DescribeConfigsResource,
    entries: Outcome<Vec<Entry>>,
    wanted: Wanted,
) -> DescribeConfigsResult {
    let keys = resource.configuration_keys.filter(|keys| !keys.is_empty());
    let is_asked =
        |entry: &Entry| keys.as_ref().is_none_or(|keys| keys.iter().any(|key| key.as_str() == entry.name));
    let result = DescribeConfigsResult::default()
        .with_resource_type(resource.resource_type)
        .with_resource_name(resource.resource_name);
    match entries {
        Ok(entries) => {
            let asked = entries.into_iter().filter(is_asked).map(|entry| told(entry, wanted));
            result.with_error_message(None).with_configs(asked.collect())
        }
        Err(refused) => {
            let (code, message) = refused.tell(door);
            result.with_error_code(code).with_error_message(message)
        }
    }
}

fn entries(door: &Door, resource: &DescribeConfigsResource) -> Outcome<Vec<Entry>> {
    let name = resource.resource_name.as_str();
    match Resource::of(resource.resource_type) {
        Some(Resource::Topic) => Ok(topic::entries(door, &(&door.topic(name)?).into())),
        // What is set for all nodes at once: nothing is.
        Some(Resource::Broker) if name.is_empty() => Ok(Vec::new()),
        Some(Resource::Broker) if name == door.node_id().to_string() => Ok(broker::entries(door)),
        Some(Resource::Broker) => {
            let rule = format!("there is no node {name:?}, but {}", *door.node_id());
            Err(Refused::new(ResponseError::InvalidRequest, rule))
        }
        Some(Resource::Group) => Ok(broker::of_group()),
        None => Err(unknown(resource.resource_type)),
    }
}

/// The refusal of what has no settings.
pub(super) fn unknown(kind: i8) -> Refused {
    let rule = format!("resources of type {kind} have no settings here");
    Refused::new(ResponseError::InvalidRequest, rule)
}

fn told(entry: Entry, wanted: Wanted) -> DescribeConfigsResourceResult {
    let result = DescribeConfigsResourceResult::default()
        .with_name(entry.name())
        .with_value(entry.value())
        .with_read_only(entry.is_read_only)
        .with_config_source(entry.source as i8)
        .with_config_type(entry.kind as i8)
        .with_documentation(wanted.documentation.then(|| StrBytes::from_static_str(entry.about)));
    match wanted.synonyms {
        true => result.with_synonyms(entry.synonyms.into_iter().map(synonym).collect()),
        false => result,
    }
}

fn synonym(synonym: Synonym) -> DescribeConfigsSynonym {
    DescribeConfigsSynonym::default()
        .with_name(StrBytes::from_static_str(synonym.name))
        .with_value(Some(StrBytes::from_string(synonym.value)))
        .with_source(synonym.source as i8)
}
