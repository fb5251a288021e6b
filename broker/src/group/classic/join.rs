//! Joining: newcomers, members that come back, and those that take the place of an instance.

use minikafka_storage::Millis;

use super::{
    api::{ClassicJoin, ClassicJoined, ClassicPeer, Newcomers},
    group::{Group, Phase},
    limits::{GROUP_BYTES_MAX, MEMBERS_MAX},
    member::{Member, Outcome, Waiter, answered, of_newcomer, shared_protocols},
};
use crate::group::core::GroupError;

impl Group {
    /// Somebody joins; `new_id` is its name if it needs one. The answer comes when the next generation begins, or at
    /// once when nothing changes by it.
    pub(super) fn join(
        &mut self,
        join: ClassicJoin,
        new_id: String,
        now: Millis,
    ) -> Outcome<Waiter<ClassicJoined>> {
        self.check_protocols(&join)?;
        self.check_bytes(&join)?;
        if join.member_id.is_empty() {
            let holder = join.instance_id.as_deref().and_then(|id| self.of_instance(id)).map(str::to_owned);
            return match holder {
                Some(holder) => Ok(self.replace(&holder, join, &new_id, now)),
                None if join.instance_id.is_none() && join.newcomers == Newcomers::NameFirst => {
                    Err(self.name(&join, new_id, now)?)
                }
                None => self.add(join, new_id, now),
            };
        }
        if self.named.contains_key(&join.member_id) {
            // A name is no way around whoever has the place of the instance.
            if let Some(instance_id) = join.instance_id.as_deref().filter(|id| self.of_instance(id).is_some())
            {
                return Err(self.fenced(instance_id));
            }
            let id = join.member_id.clone();
            let waiter = self.add(join, id.clone(), now)?;
            self.named.remove(&id);
            self.complete_joining(now);
            return Ok(waiter);
        }
        self.check_identity(&join.member_id, join.instance_id.as_deref())?;
        Ok(self.come_back(join, now))
    }

    /// Checks that the member has a way of assigning partitions that all others have.
    fn check_protocols(&self, join: &ClassicJoin) -> Outcome<()> {
        let others = || self.members.iter().filter(|(id, _)| **id != join.member_id).map(|(_, other)| other);
        let is_first = others().next().is_none();
        let shared = shared_protocols(others());
        let fits = !join.protocol_type.is_empty()
            && join.protocols.iter().any(|protocol| is_first || shared.contains(&*protocol.name))
            && (is_first || join.protocol_type == self.protocol_type);
        if fits { Ok(()) } else { Err(GroupError::InconsistentProtocol(self.name.clone())) }
    }

    fn check_bytes(&self, join: &ClassicJoin) -> Outcome<()> {
        let before = self.members.get(&join.member_id).map_or(0, Member::bytes);
        if (self.bytes() + of_newcomer(join)).saturating_sub(before) <= GROUP_BYTES_MAX {
            return Ok(());
        }
        Err(GroupError::TooMuchState { max: GROUP_BYTES_MAX })
    }

    fn check_room(&self, id: &str) -> Outcome<()> {
        let is_counted = self.named.contains_key(id);
        if self.members.len() + self.named.len() - usize::from(is_counted) < MEMBERS_MAX {
            return Ok(());
        }
        Err(GroupError::TooManyMembers { group: self.name.clone(), max: MEMBERS_MAX })
    }

    /// Gives a name to a newcomer, who comes back with it. Returns what tells it so.
    fn name(&mut self, join: &ClassicJoin, id: String, now: Millis) -> Outcome<GroupError> {
        self.check_room(&id)?;
        self.named.insert(id.clone(), now.saturating_add(join.session_timeout.as_millis() as Millis));
        Ok(GroupError::MemberIdRequired { group: self.name.clone(), member_id: id })
    }

    fn add(&mut self, join: ClassicJoin, id: String, now: Millis) -> Outcome<Waiter<ClassicJoined>> {
        self.check_room(&id)?;
        self.protocol_type.clone_from(&join.protocol_type);
        let mut member = Member::new(join, now);
        let waiter = member.wait_for_join();
        self.members.insert(id, member);
        self.rebalance_for_newcomer(now);
        Ok(waiter)
    }

    fn come_back(&mut self, join: ClassicJoin, now: Millis) -> Waiter<ClassicJoined> {
        let id = join.member_id.clone();
        let leads = self.leader.as_deref() == Some(id.as_str());
        self.protocol_type.clone_from(&join.protocol_type);
        let member = self.members.get_mut(&id).expect("its identity was checked");
        let says_the_same = member.protocols == join.protocols;
        // It asks again: who waited for it before has hung up, or does so now.
        member.update(join, now);
        match self.phase {
            // It has not heard the answer.
            Phase::Syncing if says_the_same => answered(self.joined(&id, false)),
            // A leader that joins again has something in mind: partitions have come, for example.
            Phase::Stable if says_the_same && !leads => answered(self.joined(&id, false)),
            _ => self.join_next(&id, now),
        }
    }

    /// Another process takes the place of an instance. If it wants to read the same topics, and the group assigns them as
    /// before, it takes the assignment over, and nobody notices. Its metadata may differ, as in Kafka: a consumer that has
    /// joined before also says there what it had.
    fn replace(&mut self, holder: &str, join: ClassicJoin, id: &str, now: Millis) -> Waiter<ClassicJoined> {
        let mut member = self.members.remove(holder).expect("it was just found");
        member.refuse(&self.fenced(member.instance_id.as_deref().unwrap_or_default()));
        let leads = self.leader.as_deref() == Some(holder);
        let (reads_the_same, can_skip) = (member.reads_as(&join), join.can_skip_assignment);
        member.update(join, now);
        // What the one before has under way ends under its own name.
        member.commits = 0;
        self.members.insert(id.to_owned(), member);
        if leads {
            self.leader = Some(id.to_owned());
        }
        if self.phase != Phase::Stable || !reads_the_same || self.next_protocol() != self.protocol {
            return self.join_next(id, now);
        }
        let mut joined = self.joined(id, can_skip);
        if leads && !can_skip {
            // It would assign partitions, and everybody would have to be told: let it believe that another one leads.
            joined.leader = holder.to_owned();
            joined.members = Vec::new();
        }
        answered(joined)
    }

    /// A member waits for the next generation.
    fn join_next(&mut self, id: &str, now: Millis) -> Waiter<ClassicJoined> {
        let member = self.members.get_mut(id).expect("it is a member");
        let waiter = member.wait_for_join();
        self.rebalance(now);
        waiter
    }

    /// What a member is told of the generation.
    pub(super) fn joined(&self, id: &str, skip_assignment: bool) -> ClassicJoined {
        let leads = self.leader.as_deref() == Some(id);
        let peer = |(id, member): (&String, &Member)| ClassicPeer {
            member_id: id.clone(),
            instance_id: member.instance_id.clone(),
            metadata: member.metadata(&self.protocol),
        };
        ClassicJoined {
            member_id: id.to_owned(),
            generation: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            leader: self.leader.clone().unwrap_or_default(),
            members: if leads { self.members.iter().map(peer).collect() } else { Vec::new() },
            skip_assignment: leads && skip_assignment,
        }
    }
}
