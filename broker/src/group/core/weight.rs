//! About how many bytes of memory groups take. Counts alone would not bound it: names and metadata are what clients make
//! of them.

use super::{Member, NewPosition, PartitionMap, Position, limits::STATE_BYTES_MAX};

/// A group, with its name.
pub(super) const GROUP_BYTES: usize = 512;
/// A member beside its names, topics and partitions.
const MEMBER_BYTES: usize = 512;
/// A topic of a member beside its name, which stands in what it wants, what it holds and what it is to hold.
const MEMBER_TOPIC_BYTES: usize = 3 * 64;
/// A partition that a member holds or is to hold.
const MEMBER_PARTITION_BYTES: usize = 32;
/// A topic with positions, beside its name.
const TOPIC_BYTES: usize = 128;
/// A position beside its metadata.
const POSITION_BYTES: usize = 96;

// A commit, or a join with its topics, is a small part of it.
const _: () = assert!(STATE_BYTES_MAX >= 16 * 1024 * 1024);

/// What a group takes beside its fixed part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Weight {
    pub(super) members: usize,
    pub(super) positions: usize,
}

/// What topics in a subscription take.
pub(super) fn of_topics<'a>(topics: impl IntoIterator<Item = &'a String>) -> usize {
    topics.into_iter().map(|topic| 3 * topic.len() + MEMBER_TOPIC_BYTES).sum()
}

/// What a member with these topics takes at first.
pub(super) fn of_newcomer<'a>(topics: impl IntoIterator<Item = &'a String>) -> usize {
    MEMBER_BYTES + of_topics(topics)
}

pub(super) fn of_member(member: &Member) -> usize {
    let partitions = member.held.len() + member.target.len();
    of_newcomer(&member.topics)
        + member.instance_id.len()
        + member.client_id.len()
        + member.pattern.len()
        + partitions * MEMBER_PARTITION_BYTES
}

pub(super) fn of_positions(positions: &PartitionMap<Position>) -> usize {
    let topics: usize = positions.topics().map(|topic| TOPIC_BYTES + topic.len()).sum();
    let each = positions.iter().map(|(.., position)| POSITION_BYTES + position.metadata.len());
    topics + each.sum::<usize>()
}

/// What positions would take beside, or instead of, those that are there.
pub(super) fn after_commit(
    weight: usize,
    positions: &PartitionMap<Position>,
    new: &PartitionMap<NewPosition>,
) -> usize {
    let is_new = |topic: &&str| positions.of_topic(topic).next().is_none();
    let topics: usize = new.topics().filter(is_new).map(|topic| TOPIC_BYTES + topic.len()).sum();
    let (mut more, mut less) = (topics, 0);
    for (topic, number, position) in new.iter() {
        more += POSITION_BYTES + position.metadata.len();
        let before = positions.get(topic, number);
        less += before.map_or(0, |before| POSITION_BYTES + before.metadata.len());
    }
    weight + more - less
}
