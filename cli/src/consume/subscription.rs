//! [`Subscription`], what to read, and how to begin reading it.

use anyhow::bail;
use minikafka_client_connection::Backoff;
use minikafka_client_consume::{ConsumeError, Consumer, MissingTopic, Position};
use tokio::time;

use super::goal::End;
use crate::place::Place;

/// What to read.
#[derive(Clone, Debug)]
pub(crate) struct Subscription {
    host: String,
    topic: String,
    /// Only this one.
    partition: Option<u32>,
    from: Place,
}

impl Subscription {
    pub(crate) fn new(host: &str, topic: &str, partition: Option<u32>, from: Place) -> Subscription {
        Subscription { host: host.to_owned(), topic: topic.to_owned(), partition, from }
    }

    pub(super) fn topic(&self) -> &str {
        &self.topic
    }

    /// Begins at the wanted place. Without an end to reach, it waits for a server and for a topic that are not there
    /// yet.
    pub(super) async fn begin(&self, end: End) -> anyhow::Result<Consumer> {
        let mut from = self.from.position();
        loop {
            from = match self.subscribe(from, MissingTopic::Fail, end).await {
                Ok(consumer) => {
                    if let (Place::Number(_), 2..) = (self.from, consumer.partitions().count()) {
                        bail!("{}: say which one with -partition", numbers_say_nothing(&self.topic));
                    }
                    return Ok(consumer);
                }
                Err(ConsumeError::NotFound { message, .. }) if end == End::None => {
                    if self.partition.is_some() && self.is_topic_there().await {
                        bail!("{message}");
                    }
                    say!("consume: topic \"{}\" is not there yet; waiting for it", self.topic);
                    return self.wait_for_topic(in_a_new_topic(self.from)).await;
                }
                Err(ConsumeError::OutOfRange { start, message, .. }) => match from {
                    Position::Number(number) if number < start => {
                        say_skipped(number, start);
                        Position::Earliest
                    }
                    _ => bail!("{message}"),
                },
                Err(ConsumeError::Damaged { from, next, .. }) => {
                    say_lost(from, next);
                    Position::Number(next)
                }
                Err(error) => return Err(error.into()),
            };
        }
    }

    /// Whether a partition that is not found is missing in a topic that is there.
    async fn is_topic_there(&self) -> bool {
        let whole = Consumer::builder(&self.host, &self.topic).from(Position::Latest);
        whole.missing_topic(MissingTopic::Fail).subscribe().await.is_ok()
    }

    /// Waits for the topic to be created.
    pub(super) async fn wait_for_topic(&self, from: Position) -> anyhow::Result<Consumer> {
        Ok(self.subscribe(from, MissingTopic::Wait, End::None).await?)
    }

    async fn subscribe(
        &self,
        from: Position,
        missing: MissingTopic,
        end: End,
    ) -> Result<Consumer, ConsumeError> {
        let mut has_said_so = false;
        let mut backoff = Backoff::new();
        loop {
            let mut builder = Consumer::builder(&self.host, &self.topic).from(from).missing_topic(missing);
            if let Some(partition) = self.partition {
                builder = builder.partition(partition);
            }
            match builder.subscribe().await {
                // All of it: what is to be mended first is not waited for.
                Err(error @ ConsumeError::PartitionLost { .. }) => return Err(error),
                Err(error) if error.is_retryable() && end == End::None => {
                    if !has_said_so {
                        say!("consume: {error}; trying again");
                        has_said_so = true;
                    }
                    time::sleep(backoff.next_wait()).await;
                }
                result => return result,
            }
        }
    }
}

/// The same place in a topic that was not there when it was asked for: all its messages are later ones.
fn in_a_new_topic(place: Place) -> Position {
    match place {
        Place::Earliest | Place::Latest => Position::Earliest,
        Place::Number(_) | Place::Ago(_) | Place::Time(_) => place.position(),
    }
}

/// Why a number is no place to start at.
pub(super) fn numbers_say_nothing(topic: &str) -> String {
    format!("topic \"{topic}\" has several partitions, each with numbers of its own")
}

/// Says that the server's disk has lost messages.
pub(super) fn say_lost(from: u64, to: u64) {
    say!("consume: {}", lost(from, to));
}

/// Says that messages were evicted before they were read.
pub(super) fn say_skipped(from: u64, to: u64) {
    say!("consume: {}", skipped(from, to));
}

/// What the server's disk has lost.
pub(crate) fn lost(from: u64, to: u64) -> String {
    let what = match to.saturating_sub(from) {
        0 | 1 => format!("message {from} is"),
        _ => format!("messages {from} to {} are", to - 1),
    };
    format!("{what} lost to damage of the server's disk; going on at {to}")
}

/// What was evicted before it was read.
pub(crate) fn skipped(from: u64, to: u64) -> String {
    let what = match to - from {
        1 => format!("message {from} was evicted before it was read"),
        _ => format!("messages {from} to {} were evicted before they were read", to - 1),
    };
    format!("{what}; going on at {to}")
}
