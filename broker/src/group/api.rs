//! What doors say about groups, and are told. Offsets count from 0, as everywhere in here.

use std::time::Duration;

use minikafka_record::Offset;
use minikafka_storage::{Millis, TopicId};

use super::{
    classic::{ClassicMember, ClassicSummary},
    core::GroupState,
};

/// A partition of a topic.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPartition {
    /// Name of the topic.
    pub topic: String,
    /// Its number, from 0.
    pub partition: u32,
}

/// Who wants to join which group, and how.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupJoin {
    /// Name of the group.
    pub group: String,
    /// Topics to read. They need not be there yet.
    pub topics: Vec<String>,
    /// Its name for good; empty: none.
    pub instance_id: String,
    /// For those who look at the group; empty: none.
    pub client_id: String,
    /// Where it comes from.
    pub client_address: String,
    /// Silence after which it is taken for dead; `None`: the default.
    pub session_timeout: Option<Duration>,
    /// Time that it may take to give up a partition; `None`: the default.
    pub rebalance_timeout: Option<Duration>,
    /// When it is a member already, and comes back.
    pub returning: Option<ReturningMember>,
}

/// A member that comes back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReturningMember {
    /// Its name in the group.
    pub member_id: String,
    /// The epoch of the newest assignment that it knows.
    pub epoch: u64,
    /// What it still reads.
    pub owned: Vec<TopicPartition>,
}

/// What a member that has no stream says from time to time. What it leaves out is as it was.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemberHeartbeat {
    /// Name of the group.
    pub group: String,
    /// Its name in the group, which it may give itself; empty: it is to be given one.
    pub member_id: String,
    /// The epoch of the newest assignment that it knows; `None`: it joins, and reads nothing.
    pub epoch: Option<u64>,
    /// Its name for good; empty: none, or none that it says again.
    pub instance_id: String,
    /// For those who look at the group; empty: none.
    pub client_id: String,
    /// Where it comes from.
    pub client_address: String,
    /// Time that it may take to give up a partition.
    pub rebalance_timeout: Option<Duration>,
    /// Topics to read. They need not be there yet.
    pub topics: Option<Vec<String>>,
    /// A regular expression: it wants to read the topics whose whole names match it, too. Empty: none.
    pub pattern: Option<String>,
    /// All that it reads, by the ids of topics.
    pub owned: Option<Vec<(TopicId, u32)>>,
}

/// What a member is told that has no stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeartbeatReply {
    /// Its name in the group.
    pub member_id: String,
    /// Its epoch.
    pub epoch: u64,
    /// When to say something again.
    pub interval: Duration,
    /// All that it is to read, ordered, with the ids of the topics; `None` when it knows.
    pub partitions: Option<Vec<(TopicId, TopicPartition)>>,
}

/// How a member goes that has no stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leave {
    /// It is a member no more, and what it had is free at once.
    ForGood,
    /// It reads nothing any more, and comes back under its instance id before its session timeout.
    ForNow,
}

/// What a member is to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// The member's epoch.
    pub epoch: u64,
    /// All of it, ordered, each with the offset to read next if the group has stored one.
    pub partitions: Vec<(TopicPartition, Option<Offset>)>,
}

/// Who stores positions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PositionsBy {
    /// A member, with its epoch.
    Member {
        /// Its name in the group.
        member_id: String,
        /// As of its newest assignment.
        epoch: u64,
    },
    /// A classic member of the group.
    Classic(ClassicMember),
    /// Nobody of the group, which must have no members.
    Outsider,
}

/// A position to store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PositionToStore {
    /// Of which partition.
    pub of: TopicPartition,
    /// What to read next.
    pub offset: Offset,
    /// What to remember with it.
    pub metadata: String,
}

/// A position that is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredPosition {
    /// What to read next.
    pub offset: Offset,
    /// What was to be remembered with it.
    pub metadata: String,
    /// When it was stored.
    pub committed_at: Millis,
}

/// A group, in short.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupSummary {
    /// Name.
    pub name: String,
    /// How it is.
    pub state: GroupState,
    /// Number of members.
    pub members: usize,
    /// More, if they are classic ones.
    pub classic: Option<ClassicSummary>,
}

/// A group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupDescription {
    /// The short of it.
    pub summary: GroupSummary,
    /// Rises whenever members or what they subscribe to change; the generation of classic members.
    pub epoch: u64,
    /// Its members, by name.
    pub members: Vec<MemberDescription>,
    /// What it has stored or is assigned, ordered.
    pub positions: Vec<PartitionLag>,
}

/// Where a part of a description begins: members come first, by name, and then positions, ordered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupPlace {
    /// With this member, or the next one; then all positions.
    Member(String),
    /// With this position, or the next one.
    Position(TopicPartition),
}

/// A member of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberDescription {
    /// Its name in the group.
    pub member_id: String,
    /// Its name for good; empty: none.
    pub instance_id: String,
    /// As it has said.
    pub client_id: String,
    /// Where it comes from; `None` while its stream is broken.
    pub client_address: Option<String>,
    /// Its epoch; a classic member's generation.
    pub epoch: u64,
    /// What it subscribes to.
    pub topics: Vec<String>,
    /// It subscribes to the topics whose names match this; empty: none.
    pub pattern: String,
    /// What it holds.
    pub owned: Vec<TopicPartition>,
    /// What it is to hold.
    pub target: Vec<TopicPartition>,
}

/// How far a group has come in a partition, and how far it is behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionLag {
    /// Which one.
    pub of: TopicPartition,
    /// Its log is missing or damaged: nobody knows its end and the lag, which are zero here.
    pub is_lost: bool,
    /// First offset that cannot be read yet.
    pub end: Offset,
    /// What is stored, if anything is.
    pub stored: Option<StoredPosition>,
    /// How far it is behind; from the first message on that is there, if no position is stored.
    pub lag: Lag,
    /// The member that holds it, if one does.
    pub member_id: Option<String>,
}

/// How far a group is behind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lag {
    /// Messages that are there and not read.
    pub messages: u64,
    /// Age of the oldest of them; zero when there is none.
    pub age: Duration,
}

/// How far a group is behind, over all partitions that it has a position of, or holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupLag {
    /// Name of the group.
    pub group: String,
    /// Messages that are there and not read.
    pub messages: u64,
    /// Age of the oldest of them, zero when there is none; `None` when there was no time to find out, or a log cannot
    /// be read.
    pub age: Option<Duration>,
}

/// Where to move positions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SeekTo {
    /// The oldest message kept.
    Earliest,
    /// The end.
    Latest,
    /// An offset, as far as it is there: before the start it means that, behind the end that.
    Offset(Offset),
    /// The first message with this timestamp or a later one; the end when there is none.
    Timestamp(Millis),
}

/// Whether to move positions, or to show where they would go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SeekMode {
    /// Do it.
    Move,
    /// Only show.
    Preview,
}

/// A position that was moved, or would be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SoughtPosition {
    /// Of which partition.
    pub of: TopicPartition,
    /// Where it was, if it was stored.
    pub from: Option<Offset>,
    /// Where it is.
    pub to: Offset,
}

impl GroupPlace {
    /// Before everything.
    pub const START: GroupPlace = GroupPlace::Member(String::new());

    /// The member that it is at; `None` behind all members.
    pub(super) fn first_member(&self) -> Option<&str> {
        match self {
            GroupPlace::Member(first) => Some(first),
            GroupPlace::Position(_) => None,
        }
    }

    /// Whether a position is behind it, or there.
    pub(super) fn is_before(&self, position: &TopicPartition) -> bool {
        match self {
            GroupPlace::Member(_) => true,
            GroupPlace::Position(first) => position >= first,
        }
    }
}

impl TopicPartition {
    pub(super) fn new(topic: &str, partition: u32) -> TopicPartition {
        TopicPartition { topic: topic.to_owned(), partition }
    }
}
