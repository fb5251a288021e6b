//! ConsumerGroupHeartbeat: the newer protocol for consumer groups (KIP-848). A member joins, lives, says what it reads, hears
//! what it is to read, and leaves, all by this. It is a member as those of gRPC are, of the same groups.
//!
//! The epoch says what is meant: 0 joins, -1 leaves, -2 leaves and comes back under its name for good, anything else is
//! the newest that the member knows. What is null is as it was.

use std::time::Duration;

use kafka_protocol::{
    ResponseError,
    messages::{
        ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse,
        consumer_group_heartbeat_request::TopicPartitions as OwnedPartitions,
        consumer_group_heartbeat_response::{Assignment, TopicPartitions},
    },
    protocol::StrBytes,
};
use minikafka_broker::{Error, GroupError, HeartbeatReply, Leave, MemberHeartbeat, TopicPartition};
use minikafka_storage::TopicId;
use uuid::Uuid;

use super::{errors, text};
use crate::kafka::{
    dispatch::Caller,
    door::Door,
    refused::{Outcome, Refused},
    shape::{Field, I32, INTS, TEXT, TEXTS, UUID, array},
    topic_name,
};

pub(in crate::kafka) static SHAPE: &[Field] =
    &[TEXT, TEXT, I32, TEXT, TEXT, I32, TEXTS, TEXT.since(1), TEXT, array(OWNED)];
static OWNED: &[Field] = &[UUID, INTS];

/// The only way of assigning partitions there is, by Kafka's name for what it comes closest to.
pub(super) const ASSIGNOR: &str = "uniform";

/// The first version whose members name themselves.
const SELF_NAMED_SINCE: i16 = 1;
/// The epoch of a member that joins.
const JOIN: i32 = 0;
/// The epoch of a member that leaves.
const LEAVE: i32 = -1;
/// The epoch of a member that leaves, and comes back under its instance id.
const LEAVE_FOR_NOW: i32 = -2;
/// A number that is not said.
const UNSAID: i32 = -1;

/// Does what a member says, and tells it what it does not know.
pub(super) async fn heartbeat(
    door: &Door,
    caller: &Caller,
    client_id: String,
    version: i16,
    request: ConsumerGroupHeartbeatRequest,
) -> ConsumerGroupHeartbeatResponse {
    let epoch = request.member_epoch;
    let outcome = match check(&request, version) {
        Err(refused) => Err(refused),
        Ok(()) if epoch < JOIN => leave(door, request).await,
        Ok(()) => go_on(door, caller, client_id, request).await,
    };
    outcome.unwrap_or_else(|refused| {
        let (code, message) = refused.tell(door);
        ConsumerGroupHeartbeatResponse::default().with_error_code(code).with_error_message(message)
    })
}

/// Checks what a request has to say, and may not.
fn check(request: &ConsumerGroupHeartbeatRequest, version: i16) -> Outcome<()> {
    let is_empty = |text: &Option<StrBytes>| text.as_ref().is_some_and(|text| text.is_empty());
    let epoch = request.member_epoch;
    let joins = epoch == JOIN;
    let rules = [
        (request.group_id.is_empty(), "a group has a name"),
        (
            request.member_id.is_empty() && (version >= SELF_NAMED_SINCE || !joins),
            "a member says its name, which it gives itself from version 1 on",
        ),
        (is_empty(&request.instance_id), "an instance id is null or not empty"),
        (is_empty(&request.rack_id), "a rack is null or not empty"),
        (epoch < LEAVE_FOR_NOW, "there is no such epoch"),
        (
            epoch == LEAVE_FOR_NOW && request.instance_id.is_none(),
            "only a member with an instance id leaves for now",
        ),
        (
            joins && request.rebalance_timeout_ms == UNSAID,
            "a member that joins says how long it may take to give up partitions",
        ),
        (
            joins && request.topic_partitions.as_ref().is_some_and(|owned| !owned.is_empty()),
            "a member that joins reads nothing yet",
        ),
        (
            joins && request.subscribed_topic_names.is_none() && request.subscribed_topic_regex.is_none(),
            "a member that joins says what it wants to read",
        ),
    ];
    if let Some((_, rule)) = rules.into_iter().find(|(is_broken, _)| *is_broken) {
        return Err(Refused::new(ResponseError::InvalidRequest, rule));
    }
    let mut names = request.subscribed_topic_names.iter().flatten();
    if !names.all(|name| topic_name::is_allowed(name)) {
        return Err(Refused::new(ResponseError::InvalidTopicException, topic_name::RULE));
    }
    match &request.server_assignor {
        Some(assignor) if assignor.as_str() != ASSIGNOR => {
            let rule = format!("there is no assignor {:?}, but {ASSIGNOR:?}", assignor.as_str());
            Err(Refused::new(ResponseError::UnsupportedAssignor, rule))
        }
        _ => Ok(()),
    }
}

async fn leave(
    door: &Door,
    request: ConsumerGroupHeartbeatRequest,
) -> Outcome<ConsumerGroupHeartbeatResponse> {
    let instance_id = request.instance_id.as_deref().unwrap_or_default();
    let how = if request.member_epoch == LEAVE { Leave::ForGood } else { Leave::ForNow };
    let left = door.broker.leave_member(&request.group_id, &request.member_id, instance_id, how).await;
    left.map_err(|error| refuse(&error))?;
    Ok(ConsumerGroupHeartbeatResponse::default()
        .with_member_id(Some(request.member_id))
        .with_member_epoch(request.member_epoch))
}

async fn go_on(
    door: &Door,
    caller: &Caller,
    client_id: String,
    request: ConsumerGroupHeartbeatRequest,
) -> Outcome<ConsumerGroupHeartbeatResponse> {
    let told = door.broker.heartbeat_member(translate(request, caller, client_id)).await;
    let told = told.map_err(|error| refuse(&error))?;
    let HeartbeatReply { member_id, epoch, interval, partitions } = told;
    let assignment = partitions.map(|partitions| {
        let topic = |(topic_id, numbers): (TopicId, Vec<i32>)| {
            let topic_id = Uuid::from_bytes(*topic_id.as_bytes());
            TopicPartitions::default().with_topic_id(topic_id).with_partitions(numbers)
        };
        Assignment::default().with_topic_partitions(by_topic(partitions).into_iter().map(topic).collect())
    });
    Ok(ConsumerGroupHeartbeatResponse::default()
        .with_member_id(Some(text(member_id)))
        .with_member_epoch(i32::try_from(epoch).unwrap_or(i32::MAX))
        .with_heartbeat_interval_ms(i32::try_from(interval.as_millis()).unwrap_or(i32::MAX))
        .with_assignment(assignment))
}

fn translate(request: ConsumerGroupHeartbeatRequest, caller: &Caller, client_id: String) -> MemberHeartbeat {
    let owned = |of: OwnedPartitions| {
        let id = Door::topic_id(of.topic_id);
        // A number that no partition can have is of none.
        of.partitions.into_iter().filter_map(move |number| Some((id, u32::try_from(number).ok()?)))
    };
    let names = request.subscribed_topic_names;
    let topics = names.map(|names| names.into_iter().map(|name| name.to_string()).collect());
    let epoch = u64::try_from(request.member_epoch).ok().filter(|_| request.member_epoch != JOIN);
    MemberHeartbeat {
        group: request.group_id.to_string(),
        member_id: request.member_id.to_string(),
        epoch,
        instance_id: request.instance_id.map(|id| id.to_string()).unwrap_or_default(),
        client_id,
        client_address: caller.address.clone(),
        rebalance_timeout: match request.rebalance_timeout_ms {
            UNSAID => None,
            timeout => Some(Duration::from_millis(u64::try_from(timeout).unwrap_or(0))),
        },
        topics,
        pattern: request.subscribed_topic_regex.map(|regex| regex.to_string()),
        owned: request.topic_partitions.map(|of| of.into_iter().flat_map(owned).collect()),
    }
}

/// Partitions that are ordered by topic.
fn by_topic(partitions: Vec<(TopicId, TopicPartition)>) -> Vec<(TopicId, Vec<i32>)> {
    let mut topics: Vec<(TopicId, Vec<i32>)> = Vec::new();
    for (id, of) in partitions {
        let number = i32::try_from(of.partition).unwrap_or(i32::MAX);
        match topics.last_mut() {
            Some((last, numbers)) if *last == id => numbers.push(number),
            _ => topics.push((id, vec![number])),
        }
    }
    topics
}

fn refuse(error: &Error) -> Refused {
    let code = match error {
        // As in Kafka: there is no group of this kind by that name.
        Error::Group(GroupError::OtherProtocol { .. }) => ResponseError::GroupIdNotFound,
        // It went with its last member. Clients take "not found" for fatal, and join anew when they are not known.
        Error::Group(GroupError::NotFound { .. }) => ResponseError::UnknownMemberId,
        error => errors::code(error),
    };
    Refused::new(code, error.to_string())
}
