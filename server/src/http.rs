//! What HTTP says where there is no gRPC service: a word about the server, or that there is nothing.

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, StatusCode, Uri, header::CONTENT_TYPE};
use tonic::Status;

/// `GET /`: what this is.
pub(crate) async fn front_page() -> String {
    format!(
        "MiniKafka {}\n\n\
         A message log. This port speaks gRPC, without TLS:\n\
         \x20 minikafka.v1.MiniKafkaService   produce, poll and subscribe\n\
         \x20 protocol.MiniKafka              the service of the first MiniKafka\n\
         \x20 grpc.health.v1.Health           health\n\
         \x20 grpc.reflection.v1, v1alpha     reflection: try grpcurl -plaintext <this address> list\n",
        env!("CARGO_PKG_VERSION")
    )
}

/// Every other path: a status for clients of gRPC, else 404.
pub(crate) async fn not_found(uri: Uri, headers: HeaderMap) -> Response {
    let is_grpc =
        headers.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"));
    if is_grpc {
        let status = Status::unimplemented(format!("no gRPC service answers {}", uri.path()));
        return status.into_http::<Body>();
    }
    (StatusCode::NOT_FOUND, "there is nothing here: see /\n").into_response()
}
