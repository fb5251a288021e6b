//! [`Stop`], the end of a load before its time.

use tokio::task::JoinHandle;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Ends the senders of a load, each of which runs in a task of its own. Its clones are one.
#[derive(Clone, Debug, Default)]
pub(super) struct Stop {
    is_wanted: CancellationToken,
    senders: TaskTracker,
}

impl Stop {
    pub(super) fn spawn<T: Send + 'static>(
        &self,
        sender: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<T> {
        self.senders.spawn(sender)
    }

    /// Waits until the senders are to end.
    pub(super) async fn wanted(&self) {
        self.is_wanted.cancelled().await;
    }

    /// Waits until all senders have ended. What one of them sent later would create the topic again that the run deletes.
    pub(super) async fn all(&self) {
        self.is_wanted.cancel();
        self.senders.close();
        self.senders.wait().await;
    }
}
