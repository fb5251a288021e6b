//! Groups for those who look at them, with their lag.

use std::{collections::BTreeMap, ops::Bound, time::Duration};

use super::{
    api::{
        GroupDescription, GroupSummary, Lag, MemberDescription, PartitionLag, StoredPosition, TopicPartition,
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
        check_group_name(group)?;
        let (mut description, positions) = self.0.groups.machine.read(|groups| {
            let found = groups.require(group)?;
            let description = GroupDescription {
                summary: summary(group, found),
                epoch: found.epoch,
                members: found.members.iter().map(member).collect(),
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
        let mut nexts = Vec::new();
        for (of, (position, member_id)) in positions {
            // Of a topic that is gone there is nothing to say.
            let Ok(partition) = self.partition(&of.topic, Some(of.partition)) else { continue };
            let stored = position.filter(|position| self.is_of(&of, position)).map(StoredPosition::from);
            if stored.is_none() && member_id.is_none() {
                continue;
            }
            let end = partition.bounds().high_watermark;
            let next = Next::new(partition, stored.as_ref().map(|stored| stored.offset));
            let lag = Lag { messages: next.messages, age: Duration::ZERO };
            nexts.push(next);
            description.positions.push(PartitionLag { of, end, stored, lag, member_id });
        }
        for (position, age) in description.positions.iter_mut().zip(self.ages(nexts).await?) {
            position.lag.age = age;
        }
        Ok(description)
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

/// What is stored or held, or is to be.
fn positions(group: &Group) -> BTreeMap<TopicPartition, (Option<Position>, Option<String>)> {
    let mut positions: BTreeMap<TopicPartition, (Option<Position>, Option<String>)> = BTreeMap::new();
    for (topic, number, position) in group.positions.iter() {
        positions.entry(TopicPartition::new(topic, number)).or_default().0 = Some(position.clone());
    }
    for (topic, number, id) in group.holders().iter() {
        positions.entry(TopicPartition::new(topic, number)).or_default().1 = Some((*id).to_owned());
    }
    positions
}
