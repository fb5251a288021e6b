//! Rebalances: everybody joins again, and a generation begins. And what happens when time passes.

use std::collections::HashMap;

use minikafka_storage::Millis;

use super::{
    group::{Group, Phase},
    limits::{OPENING_DELAY_MAX_MS, OPENING_DELAY_MS},
    member::{Member, shared_protocols, tell},
};

impl Group {
    /// Somebody has come. A group that was empty waits a little for more.
    pub(super) fn rebalance_for_newcomer(&mut self, now: Millis) {
        match &mut self.phase {
            Phase::Empty => {
                self.phase = Phase::Joining { since: now, opens_at: Some(now + OPENING_DELAY_MS) }
            }
            Phase::Joining { since, opens_at: Some(opens_at) } => {
                *opens_at = (now + OPENING_DELAY_MS).min(*since + OPENING_DELAY_MAX_MS);
            }
            Phase::Joining { .. } | Phase::Syncing | Phase::Stable => self.rebalance(now),
        }
    }

    /// Everybody is to join again.
    pub(super) fn rebalance(&mut self, now: Millis) {
        if self.members.is_empty() {
            self.become_empty();
            return;
        }
        if matches!(self.phase, Phase::Syncing | Phase::Stable) {
            self.phase = Phase::Joining { since: now, opens_at: None };
            self.sync_until = None;
            let why = self.rebalances();
            for member in self.members.values_mut() {
                tell(&mut member.syncing, Err(why.clone()));
                member.owes_sync = false;
            }
        }
        self.complete_joining(now);
    }

    /// Begins the next generation, if everybody has joined or the time is up.
    pub(super) fn complete_joining(&mut self, now: Millis) {
        let Phase::Joining { since, opens_at } = self.phase else { return };
        if opens_at.is_some_and(|at| now < at) {
            return;
        }
        let has_joined = |member: &Member| member.joining.is_some();
        let all_have = self.members.values().all(has_joined);
        // Whoever was given a name only, and comes while a group opens, is no reason to wait.
        let is_complete = all_have && (self.named.is_empty() || opens_at.is_some());
        self.phase = Phase::Joining { since, opens_at: None };
        if !is_complete && now < self.joining_until(since) {
            return;
        }
        // Who has a name for good may be about to come back under it, until its session timeout.
        self.members.retain(|_, member| has_joined(member) || member.instance_id.is_some());
        if self.members.is_empty() {
            self.become_empty();
        } else if self.members.values().any(has_joined) {
            self.begin_generation(now);
        } else {
            self.phase = Phase::Joining { since: now, opens_at: None };
        }
    }

    fn begin_generation(&mut self, now: Millis) {
        self.generation = self.generation.checked_add(1).unwrap_or(1);
        self.elect();
        self.choose_protocol();
        self.phase = Phase::Syncing;
        self.sync_until = Some(now.saturating_add(self.rebalance_timeout_ms()));
        let (group, generation, protocol) = (&self.name, self.generation, &self.protocol);
        tracing::debug!(group, generation, protocol, members = self.members.len(), "a generation begins");
        let ids: Vec<String> = self.members.keys().cloned().collect();
        for id in ids {
            let joined = self.joined(&id, false);
            let member = self.members.get_mut(&id).expect("it is a member");
            member.assignment = Default::default();
            if member.joining.is_some() {
                (member.heard_at, member.owes_sync) = (now, true);
                tell(&mut member.joining, Ok(joined));
            }
        }
    }

    /// The leader stays, if it has joined; otherwise it is one that has.
    fn elect(&mut self) {
        let has_joined = |id: &String| self.members.get(id).is_some_and(|member| member.joining.is_some());
        if !self.leader.as_ref().is_some_and(has_joined) {
            self.leader = self.members.keys().find(|id| has_joined(id)).cloned();
        }
    }

    /// Of the protocols that all members have, each member votes for the one that it likes best. Where two have as many
    /// votes, it is the one that the leader likes better.
    fn choose_protocol(&mut self) {
        self.protocol = self.next_protocol().to_owned();
    }

    /// The protocol of the next generation, if these are its members; empty if they share none.
    pub(super) fn next_protocol(&self) -> &str {
        let shared = shared_protocols(self.members.values());
        let mut votes: HashMap<&str, usize> = HashMap::new();
        for member in self.members.values() {
            let mut names = member.protocols.iter().map(|protocol| protocol.name.as_str());
            if let Some(name) = names.find(|name| shared.contains(name)) {
                *votes.entry(name).or_default() += 1;
            }
        }
        let leader = self.leader.as_ref().and_then(|leader| self.members.get(leader));
        let candidates = leader.into_iter().flat_map(|leader| leader.protocols.iter().rev());
        // Of several with as many votes, the last one: the list is the wrong way round.
        let chosen = candidates.max_by_key(|protocol| {
            (shared.contains(&*protocol.name), votes.get(&*protocol.name).copied().unwrap_or_default())
        });
        chosen.map(|protocol| &*protocol.name).unwrap_or_default()
    }

    fn become_empty(&mut self) {
        self.phase = Phase::Empty;
        (self.leader, self.sync_until) = (None, None);
        self.protocol.clear();
    }

    pub(super) fn rebalance_timeout_ms(&self) -> Millis {
        self.members.values().map(|member| member.rebalance_timeout_ms).max().unwrap_or_default()
    }

    fn joining_until(&self, since: Millis) -> Millis {
        since.saturating_add(self.rebalance_timeout_ms())
    }

    /// Does what is due by now.
    pub(super) fn pass(&mut self, now: Millis) {
        self.named.retain(|_, until| now < *until);
        for member in self.members.values_mut().filter(|member| member.waits()) {
            member.heard_at = now;
        }
        let has_ended = self.sync_until.is_some_and(|until| until <= now);
        let is_gone = |member: &Member| member.deadline() <= now || has_ended && member.owes_sync;
        let gone: Vec<String> =
            self.members.iter().filter(|(_, member)| is_gone(member)).map(|(id, _)| id.clone()).collect();
        if has_ended {
            self.sync_until = None;
        }
        for id in gone {
            tracing::info!(group = self.name, member_id = id, "removed a classic member: it was silent");
            self.remove(&id, now);
        }
        self.complete_joining(now);
    }

    /// When something is due next, unless something happens before.
    pub(super) fn next_deadline(&self) -> Option<Millis> {
        let joining = match self.phase {
            Phase::Joining { since, opens_at } => Some(opens_at.unwrap_or_else(|| self.joining_until(since))),
            Phase::Empty | Phase::Syncing | Phase::Stable => None,
        };
        let members = self.members.values().map(Member::deadline);
        members.chain(self.named.values().copied()).chain(joining).chain(self.sync_until).min()
    }
}
