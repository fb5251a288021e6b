//! SyncGroup: the leader says who reads what, and every member asks what it is to read. Waits for the leader.

use kafka_protocol::messages::{SyncGroupRequest, SyncGroupResponse};
use minikafka_broker::{ClassicAssignment, ClassicSync, ClassicSynced};

use super::{consumer, member, text, wait};
use crate::kafka::{
    dispatch::Caller,
    door::Door,
    shape::{BYTES, Field, I32, TEXT, array},
};

pub(in crate::kafka) static SHAPE: &[Field] =
    &[TEXT, I32, TEXT, TEXT.since(3), TEXT.since(5), TEXT.since(5), array(ASSIGNMENT)];
static ASSIGNMENT: &[Field] = &[TEXT, BYTES];

/// The first version that says how the assignment was made.
const PROTOCOL_SINCE: i16 = 5;

/// Asks for a member's assignment, and waits until the leader has said it.
pub(super) async fn sync(
    door: &Door,
    caller: &Caller,
    version: i16,
    request: SyncGroupRequest,
) -> SyncGroupResponse {
    let by = member(&request.group_id, &request.member_id, request.group_instance_id, request.generation_id);
    let mut reader = consumer::Assignments::new();
    let assignments = request.assignments.into_iter().map(|of| {
        let partitions = reader.partitions(&of.assignment);
        (of.member_id.to_string(), ClassicAssignment { bytes: of.assignment, partitions })
    });
    let sync = ClassicSync {
        by,
        protocol_type: request.protocol_type.map(|text| text.to_string()),
        protocol: request.protocol_name.map(|text| text.to_string()),
        assignments: assignments.collect(),
    };
    match wait(caller, door.broker.sync_classic(sync)).await {
        Ok(ClassicSynced { protocol_type, protocol, assignment }) => {
            let response = SyncGroupResponse::default().with_assignment(assignment);
            match version >= PROTOCOL_SINCE {
                true => response
                    .with_protocol_type(Some(text(protocol_type)))
                    .with_protocol_name(Some(text(protocol))),
                false => response,
            }
        }
        Err(error) => SyncGroupResponse::default().with_error_code(door.refuse_group(&error)),
    }
}
