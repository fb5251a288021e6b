//! The append clock, which alone decides the age of messages.
//!
//! It shows the wall time at start plus the time that has passed since, by a clock that nobody sets and that
//! goes on while the machine sleeps (CLOCK_BOOTTIME). So a step of the wall clock while the server runs
//! changes no age. At start the wall clock is believed, but for one thing: the append clock never begins
//! before the newest message. Nobody can tell a server that was away from a wall clock that was set, so a start
//! that ages the newest message past the retention, or would make it younger than it is, is warned about.

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
    /// How much of `elapsed` the machine was asleep. Zero for a clock that cannot tell.
    fn asleep(&self) -> Duration {
        Duration::ZERO
    }
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
        time_of(ClockId::Boottime)
    }

    fn asleep(&self) -> Duration {
        // Both go at one pace, and this one stands still while the machine sleeps.
        let awake = time_of(ClockId::Monotonic);
        self.elapsed().saturating_sub(awake)
    }
}

fn time_of(clock: ClockId) -> Duration {
    let time = clock_gettime(clock);
    Duration::new(time.tv_sec.max(0) as u64, time.tv_nsec.max(0) as u32)
}

/// What decides the age of messages: the wall time at start, plus what has passed since. No step of the wall clock
/// changes it.
#[derive(Debug)]
pub struct AppendClock {
    clock: Arc<dyn Clock>,
    /// Append time when `clock.elapsed()` was zero; may be negative.
    origin: Millis,
}

impl AppendClock {
    /// A clock that shows wall time, but nothing before `newest`, the newest append time there is. Messages
    /// are evicted at `age_max`.
    pub fn start(clock: Arc<dyn Clock>, newest: Option<Millis>, age_max: Option<Duration>) -> AppendClock {
        let wall = millis(clock.wall());
        let now = newest.map_or(wall, |newest| wall.max(newest));
        match Jump::of(wall, newest, age_max) {
            Jump::None => {}
            Jump::Back { behind_ms } => tracing::warn!(
                behind_ms,
                "the wall clock is behind the newest message: it was set back, or wrong when that was written; ages count from the newest message on"
            ),
            Jump::Forward { ahead_ms } => tracing::warn!(
                ahead_ms,
                "by the wall clock, all messages are too old and are evicted, but where a topic keeps them for longer: the server was away for longer than the retention, or the clock was set forward, or it was wrong when they were written"
            ),
        }
        let origin = now - millis(clock.elapsed());
        AppendClock { clock, origin }
    }

    /// Milliseconds since the Unix epoch.
    pub fn now(&self) -> Millis {
        self.origin + millis(self.clock.elapsed())
    }

    /// Milliseconds that the machine was asleep, since some moment.
    pub(crate) fn asleep(&self) -> Millis {
        millis(self.clock.asleep())
    }
}

/// What the wall clock did between the newest message and a start, if it is remarkable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Jump {
    None,
    /// Behind the newest message.
    Back {
        behind_ms: Millis,
    },
    /// Past the time of every message.
    Forward {
        ahead_ms: Millis,
    },
}

impl Jump {
    fn of(wall: Millis, newest: Option<Millis>, age_max: Option<Duration>) -> Jump {
        let Some(ahead_ms) = newest.map(|newest| wall.saturating_sub(newest)) else { return Jump::None };
        if ahead_ms < 0 {
            return Jump::Back { behind_ms: -ahead_ms };
        }
        match age_max {
            Some(age_max) if ahead_ms > millis(age_max) => Jump::Forward { ahead_ms },
            _ => Jump::None,
        }
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
        let clock = AppendClock::start(hands.clone(), None, None);
        assert_eq!(clock.now(), 10_000);
        *hands.0.lock().unwrap() = (99_999_999, 60);
        assert_eq!(clock.now(), 10_010);
        *hands.0.lock().unwrap() = (0, 75);
        assert_eq!(clock.now(), 10_025);
    }

    #[test]
    fn it_never_begins_before_the_newest_message() {
        let hands = Arc::new(Hands(Mutex::new((10_000, 50))));
        assert_eq!(AppendClock::start(hands.clone(), Some(12_000), None).now(), 12_000);
        assert_eq!(AppendClock::start(hands, Some(9_000), None).now(), 10_000);
    }

    #[test]
    fn a_jump_is_remarkable_when_it_changes_what_is_kept() {
        let of = |wall, newest| Jump::of(wall, newest, Some(Duration::from_secs(5)));
        assert_eq!(of(10_000, None), Jump::None);
        assert_eq!(of(10_000, Some(10_000)), Jump::None);
        assert_eq!(of(15_000, Some(10_000)), Jump::None);
        assert_eq!(of(15_001, Some(10_000)), Jump::Forward { ahead_ms: 5_001 });
        assert_eq!(of(9_999, Some(10_000)), Jump::Back { behind_ms: 1 });
        assert_eq!(Jump::of(Millis::MAX / 4, Some(0), None), Jump::None, "nothing grows too old");
    }
}
