//! [`Latencies`], a histogram of times.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

/// Times from 100 ns to 100 s are told apart; three digits of each are kept.
const NANOS: std::ops::Range<u64> = 100..100_000_000_000;
const DIGITS: u8 = 3;

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct Latencies(Histogram<u64>);

impl Latencies {
    /// None yet.
    pub(crate) fn new() -> Latencies {
        let histogram = Histogram::new_with_bounds(NANOS.start, NANOS.end, DIGITS);
        Latencies(histogram.expect("the bounds and the digits are valid"))
    }

    /// Adds a time.
    pub(crate) fn record(&mut self, time: Duration) {
        self.0.saturating_record(time.as_nanos() as u64);
    }

    /// Adds the time since then.
    pub(crate) fn record_since(&mut self, begin: Instant) {
        self.record(begin.elapsed());
    }

    /// Adds those of another.
    pub(crate) fn add(&mut self, other: &Latencies) {
        self.0.add(&other.0).expect("all have the same bounds");
    }

    /// How many.
    pub(crate) fn count(&self) -> u64 {
        self.0.len()
    }

    /// The time that this part of all do not exceed, in seconds.
    pub(crate) fn at(&self, part: f64) -> f64 {
        self.0.value_at_quantile(part) as f64 / 1e9
    }
}

impl FromIterator<Duration> for Latencies {
    fn from_iter<I: IntoIterator<Item = Duration>>(times: I) -> Latencies {
        let mut latencies = Latencies::new();
        times.into_iter().for_each(|time| latencies.record(time));
        latencies
    }
}
