//! Heartbeat: a member lives, and hears whether it is to join again.

use kafka_protocol::messages::{HeartbeatRequest, HeartbeatResponse};

use super::member;
use crate::kafka::{
    door::Door,
    shape::{Field, I32, TEXT},
};

pub(in crate::kafka) static SHAPE: &[Field] = &[TEXT, I32, TEXT, TEXT.since(3)];

/// Takes note of it.
pub(super) fn heartbeat(door: &Door, request: HeartbeatRequest) -> HeartbeatResponse {
    let by = member(&request.group_id, &request.member_id, request.group_instance_id, request.generation_id);
    match door.broker.heartbeat_classic(&by) {
        Ok(()) => HeartbeatResponse::default(),
        Err(error) => HeartbeatResponse::default().with_error_code(door.refuse_group(&error)),
    }
}
