//! JoinGroup: becoming a member, or one of the next generation. Waits for the other members.

use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::{
    messages::{JoinGroupRequest, JoinGroupResponse, join_group_response::JoinGroupResponseMember},
    protocol::StrBytes,
};
use minikafka_broker::{
    ClassicJoin, ClassicJoined, ClassicPeer, ClassicProtocol, Error, GroupError, Newcomers,
};

use super::{consumer, text, wait};
use crate::kafka::{
    dispatch::Caller,
    door::Door,
    shape::{BYTES, Field, I32, TEXT, array},
};

pub(in crate::kafka) static SHAPE: &[Field] =
    &[TEXT, I32, I32.since(1), TEXT, TEXT.since(5), TEXT, array(PROTOCOL), TEXT.since(8)];
static PROTOCOL: &[Field] = &[TEXT, BYTES];

/// The first version whose clients come back with the name that they are given (KIP-394).
const NAME_FIRST_SINCE: i16 = 4;
/// The first version that knows of static members (KIP-345).
const INSTANCES_SINCE: i16 = 5;
/// The first version in which what is not known is null.
const NULLS_SINCE: i16 = 7;
/// The first version in which a leader can be told to leave the assignment as it is (KIP-814).
const SKIP_SINCE: i16 = 9;
/// No generation.
const NONE: i32 = -1;

/// Joins, and waits until the others have.
pub(super) async fn join(
    door: &Door,
    caller: &Caller,
    client_id: String,
    version: i16,
    request: JoinGroupRequest,
) -> JoinGroupResponse {
    let member_id = request.member_id.clone();
    let join = translate(request, caller, client_id, version);
    match wait(caller, door.broker.join_classic(join)).await {
        Ok(joined) => accept(joined, version),
        Err(error) => {
            let member_id = match &error {
                Error::Group(GroupError::MemberIdRequired { member_id, .. }) => text(member_id.clone()),
                _ => member_id,
            };
            refuse(member_id, version).with_error_code(door.refuse_group(&error))
        }
    }
}

fn translate(request: JoinGroupRequest, caller: &Caller, client_id: String, version: i16) -> ClassicJoin {
    let session_timeout = milliseconds(request.session_timeout_ms);
    let topics = match request.protocols.first() {
        Some(first) if &*request.protocol_type == consumer::PROTOCOL_TYPE => {
            consumer::topics(&first.metadata)
        }
        _ => Vec::new(),
    };
    let protocols = request.protocols.into_iter();
    let protocol = |name: StrBytes, metadata: Bytes| ClassicProtocol { name: name.to_string(), metadata };
    ClassicJoin {
        group: request.group_id.to_string(),
        member_id: request.member_id.to_string(),
        instance_id: request.group_instance_id.map(|id| id.to_string()),
        client_id,
        client_address: caller.address.clone(),
        session_timeout,
        // Version 0 has one time for both.
        rebalance_timeout: match request.rebalance_timeout_ms {
            ..0 => session_timeout,
            timeout => milliseconds(timeout),
        },
        protocol_type: request.protocol_type.to_string(),
        protocols: protocols.map(|of| protocol(of.name, of.metadata)).collect(),
        topics,
        newcomers: if version >= NAME_FIRST_SINCE { Newcomers::NameFirst } else { Newcomers::LetIn },
        can_skip_assignment: version >= SKIP_SINCE,
    }
}

fn milliseconds(time: i32) -> Duration {
    Duration::from_millis(u64::try_from(time).unwrap_or(0))
}

fn accept(joined: ClassicJoined, version: i16) -> JoinGroupResponse {
    let member = |peer: ClassicPeer| {
        let member = JoinGroupResponseMember::default()
            .with_member_id(text(peer.member_id))
            .with_metadata(peer.metadata);
        match version >= INSTANCES_SINCE {
            true => member.with_group_instance_id(peer.instance_id.map(text)),
            false => member,
        }
    };
    let response = JoinGroupResponse::default()
        .with_generation_id(joined.generation)
        .with_protocol_name(Some(text(joined.protocol)))
        .with_leader(text(joined.leader))
        .with_member_id(text(joined.member_id))
        .with_members(joined.members.into_iter().map(member).collect());
    let response = match version >= NULLS_SINCE {
        true => response.with_protocol_type(Some(text(joined.protocol_type))),
        false => response,
    };
    if version >= SKIP_SINCE { response.with_skip_assignment(joined.skip_assignment) } else { response }
}

fn refuse(member_id: StrBytes, version: i16) -> JoinGroupResponse {
    let protocol = if version >= NULLS_SINCE { None } else { Some(StrBytes::new()) };
    JoinGroupResponse::default()
        .with_generation_id(NONE)
        .with_protocol_name(protocol)
        .with_member_id(member_id)
}
