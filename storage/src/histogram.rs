//! [`Histogram`]: how often which size or duration was seen. Recording takes two atomic additions, no lock.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Instant,
};

/// Microseconds: from a page in the system's cache to a disk that has lost its way.
const DURATIONS_US: &[u64] = &[
    50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    2_500_000, 10_000_000,
];
/// From one small message to more than a round takes of one log.
const BYTES: &[u64] =
    &[256, 1 << 10, 4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20, 4 << 20, 16 << 20, 64 << 20];
const COUNTS: &[u64] = &[1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 4096];

/// Counts values by size.
#[derive(Debug)]
pub struct Histogram {
    bounds: &'static [u64],
    /// One more than there are bounds: the last is for what is larger than all.
    counts: Box<[AtomicU64]>,
    sum: AtomicU64,
}

/// A histogram at a moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HistogramSnapshot {
    /// Upper bounds, inclusive.
    pub bounds: &'static [u64],
    /// Values up to each bound and above the one before it; then those above all bounds.
    pub counts: Vec<u64>,
    /// Sum of all values.
    pub sum: u64,
}

impl Histogram {
    /// Of durations, in microseconds.
    pub fn of_durations() -> Histogram {
        Histogram::new(DURATIONS_US)
    }

    /// Of sizes, in bytes.
    pub fn of_bytes() -> Histogram {
        Histogram::new(BYTES)
    }

    /// Of numbers of things.
    pub fn of_counts() -> Histogram {
        Histogram::new(COUNTS)
    }

    fn new(bounds: &'static [u64]) -> Histogram {
        let counts = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Histogram { bounds, counts, sum: AtomicU64::new(0) }
    }

    /// Counts a value.
    pub fn record(&self, value: u64) {
        let at = self.bounds.partition_point(|bound| *bound < value);
        // Relaxed: figures for people, which order nothing.
        self.counts[at].fetch_add(1, Ordering::Relaxed);
        self.sum.fetch_add(value, Ordering::Relaxed);
    }

    /// Counts the time that has passed, in microseconds.
    pub fn record_since(&self, begin: Instant) {
        self.record(u64::try_from(begin.elapsed().as_micros()).unwrap_or(u64::MAX));
    }

    /// What was counted so far.
    pub fn snapshot(&self) -> HistogramSnapshot {
        HistogramSnapshot {
            bounds: self.bounds,
            counts: self.counts.iter().map(|count| count.load(Ordering::Relaxed)).collect(),
            sum: self.sum.load(Ordering::Relaxed),
        }
    }
}

impl HistogramSnapshot {
    /// How many values were counted.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_belongs_to_what_is_below_it() {
        let histogram = Histogram::new(&[10, 100]);
        [0, 10, 11, 100, 101, 5_000].into_iter().for_each(|value| histogram.record(value));
        let snapshot = histogram.snapshot();
        assert_eq!(snapshot.counts, [2, 2, 2]);
        assert_eq!((snapshot.count(), snapshot.sum), (6, 5_222));
    }

    #[test]
    fn bounds_grow() {
        for bounds in [DURATIONS_US, BYTES, COUNTS] {
            assert!(bounds.is_sorted_by(|a, b| a < b));
        }
    }
}
