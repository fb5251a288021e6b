//! What doors say about classic members, and are told.

use std::time::Duration;

use bytes::Bytes;

use crate::group::TopicPartition;

/// Who wants to join which group, and how.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClassicJoin {
    /// Name of the group.
    pub group: String,
    /// The name under which it is known already; empty: none.
    pub member_id: String,
    /// Its name for good, if it has one.
    pub instance_id: Option<String>,
    /// For those who look at the group; empty: none.
    pub client_id: String,
    /// Where it comes from.
    pub client_address: String,
    /// Silence after which it is taken for dead.
    pub session_timeout: Duration,
    /// Time that it may take to join again when others come or go.
    pub rebalance_timeout: Duration,
    /// What kind of members the group has.
    pub protocol_type: String,
    /// Ways of assigning partitions, the best first.
    pub protocols: Vec<ClassicProtocol>,
    /// Topics that it wants to read, as far as the door can tell.
    pub topics: Vec<String>,
    /// What happens to those without a name.
    pub newcomers: Newcomers,
    /// Whether it can be told that it leads, and need not assign anything.
    pub can_skip_assignment: bool,
}

/// What happens to members that come without a name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Newcomers {
    /// They are let in.
    #[default]
    LetIn,
    /// They are told a name, and join again with it: so that none is counted twice whose answer got lost.
    NameFirst,
}

/// A way of assigning partitions, and what a member has to say for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassicProtocol {
    /// Its name.
    pub name: String,
    /// For the leader.
    pub metadata: Bytes,
}

/// A join that was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassicJoined {
    /// The member's name.
    pub member_id: String,
    /// What it has joined.
    pub generation: i32,
    /// What kind of members the group has.
    pub protocol_type: String,
    /// The way of assigning partitions that was chosen.
    pub protocol: String,
    /// The member that is to assign them.
    pub leader: String,
    /// All members, for the leader; for others none.
    pub members: Vec<ClassicPeer>,
    /// It leads, and is to leave the assignment as it is.
    pub skip_assignment: bool,
}

/// A member, as the leader sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassicPeer {
    /// Its name.
    pub member_id: String,
    /// Its name for good, if it has one.
    pub instance_id: Option<String>,
    /// What it has said for the protocol that was chosen.
    pub metadata: Bytes,
}

/// A member that says something.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClassicMember {
    /// Name of the group.
    pub group: String,
    /// Its name in it.
    pub member_id: String,
    /// Its name for good, if it has one.
    pub instance_id: Option<String>,
    /// What it has joined.
    pub generation: i32,
}

/// A member that wants its assignment, and brings those of all if it leads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClassicSync {
    /// Who it is.
    pub by: ClassicMember,
    /// What it takes the members' kind for, if it says so.
    pub protocol_type: Option<String>,
    /// What it takes for the protocol that was chosen, if it says so.
    pub protocol: Option<String>,
    /// By member.
    pub assignments: Vec<(String, ClassicAssignment)>,
}

/// What a member is to read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClassicAssignment {
    /// For the member.
    pub bytes: Bytes,
    /// For those who look at the group, as far as the door can tell.
    pub partitions: Vec<TopicPartition>,
}

/// A sync that was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassicSynced {
    /// What kind of members the group has.
    pub protocol_type: String,
    /// The way of assigning partitions that was chosen.
    pub protocol: String,
    /// What the leader has said for this member.
    pub assignment: Bytes,
}

/// A member that goes, or is sent away: by its name, or by its name for good.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClassicLeaver {
    /// Its name; empty: whoever has the other one.
    pub member_id: String,
    /// Its name for good, if it has one.
    pub instance_id: Option<String>,
}

/// How such a group is, in Kafka's words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClassicState {
    /// It has no members.
    #[default]
    Empty,
    /// Joins are waited for.
    PreparingRebalance,
    /// The leader is waited for.
    CompletingRebalance,
    /// Everybody reads what it is to read.
    Stable,
}

/// Such a group, in short.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClassicSummary {
    /// How it is.
    pub state: ClassicState,
    /// What kind of members it has.
    pub protocol_type: String,
    /// Number of them.
    pub members: usize,
}

/// Such a group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClassicDescription {
    /// The short of it.
    pub summary: ClassicSummary,
    /// The way of assigning partitions that was chosen; empty: none yet.
    pub protocol: String,
    /// The newest.
    pub generation: i32,
    /// Its members, by name.
    pub members: Vec<ClassicMemberDescription>,
}

/// A member of such a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassicMemberDescription {
    /// Its name.
    pub member_id: String,
    /// Its name for good, if it has one.
    pub instance_id: Option<String>,
    /// As it has said.
    pub client_id: String,
    /// Where it comes from.
    pub client_address: String,
    /// Topics that it wants to read, as far as the door could tell.
    pub topics: Vec<String>,
    /// What it has said for the protocol that was chosen; empty while none is.
    pub metadata: Bytes,
    /// What it is to read.
    pub assignment: ClassicAssignment,
}
