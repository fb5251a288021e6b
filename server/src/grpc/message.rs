//! Messages of the wire, to and from those of the broker.

use bytes::Bytes;
use minikafka_broker::{NewMessage, Origin, Payload, Produced};
use minikafka_proto::v1::{Header, Message, MessageList, ProduceResponse, produce_request};
use minikafka_record::{Header as RecordHeader, Record};

use super::refusal::Refusal;

/// What a request brings. The broker checks the rest of the rules.
pub(super) fn payload(payload: Option<produce_request::Payload>) -> Result<Payload, Refusal> {
    match payload {
        Some(produce_request::Payload::RecordBatch(batch)) => Ok(Payload::Batch(batch)),
        Some(produce_request::Payload::Messages(MessageList { messages })) if !messages.is_empty() => {
            Ok(Payload::Messages(messages.into_iter().map(new_message).collect::<Result<_, _>>()?))
        }
        Some(produce_request::Payload::Messages(_)) => {
            Err(Refusal::invalid_request("the list of messages is empty: at least one is needed"))
        }
        None => Err(Refusal::invalid_request("neither messages nor a record batch are given")),
    }
}

fn new_message(message: Message) -> Result<NewMessage, Refusal> {
    if let Some(negative @ ..0) = message.timestamp_ms {
        return Err(Refusal::invalid_request(format!("timestamp_ms {negative} is negative")));
    }
    Ok(NewMessage {
        timestamp: message.timestamp_ms,
        key: message.key,
        value: message.value,
        headers: message.headers.into_iter().map(new_header).collect(),
    })
}

fn new_header(header: Header) -> RecordHeader {
    RecordHeader { name: Bytes::from(header.name), value: header.value }
}

/// A stored record as a message. Key and value stay slices of their batch.
pub(super) fn message(record: Record) -> Message {
    Message {
        value: record.value,
        key: record.key,
        headers: record.headers.into_iter().map(header).collect(),
        timestamp_ms: Some(record.timestamp),
        number: record.offset.number(),
    }
}

fn header(header: RecordHeader) -> Header {
    // Names that came over other doors need not be UTF-8; a wire string has to be.
    Header { name: String::from_utf8_lossy(&header.name).into_owned(), value: header.value }
}

/// The answer to a produce.
pub(super) fn produced(produced: Produced, partition: u32) -> ProduceResponse {
    ProduceResponse {
        first_number: produced.base_offset.number(),
        count: produced.count,
        partition,
        append_time_ms: produced.append_time,
        leader_epoch: produced.leader_epoch,
        duplicate: produced.origin == Origin::Earlier,
    }
}
