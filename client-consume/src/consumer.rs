//! [`Consumer`], which reads one topic from a position on.

use std::{
    fmt,
    future::poll_fn,
    ops::Range,
    task::{Context, Poll},
    time::Duration,
};

use minikafka_proto::v1::{self, Encoding, SubscribeRequest, SubscribeResponse};
use tokio::time::{self, Instant};

use crate::{
    Address, ConsumeError, Jump, Message, Messages, MissingTopic, Position, ResetPolicy, link::Link,
    reader::Reader,
};

/// Large enough that a reply costs little beside its bytes.
const MAX_BYTES: u32 = 1 << 20;
/// How long [`ConsumerBuilder::subscribe`] waits for the server's word.
const TIMEOUT: Duration = Duration::from_secs(10);
/// What "without end" means to the timer.
const FOREVER: Duration = Duration::from_secs(365 * 24 * 3600);

/// Reads the messages of one topic, in order, from a position on. The position is the consumer's own: it
/// lives here, and many consumers read one topic without knowing of each other.
///
/// The server sends ahead while the caller works, as far as the flow control of HTTP/2 lets it. When the
/// connection breaks, the consumer comes back by itself and goes on at its position.
pub struct Consumer {
    subscription: Subscription,
    link: Link,
    reader: Reader,
}

/// What stays the same over all streams.
#[derive(Clone, Debug)]
struct Subscription {
    topic: String,
    partition: Option<u32>,
    max_bytes: u32,
    reset_policy: ResetPolicy,
    missing_topic: MissingTopic,
}

/// The options of a [`Consumer`]; see [`Consumer::builder`].
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until `subscribe`"]
pub struct ConsumerBuilder {
    host: String,
    subscription: Subscription,
    from: Position,
    timeout: Duration,
}

impl Consumer {
    /// Reads `topic` from its oldest message on, with the default options. `host` is `host:port`, `:port` for
    /// this machine, or `http://host:port`.
    ///
    /// # Errors
    /// As [`ConsumerBuilder::subscribe`].
    pub async fn subscribe(host: &str, topic: &str) -> Result<Consumer, ConsumeError> {
        Consumer::builder(host, topic).subscribe().await
    }

    /// The options of a consumer of `topic`.
    pub fn builder(host: &str, topic: &str) -> ConsumerBuilder {
        ConsumerBuilder {
            host: host.to_owned(),
            subscription: Subscription {
                topic: topic.to_owned(),
                partition: None,
                max_bytes: MAX_BYTES,
                reset_policy: ResetPolicy::default(),
                missing_topic: MissingTopic::default(),
            },
            from: Position::default(),
            timeout: TIMEOUT,
        }
    }

    /// The next messages, at least one; or none when nothing came within `wait`. Advances the position over
    /// what it returns and nothing else. A `wait` of zero returns what is already here.
    ///
    /// Cancel-safe: a call that is dropped before it returns has taken nothing.
    ///
    /// # Errors
    /// [`ConsumeError::Unreachable`] when there is no connection at the end of `wait`; the consumer goes on
    /// trying with the next call. All others at once. The position is unchanged.
    pub async fn poll(&mut self, wait: Duration) -> Result<Vec<Message>, ConsumeError> {
        let deadline = Instant::now() + wait.min(FOREVER);
        loop {
            self.prepare()?;
            let messages = self.reader.take_ready();
            if !messages.is_empty() {
                return Ok(messages);
            }
            match time::timeout_at(deadline, self.fill()).await {
                Ok(filled) => filled?,
                Err(_elapsed) => return self.link.trouble().map_or(Ok(Vec::new()), Err),
            }
        }
    }

    /// The messages as a stream, from the position on; it advances the position message by message. It waits
    /// for messages and for the server without end, yields what else goes wrong, and ends after an error
    /// that polling again will not heal.
    pub fn stream(&mut self) -> Messages<&mut Consumer> {
        Messages::new(self)
    }

    /// As [`stream`](Consumer::stream), with the consumer inside.
    pub fn into_stream(self) -> Messages<Consumer> {
        Messages::new(self)
    }

    /// Number of the next message to read. `None` while it is not known: after starting at
    /// [`Position::Earliest`], `Latest` or `Timestamp`, until the server has said which number that is.
    pub fn position(&self) -> Option<u64> {
        match self.reader.position() {
            Position::Number(number) => Some(number),
            _ => None,
        }
    }

    /// Goes on at `position` with the next poll.
    pub fn seek(&mut self, position: Position) {
        self.reader.seek(position);
        self.link.drop_stream();
    }

    /// The numbers that are readable, from the oldest message kept to one past the last, as of the server's
    /// last reply. `None` before the first.
    pub fn range(&self) -> Option<Range<u64>> {
        self.reader.range()
    }

    /// Whether, and over what, the position jumped since the last call; see [`ResetPolicy`].
    pub fn take_jump(&mut self) -> Option<Jump> {
        self.reader.take_jump()
    }

    /// The next message of a stream.
    pub(crate) fn poll_message(&mut self, context: &mut Context<'_>) -> Poll<Result<Message, ConsumeError>> {
        loop {
            self.prepare()?;
            if let Some(message) = self.reader.take_one() {
                return Poll::Ready(Ok(message));
            }
            std::task::ready!(self.poll_fill(context))?;
        }
    }

    /// Waits for one reply.
    async fn fill(&mut self) -> Result<(), ConsumeError> {
        poll_fn(|context| self.poll_fill(context)).await
    }

    fn poll_fill(&mut self, context: &mut Context<'_>) -> Poll<Result<(), ConsumeError>> {
        let request = || self.subscription.request(self.reader.position());
        let reply = std::task::ready!(self.link.poll_reply(context, request))?;
        Poll::Ready(self.accept(reply))
    }

    /// Makes messages ready of what is here already.
    fn prepare(&mut self) -> Result<(), ConsumeError> {
        self.reader.prepare().inspect_err(|_| self.link.distrust_stream())
    }

    fn accept(&mut self, reply: SubscribeResponse) -> Result<(), ConsumeError> {
        // A stream whose bytes are wrong is not read on: the next one starts at the position.
        self.reader.accept(reply).inspect_err(|_| self.link.distrust_stream())
    }
}

impl fmt::Debug for Consumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consumer")
            .field("subscription", &self.subscription)
            .field("position", &self.reader.position())
            .finish_non_exhaustive()
    }
}

impl Subscription {
    fn request(&self, from: Position) -> SubscribeRequest {
        SubscribeRequest {
            topic: self.topic.clone(),
            partition: self.partition,
            from: Some(from.into()),
            max_bytes: self.max_bytes,
            reset_policy: v1::ResetPolicy::from(self.reset_policy).into(),
            encoding: Encoding::RecordBatches.into(),
            missing_topic: v1::MissingTopic::from(self.missing_topic).into(),
            leader_epoch: None,
        }
    }
}

impl ConsumerBuilder {
    /// Where to start. Default: [`Position::Earliest`].
    pub fn from(mut self, position: Position) -> ConsumerBuilder {
        self.from = position;
        self
    }

    /// Reads this partition, counted from 0. Default: 0.
    pub fn partition(mut self, partition: u32) -> ConsumerBuilder {
        self.subscription.partition = Some(partition);
        self
    }

    /// What to do when the position is not readable, at the start or later, when eviction overtakes the
    /// consumer. Default: [`ResetPolicy::Fail`].
    pub fn reset_policy(mut self, policy: ResetPolicy) -> ConsumerBuilder {
        self.subscription.reset_policy = policy;
        self
    }

    /// What to do when the topic is not there. Default: [`MissingTopic::Fail`].
    pub fn missing_topic(mut self, missing: MissingTopic) -> ConsumerBuilder {
        self.subscription.missing_topic = missing;
        self
    }

    /// Soft limit of one reply in bytes of messages, as they are stored; a larger message comes alone.
    /// Default: 1 MiB. A poll returns what is left of a reply, up to about 1 MiB of messages: compressed ones
    /// may be many more than came.
    pub fn max_bytes(mut self, bytes: u32) -> ConsumerBuilder {
        self.subscription.max_bytes = bytes;
        self
    }

    /// How long [`subscribe`](ConsumerBuilder::subscribe) waits for the server to confirm the position.
    /// Default: 10 s.
    pub fn timeout(mut self, timeout: Duration) -> ConsumerBuilder {
        self.timeout = timeout;
        self
    }

    /// Connects, with one attempt, so that a wrong address shows at once, and subscribes. With
    /// [`MissingTopic::Fail`] it waits until the server has confirmed the position: a consumer that starts at
    /// [`Position::Latest`] misses nothing that is written after `subscribe` has returned.
    ///
    /// # Errors
    /// What [`Consumer::poll`] would say; and when the address cannot be read, or nobody answers there.
    pub async fn subscribe(self) -> Result<Consumer, ConsumeError> {
        let address: Address = self.host.parse()?;
        let mut consumer = Consumer {
            subscription: self.subscription,
            link: Link::new(address),
            reader: Reader::new(self.from),
        };
        consumer.link.connect().await?;
        if consumer.subscription.missing_topic == MissingTopic::Fail {
            match time::timeout(self.timeout, consumer.fill()).await {
                Ok(filled) => filled?,
                Err(_elapsed) => {
                    let silent = || consumer.link.unreachable("the server does not answer".into());
                    return Err(consumer.link.trouble().unwrap_or_else(silent));
                }
            }
        }
        Ok(consumer)
    }
}
