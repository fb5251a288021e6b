//! The rules of groups, and nothing else: no clock, no task, no I/O. Time comes with each command.
//!
//! [`Groups`] is a state machine: the same commands in the same order make the same groups, on this server after a
//! restart and one day on others. What a command may not do is an answer, not a failure.

mod assign;
mod command;
mod error;
mod group;
mod groups;
pub(crate) mod limits;
mod member;
mod occupied;
mod partitions;
mod position;
mod weight;

pub(crate) use command::{
    Applied, Because, Command, Commit, Committer, Gone, Join, MemberKey, NamedView, NewPosition, Returning,
    Subscribe, TopicView,
};
pub use error::GroupError;
pub use group::GroupState;
pub(crate) use group::{Group, TopicViews};
pub(crate) use groups::Groups;
pub(crate) use member::{Holding, Member};
pub(crate) use partitions::{PartitionMap, PartitionSet};
pub(crate) use position::Position;

#[cfg(test)]
mod tests;
