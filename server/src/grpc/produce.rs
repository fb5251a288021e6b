//! Produce, one request at a time.

use minikafka_broker::{Broker, CheckedPayload, Error, Partition};
use minikafka_proto::v1::{ProduceRequest, ProduceResponse};

use super::{
    message,
    refusal::{Refusal, refuse},
};

pub(super) async fn produce(
    broker: &Broker,
    mut request: ProduceRequest,
) -> Result<ProduceResponse, Refusal> {
    // Checked before the topic is looked up: a request that is refused must not create one.
    let payload = broker.check(message::payload(request.payload.take())?).map_err(refuse(broker))?;
    let partition = partition(broker, &request, &payload).await.map_err(refuse(broker))?;
    partition.check_leader_epoch(request.leader_epoch).map_err(refuse(broker))?;
    let pending = partition.produce(payload).await.map_err(refuse(broker))?;
    let produced = pending.await.map_err(refuse(broker))?;
    Ok(message::produced(produced, partition.number()))
}

/// The partition that a request goes to, whose topic is created when it is not there.
pub(super) async fn partition(
    broker: &Broker,
    request: &ProduceRequest,
    payload: &CheckedPayload,
) -> Result<Partition, Error> {
    match (request.leader_epoch, broker.partition(&request.topic, request.partition)) {
        // Who names an epoch that a new topic does not have is refused, and must not create it.
        (Some(wanted @ 1..), Err(Error::TopicNotFound(topic))) => {
            let partition = request.partition.unwrap_or(0);
            Err(Error::StaleLeaderEpoch { topic, partition, wanted, current: EPOCH_OF_NEW_TOPICS })
        }
        _ => broker.partition_to_produce(&request.topic, request.partition, payload).await,
    }
}

/// The leader epoch of a topic that has just been created.
const EPOCH_OF_NEW_TOPICS: u64 = 0;
