//! Groups for those who look at them, with their lag.

use std::{collections::BTreeMap, ops::Bound, time::Duration};

use super::{
    api::{
        GroupDescription, GroupSummary, Lag, MemberDescription, PartitionLag, StoredPosition, TopicPartition,
    },
    core::{Group, GroupError, Member, MemberKey, Position},
    membership::check_group_name,
};
use crate::{Broker, Error, Partition};

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
        for (of, (position, member_id)) in positions {
            // Of a topic that is gone there is nothing to say.
            let Ok(partition) = self.partition(&of.topic, Some(of.partition)) else { continue };
            let stored = position.filter(|position| self.is_of(&of, position)).map(StoredPosition::from);
            if stored.is_none() && member_id.is_none() {
                continue;
            }
            let lag = match &stored {
                Some(stored) => Some(self.lag(&partition, stored).await?),
                None => None,
            };
            let end = partition.bounds().high_watermark;
            description.positions.push(PartitionLag { of, end, stored, lag, member_id });
        }
        Ok(description)
    }

    async fn lag(&self, partition: &Partition, stored: &StoredPosition) -> Result<Lag, Error> {
        let bounds = partition.bounds();
        // What was evicted is not behind any more: it cannot be read.
        let next = stored.offset.max(bounds.start);
        let messages = bounds.high_watermark.get().saturating_sub(next.get());
        if messages == 0 {
            return Ok(Lag::default());
        }
        let appended_at = partition.appended_at(next).await?;
        let age_ms = appended_at.map_or(0, |at| self.0.groups.now().saturating_sub(at).max(0));
        Ok(Lag { messages, age: Duration::from_millis(age_ms as u64) })
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
