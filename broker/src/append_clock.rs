//! The append clock, which alone decides the age of messages.
//!
//! It shows the wall time at start plus the time that has passed since, by a clock that nobody sets and that
//! goes on while the machine sleeps (CLOCK_BOOTTIME). So a step of the wall clock while the server runs
//! changes no age. At start the wall clock is believed, but for one thing: the append clock never begins
//! before the newest message.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use minikafka_storage::Millis;
use rustix::time::{ClockId, clock_gettime};

/// Where an append clock takes its time from.
pub trait Clock: Send + Sync + fmt::Debug {
    /// Time since the Unix epoch; may be set by anybody at any moment.
    fn wall(&self) -> Duration;
    /// Time since some moment; only ever goes forward, at its own pace.
    fn elapsed(&self) -> Duration;
}

/// The clocks of the operating system.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn wall(&self) -> Duration {
        // A wall clock before 1970 is as good as one at 1970: both are wrong.
        SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
    }

    fn elapsed(&self) -> Duration {
        let time = clock_gettime(ClockId::Boottime);
        Duration::new(time.tv_sec.max(0) as u64, time.tv_nsec.max(0) as u32)
    }
}

/// See the module's page.
#[derive(Debug)]
pub(crate) struct AppendClock {
    clock: Arc<dyn Clock>,
    /// Append time when `clock.elapsed()` was zero; may be negative.
    origin: Millis,
}

impl AppendClock {
    /// A clock that shows wall time, but nothing before `floor`, the newest append time there is.
    pub(crate) fn start(clock: Arc<dyn Clock>, floor: Option<Millis>) -> AppendClock {
        let wall = millis(clock.wall());
        let now = floor.map_or(wall, |floor| wall.max(floor));
        if now > wall {
            tracing::warn!(
                behind_ms = now - wall,
                "the wall clock is behind the newest message: it was set back, or wrong when that was written; ages count from the newest message on"
            );
        }
        let origin = now - millis(clock.elapsed());
        AppendClock { clock, origin }
    }

    pub(crate) fn now(&self) -> Millis {
        self.origin + millis(self.clock.elapsed())
    }
}

pub(crate) fn millis(duration: Duration) -> Millis {
    Millis::try_from(duration.as_millis()).unwrap_or(Millis::MAX / 4)
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[derive(Debug)]
    struct Hands(Mutex<(u64, u64)>);

    impl Clock for Hands {
        fn wall(&self) -> Duration {
            Duration::from_millis(self.0.lock().unwrap().0)
        }
        fn elapsed(&self) -> Duration {
            Duration::from_millis(self.0.lock().unwrap().1)
        }
    }

    #[test]
    fn a_step_of_the_wall_clock_changes_nothing() {
        let hands = Arc::new(Hands(Mutex::new((10_000, 50))));
        let clock = AppendClock::start(hands.clone(), None);
        assert_eq!(clock.now(), 10_000);
        *hands.0.lock().unwrap() = (99_999_999, 60);
        assert_eq!(clock.now(), 10_010);
        *hands.0.lock().unwrap() = (0, 75);
        assert_eq!(clock.now(), 10_025);
    }

    #[test]
    fn it_never_begins_before_the_newest_message() {
        let hands = Arc::new(Hands(Mutex::new((10_000, 50))));
        assert_eq!(AppendClock::start(hands.clone(), Some(12_000)).now(), 12_000);
        assert_eq!(AppendClock::start(hands, Some(9_000)).now(), 10_000);
    }
}
