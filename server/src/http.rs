//! What HTTP says where there is no gRPC service: a word about the server, or that there is nothing.

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use http::{
    HeaderMap, HeaderValue, Method, Request, StatusCode, Uri,
    header::{ALLOW, CONTENT_TYPE},
};
use tonic::Status;

/// `GET /`: what this is.
pub(crate) async fn front_page() -> String {
    format!(
        "MiniKafka {}\n\n\
         A message log. This port speaks gRPC, without TLS:\n\
         \x20 minikafka.v1.MiniKafkaService   produce, poll and subscribe\n\
         \x20 protocol.MiniKafka              the service of the first MiniKafka\n\
         \x20 grpc.health.v1.Health           health\n\
         \x20 grpc.reflection.v1, v1alpha     reflection: try grpcurl -plaintext <this address> list\n\n\
         Kafka clients have a port of their own, 9092 unless it was chosen.\n\n\
         And for those who watch over it: /metrics for Prometheus, /healthz, /readyz.\n",
        env!("CARGO_PKG_VERSION")
    )
}

/// Every other path: a status for clients of gRPC, else 404.
pub(crate) async fn not_found(uri: Uri, headers: HeaderMap) -> Response {
    if is_grpc(&headers) {
        let status = Status::unimplemented(format!("no gRPC service answers {}", uri.path()));
        return status.into_http::<Body>();
    }
    (StatusCode::NOT_FOUND, "there is nothing here: see /\n").into_response()
}

/// The refusal of what is no gRPC before it reaches a service, in the terms of HTTP: services answer 200 to
/// everything, and tell what is wrong where only clients of gRPC look.
pub(crate) fn refusal_unless_grpc<B>(request: &Request<B>) -> Option<Response> {
    if request.method() != Method::POST {
        let allow = [(ALLOW, HeaderValue::from_static("POST"))];
        let why = "this path speaks gRPC: see /\n";
        return Some((StatusCode::METHOD_NOT_ALLOWED, allow, why).into_response());
    }
    if !is_grpc(request.headers()) {
        let kind = "this path speaks gRPC: the content type is application/grpc\n";
        return Some((StatusCode::UNSUPPORTED_MEDIA_TYPE, kind).into_response());
    }
    None
}

fn is_grpc(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"))
}
