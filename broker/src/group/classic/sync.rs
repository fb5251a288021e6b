//! Syncing: the leader says who reads what, and everybody is told.

use minikafka_storage::Millis;

use super::{
    api::{ClassicAssignment, ClassicSync, ClassicSynced},
    group::{Group, Phase},
    limits::GROUP_BYTES_MAX,
    member::{Member, Outcome, Waiter, answered, of_assignment, tell},
};
use crate::group::core::GroupError;

impl Group {
    /// A member asks for its assignment. The answer comes when the leader has asked, too.
    pub(super) fn sync(&mut self, sync: ClassicSync, now: Millis) -> Outcome<Waiter<ClassicSynced>> {
        self.check(&sync.by)?;
        self.check_protocol(&sync)?;
        let id = sync.by.member_id;
        let leads = self.leader.as_ref() == Some(&id);
        if self.phase == Phase::Syncing && leads {
            self.check_assignments(&sync.assignments)?;
        }
        let member = self.members.get_mut(&id).expect("it was checked");
        match self.phase {
            Phase::Joining { .. } | Phase::Empty => return Err(self.rebalances()),
            Phase::Syncing | Phase::Stable => (member.heard_at, member.owes_sync) = (now, false),
        }
        if self.phase == Phase::Stable {
            return Ok(answered(self.synced(&id)));
        }
        let waiter = member.wait_for_sync();
        if leads {
            self.assign(sync.assignments, now);
        }
        Ok(waiter)
    }

    /// What a member takes for true about the generation has to be.
    fn check_protocol(&self, sync: &ClassicSync) -> Outcome<()> {
        let is_other = |said: &Option<String>, is: &String| said.as_ref().is_some_and(|said| said != is);
        if is_other(&sync.protocol_type, &self.protocol_type) || is_other(&sync.protocol, &self.protocol) {
            return Err(GroupError::InconsistentProtocol(self.name.clone()));
        }
        Ok(())
    }

    fn check_assignments(&self, assignments: &[(String, ClassicAssignment)]) -> Outcome<()> {
        let bytes: usize = assignments.iter().map(|(_, assignment)| of_assignment(assignment)).sum();
        if self.bytes() + bytes <= GROUP_BYTES_MAX {
            return Ok(());
        }
        Err(GroupError::TooMuchState { max: GROUP_BYTES_MAX })
    }

    /// Members that the leader does not speak of are to read nothing.
    fn assign(&mut self, assignments: Vec<(String, ClassicAssignment)>, now: Millis) {
        for (id, assignment) in assignments {
            if let Some(member) = self.members.get_mut(&id) {
                member.assignment = assignment;
            }
        }
        self.phase = Phase::Stable;
        let ids: Vec<String> = self.members.keys().cloned().collect();
        for id in ids {
            let synced = self.synced(&id);
            let member = self.members.get_mut(&id).expect("it is a member");
            if member.syncing.is_some() {
                member.heard_at = now;
                tell(&mut member.syncing, Ok(synced));
            }
        }
    }

    fn synced(&self, id: &str) -> ClassicSynced {
        let assignment = |member: &Member| member.assignment.bytes.clone();
        ClassicSynced {
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            assignment: self.members.get(id).map(assignment).unwrap_or_default(),
        }
    }
}
