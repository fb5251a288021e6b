//! [`Position`], what a group has stored for a partition.

use minikafka_record::Offset;
use minikafka_storage::{Millis, TopicId};

/// How far a group has come in a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Position {
    /// Which topic of its name that was.
    pub(crate) topic_id: TopicId,
    /// What to read next.
    pub(crate) offset: Offset,
    /// What the committer wants to remember with it.
    pub(crate) metadata: String,
    /// When it was stored.
    pub(crate) committed_at: Millis,
}
