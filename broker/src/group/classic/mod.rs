//! Kafka's classic protocol: members join, one of them says who reads what, and everybody is told.
//!
//! ```text
//!              first join             all have joined            the leader has said
//!              begins to wait         or time is up              who reads what
//!   Empty  ------------------> Joining ------------> Syncing --------------------> Stable
//!     ^                          ^                      |                            |
//!     |                          +----------------------+----------------------------+
//!     +- the last one is gone        somebody comes, goes, or has something else to say
//! ```
//!
//! A join waits until the others have joined, too; a sync waits for that of the leader. What the members say to one
//! another is bytes that nobody looks into here. The server picks, of the ways of assigning partitions that all
//! members have, the one that most of them want.
//!
//! ```text
//!   door -> Broker::join_classic, ...     Registry            Group
//!           checks; occupies the group    all groups,         the rules, pure: time
//!           in the log before the first   bounded in bytes    comes with each call
//! ```
//!
//! Members are known in memory only. After a restart nobody is a member: what a client says under an old name is
//! refused, and it joins anew. Names are random, so none comes twice. What the log knows is that there are members: see
//! `core/occupied`. Positions are those of every other group, and as durable.
//!
//! Joins of an empty group wait [`OPENING_DELAY`](limits::OPENING_DELAY_MS) for others to come, and as long again
//! after each one that does, up to [`OPENING_DELAY_MAX`](limits::OPENING_DELAY_MAX_MS): members that are started
//! together find out once who reads what, and one that is alone does not wait long.
//!
//! - **Invariant:** a generation has one assignment, said by its leader.
//! - **Invariant:** who waits for an answer is not silent; whoever hangs up is, from then on, and stays a member for
//!   its session timeout.
//! - **Invariant:** each wait has an end: that of a join the longest rebalance timeout of the members, that of a sync the
//!   same.
//!
//! Source: the Apache Kafka protocol documentation, KIP-62 (rebalance timeout), KIP-345 (static members), KIP-394
//! (member id required), KIP-814 (static leaders).

mod api;
mod group;
mod join;
mod leave;
mod limits;
mod member;
mod rebalance;
mod registry;
mod service;
mod sync;
#[cfg(test)]
mod tests;

pub use api::{
    ClassicAssignment, ClassicDescription, ClassicJoin, ClassicJoined, ClassicLeaver, ClassicMember,
    ClassicMemberDescription, ClassicPeer, ClassicProtocol, ClassicState, ClassicSummary, ClassicSync,
    ClassicSynced, Newcomers,
};
pub(super) use registry::{Ended, Registry};
