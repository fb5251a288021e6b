//! Consumer groups: several consumers share the partitions of topics, and the broker remembers how far they came.
//!
//! ```text
//!   door -> Broker::join_group -> Membership        what a member says      rules         what a member is told
//!           Broker::commit_positions, ...           --------------->  Machine<Groups> --------------->
//!                                                       commands       log of groups     news, assignments
//!
//!   core          the rules, pure                       coordinator   makes them happen
//!   codec         how they are stored                   sessions      who was heard when (in memory)
//!   membership    a member that has a stream            alarms, tasks one timer; topics that come and go
//!   heartbeat     a member that has none: it asks from time to time, and may give topics by a pattern
//!   description   for those who look at groups          lag           how far they are behind
//!   classic       members that speak Kafka's classic protocol, which is another one: over the same positions
//! ```
//!
//! # What is durable, and why there is never a second owner
//!
//! Everything that decides who owns what is a command in the log of groups: joins with their timeouts, what is
//! given up, removals, changes of topics. Nothing is told to a member before the command that grants it is durable
//! and applied. So after a restart, kill -9 or not, the broker knows exactly what it had granted at most:
//!
//! - A partition that was granted has its owner still, and nobody else gets it. The owner comes back with its
//!   member_id and epoch, is found, and goes on; or it stays silent for its session timeout, counted anew from the
//!   restart, and only then the partition goes on to another one.
//! - A confirmation that was not durable has not happened: the partition is still held, the member says so again
//!   when it comes back, because it says what it reads. One that was durable freed the partition before the restart,
//!   and the member that gave it up does not read it.
//! - A commit carries the epoch, and each partition remembers the epoch with which its owner got it. A commit of
//!   somebody who was an owner before is refused, also after a restart, also when the same member has got the
//!   partition back meanwhile and others had it in between.
//!
//! Not durable is when members were heard. It would cost a write for each heartbeat, and says nothing after a
//! restart: nobody could be heard meanwhile.
//!
//! If the disk fails in the running server, and its log is opened again, commands may have been kept that their
//! senders know nothing of: the state is taken up as at a start.
//!
//! If the disk has lost a part of this log, who holds what is not known for sure. Then all members join anew.
//! Positions may be older than they were, which repeats messages; a group whose positions are lost altogether begins
//! where its members say.
//!
//! A process that joins under the instance_id of a member whose stream is broken takes its place: the caller says with
//! the name that the old process has ended. Should it live, its commits are refused. While a stream is open, nobody can
//! know that, and the instance is in use; a machine that loses its power closes nothing, so its successor waits for the
//! end of the session, or of the connection if the server finds out earlier that nobody is there.
//!
//! All of this is about the server's own protocol. What classic members read is what their leader says, and any of them
//! commits any position, as in Kafka: see `classic`.
//!
//! - **Invariant:** no partition has two owners, and only its owner commits it.
//! - **Invariant:** what a member is told is durable.
//! - **Invariant:** positions are durable when their commit returns, and go with their topic, or when their group was
//!   empty for the retention of positions, or by deletion.
//! - **Invariant:** a group without news costs nothing but memory, and of that all groups together have a budget.
//! - **Invariant:** what a member reads, it has got of the topic that has this name now, or is asked to give up.

mod alarms;
mod api;
mod classic;
mod codec;
mod coordinator;
mod core;
mod description;
mod heartbeat;
mod lag;
mod membership;
mod pattern;
mod pauses;
mod positions;
mod sessions;
pub(crate) mod tasks;

pub use api::{
    Assignment, GroupDescription, GroupJoin, GroupLag, GroupPlace, GroupSummary, HeartbeatReply, Lag, Leave,
    MemberDescription, MemberHeartbeat, PartitionLag, PositionToStore, PositionsBy, ReturningMember,
    SeekMode, SeekTo, SoughtPosition, StoredPosition, TopicPartition,
};
pub use classic::{
    ClassicAssignment, ClassicDescription, ClassicJoin, ClassicJoined, ClassicLeaver, ClassicMember,
    ClassicMemberDescription, ClassicPeer, ClassicProtocol, ClassicState, ClassicSummary, ClassicSync,
    ClassicSynced, Newcomers,
};
pub(crate) use coordinator::Coordinator;
pub use core::{GroupError, GroupState};
pub use heartbeat::HEARTBEAT_INTERVAL;
pub(crate) use lag::AppendTimes;
pub use membership::{MEMBER_SESSION_TIMEOUT, Membership};
