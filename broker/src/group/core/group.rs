//! [`Group`], one group: its members, who reads what, and how far they came.
//!
//! A partition is always in one of these places:
//!
//! ```text
//!               target says so, and it is free               target says otherwise
//!   free  ------------------------------------>  held by m  ----------------------->  held by m, revoked
//!    ^                                                ^   target says m again, same topic     |
//!    |                                                +----------------------------------------|
//!    |      m has confirmed, left, or been taken for dead                                      |
//!    +-----------------------------------------------------------------------------------------+
//! ```
//!
//! What is held of a topic that is gone, or whose name another topic has now, is void: revoked for good, so that
//! its reader stops before it, or somebody else, begins with the new topic.
//!
//! Who is to read what is worked out at the end of a round of commands, once for all of them: when a hundred members
//! come at the same time, all but the last target would be thrown away.
//!
//! - **Invariant:** no two members hold the same partition, and who does not hold one cannot commit it.
//! - **Invariant:** a member's epoch rises with each change of what it is to read, and with nothing else. It gives
//!   up what was revoked in the epoch that it speaks of, or before, and not been called back since: no assignment that
//!   may have reached it meanwhile lists that. What else it does not read with an older epoch, it may be reading now.

use std::collections::{BTreeMap, BTreeSet};

use minikafka_storage::{Millis, TopicId};

use super::{
    Because, Committer, GroupError, Holding, Join, Member, NewPosition, PartitionMap, PartitionSet, Position,
    TopicView,
    assign::{Before, assign},
    limits::MEMBERS_MAX,
    weight::{self, GROUP_BYTES, Weight},
};

/// A group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Group {
    /// Rises whenever members or what they subscribe to change.
    pub(crate) epoch: u64,
    pub(crate) members: BTreeMap<String, Member>,
    /// The number of the occupation by members of the classic protocol, while there is one.
    pub(crate) occupied: Option<u64>,
    pub(crate) positions: PartitionMap<Position>,
    /// Since when it has been without members and commits; of no meaning while it has members.
    pub(crate) empty_since: Millis,
    /// What is to be done at the end of the round. Between rounds there is nothing.
    pending: Pending,
    weight: Weight,
}

/// What the commands of a round have left to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Pending {
    #[default]
    Nothing,
    /// Partitions are free: they go to those who are to have them.
    Reconcile,
    /// Who is to have what may be something else.
    Reassign,
}

/// How a group is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupState {
    /// It has no members, only positions.
    Empty,
    /// Partitions are on their way from one member to another.
    Reconciling,
    /// Every member reads what it is to read.
    Stable,
}

/// What the groups know of topics.
pub(crate) type TopicViews = BTreeMap<String, TopicView>;

impl Group {
    /// As it was stored.
    pub(crate) fn restore(
        epoch: u64,
        members: BTreeMap<String, Member>,
        occupied: Option<u64>,
        positions: PartitionMap<Position>,
        empty_since: Millis,
    ) -> Group {
        let weight = Weight {
            members: members.values().map(weight::of_member).sum(),
            positions: weight::of_positions(&positions),
        };
        Group { epoch, members, occupied, positions, empty_since, pending: Pending::Nothing, weight }
    }

    /// Bytes of memory that it takes, about.
    pub(super) fn bytes(&self) -> usize {
        GROUP_BYTES + self.weight.members + self.weight.positions
    }

    /// Whether nothing would be lost with it.
    pub(super) fn is_void(&self) -> bool {
        self.is_empty() && self.positions.len() == 0
    }

    pub(super) fn is_unsettled(&self) -> bool {
        self.pending != Pending::Nothing
    }

    pub(crate) fn state(&self) -> GroupState {
        if self.members.is_empty() {
            GroupState::Empty
        } else if self.members.values().all(Member::is_settled) {
            GroupState::Stable
        } else {
            GroupState::Reconciling
        }
    }

    /// The member that holds each partition.
    pub(crate) fn holders(&self) -> PartitionMap<&str> {
        let mut holders = PartitionMap::default();
        for (id, member) in &self.members {
            member.held.iter().for_each(|(topic, number, _)| holders.insert(topic, number, id.as_str()));
        }
        holders
    }

    /// Checks that a member can be let in, or back in.
    pub(super) fn check_join(&self, join: &Join) -> Result<(), GroupError> {
        self.check_not_occupied(&join.group)?;
        let known = self.members.get(&join.member_id);
        if known.is_some_and(|member| member.instance_id != join.instance_id) {
            return Err(GroupError::Fenced {
                group: join.group.clone(),
                member_id: join.member_id.clone(),
                reason: "it comes back with another instance id",
            });
        }
        if known.is_some_and(|member| member.is_self_named != join.is_self_named) {
            // It is somebody else, who came in by another door.
            let (group, member_id) = (join.group.clone(), join.member_id.clone());
            return Err(GroupError::UnknownMember { group, member_id });
        }
        if let Some(returning) = &join.returning {
            let member = self.require(&join.group, &join.member_id)?;
            return member.check_epoch(&join.group, &join.member_id, returning.epoch);
        }
        let is_new = known.is_none() && self.of_instance(&join.instance_id).is_none();
        if is_new && self.members.len() >= MEMBERS_MAX {
            return Err(GroupError::TooManyMembers { group: join.group.clone(), max: MEMBERS_MAX });
        }
        Ok(())
    }

    /// Lets a member in, or back in, that was checked. Returns the number of its stream, and the member whose place it
    /// takes with the number of that one's.
    pub(super) fn join(
        &mut self,
        join: Join,
        sessions_gone: u64,
        at: Millis,
    ) -> (u64, Option<(String, u64)>) {
        let mut gone = None;
        let id = join.member_id;
        let before = match &join.returning {
            Some(_) => self.members.remove(&id),
            None => self.predecessor(&join.instance_id, &id).and_then(|old_id| {
                let old = self.members.remove(&old_id)?;
                gone = (old_id != id).then_some((old_id, old.session));
                Some(Member { epoch: old.epoch + 1, ..old })
            }),
        };
        let has_new_topics = before.as_ref().is_none_or(|before| before.topics != join.topics);
        // What a member of the same name has said before it was removed, is older than all that this one will say.
        let first_epoch = if join.is_self_named { self.epoch } else { 0 };
        let mut member = before.unwrap_or_else(|| Member {
            epoch: first_epoch,
            session: sessions_gone,
            ..Member::default()
        });
        match join.returning {
            Some(returning) => member.release(returning.epoch, &returning.owned, at),
            // A process that takes an instance over reads nothing yet.
            None => member.release(member.epoch, &PartitionSet::default(), at),
        }
        let session = member.session + 1;
        let member = Member {
            instance_id: join.instance_id,
            client_id: join.client_id,
            topics: join.topics,
            pattern: join.pattern,
            is_self_named: join.is_self_named,
            session_timeout_ms: join.session_timeout_ms,
            rebalance_timeout_ms: join.rebalance_timeout_ms,
            session,
            ..member
        };
        self.members.insert(id, member);
        self.leave_for_later(if has_new_topics { Pending::Reassign } else { Pending::Reconcile });
        (session, gone)
    }

    /// The member whose place somebody takes who is none yet: that of its instance, or itself when it has forgotten.
    fn predecessor(&self, instance_id: &str, member_id: &str) -> Option<String> {
        let itself = || self.members.contains_key(member_id).then(|| member_id.to_owned());
        self.of_instance(instance_id).or_else(itself)
    }

    /// The member with a name for good.
    pub(crate) fn of_instance(&self, instance_id: &str) -> Option<String> {
        let mut members = self.members.iter().filter(|_| !instance_id.is_empty());
        members.find(|(_, member)| member.instance_id == instance_id).map(|(id, _)| id.clone())
    }

    fn require(&self, group: &str, member_id: &str) -> Result<&Member, GroupError> {
        self.members.get(member_id).ok_or_else(|| GroupError::UnknownMember {
            group: group.to_owned(),
            member_id: member_id.to_owned(),
        })
    }

    fn require_mut(&mut self, group: &str, member_id: &str) -> Result<&mut Member, GroupError> {
        self.require(group, member_id)?;
        Ok(self.members.get_mut(member_id).expect("it was just found"))
    }

    /// Checks that a member has said nothing since this stream, if one is named.
    pub(super) fn check_session(
        &self,
        group: &str,
        member_id: &str,
        session: Option<u64>,
    ) -> Result<(), GroupError> {
        let member = self.require(group, member_id)?;
        if session.is_none_or(|session| session == member.session) {
            return Ok(());
        }
        let (group, member_id) = (group.to_owned(), member_id.to_owned());
        Err(GroupError::Fenced { group, member_id, reason: "it has said something else since" })
    }

    pub(super) fn subscribe(
        &mut self,
        group: &str,
        member_id: &str,
        topics: BTreeSet<String>,
    ) -> Result<(), GroupError> {
        let member = self.require_mut(group, member_id)?;
        if member.topics != topics {
            member.topics = topics;
            self.leave_for_later(Pending::Reassign);
        }
        Ok(())
    }

    pub(super) fn confirm(
        &mut self,
        group: &str,
        member_id: &str,
        epoch: u64,
        owned: &PartitionSet,
        at: Millis,
    ) -> Result<(), GroupError> {
        let member = self.require_mut(group, member_id)?;
        member.check_epoch(group, member_id, epoch)?;
        if member.gives_up(epoch, owned) {
            member.release(epoch, owned, at);
            self.leave_for_later(Pending::Reconcile);
        }
        Ok(())
    }

    /// Removes a member, if the reason still holds. Returns the number of its stream then.
    pub(super) fn remove(
        &mut self,
        group: &str,
        member_id: &str,
        because: Because,
        at: Millis,
    ) -> Result<Option<u64>, GroupError> {
        let member = self.require(group, member_id)?;
        let last = member.session;
        let is_so = match because {
            Because::Left { session } | Because::Silent { session } => member.session == session,
            Because::HeldOn { revoking_since } => member.revoking_since == Some(revoking_since),
        };
        if is_so {
            let removed = self.members.remove(member_id).expect("it was just found");
            if removed.is_self_named {
                self.epoch = self.epoch.max(removed.epoch);
            }
            self.leave_for_later(Pending::Reassign);
            if self.members.is_empty() {
                self.empty_since = at;
            }
        }
        Ok(is_so.then_some(last))
    }

    /// Topics are others now.
    pub(super) fn topics_changed(&mut self) {
        self.leave_for_later(Pending::Reassign);
    }

    /// A topic is gone, or is another one now.
    pub(super) fn void(&mut self, topic: &str) {
        self.members.values_mut().for_each(|member| member.void(topic));
    }

    pub(super) fn holds(&self, topic: &str) -> bool {
        self.members.values().any(|member| member.held.of_topic(topic).next().is_some())
    }

    pub(super) fn reads(&self, topic: &str) -> bool {
        self.members.values().any(|member| member.topics.contains(topic))
    }

    /// Checks that somebody may store these positions.
    pub(super) fn check_commit(
        &self,
        group: &str,
        by: &Committer,
        positions: &PartitionMap<NewPosition>,
        views: &TopicViews,
    ) -> Result<(), GroupError> {
        let (member_id, epoch) = match by {
            Committer::Outsider => return self.check_empty(group),
            Committer::Classic { id } => return self.check_occupied(group, id),
            Committer::Member { id, epoch } => (id, *epoch),
        };
        let member = self.require(group, member_id)?;
        member.check_epoch(group, member_id, epoch)?;
        let is_other = |(topic, number, position): &(&str, u32, &NewPosition)| {
            // Its topic may have been replaced a moment ago, and no member knows of that yet.
            views.get(*topic).is_none_or(|view| view.id != position.topic_id)
                // With an older epoch it may only commit what it has had since then.
                || member
                    .held
                    .get(topic, *number)
                    .is_none_or(|held: &Holding| held.is_void || held.since > epoch)
        };
        let Some((topic, partition, _)) = positions.iter().find(is_other) else { return Ok(()) };
        let (member_id, topic) = (member_id.clone(), topic.to_owned());
        Err(if epoch < member.epoch {
            GroupError::StaleEpoch { member_id, epoch, current: member.epoch, topic, partition }
        } else {
            GroupError::NotOwner { member_id, topic, partition }
        })
    }

    /// What it takes once these are stored.
    pub(super) fn bytes_after(&self, positions: &PartitionMap<NewPosition>) -> usize {
        let after = weight::after_commit(self.weight.positions, &self.positions, positions);
        GROUP_BYTES + self.weight.members + after
    }

    pub(super) fn store(&mut self, positions: PartitionMap<NewPosition>, at: Millis) {
        self.keep(positions, at);
        self.empty_since = at;
    }

    /// Keeps positions that nobody has committed.
    pub(super) fn keep(&mut self, mut positions: PartitionMap<NewPosition>, at: Millis) {
        self.weight.positions = weight::after_commit(self.weight.positions, &self.positions, &positions);
        for (topic, number, position) in positions.values_mut() {
            let (topic_id, offset, metadata) =
                (position.topic_id, position.offset, std::mem::take(&mut position.metadata));
            self.positions.insert(topic, number, Position { topic_id, offset, metadata, committed_at: at });
        }
    }

    /// Lets go of the positions of topics that are gone.
    pub(super) fn forget_positions(&mut self, topics: &BTreeSet<(&str, TopicId)>) {
        self.positions.retain(|topic, _, position| !topics.contains(&(topic, position.topic_id)));
        self.weight.positions = weight::of_positions(&self.positions);
    }

    /// Lets go of positions that are named.
    pub(super) fn drop_positions(&mut self, of: &PartitionSet) {
        self.positions.retain(|topic, number, _| !of.contains(topic, number));
        self.weight.positions = weight::of_positions(&self.positions);
    }

    fn leave_for_later(&mut self, pending: Pending) {
        self.pending = self.pending.max(pending);
    }

    /// Does what the commands of a round have left to do. Returns the members whose assignment has changed.
    pub(super) fn settle(&mut self, views: &TopicViews, at: Millis) -> Vec<String> {
        let pending = std::mem::take(&mut self.pending);
        if pending == Pending::Reassign {
            self.reassign(views);
        }
        let changed = if pending == Pending::Nothing { Vec::new() } else { self.reconcile(at) };
        self.weight.members = self.members.values().map(weight::of_member).sum();
        changed
    }

    /// Finds out anew who is to read what.
    fn reassign(&mut self, views: &TopicViews) {
        self.epoch += 1;
        let mut before: PartitionMap<Before<'_>> = PartitionMap::default();
        for (id, member) in &self.members {
            let (id, held) = (Some(id.as_str()), &member.held);
            for (topic, number, ()) in member.target.iter() {
                let holder = before.get(topic, number).and_then(|before| before.holder);
                let holder = holder.or(id.filter(|_| held.contains(topic, number)));
                before.insert(topic, number, Before { target: id, holder });
            }
            for (topic, number, _) in held.iter() {
                let target = before.get(topic, number).and_then(|before| before.target);
                before.insert(topic, number, Before { target, holder: id });
            }
        }
        let subscriptions = self.members.iter().map(|(id, member)| (id.as_str(), &member.topics)).collect();
        let targets: Vec<PartitionSet> = assign(&subscriptions, views, |topic, number| {
            before.get(topic, number).copied().unwrap_or_default()
        })
        .into_values()
        .collect();
        for (member, target) in self.members.values_mut().zip(targets) {
            member.target = target;
        }
    }

    /// Brings every member closer to its target.
    fn reconcile(&mut self, at: Millis) -> Vec<String> {
        let holders: PartitionSet = self.holders().iter().map(|(topic, number, _)| (topic, number)).collect();
        let mut changed = Vec::new();
        for (id, member) in &mut self.members {
            // Targets do not overlap, so what one takes here no other one would.
            if member.approach(|topic, number| !holders.contains(topic, number), at) {
                changed.push(id.clone());
            }
            // Also a member that there is nothing for has an epoch to answer to.
            member.epoch = member.epoch.max(1);
        }
        changed
    }
}
