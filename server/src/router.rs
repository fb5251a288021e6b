//! [`Router`]: all services, put together. Which request goes where is the matter of the [`Door`].

use axum::{extract::Request, middleware, routing::get};
use minikafka_broker::Broker;
use minikafka_proto::{
    FILE_DESCRIPTOR_SET,
    original::mini_kafka_server::MiniKafkaServer,
    v1::{group_service_server::GroupServiceServer, mini_kafka_service_server::MiniKafkaServiceServer},
};
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

use crate::{
    door::{Door, Services},
    grpc::{self, Groups, Intake, Original, V1, request_bytes_max},
    http,
    observe::{self, Observed, health_server},
};

/// Largest request about groups: a commit of as many positions as there may be in one.
const GROUP_REQUEST_BYTES_MAX: usize = 4 * 1024 * 1024;

/// All services of the gRPC and HTTP door.
pub(crate) struct Router {
    pub(crate) door: Door,
    pub(crate) observed: Observed,
    pub(crate) intake: Intake,
}

impl Router {
    /// The services over `broker`. Streams end when `stopping` is cancelled.
    pub(crate) fn new(broker: &Broker, stopping: &CancellationToken, connections_max: usize) -> Router {
        let message_bytes_max = broker.config().message_bytes_max;
        let observed = Observed::new(broker.clone(), connections_max);
        let v1 =
            MiniKafkaServiceServer::new(V1::new(broker.clone(), stopping.clone(), observed.refusals.clone()))
                .max_decoding_message_size(request_bytes_max(message_bytes_max));
        let original = MiniKafkaServer::new(Original::new(broker.clone()))
            .max_decoding_message_size(request_bytes_max(message_bytes_max));
        let groups = GroupServiceServer::new(Groups::new(broker.clone(), stopping.clone()))
            .max_decoding_message_size(GROUP_REQUEST_BYTES_MAX);
        let tools = Routes::new(health_server(observed.clone(), stopping.clone()))
            .add_service(reflection().build_v1().expect("the descriptors are those of the build"))
            .add_service(reflection().build_v1alpha().expect("the descriptors are those of the build"))
            .into_axum_router()
            .layer(middleware::map_response_with_state(stopping.clone(), grpc::end_when_stopping));
        let others = tools
            .reset_fallback()
            .route_layer(middleware::map_request(async |request: Request| {
                http::refusal_unless_grpc(&request).map_or(Ok(request), Err)
            }))
            .route("/", get(http::front_page))
            .merge(observe::pages(observed.clone()))
            .fallback(http::not_found);
        let intake = Intake::new(request_bytes_max(message_bytes_max));
        let door = Door::new(
            Services { v1, groups, original },
            intake.clone(),
            message_bytes_max,
            observed.refusals.clone(),
            others.with_state(()),
        );
        Router { door, observed, intake }
    }
}

fn reflection<'a>() -> tonic_reflection::server::Builder<'a> {
    tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        // So that tools can print the details of our errors.
        .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET)
}
