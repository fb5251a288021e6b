//! [`Topics`]: what the stub remembers of messages: how many there were, and one batch.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::TopicName;
use minikafka_record::BatchHeader;

/// Bytes of a batch's base offset, which is in front and not under its checksum.
const BASE_OFFSET_LEN: usize = 8;

#[derive(Debug, Default)]
pub(super) struct Topics(Mutex<HashMap<TopicName, Topic>>);

#[derive(Debug, Default)]
struct Topic {
    /// Messages that came.
    count: u64,
    /// The largest batch that came.
    batch: Bytes,
    /// Messages in it.
    batch_count: u64,
}

impl Topics {
    /// Counts the messages of a batch. Returns the offset of the first.
    pub(super) fn count(&self, topic: &TopicName, batch: Bytes) -> i64 {
        let count = BatchHeader::parse(&batch).map_or(0, |header| header.count.max(0) as u64);
        let mut topics = self.lock();
        let topic = match topics.get_mut(topic) {
            Some(topic) => topic,
            None => topics.entry(topic.clone()).or_default(),
        };
        let base_offset = topic.count;
        topic.count += count;
        if batch.len() > topic.batch.len() {
            (topic.batch, topic.batch_count) = (batch, count);
        }
        base_offset as i64
    }

    /// The offset behind the last message. Batches are whole, so it may be a little more than came.
    pub(super) fn end(&self, topic: &TopicName) -> i64 {
        self.lock().get(topic).map_or(0, Topic::end) as i64
    }

    /// Appends the batches from an offset on, behind their length; at least one if there is one.
    pub(super) fn read(&self, topic: &TopicName, offset: i64, bytes_max: usize, out: &mut BytesMut) {
        let (batch, each, end) = match self.lock().get(topic) {
            Some(topic) if topic.batch_count > 0 => (topic.batch.clone(), topic.batch_count, topic.end()),
            _ => (Bytes::new(), 1, 0),
        };
        let first = (offset.max(0) as u64 / each).min(end / each);
        let fit = (bytes_max / batch.len().max(1)).max(1) as u64;
        let last = (first + fit).min(end / each);
        let len = (last - first) as usize * batch.len();
        out.reserve(len + BASE_OFFSET_LEN);
        put_compact_len(out, len);
        for number in first..last {
            out.put_u64(number * each);
            out.put_slice(&batch[BASE_OFFSET_LEN..]);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<TopicName, Topic>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Topic {
    fn end(&self) -> u64 {
        self.count.next_multiple_of(self.batch_count.max(1))
    }
}

/// A length as a varint of one more.
fn put_compact_len(out: &mut BytesMut, len: usize) {
    let mut rest = len + 1;
    while rest >= 0x80 {
        out.put_u8(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.put_u8(rest as u8);
}
