//! [`Message`], what is read.

use std::sync::Arc;

use bytes::Bytes;
use minikafka_record::{Header, Record};

use crate::TopicPartition;

/// A message, as read from a topic. Null and empty are different: `None` is null, `Some` of no bytes is
/// empty.
///
/// The bytes are slices of the reply that brought them, up to 1 MiB by default, which stays in memory as long
/// as one of them does: copy what is kept for long. If they came compressed, they are slices of the piece
/// that was decompressed with them, up to 64 KiB.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Name of its topic.
    pub topic: Arc<str>,
    /// Its partition, from 0.
    pub partition: u32,
    /// Its number in the partition, from 1. Numbers have no gaps and never change.
    pub number: u64,
    /// Milliseconds since the Unix epoch, as the producer said.
    pub timestamp_ms: i64,
    /// Key, for those who route or compact by it.
    pub key: Option<Bytes>,
    /// The message itself.
    pub value: Option<Bytes>,
    /// Names and values, in order; names may repeat.
    pub headers: Vec<Header>,
}

impl Message {
    pub(crate) fn new(of: &TopicPartition, record: Record) -> Message {
        let Record { offset, timestamp, key, value, headers } = record;
        let (topic, partition) = (of.topic.clone(), of.partition);
        Message { topic, partition, number: offset.number(), timestamp_ms: timestamp, key, value, headers }
    }
}
