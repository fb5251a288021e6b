//! The span of a request: who asks for what, so that one can be followed through the log.
//!
//! ```text
//!   request{peer api version correlation_id client_id ...}: received
//!   request{...}:produce{partition count bytes}:             taken into an entry; committed   (the broker's)
//!   request{...}:                                            waits; woken; fetched; read      (of a fetch)
//!   request{...}:                                            replied
//! ```
//!
//! Unless somebody listens at the level `debug` there is no span, and nothing here looks at a request.

use std::net::SocketAddr;

use kafka_protocol::messages::{FetchRequest, ProduceRequest};
use tracing::{Span, debug, debug_span, field::Empty};

use super::{
    api::{APIS, Api},
    request::Read,
};

/// Of a client's name so much is logged with each line of its requests.
const CLIENT_ID_BYTES_MAX: usize = 64;

/// The span of a request. What only some kinds of requests have is added when it is decoded.
pub(super) fn of(read: &Read, peer: SocketAddr) -> Span {
    let span = debug_span!(
        "request",
        %peer,
        api = name(read),
        version = read.head().version,
        correlation_id = read.head().correlation_id,
        client_id = Empty,
        acks = Empty,
        partitions = Empty,
        bytes = Empty,
        min_bytes = Empty,
        max_wait_ms = Empty,
    );
    if !span.is_disabled()
        && let Read::Request(request) = read
    {
        span.record("client_id", request.client_id_within(CLIENT_ID_BYTES_MAX).as_str());
        span.in_scope(|| debug!(bytes = request.frame_len, "received"));
    }
    span
}

/// What a produce brings.
pub(super) fn produce(span: &Span, request: &ProduceRequest) {
    if span.is_disabled() {
        return;
    }
    let data = || request.topic_data.iter().flat_map(|topic| &topic.partition_data);
    let bytes: usize = data().filter_map(|data| data.records.as_ref()).map(bytes::Bytes::len).sum();
    span.record("acks", request.acks).record("partitions", data().count()).record("bytes", bytes);
}

/// What a fetch wants.
pub(super) fn fetch(span: &Span, request: &FetchRequest) {
    if span.is_disabled() {
        return;
    }
    let partitions: usize = request.topics.iter().map(|topic| topic.partitions.len()).sum();
    span.record("partitions", partitions)
        .record("min_bytes", request.min_bytes)
        .record("max_wait_ms", request.max_wait_ms);
}

fn name(read: &Read) -> &'static str {
    match read {
        Read::Request(request) => APIS[request.api].name,
        Read::UnknownApiVersions(head) => Api::of(head.key as i16).map_or("", |(_, api)| api.name),
    }
}
