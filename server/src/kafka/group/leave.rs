//! LeaveGroup: members go, or are sent away.

use kafka_protocol::{
    messages::{
        LeaveGroupRequest, LeaveGroupResponse, leave_group_request::MemberIdentity,
        leave_group_response::MemberResponse,
    },
    protocol::StrBytes,
};
use minikafka_broker::{ClassicLeaver, Error};

use crate::kafka::{
    door::Door,
    shape::{Field, TEXT, array},
};

pub(in crate::kafka) static SHAPE: &[Field] = &[TEXT, TEXT.until(2), array(MEMBER).since(3)];
static MEMBER: &[Field] = &[TEXT, TEXT, TEXT.since(5)];

/// The first version with several members at once, each with a code of its own.
const SEVERAL_SINCE: i16 = 3;

/// Removes them.
pub(super) async fn leave(door: &Door, version: i16, request: LeaveGroupRequest) -> LeaveGroupResponse {
    let leavers: Vec<ClassicLeaver> = match version >= SEVERAL_SINCE {
        true => request.members.iter().map(leaver).collect(),
        false => vec![ClassicLeaver { member_id: request.member_id.to_string(), instance_id: None }],
    };
    let codes: Vec<i16> = match door.broker.leave_classic(&request.group_id, &leavers).await {
        Ok(outcomes) => {
            outcomes.into_iter().map(|outcome| code(door, outcome.map_err(Error::from))).collect()
        }
        Err(error) => return LeaveGroupResponse::default().with_error_code(door.refuse_group(&error)),
    };
    if version < SEVERAL_SINCE {
        return LeaveGroupResponse::default().with_error_code(codes[0]);
    }
    let answer = |(member, code): (MemberIdentity, i16)| {
        MemberResponse::default()
            .with_member_id(member.member_id)
            .with_group_instance_id(member.group_instance_id)
            .with_error_code(code)
    };
    let members = request.members.into_iter().zip(codes).map(answer).collect();
    LeaveGroupResponse::default().with_members(members)
}

fn leaver(member: &MemberIdentity) -> ClassicLeaver {
    ClassicLeaver {
        member_id: member.member_id.to_string(),
        instance_id: member.group_instance_id.as_ref().map(StrBytes::to_string),
    }
}

fn code(door: &Door, outcome: Result<(), Error>) -> i16 {
    outcome.err().map_or(0, |error| door.refuse_group(&error))
}
