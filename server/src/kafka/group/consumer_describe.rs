//! ConsumerGroupDescribe: groups whose members speak the newer protocol, or gRPC. Others are not found by it: clients ask
//! DescribeGroups next.
//!
//! A reply holds a group of any size, or several up to [`ELEMENTS_MAX`] members, names and partitions: those that do not fit
//! any more are to be asked for again.

use std::collections::HashSet;

use kafka_protocol::{
    ResponseError,
    messages::{
        ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse, GroupId, TopicName,
        consumer_group_describe_response::{Assignment, DescribedGroup, Member, TopicPartitions},
    },
    protocol::StrBytes,
};
use minikafka_broker::{MemberDescription, TopicPartition};
use uuid::Uuid;

use super::{consumer_heartbeat::ASSIGNOR, list_groups, text};
use crate::kafka::{
    door::Door,
    refused::Refused,
    shape::{BOOL, ELEMENTS_MAX, Field, TEXTS},
};

pub(in crate::kafka) static SHAPE: &[Field] = &[TEXTS, BOOL];

/// The first version that tells of which protocol a member is.
const TYPE_SINCE: i16 = 1;
/// A member of the newer protocol.
const CONSUMER: i8 = 1;

/// Each that is asked for.
pub(super) fn describe(
    door: &Door,
    version: i16,
    request: ConsumerGroupDescribeRequest,
) -> ConsumerGroupDescribeResponse {
    let (mut seen, mut room) = (HashSet::new(), Room::new());
    let one = |id: GroupId| {
        let described = match seen.insert(id.clone()) {
            true => look(door, version, &id, &mut room),
            // To describe it again could make any reply out of a small request.
            false => Err(Refused::new(ResponseError::InvalidRequest, "a group is named twice")),
        };
        let described = described.unwrap_or_else(|refused| {
            let (code, message) = refused.tell(door);
            DescribedGroup::default().with_error_code(code).with_error_message(message)
        });
        described.with_group_id(id)
    };
    ConsumerGroupDescribeResponse::default().with_groups(request.group_ids.into_iter().map(one).collect())
}

/// What a reply has room for.
struct Room {
    elements: usize,
    is_untouched: bool,
}

impl Room {
    fn new() -> Room {
        Room { elements: ELEMENTS_MAX, is_untouched: true }
    }

    /// Takes what the members of a group need. The first group gets it in any case.
    fn take(&mut self, members: &[MemberDescription]) -> Result<(), Refused> {
        let of_member =
            |member: &MemberDescription| 1 + member.topics.len() + member.owned.len() + member.target.len();
        let needed: usize = members.iter().map(of_member).sum();
        if needed > self.elements && !self.is_untouched {
            let why = "the reply has no room for this group beside the others: ask for fewer at once";
            return Err(Refused::new(ResponseError::InvalidRequest, why));
        }
        self.elements = self.elements.saturating_sub(needed);
        self.is_untouched = false;
        Ok(())
    }
}

fn look(door: &Door, version: i16, group: &str, room: &mut Room) -> Result<DescribedGroup, Refused> {
    let missing = |why: String| Refused::new(ResponseError::GroupIdNotFound, why);
    let summary = door.broker.group(group).ok_or_else(|| missing(format!("group {group} not found")))?;
    let Some((epoch, members)) = door.broker.group_members(group) else {
        return Err(missing(format!("group {group} has no members of the consumer protocol")));
    };
    room.take(&members)?;
    let epoch = epoch_of(epoch);
    Ok(DescribedGroup::default()
        .with_group_state(StrBytes::from_static_str(list_groups::state(&summary)))
        .with_group_epoch(epoch)
        // Who is to read what is found out in the same step.
        .with_assignment_epoch(epoch)
        .with_assignor_name(StrBytes::from_static_str(ASSIGNOR))
        .with_members(members.into_iter().map(|member| described(door, version, member)).collect()))
}

fn described(door: &Door, version: i16, member: MemberDescription) -> Member {
    let instance_id = Some(member.instance_id).filter(|id| !id.is_empty());
    let pattern = Some(member.pattern).filter(|pattern| !pattern.is_empty());
    let described = Member::default()
        .with_member_id(text(member.member_id))
        .with_instance_id(instance_id.map(text))
        .with_rack_id(None)
        .with_member_epoch(epoch_of(member.epoch))
        .with_client_id(text(member.client_id))
        .with_client_host(text(member.client_address.map_or_else(String::new, |host| format!("/{host}"))))
        .with_subscribed_topic_names(member.topics.into_iter().map(|topic| TopicName(text(topic))).collect())
        .with_subscribed_topic_regex(pattern.map(text))
        .with_assignment(assignment(door, member.owned))
        .with_target_assignment(assignment(door, member.target));
    if version >= TYPE_SINCE { described.with_member_type(CONSUMER) } else { described }
}

/// Partitions, ordered by topic. Of topics that clients do not see, or that are gone, there are none.
fn assignment(door: &Door, partitions: Vec<TopicPartition>) -> Assignment {
    let mut topics: Vec<TopicPartitions> = Vec::new();
    for TopicPartition { topic, partition } in partitions {
        let number = i32::try_from(partition).unwrap_or(i32::MAX);
        match topics.last_mut() {
            Some(last) if *last.topic_name == *topic => last.partitions.push(number),
            _ => topics.push(
                TopicPartitions::default()
                    .with_topic_id(id(door, &topic).unwrap_or(Uuid::nil()))
                    .with_topic_name(TopicName(text(topic)))
                    .with_partitions(vec![number]),
            ),
        }
    }
    topics.retain(|topic| !topic.topic_id.is_nil());
    Assignment::default().with_topic_partitions(topics)
}

fn id(door: &Door, topic: &str) -> Option<Uuid> {
    let found = door.topic(topic).ok()?;
    Some(Uuid::from_bytes(*found.summary.id.as_bytes()))
}

fn epoch_of(epoch: u64) -> i32 {
    i32::try_from(epoch).unwrap_or(i32::MAX)
}
