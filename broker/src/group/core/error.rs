//! [`GroupError`], why something about a group is refused.

use crate::TopicNameError;

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
        "group \"{group}\" has no member \"{member_id}\": it left, was silent for too long, or did not give up a partition in time; join anew"
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
    #[error(
        "group \"{group}\" has members, and they joined by {theirs}: another way to join needs a group without"
    )]
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
    /// Write it otherwise.
    #[error("the pattern of topics {pattern:?} cannot be used: {why}")]
    InvalidPattern {
        /// What was said.
        pattern: String,
        /// What is wrong with it.
        why: String,
    },
    /// Store less with it.
    #[error("{len} bytes of metadata are over the limit of {max} bytes")]
    MetadataTooLarge {
        /// What there are.
        len: usize,
        /// What is allowed.
        max: usize,
    },
    /// Wait a little, and join anew.
    #[error("members of group \"{0}\" are finding out who reads what: join anew")]
    RebalanceInProgress(String),
    /// Join anew.
    #[error("generation {generation} of group \"{group}\" is not the current one, {current}: join anew")]
    IllegalGeneration {
        /// The group.
        group: String,
        /// What was said.
        generation: i32,
        /// What it is.
        current: i32,
    },
    /// Join with what the others have, too.
    #[error("members of group \"{0}\" have no way of assigning partitions in common with this one")]
    InconsistentProtocol(String),
    /// Join again, under this name.
    #[error("join group \"{group}\" as \"{member_id}\"")]
    MemberIdRequired {
        /// The group.
        group: String,
        /// The name that was made for the member.
        member_id: String,
    },
    /// End this process: another one has taken its place.
    #[error("another process has the instance id \"{instance_id}\" in group \"{group}\"")]
    InstanceFenced {
        /// The group.
        group: String,
        /// The name.
        instance_id: String,
    },
    /// Choose another one.
    #[error("a session timeout of {wanted_ms} ms: it is at least {min_ms} ms and at most {max_ms} ms")]
    InvalidSessionTimeout {
        /// What was asked for.
        wanted_ms: u64,
        /// The least.
        min_ms: u64,
        /// The most.
        max_ms: u64,
    },
}
