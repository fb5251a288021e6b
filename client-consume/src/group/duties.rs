//! What a member does between two messages: it sees how things stand, takes on what is assigned, gives up what is taken
//! away, and commits.
//!
//! ```text
//!   assignment --> what is gone: read no more --> committed --> what is new: read --> answered
//! ```

use std::{
    collections::BTreeMap,
    future::poll_fn,
    mem,
    sync::Arc,
    task::{Context, Poll, ready},
};

use minikafka_client_connection::GroupClient;
use tokio::time::{self, Instant};

use super::{
    board::Assignment,
    commit::{Committer, CutShort, Outcome, PositionToCommit, commit},
    committed::positions,
    consumer::{GroupConsumer, Held, Revoked},
    membership::Owned,
    rebalance_listener::Left,
};
use crate::{
    ConsumeError, Position, TopicPartition,
    error::{has_reason, is_lost},
};

impl GroupConsumer {
    /// Does what is to be done before messages are handed out, and waits until there may be some.
    pub(super) fn poll_readable(&mut self, context: &mut Context<'_>) -> Poll<Result<(), ConsumeError>> {
        loop {
            self.poll_standing(context)?;
            self.poll_commits(context)?;
            if ready!(self.poll_listener(context)) {
                // What was taken away may be confirmed now.
                continue;
            }
            if let Some(of) = self.reads.current() {
                let may_be_read = !self.starting.contains(of);
                if may_be_read && Instant::now() < self.membership.board.lease() {
                    return Poll::Ready(Ok(()));
                }
                // Woken by the lease, or by the commit of the start.
                return Poll::Pending;
            }
            match ready!(self.reads.poll_fill(context)) {
                // A topic that is deleted is soon taken from the assignment.
                Ok(()) | Err(ConsumeError::NotFound { of: Some(_), .. }) => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    /// Sees how things stand, and does what follows from it.
    pub(super) fn poll_standing(&mut self, context: &mut Context<'_>) -> Result<(), ConsumeError> {
        if self.look_is_lost(context) {
            // It may wait for somebody to poll.
            self.membership.wish(|_| {});
            let cause = self.standing.loss.clone().unwrap_or_default();
            return Err(ConsumeError::MembershipLost { group: self.options.group.clone(), cause });
        }
        if let Some(refused) = self.standing.refused.take() {
            // It waits for somebody to poll, who may have mended what was refused.
            self.membership.wish(|_| {});
            return Err(refused);
        }
        if self.standing.member_id.is_empty() {
            self.membership.wish(|_| {});
        }
        if let Some(assignment) = self.standing.assignment.clone()
            && assignment.serial != self.serial
        {
            self.reassign(&assignment, context)?;
        }
        Ok(())
    }

    /// Sees how things stand, which counts as polling. Says whether the member is lost, which is said once.
    fn look_is_lost(&mut self, context: &mut Context<'_>) -> bool {
        while self.awake.poll_tick(context).is_ready() {}
        if let Some(standing) = self.membership.board.look(context, &mut self.seen) {
            self.standing = standing;
        }
        let is_lost = self.standing.incarnation > self.incarnation;
        if is_lost {
            self.incarnation = self.standing.incarnation;
            self.forget();
        }
        is_lost
    }

    /// Reads what is assigned, and nothing else. What is taken away is committed first: until then nothing is answered,
    /// and nobody else gets it.
    fn reassign(&mut self, assignment: &Assignment, context: &mut Context<'_>) -> Result<(), ConsumeError> {
        let wanted: BTreeMap<_, _> =
            assignment.partitions.iter().filter(|(of, _)| self.topics.contains(&of.topic)).cloned().collect();
        let gone: Vec<_> = self.owned.keys().filter(|of| !wanted.contains_key(of)).cloned().collect();
        gone.iter().for_each(|of| self.give_up(of));
        if !self.revoked.is_empty() || self.listening.has_untold() || self.listening.is_telling() {
            return Ok(());
        }
        let new: Vec<_> = wanted.into_iter().filter(|(of, _)| !self.owned.contains_key(of)).collect();
        let in_doubt = new.iter().map(|(of, _)| of).filter(|of| self.given_up.contains(*of));
        let in_doubt: Vec<_> = in_doubt.cloned().collect();
        if !in_doubt.is_empty() && self.poll_positions(assignment.serial, in_doubt, context)?.is_pending() {
            return Ok(());
        }
        let mut assigned = Vec::new();
        for (of, position) in new {
            let position = match &self.asked {
                Some((_, positions)) if self.given_up.remove(&of) => positions.get(&of).map(|at| at.number),
                _ => position,
            };
            let start = position.map_or(self.options.start, Position::Number);
            // Only the beginning is the same for whoever resolves it next: the end moves, and so does the first message
            // of a time while there is none.
            if matches!(start, Position::Latest | Position::Timestamp(_)) {
                self.starting.insert(of.clone());
            }
            self.reads.add(of.clone(), start, None);
            assigned.push(of.clone());
            self.owned.insert(of, Held { stored: position, epoch: assignment.epoch });
        }
        self.serial = assignment.serial;
        let owned = Owned {
            incarnation: self.incarnation,
            serial: assignment.serial,
            epoch: assignment.epoch,
            partitions: self.owned.keys().cloned().collect(),
        };
        self.membership.wish(|wish| wish.owned = owned);
        // Others do not wait for that.
        self.listening.tell_assigned(assigned);
        Ok(())
    }

    /// Has the listener hear what it is to hear, and waits until it is done. Says whether that was anything.
    fn poll_listener(&mut self, context: &mut Context<'_>) -> Poll<bool> {
        // What is committed automatically must not overtake what the listener commits.
        let may_tell = self.revoked.is_empty() && self.committing.is_none();
        if may_tell && self.listening.has_untold() && !self.listening.is_telling() {
            let handle = self.commit_handle();
            self.listening.tell_revoked(handle);
        }
        self.listening.poll_told(context)
    }

    /// The member leaves: the listener hears that everything is taken away. It has as much time as others would wait.
    pub(super) async fn give_up_all(&mut self) {
        // What comes of it is no news: it commits starts, or failed before and was said.
        let _ = self.finish_commit().await;
        let owned: Vec<_> = self.owned.keys().cloned().collect();
        owned.iter().for_each(|of| self.give_up(of));
        // Committed, or not to be.
        self.revoked.clear();
        let patience = self.options.poll_interval_max;
        let told = poll_fn(|context| {
            while !self.look_is_lost(context) && ready!(self.poll_listener(context)) {}
            Poll::Ready(())
        });
        if time::timeout(patience, told).await.is_err() {
            tracing::warn!(
                group = self.options.group,
                "the listener is not done, the member leaves without it"
            );
        }
    }

    /// Asks which positions of these partitions are stored now, for an assignment. What was asked for an earlier one may
    /// be answered with positions of before others had the partition.
    fn poll_positions(
        &mut self,
        serial: u64,
        in_doubt: Vec<TopicPartition>,
        context: &mut Context<'_>,
    ) -> Result<Poll<()>, ConsumeError> {
        if self.asked.as_ref().is_some_and(|(asked, _)| *asked == serial) {
            return Ok(Poll::Ready(()));
        }
        if self.asking.as_ref().is_none_or(|(asking, _)| *asking != serial) {
            let Some((client, who)) = self.committer() else { return Ok(Poll::Pending) };
            self.asking = Some((serial, Box::pin(positions(client, who.group, in_doubt))));
        }
        let Some((_, asking)) = &mut self.asking else { return Ok(Poll::Pending) };
        let Poll::Ready(answer) = asking.as_mut().poll(context) else { return Ok(Poll::Pending) };
        self.asking = None;
        match answer {
            Ok(positions) => {
                self.asked = Some((serial, positions));
                Ok(Poll::Ready(()))
            }
            Err(error) if is_lost(&error) => {
                let incarnation = self.incarnation;
                self.membership.wish(|wish| wish.lost = incarnation);
                Ok(Poll::Pending)
            }
            // Asked again with the next poll.
            Err(error) => Err(error),
        }
    }

    /// What was asked about positions is not to the point any more.
    pub(super) fn forget_answers(&mut self) {
        self.asking = None;
        self.asked = None;
    }

    pub(super) fn give_up(&mut self, of: &TopicPartition) {
        let Some(held) = self.owned.remove(of) else { return };
        let was_starting = self.starting.remove(of);
        self.given_up.insert(of.clone());
        // Of before its position is committed.
        self.forget_answers();
        let number = match self.reads.remove(of) {
            Some(Position::Number(number)) => Some(number),
            _ => None,
        };
        let is_automatic = self.options.commit_interval.is_some();
        // Where it was to start, too, whoever commits: the next one would start further on.
        let to_commit = number.filter(|_| was_starting || is_automatic && held.stored != number);
        if let Some(number) = to_commit {
            self.revoked.insert(of.clone(), Revoked { number, epoch: held.epoch, is_start: was_starting });
        }
        self.listening.revoke(of, Left { number, stored: held.stored, epoch: held.epoch });
    }

    /// The member is lost, and what it read is others'.
    pub(super) fn forget(&mut self) {
        let owned = mem::take(&mut self.owned);
        for of in owned.keys() {
            self.reads.remove(of);
        }
        self.starting.clear();
        let revoked = mem::take(&mut self.revoked);
        self.listening.lose(owned.into_keys().chain(revoked.into_keys()));
        self.given_up.clear();
        self.forget_answers();
        self.committing = None;
        self.serial = 0;
    }

    /// Gets on with commits: one at a time, the most urgent first.
    fn poll_commits(&mut self, context: &mut Context<'_>) -> Result<(), ConsumeError> {
        loop {
            if let Some(committing) = &mut self.committing {
                let Poll::Ready(outcome) = committing.as_mut().poll(context) else { return Ok(()) };
                self.committing = None;
                self.take_automatic(outcome)?;
                if let Some(cause) = self.commit_trouble.take_unsaid() {
                    return Err(self.not_committed(cause));
                }
                // What was taken away may be confirmed now.
                self.poll_standing(context)?;
            }
            if let Some(pause) = &mut self.pause {
                if pause.as_mut().poll(context).is_pending() {
                    return Ok(());
                }
                self.pause = None;
            }
            // Others wait for the listener, who is told when nothing is on its way: an automatic commit would put that off.
            let is_its_turn = self.revoked.is_empty() && self.listening.has_untold();
            if self.listening.is_telling() || is_its_turn {
                return Ok(());
            }
            let positions = self.due_positions(context);
            if positions.is_empty() {
                return Ok(());
            }
            let Some((client, who)) = self.committer() else { return Ok(()) };
            self.committing = Some(Box::pin(commit(client, who, positions)));
        }
    }

    /// What is to be committed now. Woken when that is the next time to look; without anything uncommitted, by nothing.
    fn due_positions(&mut self, context: &mut Context<'_>) -> Vec<PositionToCommit> {
        let urgent = self.urgent();
        let Some(interval) = self.options.commit_interval.filter(|_| urgent.is_empty()) else {
            return urgent;
        };
        if !self.due.is_elapsed() && self.due.as_mut().poll(context).is_pending() {
            return Vec::new();
        }
        let uncommitted = self.uncommitted();
        if !uncommitted.is_empty() {
            self.due.as_mut().reset(Instant::now() + interval);
        }
        uncommitted
    }

    /// What others wait for, or this consumer.
    fn urgent(&self) -> Vec<PositionToCommit> {
        if !self.revoked.is_empty() {
            let revoked = self.revoked.iter();
            return revoked.map(|(of, revoked)| to_commit(of.clone(), revoked.number)).collect();
        }
        self.starts().collect()
    }

    /// Where what may not be read yet is to start, as far as that is known.
    fn starts(&self) -> impl Iterator<Item = PositionToCommit> {
        let known = self.starting.iter().filter_map(|of| Some((of, self.reads.position(of)?)));
        known.map(|(of, number)| to_commit(of.clone(), number))
    }

    /// What is to be committed before the member leaves; what polls have returned of what it reads only if `with_read`.
    pub(super) fn last_positions(&mut self, with_read: bool) -> Vec<PositionToCommit> {
        let revoked = mem::take(&mut self.revoked).into_iter();
        let revoked = revoked.filter(|(_, revoked)| with_read || revoked.is_start);
        let mut positions: Vec<_> = revoked.map(|(of, revoked)| to_commit(of, revoked.number)).collect();
        positions.extend(self.starts());
        if with_read {
            positions.extend(self.uncommitted());
        }
        positions
    }

    /// What polls have returned, as far as it is not committed.
    pub(super) fn uncommitted(&self) -> Vec<PositionToCommit> {
        let owned = self.owned.iter().filter(|(of, _)| !self.starting.contains(*of));
        let moved = owned.filter_map(|(of, held)| Some((of, held.stored, self.reads.position(of)?)));
        moved
            .filter(|(_, stored, number)| *stored != Some(*number))
            .map(|(of, _, number)| to_commit(of.clone(), number))
            .collect()
    }

    fn committer(&self) -> Option<(GroupClient, Committer)> {
        self.commit_handle().committer()
    }

    pub(super) fn not_committed(&self, cause: Arc<str>) -> ConsumeError {
        ConsumeError::NotCommitted { group: self.options.group.clone(), cause }
    }

    /// As [`take`](GroupConsumer::take), of a commit that nobody has asked for. That a partition is somebody else's, or is
    /// of another topic of that name, is no news: the next assignment is on its way.
    pub(super) fn take_automatic(&mut self, mut outcome: Outcome) -> Result<(), ConsumeError> {
        let mut is_late = false;
        for (of, _) in outcome.refused.extract_if(.., |(_, error)| has_reason(error, &["NOT_OWNER"])) {
            is_late |= self.revoked.remove(&of).is_none();
        }
        self.take(outcome)?;
        if is_late {
            self.pause = Some(Box::pin(time::sleep(self.backoff.next_wait())));
        }
        Ok(())
    }

    /// Notes what came of a commit.
    pub(super) fn take(&mut self, outcome: Outcome) -> Result<(), ConsumeError> {
        for (of, number) in outcome.stored {
            if let Some(held) = self.owned.get_mut(&of) {
                held.stored = Some(number);
            }
            self.listening.stored(&of, number);
            self.starting.remove(&of);
            if self.revoked.get(&of).is_some_and(|revoked| revoked.number == number) {
                self.revoked.remove(&of);
            }
        }
        match outcome.cut_short {
            None => {
                self.backoff.reset();
                self.commit_trouble.end();
            }
            Some(CutShort::TryAgain(_)) => {
                self.pause = Some(Box::pin(time::sleep(self.backoff.next_wait())));
            }
            Some(CutShort::Failed(cause)) => {
                self.commit_trouble.note(&self.options.group, &cause);
                self.pause = Some(Box::pin(time::sleep(self.backoff.next_wait())));
            }
            Some(CutShort::Lost(_)) => {
                let incarnation = self.incarnation;
                self.membership.wish(|wish| wish.lost = incarnation);
                self.pause = Some(Box::pin(time::sleep(self.backoff.next_wait())));
            }
        }
        let mut worst = None;
        for (of, error) in outcome.refused {
            self.starting.remove(&of);
            let was_revoked = self.revoked.remove(&of).is_some();
            // Others have it already, or nobody will, or it is of another topic of that name, which does not reach as far:
            // there is nothing left to commit.
            let is_gone = matches!(error, ConsumeError::NotFound { .. })
                || was_revoked && has_reason(&error, &["NOT_OWNER", "POSITION_OUT_OF_RANGE"]);
            if !is_gone {
                worst = Some(error);
            }
        }
        worst.map_or(Ok(()), Err)
    }
}

pub(super) fn to_commit(of: TopicPartition, number: u64) -> PositionToCommit {
    PositionToCommit { of, number, metadata: String::new() }
}
