//! DescribeCluster: which cluster this is, and its nodes.

use kafka_protocol::{
    ResponseError,
    messages::{
        DescribeClusterRequest, DescribeClusterResponse, describe_cluster_response::DescribeClusterBroker,
    },
    protocol::StrBytes,
};

use minikafka_broker::Endpoint;

use super::super::{
    door::{Door, node_id},
    metadata::{NO_NODE, OPERATIONS_UNKNOWN},
    refused::Refused,
    shape::{BOOL, Field, I8},
};

pub(in super::super) static SHAPE: &[Field] = &[BOOL, I8.since(1), BOOL.since(2)];

/// Kinds of endpoints that a client may look for.
const BROKERS: i8 = 1;
const CONTROLLERS: i8 = 2;

/// What Metadata says of the nodes, too.
pub(in super::super) async fn describe(
    door: &Door,
    _version: i16,
    request: DescribeClusterRequest,
) -> DescribeClusterResponse {
    let response = DescribeClusterResponse::default()
        .with_error_message(None)
        .with_cluster_authorized_operations(OPERATIONS_UNKNOWN);
    let code = match request.endpoint_type {
        BROKERS => {
            let node = |(id, Endpoint { host, port })| {
                DescribeClusterBroker::default()
                    .with_broker_id(id)
                    .with_host(StrBytes::from_string(host))
                    .with_port(i32::from(port))
                    .with_rack(None)
            };
            return response
                .with_cluster_id(door.cluster_id())
                .with_controller_id(door.broker.controller().map_or(NO_NODE, node_id))
                .with_brokers(door.nodes().into_iter().map(node).collect());
        }
        CONTROLLERS => ResponseError::MismatchedEndpointType,
        _ => ResponseError::UnsupportedEndpointType,
    };
    let rule = "this is an endpoint for clients of brokers";
    let (code, message) = Refused::new(code, rule).tell(door);
    // Of the kind that was asked for nothing is known.
    response.with_error_code(code).with_error_message(message).with_controller_id(NO_NODE)
}
