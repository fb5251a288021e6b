//! Commits that the caller asks for, and waits for.

use minikafka_client_connection::Backoff;
use tokio::time::{self, Instant};

use super::{
    GroupConsumer,
    commit::{CutShort, PositionToCommit, commit},
};
use crate::ConsumeError;

impl GroupConsumer {
    /// Commits everything that polls have returned, whether or not that happens automatically.
    ///
    /// # Errors
    /// When it is not stored: [`ConsumeError::Unreachable`] and [`ConsumeError::NotCommitted`] after the timeout, others
    /// at once.
    pub async fn commit(&mut self) -> Result<(), ConsumeError> {
        let positions = self.uncommitted();
        self.commit_positions(positions).await
    }

    /// Commits these positions, with what is to be remembered with them. Where the consumer reads does not change.
    ///
    /// # Errors
    /// As [`commit`](GroupConsumer::commit), and when a position is not one of the partition, or the partition not one
    /// of this member.
    pub async fn commit_positions(
        &mut self,
        positions: impl IntoIterator<Item = PositionToCommit>,
    ) -> Result<(), ConsumeError> {
        let mut positions: Vec<_> = positions.into_iter().collect();
        let deadline = Instant::now() + self.options.timeout;
        let mut backoff = Backoff::new();
        // One after the other: a later position must not be overtaken by an earlier one.
        if let Some(committing) = &mut self.committing {
            let outcome = committing.await;
            self.committing = None;
            self.take(outcome)?;
        }
        while !positions.is_empty() {
            let error = match self.committer() {
                Some((client, who)) => {
                    let outcome = commit(client, who, positions.clone()).await;
                    positions.retain(|each| !outcome.stored.iter().any(|(of, _)| *of == each.of));
                    let cut_short = outcome.cut_short.clone();
                    self.take(outcome)?;
                    match cut_short {
                        None => return Ok(()),
                        Some(CutShort::TryAgain(cause)) => self.unreachable(&cause),
                        Some(CutShort::Failed(cause)) => self.not_committed(cause),
                        Some(CutShort::Lost(cause)) => {
                            let group = self.options.group.clone();
                            return Err(ConsumeError::MembershipLost { group, cause });
                        }
                    }
                }
                None => self.unreachable("it is not a member just now"),
            };
            if Instant::now() >= deadline {
                return Err(error);
            }
            time::sleep(backoff.next_wait()).await;
        }
        Ok(())
    }
}
