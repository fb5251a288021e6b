//! Idempotent producers: their identities, and who they are.

use minikafka_broker::{Broker, ProducerDescription, ProducerIdentity};
use minikafka_proto::v1::{
    InitProducerRequest, InitProducerResponse, ListProducersRequest, ListProducersResponse,
    ProducerDescription as WireDescription,
};

use super::{
    page::{Page, unknown},
    refusal::{Refusal, refuse},
};

pub(super) async fn init(
    broker: &Broker,
    request: &InitProducerRequest,
) -> Result<InitProducerResponse, Refusal> {
    let identity = broker.init_producer(previous(request)?).await.map_err(refuse(broker))?;
    let expiry_ms = broker.config().producer_expiry.as_millis();
    Ok(InitProducerResponse {
        producer_id: identity.id,
        producer_epoch: identity.epoch.into(),
        expiry_ms: u64::try_from(expiry_ms).unwrap_or(u64::MAX),
    })
}

/// The identity that a producer has had, if it names one.
fn previous(request: &InitProducerRequest) -> Result<Option<ProducerIdentity>, Refusal> {
    match (request.producer_id, request.producer_epoch) {
        (None, None) => Ok(None),
        (Some(id), Some(epoch)) => {
            let epoch = i16::try_from(epoch).map_err(|_| {
                Refusal::invalid_request(format!(
                    "producer_epoch {epoch} was never given: it is at most 32767"
                ))
            })?;
            Ok(Some(ProducerIdentity { id, epoch }))
        }
        _ => Err(Refusal::invalid_request("producer_id and producer_epoch go together: one is missing")),
    }
}

pub(super) fn list(
    broker: &Broker,
    request: &ListProducersRequest,
) -> Result<ListProducersResponse, Refusal> {
    let producers = broker.producers(&request.topic, request.partition).map_err(refuse(broker))?;
    let begin = place(&request.page_token)?;
    let behind = producers.iter().map(|producer| ((producer.partition, producer.identity.id), producer));
    let behind = behind.filter(|(place, _)| Some(*place) >= begin);
    let mut reply = ListProducersResponse::default();
    let described = behind.map(|(place, producer)| (place, description(producer)));
    let next = Page::new(request.page_size).fill(described, &mut reply.producers);
    reply.next_page_token = next.map(|(partition, id)| format!("{partition}/{id}")).unwrap_or_default();
    Ok(reply)
}

/// Partition and id of the producer with which a page begins; `None`: with the first one.
fn place(token: &str) -> Result<Option<(u32, i64)>, Refusal> {
    if token.is_empty() {
        return Ok(None);
    }
    let parts =
        token.split_once('/').and_then(|(partition, id)| Some((partition.parse().ok()?, id.parse().ok()?)));
    parts.map(Some).ok_or_else(|| unknown(token))
}

fn description(producer: &ProducerDescription) -> WireDescription {
    WireDescription {
        partition: producer.partition,
        producer_id: producer.identity.id,
        producer_epoch: producer.identity.epoch.into(),
        last_sequence: producer.last_sequence.get(),
        last_number: producer.last_offset.number(),
        last_append_time_ms: producer.last_append_time,
    }
}
