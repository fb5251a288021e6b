//! [`Room`], how many connections a door may have.
//!
//! ```text
//!   room of the server = shared by all doors + one of each door's own
//! ```
//!
//! A door's own place is taken last, when no shared one is free, and comes back to this door only. So clients of one
//! door, also those who wait for a place, cannot keep all others out of the other one: there is where a server is asked
//! how it is.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The places of a door for connections.
#[derive(Clone, Debug)]
pub(crate) struct Room {
    shared: Arc<Semaphore>,
    own: Arc<Semaphore>,
}

impl Room {
    /// These places, which other doors take, too, and one more.
    pub(crate) fn beside(shared: &Arc<Semaphore>) -> Room {
        Room { shared: shared.clone(), own: Arc::new(Semaphore::new(1)) }
    }

    /// Waits until there is room for one more connection. Who holds that for a connection which is still to come keeps
    /// no other door from a place if the own one was free, and from one at most if not.
    pub(crate) async fn for_the_next(&self) -> OwnedSemaphorePermit {
        tokio::select! {
            biased;
            own = self.own.clone().acquire_owned() => own,
            shared = self.shared.clone().acquire_owned() => shared,
        }
        .expect("nobody closes these semaphores")
    }

    /// The place of a connection that has come: a shared one if there is any, else what was held for it.
    pub(crate) fn take(&self, held: OwnedSemaphorePermit) -> OwnedSemaphorePermit {
        self.shared.clone().try_acquire_owned().unwrap_or(held)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn a_door_always_has_its_own_place_however_many_wait_at_the_other_one() {
        let shared = Arc::new(Semaphore::new(2));
        let (one, other) = (Room::beside(&shared), Room::beside(&shared));
        let come = |room: &Room| room.for_the_next().now_or_never().map(|held| room.take(held));
        let here = come(&one).expect("a shared place");
        let there: Vec<_> = std::iter::from_fn(|| come(&other)).collect();
        assert_eq!(there.len(), 2, "a shared place and the own one");
        let mut waiting = Box::pin(other.for_the_next());
        assert!(waiting.as_mut().now_or_never().is_none());
        for _ in 0..3 {
            let own = come(&one).expect("the own place");
            assert!(come(&one).is_none(), "it was the last one");
            drop(own);
            assert!(waiting.as_mut().now_or_never().is_none(), "it is no place for the other door");
        }
        // What is shared goes to who waits.
        drop(here);
        assert!(waiting.now_or_never().is_some());
    }
}
