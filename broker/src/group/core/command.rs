//! What happens to groups: [`Command`] and [`Applied`].

use std::collections::BTreeSet;

use minikafka_record::Offset;
use minikafka_storage::{Millis, TopicId};

use super::{PartitionMap, PartitionSet};

/// Something that happens to groups. One record of the log of groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    /// A member joins, or comes back.
    Join(Join),
    /// A member wants to read other topics.
    Subscribe(Subscribe),
    /// A member says what it reads, in answer to the assignment of this epoch.
    Confirm { group: String, member_id: String, epoch: u64, owned: PartitionSet },
    /// A member is one no more.
    Remove { group: String, member_id: String, because: Because },
    /// Positions are stored.
    Commit(Commit),
    /// Positions are let go of.
    DropPositions { group: String, of: PartitionSet },
    /// Members of Kafka's classic protocol have the group from now on: see `occupied`.
    Occupy { group: String },
    /// The last of them is gone. `occupation` is the one that this is about, `generation` the last that they had.
    Vacate { group: String, occupation: u64, generation: u64 },
    /// A group is deleted.
    Delete { group: String },
    /// The positions of a group that has been empty since `empty_since` are old enough to go.
    Forget { group: String, empty_since: Millis },
    /// Topics have come, have grown, or are others now.
    SetTopics { views: Vec<NamedView> },
    /// Topics are gone, or of no interest to any group.
    DropTopics { topics: Vec<(String, TopicId)> },
}

/// Joins a group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Join {
    pub(crate) group: String,
    /// The name under which a new member is known.
    pub(crate) member_id: String,
    /// Whether it says that it is a member already, and how far it was.
    pub(crate) returning: Option<Returning>,
    pub(crate) instance_id: String,
    pub(crate) client_id: String,
    pub(crate) topics: BTreeSet<String>,
    /// See [`Member`](super::Member), as the next one.
    pub(crate) pattern: String,
    pub(crate) is_self_named: bool,
    pub(crate) session_timeout_ms: u32,
    pub(crate) rebalance_timeout_ms: u32,
    /// What is known of these topics, for those of which the groups know nothing yet.
    pub(crate) views: Vec<NamedView>,
}

/// Has a member read other topics.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Subscribe {
    pub(crate) group: String,
    pub(crate) member_id: String,
    /// When somebody else has found out what it wants: the number of its stream then. Should it have said something else
    /// since, that counts.
    pub(crate) session: Option<u64>,
    pub(crate) topics: BTreeSet<String>,
    pub(crate) views: Vec<NamedView>,
}

/// A member that comes back after its stream broke.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Returning {
    /// Its newest epoch.
    pub(crate) epoch: u64,
    /// What it still reads.
    pub(crate) owned: PartitionSet,
}

/// Why a member is removed. Each names what must still be so when its turn comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Because {
    /// It says so, on this stream.
    Left { session: u64 },
    /// It was silent for its session timeout, since this stream.
    Silent { session: u64 },
    /// It was asked at that time to give something up, and has not.
    HeldOn { revoking_since: Millis },
}

/// Positions to store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Commit {
    pub(crate) group: String,
    pub(crate) by: Committer,
    pub(crate) positions: PartitionMap<NewPosition>,
}

/// Who stores positions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Committer {
    /// A member, with its epoch.
    Member { id: String, epoch: u64 },
    /// A member of Kafka's classic protocol, which somebody else has checked.
    Classic { id: String },
    /// Somebody from outside, which only a group without members takes.
    Outsider,
}

/// A position to store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NewPosition {
    pub(crate) topic_id: TopicId,
    pub(crate) offset: Offset,
    pub(crate) metadata: String,
}

/// What the groups know of a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TopicView {
    pub(crate) id: TopicId,
    pub(crate) partitions: u32,
}

/// A topic and what is known of it.
pub(crate) type NamedView = (String, TopicView);

/// A member and its group.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct MemberKey {
    pub(crate) group: String,
    pub(crate) member_id: String,
}

/// A member that is one no more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Gone {
    pub(crate) key: MemberKey,
    /// The number of its last stream. Should one of its name join again, that one's has a higher number.
    pub(crate) session: u64,
}

/// What a command has done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Applied {
    /// The number of the stream that a join has opened.
    pub(crate) session: Option<u64>,
    /// The number of the occupation that has begun.
    pub(crate) occupation: Option<u64>,
    /// Members whose assignment has changed. Known at the end of the round.
    pub(crate) changed: Vec<MemberKey>,
    /// Members that are so no more.
    pub(crate) gone: Vec<Gone>,
    /// A group without members: its positions are kept for a while from now on.
    pub(crate) emptied: Option<String>,
    /// Groups whose members are to be told something else at the end of the round.
    pub(crate) unsettled: Vec<String>,
}
