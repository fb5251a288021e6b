//! [`ConsumerBuilder`], the options of a [`Consumer`].

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use minikafka_client_connection::SharedConnection;
use tokio::time;

use crate::{
    Address, ConsumeError, Consumer, MissingTopic, Position, ResetPolicy, TopicPartition,
    discovery::{Discovery, INTERVAL, describe, ranges},
    error::{Verdict, judge},
    link::Link,
    reads::Reads,
};

/// Large enough that a reply costs little beside its bytes.
pub(crate) const MAX_BYTES: u32 = 1 << 20;
/// How long a consumer waits at first for the server's word.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(10);

/// The options of a [`Consumer`]; see [`Consumer::builder`].
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until `subscribe`"]
pub struct ConsumerBuilder {
    host: String,
    /// In the order in which they were named, each with the partitions that were; with none, all.
    topics: Vec<(Arc<str>, Vec<u32>)>,
    from: Position,
    reset_policy: ResetPolicy,
    missing_topic: MissingTopic,
    max_bytes: u32,
    refresh_interval: Duration,
    timeout: Duration,
}

impl ConsumerBuilder {
    pub(crate) fn new(host: &str, topic: &str) -> ConsumerBuilder {
        ConsumerBuilder {
            host: host.to_owned(),
            topics: vec![(topic.into(), Vec::new())],
            from: Position::default(),
            reset_policy: ResetPolicy::default(),
            missing_topic: MissingTopic::default(),
            max_bytes: MAX_BYTES,
            refresh_interval: INTERVAL,
            timeout: TIMEOUT,
        }
    }

    /// Reads this topic, too.
    pub fn topic(mut self, topic: &str) -> ConsumerBuilder {
        self.topics.push((topic.into(), Vec::new()));
        self
    }

    /// Reads only this partition, counted from 0, of the topic that was named last, and others that are named for it.
    /// Default: all partitions, also those that it gets later.
    pub fn partition(mut self, partition: u32) -> ConsumerBuilder {
        if let Some((_, partitions)) = self.topics.last_mut() {
            partitions.push(partition);
        }
        self
    }

    /// Where to start, in each partition. What is created later is read from its start. Default:
    /// [`Position::Earliest`].
    pub fn from(mut self, position: Position) -> ConsumerBuilder {
        self.from = position;
        self
    }

    /// What to do when the position is not readable, at the start or later, when eviction overtakes the
    /// consumer. Default: [`ResetPolicy::Fail`].
    pub fn reset_policy(mut self, policy: ResetPolicy) -> ConsumerBuilder {
        self.reset_policy = policy;
        self
    }

    /// What to do when a topic is not there. Default: [`MissingTopic::Fail`].
    pub fn missing_topic(mut self, missing: MissingTopic) -> ConsumerBuilder {
        self.missing_topic = missing;
        self
    }

    /// Soft limit of one reply in bytes of messages, as they are stored; a larger message comes alone.
    /// Default: 1 MiB. A poll returns what is left of a reply, up to about 1 MiB of messages: compressed ones
    /// may be many more than came.
    pub fn max_bytes(mut self, bytes: u32) -> ConsumerBuilder {
        self.max_bytes = bytes;
        self
    }

    /// How often to look whether topics have got more partitions. Default: every 10 s.
    pub fn refresh_interval(mut self, interval: Duration) -> ConsumerBuilder {
        self.refresh_interval = interval;
        self
    }

    /// How long [`subscribe`](ConsumerBuilder::subscribe) waits for the server to confirm the positions.
    /// Default: 10 s.
    pub fn timeout(mut self, timeout: Duration) -> ConsumerBuilder {
        self.timeout = timeout;
        self
    }

    /// Connects, with one attempt, so that a wrong address shows at once, and subscribes. It waits until the server
    /// has confirmed the positions, or there are messages: a consumer that starts at [`Position::Latest`] misses
    /// nothing that is written after `subscribe` has returned, but of [lost partitions](crate#lost-partitions), which are
    /// asked for later, as are topics that are not there.
    ///
    /// # Errors
    /// What [`Consumer::poll`] would say; and when the address cannot be read, or nobody answers there.
    /// [`ConsumeError::PartitionLost`] only when all partitions are lost: else the first poll says it.
    pub async fn subscribe(self) -> Result<Consumer, ConsumeError> {
        let address: Address = self.host.parse()?;
        let mut link = Link::new(SharedConnection::new(address));
        link.connect().await?;
        let timeout = self.timeout;
        let reads = Reads::new(link, self.max_bytes, self.reset_policy);
        let wanted: BTreeMap<_, _> = self.topics.iter().cloned().collect();
        let mut consumer =
            Consumer { from: self.from, wanted, reads, discovery: Discovery::new(self.refresh_interval) };
        let subscribed = time::timeout(timeout, async {
            self.find(&mut consumer).await?;
            let mut lost = Vec::new();
            while !consumer.reads.is_confirmed() && !consumer.reads.has_messages() {
                match consumer.fill().await {
                    Err(ConsumeError::PartitionLost { of, message }) if !consumer.reads.are_all_lost() => {
                        lost.push((of, message));
                    }
                    filled => filled?,
                }
            }
            // The first polls say it.
            lost.into_iter().for_each(|(of, message)| consumer.reads.say_lost_later(of, message));
            Ok(())
        });
        match subscribed.await {
            Ok(subscribed) => subscribed.map(|()| consumer),
            Err(_elapsed) => {
                let silent = || consumer.reads.link.unreachable("the server does not answer".into());
                Err(consumer.reads.link.trouble().unwrap_or_else(silent))
            }
        }
    }

    /// Finds the partitions that there are.
    async fn find(&self, consumer: &mut Consumer) -> Result<(), ConsumeError> {
        for (topic, partitions) in &self.topics {
            let Some(mut client) = consumer.reads.client().cloned() else { return Ok(()) };
            let described = match describe(&mut client, topic).await {
                Ok(described) => described,
                Err(status) => match judge(&status) {
                    Verdict::Fail(ConsumeError::NotFound { .. })
                        if self.missing_topic == MissingTopic::Wait =>
                    {
                        consumer.discovery.add(topic.clone(), None);
                        continue;
                    }
                    Verdict::Fail(error) => return Err(error),
                    Verdict::TryAgain(cause) => return Err(consumer.reads.link.unreachable(cause)),
                },
            };
            if partitions.is_empty() {
                consumer.discovery.add(topic.clone(), Some(described.partitions.len() as u32));
            }
            let mut ranges: BTreeMap<_, _> = ranges(&described).collect();
            let numbers =
                if partitions.is_empty() { ranges.keys().copied().collect() } else { partitions.clone() };
            for number in numbers {
                let range = ranges.remove(&number).flatten();
                let position = match (self.from, &range) {
                    // As of now, whenever the server begins to read.
                    (Position::Latest, Some(range)) => Position::Number(range.end),
                    (from, _) => from,
                };
                consumer.reads.add(TopicPartition::new(topic.clone(), number), position, range);
            }
        }
        Ok(())
    }
}
