//! [`Groups`], all of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    sync::Arc,
};

use minikafka_record::Offset;
use minikafka_storage::{Millis, TopicId};

use super::{
    Applied, Because, Command, Commit, Committer, Gone, Group, GroupError, Join, MemberKey, NamedView,
    NewPosition, PartitionMap, PartitionSet, Subscribe, TopicViews,
    limits::{GROUPS_MAX, STATE_BYTES_MAX},
    weight::{of_newcomer, of_topics},
};

/// All groups, and what they know of topics.
///
/// A copy is cheap, so that a snapshot can be made of one while commands go on: a group is copied when it changes, and
/// only then.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Groups {
    /// None of them is without members and positions, unless it is occupied.
    pub(crate) groups: BTreeMap<String, Arc<Group>>,
    /// The topics that members subscribe to, as far as they are there: what the targets are made of.
    pub(crate) topics: TopicViews,
    /// The highest number that a stream of a member had which is gone. Members that are new begin beyond it, so that a
    /// number is never that of two streams of one name.
    pub(crate) sessions_gone: u64,
    /// About how many bytes the groups take.
    bytes: usize,
}

impl Groups {
    /// As they were stored.
    pub(crate) fn restore(
        groups: BTreeMap<String, Arc<Group>>,
        topics: TopicViews,
        sessions_gone: u64,
    ) -> Groups {
        let bytes = groups.values().map(|group| group.bytes()).sum();
        Groups { groups, topics, sessions_gone, bytes }
    }

    pub(crate) fn get(&self, group: &str) -> Option<&Group> {
        self.groups.get(group).map(Arc::as_ref)
    }

    pub(crate) fn require(&self, group: &str) -> Result<&Group, GroupError> {
        self.get(group).ok_or_else(|| GroupError::NotFound(group.to_owned()))
    }

    /// The topics that a group subscribes to or has positions of, with the ids of those of which it has.
    pub(crate) fn interests(&self) -> (BTreeSet<&str>, BTreeSet<(&str, TopicId)>) {
        let (mut subscribed, mut stored) = (BTreeSet::new(), BTreeSet::new());
        for group in self.groups.values() {
            subscribed.extend(group.members.values().flat_map(|member| &member.topics).map(String::as_str));
            for topic in group.positions.topics() {
                stored
                    .extend(group.positions.of_topic(topic).map(|(_, position)| (topic, position.topic_id)));
            }
        }
        (subscribed, stored)
    }

    /// Does what a command says, or answers why not; then nothing has changed. What members are to read is left for
    /// the end of the round.
    pub(crate) fn apply(&mut self, command: Command, at: Millis) -> Result<Applied, GroupError> {
        match command {
            Command::Join(join) => self.join(join, at),
            Command::Subscribe(Subscribe { group, member_id, session, topics, views }) => {
                self.require_member(&group, &member_id)?;
                self.groups[&group].check_session(&group, &member_id, session)?;
                let before = of_topics(&self.groups[&group].members[&member_id].topics);
                self.check_bytes(of_topics(&topics).saturating_sub(before))?;
                let mut applied = self.learn(views, at);
                self.change(&group, &mut applied, |of| of.subscribe(&group, &member_id, topics))?;
                Ok(applied)
            }
            Command::Confirm { group, member_id, epoch, owned } => {
                self.require(&group)?;
                let mut applied = Applied::default();
                self.change(&group, &mut applied, |of| of.confirm(&group, &member_id, epoch, &owned, at))?;
                Ok(applied)
            }
            Command::Remove { group, member_id, because } => self.remove(&group, &member_id, because, at),
            Command::Commit(commit) => self.commit(commit, at),
            Command::DropPositions { group, of } => self.drop_positions(&group, &of),
            Command::Occupy { group } => self.occupy(&group),
            Command::Vacate { group, occupation, generation } => {
                Ok(self.vacate(group, occupation, generation, at))
            }
            Command::Delete { group } => {
                self.require(&group)?.check_empty(&group)?;
                self.let_go(&group);
                Ok(Applied::default())
            }
            Command::Forget { group, empty_since } => {
                let is_so = |group: &Group| group.is_empty() && group.empty_since == empty_since;
                if self.get(&group).is_some_and(is_so) {
                    self.let_go(&group);
                }
                Ok(Applied::default())
            }
            Command::SetTopics { views } => Ok(self.set_topics(views, at)),
            Command::DropTopics { topics } => Ok(self.drop_topics(&topics)),
        }
    }

    /// Ends a round: works out what the members of groups that a command has left unsettled are to read.
    pub(crate) fn settle(&mut self, applied: &mut Applied, at: Millis) {
        for name in std::mem::take(&mut applied.unsettled) {
            // Another command of the round may have had the same in mind.
            if self.get(&name).is_some_and(Group::is_unsettled) {
                let changed = self.with(&name, |group, views| group.settle(views, at));
                let key = |member_id| MemberKey { group: name.clone(), member_id };
                applied.changed.extend(changed.into_iter().map(key));
            }
        }
    }

    fn join(&mut self, mut join: Join, at: Millis) -> Result<Applied, GroupError> {
        let known = match self.get(&join.group) {
            Some(group) => {
                group.check_join(&join)?;
                group.members.get(&join.member_id)
            }
            None if join.returning.is_some() => {
                let Join { group, member_id, .. } = join;
                return Err(GroupError::UnknownMember { group, member_id });
            }
            None => {
                self.check_room()?;
                None
            }
        };
        // Who comes back as it was takes nothing more.
        let before = known.map_or(0, |member| of_newcomer(&member.topics) + member.pattern.len());
        let after = of_newcomer(&join.topics) + join.pattern.len();
        self.check_bytes(after.saturating_sub(before))?;
        let mut applied = self.learn(std::mem::take(&mut join.views), at);
        let (name, sessions_gone) = (join.group.clone(), self.sessions_gone);
        let (session, gone) = self.change(&name, &mut applied, |group| group.join(join, sessions_gone, at));
        applied.session = Some(session);
        if let Some((member_id, session)) = gone {
            self.note_gone(&mut applied, MemberKey { group: name, member_id }, session);
        }
        Ok(applied)
    }

    fn remove(
        &mut self,
        name: &str,
        member_id: &str,
        because: Because,
        at: Millis,
    ) -> Result<Applied, GroupError> {
        self.require(name)?;
        let mut applied = Applied::default();
        let gone = self.change(name, &mut applied, |group| group.remove(name, member_id, because, at))?;
        if let Some(session) = gone {
            let (group, member_id) = (name.to_owned(), member_id.to_owned());
            self.note_gone(&mut applied, MemberKey { group, member_id }, session);
        }
        let is_empty = self.get(name).is_some_and(Group::is_empty);
        applied.emptied = is_empty.then(|| name.to_owned());
        Ok(applied)
    }

    fn note_gone(&mut self, applied: &mut Applied, key: MemberKey, session: u64) {
        self.sessions_gone = self.sessions_gone.max(session);
        applied.gone.push(Gone { key, session });
    }

    fn occupy(&mut self, name: &str) -> Result<Applied, GroupError> {
        match self.get(name) {
            Some(group) => group.check_occupy(name)?,
            None => {
                self.check_room()?;
                self.check_bytes(Group::default().bytes())?;
            }
        }
        let occupation = self.with(name, |group, _| group.occupy());
        Ok(Applied { occupation: Some(occupation), ..Applied::default() })
    }

    fn vacate(&mut self, name: String, occupation: u64, generation: u64, at: Millis) -> Applied {
        if self.get(&name).is_none_or(|group| group.occupied != Some(occupation)) {
            return Applied::default();
        }
        self.with(&name, |group, _| group.vacate(occupation, generation, at));
        let is_there = self.groups.contains_key(&name);
        Applied { emptied: is_there.then_some(name), ..Applied::default() }
    }

    fn drop_positions(&mut self, name: &str, of: &PartitionSet) -> Result<Applied, GroupError> {
        let group = self.require(name)?;
        if let Some(topic) = of.topics().find(|topic| group.reads(topic)) {
            return Err(GroupError::TopicInUse { group: name.to_owned(), topic: topic.to_owned() });
        }
        self.with(name, |group, _| group.drop_positions(of));
        Ok(Applied::default())
    }

    fn commit(&mut self, commit: Commit, at: Millis) -> Result<Applied, GroupError> {
        let Commit { group: name, by, positions } = commit;
        let (before, after) = match self.get(&name) {
            Some(group) => {
                group.check_commit(&name, &by, &positions, &self.topics)?;
                (group.bytes(), group.bytes_after(&positions))
            }
            // A classic member's group was there a moment ago, and is to be joined anew.
            None if let Committer::Classic { id } = by => {
                return Err(GroupError::UnknownMember { group: name, member_id: id });
            }
            None if by != Committer::Outsider => return Err(GroupError::NotFound(name)),
            None => {
                self.check_room()?;
                (0, Group::default().bytes_after(&positions))
            }
        };
        self.check_bytes(after.saturating_sub(before))?;
        self.with(&name, |group, _| group.store(positions, at));
        let is_empty = self.get(&name).is_some_and(Group::is_empty);
        Ok(Applied { emptied: is_empty.then_some(name), ..Applied::default() })
    }

    /// Takes what a member brings about topics, as far as nothing is known of them: whoever looks after topics
    /// knows better.
    fn learn(&mut self, mut views: Vec<NamedView>, at: Millis) -> Applied {
        views.retain(|(topic, _)| !self.topics.contains_key(topic));
        self.set_topics(views, at)
    }

    fn set_topics(&mut self, views: Vec<NamedView>, at: Millis) -> Applied {
        let known = |(topic, view): &NamedView| {
            let same = self.topics.get(topic).filter(|known| known.id == view.id);
            same.map_or(0, |known| known.partitions)
        };
        let known: Vec<u32> = views.iter().map(known).collect();
        let changed = views.iter().filter(|(topic, view)| self.topics.get(topic) != Some(view));
        let changed: BTreeSet<String> = changed.map(|(topic, _)| topic.clone()).collect();
        // A topic of the same name and another id is another one. Its partitions are taken away, and given anew once
        // their readers have given them up.
        let is_other =
            |(topic, view): &&NamedView| self.topics.get(topic).is_some_and(|old| old.id != view.id);
        let replaced = views
            .iter()
            .filter(is_other)
            .filter_map(|(topic, _)| Some((topic.clone(), self.topics.get(topic)?.id)));
        let replaced: Vec<_> = replaced.collect();
        let mut applied = self.drop_topics(&replaced);
        for ((topic, view), known) in views.iter().zip(known) {
            self.begin(topic, view.id, known..view.partitions, at);
        }
        self.topics.extend(views);
        self.topics_changed(&mut applied, &changed);
        applied
    }

    /// These partitions are there since groups have subscribed: they read all of them, wherever else they begin. Groups
    /// for which there is no room begin where their members say.
    fn begin(&mut self, topic: &str, topic_id: TopicId, new: Range<u32>, at: Millis) {
        // Also while its members are away: it has read everything that there was.
        let has_all = |group: &Group| {
            let all = group.positions.of_topic(topic).filter(|(number, _)| *number < new.start);
            new.start > 0 && all.count() == new.start as usize
        };
        let is_concerned = |group: &Group| !new.is_empty() && (group.reads(topic) || has_all(group));
        for name in self.names(is_concerned) {
            let mut positions = PartitionMap::default();
            let group = &self.groups[&name];
            for number in new.clone().filter(|number| !group.positions.contains(topic, *number)) {
                let position = NewPosition { topic_id, offset: Offset::ZERO, metadata: String::new() };
                positions.insert(topic, number, position);
            }
            let more = group.bytes_after(&positions).saturating_sub(group.bytes());
            if self.check_bytes(more).is_ok() {
                self.with(&name, |group, _| group.keep(positions, at));
            }
        }
    }

    fn drop_topics(&mut self, topics: &[(String, TopicId)]) -> Applied {
        let mut applied = Applied::default();
        if topics.is_empty() {
            return applied;
        }
        let dropped: BTreeSet<(&str, TopicId)> =
            topics.iter().map(|(topic, id)| (topic.as_str(), *id)).collect();
        let has_positions = |group: &Group| {
            dropped.iter().any(|(topic, id)| {
                group.positions.of_topic(topic).any(|(_, position)| position.topic_id == *id)
            })
        };
        for name in self.names(has_positions) {
            self.with(&name, |group, _| group.forget_positions(&dropped));
        }
        let is_known =
            |(topic, id): &&(String, TopicId)| self.topics.get(topic).is_some_and(|view| view.id == *id);
        let known: BTreeSet<String> =
            topics.iter().filter(is_known).map(|(topic, _)| topic.clone()).collect();
        self.topics.retain(|topic, _| !known.contains(topic));
        for name in self.names(|group| known.iter().any(|topic| group.holds(topic))) {
            self.with(&name, |group, _| known.iter().for_each(|topic| group.void(topic)));
        }
        self.topics_changed(&mut applied, &known);
        applied
    }

    fn topics_changed(&mut self, applied: &mut Applied, topics: &BTreeSet<String>) {
        for name in self.names(|group| topics.iter().any(|topic| group.reads(topic))) {
            self.change(&name, applied, Group::topics_changed);
        }
    }

    /// The groups of which something is so.
    fn names(&self, is_so: impl Fn(&Group) -> bool) -> Vec<String> {
        self.groups.iter().filter(|(_, group)| is_so(group)).map(|(name, _)| name.clone()).collect()
    }

    fn check_room(&self) -> Result<(), GroupError> {
        if self.groups.len() < GROUPS_MAX {
            return Ok(());
        }
        Err(GroupError::TooManyGroups { max: GROUPS_MAX })
    }

    /// Checks that groups may grow by so many bytes. What makes nothing larger is let in always.
    fn check_bytes(&self, more: usize) -> Result<(), GroupError> {
        if more == 0 || self.bytes + more <= STATE_BYTES_MAX {
            return Ok(());
        }
        Err(GroupError::TooMuchState { max: STATE_BYTES_MAX })
    }

    fn require_member(&self, group: &str, member_id: &str) -> Result<(), GroupError> {
        match self.get(group).is_some_and(|group| group.members.contains_key(member_id)) {
            true => Ok(()),
            false => {
                Err(GroupError::UnknownMember { group: group.to_owned(), member_id: member_id.to_owned() })
            }
        }
    }

    /// Changes a group, and notes that its members are to be looked at when the round ends.
    fn change<T>(&mut self, name: &str, applied: &mut Applied, change: impl FnOnce(&mut Group) -> T) -> T {
        let outcome = self.with(name, |group, _| change(group));
        if self.get(name).is_some_and(Group::is_unsettled) {
            applied.unsettled.push(name.to_owned());
        }
        outcome
    }

    /// Changes a group, which is made when it is not there, and let go of when nothing is left of it.
    fn with<T>(&mut self, name: &str, change: impl FnOnce(&mut Group, &TopicViews) -> T) -> T {
        let before = self.get(name).map_or(0, Group::bytes);
        let group = Arc::make_mut(self.groups.entry(name.to_owned()).or_default());
        let outcome = change(group, &self.topics);
        let (after, is_void) = (group.bytes(), group.is_void());
        self.bytes = self.bytes - before + after;
        if is_void {
            self.let_go(name);
        }
        outcome
    }

    fn let_go(&mut self, name: &str) {
        if let Some(group) = self.groups.remove(name) {
            self.bytes -= group.bytes();
        }
    }
}
