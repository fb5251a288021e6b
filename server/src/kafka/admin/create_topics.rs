//! CreateTopics.

use kafka_protocol::{
    ResponseError,
    messages::{
        CreateTopicsRequest, CreateTopicsResponse, TopicName,
        create_topics_request::CreatableTopic,
        create_topics_response::{CreatableTopicConfigs, CreatableTopicResult},
    },
};
use minikafka_broker::{TopicSettings, TopicSummary};
use uuid::Uuid;

use super::{
    super::{
        door::Door,
        refused::{Outcome, Refused},
        shape::{BOOL, Field, I16, I32, INTS, TEXT, array},
        topic_name,
    },
    Purpose, assignment,
    config::{Entry, change, topic},
    once,
};

pub(in super::super) static SHAPE: &[Field] = &[array(TOPIC), I32, BOOL];
static TOPIC: &[Field] = &[TEXT, I32, I16, array(ASSIGNMENT), array(CONFIG)];
static ASSIGNMENT: &[Field] = &[I32, INTS];
static CONFIG: &[Field] = &[TEXT, TEXT];

/// As many partitions as the server gives a topic by itself.
const PARTITIONS_DEFAULT: i32 = -1;
/// The first version whose result says what the topic is like (KIP-525).
const DETAILS_SINCE: i16 = 5;

/// What a topic is to be like.
struct Plan {
    partitions: u32,
    settings: TopicSettings,
}

/// One topic after the other.
pub(in super::super) async fn create(
    door: &Door,
    version: i16,
    request: CreateTopicsRequest,
) -> CreateTopicsResponse {
    let purpose = Purpose::of(request.validate_only);
    // Of topics that are only checked, for those behind them.
    let mut beside = 0;
    let (topics, several) = once::split(request.topics, |topic| topic.name.clone());
    let mut results = Vec::with_capacity(topics.len() + several.len());
    for topic in topics {
        let outcome = create_one(door, &topic, purpose, beside).await;
        if let Ok((plan, None)) = &outcome {
            beside = plan.partitions.saturating_add(beside);
        }
        results.push(result(door, version, topic.name, outcome));
    }
    for name in several {
        let refused = Refused::new(ResponseError::InvalidRequest, "the request has this topic several times");
        results.push(result(door, version, name, Err(refused)));
    }
    CreateTopicsResponse::default().with_topics(results)
}

async fn create_one(
    door: &Door,
    wanted: &CreatableTopic,
    purpose: Purpose,
    beside: u32,
) -> Outcome<(Plan, Option<Uuid>)> {
    if !topic_name::is_allowed(&wanted.name) {
        return Err(Refused::new(ResponseError::InvalidTopicException, topic_name::RULE));
    }
    let plan = plan(door, wanted)?;
    let id = match purpose {
        Purpose::Validate => {
            door.broker
                .check_creation(&wanted.name, plan.partitions, &plan.settings, beside)
                .map_err(change::refuse)?;
            None
        }
        Purpose::Do => {
            let created = door.broker.create_topic_with(&wanted.name, plan.partitions, plan.settings).await;
            let TopicSummary { id, .. } = created.map_err(change::refuse)?;
            Some(Uuid::from_bytes(*id.as_bytes()))
        }
    };
    Ok((plan, id))
}

fn plan(door: &Door, wanted: &CreatableTopic) -> Outcome<Plan> {
    Ok(Plan { partitions: partitions(door, wanted)?, settings: change::settings(door, &wanted.configs)? })
}

fn partitions(door: &Door, wanted: &CreatableTopic) -> Outcome<u32> {
    if wanted.assignments.is_empty() {
        assignment::check_factor(door, wanted.replication_factor)?;
        return match u32::try_from(wanted.num_partitions) {
            Ok(count @ 1..) => Ok(count),
            _ if wanted.num_partitions == PARTITIONS_DEFAULT => Ok(door.broker.config().partitions),
            _ => {
                let rule = "the number of partitions is larger than 0, or -1 for the default";
                Err(Refused::new(ResponseError::InvalidPartitions, rule))
            }
        };
    }
    if (wanted.num_partitions, wanted.replication_factor) != (-1, -1) {
        let rule = "with an assignment, the number of partitions and the replication factor are both -1";
        return Err(Refused::new(ResponseError::InvalidRequest, rule));
    }
    assignment::count(door, &wanted.assignments)
}

fn result(
    door: &Door,
    version: i16,
    name: TopicName,
    outcome: Outcome<(Plan, Option<Uuid>)>,
) -> CreatableTopicResult {
    let result = CreatableTopicResult::default().with_name(name).with_error_message(None);
    let (plan, id) = match outcome {
        Ok(created) => created,
        Err(refused) => {
            let (code, message) = refused.tell(door);
            return result.with_configs(None).with_error_code(code).with_error_message(message);
        }
    };
    let result = result.with_topic_id(id.unwrap_or_default());
    if version < DETAILS_SINCE {
        return result;
    }
    let configs = topic::entries(door, &topic::Settings::of(&plan.settings, door.broker.config()));
    result
        .with_num_partitions(i32::try_from(plan.partitions).unwrap_or(i32::MAX))
        .with_replication_factor(assignment::factor(door))
        .with_configs(Some(configs.iter().map(config).collect()))
}

fn config(entry: &Entry) -> CreatableTopicConfigs {
    CreatableTopicConfigs::default()
        .with_name(entry.name())
        .with_value(entry.value())
        .with_read_only(entry.is_read_only)
        .with_config_source(entry.source as i8)
}
