//! When what is due: an open loop does not wait for what came before, and what is late is late.

use std::time::Duration;

use tokio::time::{self, Instant};

/// The times at which the messages of one sender are due.
#[derive(Clone, Copy, Debug)]
pub(super) struct Schedule {
    start: Instant,
    /// From one message to the next; `None`: as fast as they are taken.
    interval: Option<Duration>,
    end: End,
}

/// When enough is sent.
#[derive(Clone, Copy, Debug)]
pub(super) enum End {
    /// After so many messages.
    Messages(u64),
    /// After this time.
    After(Duration),
}

impl End {
    /// The part of one of `senders`.
    fn of(self, sender: u32, senders: u32) -> End {
        match self {
            End::Messages(count) => {
                let (count, one, all) = (count, u64::from(sender), u64::from(senders));
                End::Messages(count / all + u64::from(one < count % all))
            }
            after @ End::After(_) => after,
        }
    }
}

impl Schedule {
    /// For one of `senders` that send `per_second` messages until `end` together.
    pub(super) fn new(
        start: Instant,
        per_second: Option<f64>,
        sender: u32,
        senders: u32,
        end: End,
    ) -> Schedule {
        let interval = per_second.map(|rate| Duration::from_secs_f64(f64::from(senders) / rate));
        // Not all at the same moment.
        let start = start + interval.unwrap_or_default().mul_f64(f64::from(sender) / f64::from(senders));
        Schedule { start, interval, end: end.of(sender, senders) }
    }

    /// Waits until message `number` is due, and says when that was; `None` when it is not to be sent any more.
    pub(super) async fn wait(&self, number: u64) -> Option<Instant> {
        let due = match self.interval {
            Some(interval) => self.start + interval.mul_f64(number as f64),
            None => Instant::now(),
        };
        let is_over = match self.end {
            End::Messages(count) => number >= count,
            End::After(time) => due >= self.start + time,
        };
        if is_over {
            return None;
        }
        if due > Instant::now() {
            time::sleep_until(due).await;
        }
        Some(due)
    }
}
