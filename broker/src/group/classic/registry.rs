//! [`Registry`], all groups that have classic members, or are about to.

use std::collections::{BTreeMap, HashMap};

use minikafka_storage::Millis;

use super::{
    api::{ClassicDescription, ClassicJoin, ClassicJoined, ClassicSummary, ClassicSync, ClassicSynced},
    group::Group,
    limits::BYTES_MAX,
    member::{Outcome, Waiter, of_assignment, of_newcomer},
};
use crate::group::core::{GroupError, PartitionMap};

/// All of them. A group is in here from before its first member is let in until its last one is gone.
#[derive(Debug, Default)]
pub(in crate::group) struct Registry {
    groups: HashMap<String, Entry>,
    /// Bytes that the groups take, about.
    bytes: usize,
    /// The last generations of groups whose occupation is to be ended. They stay until the log knows them, so that no
    /// generation comes twice however often the end has to be tried.
    ended: BTreeMap<String, i32>,
    is_stopped: bool,
}

#[derive(Debug)]
struct Entry {
    group: Group,
    /// The newest occupation that is known to be in the log.
    occupation: Option<u64>,
    /// Joins that wait for an occupation.
    arriving: usize,
}

/// A group that has no members any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::group) struct Ended {
    pub(in crate::group) group: String,
    /// The last that it had.
    pub(in crate::group) generation: u64,
}

/// What was done to a group, and when it is to be looked at next.
pub(super) struct Done<T> {
    pub(super) outcome: T,
    pub(super) due_at: Option<Millis>,
}

impl Registry {
    /// Somebody is about to join: the group stays until it has [arrived](Registry::arrive). `false`: there is no
    /// occupation yet.
    pub(super) fn expect(&mut self, name: &str) -> bool {
        // Also behind an end that the log does not know of yet.
        let last = self.ended.get(name).copied().unwrap_or(0);
        let new = || Entry { group: Group::new(name, last), occupation: None, arriving: 0 };
        let entry = self.groups.entry(name.to_owned()).or_insert_with(new);
        entry.arriving += 1;
        entry.occupation.is_some()
    }

    /// It joins, or does not, when the occupation was refused.
    pub(super) fn arrive(
        &mut self,
        occupation: Option<u64>,
        join: Outcome<(ClassicJoin, String)>,
        name: &str,
        now: Millis,
    ) -> Done<Outcome<Waiter<ClassicJoined>>> {
        let room = BYTES_MAX.saturating_sub(self.bytes);
        let has_room = join.as_ref().is_ok_and(|(join, _)| of_newcomer(join) <= room);
        let entry = self.groups.get_mut(name).filter(|_| !self.is_stopped);
        let Some(entry) = entry else {
            return Done { outcome: Err(GroupError::RebalanceInProgress(name.to_owned())), due_at: None };
        };
        entry.arriving -= 1;
        if let Some(number) = occupation {
            if entry.occupation.is_none() {
                // Generations go on where others ended.
                entry.group.generation = entry.group.generation.max(i32::try_from(number).unwrap_or(0));
            }
            entry.occupation = entry.occupation.max(occupation);
        }
        let join = join.and_then(|join| if has_room { Ok(join) } else { Err(too_much()) });
        self.change(name, now, |group| join.and_then(|(join, new_id)| group.join(join, new_id, now)))
            .expect("it was just found")
    }

    /// A member asks for its assignment.
    pub(super) fn sync(&mut self, sync: ClassicSync, now: Millis) -> Done<Outcome<Waiter<ClassicSynced>>> {
        let bytes: usize = sync.assignments.iter().map(|(_, assignment)| of_assignment(assignment)).sum();
        if self.bytes + bytes > BYTES_MAX {
            return Done { outcome: Err(too_much()), due_at: None };
        }
        let (name, member_id) = (sync.by.group.clone(), sync.by.member_id.clone());
        let done = self.change(&name, now, |group| group.sync(sync, now));
        done.unwrap_or_else(|| Done { outcome: Err(unknown(&name, &member_id)), due_at: None })
    }

    /// Changes a group, if it is there. It is let go of when nobody is left in it.
    pub(super) fn change<T>(
        &mut self,
        name: &str,
        now: Millis,
        change: impl FnOnce(&mut Group) -> T,
    ) -> Option<Done<T>> {
        let entry = self.groups.get_mut(name)?;
        let before = entry.group.bytes();
        let outcome = change(&mut entry.group);
        self.bytes = self.bytes - before + entry.group.bytes();
        let mut due_at = entry.group.next_deadline();
        if entry.group.is_idle() && entry.arriving == 0 {
            self.bytes -= entry.group.bytes();
            self.ended.insert(name.to_owned(), entry.group.generation);
            self.groups.remove(name);
            // Its occupation is to be ended.
            due_at = Some(now);
        }
        Some(Done { outcome, due_at })
    }

    /// Looks at a group without changing what it is, if it is there.
    pub(super) fn look<T>(&mut self, name: &str, look: impl FnOnce(&mut Group) -> T) -> Option<T> {
        self.groups.get_mut(name).map(|entry| look(&mut entry.group))
    }

    /// Does what is due in a group by now. `Some(at)`: it is to be looked at again then. `None`: it is not there.
    pub(in crate::group) fn pass(&mut self, name: &str, now: Millis) -> Option<Millis> {
        let due_at = self.change(name, now, |group| group.pass(now))?.due_at;
        // Nothing is due in a group that waits for its occupation; whoever waits for that looks again.
        self.groups.contains_key(name).then_some(due_at.unwrap_or(Millis::MAX))
    }

    /// What the log is to know of a group that is not there any more.
    pub(in crate::group) fn end_of(&self, name: &str) -> Ended {
        let last = self.ended.get(name).copied().unwrap_or(0);
        Ended { group: name.to_owned(), generation: u64::try_from(last).unwrap_or(0) }
    }

    /// The log knows it.
    pub(in crate::group) fn vacated(&mut self, ended: &Ended) {
        if self.end_of(&ended.group) == *ended {
            self.ended.remove(&ended.group);
        }
    }

    /// Everybody has time until its timeout from now on: nobody could be heard.
    pub(in crate::group) fn forgive(&mut self, now: Millis) {
        self.groups.values_mut().for_each(|entry| entry.group.forgive(now));
    }

    /// Nobody is a member any more, and whoever waits is told so.
    pub(in crate::group) fn stop(&mut self) {
        self.is_stopped = true;
        self.groups.clear();
    }

    pub(in crate::group) fn summary(&self, name: &str) -> Option<ClassicSummary> {
        self.groups.get(name).map(|entry| entry.group.summary())
    }

    pub(in crate::group) fn describe(&self, name: &str) -> Option<ClassicDescription> {
        self.groups.get(name).map(|entry| entry.group.describe())
    }

    pub(in crate::group) fn holders(&self, name: &str) -> PartitionMap<String> {
        self.groups.get(name).map(|entry| entry.group.holders()).unwrap_or_default()
    }

    /// Whether a member wants to read a topic: one whose topics the door could not tell may read any.
    pub(in crate::group) fn may_read(&self, name: &str, topic: &str) -> bool {
        let may_read = |entry: &Entry| {
            let mut members = entry.group.members.values();
            members.any(|member| member.topics.is_empty() || member.topics.iter().any(|of| of == topic))
        };
        self.groups.get(name).is_some_and(may_read)
    }
}

/// A group that is not there has no members.
pub(super) fn unknown(group: &str, member_id: &str) -> GroupError {
    GroupError::UnknownMember { group: group.to_owned(), member_id: member_id.to_owned() }
}

fn too_much() -> GroupError {
    GroupError::TooMuchState { max: BYTES_MAX }
}
