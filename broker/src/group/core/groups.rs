//! [`Groups`], all of them.

use std::collections::{BTreeMap, BTreeSet};

use minikafka_storage::{Millis, TopicId};

use super::{
    Applied, Because, Command, Commit, Committer, Group, GroupError, Join, MemberKey, NamedView, TopicViews,
    group::Moved, limits::GROUPS_MAX,
};

/// All groups, and what they know of topics.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Groups {
    pub(crate) groups: BTreeMap<String, Group>,
    /// The topics that members subscribe to, as far as they are there: what the targets are made of.
    pub(crate) topics: TopicViews,
}

impl Groups {
    pub(crate) fn get(&self, group: &str) -> Option<&Group> {
        self.groups.get(group)
    }

    pub(crate) fn require(&self, group: &str) -> Result<&Group, GroupError> {
        self.groups.get(group).ok_or_else(|| GroupError::NotFound(group.to_owned()))
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

    /// Does what a command says, or answers why not; then nothing has changed.
    pub(crate) fn apply(&mut self, command: Command, at: Millis) -> Result<Applied, GroupError> {
        match command {
            Command::Join(join) => self.join(join, at),
            Command::Subscribe { group, member_id, topics, views } => {
                self.require_member(&group, &member_id)?;
                let applied = self.learn(views, at);
                self.in_group(group, applied, |name, group, views| {
                    group.subscribe(name, &member_id, topics, views, at)
                })
            }
            Command::Confirm { group, member_id, epoch, owned } => {
                self.in_group(group, Applied::default(), |name, group, _| {
                    group.confirm(name, &member_id, epoch, &owned, at)
                })
            }
            Command::Remove { group, member_id, because } => self.remove(group, &member_id, because, at),
            Command::Commit(commit) => self.commit(commit, at),
            Command::Delete { group } => {
                self.require(&group)?.check_empty(&group)?;
                self.groups.remove(&group);
                Ok(Applied::default())
            }
            Command::Forget { group, empty_since } => {
                let is_so = |group: &Group| group.members.is_empty() && group.empty_since == empty_since;
                if self.groups.get(&group).is_some_and(is_so) {
                    self.groups.remove(&group);
                }
                Ok(Applied::default())
            }
            Command::SetTopics { views } => Ok(self.set_topics(views, at)),
            Command::DropTopics { topics } => Ok(self.drop_topics(&topics, at)),
        }
    }

    fn join(&mut self, mut join: Join, at: Millis) -> Result<Applied, GroupError> {
        match self.groups.get(&join.group) {
            Some(group) => group.check_join(&join)?,
            None if join.returning.is_some() => {
                let Join { group, member_id, .. } = join;
                return Err(GroupError::UnknownMember { group, member_id });
            }
            None => self.check_room()?,
        }
        let mut applied = self.learn(std::mem::take(&mut join.views), at);
        let name = join.group.clone();
        let (session, moved) = self.groups.entry(name.clone()).or_default().join(join, &self.topics, at);
        applied.session = Some(session);
        applied.add(&name, moved);
        Ok(applied)
    }

    fn remove(
        &mut self,
        group: String,
        member_id: &str,
        because: Because,
        at: Millis,
    ) -> Result<Applied, GroupError> {
        let name = group.clone();
        let mut applied = self.in_group(group, Applied::default(), |name, group, views| {
            group.remove(name, member_id, because, views, at)
        })?;
        let is_empty = self.groups.get(&name).is_some_and(|group| group.members.is_empty());
        applied.emptied = is_empty.then_some(name);
        Ok(applied)
    }

    fn commit(&mut self, commit: Commit, at: Millis) -> Result<Applied, GroupError> {
        let Commit { group: name, by, positions } = commit;
        match self.groups.get(&name) {
            Some(group) => group.check_commit(&name, &by, &positions, &self.topics)?,
            None if by != Committer::Outsider => return Err(GroupError::NotFound(name)),
            None => self.check_room()?,
        }
        let group = self.groups.entry(name.clone()).or_default();
        group.store(positions, at);
        let emptied = group.members.is_empty().then_some(name);
        Ok(Applied { emptied, ..Applied::default() })
    }

    /// Takes what a member brings about topics, as far as nothing is known of them: whoever looks after topics
    /// knows better.
    fn learn(&mut self, mut views: Vec<NamedView>, at: Millis) -> Applied {
        views.retain(|(topic, _)| !self.topics.contains_key(topic));
        self.set_topics(views, at)
    }

    fn set_topics(&mut self, views: Vec<NamedView>, at: Millis) -> Applied {
        let changed = views.iter().filter(|(topic, view)| self.topics.get(topic) != Some(view));
        let changed: Vec<String> = changed.map(|(topic, _)| topic.clone()).collect();
        // A topic of the same name and another id is another one. Its partitions are taken away, and given anew once
        // their readers have given them up.
        let is_other =
            |(topic, view): &&NamedView| self.topics.get(topic).is_some_and(|old| old.id != view.id);
        let replaced = views
            .iter()
            .filter(is_other)
            .filter_map(|(topic, _)| Some((topic.clone(), self.topics.get(topic)?.id)));
        let replaced: Vec<_> = replaced.collect();
        let mut applied = self.drop_topics(&replaced, at);
        self.topics.extend(views);
        self.topics_changed(&mut applied, &changed, at);
        applied
    }

    fn drop_topics(&mut self, topics: &[(String, TopicId)], at: Millis) -> Applied {
        for group in self.groups.values_mut() {
            for (topic, id) in topics {
                if group.positions.of_topic(topic).any(|(_, position)| position.topic_id == *id) {
                    group.positions.retain(|name, _, position| name != topic || position.topic_id != *id);
                }
            }
        }
        let is_known =
            |(topic, id): &&(String, TopicId)| self.topics.get(topic).is_some_and(|view| view.id == *id);
        let known: Vec<String> = topics.iter().filter(is_known).map(|(topic, _)| topic.clone()).collect();
        self.topics.retain(|topic, _| !known.contains(topic));
        for group in self.groups.values_mut() {
            known.iter().for_each(|topic| group.void(topic));
        }
        let mut applied = Applied::default();
        self.topics_changed(&mut applied, &known, at);
        applied
    }

    fn topics_changed(&mut self, applied: &mut Applied, topics: &[String], at: Millis) {
        for (name, group) in &mut self.groups {
            if topics.iter().any(|topic| group.reads(topic)) {
                let moved = group.topics_changed(&self.topics, at);
                applied.add(name, moved);
            }
        }
    }

    fn check_room(&self) -> Result<(), GroupError> {
        if self.groups.len() < GROUPS_MAX {
            return Ok(());
        }
        Err(GroupError::TooManyGroups { max: GROUPS_MAX })
    }

    fn require_member(&self, group: &str, member_id: &str) -> Result<(), GroupError> {
        match self.groups.get(group).is_some_and(|group| group.members.contains_key(member_id)) {
            true => Ok(()),
            false => {
                Err(GroupError::UnknownMember { group: group.to_owned(), member_id: member_id.to_owned() })
            }
        }
    }

    fn in_group(
        &mut self,
        name: String,
        mut applied: Applied,
        change: impl FnOnce(&str, &mut Group, &TopicViews) -> Result<Moved, GroupError>,
    ) -> Result<Applied, GroupError> {
        let Some(group) = self.groups.get_mut(&name) else { return Err(GroupError::NotFound(name)) };
        let moved = change(&name, group, &self.topics)?;
        applied.add(&name, moved);
        Ok(applied)
    }
}

impl Applied {
    fn add(&mut self, group: &str, moved: Moved) {
        let key = |member_id| MemberKey { group: group.to_owned(), member_id };
        self.changed.extend(moved.changed.into_iter().map(key));
        self.gone.extend(moved.gone.into_iter().map(key));
    }
}
