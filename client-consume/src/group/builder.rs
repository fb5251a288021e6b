//! [`GroupConsumerBuilder`], the options of a [`GroupConsumer`].

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use minikafka_client_connection::SharedConnection;

use super::{
    RebalanceListener,
    consumer::Options,
    membership::Member,
    rebalance_listener::{Listener, Listening},
};
use crate::{
    Address, ConsumeError, GroupConsumer, Position, ResetPolicy,
    builder::{MAX_BYTES, TIMEOUT},
    link::Link,
    reads::Reads,
};

/// As the server's own default. Long enough for a garbage collection or a busy machine.
const SESSION_TIMEOUT: Duration = Duration::from_secs(45);
/// The server's own time to give up a partition, for those who want that.
const REBALANCE_TIMEOUT: Duration = Duration::from_secs(60);
/// As Kafka's clients have it.
const POLL_INTERVAL_MAX: Duration = Duration::from_secs(300);
/// As Kafka's clients have it.
const COMMIT_INTERVAL: Duration = Duration::from_secs(5);

/// The options of a [`GroupConsumer`]; see [`GroupConsumer::builder`].
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until `join_consumer_group`"]
pub struct GroupConsumerBuilder {
    host: String,
    group: String,
    topics: BTreeSet<Arc<str>>,
    start: Position,
    reset_policy: ResetPolicy,
    commit_interval: Option<Duration>,
    listener: Option<Listener>,
    instance_id: String,
    client_id: String,
    session_timeout: Duration,
    poll_interval_max: Duration,
    max_bytes: u32,
    timeout: Duration,
}

impl GroupConsumerBuilder {
    pub(super) fn new(host: &str, group: &str) -> GroupConsumerBuilder {
        GroupConsumerBuilder {
            host: host.to_owned(),
            group: group.to_owned(),
            topics: BTreeSet::new(),
            start: Position::Latest,
            reset_policy: ResetPolicy::Earliest,
            commit_interval: Some(COMMIT_INTERVAL),
            listener: None,
            instance_id: String::new(),
            client_id: String::new(),
            session_timeout: SESSION_TIMEOUT,
            poll_interval_max: POLL_INTERVAL_MAX,
            max_bytes: MAX_BYTES,
            timeout: TIMEOUT,
        }
    }

    /// Reads this topic, and others that are named. It need not be there yet.
    pub fn subscribe(mut self, topic: &str) -> GroupConsumerBuilder {
        self.topics.insert(topic.into());
        self
    }

    /// Where to start in a partition for which the group has stored no position. Default: [`Position::Latest`]. What that
    /// or a time comes to is stored before the first message is read, so that whoever reads the partition next goes on
    /// from there.
    /// Partitions that come after a member has subscribed, with their topic or by its growing, are read from their first
    /// message in any case; those by which a topic grows that the group has read, also when they come while no member is
    /// there. What a group without members has subscribed to is not remembered beyond that: a topic that is created
    /// meanwhile begins here.
    pub fn start(mut self, position: Position) -> GroupConsumerBuilder {
        self.start = position;
        self
    }

    /// What to do when a stored position is not readable any more. Default: [`ResetPolicy::Earliest`];
    /// [`GroupConsumer::take_jump`] tells.
    pub fn reset_policy(mut self, policy: ResetPolicy) -> GroupConsumerBuilder {
        self.reset_policy = policy;
        self
    }

    /// Commits what was polled at most so often, while it is polled. Default: every 5 s.
    pub fn commit_interval(mut self, interval: Duration) -> GroupConsumerBuilder {
        self.commit_interval = Some(interval);
        self
    }

    /// Commits nothing by itself: [`GroupConsumer::commit`] does. What was polled and not committed when a partition moves
    /// to another member comes again there, unless a [`rebalance_listener`](GroupConsumerBuilder::rebalance_listener)
    /// commits it.
    pub fn commit_by_hand(mut self) -> GroupConsumerBuilder {
        self.commit_interval = None;
        self
    }

    /// Hears of partitions that come and go, and can commit before they go; see [`RebalanceListener`]. Default: nobody.
    /// Members that are made of clones of this builder have it together.
    pub fn rebalance_listener(mut self, listener: impl RebalanceListener) -> GroupConsumerBuilder {
        self.listener = Some(Listener::new(listener));
        self
    }

    /// The member's name for good: when it comes back with it within its session timeout, it gets what it had, and
    /// nobody else's partitions move. Default: none.
    pub fn instance_id(mut self, id: &str) -> GroupConsumerBuilder {
        id.clone_into(&mut self.instance_id);
        self
    }

    /// For those who look at the group. Default: none.
    pub fn client_id(mut self, id: &str) -> GroupConsumerBuilder {
        id.clone_into(&mut self.client_id);
        self
    }

    /// After how much silence the server takes the member for dead. The silence of a process that is gone, not of a
    /// slow one: heartbeats do not wait for polls. Default: 45 s. From a second to half an hour, or zero for the server's
    /// own: with anything else [`join_consumer_group`](GroupConsumerBuilder::join_consumer_group) is refused.
    pub fn session_timeout(mut self, timeout: Duration) -> GroupConsumerBuilder {
        self.session_timeout = timeout;
        self
    }

    /// After how long without a poll the member leaves, so that others get on with its partitions; also how long it may
    /// take to give up a partition, which it does in a poll: the server's rebalance timeout. Default: 5 minutes. From a second to an hour, or zero for the
    /// server's own: with anything else [`join_consumer_group`](GroupConsumerBuilder::join_consumer_group) is refused.
    pub fn poll_interval_max(mut self, interval: Duration) -> GroupConsumerBuilder {
        self.poll_interval_max = interval;
        self
    }

    /// As [`ConsumerBuilder::max_bytes`](crate::ConsumerBuilder::max_bytes). Default: 1 MiB.
    pub fn max_bytes(mut self, bytes: u32) -> GroupConsumerBuilder {
        self.max_bytes = bytes;
        self
    }

    /// How long [`join_consumer_group`](GroupConsumerBuilder::join_consumer_group) and
    /// [`GroupConsumer::commit`] wait for the server. Default: 10 s.
    pub fn timeout(mut self, timeout: Duration) -> GroupConsumerBuilder {
        self.timeout = timeout;
        self
    }

    /// Connects, with one attempt, so that a wrong address shows at once, and joins the group. Which partitions it gets
    /// shows with the polls.
    ///
    /// # Errors
    /// When the address cannot be read, nobody answers there, or the server does not want the member.
    pub async fn join_consumer_group(self) -> Result<GroupConsumer, ConsumeError> {
        let address: Address = self.host.parse()?;
        let connection = SharedConnection::new(address);
        let mut link = Link::new(connection.clone());
        link.connect().await?;
        // The member itself has to know them, too: zero would be over at once.
        let own_if_zero = |time: Duration, own| if time.is_zero() { own } else { time };
        let session_timeout = own_if_zero(self.session_timeout, SESSION_TIMEOUT);
        let poll_interval_max = own_if_zero(self.poll_interval_max, REBALANCE_TIMEOUT);
        let member = Member {
            connection,
            group: self.group.clone(),
            instance_id: self.instance_id,
            client_id: self.client_id,
            session_timeout,
            poll_interval_max,
        };
        let options = Options {
            group: self.group,
            start: self.start,
            commit_interval: self.commit_interval,
            poll_interval_max,
            timeout: self.timeout,
        };
        let reads = Reads::new(link, self.max_bytes, self.reset_policy);
        let listening = Listening::new(self.listener);
        GroupConsumer::join(member, self.topics, reads, listening, options).await
    }
}
