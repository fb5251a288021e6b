//! Produce, one request at a time.

use minikafka_broker::Broker;
use minikafka_proto::v1::{ProduceRequest, ProduceResponse};

use super::{
    message,
    refusal::{Refusal, refuse},
};

pub(super) async fn produce(broker: &Broker, request: ProduceRequest) -> Result<ProduceResponse, Refusal> {
    // Checked before the topic is looked up: a request that is refused must not create one.
    let payload = broker.check(message::payload(request.payload)?).map_err(refuse(broker))?;
    let partition =
        broker.partition_to_produce(&request.topic, request.partition).await.map_err(refuse(broker))?;
    partition.check_leader_epoch(request.leader_epoch).map_err(refuse(broker))?;
    let pending = partition.produce(payload).await.map_err(refuse(broker))?;
    let produced = pending.await.map_err(refuse(broker))?;
    Ok(message::produced(produced, partition.number()))
}
