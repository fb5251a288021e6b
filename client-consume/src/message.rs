//! [`Message`], what is read.

use bytes::Bytes;
use minikafka_record::{Header, Record};

/// A message, as read from a topic. Null and empty are different: `None` is null, `Some` of no bytes is
/// empty.
///
/// The bytes are slices of the reply that brought them, up to 1 MiB by default, which stays in memory as long
/// as one of them does: copy what is kept for long. If they came compressed, they are slices of the piece
/// that was decompressed with them, up to 64 KiB.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Its number in the topic, from 1. Numbers have no gaps and never change.
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

impl From<Record> for Message {
    fn from(record: Record) -> Message {
        let Record { offset, timestamp, key, value, headers } = record;
        Message { number: offset.number(), timestamp_ms: timestamp, key, value, headers }
    }
}
