//! Opening the log of a partition again after its disk has failed.
//!
//! Nobody polls a disk. Whoever wants to append to a log that has failed makes the owner task open it again: at once
//! the first time, and then, while the disk goes on failing, after a pause that doubles. Appends in between are
//! refused. Readers go on with what was committed all the while.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use minikafka_storage::Log;
use tokio::time::Instant;

use crate::{broker::blocking, partition::PartitionCore};

/// Pause behind the first try.
const PAUSE_MIN: Duration = Duration::from_secs(1);
/// A disk that is broken for good is asked this often.
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// When a log was opened again, and when it may be next.
#[derive(Debug, Default)]
pub(crate) struct Reopening {
    tried: Option<Instant>,
    pause: Duration,
}

impl Reopening {
    /// The log in the place of the one that has failed, if it is time to try, and that succeeds.
    pub(crate) async fn reopen(&mut self, core: &Arc<PartitionCore>) -> Option<Arc<dyn Log>> {
        if !self.is_due() {
            return None;
        }
        let (storage, asking) = (core.storage.upgrade()?, core.clone());
        let open = move || {
            let log = storage.open(&asking.id)?;
            asking.producers.learn(&*log)?;
            Ok(log)
        };
        match blocking(open).await {
            Ok(log) => {
                core.reopened(log.clone());
                Some(log)
            }
            Err(error) => {
                tracing::warn!(partition = %core.id, %error, again_in = ?self.pause, "the log could not be opened again");
                None
            }
        }
    }

    fn is_due(&mut self) -> bool {
        let now = Instant::now();
        self.pause = match self.tried {
            Some(tried) if now - tried < self.pause => return false,
            // It fails soon after it was opened again, or cannot be.
            Some(tried) if now - tried < 2 * PAUSE_MAX => (2 * self.pause).min(PAUSE_MAX),
            _ => PAUSE_MIN,
        };
        self.tried = Some(now);
        true
    }
}

impl PartitionCore {
    pub(crate) fn has_failed(&self) -> bool {
        self.has_failed.load(Ordering::Acquire)
    }
}
