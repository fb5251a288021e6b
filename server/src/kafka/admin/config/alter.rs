//! AlterConfigs, which replaces all settings of a topic, and IncrementalAlterConfigs, which changes some.

use kafka_protocol::{
    ResponseError,
    messages::{
        AlterConfigsRequest, AlterConfigsResponse, IncrementalAlterConfigsRequest,
        IncrementalAlterConfigsResponse, alter_configs_request::AlterConfigsResource as ReplacedResource,
        alter_configs_response::AlterConfigsResourceResponse as Replaced,
        incremental_alter_configs_request::AlterConfigsResource as ChangedResource,
        incremental_alter_configs_response::AlterConfigsResourceResponse as Changed,
    },
    protocol::StrBytes,
};
use minikafka_broker::TopicChange;

use super::{
    super::{
        super::{
            door::Door,
            refused::{Outcome, Refused, told},
            shape::{BOOL, Field, I8, TEXT, array},
        },
        Purpose, once,
    },
    Resource,
    change::{self, Operation, Wish},
    describe,
};

pub(in super::super::super) static REPLACE_SHAPE: &[Field] = &[array(REPLACED), BOOL];
static REPLACED: &[Field] = &[I8, TEXT, array(&[TEXT, TEXT])];
pub(in super::super::super) static CHANGE_SHAPE: &[Field] = &[array(CHANGED), BOOL];
static CHANGED: &[Field] = &[I8, TEXT, array(&[TEXT, I8, TEXT])];

/// What settings belong to, as it is named.
type Named = (i8, StrBytes);

/// All settings of each topic become what the request has; what it does not have is left to the server.
pub(in super::super::super) async fn replace(
    door: &Door,
    _version: i16,
    request: AlterConfigsRequest,
) -> AlterConfigsResponse {
    let purpose = Purpose::of(request.validate_only);
    let named = |resource: &ReplacedResource| (resource.resource_type, resource.resource_name.clone());
    let (resources, several) = once::split(request.resources, named);
    let mut outcomes = refuse_several(several);
    for resource in &resources {
        let named = named(resource);
        let wanted = replacement(door, resource);
        outcomes.push((named.clone(), apply(door, &named, wanted, purpose).await));
    }
    let responses = outcomes.into_iter().map(|((kind, name), outcome)| {
        let (code, message) = told(door, outcome);
        let response = Replaced::default().with_resource_type(kind).with_resource_name(name);
        response.with_error_code(code).with_error_message(message)
    });
    AlterConfigsResponse::default().with_responses(responses.collect())
}

/// Some settings of each topic are changed.
pub(in super::super::super) async fn change(
    door: &Door,
    _version: i16,
    request: IncrementalAlterConfigsRequest,
) -> IncrementalAlterConfigsResponse {
    let purpose = Purpose::of(request.validate_only);
    let named = |resource: &ChangedResource| (resource.resource_type, resource.resource_name.clone());
    let (resources, several) = once::split(request.resources, named);
    let mut outcomes = refuse_several(several);
    for resource in &resources {
        let named = named(resource);
        let wanted = changes(door, resource);
        outcomes.push((named.clone(), apply(door, &named, wanted, purpose).await));
    }
    let responses = outcomes.into_iter().map(|((kind, name), outcome)| {
        let (code, message) = told(door, outcome);
        let response = Changed::default().with_resource_type(kind).with_resource_name(name);
        response.with_error_code(code).with_error_message(message)
    });
    IncrementalAlterConfigsResponse::default().with_responses(responses.collect())
}

fn replacement(door: &Door, resource: &ReplacedResource) -> Outcome<TopicChange> {
    let wishes = resource.configs.iter().map(|config| Wish {
        name: &config.name,
        operation: Operation::Set,
        value: config.value.as_deref(),
    });
    Ok(change::reset_others(change::change(door.broker.durability(), wishes)?))
}

fn changes(door: &Door, resource: &ChangedResource) -> Outcome<TopicChange> {
    let mut wishes = Vec::with_capacity(resource.configs.len());
    for config in &resource.configs {
        let operation = Operation::of(config.config_operation)?;
        wishes.push(Wish { name: &config.name, operation, value: config.value.as_deref() });
    }
    change::change(door.broker.durability(), wishes)
}

fn refuse_several(several: Vec<Named>) -> Vec<(Named, Outcome<()>)> {
    let refuse =
        || Refused::new(ResponseError::InvalidRequest, "the request has this resource several times");
    several.into_iter().map(|named| (named, Err(refuse()))).collect()
}

async fn apply(
    door: &Door,
    (kind, name): &Named,
    wanted: Outcome<TopicChange>,
    purpose: Purpose,
) -> Outcome<()> {
    match Resource::of(*kind) {
        Some(Resource::Topic) => {}
        Some(Resource::Broker) => {
            let rule = "the server's settings are chosen when it starts";
            return Err(Refused::new(ResponseError::InvalidRequest, rule));
        }
        Some(Resource::Group) => {
            let rule = "groups have no settings of their own";
            return Err(Refused::new(ResponseError::InvalidRequest, rule));
        }
        None => return Err(describe::unknown(*kind)),
    }
    door.topic(name)?;
    let wanted = wanted?;
    match purpose {
        Purpose::Validate => door.broker.check_alteration(name, &wanted).map_err(change::refuse),
        Purpose::Do => door.broker.alter_topic(name, wanted).await.map(drop).map_err(change::refuse),
    }
}
