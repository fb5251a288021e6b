//! [`Member`], what the server knows of one, and what it has given to it.

use std::collections::BTreeSet;

use minikafka_storage::Millis;

use super::{GroupError, PartitionMap, PartitionSet};
use crate::group::TopicPartition;

/// A member of a group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Member {
    /// Its name for good; empty: none.
    pub(crate) instance_id: String,
    /// For those who look at the group.
    pub(crate) client_id: String,
    /// Topics that it wants to read.
    pub(crate) topics: BTreeSet<String>,
    /// It wants all topics whose names match this; somebody else finds out which these are. Empty: none.
    pub(crate) pattern: String,
    /// It has given itself its name, and may come again under it after it was removed.
    pub(crate) is_self_named: bool,
    /// Silence after which it is taken for dead.
    pub(crate) session_timeout_ms: u32,
    /// Time that it may take to give up a partition.
    pub(crate) rebalance_timeout_ms: u32,
    /// Counts its streams: only the newest speaks for it.
    pub(crate) session: u64,
    /// Counts its assignments.
    pub(crate) epoch: u64,
    /// What it may read until it has said that it no longer does.
    pub(crate) held: PartitionMap<Holding>,
    /// What it is to hold, once others have given it up.
    pub(crate) target: PartitionSet,
    /// Since when it has been asked for what it was asked for first, of all that it has not given up yet; `None` when
    /// nothing is asked.
    ///
    /// As in Kafka, to give up a part of that is no reason for more time. When all of it is given up, what was asked for
    /// later has its own time, from then on.
    pub(crate) revoking_since: Option<Millis>,
}

/// How a member holds a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Holding {
    /// The epoch of the member with which it got the partition. Nobody else has had it since.
    pub(crate) since: u64,
    /// The epoch of the member with which it was asked to give it up, and has not said yet that it has. No assignment
    /// from that one on lists it.
    pub(crate) revoked_in: Option<u64>,
    /// Its topic is gone, or another one has its name. So what the member reads is not what the group speaks of: it
    /// stays revoked until the member has said that it has given it up, and is not committed meanwhile. Were the
    /// partition only called back, the member would go on in the new topic at its number in the old one.
    pub(crate) is_void: bool,
}

impl Holding {
    /// It is to give it up.
    pub(crate) fn is_revoked(&self) -> bool {
        self.revoked_in.is_some()
    }

    /// Whether a member knows by the assignment of this epoch that it is to give it up. It was told nothing else since,
    /// so whoever does not read it then does not read it later.
    fn is_known_to_be_revoked(&self, epoch: u64) -> bool {
        self.revoked_in.is_some_and(|revoked_in| revoked_in <= epoch)
    }
}

impl Member {
    /// What the newest assignment lists.
    pub(crate) fn assigned(&self) -> impl Iterator<Item = (&str, u32)> {
        self.held.iter().filter(|(_, _, held)| !held.is_revoked()).map(|(topic, number, _)| (topic, number))
    }

    /// Checks that the member can have this epoch.
    pub(crate) fn check_epoch(&self, group: &str, member_id: &str, epoch: u64) -> Result<(), GroupError> {
        if epoch <= self.epoch {
            return Ok(());
        }
        let (group, member_id) = (group.to_owned(), member_id.to_owned());
        Err(GroupError::Fenced { group, member_id, reason: "its epoch was never given" })
    }

    /// Checks that the member can have this epoch, and has had these partitions since then if it is an older one.
    pub(crate) fn check_reads(
        &self,
        group: &str,
        member_id: &str,
        epoch: u64,
        of: &[TopicPartition],
    ) -> Result<(), GroupError> {
        self.check_epoch(group, member_id, epoch)?;
        let has_had = |of: &TopicPartition| {
            self.held.get(&of.topic, of.partition).is_some_and(|held| !held.is_void && held.since <= epoch)
        };
        let Some(other) = of.iter().find(|of| epoch < self.epoch && !has_had(of)) else { return Ok(()) };
        let (member_id, topic, partition) = (member_id.to_owned(), other.topic.clone(), other.partition);
        Err(GroupError::StaleEpoch { member_id, epoch, current: self.epoch, topic, partition })
    }

    /// Whether it reads what it is to read, and nothing else.
    pub(crate) fn is_settled(&self) -> bool {
        self.revoking_since.is_none() && self.held.len() == self.target.len()
    }

    /// Whether it was asked, in the assignment of this epoch at the latest, for something that is not in `owned`, which
    /// it says is all that it reads.
    pub(crate) fn gives_up(&self, epoch: u64, owned: &PartitionSet) -> bool {
        let is_given_up = |(topic, number, held): (&str, u32, &Holding)| {
            held.is_known_to_be_revoked(epoch) && !owned.contains(topic, number)
        };
        self.held.iter().any(is_given_up)
    }

    /// A topic is gone, or is another one now.
    pub(super) fn void(&mut self, topic: &str) {
        self.held.of_topic_mut(topic).for_each(|held| held.is_void = true);
    }

    /// Takes from it what it no longer reads of what it was asked for: it knows the assignment of this epoch.
    pub(super) fn release(&mut self, epoch: u64, owned: &PartitionSet, at: Millis) {
        let first = self.first_asked();
        self.held.retain(|topic, number, held| {
            !held.is_known_to_be_revoked(epoch) || owned.contains(topic, number)
        });
        self.keep_time(first, at);
    }

    /// The epoch with which it was first asked for something that it has not given up.
    fn first_asked(&self) -> Option<u64> {
        self.held.iter().filter_map(|(_, _, held)| held.revoked_in).min()
    }

    /// Counts its time anew when it is done with what it was asked for first, which was in epoch `before`.
    fn keep_time(&mut self, before: Option<u64>, at: Millis) {
        let first = self.first_asked();
        self.revoking_since = match self.revoking_since {
            _ if first.is_none() => None,
            Some(since) if first == before => Some(since),
            _ => Some(at),
        };
    }

    /// Brings what it holds closer to its target: asks for the rest, and gives it what `is_free`. Says whether
    /// its assignment has changed.
    pub(super) fn approach(&mut self, is_free: impl Fn(&str, u32) -> bool, at: Millis) -> bool {
        let (next, first) = (self.epoch + 1, self.first_asked());
        let mut has_changed = false;
        for (topic, number, held) in self.held.values_mut() {
            let is_revoked = held.is_void || !self.target.contains(topic, number);
            if held.is_revoked() != is_revoked {
                held.revoked_in = is_revoked.then_some(next);
                has_changed = true;
            }
        }
        for (topic, number, ()) in self.target.iter() {
            if !self.held.contains(topic, number) && is_free(topic, number) {
                self.held.insert(topic, number, Holding { since: next, revoked_in: None, is_void: false });
                has_changed = true;
            }
        }
        self.keep_time(first, at);
        if has_changed {
            self.epoch = next;
        }
        has_changed
    }
}
