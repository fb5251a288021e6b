//! What happens to groups: [`Command`], [`Applied`] and the refusals, [`GroupError`].

use std::collections::BTreeSet;

use minikafka_record::Offset;
use minikafka_storage::{Millis, TopicId};

use super::{PartitionMap, PartitionSet};
use crate::TopicNameError;

/// Something that happens to groups. One record of the log of groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    /// A member joins, or comes back.
    Join(Join),
    /// A member wants to read other topics.
    Subscribe { group: String, member_id: String, topics: BTreeSet<String>, views: Vec<NamedView> },
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
    pub(crate) session_timeout_ms: u32,
    pub(crate) rebalance_timeout_ms: u32,
    /// What is known of these topics, for those of which the groups know nothing yet.
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
    pub(crate) gone: Vec<MemberKey>,
    /// A group without members: its positions are kept for a while from now on.
    pub(crate) emptied: Option<String>,
    /// Groups whose members are to be told something else at the end of the round.
    pub(crate) unsettled: Vec<String>,
}

/// Why something about a group is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GroupError {
    /// Choose another name.
    #[error("groups are named as topics are: {0}")]
    InvalidName(TopicNameError),
    /// Name a group that is there.
    #[error("group \"{0}\" not found")]
    NotFound(String),
    /// Join anew.
    #[error(
        "group \"{group}\" has no member \"{member_id}\": it left, or was silent for too long; join anew"
    )]
    UnknownMember {
        /// The group.
        group: String,
        /// The member.
        member_id: String,
    },
    /// Join anew.
    #[error("member \"{member_id}\" of group \"{group}\" is fenced: {reason}; join anew")]
    Fenced {
        /// The group.
        group: String,
        /// The member.
        member_id: String,
        /// What has happened.
        reason: &'static str,
    },
    /// Take the newest assignment, and commit what it lists.
    #[error(
        "epoch {epoch} of member \"{member_id}\" is stale, it is {current}: topic \"{topic}\" partition {partition} was with others since"
    )]
    StaleEpoch {
        /// The member.
        member_id: String,
        /// What it said.
        epoch: u64,
        /// What it is.
        current: u64,
        /// The first partition that is not to be committed with it.
        topic: String,
        /// Its number.
        partition: u32,
    },
    /// Leave the partition to its owner.
    #[error("member \"{member_id}\" does not own topic \"{topic}\" partition {partition}")]
    NotOwner {
        /// The member.
        member_id: String,
        /// The first partition that it does not own.
        topic: String,
        /// Its number.
        partition: u32,
    },
    /// Stop its members first, or be one.
    #[error("group \"{group}\" has members, {members} of them: that needs a group without")]
    NotEmpty {
        /// The group.
        group: String,
        /// How many there are.
        members: usize,
    },
    /// Stop its members first, or be one.
    #[error("group \"{0}\" has members that speak Kafka's classic protocol: that needs a group without")]
    Occupied(String),
    /// Join as the others did, or stop them first.
    #[error("group \"{group}\" has members, and they joined by {theirs}: another way to join needs a group without")]
    OtherProtocol {
        /// The group.
        group: String,
        /// How.
        theirs: &'static str,
    },
    /// Have its members stop reading the topic first.
    #[error("group \"{group}\" has members that read topic \"{topic}\": its positions stay")]
    TopicInUse {
        /// The group.
        group: String,
        /// The topic.
        topic: String,
    },
    /// Give each process an instance id of its own.
    #[error("another member of group \"{group}\" lives under the instance id \"{instance_id}\"")]
    InstanceInUse {
        /// The group.
        group: String,
        /// The name.
        instance_id: String,
    },
    /// Delete groups, or use those there are.
    #[error("there are {max} groups, as many as allowed")]
    TooManyGroups {
        /// The limit.
        max: usize,
    },
    /// Delete groups, or store less with positions.
    #[error("groups take {max} bytes of memory, as many as allowed: delete some, or store less metadata")]
    TooMuchState {
        /// The limit.
        max: usize,
    },
    /// Use more groups, or larger members.
    #[error("group \"{group}\" has {max} members, as many as allowed")]
    TooManyMembers {
        /// The group.
        group: String,
        /// The limit.
        max: usize,
    },
    /// Commit a number that is there.
    #[error(
        "position {number} of topic \"{topic}\" partition {partition} is out of range: it is at least 1 and at most {end}"
    )]
    PositionOutOfRange {
        /// The topic.
        topic: String,
        /// The partition.
        partition: u32,
        /// What was to be stored.
        number: u64,
        /// One past the last message.
        end: u64,
    },
    /// Store less with it.
    #[error("{len} bytes of metadata are over the limit of {max} bytes")]
    MetadataTooLarge {
        /// What there are.
        len: usize,
        /// What is allowed.
        max: usize,
    },
}
