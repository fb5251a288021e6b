//! All groups, for snapshots.

use std::{collections::BTreeMap, sync::Arc};

use super::parts::{
    PartitionsRecord, PositionsRecord, TopicRecord, put_partitions, put_positions, take_partitions,
    take_positions,
};
use crate::{
    group::core::{Group, Groups, Holding, Member, NamedView, PartitionMap},
    machine::FormatError,
};

/// All groups.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct GroupsRecord {
    #[prost(message, repeated, tag = "1")]
    groups: Vec<GroupRecord>,
    #[prost(message, repeated, tag = "2")]
    topics: Vec<TopicRecord>,
    #[prost(uint64, tag = "3")]
    sessions_gone: u64,
}

/// As a [`GroupsRecord`] would be, one group at a time: all of them would take the memory twice over.
pub(super) fn encode(groups: &Groups) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, group) in &groups.groups {
        prost::encoding::message::encode(1, &GroupRecord::new(name, group), &mut bytes);
    }
    for (topic, view) in &groups.topics {
        prost::encoding::message::encode(2, &TopicRecord::from(&(topic.clone(), *view)), &mut bytes);
    }
    if groups.sessions_gone > 0 {
        prost::encoding::uint64::encode(3, &groups.sessions_gone, &mut bytes);
    }
    bytes
}

#[derive(Clone, PartialEq, prost::Message)]
struct GroupRecord {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(uint64, tag = "2")]
    epoch: u64,
    #[prost(message, repeated, tag = "3")]
    members: Vec<MemberRecord>,
    #[prost(message, repeated, tag = "4")]
    positions: Vec<PositionsRecord>,
    #[prost(int64, tag = "5")]
    empty_since: i64,
    #[prost(uint64, optional, tag = "6")]
    occupied: Option<u64>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct MemberRecord {
    #[prost(string, tag = "1")]
    member_id: String,
    #[prost(string, tag = "2")]
    instance_id: String,
    #[prost(string, tag = "3")]
    client_id: String,
    #[prost(string, repeated, tag = "4")]
    topics: Vec<String>,
    #[prost(uint32, tag = "5")]
    session_timeout_ms: u32,
    #[prost(uint32, tag = "6")]
    rebalance_timeout_ms: u32,
    #[prost(uint64, tag = "7")]
    session: u64,
    #[prost(uint64, tag = "8")]
    epoch: u64,
    #[prost(message, repeated, tag = "9")]
    held: Vec<HeldRecord>,
    #[prost(message, repeated, tag = "10")]
    target: Vec<PartitionsRecord>,
    #[prost(int64, optional, tag = "11")]
    revoking_since: Option<i64>,
    #[prost(string, tag = "12")]
    pattern: String,
    #[prost(bool, tag = "13")]
    is_self_named: bool,
}

/// What a member holds of a topic: three columns of the same length, and what of it is void.
#[derive(Clone, PartialEq, prost::Message)]
struct HeldRecord {
    #[prost(string, tag = "1")]
    topic: String,
    #[prost(uint32, repeated, tag = "2")]
    numbers: Vec<u32>,
    #[prost(uint64, repeated, tag = "3")]
    since: Vec<u64>,
    #[prost(bool, repeated, tag = "4")]
    is_revoked: Vec<bool>,
    #[prost(uint32, repeated, tag = "5")]
    void: Vec<u32>,
    /// The epochs of what is revoked, in the order of the numbers.
    #[prost(uint64, repeated, tag = "6")]
    revoked_in: Vec<u64>,
}

impl GroupRecord {
    fn new(name: &str, group: &Group) -> GroupRecord {
        GroupRecord {
            name: name.to_owned(),
            epoch: group.epoch,
            members: group.members.iter().map(member).collect(),
            positions: put_positions(&group.positions),
            empty_since: group.empty_since,
            occupied: group.occupied,
        }
    }
}

fn member((id, member): (&String, &Member)) -> MemberRecord {
    let held = |topic: &str| HeldRecord {
        topic: topic.to_owned(),
        numbers: member.held.of_topic(topic).map(|(number, _)| number).collect(),
        since: member.held.of_topic(topic).map(|(_, held)| held.since).collect(),
        is_revoked: member.held.of_topic(topic).map(|(_, held)| held.is_revoked()).collect(),
        revoked_in: member.held.of_topic(topic).filter_map(|(_, held)| held.revoked_in).collect(),
        void: member
            .held
            .of_topic(topic)
            .filter(|(_, held)| held.is_void)
            .map(|(number, _)| number)
            .collect(),
    };
    MemberRecord {
        member_id: id.clone(),
        instance_id: member.instance_id.clone(),
        client_id: member.client_id.clone(),
        topics: member.topics.iter().cloned().collect(),
        session_timeout_ms: member.session_timeout_ms,
        rebalance_timeout_ms: member.rebalance_timeout_ms,
        session: member.session,
        epoch: member.epoch,
        held: member.held.topics().map(held).collect(),
        target: put_partitions(&member.target),
        revoking_since: member.revoking_since,
        pattern: member.pattern.clone(),
        is_self_named: member.is_self_named,
    }
}

impl TryFrom<GroupsRecord> for Groups {
    type Error = FormatError;

    fn try_from(record: GroupsRecord) -> Result<Groups, FormatError> {
        let (mut groups, mut topics) = (BTreeMap::new(), BTreeMap::new());
        for GroupRecord { name, epoch, members, positions, empty_since, occupied } in record.groups {
            let members = members.into_iter().map(take_member).collect::<Result<_, FormatError>>()?;
            let positions = take_positions(positions)?;
            let group = Group::restore(epoch, members, occupied, positions, empty_since);
            groups.insert(name, Arc::new(group));
        }
        for topic in record.topics {
            let (topic, view) = NamedView::try_from(topic)?;
            topics.insert(topic, view);
        }
        Ok(Groups::restore(groups, topics, record.sessions_gone))
    }
}

fn take_member(record: MemberRecord) -> Result<(String, Member), FormatError> {
    let mut held = PartitionMap::default();
    for HeldRecord { topic, numbers, since, is_revoked, void, revoked_in } in &record.held {
        if numbers.len() != since.len() || numbers.len() != is_revoked.len() {
            return Err(FormatError::new("columns of partitions have different lengths"));
        }
        // Of what is not known the epoch is the newest: only who knows that one gives it up.
        let mut revoked_in = revoked_in.iter().copied().chain(std::iter::repeat(record.epoch));
        for ((number, since), is_revoked) in numbers.iter().zip(since).zip(is_revoked) {
            // They are few, and seldom.
            let is_void = void.contains(number);
            let revoked_in = if *is_revoked { revoked_in.next() } else { None };
            held.insert(topic, *number, Holding { since: *since, revoked_in, is_void });
        }
    }
    let member = Member {
        instance_id: record.instance_id,
        client_id: record.client_id,
        topics: record.topics.into_iter().collect(),
        pattern: record.pattern,
        is_self_named: record.is_self_named,
        session_timeout_ms: record.session_timeout_ms,
        rebalance_timeout_ms: record.rebalance_timeout_ms,
        session: record.session,
        epoch: record.epoch,
        held,
        target: take_partitions(&record.target),
        revoking_since: record.revoking_since,
    };
    Ok((record.member_id, member))
}
