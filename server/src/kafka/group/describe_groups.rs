//! DescribeGroups: groups of classic members, and those without members.

use std::collections::HashSet;

use kafka_protocol::{
    ResponseError,
    messages::{
        DescribeGroupsRequest, DescribeGroupsResponse, GroupId,
        describe_groups_response::{DescribedGroup, DescribedGroupMember},
    },
    protocol::StrBytes,
};
use minikafka_broker::{ClassicDescription, ClassicMemberDescription, ClassicState, GroupSummary};

use super::{consumer, list_groups, text};
use crate::kafka::{
    door::Door,
    shape::{BOOL, Field, TEXTS},
};

pub(in crate::kafka) static SHAPE: &[Field] = &[TEXTS, BOOL.since(3)];

/// "Nobody has asked": there are no rights to tell of.
const OPERATIONS_UNKNOWN: i32 = i32::MIN;
/// The first version that knows of static members.
const INSTANCES_SINCE: i16 = 4;
/// The first version in which a group that is not there is an error.
const NOT_FOUND_SINCE: i16 = 6;

/// Each that is asked for.
pub(super) fn describe(door: &Door, version: i16, request: DescribeGroupsRequest) -> DescribeGroupsResponse {
    let mut seen = HashSet::new();
    let mut one = |id: GroupId| {
        let described = match seen.insert(id.clone()) {
            true => look(door, version, &id),
            // To describe it again could make any reply out of a small request.
            false => {
                DescribedGroup::default().with_error_code(door.counts.error(ResponseError::InvalidRequest))
            }
        };
        described.with_group_id(id).with_authorized_operations(OPERATIONS_UNKNOWN)
    };
    DescribeGroupsResponse::default().with_groups(request.groups.into_iter().map(&mut one).collect())
}

fn look(door: &Door, version: i16, group: &str) -> DescribedGroup {
    if let Some(classic) = door.broker.classic_group(group) {
        return found(classic, version);
    }
    match door.broker.group(group) {
        Some(GroupSummary { members: 0, .. }) => DescribedGroup::default()
            .with_group_state(StrBytes::from_static_str("Empty"))
            .with_protocol_type(StrBytes::from_static_str(consumer::PROTOCOL_TYPE)),
        Some(_) => dead(door, version, format!("group {group} has members of another protocol")),
        None => dead(door, version, format!("group {group} not found")),
    }
}

/// For clients before version 6 what is not there is dead, and no error.
fn dead(door: &Door, version: i16, why: String) -> DescribedGroup {
    let dead = DescribedGroup::default().with_group_state(StrBytes::from_static_str("Dead"));
    match version >= NOT_FOUND_SINCE {
        true => dead
            .with_error_code(door.counts.error(ResponseError::GroupIdNotFound))
            .with_error_message(Some(text(why))),
        false => dead,
    }
}

fn found(group: ClassicDescription, version: i16) -> DescribedGroup {
    let is_stable = group.summary.state == ClassicState::Stable;
    let member = |member: ClassicMemberDescription| {
        let described = DescribedGroupMember::default()
            .with_member_id(text(member.member_id))
            .with_client_id(text(member.client_id))
            .with_client_host(text(format!("/{}", member.client_address)));
        let described = match version >= INSTANCES_SINCE {
            true => described.with_group_instance_id(member.instance_id.map(text)),
            false => described,
        };
        // Until then it is about to be something else.
        match is_stable {
            true => described
                .with_member_metadata(member.metadata)
                .with_member_assignment(member.assignment.bytes),
            false => described,
        }
    };
    let described = DescribedGroup::default()
        .with_group_state(StrBytes::from_static_str(list_groups::classic_state(group.summary.state)))
        .with_protocol_type(text(group.summary.protocol_type))
        .with_members(group.members.into_iter().map(member).collect());
    if is_stable { described.with_protocol_data(text(group.protocol)) } else { described }
}
