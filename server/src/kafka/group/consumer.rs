//! What consumers tell one another, as far as those who look at groups want to know it: topics, and partitions.
//!
//! ```text
//!   subscription:  i16 version | i32 count, so many of: text                         | what is not read here
//!   assignment:    i16 version | i32 count, so many of: text, i32 count, so many i32 | what is not read here
//! ```
//!
//! A text is `i16 length | that many bytes`. The members' own business otherwise: what cannot be read is nothing, and
//! goes through as it is. Nothing is reserved by what a count claims, and what is read takes little more memory than a
//! topic can have partitions: names are no longer than those of topics, and there are at most [`ELEMENTS_MAX`] of anything
//! in one request.
//!
//! Source: `ConsumerProtocolSubscription.json` and `ConsumerProtocolAssignment.json` of Apache Kafka, whose later
//! versions only add behind these.

use bytes::Buf as _;
use minikafka_broker::{TOPIC_NAME_LEN_MAX, TopicPartition};

use crate::kafka::shape::ELEMENTS_MAX;

/// The kind of members that speak so.
pub(super) const PROTOCOL_TYPE: &str = "consumer";

/// The topics that a subscription names.
pub(super) fn topics(mut subscription: &[u8]) -> Vec<String> {
    let read = |from: &mut &[u8]| {
        from.try_get_i16().ok()?;
        let count = from.try_get_i32().ok().filter(|count| *count as usize <= ELEMENTS_MAX)?;
        (0..count).map(|_| text(from)).collect::<Option<Vec<_>>>()
    };
    read(&mut subscription).unwrap_or_default()
}

/// Reads the assignments of one request.
pub(super) struct Assignments {
    /// Partitions that it may still name.
    room: usize,
}

impl Assignments {
    pub(super) fn new() -> Assignments {
        Assignments { room: ELEMENTS_MAX }
    }

    /// The partitions that an assignment names.
    pub(super) fn partitions(&mut self, mut assignment: &[u8]) -> Vec<TopicPartition> {
        self.read(&mut assignment).unwrap_or_default()
    }

    fn read(&mut self, from: &mut &[u8]) -> Option<Vec<TopicPartition>> {
        from.try_get_i16().ok()?;
        let mut partitions = Vec::new();
        for _ in 0..from.try_get_i32().ok()? {
            let topic = text(from)?;
            for _ in 0..from.try_get_i32().ok()? {
                self.room = self.room.checked_sub(1)?;
                let partition = u32::try_from(from.try_get_i32().ok()?).ok()?;
                partitions.push(TopicPartition { topic: topic.clone(), partition });
            }
        }
        Some(partitions)
    }
}

fn text(from: &mut &[u8]) -> Option<String> {
    let len = usize::try_from(from.try_get_i16().ok()?).ok().filter(|len| *len <= TOPIC_NAME_LEN_MAX)?;
    let (text, rest) = from.split_at_checked(len)?;
    *from = rest;
    Some(std::str::from_utf8(text).ok()?.to_owned())
}

#[cfg(test)]
mod tests;
