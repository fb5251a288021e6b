//! What doors call for classic members. Checks, occupies groups, and waits.

use std::sync::Arc;

use bytes::Bytes;
use minikafka_storage::{Millis, TopicId};

use super::{
    api::{
        ClassicAssignment, ClassicDescription, ClassicJoin, ClassicJoined, ClassicLeaver, ClassicMember,
        ClassicSync, ClassicSynced,
    },
    group::Group,
    limits::{MEMBERS_MAX, REBALANCE_TIMEOUTS, SESSION_TIMEOUTS_MS},
    member::{Outcome, Waiter},
    registry::{Done, unknown},
};
use crate::{
    Broker, Error,
    group::{
        Coordinator,
        alarms::Due,
        coordinator::end_of,
        core::{Command, GroupError, limits::ID_BYTES_MAX},
        membership::check_group_name,
    },
};

impl Broker {
    /// Joins a group, which is created when it is not there. Waits until the others have joined, too: whoever drops
    /// this is a member still, for its session timeout.
    ///
    /// # Errors
    /// [`Error::InvalidRequest`], [`Error::Group`] with the reason, or when it cannot be stored that the group has
    /// members.
    pub async fn join_classic(&self, join: ClassicJoin) -> Result<ClassicJoined, Error> {
        self.check_running()?;
        let join = check_join(join)?;
        let (group, groups) = (join.group.clone(), self.0.groups.clone());
        // In a task of its own: whoever goes away meanwhile leaves nothing half done.
        let arrived = tokio::spawn(async move {
            let waiter = groups.join_classic(join).await?;
            Ok::<_, Error>(Waiting { groups, group, waiter: Some(waiter) })
        });
        let waiting = match arrived.await {
            Ok(arrived) => arrived?,
            Err(join) if join.is_panic() => std::panic::resume_unwind(join.into_panic()),
            Err(_) => return Err(Error::Stopping),
        };
        self.wait(waiting).await
    }

    /// Asks for a member's assignment, and says what all are to read if it leads. Waits until the leader has asked,
    /// too.
    ///
    /// # Errors
    /// [`Error::Group`] with the reason.
    pub async fn sync_classic(&self, mut sync: ClassicSync) -> Result<ClassicSynced, Error> {
        self.check_running()?;
        check_group_name(&sync.by.group)?;
        for (_, ClassicAssignment { bytes, .. }) in &mut sync.assignments {
            *bytes = of_its_own(bytes);
        }
        let groups = &self.0.groups;
        let (group, now) = (sync.by.group.clone(), groups.now());
        let done = groups.classic().sync(sync, now);
        let waiter = groups.done(&group, done)?;
        self.wait(Waiting { groups: groups.clone(), group, waiter: Some(waiter) }).await
    }

    /// A member shows that it lives.
    ///
    /// # Errors
    /// [`Error::Group`]: it is one no more, or is to join anew.
    pub fn heartbeat_classic(&self, by: &ClassicMember) -> Result<(), Error> {
        self.check_running()?;
        check_group_name(&by.group)?;
        Ok(self.0.groups.as_member(by, |group, now| group.heartbeat(by, now))?)
    }

    /// Members go, or are sent away, each with an outcome. When nobody is left, the group is anybody's on return.
    ///
    /// # Errors
    /// When the broker stops, or the group cannot be.
    pub async fn leave_classic(
        &self,
        group: &str,
        leavers: &[ClassicLeaver],
    ) -> Result<Vec<Result<(), GroupError>>, Error> {
        self.check_running()?;
        check_group_name(group)?;
        let groups = &self.0.groups;
        let now = groups.now();
        // Many at once, as what a group weighs is looked at before and after; and as many as it can have, for others wait.
        let leave = |some: &[ClassicLeaver]| {
            let leave = |of: &mut Group| some.iter().map(|leaver| of.leave(leaver, now)).collect::<Vec<_>>();
            match groups.classic().change(group, now, leave) {
                Some(done) => done.outcome,
                None => some.iter().map(|leaver| Err(unknown(group, &leaver.member_id))).collect(),
            }
        };
        let outcomes: Vec<_> = leavers.chunks(MEMBERS_MAX).flat_map(leave).collect();
        if outcomes.iter().any(Result::is_ok) {
            groups.follow_leaving(group, now).await;
        }
        Ok(outcomes)
    }

    /// A group of classic members; `None` when it has none.
    pub fn classic_group(&self, group: &str) -> Option<ClassicDescription> {
        self.0.groups.classic().describe(group)
    }

    /// Whether a group has classic members, or some that arrive.
    pub fn has_classic(&self, group: &str) -> bool {
        self.0.groups.classic().summary(group).is_some()
    }

    async fn wait<T>(&self, mut waiting: Waiting<T>) -> Result<T, Error> {
        let answer = waiting.waiter.as_mut().expect("it waits").await;
        waiting.waiter = None;
        match answer {
            Ok(outcome) => Ok(outcome?),
            // It joins again on another connection, or all that was there has ended.
            Err(_) => {
                self.check_running()?;
                Err(GroupError::RebalanceInProgress(waiting.group.clone()).into())
            }
        }
    }
}

impl Coordinator {
    /// Lets a member in, once the log knows that the group has some.
    async fn join_classic(&self, join: ClassicJoin) -> Result<Waiter<ClassicJoined>, Error> {
        let group = join.group.clone();
        let stem = join.instance_id.as_deref().unwrap_or(&join.client_id);
        let new_id = format!("{stem}-{}", TopicId::random().map_err(Error::Storage)?);
        let is_occupied = self.classic().expect(&group);
        let occupied = match is_occupied {
            true => Ok(None),
            false => self.submit_here(Command::Occupy { group: group.clone() }).await.map(Some),
        };
        let (occupation, refusal, join) = match occupied {
            Ok(applied) => (applied.and_then(|applied| applied.occupation), None, Ok((join, new_id))),
            Err(error) => (None, Some(error), Err(GroupError::RebalanceInProgress(group.clone()))),
        };
        let now = self.now();
        let done = self.classic().arrive(occupation, join, &group, now);
        let arrived = self.done(&group, done);
        match refusal {
            Some(error) => Err(error),
            None => Ok(arrived?),
        }
    }

    /// Does something for a member, if its group is there.
    pub(super) fn as_member(
        &self,
        by: &ClassicMember,
        act: impl FnOnce(&mut Group, Millis) -> Outcome<()>,
    ) -> Outcome<()> {
        let now = self.now();
        // What shows that a member lives makes nothing due earlier.
        let looked = self.classic().look(&by.group, |group| act(group, now));
        looked.unwrap_or_else(|| Err(unknown(&by.group, &by.member_id)))
    }

    /// Sees to what members leave behind: to those who are left, or to the end of the occupation.
    async fn follow_leaving(self: &Arc<Self>, group: &str, now: Millis) {
        if let Some(command) = self.look_at_classic(group, now) {
            let ended = end_of(&command);
            match self.submit(command).await {
                Ok(_) => ended.into_iter().for_each(|ended| self.classic().vacated(&ended)),
                Err(error) => {
                    tracing::warn!(group, %error, "that a group has no members any more cannot be stored, trying again");
                    self.sessions().alarms.set(Due::Classic(group.to_owned()), now);
                }
            }
        }
        self.wake_timer();
    }

    /// A member commits, if it may.
    pub(in crate::group) fn begin_classic_commit(self: &Arc<Self>, by: ClassicMember) -> Outcome<Committing> {
        self.as_member(&by, |group, now| group.begin_commit(&by, now))?;
        Ok(Committing { groups: self.clone(), by })
    }

    /// Has the timer look at a group in time.
    fn done<T>(&self, group: &str, done: Done<T>) -> T {
        let Done { outcome, due_at } = done;
        let is_next = due_at.is_some_and(|at| self.sessions().alarms.set(Due::Classic(group.to_owned()), at));
        if is_next {
            self.wake_timer();
        }
        outcome
    }
}

/// A member that waits for others. If this goes before the answer comes, its client has hung up.
struct Waiting<T> {
    groups: Arc<Coordinator>,
    group: String,
    waiter: Option<Waiter<T>>,
}

impl<T> Drop for Waiting<T> {
    fn drop(&mut self) {
        if let Some(waiter) = self.waiter.take() {
            // First, so that the group can see it.
            drop(waiter);
            let now = self.groups.now();
            self.groups.classic().look(&self.group, |group| group.notice_hang_ups(now));
        }
    }
}

/// A commit of a member that is under way. Until this goes the member lives: on its connection heartbeats wait behind
/// the commit, and that may wait for a slow disk.
pub(in crate::group) struct Committing {
    groups: Arc<Coordinator>,
    by: ClassicMember,
}

impl Drop for Committing {
    fn drop(&mut self) {
        let Committing { groups, by } = self;
        let now = groups.now();
        groups.classic().look(&by.group, |group| group.end_commit(&by.member_id, now));
    }
}

fn check_join(mut join: ClassicJoin) -> Result<ClassicJoin, Error> {
    check_group_name(&join.group)?;
    let instance_id = join.instance_id.as_deref().unwrap_or_default();
    for (what, id) in [("client id", &*join.client_id), ("instance id", instance_id)] {
        // They are shown on terminals.
        if id.len() > ID_BYTES_MAX || id.contains(char::is_control) {
            return Err(Error::InvalidRequest(format!(
                "a {what} has at most {ID_BYTES_MAX} bytes, and no control characters"
            )));
        }
    }
    let wanted_ms = u64::try_from(join.session_timeout.as_millis()).unwrap_or(u64::MAX);
    if !SESSION_TIMEOUTS_MS.contains(&wanted_ms) {
        let (min_ms, max_ms) = SESSION_TIMEOUTS_MS.into_inner();
        return Err(GroupError::InvalidSessionTimeout { wanted_ms, min_ms, max_ms }.into());
    }
    join.rebalance_timeout =
        join.rebalance_timeout.clamp(*REBALANCE_TIMEOUTS.start(), *REBALANCE_TIMEOUTS.end());
    for protocol in &mut join.protocols {
        protocol.metadata = of_its_own(&protocol.metadata);
    }
    Ok(join)
}

/// A copy: what a door hands over is a part of a larger request, which would stay as long as the member does.
fn of_its_own(bytes: &Bytes) -> Bytes {
    Bytes::copy_from_slice(bytes)
}
