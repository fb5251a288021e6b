//! Groups for those who look at them, with their lag.

use std::{collections::BTreeMap, ops::Bound, time::Duration};

use minikafka_record::Offset;

use super::{
    api::{
        GroupDescription, GroupPlace, GroupSummary, Lag, MemberDescription, PartitionLag, StoredPosition,
        TopicPartition,
    },
    classic::{ClassicDescription, ClassicMemberDescription, ClassicState, ClassicSummary},
    core::{Group, GroupError, GroupState, Member, MemberKey, PartitionMap, Position},
    lag::Next,
    membership::check_group_name,
};
use crate::{Broker, Error, broker::blocking};

impl Broker {
    /// Up to `count` groups with names behind `after`, ordered by name.
    pub fn groups(&self, after: &str, count: usize) -> Vec<GroupSummary> {
        let mut summaries: Vec<GroupSummary> = self.0.groups.machine.read(|groups| {
            let behind = groups.groups.range::<str, _>((Bound::Excluded(after), Bound::Unbounded));
            behind.take(count).map(|(name, group)| summary(name, group)).collect()
        });
        let classic = self.0.groups.classic();
        for summary in &mut summaries {
            if let Some(of) = classic.summary(&summary.name) {
                summary.add(of);
            }
        }
        summaries
    }

    /// A group, in short; `None` when it is not there.
    pub fn group(&self, name: &str) -> Option<GroupSummary> {
        let mut found = self.0.groups.machine.read(|groups| Some(summary(name, groups.get(name)?)))?;
        if let Some(classic) = self.0.groups.classic().summary(name) {
            found.add(classic);
        }
        Some(found)
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
        let classic = self.classic_group(group);
        let holders = self.0.groups.classic().holders(group);
        let (mut description, positions) = self.0.groups.machine.read(|groups| {
            let found = groups.require(group)?;
            let members = place.first_member().map_or_else(Vec::new, |first| {
                let behind = (Bound::Included(first), Bound::Unbounded);
                found.members.range::<str, _>(behind).take(count).map(member).collect()
            });
            let description = GroupDescription {
                summary: summary(group, found),
                epoch: found.epoch,
                members,
                positions: Vec::new(),
            };
            Ok::<_, GroupError>((description, positions(found, &holders)))
        })?;
        if let Some(classic) = classic {
            description.add(classic, place, count);
        }
        self.add_addresses(group, &mut description.members);
        let room = count - description.members.len();
        let behind = positions.into_iter().filter(|(of, _)| place.is_before(of));
        let (lags, nexts): (Vec<_>, Vec<_>) =
            behind.filter_map(|(of, known)| self.lag(of, known)).take(room).unzip();
        description.positions = lags;
        let ages = self.ages(nexts.into_iter().flatten().collect()).await?;
        let known = description.positions.iter_mut().filter(|position| !position.is_lost);
        for (position, age) in known.zip(ages) {
            position.lag.age = age;
        }
        Ok(description)
    }

    /// The members of a group that has some, and not of the classic protocol: with the group's epoch, ordered by name.
    pub fn group_members(&self, group: &str) -> Option<(u64, Vec<MemberDescription>)> {
        let (epoch, mut members) = self.0.groups.machine.read(|groups| {
            let found = groups.get(group).filter(|found| !found.members.is_empty())?;
            Some((found.epoch, found.members.iter().map(member).collect::<Vec<_>>()))
        })?;
        self.add_addresses(group, &mut members);
        Some((epoch, members))
    }

    fn add_addresses(&self, group: &str, members: &mut [MemberDescription]) {
        let sessions = self.0.groups.sessions();
        for member in members {
            let key = MemberKey { group: group.to_owned(), member_id: member.member_id.clone() };
            if let Some(session) = sessions.get(&key) {
                member.client_address.clone_from(&session.address);
            }
        }
    }

    /// How far a group has come in a partition, but for the age, and from where on that counts: in one that is lost, that
    /// is not known. `None`: of a topic that is gone there is nothing to say.
    fn lag(&self, of: TopicPartition, (position, member_id): Known) -> Option<(PartitionLag, Option<Next>)> {
        let partition = match self.partition(&of.topic, Some(of.partition)) {
            Ok(partition) => Some(partition),
            Err(Error::PartitionLost { .. }) => None,
            Err(_) => return None,
        };
        let stored = position.filter(|position| self.is_of(&of, position)).map(StoredPosition::from);
        if stored.is_none() && member_id.is_none() {
            return None;
        }
        let is_lost = partition.is_none();
        let end = partition.as_ref().map_or(Offset::ZERO, |partition| partition.bounds().high_watermark);
        let next =
            partition.map(|partition| Next::new(partition, stored.as_ref().map(|stored| stored.offset)));
        let lag = Lag { messages: next.as_ref().map_or(0, |next| next.messages), age: Duration::ZERO };
        Some((PartitionLag { of, is_lost, end, stored, lag, member_id }, next))
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
    GroupSummary { name: name.to_owned(), state: group.state(), members: group.members.len(), classic: None }
}

impl GroupSummary {
    fn add(&mut self, classic: ClassicSummary) {
        self.state = match classic.state {
            ClassicState::Empty => GroupState::Empty,
            ClassicState::PreparingRebalance | ClassicState::CompletingRebalance => GroupState::Reconciling,
            ClassicState::Stable => GroupState::Stable,
        };
        self.members = classic.members;
        self.classic = Some(classic);
    }
}

impl GroupDescription {
    /// Adds what is known of classic members; of themselves up to `count` from a place on. A group that has such members
    /// has no others.
    fn add(&mut self, classic: ClassicDescription, place: &GroupPlace, count: usize) {
        let generation = u64::try_from(classic.generation).unwrap_or(0);
        self.epoch = generation;
        if let Some(first) = place.first_member() {
            let mut members = classic.members;
            members.retain(|member| member.member_id.as_str() >= first);
            members.sort_by(|one, other| one.member_id.cmp(&other.member_id));
            let room = count.saturating_sub(self.members.len());
            self.members
                .extend(members.into_iter().take(room).map(|member| classic_member(member, generation)));
        }
        self.summary.add(classic.summary);
    }
}

fn classic_member(member: ClassicMemberDescription, generation: u64) -> MemberDescription {
    MemberDescription {
        member_id: member.member_id,
        instance_id: member.instance_id.unwrap_or_default(),
        client_id: member.client_id,
        client_address: Some(member.client_address),
        epoch: generation,
        topics: member.topics,
        pattern: String::new(),
        target: member.assignment.partitions.clone(),
        owned: member.assignment.partitions,
    }
}

fn member((id, member): (&String, &Member)) -> MemberDescription {
    MemberDescription {
        member_id: id.clone(),
        instance_id: member.instance_id.clone(),
        client_id: member.client_id.clone(),
        client_address: None,
        epoch: member.epoch,
        topics: member.topics.iter().cloned().collect(),
        pattern: member.pattern.clone(),
        owned: member.held.iter().map(|(topic, number, _)| TopicPartition::new(topic, number)).collect(),
        target: member.target.iter().map(|(topic, number, ())| TopicPartition::new(topic, number)).collect(),
    }
}

/// What is known of a partition: the position that is stored, and the member that holds it.
type Known = (Option<Position>, Option<String>);

/// What is stored or held, or is to be.
fn positions(group: &Group, classic: &PartitionMap<String>) -> BTreeMap<TopicPartition, Known> {
    let mut positions: BTreeMap<TopicPartition, Known> = BTreeMap::new();
    for (topic, number, position) in group.positions.iter() {
        positions.entry(TopicPartition::new(topic, number)).or_default().0 = Some(position.clone());
    }
    for (topic, number, id) in group.holders().iter() {
        positions.entry(TopicPartition::new(topic, number)).or_default().1 = Some((*id).to_owned());
    }
    for (topic, number, id) in classic.iter() {
        positions.entry(TopicPartition::new(topic, number)).or_default().1 = Some(id.clone());
    }
    positions
}
