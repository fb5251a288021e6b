//! [`Consumer`], which reads topics from a position on.

use std::{
    collections::BTreeMap,
    fmt,
    future::poll_fn,
    ops::Range,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::{self, Instant};

use crate::{
    ConsumeError, ConsumerBuilder, Jump, Message, Messages, Position, TopicPartition,
    discovery::{Age, Discovery, Found},
    reads::Reads,
};

/// What "without end" means to the timer.
pub(crate) const FOREVER: Duration = Duration::from_secs(365 * 24 * 3600);

/// Reads the messages of one or many topics, from a position on: all partitions of each, or those that it is told.
/// Messages of one partition come in order, and partitions that are behind take turns. The positions are the
/// consumer's own: they live here, and many consumers read one topic without knowing of each other. Those that want to
/// share its messages, and to be remembered, are a group: [`GroupConsumer`](crate::GroupConsumer).
///
/// The server sends ahead while the caller works, as far as the flow control of HTTP/2 lets it. When the
/// connection breaks, the consumer comes back by itself and goes on at its positions. Partitions that a topic gets
/// later are found within seconds, while the consumer is polled. One that the server's disk has lost does not stop the
/// others: see the [crate](crate#lost-partitions).
pub struct Consumer {
    pub(crate) from: Position,
    /// The topics, each with the partitions that are wanted; with none, all.
    pub(crate) wanted: BTreeMap<Arc<str>, Vec<u32>>,
    pub(crate) reads: Reads,
    pub(crate) discovery: Discovery,
}

impl Consumer {
    /// Reads `topic` from its oldest messages on, with the default options. `host` is `host:port`, `:port` for
    /// this machine, or `http://host:port`.
    ///
    /// # Errors
    /// As [`ConsumerBuilder::subscribe`].
    pub async fn subscribe(host: &str, topic: &str) -> Result<Consumer, ConsumeError> {
        Consumer::builder(host, topic).subscribe().await
    }

    /// The options of a consumer of `topic`.
    pub fn builder(host: &str, topic: &str) -> ConsumerBuilder {
        ConsumerBuilder::new(host, topic)
    }

    /// The next messages, at least one, all of one partition; or none when nothing came within `wait`. Advances the
    /// position of the partition over what it returns and nothing else. A `wait` of zero returns what is already here.
    ///
    /// Cancel-safe: a call that is dropped before it returns has taken nothing.
    ///
    /// # Errors
    /// [`ConsumeError::Unreachable`] when there is no connection at the end of `wait`; the consumer goes on
    /// trying with the next call. All others at once. The positions are unchanged. What fails for one partition
    /// does not stop the others: the next calls return their messages, and the error again, unless it is
    /// [`ConsumeError::PartitionLost`], which is said once.
    pub async fn poll(&mut self, wait: Duration) -> Result<Vec<Message>, ConsumeError> {
        let deadline = Instant::now() + wait.min(FOREVER);
        loop {
            let messages = self.reads.take_ready()?;
            if !messages.is_empty() {
                return Ok(messages);
            }
            match time::timeout_at(deadline, self.fill()).await {
                Ok(filled) => filled?,
                Err(_elapsed) => return self.reads.link.trouble().map_or(Ok(Vec::new()), Err),
            }
        }
    }

    /// The messages as a stream, from the positions on; it advances them message by message. It waits
    /// for messages and for the server without end, yields what else goes wrong, and ends after an error
    /// that polling again will not heal.
    pub fn stream(&mut self) -> Messages<&mut Consumer> {
        Messages::new(self)
    }

    /// As [`stream`](Consumer::stream), with the consumer inside.
    pub fn into_stream(self) -> Messages<Consumer> {
        Messages::new(self)
    }

    /// What is read, in order.
    pub fn partitions(&self) -> impl Iterator<Item = &TopicPartition> {
        self.reads.partitions()
    }

    /// Those of them that the server's disk has lost, as of its last word, in order. They are asked for now and then.
    pub fn lost_partitions(&self) -> impl Iterator<Item = &TopicPartition> {
        self.reads.lost_partitions()
    }

    /// Number of the next message to read in a partition. `None` while it is not known: after starting at
    /// [`Position::Earliest`], `Latest` or `Timestamp`, until the server has said which number that is; and when the
    /// partition is not read at all.
    pub fn position(&self, topic: &str, partition: u32) -> Option<u64> {
        self.reads.position(&TopicPartition::new(topic, partition))
    }

    /// Goes on at `position` in a partition, with the next poll.
    ///
    /// # Errors
    /// [`ConsumeError::NotFound`] when this consumer does not read the partition.
    pub fn seek(&mut self, topic: &str, partition: u32, position: Position) -> Result<(), ConsumeError> {
        let of = TopicPartition::new(topic, partition);
        if !self.reads.seek(&of, position) {
            let message = format!("this consumer does not read {of}");
            return Err(ConsumeError::NotFound { of: Some(of), message });
        }
        Ok(())
    }

    /// The numbers that are readable in a partition, from the oldest message kept to one past the last, as of the
    /// server's last word about it. `None` before the first.
    pub fn range(&self, topic: &str, partition: u32) -> Option<Range<u64>> {
        self.reads.range(&TopicPartition::new(topic, partition))
    }

    /// Whether, and over what, the position of a partition jumped; each jump is returned once. See
    /// [`ResetPolicy`](crate::ResetPolicy).
    pub fn take_jump(&mut self) -> Option<Jump> {
        self.reads.take_jump()
    }

    /// The next message of a stream.
    pub(crate) fn poll_message(&mut self, context: &mut Context<'_>) -> Poll<Result<Message, ConsumeError>> {
        loop {
            if let Some(message) = self.reads.take_one()? {
                return Poll::Ready(Ok(message));
            }
            std::task::ready!(self.poll_fill(context))?;
        }
    }

    /// Waits for one reply.
    pub(crate) async fn fill(&mut self) -> Result<(), ConsumeError> {
        poll_fn(|context| self.poll_fill(context)).await
    }

    fn poll_fill(&mut self, context: &mut Context<'_>) -> Poll<Result<(), ConsumeError>> {
        loop {
            if let Poll::Ready(filled) = self.reads.poll_fill(context) {
                return Poll::Ready(filled);
            }
            let found = std::task::ready!(self.discovery.poll(context, self.reads.client()));
            self.add(found);
        }
    }

    /// Reads what was found, from its start: all of it is later than the subscription.
    fn add(&mut self, found: Found) {
        let position = match (self.from, found.age) {
            (Position::Number(_), Age::NewTopic) | (Position::Timestamp(_), _) => self.from,
            (Position::Earliest | Position::Latest, _) | (Position::Number(_), Age::Grown) => {
                Position::Earliest
            }
        };
        let wanted = self.wanted.get(&found.topic).cloned().unwrap_or_default();
        if wanted.is_empty() {
            for (number, range) in found.partitions {
                self.reads.add(TopicPartition::new(found.topic.clone(), number), position, range);
            }
        } else if found.age == Age::NewTopic {
            for number in wanted {
                self.reads.add(TopicPartition::new(found.topic.clone(), number), position, None);
            }
        }
    }
}

impl fmt::Debug for Consumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let positions: BTreeMap<_, _> = self.reads.positions().collect();
        f.debug_struct("Consumer")
            .field("wanted", &self.wanted)
            .field("positions", &positions)
            .finish_non_exhaustive()
    }
}
