//! [`Member`], what the server knows of one.

use std::collections::HashSet;

use minikafka_storage::Millis;
use tokio::sync::oneshot;

use super::{
    api::{ClassicAssignment, ClassicJoin, ClassicJoined, ClassicProtocol, ClassicSynced},
    limits::MEMBER_BYTES,
};
use crate::group::{TopicPartition, core::GroupError};

/// What comes of something that a member asks for.
pub(super) type Outcome<T> = Result<T, GroupError>;
/// Where it will come from. Closed without an answer: the group has ended.
pub(super) type Waiter<T> = oneshot::Receiver<Outcome<T>>;
/// Where it is to go.
type Answer<T> = oneshot::Sender<Outcome<T>>;

/// A member of a group.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) instance_id: Option<String>,
    pub(super) client_id: String,
    pub(super) client_address: String,
    pub(super) session_timeout_ms: Millis,
    pub(super) rebalance_timeout_ms: Millis,
    pub(super) protocols: Vec<ClassicProtocol>,
    pub(super) topics: Vec<String>,
    pub(super) assignment: ClassicAssignment,
    pub(super) heard_at: Millis,
    /// Its commits that are under way.
    pub(super) commits: u32,
    /// It has joined the next generation, and waits for it to begin.
    pub(super) joining: Option<Answer<ClassicJoined>>,
    /// It waits for the leader.
    pub(super) syncing: Option<Answer<ClassicSynced>>,
    /// Nobody waits any more for what it waits for, and that was noticed.
    has_hung_up: bool,
    /// It was told of the generation, and has not asked for its assignment.
    pub(super) owes_sync: bool,
}

/// A waiter that has its answer.
pub(super) fn answered<T>(value: T) -> Waiter<T> {
    let (answer, waiter) = oneshot::channel();
    let _ = answer.send(Ok(value));
    waiter
}

/// Answers, if anybody waits.
pub(super) fn tell<T>(answer: &mut Option<Answer<T>>, outcome: Outcome<T>) {
    if let Some(answer) = answer.take() {
        // Whoever has gone hears nothing.
        let _ = answer.send(outcome);
    }
}

impl Member {
    pub(super) fn new(join: ClassicJoin, now: Millis) -> Member {
        Member {
            instance_id: join.instance_id,
            client_id: join.client_id,
            client_address: join.client_address,
            session_timeout_ms: join.session_timeout.as_millis() as Millis,
            rebalance_timeout_ms: join.rebalance_timeout.as_millis() as Millis,
            protocols: join.protocols,
            topics: join.topics,
            assignment: ClassicAssignment::default(),
            heard_at: now,
            commits: 0,
            joining: None,
            syncing: None,
            has_hung_up: false,
            owes_sync: false,
        }
    }

    /// It says anew what it wants. What it reads stays.
    pub(super) fn update(&mut self, join: ClassicJoin, now: Millis) {
        let (assignment, owes_sync, commits) =
            (std::mem::take(&mut self.assignment), self.owes_sync, self.commits);
        *self = Member { assignment, owes_sync, commits, ..Member::new(join, now) };
    }

    /// Whether somebody who joins in its place wants to read the same topics, in whatever order. What reads none that could
    /// be told, as Kafka Connect does, reads as before.
    pub(super) fn reads_as(&self, join: &ClassicJoin) -> bool {
        let (own, others): (HashSet<_>, HashSet<_>) =
            (self.topics.iter().collect(), join.topics.iter().collect());
        own == others
    }

    pub(super) fn wait_for_join(&mut self) -> Waiter<ClassicJoined> {
        let (answer, waiter) = oneshot::channel();
        (self.joining, self.has_hung_up) = (Some(answer), false);
        waiter
    }

    pub(super) fn wait_for_sync(&mut self) -> Waiter<ClassicSynced> {
        let (answer, waiter) = oneshot::channel();
        (self.syncing, self.has_hung_up) = (Some(answer), false);
        waiter
    }

    /// Tells it, if it waits, that nothing comes of it.
    pub(super) fn refuse(&mut self, why: &GroupError) {
        tell(&mut self.joining, Err(why.clone()));
        tell(&mut self.syncing, Err(why.clone()));
    }

    /// Whether somebody is there who waits for an answer.
    pub(super) fn waits(&self) -> bool {
        self.commits > 0
            || self.joining.as_ref().is_some_and(|answer| !answer.is_closed())
            || self.syncing.as_ref().is_some_and(|answer| !answer.is_closed())
    }

    /// If its client has hung up just now, it was heard until now.
    pub(super) fn notice_hang_up(&mut self, now: Millis) {
        let waited = self.joining.is_some() || self.syncing.is_some();
        if waited && !self.waits() && !self.has_hung_up {
            (self.heard_at, self.has_hung_up) = (now, true);
        }
    }

    /// When it is taken for dead, unless it is heard or waits.
    pub(super) fn deadline(&self) -> Millis {
        self.heard_at.saturating_add(self.session_timeout_ms)
    }

    fn protocol_names(&self) -> HashSet<&str> {
        self.protocols.iter().map(|of| of.name.as_str()).collect()
    }

    /// What it says for a protocol.
    pub(super) fn metadata(&self, protocol: &str) -> bytes::Bytes {
        let of = self.protocols.iter().find(|of| of.name == protocol);
        of.map(|of| of.metadata.clone()).unwrap_or_default()
    }

    /// Bytes of memory that it takes, about.
    pub(super) fn bytes(&self) -> usize {
        let names = self.client_id.len() + self.client_address.len();
        MEMBER_BYTES + names + of_protocols(&self.protocols, &self.topics) + of_assignment(&self.assignment)
    }
}

/// The protocols that all of these members have. They may name very many: each is looked at once.
pub(super) fn shared_protocols<'a>(mut members: impl Iterator<Item = &'a Member>) -> HashSet<&'a str> {
    let first = members.next().map(Member::protocol_names).unwrap_or_default();
    members.fold(first, |shared, member| &shared & &member.protocol_names())
}

/// Bytes of memory that a newcomer will take, about.
pub(super) fn of_newcomer(join: &ClassicJoin) -> usize {
    MEMBER_BYTES + of_protocols(&join.protocols, &join.topics)
}

pub(super) fn of_assignment(assignment: &ClassicAssignment) -> usize {
    let partition = |of: &TopicPartition| of.topic.len() + size_of::<TopicPartition>();
    assignment.bytes.len() + assignment.partitions.iter().map(partition).sum::<usize>()
}

fn of_protocols(protocols: &[ClassicProtocol], topics: &[String]) -> usize {
    let protocol = |of: &ClassicProtocol| of.name.len() + of.metadata.len() + size_of::<ClassicProtocol>();
    let topic = |topic: &String| topic.len() + size_of::<String>();
    protocols.iter().map(protocol).sum::<usize>() + topics.iter().map(topic).sum::<usize>()
}
