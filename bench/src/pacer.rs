//! Open loops: something happens at a fixed rate, whether what came before has ended or not. What is late is late,
//! and counted from when it was due: no coordinated omission.

use std::{
    thread,
    time::{Duration, Instant},
};

/// When what is due.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Schedule {
    start: Instant,
    interval: Duration,
    /// How many times.
    pub(crate) count: u64,
}

impl Schedule {
    /// At a rate, for some time.
    pub(crate) fn starting_now(per_second: u32, time: Duration) -> Schedule {
        let interval = Duration::from_secs(1) / per_second;
        let count = (time.as_secs_f64() * f64::from(per_second)) as u64;
        Schedule { start: Instant::now() + interval, interval, count }
    }

    /// When this one is due, counted from 0.
    pub(crate) fn due(&self, number: u64) -> Instant {
        self.start + self.interval.mul_f64(number as f64)
    }
}

/// Acts on schedule, on this thread, until `act` returns `false`.
pub(crate) fn run(schedule: Schedule, mut act: impl FnMut(u64) -> bool) {
    // The system may be late with timers by 50 us otherwise, to wake up less often. If it will not, it is late.
    let _ = rustix::thread::set_current_timer_slack(std::num::NonZeroU64::new(1));
    for number in 0..schedule.count {
        thread::sleep(schedule.due(number).saturating_duration_since(Instant::now()));
        if !act(number) {
            return;
        }
    }
}

/// As [`run`], on a thread of its own: an async runtime's timers count whole milliseconds.
pub(crate) fn spawn(schedule: Schedule, act: impl FnMut(u64) -> bool + Send + 'static) {
    thread::spawn(move || run(schedule, act));
}
