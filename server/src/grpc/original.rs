//! [`Original`], the service of the first MiniKafka, for its clients: one message in, all messages out.

use std::time::Duration;

use bytes::Bytes;
use minikafka_broker::{Broker, Error, NewMessage, Partition, Payload};
use minikafka_proto::original::{
    MsgNumber, Payload as WirePayload, PollRequest, PollResponse, ProduceRequest, Topic,
    mini_kafka_server::MiniKafka,
};
use minikafka_record::{Offset, RecordBatch};
use prost::Message as _;
use tonic::{Request, Response, Status};

use super::{
    REPLY_BYTES_MAX,
    refusal::{Refusal, refuse},
};

/// The service of the first MiniKafka.
pub(crate) struct Original {
    broker: Broker,
}

impl Original {
    pub(crate) fn new(broker: Broker) -> Original {
        Original { broker }
    }
}

#[tonic::async_trait]
impl MiniKafka for Original {
    async fn produce(&self, request: Request<ProduceRequest>) -> Result<Response<MsgNumber>, Status> {
        let msg_number = produce(&self.broker, request.into_inner()).await?;
        Ok(Response::new(MsgNumber { msg_number }))
    }

    async fn poll(&self, request: Request<PollRequest>) -> Result<Response<PollResponse>, Status> {
        Ok(Response::new(poll(&self.broker, &request.into_inner()).await?))
    }
}

async fn produce(broker: &Broker, request: ProduceRequest) -> Result<u64, Refusal> {
    let Some(Topic { topic }) = request.topic else {
        return Err(Refusal::invalid_request("no topic is given"));
    };
    let Some(WirePayload { payload }) = request.payload else {
        return Err(Refusal::invalid_request("no payload is given; it may be empty"));
    };
    let message = NewMessage { value: Some(payload), ..NewMessage::default() };
    let payload = broker.check(Payload::Messages(vec![message])).map_err(refuse(broker))?;
    let partition = broker.partition_to_produce(&topic, None, &payload).await.map_err(refuse(broker))?;
    check_single(broker, &topic)?;
    let pending = partition.produce(payload).await.map_err(refuse(broker))?;
    Ok(pending.await.map_err(refuse(broker))?.base_offset.number())
}

async fn poll(broker: &Broker, request: &PollRequest) -> Result<PollResponse, Refusal> {
    let partition = broker.partition(&request.topic, None).map_err(refuse(broker))?;
    check_single(broker, &request.topic)?;
    let wanted = request.read_from.map_or(0, |number| number.msg_number);
    let start = partition.bounds().start;
    // Evicted messages are skipped, and 0 is the oldest kept.
    let from = Offset::from_number(wanted).map_or(start, |from| from.max(start));
    let mut reply = Reply::from(from);
    read(broker, &partition, &mut reply).await?;
    // Nothing read: the wanted number, unchanged.
    let next = if reply.payloads.is_empty() { wanted } else { reply.next.number() };
    Ok(PollResponse { payloads: reply.payloads, new_read_from: Some(MsgNumber { msg_number: next }) })
}

/// Reads on until the end or until the reply is full.
async fn read(broker: &Broker, partition: &Partition, reply: &mut Reply) -> Result<(), Refusal> {
    loop {
        let fetched = match partition.fetch(reply.next, REPLY_BYTES_MAX, Duration::ZERO).await {
            Ok(fetched) => fetched,
            // Eviction overtook the reader.
            Err(Error::OutOfRange { start, .. }) if reply.next < start => {
                reply.next = start;
                continue;
            }
            // The original's clients know no way around: what is lost is skipped, as if evicted.
            Err(Error::Damaged { next: Some(next), .. }) if reply.next < next => {
                reply.next = next;
                continue;
            }
            // Beyond the end there is nothing.
            Err(Error::OutOfRange { .. }) => return Ok(()),
            Err(error) => return Err(refuse(broker)(error)),
        };
        if fetched.batches.is_empty() || reply.add(&fetched.batches)? == Room::None {
            return Ok(());
        }
        reply.next = reply.next.max(fetched.next);
    }
}

/// The original knows no partitions.
fn check_single(broker: &Broker, topic: &str) -> Result<(), Refusal> {
    match broker.partition(topic, Some(1)) {
        Ok(_) => {
            let partitions = broker.describe_topic(topic).map_or(2, |topic| topic.summary.partitions);
            Err(Refusal::several_partitions(topic, partitions))
        }
        Err(_) => Ok(()),
    }
}

/// A reply in the making.
struct Reply {
    payloads: Vec<WirePayload>,
    bytes: usize,
    next: Offset,
}

/// Whether more fits into a reply.
#[derive(PartialEq, Eq)]
enum Room {
    Some,
    None,
}

impl Reply {
    fn from(next: Offset) -> Reply {
        Reply { payloads: Vec::new(), bytes: 0, next }
    }

    /// Adds the messages of batches from the next one on, while they fit; one always does.
    fn add(&mut self, batches: &[RecordBatch]) -> Result<Room, Refusal> {
        for record in batches.iter().flat_map(RecordBatch::records) {
            let record = record.map_err(|error| Refusal::unreadable(&error))?;
            if record.offset < self.next {
                continue;
            }
            // The original knows no null.
            let payload = WirePayload { payload: record.value.unwrap_or_else(Bytes::new) };
            let len = payload.encoded_len();
            self.bytes += 1 + prost::length_delimiter_len(len) + len;
            if self.bytes > REPLY_BYTES_MAX && !self.payloads.is_empty() {
                return Ok(Room::None);
            }
            self.payloads.push(payload);
            self.next = record.offset.plus(1);
        }
        Ok(Room::Some)
    }
}
