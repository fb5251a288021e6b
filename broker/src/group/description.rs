//! Groups for those who look at them, with their lag.

use std::{collections::BTreeMap, ops::Bound, time::Duration};

use super::{
    api::{
        GroupDescription, GroupPlace, GroupSummary, Lag, MemberDescription, PartitionLag, StoredPosition,
        TopicPartition,
    },
    core::{Group, GroupError, Member, MemberKey, Position},
    lag::Next,
    membership::check_group_name,
};
use crate::{Broker, Error, broker::blocking};

impl Broker {
    /// Up to `count` groups with names behind `after`, ordered by name.
    pub fn groups(&self, after: &str, count: usize) -> Vec<GroupSummary> {
        self.0.groups.machine.read(|groups| {
            let behind = groups.groups.range::<str, _>((Bound::Excluded(after), Bound::Unbounded));
            behind.take(count).map(|(name, group)| summary(name, group)).collect()
        })
    }

    /// One group with its members, positions and lag.
    ///
    /// # Errors
    /// When the group is not there, or a log cannot be read.
    pub async fn describe_group(&self, group: &str) -> Result<GroupDescription, Error> {
        self.describe_group_from(group, &GroupPlace::START, usize::MAX).await
    }

    /// The same from a place on, up to `count` members and positions. Only for these are logs asked.
    ///
    /// # Errors
    /// As [`describe_group`](Broker::describe_group).
    pub async fn describe_group_from(
        &self,
        group: &str,
        place: &GroupPlace,
        count: usize,
    ) -> Result<GroupDescription, Error> {
        check_group_name(group)?;
        let (mut description, positions) = self.0.groups.machine.read(|groups| {
            let found = groups.require(group)?;
            let members = match place {
                GroupPlace::Member(first) => {
                    let behind = (Bound::Included(first.as_str()), Bound::Unbounded);
                    found.members.range::<str, _>(behind).take(count).map(member).collect()
                }
                GroupPlace::Position(_) => Vec::new(),
            };
            let description = GroupDescription {
                summary: summary(group, found),
                epoch: found.epoch,
                members,
                positions: Vec::new(),
            };
            Ok::<_, GroupError>((description, positions(found)))
        })?;
        {
            let sessions = self.0.groups.sessions();
            for member in &mut description.members {
                let key = MemberKey { group: group.to_owned(), member_id: member.member_id.clone() };
                member.client_address = sessions.get(&key).and_then(|session| session.address.clone());
            }
        }
        let room = count - description.members.len();
        let behind = positions.into_iter().filter(|(of, _)| place.is_before(of));
        let (lags, nexts): (Vec<_>, Vec<_>) =
            behind.filter_map(|(of, known)| self.lag(of, known)).take(room).unzip();
        description.positions = lags;
        for (position, age) in description.positions.iter_mut().zip(self.ages(nexts).await?) {
            position.lag.age = age;
        }
        Ok(description)
    }

    /// How far a group has come in a partition, but for the age, and from where on that counts. `None`: of a topic that
    /// is gone there is nothing to say.
    fn lag(&self, of: TopicPartition, (position, member_id): Known) -> Option<(PartitionLag, Next)> {
        let partition = self.partition(&of.topic, Some(of.partition)).ok()?;
        let stored = position.filter(|position| self.is_of(&of, position)).map(StoredPosition::from);
        if stored.is_none() && member_id.is_none() {
            return None;
        }
        let end = partition.bounds().high_watermark;
        let next = Next::new(partition, stored.as_ref().map(|stored| stored.offset));
        let lag = Lag { messages: next.messages, age: Duration::ZERO };
        Some((PartitionLag { of, end, stored, lag, member_id }, next))
    }

    /// Of the oldest message from each place on. One thread looks them all up.
    async fn ages(&self, nexts: Vec<Next>) -> Result<Vec<Duration>, Error> {
        let turn = self.0.cold_reads.clone().acquire_owned().await.map_err(|_| Error::Stopping)?;
        let (broker, now) = (self.clone(), self.0.groups.now());
        let look = move || {
            let looked = broker.0.append_times.ages(&nexts, now, None);
            drop(turn);
            Ok(looked)
        };
        match blocking(look).await? {
            (_, Some((partition, error))) => Err(partition.core.error(error)),
            (ages, None) => Ok(ages.into_iter().map(Option::unwrap_or_default).collect()),
        }
    }

    /// Does what is due in groups by now: takes silent members for dead, forgets groups that were empty for long.
    /// That happens by itself; this is for those who want to wait for it.
    pub async fn expire_groups(&self) {
        self.0.groups.do_what_is_due().await;
    }
}

fn summary(name: &str, group: &Group) -> GroupSummary {
    GroupSummary { name: name.to_owned(), state: group.state(), members: group.members.len() }
}

fn member((id, member): (&String, &Member)) -> MemberDescription {
    MemberDescription {
        member_id: id.clone(),
        instance_id: member.instance_id.clone(),
        client_id: member.client_id.clone(),
        client_address: None,
        epoch: member.epoch,
        topics: member.topics.iter().cloned().collect(),
        owned: member.held.iter().map(|(topic, number, _)| TopicPartition::new(topic, number)).collect(),
        target: member.target.iter().map(|(topic, number, ())| TopicPartition::new(topic, number)).collect(),
    }
}

/// What is known of a partition: the position that is stored, and the member that holds it.
type Known = (Option<Position>, Option<String>);

/// What is stored or held, or is to be.
fn positions(group: &Group) -> BTreeMap<TopicPartition, Known> {
    let mut positions: BTreeMap<TopicPartition, Known> = BTreeMap::new();
    for (topic, number, position) in group.positions.iter() {
        positions.entry(TopicPartition::new(topic, number)).or_default().0 = Some(position.clone());
    }
    for (topic, number, id) in group.holders().iter() {
        positions.entry(TopicPartition::new(topic, number)).or_default().1 = Some((*id).to_owned());
    }
    positions
}
