//! [`CommitTrouble`]: commits over which the server fails again and again.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

/// So many failures in a row are nobody's business: a sync that failed once, a log that is just opened again.
const UNSAID_MAX: u32 = 4;
/// The same trouble is said at most once in so much time.
const INTERVAL: Duration = Duration::from_secs(10);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct CommitTrouble {
    /// In a row.
    failures: u32,
    said_at: Option<Instant>,
    /// What the caller has not heard yet.
    unsaid: Option<Arc<str>>,
}

impl CommitTrouble {
    /// A commit is stored.
    pub(super) fn end(&mut self) {
        self.failures = 0;
        self.unsaid = None;
    }

    /// The server has failed once more. Trouble that lasts goes to the log, and is to be said.
    pub(super) fn note(&mut self, group: &str, cause: &Arc<str>) {
        self.failures = self.failures.saturating_add(1);
        if self.failures <= UNSAID_MAX || self.said_at.is_some_and(|at| at.elapsed() < INTERVAL) {
            return;
        }
        tracing::warn!(group, %cause, times = self.failures, "positions are not stored, trying again");
        self.said_at = Some(Instant::now());
        self.unsaid = Some(cause.clone());
    }

    /// What is to be said now.
    pub(super) fn take_unsaid(&mut self) -> Option<Arc<str>> {
        self.unsaid.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn trouble_that_lasts_is_said_now_and_then() {
        let (mut trouble, cause) = (CommitTrouble::default(), Arc::from("the disk is broken"));
        let is_said = |trouble: &mut CommitTrouble| {
            trouble.note("g", &cause);
            trouble.take_unsaid().is_some()
        };
        let first: Vec<bool> = (0..7).map(|_| is_said(&mut trouble)).collect();
        assert_eq!(first, [false, false, false, false, true, false, false]);
        tokio::time::advance(INTERVAL).await;
        assert!(is_said(&mut trouble));
        trouble.end();
        tokio::time::advance(INTERVAL).await;
        assert!(!is_said(&mut trouble), "it is another one");
    }
}
