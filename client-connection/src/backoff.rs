//! [`Backoff`], how long to wait before the next attempt.

use std::{
    hash::{BuildHasher, RandomState},
    time::Duration,
};

/// Short enough that a restarted server is found quickly.
const FIRST: Duration = Duration::from_millis(50);
/// Long enough that a server that is down costs nothing.
const LONGEST: Duration = Duration::from_secs(2);

/// Waits that double from attempt to attempt, each shortened by a random part of up to a half, so that many
/// clients of one restarted server do not come back in step.
#[derive(Debug)]
pub struct Backoff {
    next: Duration,
}

impl Backoff {
    /// The shortest wait comes first.
    pub fn new() -> Backoff {
        Backoff { next: FIRST }
    }

    /// The wait before the next attempt.
    pub fn next_wait(&mut self) -> Duration {
        let wait = self.next;
        self.next = (wait * 2).min(LONGEST);
        wait - wait.mul_f64(random_fraction() / 2.0)
    }

    /// An attempt went well: the next failure starts from the shortest wait.
    pub fn reset(&mut self) {
        self.next = FIRST;
    }
}

impl Default for Backoff {
    fn default() -> Backoff {
        Backoff::new()
    }
}

/// A number in [0, 1). The seed of a hasher is random enough to spread clients, and needs no library.
fn random_fraction() -> f64 {
    let random = RandomState::new().hash_one(());
    (random >> 11) as f64 / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_and_start_anew() {
        let mut backoff = Backoff::new();
        for full_ms in [50, 100, 200, 400, 800, 1600, 2000, 2000] {
            let full = Duration::from_millis(full_ms);
            let wait = backoff.next_wait();
            assert!(full / 2 <= wait && wait <= full, "{wait:?} of {full:?}");
        }
        backoff.reset();
        assert!(backoff.next_wait() <= FIRST);
    }
}
