//! Leaving: what a member had is for the others, who join again for it.

use minikafka_storage::Millis;

use super::{
    api::ClassicLeaver,
    group::{Group, Phase},
    member::Outcome,
};

impl Group {
    /// A member goes, or is sent away.
    pub(super) fn leave(&mut self, leaver: &ClassicLeaver, now: Millis) -> Outcome<()> {
        let ClassicLeaver { member_id, instance_id } = leaver;
        if instance_id.is_none() && self.named.remove(member_id).is_some() {
            self.complete_joining(now);
            return Ok(());
        }
        let id = match instance_id {
            Some(instance_id) if member_id.is_empty() => {
                self.of_instance(instance_id).ok_or_else(|| self.unknown(member_id))?.to_owned()
            }
            _ => {
                self.check_identity(member_id, instance_id.as_deref())?;
                member_id.clone()
            }
        };
        self.remove(&id, now);
        Ok(())
    }

    /// A member is one no more.
    pub(super) fn remove(&mut self, id: &str, now: Millis) {
        let Some(mut member) = self.members.remove(id) else { return };
        member.refuse(&self.unknown(id));
        if self.leader.as_deref() == Some(id) {
            self.leader = None;
        }
        match self.phase {
            Phase::Joining { .. } if !self.members.is_empty() => self.complete_joining(now),
            _ => self.rebalance(now),
        }
    }
}
