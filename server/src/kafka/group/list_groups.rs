//! ListGroups: all groups, of members of either protocol and of none.

use kafka_protocol::{
    messages::{GroupId, ListGroupsRequest, ListGroupsResponse, list_groups_response::ListedGroup},
    protocol::StrBytes,
};
use minikafka_broker::{ClassicState, GroupState, GroupSummary};

use super::{consumer, text};
use crate::kafka::{
    door::Door,
    shape::{Field, TEXTS},
};

pub(in crate::kafka) static SHAPE: &[Field] = &[TEXTS.since(4), TEXTS.since(5)];

/// The first version that tells how a group is.
const STATE_SINCE: i16 = 4;
/// The first version that tells of which protocol it is.
const TYPE_SINCE: i16 = 5;

/// Those that are asked for.
pub(super) fn list(door: &Door, version: i16, request: ListGroupsRequest) -> ListGroupsResponse {
    let ListGroupsRequest { states_filter, types_filter, .. } = request;
    let wanted = |filter: &[StrBytes], what: &str| {
        filter.is_empty() || filter.iter().any(|wanted| wanted.eq_ignore_ascii_case(what))
    };
    let listed = |group: GroupSummary| {
        let (state, kind) = (state(&group), kind(&group));
        if !wanted(&states_filter, state) || !wanted(&types_filter, kind) {
            return None;
        }
        let protocol_type = match group.classic {
            Some(classic) => text(classic.protocol_type),
            None => StrBytes::from_static_str(consumer::PROTOCOL_TYPE),
        };
        let listed =
            ListedGroup::default().with_group_id(GroupId(text(group.name))).with_protocol_type(protocol_type);
        let listed = match version >= STATE_SINCE {
            true => listed.with_group_state(StrBytes::from_static_str(state)),
            false => listed,
        };
        Some(match version >= TYPE_SINCE {
            true => listed.with_group_type(StrBytes::from_static_str(kind)),
            false => listed,
        })
    };
    let groups = door.broker.groups("", usize::MAX).into_iter().filter_map(listed).collect();
    ListGroupsResponse::default().with_groups(groups)
}

/// How a group is, in Kafka's words.
pub(super) fn state(group: &GroupSummary) -> &'static str {
    match &group.classic {
        Some(classic) => classic_state(classic.state),
        None => match group.state {
            GroupState::Empty => "Empty",
            GroupState::Reconciling => "Reconciling",
            GroupState::Stable => "Stable",
        },
    }
}

pub(super) fn classic_state(state: ClassicState) -> &'static str {
    match state {
        ClassicState::Empty => "Empty",
        ClassicState::PreparingRebalance => "PreparingRebalance",
        ClassicState::CompletingRebalance => "CompletingRebalance",
        ClassicState::Stable => "Stable",
    }
}

/// Of which protocol a group is. One without members is of any; clients expect the older one.
pub(super) fn kind(group: &GroupSummary) -> &'static str {
    if group.classic.is_none() && group.members > 0 { "Consumer" } else { "Classic" }
}
