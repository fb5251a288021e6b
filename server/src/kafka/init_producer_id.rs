//! InitProducerId: who an idempotent producer is. The identities are those of every door.

use kafka_protocol::{
    ResponseError,
    messages::{InitProducerIdRequest, InitProducerIdResponse, ProducerId},
};

use super::{
    door::Door,
    shape::{Field, I16, I32, I64, TEXT},
};

pub(super) static SHAPE: &[Field] = &[TEXT, I32, I64.since(3), I16.since(3)];

/// A new identity. One that is named counts for nothing, as in Kafka: without a transactional id a producer begins
/// the next epoch by itself.
pub(super) async fn init(door: &Door, request: InitProducerIdRequest) -> InitProducerIdResponse {
    let refused = |code| {
        InitProducerIdResponse::default()
            .with_error_code(code)
            .with_producer_id(ProducerId(-1))
            .with_producer_epoch(-1)
    };
    if request.transactional_id.is_some() {
        // Transactions are not there, and no other error ends such a producer as clearly.
        return refused(door.counts.error(ResponseError::InvalidRequest));
    }
    match door.broker.init_producer(None).await {
        Ok(identity) => InitProducerIdResponse::default()
            .with_producer_id(ProducerId(identity.id))
            .with_producer_epoch(identity.epoch),
        Err(error) => refused(door.refuse(&error)),
    }
}
