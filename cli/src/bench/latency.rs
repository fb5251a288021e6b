//! [`Latencies`], a histogram of times.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

/// Times from 100 ns to 1000 s are told apart; three digits of each are kept.
const NANOS: std::ops::Range<u64> = 100..1_000_000_000_000;
const DIGITS: u8 = 3;

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Latencies(Histogram<u64>);

/// What is told of it, in milliseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Percentiles {
    pub(super) p50: f64,
    pub(super) p90: f64,
    pub(super) p99: f64,
    pub(super) p99_9: f64,
    pub(super) p99_99: f64,
    pub(super) max: f64,
}

impl Latencies {
    pub(super) fn new() -> Latencies {
        let histogram = Histogram::new_with_bounds(NANOS.start, NANOS.end, DIGITS);
        Latencies(histogram.expect("the bounds and the digits are valid"))
    }

    pub(super) fn record(&mut self, time: Duration) {
        self.0.saturating_record(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
    }

    pub(super) fn add(&mut self, other: &Latencies) {
        self.0.add(&other.0).expect("all have the same bounds");
    }

    /// `None` without any.
    pub(super) fn percentiles(&self) -> Option<Percentiles> {
        let at = |part| self.0.value_at_quantile(part) as f64 / 1e6;
        (!self.0.is_empty()).then(|| Percentiles {
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p99_9: at(0.999),
            p99_99: at(0.9999),
            max: self.0.max() as f64 / 1e6,
        })
    }
}
