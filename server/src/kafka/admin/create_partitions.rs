//! CreatePartitions: a topic gets more of them.

use kafka_protocol::{
    ResponseError,
    messages::{
        CreatePartitionsRequest, CreatePartitionsResponse, TopicName,
        create_partitions_request::CreatePartitionsTopic,
        create_partitions_response::CreatePartitionsTopicResult,
    },
};
use minikafka_broker::TopicChange;

use super::{
    super::{
        door::Door,
        refused::{Outcome, Refused, told},
        shape::{BOOL, Field, I32, INTS, TEXT, array},
    },
    Purpose, assignment, once,
};

pub(in super::super) static SHAPE: &[Field] = &[array(TOPIC), I32, BOOL];
static TOPIC: &[Field] = &[TEXT, I32, array(ASSIGNMENT)];
static ASSIGNMENT: &[Field] = &[INTS];

/// One topic after the other.
pub(in super::super) async fn create(
    door: &Door,
    _version: i16,
    request: CreatePartitionsRequest,
) -> CreatePartitionsResponse {
    let purpose = Purpose::of(request.validate_only);
    let (topics, several) = once::split(request.topics, |topic| topic.name.clone());
    let mut results = Vec::with_capacity(topics.len() + several.len());
    for topic in topics {
        let outcome = create_for(door, &topic, purpose).await;
        results.push(result(door, topic.name, outcome));
    }
    for name in several {
        let refused = Refused::new(ResponseError::InvalidRequest, "the request has this topic several times");
        results.push(result(door, name, Err(refused)));
    }
    CreatePartitionsResponse::default().with_results(results)
}

async fn create_for(door: &Door, wanted: &CreatePartitionsTopic, purpose: Purpose) -> Outcome<()> {
    let there = door.topic(&wanted.name)?.summary.partitions;
    let partitions = match u32::try_from(wanted.count) {
        Ok(count) if count > there => count,
        // The same number is an error here, unlike at the other doors: Kafka's clients count on it.
        _ => {
            let rule = format!("the topic has {there} partitions and gets more, not {}", wanted.count);
            return Err(Refused::new(ResponseError::InvalidPartitions, rule));
        }
    };
    if let Some(assignments) = &wanted.assignments {
        let added = (partitions - there) as usize;
        if assignments.len() != added {
            let rule = format!("{added} partitions are added, with assignments of {}", assignments.len());
            return Err(Refused::new(ResponseError::InvalidReplicaAssignment, rule));
        }
        assignments.iter().try_for_each(|one| assignment::check_nodes(door, &one.broker_ids))?;
    }
    let change = TopicChange { partitions: Some(partitions), ..TopicChange::default() };
    match purpose {
        Purpose::Validate => door.broker.check_alteration(&wanted.name, &change)?,
        Purpose::Do => _ = door.broker.alter_topic(&wanted.name, change).await?,
    }
    Ok(())
}

fn result(door: &Door, name: TopicName, outcome: Outcome<()>) -> CreatePartitionsTopicResult {
    let (code, message) = told(door, outcome);
    CreatePartitionsTopicResult::default().with_name(name).with_error_code(code).with_error_message(message)
}
