//! The rules of groups, tried out.

mod assigning;
mod life;
mod occupied;
mod positions;
mod random;

use std::collections::BTreeSet;

use minikafka_record::Offset;
use minikafka_storage::{Millis, TopicId};

use super::{
    Applied, Because, Command, Commit, Committer, Group, GroupError, Groups, Join, Member, NamedView,
    NewPosition, PartitionSet, Returning, Subscribe, TopicView,
};

/// A topic, with an id that is made of a number.
fn view(topic: &str, id: u8, partitions: u32) -> NamedView {
    (topic.to_owned(), TopicView { id: TopicId::from_bytes([id; 16]), partitions })
}

fn names(topics: &[&str]) -> BTreeSet<String> {
    topics.iter().map(|topic| (*topic).to_owned()).collect()
}

/// Partitions, written `a-0 b-12`.
fn set(text: &str) -> PartitionSet {
    let partition = |word: &'_ str| -> (String, u32) {
        let (topic, number) = word.rsplit_once('-').unwrap();
        (topic.to_owned(), number.parse().unwrap())
    };
    let parts: Vec<_> = text.split_whitespace().map(partition).collect();
    parts.iter().map(|(topic, number)| (topic.as_str(), *number)).collect()
}

/// The other way round.
fn text<'a>(partitions: impl Iterator<Item = (&'a str, u32)>) -> String {
    partitions.map(|(topic, number)| format!("{topic}-{number}")).collect::<Vec<_>>().join(" ")
}

/// Topic, partition and offset.
type NumberedPosition = (&'static str, u32, u64);

/// Groups with one named "g", and a clock that is moved by hand.
#[derive(Default)]
struct Rig {
    groups: Groups,
    now: Millis,
}

impl Rig {
    /// With topics that are there.
    fn with(topics: &[(&str, u32)]) -> Rig {
        let mut rig = Rig::default();
        for (id, (topic, partitions)) in topics.iter().enumerate() {
            rig.apply(Command::SetTopics { views: vec![view(topic, id as u8, *partitions)] }).unwrap();
        }
        rig
    }

    fn apply(&mut self, command: Command) -> Result<Applied, GroupError> {
        let before = self.groups.clone();
        let outcome = self.groups.apply(command, self.now).map(|mut applied| {
            self.groups.settle(&mut applied, self.now);
            applied
        });
        if outcome.is_err() {
            assert_eq!(before, self.groups, "what is refused changes nothing");
        }
        check(&self.groups);
        outcome
    }

    fn join_as(&mut self, member: &str, instance: &str, topics: &[&str]) -> Result<Applied, GroupError> {
        self.apply(Command::Join(Join {
            group: "g".to_owned(),
            member_id: member.to_owned(),
            instance_id: instance.to_owned(),
            topics: names(topics),
            ..Join::default()
        }))
    }

    fn join(&mut self, member: &str, topics: &[&str]) -> Applied {
        self.join_as(member, "", topics).unwrap()
    }

    fn come_back(&mut self, member: &str, epoch: u64, owned: &str) -> Result<Applied, GroupError> {
        let before = self.groups.get("g").and_then(|group| group.members.get(member)).cloned();
        let before = before.unwrap_or_default();
        self.apply(Command::Join(Join {
            group: "g".to_owned(),
            member_id: member.to_owned(),
            returning: Some(Returning { epoch, owned: set(owned) }),
            instance_id: before.instance_id,
            topics: before.topics,
            ..Join::default()
        }))
    }

    /// The member does what its newest assignment says.
    fn obey(&mut self, member: &str) -> Applied {
        let (epoch, owned) = {
            let member = self.member(member);
            (member.epoch, member.assigned().collect())
        };
        self.confirm(member, epoch, owned).unwrap()
    }

    fn confirm(&mut self, member: &str, epoch: u64, owned: PartitionSet) -> Result<Applied, GroupError> {
        let (group, member_id) = ("g".to_owned(), member.to_owned());
        self.apply(Command::Confirm { group, member_id, epoch, owned })
    }

    fn remove(&mut self, member: &str, because: Because) -> Result<Applied, GroupError> {
        let (group, member_id) = ("g".to_owned(), member.to_owned());
        self.apply(Command::Remove { group, member_id, because })
    }

    /// Begins an occupation, and returns its number.
    fn occupy(&mut self) -> Result<u64, GroupError> {
        let applied = self.apply(Command::Occupy { group: "g".to_owned() })?;
        Ok(applied.occupation.expect("an occupation has a number"))
    }

    fn vacate(&mut self, occupation: u64, generation: u64) -> Applied {
        self.apply(Command::Vacate { group: "g".to_owned(), occupation, generation }).unwrap()
    }

    fn leave(&mut self, member: &str) -> Applied {
        let session = self.member(member).session;
        self.remove(member, Because::Left { session }).unwrap()
    }

    fn commit(&mut self, by: Committer, positions: &[NumberedPosition]) -> Result<Applied, GroupError> {
        let id = |topic: &str| self.groups.topics.get(topic).map(|view| view.id);
        let named = |position: &NumberedPosition| (id(position.0), *position);
        self.commit_in(by, positions.iter().map(named).collect())
    }

    /// Commits in topics of these ids.
    fn commit_in(
        &mut self,
        by: Committer,
        positions: Vec<(Option<TopicId>, NumberedPosition)>,
    ) -> Result<Applied, GroupError> {
        let position = |(topic_id, (topic, number, offset)): (Option<TopicId>, NumberedPosition)| {
            let topic_id = topic_id.unwrap_or(TopicId::from_bytes([99; 16]));
            let offset = Offset::new(offset);
            (topic, number, NewPosition { topic_id, offset, metadata: String::new() })
        };
        let positions = positions.into_iter().map(position).collect();
        self.apply(Command::Commit(Commit { group: "g".to_owned(), by, positions }))
    }

    fn group(&self) -> &Group {
        self.groups.get("g").unwrap()
    }

    fn member(&self, member: &str) -> &Member {
        &self.group().members[member]
    }

    /// What a member is to read now.
    fn reads(&self, member: &str) -> String {
        text(self.member(member).assigned())
    }

    fn target(&self, member: &str) -> String {
        text(self.member(member).target.iter().map(|(topic, number, ())| (topic, number)))
    }
}

/// What must hold after every command.
fn check(groups: &Groups) {
    for group in groups.groups.values() {
        let held: usize = group.members.values().map(|member| member.held.len()).sum();
        assert_eq!(held, group.holders().len(), "a partition has two owners");
        let targets: usize = group.members.values().map(|member| member.target.len()).sum();
        let wanted: usize = groups
            .topics
            .iter()
            .filter(|(topic, _)| group.reads(topic))
            .map(|(_, view)| view.partitions as usize)
            .sum();
        assert_eq!(targets, wanted, "every partition that somebody wants is to be read by one");
        for member in group.members.values() {
            assert!(member.target.topics().all(|topic| member.topics.contains(topic)));
            let is_asked = member.held.iter().any(|(_, _, held)| held.is_revoked());
            assert_eq!(is_asked, member.revoking_since.is_some());
        }
        assert!(group.occupied.is_none() || group.members.is_empty(), "an occupied group has other members");
    }
}
