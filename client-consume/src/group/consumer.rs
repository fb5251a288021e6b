//! [`GroupConsumer`], a member of a group.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use minikafka_client_connection::Backoff;
use tokio::time::{self, Interval, MissedTickBehavior, Sleep};

use super::{
    GroupConsumerBuilder,
    board::Standing,
    commit::Outcome,
    commit_handle::CommitHandle,
    commit_trouble::CommitTrouble,
    committed::Positions,
    membership::{Member, Membership},
    rebalance_listener::Listening,
};
use crate::{
    ConsumeError, Jump, Message, Messages, Position, TopicPartition, consumer::FOREVER, link::BoxFuture,
    reads::Reads,
};

/// Reads topics together with the other members of a group: each partition is read by one of them at a time, and the
/// server keeps the positions, so that whoever reads a partition next goes on where the last one stopped.
///
/// # What is committed, and when
///
/// What a poll has returned counts as done when the next poll begins. Unless told otherwise, the consumer commits what is
/// done every 5 s, when a partition moves to another member, and when it leaves. A message that was returned and not
/// committed comes again if its reader dies: at least once. None is skipped. A commit over which the server fails is tried
/// again; after the fifth time in a row a poll says so, and what is read meanwhile is to come again, too.
///
/// Who commits by hand commits what is polled before a partition moves with a
/// [`RebalanceListener`](crate::RebalanceListener); without one, it comes again to the member that gets the partition.
///
/// # What it does by itself
///
/// It shows that it lives however long the caller takes between two polls, up to
/// [`poll_interval_max`](GroupConsumerBuilder::poll_interval_max). It comes back when connections break or the server is
/// restarted. A partition that the server's disk has lost does not stop it: a poll says so once, and the member keeps the
/// partition, asks for it now and then, and reads the others. When the server has taken it for dead meanwhile, it joins
/// anew, and the poll says so once with [`ConsumeError::MembershipLost`]. What the server refuses for good, as a topic with
/// a bad name, each poll says, and joins again: it is over once what was refused is mended.
///
/// Dropped, it says nothing: the group waits for its session timeout. [`leave_consumer_group`] is better.
///
/// [`leave_consumer_group`]: GroupConsumer::leave_consumer_group
pub struct GroupConsumer {
    pub(super) options: Options,
    pub(super) topics: BTreeSet<Arc<str>>,
    pub(super) reads: Reads,
    pub(super) membership: Membership,
    /// As of the last look.
    pub(super) standing: Standing,
    pub(super) seen: u64,
    pub(super) incarnation: u64,
    /// Of the assignment that was answered last.
    pub(super) serial: u64,
    /// What it reads.
    pub(super) owned: BTreeMap<TopicPartition, Held>,
    /// Those of them that may not be read before their start is stored.
    pub(super) starting: BTreeSet<TopicPartition>,
    /// What was taken from it and is not committed yet.
    pub(super) revoked: BTreeMap<TopicPartition, Revoked>,
    /// Who hears of what comes and goes.
    pub(super) listening: Listening,
    /// What it has given up since it joined. When such a partition comes back, the assignment may have been made before
    /// the commit of its position, so the server is asked for that.
    pub(super) given_up: BTreeSet<TopicPartition>,
    /// For which assignment it is asked.
    pub(super) asking: Option<(u64, BoxFuture<Result<Positions, ConsumeError>>)>,
    /// The answer, and for which assignment.
    pub(super) asked: Option<(u64, Positions)>,
    pub(super) committing: Option<BoxFuture<Outcome>>,
    /// Until the next automatic commit.
    pub(super) due: Pin<Box<Sleep>>,
    /// Until a commit is tried again.
    pub(super) pause: Option<Pin<Box<Sleep>>>,
    pub(super) backoff: Backoff,
    pub(super) commit_trouble: CommitTrouble,
    /// Wakes a poll that waits, so that it is seen to be polled.
    pub(super) awake: Interval,
}

/// A partition that the member reads.
#[derive(Clone, Copy, Debug)]
pub(super) struct Held {
    /// The position that is stored for it.
    pub(super) stored: Option<u64>,
    /// The member's epoch when it got it.
    pub(super) epoch: u64,
}

/// A partition that the member reads no more, and still has until its position is committed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Revoked {
    /// The position to commit.
    pub(super) number: u64,
    /// As in [`Held`].
    pub(super) epoch: u64,
    /// Nothing of it was read: it is where to start.
    pub(super) is_start: bool,
}

/// What stays the same.
#[derive(Clone, Debug)]
pub(super) struct Options {
    pub(super) group: String,
    pub(super) start: Position,
    pub(super) commit_interval: Option<Duration>,
    pub(super) poll_interval_max: Duration,
    pub(super) timeout: Duration,
}

impl GroupConsumer {
    /// The options of a member of `group`. `host` is as in [`Consumer::subscribe`](crate::Consumer::subscribe).
    pub fn builder(host: &str, group: &str) -> GroupConsumerBuilder {
        GroupConsumerBuilder::new(host, group)
    }

    pub(super) async fn join(
        member: Member,
        topics: BTreeSet<Arc<str>>,
        reads: Reads,
        listening: Listening,
        options: Options,
    ) -> Result<GroupConsumer, ConsumeError> {
        let membership = Membership::start(member, topics.iter().cloned().collect());
        let mut awake = time::interval((options.poll_interval_max / 3).max(Duration::from_millis(1)));
        awake.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let due = Box::pin(time::sleep(options.commit_interval.unwrap_or(FOREVER)));
        let timeout = options.timeout;
        let mut consumer = GroupConsumer {
            options,
            topics,
            reads,
            membership,
            standing: Standing::default(),
            seen: 0,
            incarnation: 1,
            serial: 0,
            owned: BTreeMap::new(),
            starting: BTreeSet::new(),
            revoked: BTreeMap::new(),
            listening,
            given_up: BTreeSet::new(),
            asking: None,
            asked: None,
            committing: None,
            due,
            pause: None,
            backoff: Backoff::new(),
            commit_trouble: CommitTrouble::default(),
            awake,
        };
        let joined = poll_fn(|context| {
            consumer.poll_standing(context)?;
            if consumer.standing.member_id.is_empty() { Poll::Pending } else { Poll::Ready(Ok(())) }
        });
        match time::timeout(timeout, joined).await {
            Ok(joined) => joined.map(|()| consumer),
            Err(_elapsed) => {
                let trouble = consumer.trouble();
                Err(trouble.unwrap_or_else(|| consumer.unreachable("the server does not answer")))
            }
        }
    }

    /// The next messages, at least one, all of one partition; or none when nothing came within `wait`, which may be
    /// because others read all partitions. What earlier polls have returned counts as done.
    ///
    /// Cancel-safe: a call that is dropped before it returns has taken nothing.
    ///
    /// # Errors
    /// As [`Consumer::poll`](crate::Consumer::poll); [`ConsumeError::MembershipLost`], once, when the member has joined
    /// anew; [`ConsumeError::NotCommitted`], now and then while commits fail; and what the server says about a commit or
    /// about joining.
    pub async fn poll(&mut self, wait: Duration) -> Result<Vec<Message>, ConsumeError> {
        let polled = time::timeout(wait.min(FOREVER), poll_fn(|context| self.poll_messages(context)));
        match polled.await {
            Ok(messages) => messages,
            Err(_elapsed) => self.trouble().map_or(Ok(Vec::new()), Err),
        }
    }

    /// Looks after the membership without handing out messages, until it is dropped: takes partitions on and gives them
    /// up, commits what is due, and counts as polling. For those who pause between two polls for longer than the other
    /// members should wait. What earlier polls have returned counts as done.
    ///
    /// Cancel-safe. Returns what a poll would have said; it may be called again then.
    pub async fn attend(&mut self) -> ConsumeError {
        poll_fn(|context| self.poll_attend(context)).await
    }

    /// [`attend`](GroupConsumer::attend)s until the member reads partitions of every topic that it has subscribed to, and
    /// knows where in each that is not lost: nothing that is written from then on is missed, even from
    /// [`Position::Latest`] on. Returns `false` when it has not come to that within `wait`, which may be because others read all partitions.
    ///
    /// # Errors
    /// As [`poll`](GroupConsumer::poll).
    pub async fn settle(&mut self, wait: Duration) -> Result<bool, ConsumeError> {
        let settled = poll_fn(|context| match self.poll_attend(context) {
            Poll::Ready(error) => Poll::Ready(Err(error)),
            Poll::Pending if self.is_settled() => Poll::Ready(Ok(true)),
            Poll::Pending => Poll::Pending,
        });
        time::timeout(wait.min(FOREVER), settled).await.unwrap_or(Ok(false))
    }

    /// The messages as a stream. What it has yielded counts as done when it is asked for the next one. It waits without
    /// end, yields what goes wrong, and ends after an error that polling again will not heal.
    pub fn stream(&mut self) -> Messages<&mut GroupConsumer> {
        Messages::new(self)
    }

    /// As [`stream`](GroupConsumer::stream), with the consumer inside.
    pub fn into_stream(self) -> Messages<GroupConsumer> {
        Messages::new(self)
    }

    /// Reads this topic, too.
    pub fn subscribe(&mut self, topic: &str) {
        self.topics.insert(topic.into());
        // What stands assigned may hold some of it, and the server has no reason to say so again: when it hears the last
        // word only, nothing has changed for it. What was asked did not count this topic in.
        self.serial = 0;
        self.forget_answers();
        self.say_topics();
    }

    /// Reads this topic no more. What was polled of it is committed with the next poll, in which the listener hears of it.
    pub fn unsubscribe(&mut self, topic: &str) {
        self.topics.remove(topic);
        let gone: Vec<_> = self.owned.keys().filter(|of| &*of.topic == topic).cloned().collect();
        gone.iter().for_each(|of| self.give_up(of));
        self.say_topics();
    }

    /// Commits what polls have returned, unless that is done by hand, has the listener give up all partitions, and leaves:
    /// the others get them at once.
    ///
    /// # Errors
    /// When the positions are not stored; it has left all the same.
    pub async fn leave_consumer_group(mut self) -> Result<(), ConsumeError> {
        // However long ago the last poll was: there is time to commit.
        self.membership.board.note_polled();
        let is_automatic = self.options.commit_interval.is_some();
        let positions = self.last_positions(is_automatic);
        let committed = self.commit_positions(positions).await;
        match &committed {
            Err(ConsumeError::MembershipLost { .. }) => self.forget(),
            _ => self.give_up_all().await,
        }
        self.membership.leave().await;
        committed
    }

    /// As [`leave_consumer_group`](GroupConsumer::leave_consumer_group), and commits nothing that polls have returned, for
    /// those that could not do what they wanted with it: it comes again, to the others. To the listener all partitions are
    /// lost, so that it does not commit either.
    ///
    /// # Errors
    /// When the server does not hear of where partitions were to start; it has left all the same.
    pub async fn leave_without_commit(mut self) -> Result<(), ConsumeError> {
        self.membership.board.note_polled();
        let positions = self.last_positions(false);
        let committed = self.commit_positions(positions).await;
        self.forget();
        self.membership.leave().await;
        committed
    }

    /// The partitions that it has: those that it reads, and those that it is giving up, which it has until their
    /// positions are committed and the listener is done.
    pub fn partitions(&self) -> impl Iterator<Item = &TopicPartition> {
        let leaving = self.listening.leaving().map(|(of, _)| of);
        let leaving = leaving.filter(|of| !self.revoked.contains_key(*of));
        self.owned.keys().chain(self.revoked.keys()).chain(leaving)
    }

    /// Those that it reads and the server's disk has lost: see
    /// [`Consumer::lost_partitions`](crate::Consumer::lost_partitions).
    pub fn lost_partitions(&self) -> impl Iterator<Item = &TopicPartition> {
        self.reads.lost_partitions()
    }

    /// The member's epoch when it got a partition that it has: rises when it has lost the partition and got it back.
    pub fn epoch(&self, topic: &str, partition: u32) -> Option<u64> {
        let of = TopicPartition::new(topic, partition);
        let revoked = || self.revoked.get(&of).map(|revoked| revoked.epoch);
        let leaving = || self.listening.leaving().find(|(left, _)| **left == of).map(|(_, left)| left.epoch);
        self.owned.get(&of).map(|held| held.epoch).or_else(revoked).or_else(leaving)
    }

    /// Number of the next message to read in a partition; `None` when it does not read it, or the server has not said
    /// yet where it starts.
    pub fn position(&self, topic: &str, partition: u32) -> Option<u64> {
        self.reads.position(&TopicPartition::new(topic, partition))
    }

    /// The position that is stored for a partition that it reads: what is before it does not come again. `None` when
    /// nothing is stored for it yet, or this member does not read it.
    pub fn last_committed(&self, topic: &str, partition: u32) -> Option<u64> {
        self.owned.get(&TopicPartition::new(topic, partition))?.stored
    }

    /// Goes on at `position` in a partition, with the next poll.
    ///
    /// # Errors
    /// [`ConsumeError::NotFound`] when this member does not read the partition.
    pub fn seek(&mut self, topic: &str, partition: u32, position: Position) -> Result<(), ConsumeError> {
        let of = TopicPartition::new(topic, partition);
        if !self.reads.seek(&of, position) {
            let message = format!("this member of group \"{}\" does not read {of}", self.options.group);
            return Err(ConsumeError::NotFound { of: Some(of), message });
        }
        Ok(())
    }

    /// The member's name in the group; empty while it has none.
    pub fn member_id(&self) -> &str {
        &self.standing.member_id
    }

    /// As [`Consumer::take_jump`](crate::Consumer::take_jump).
    pub fn take_jump(&mut self) -> Option<Jump> {
        self.reads.take_jump()
    }

    fn poll_messages(&mut self, context: &mut Context<'_>) -> Poll<Result<Vec<Message>, ConsumeError>> {
        loop {
            ready!(self.poll_readable(context))?;
            let messages = self.reads.take_ready()?;
            if !messages.is_empty() {
                return Poll::Ready(Ok(messages));
            }
        }
    }

    fn poll_attend(&mut self, context: &mut Context<'_>) -> Poll<ConsumeError> {
        match self.poll_readable(context) {
            Poll::Ready(Err(error)) => Poll::Ready(error),
            // Messages wait for the next poll. The membership and the commits have been looked at, and wake it.
            Poll::Ready(Ok(())) | Poll::Pending => Poll::Pending,
        }
    }

    fn is_settled(&self) -> bool {
        let is_read = |topic: &Arc<str>| self.owned.keys().any(|of| of.topic == *topic);
        self.topics.iter().all(is_read)
            && self.starting.iter().all(|of| self.reads.is_lost(of))
            && self.revoked.is_empty()
            && !self.listening.is_telling()
            && !self.listening.has_untold()
            // With messages at hand, no more replies are looked at.
            && (self.reads.has_messages() || self.owned.keys().all(|of| self.has_start(of)))
    }

    /// Whether it knows where it reads a partition, or that it cannot.
    fn has_start(&self, of: &TopicPartition) -> bool {
        self.reads.position(of).is_some() || self.reads.is_lost(of)
    }

    /// The next message of a stream.
    pub(crate) fn poll_message(&mut self, context: &mut Context<'_>) -> Poll<Result<Message, ConsumeError>> {
        loop {
            ready!(self.poll_readable(context))?;
            if let Some(message) = self.reads.take_one()? {
                return Poll::Ready(Ok(message));
            }
        }
    }

    fn say_topics(&self) {
        let topics = self.topics.iter().cloned().collect();
        self.membership.wish(|wish| wish.topics = topics);
    }

    fn trouble(&self) -> Option<ConsumeError> {
        let of_group = self.standing.trouble.as_deref().map(|cause| self.unreachable(cause));
        of_group.or_else(|| self.reads.link.trouble())
    }

    pub(super) fn commit_handle(&self) -> CommitHandle {
        CommitHandle {
            board: self.membership.board.clone(),
            wishes: self.membership.wishes.clone(),
            incarnation: self.incarnation,
            group: self.options.group.clone(),
            address: self.reads.link.address().clone(),
            timeout: self.options.timeout,
        }
    }

    pub(super) fn unreachable(&self, cause: &str) -> ConsumeError {
        self.reads.link.unreachable(cause.into())
    }
}

impl fmt::Debug for GroupConsumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GroupConsumer")
            .field("options", &self.options)
            .field("member_id", &self.standing.member_id)
            .field("owned", &self.owned)
            .finish_non_exhaustive()
    }
}
