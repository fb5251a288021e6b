//! DeleteTopics, by name or by id.

use kafka_protocol::{
    ResponseError,
    messages::{
        DeleteTopicsRequest, DeleteTopicsResponse, TopicName, delete_topics_request::DeleteTopicState,
        delete_topics_response::DeletableTopicResult,
    },
    protocol::StrBytes,
};
use uuid::Uuid;

use super::{
    super::{
        door::Door,
        refused::{Outcome, Refused},
        shape::{Field, I32, TEXT, TEXTS, UUID, array},
        topic_name,
    },
    once,
};

pub(in super::super) static SHAPE: &[Field] = &[array(TOPIC).since(6), TEXTS.until(5), I32];
static TOPIC: &[Field] = &[TEXT, UUID];

/// One topic after the other.
pub(in super::super) async fn delete(
    door: &Door,
    _version: i16,
    request: DeleteTopicsRequest,
) -> DeleteTopicsResponse {
    let by_name = request.topic_names.into_iter().map(|name| (Some(name), Uuid::nil()));
    let by_either =
        request.topics.into_iter().map(|DeleteTopicState { name, topic_id, .. }| (name, topic_id));
    let (topics, several) = once::split(by_name.chain(by_either).collect(), Clone::clone);
    let mut results = Vec::with_capacity(topics.len() + several.len());
    for (name, id) in topics {
        let deleted = delete_one(door, name.clone(), id).await;
        results.push(match deleted {
            Ok(name) => result(Some(name), id).with_error_message(None),
            Err(refused) => refusal(door, result(name, id), refused),
        });
    }
    for (name, id) in several {
        let refused = Refused::new(ResponseError::InvalidRequest, "the request has this topic several times");
        results.push(refusal(door, result(name, id), refused));
    }
    DeleteTopicsResponse::default().with_responses(results)
}

/// Returns the name of what was deleted.
async fn delete_one(door: &Door, name: Option<TopicName>, id: Uuid) -> Outcome<TopicName> {
    match (name, id.is_nil()) {
        (Some(name), true) if !topic_name::is_allowed(&name) => {
            Err(Refused::new(ResponseError::InvalidTopicException, topic_name::RULE))
        }
        (Some(name), true) => {
            door.broker.delete_topic(&name).await?;
            Ok(name)
        }
        (None, false) => {
            let name = door.broker.delete_topic_with_id(Door::topic_id(id)).await?;
            Ok(TopicName(StrBytes::from_string(name)))
        }
        (Some(_), false) | (None, true) => {
            Err(Refused::new(ResponseError::InvalidRequest, "a topic is named by its name or by its id"))
        }
    }
}

fn result(name: Option<TopicName>, id: Uuid) -> DeletableTopicResult {
    DeletableTopicResult::default().with_name(name).with_topic_id(id)
}

fn refusal(door: &Door, result: DeletableTopicResult, refused: Refused) -> DeletableTopicResult {
    let (code, message) = refused.tell(door);
    result.with_error_code(code).with_error_message(message)
}
