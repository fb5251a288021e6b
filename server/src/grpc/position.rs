//! Where a reader starts: a number, a named place, or a time.

use minikafka_broker::{Broker, Partition};
use minikafka_proto::v1::{Anchor, Position, position::At};
use minikafka_record::Offset;

use super::refusal::{Refusal, refuse};

/// Whether the reader found its topic, or saw it being created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Topic {
    /// It was there.
    Found,
    /// It was waited for, so all its messages are later than the request.
    Awaited,
}

/// The offset that a position means now. It may be out of range; no position is the oldest message kept.
pub(super) async fn resolve(
    broker: &Broker,
    partition: &Partition,
    position: Option<&Position>,
    topic: Topic,
) -> Result<Offset, Refusal> {
    let bounds = partition.bounds();
    let end = match topic {
        Topic::Found => bounds.high_watermark,
        Topic::Awaited => Offset::ZERO,
    };
    match position.and_then(|position| position.at.as_ref()) {
        Some(At::Number(number)) => offset(*number),
        Some(At::Anchor(anchor)) => match known(*anchor, "anchor")? {
            Anchor::Latest => Ok(end),
            Anchor::Earliest | Anchor::Unspecified => Ok(bounds.start),
        },
        Some(At::TimestampMs(timestamp)) => {
            Ok(partition.offset_at(*timestamp).await.map_err(refuse(broker))?.unwrap_or(end))
        }
        None => Ok(bounds.start),
    }
}

/// The offset of a number. Past the largest, an offset would no longer be that of the number.
pub(super) fn offset(number: u64) -> Result<Offset, Refusal> {
    let refuse = |why: &str| Refusal::invalid_request(format!("there is no message {number}: {why}"));
    match Offset::from_number(number) {
        Some(offset) if offset.number() == number => Ok(offset),
        Some(_) => Err(refuse("numbers end at 9223372036854775808")),
        None => Err(refuse("messages are numbered from 1")),
    }
}

/// An enum's value on the wire, if this version knows it.
pub(super) fn known<T: TryFrom<i32>>(value: i32, field: &str) -> Result<T, Refusal> {
    T::try_from(value).map_err(|_| Refusal::invalid_request(format!("{field} {value} is not known")))
}
