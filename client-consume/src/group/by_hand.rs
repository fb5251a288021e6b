//! Commits that the caller asks for, and waits for.

use super::{GroupConsumer, commit::PositionToCommit};
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
        let positions: Vec<_> = positions.into_iter().collect();
        self.finish_commit().await?;
        let handle = self.commit_handle();
        handle.commit(positions, |outcome| self.take(outcome)).await
    }

    /// Waits for the automatic commit that is under way: a later position must not be overtaken by an earlier one.
    pub(super) async fn finish_commit(&mut self) -> Result<(), ConsumeError> {
        let Some(committing) = &mut self.committing else { return Ok(()) };
        let outcome = committing.await;
        self.committing = None;
        self.take_automatic(outcome)
    }
}
