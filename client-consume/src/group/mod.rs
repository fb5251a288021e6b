//! Groups: consumers that share the partitions of topics, and whose positions the server keeps.
//!
//! ```text
//!   GroupConsumer  --- wishes: topics, what it reads ---->  membership: a task   <==stream==>  server
//!   (the caller's) <-- board: assignment, lease, losses --  (heartbeats, rejoins)
//!        |
//!        +--- Reads: the assigned partitions          +--- commits, by calls of their own
//! ```
//!
//! All of it is on one connection, which belongs to none of them: whoever finds it broken gives it up, and the others come
//! after.
//!
//! - **Invariant:** a commit holds only positions before which everything was returned by an earlier poll.
//! - **Invariant:** a partition is confirmed to be given up only after it is no longer read and, with automatic commits,
//!   its position is committed or the commit was refused; and after the listener, if there is one, is done with it.
//! - **Invariant:** messages are handed out only under a lease: less than a session timeout after the server has heard the
//!   member for certain. After that, somebody else may own its partitions.

mod board;
mod builder;
mod by_hand;
mod commit;
mod commit_handle;
mod commit_trouble;
mod committed;
mod consumer;
mod duties;
mod member_stream;
mod membership;
mod rebalance_listener;

pub use builder::GroupConsumerBuilder;
pub use commit::PositionToCommit;
pub use committed::CommittedPosition;
pub use consumer::GroupConsumer;
pub use rebalance_listener::{RebalanceListener, Revocation};
