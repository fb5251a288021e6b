//! [`Position`], where to read, and what to do when there is nothing to read there.

use minikafka_proto::v1;

/// A place in a topic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Position {
    /// The oldest message kept.
    #[default]
    Earliest,
    /// The end: the next message written.
    Latest,
    /// The message of this number, from 1. One past the last message waits for the next.
    Number(u64),
    /// The first message with this timestamp or a later one, in milliseconds since the Unix epoch; the end
    /// when there is none.
    Timestamp(i64),
}

/// What to do when the wanted number is not readable: evicted, or beyond the end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ResetPolicy {
    /// Fail with [`ConsumeError::OutOfRange`](crate::ConsumeError::OutOfRange), naming what is readable.
    #[default]
    Fail,
    /// Go on at the oldest message kept.
    Earliest,
    /// Go on at the end.
    Latest,
}

/// What to do when the topic is not there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MissingTopic {
    /// Fail with [`ConsumeError::NotFound`](crate::ConsumeError::NotFound).
    #[default]
    Fail,
    /// Wait until it is created. That a topic was deleted while it was read is an error all the same.
    Wait,
}

impl From<Position> for v1::Position {
    fn from(position: Position) -> v1::Position {
        use v1::{Anchor, position::At};
        let at = match position {
            Position::Earliest => At::Anchor(Anchor::Earliest.into()),
            Position::Latest => At::Anchor(Anchor::Latest.into()),
            Position::Number(number) => At::Number(number),
            Position::Timestamp(timestamp_ms) => At::TimestampMs(timestamp_ms),
        };
        v1::Position { at: Some(at) }
    }
}

impl From<ResetPolicy> for v1::ResetPolicy {
    fn from(policy: ResetPolicy) -> v1::ResetPolicy {
        match policy {
            ResetPolicy::Fail => v1::ResetPolicy::Fail,
            ResetPolicy::Earliest => v1::ResetPolicy::Earliest,
            ResetPolicy::Latest => v1::ResetPolicy::Latest,
        }
    }
}

impl From<MissingTopic> for v1::MissingTopic {
    fn from(missing: MissingTopic) -> v1::MissingTopic {
        match missing {
            MissingTopic::Fail => v1::MissingTopic::Fail,
            MissingTopic::Wait => v1::MissingTopic::Wait,
        }
    }
}
