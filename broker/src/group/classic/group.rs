//! [`Group`], one group: who is a member, and how far they are with finding out who reads what.

use std::collections::BTreeMap;

use minikafka_storage::Millis;

use super::{
    api::{ClassicDescription, ClassicMember, ClassicMemberDescription, ClassicState, ClassicSummary},
    member::{Member, Outcome},
};
use crate::group::core::{GroupError, PartitionMap};

/// A group. Every method that changes it leaves it complete: whoever is to be answered by then has been.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) name: String,
    /// The newest; rises with each rebalance.
    pub(super) generation: i32,
    pub(super) protocol_type: String,
    /// What was chosen for this generation; empty: nothing yet.
    pub(super) protocol: String,
    pub(super) leader: Option<String>,
    pub(super) members: BTreeMap<String, Member>,
    /// Names that were given to those who are to come back with them, and until when.
    pub(super) named: BTreeMap<String, Millis>,
    pub(super) phase: Phase,
    /// Until when members may ask for their assignment.
    pub(super) sync_until: Option<Millis>,
}

/// How far they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Empty,
    /// Members are waited for until they have joined.
    Joining {
        since: Millis,
        /// The group was empty: not before this time.
        opens_at: Option<Millis>,
    },
    /// The leader is waited for.
    Syncing,
    Stable,
}

impl Group {
    /// Without members; its generations are beyond `generation`.
    pub(super) fn new(name: &str, generation: i32) -> Group {
        Group {
            name: name.to_owned(),
            generation,
            protocol_type: String::new(),
            protocol: String::new(),
            leader: None,
            members: BTreeMap::new(),
            named: BTreeMap::new(),
            phase: Phase::Empty,
            sync_until: None,
        }
    }

    /// Whether nobody is in it or on the way.
    pub(super) fn is_idle(&self) -> bool {
        self.members.is_empty() && self.named.is_empty()
    }

    /// Bytes of memory that it takes, about.
    pub(super) fn bytes(&self) -> usize {
        let named: usize = self.named.keys().map(|name| name.len() + size_of::<String>()).sum();
        self.members.iter().map(|(id, member)| id.len() + member.bytes()).sum::<usize>() + named
    }

    /// A member shows that it lives. It is told when it is to join anew.
    pub(super) fn heartbeat(&mut self, by: &ClassicMember, now: Millis) -> Outcome<()> {
        self.check(by)?.heard_at = now;
        match self.phase {
            Phase::Joining { .. } => Err(self.rebalances()),
            Phase::Empty | Phase::Syncing | Phase::Stable => Ok(()),
        }
    }

    /// A member begins to commit, if it may now, which also shows that it lives. It may while others join: it commits
    /// what it has read before it joins, too.
    pub(super) fn begin_commit(&mut self, by: &ClassicMember, now: Millis) -> Outcome<()> {
        self.check(by)?.heard_at = now;
        match self.phase {
            Phase::Syncing => return Err(self.rebalances()),
            Phase::Empty | Phase::Joining { .. } | Phase::Stable => {}
        }
        self.check(by)?.commits += 1;
        Ok(())
    }

    /// A commit has come to its end, whatever came of it.
    pub(super) fn end_commit(&mut self, member_id: &str, now: Millis) {
        if let Some(member) = self.members.get_mut(member_id) {
            member.commits = member.commits.saturating_sub(1);
            member.heard_at = now;
        }
    }

    /// The member that speaks, if it is one of this generation.
    pub(super) fn check(&mut self, by: &ClassicMember) -> Outcome<&mut Member> {
        self.check_identity(&by.member_id, by.instance_id.as_deref())?;
        if by.generation != self.generation {
            let (group, current) = (self.name.clone(), self.generation);
            return Err(GroupError::IllegalGeneration { group, generation: by.generation, current });
        }
        Ok(self.members.get_mut(&by.member_id).expect("its identity was checked"))
    }

    /// Checks that there is such a member, and that nobody else has its place.
    pub(super) fn check_identity(&self, member_id: &str, instance_id: Option<&str>) -> Outcome<()> {
        match instance_id.and_then(|instance_id| Some((instance_id, self.of_instance(instance_id)?))) {
            Some((instance_id, holder)) if holder != member_id => Err(self.fenced(instance_id)),
            _ if self.members.contains_key(member_id) => Ok(()),
            _ => Err(self.unknown(member_id)),
        }
    }

    /// The member with a name for good.
    pub(super) fn of_instance(&self, instance_id: &str) -> Option<&str> {
        let mut members = self.members.iter();
        let found = members.find(|(_, member)| member.instance_id.as_deref() == Some(instance_id));
        found.map(|(id, _)| id.as_str())
    }

    /// Members whose clients have hung up while they waited have their session timeout from now on.
    pub(super) fn notice_hang_ups(&mut self, now: Millis) {
        self.members.values_mut().for_each(|member| member.notice_hang_up(now));
    }

    /// Everybody has time until its timeout from now on: nobody could be heard.
    pub(super) fn forgive(&mut self, now: Millis) {
        self.members.values_mut().for_each(|member| member.heard_at = member.heard_at.max(now));
        if let Phase::Joining { since, .. } = &mut self.phase {
            *since = now.max(*since);
        }
        let anew = now.saturating_add(self.rebalance_timeout_ms());
        self.sync_until = self.sync_until.map(|until| until.max(anew));
    }

    pub(super) fn unknown(&self, member_id: &str) -> GroupError {
        GroupError::UnknownMember { group: self.name.clone(), member_id: member_id.to_owned() }
    }

    pub(super) fn fenced(&self, instance_id: &str) -> GroupError {
        GroupError::InstanceFenced { group: self.name.clone(), instance_id: instance_id.to_owned() }
    }

    pub(super) fn rebalances(&self) -> GroupError {
        GroupError::RebalanceInProgress(self.name.clone())
    }

    pub(super) fn summary(&self) -> ClassicSummary {
        let state = match self.phase {
            Phase::Empty => ClassicState::Empty,
            Phase::Joining { .. } => ClassicState::PreparingRebalance,
            Phase::Syncing => ClassicState::CompletingRebalance,
            Phase::Stable => ClassicState::Stable,
        };
        ClassicSummary { state, protocol_type: self.protocol_type.clone(), members: self.members.len() }
    }

    pub(super) fn describe(&self) -> ClassicDescription {
        let member = |(id, member): (&String, &Member)| ClassicMemberDescription {
            member_id: id.clone(),
            instance_id: member.instance_id.clone(),
            client_id: member.client_id.clone(),
            client_address: member.client_address.clone(),
            topics: member.topics.clone(),
            metadata: member.metadata(&self.protocol),
            assignment: member.assignment.clone(),
        };
        ClassicDescription {
            summary: self.summary(),
            protocol: self.protocol.clone(),
            generation: self.generation,
            members: self.members.iter().map(member).collect(),
        }
    }

    /// The member that is to read each partition, as far as the door could tell.
    pub(super) fn holders(&self) -> PartitionMap<String> {
        let mut holders = PartitionMap::default();
        for (id, member) in &self.members {
            for of in &member.assignment.partitions {
                holders.insert(&of.topic, of.partition, id.clone());
            }
        }
        holders
    }
}
