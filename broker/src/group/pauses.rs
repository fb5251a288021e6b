//! [`Pauses`], times in which no member could be heard: the server was away, its machine slept, or it was kept from running.
//!
//! Deadlines go by the append clock, which goes on meanwhile. So after a pause everybody has their time anew, before
//! anybody is taken for dead: a member that lives says something once it can.

use std::sync::atomic::{AtomicI64, Ordering::SeqCst};

use minikafka_storage::Millis;

use super::{coordinator::Coordinator, tasks::PAUSE};
use crate::{AppendClock, append_clock::millis};

/// What is known of them.
#[derive(Debug)]
pub(super) struct Pauses {
    /// When the last one was over.
    over_at: AtomicI64,
    /// How long the machine has slept, as far as members were forgiven for it.
    asleep_ms: AtomicI64,
}

impl Pauses {
    /// Until now the server was away.
    pub(super) fn new(clock: &AppendClock) -> Pauses {
        Pauses { over_at: clock.now().into(), asleep_ms: clock.asleep().into() }
    }

    /// Nobody could answer before.
    pub(super) fn over_at(&self) -> Millis {
        self.over_at.load(SeqCst)
    }
}

impl Coordinator {
    /// Gives everybody their time anew if the machine has slept. To be called by whoever takes members for dead, when
    /// it knows the time by which it judges: a sleep after that makes nobody too late.
    pub(super) fn forgive_sleep(&self) {
        let asleep_ms = self.clock.asleep();
        let slept_ms = asleep_ms - self.pauses.asleep_ms.load(SeqCst);
        if slept_ms <= millis(PAUSE) {
            return;
        }
        tracing::warn!(slept_ms, "the machine has slept, members get their time anew");
        self.forgive();
        // Only now: who finds nothing to forgive may go on.
        self.pauses.asleep_ms.store(asleep_ms, SeqCst);
    }

    /// Gives everybody their time anew: nobody could be heard until now.
    pub(super) fn forgive(&self) {
        let now = self.now();
        self.pauses.over_at.fetch_max(now, SeqCst);
        self.sessions().forgive(now);
        self.classic().forgive(now);
    }
}
