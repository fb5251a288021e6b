//! [`CommitHandle`], what it takes to commit for a member beside its consumer.

use std::{sync::Arc, time::Duration};

use minikafka_client_connection::{Address, Backoff, GroupClient};
use tokio::{
    sync::watch,
    time::{self, Instant},
};

use super::{
    board::Board,
    commit::{Committer, CutShort, Outcome, PositionToCommit, commit},
    membership::Wish,
};
use crate::ConsumeError;

/// See the module. Cheap to clone. It speaks for one incarnation of the member: when that is lost, for nobody.
#[derive(Clone)]
pub(super) struct CommitHandle {
    pub(super) board: Board,
    pub(super) wishes: watch::Sender<Wish>,
    pub(super) incarnation: u64,
    pub(super) group: String,
    pub(super) address: Address,
    /// How long the server is asked.
    pub(super) timeout: Duration,
}

impl CommitHandle {
    /// Who commits now; `None` while it is not a member.
    pub(super) fn committer(&self) -> Option<(GroupClient, Committer)> {
        // As things stand now: who commits with an old epoch is refused.
        let standing = self.board.standing();
        let client = standing.client?;
        if standing.member_id.is_empty() || standing.incarnation != self.incarnation {
            return None;
        }
        let (group, member_id) = (self.group.clone(), standing.member_id);
        let epoch = standing.assignment.as_ref().map_or(0, |assignment| assignment.epoch);
        Some((client, Committer { group, member_id, epoch }))
    }

    /// Commits these positions, and tries again while that may help. What comes of each attempt is noted.
    ///
    /// # Errors
    /// As [`GroupConsumer::commit_positions`](crate::GroupConsumer::commit_positions).
    pub(super) async fn commit(
        &self,
        mut positions: Vec<PositionToCommit>,
        mut note: impl FnMut(Outcome) -> Result<(), ConsumeError>,
    ) -> Result<(), ConsumeError> {
        let deadline = Instant::now() + self.timeout;
        let mut backoff = Backoff::new();
        while !positions.is_empty() {
            let error = match self.committer() {
                Some((client, who)) => {
                    let outcome = commit(client, who, positions.clone()).await;
                    positions.retain(|each| !outcome.stored.iter().any(|(of, _)| *of == each.of));
                    let cut_short = outcome.cut_short.clone();
                    note(outcome)?;
                    match cut_short {
                        None => return Ok(()),
                        Some(CutShort::TryAgain(cause)) => self.unreachable(cause),
                        Some(CutShort::Failed(cause)) => {
                            ConsumeError::NotCommitted { group: self.group.clone(), cause }
                        }
                        Some(CutShort::Lost(cause)) => {
                            self.lose();
                            return Err(self.lost(cause));
                        }
                    }
                }
                None => {
                    self.check_member()?;
                    self.unreachable("it is not a member just now".into())
                }
            };
            if Instant::now() >= deadline {
                return Err(error);
            }
            time::sleep(backoff.next_wait()).await;
        }
        Ok(())
    }

    /// Whether it is the member still that it speaks for.
    ///
    /// # Errors
    /// [`ConsumeError::MembershipLost`].
    pub(super) fn check_member(&self) -> Result<(), ConsumeError> {
        let standing = self.board.standing();
        if standing.incarnation == self.incarnation {
            return Ok(());
        }
        Err(self.lost(standing.loss.unwrap_or_default()))
    }

    /// The server has said that the member is lost.
    fn lose(&self) {
        self.wishes.send_modify(|wish| wish.lost = self.incarnation);
    }

    fn lost(&self, cause: Arc<str>) -> ConsumeError {
        ConsumeError::MembershipLost { group: self.group.clone(), cause }
    }

    pub(super) fn unreachable(&self, cause: Arc<str>) -> ConsumeError {
        ConsumeError::Unreachable { address: self.address.to_string(), cause }
    }
}
