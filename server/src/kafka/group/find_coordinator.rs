//! FindCoordinator: who looks after a group.

use kafka_protocol::{
    ResponseError,
    messages::{
        BrokerId, FindCoordinatorRequest, FindCoordinatorResponse, find_coordinator_response::Coordinator,
    },
    protocol::StrBytes,
};
use minikafka_broker::Endpoint;

use super::text;
use crate::kafka::{
    door::Door,
    door::node_id,
    shape::{Field, I8, TEXT, TEXTS},
};

pub(in crate::kafka) static SHAPE: &[Field] = &[TEXT.until(3), I8.since(1), TEXTS.since(4)];

/// The kind of key that is the name of a group. The others are transactions and share groups, which are not there.
const GROUP: i8 = 0;
/// The first version that asks for several at once.
const SEVERAL_SINCE: i16 = 4;
/// Nobody.
const NO_NODE: BrokerId = BrokerId(-1);

/// A node, for each group.
pub(super) fn find(door: &Door, version: i16, request: FindCoordinatorRequest) -> FindCoordinatorResponse {
    let error = match request.key_type {
        GROUP => None,
        _ => Some((
            door.counts.error(ResponseError::InvalidRequest),
            StrBytes::from_static_str("there are neither transactions nor share groups"),
        )),
    };
    if version >= SEVERAL_SINCE {
        let one = |key| coordinator(door, key, error.clone());
        let coordinators = request.coordinator_keys.into_iter().map(one).collect();
        return FindCoordinatorResponse::default().with_coordinators(coordinators);
    }
    let Coordinator { node_id, host, port, error_code, error_message, .. } =
        coordinator(door, request.key, error);
    let found = FindCoordinatorResponse::default()
        .with_node_id(node_id)
        .with_host(host)
        .with_port(port)
        .with_error_code(error_code);
    if version >= 1 { found.with_error_message(error_message) } else { found }
}

fn coordinator(door: &Door, key: StrBytes, error: Option<(i16, StrBytes)>) -> Coordinator {
    let known = door.broker.coordinator(&key).map(node_id);
    let reached = door.nodes().into_iter().find(|(id, _)| Some(*id) == known);
    let found = Coordinator::default().with_key(key);
    match (error, reached) {
        (None, Some((id, Endpoint { host, port }))) => {
            found.with_node_id(id).with_host(text(host)).with_port(port.into())
        }
        (None, None) => {
            let code = door.counts.error(ResponseError::CoordinatorNotAvailable);
            found.with_node_id(NO_NODE).with_port(-1).with_error_code(code)
        }
        (Some((code, message)), _) => {
            found.with_node_id(NO_NODE).with_port(-1).with_error_code(code).with_error_message(Some(message))
        }
    }
}
