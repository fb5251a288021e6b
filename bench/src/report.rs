//! Medians, ratios, and a line for each.

use std::time::Duration;

/// Prints the heading of the table.
pub(crate) fn header() {
    println!("{:<58} {:>14} {:>14} {:>7}", "scenario", "MiniKafka", "limit", "ratio");
}

/// Runs both sides in turn, and prints medians of their rates and the ratio.
pub(crate) fn compare(scenario: &str, ours: &[f64], limit: &[f64]) {
    let (ours, limit) = (median(ours), median(limit));
    println!("{scenario:<58} {:>14} {:>14} {:>6.0}%", rate(ours), rate(limit), 100.0 * ours / limit);
}

/// Prints a median latency of both sides.
pub(crate) fn compare_latency(scenario: &str, ours: &[f64], limit: &[f64]) {
    let (ours, limit) = (median(ours), median(limit));
    println!("{scenario:<58} {:>11.3} ms {:>11.3} ms {:>7}", ours * 1e3, limit * 1e3, "");
}

/// A rate per second.
pub(crate) fn per_second(count: u64, elapsed: Duration) -> f64 {
    count as f64 / elapsed.as_secs_f64()
}

/// The value below which this part of all lie.
pub(crate) fn percentile(values: &mut [Duration], part: f64) -> f64 {
    values.sort_unstable();
    let at = ((values.len() as f64 * part) as usize).min(values.len().saturating_sub(1));
    values.get(at).map_or(0.0, Duration::as_secs_f64)
}

fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

fn rate(value: f64) -> String {
    if value >= 1e6 { format!("{:.2} M msg/s", value / 1e6) } else { format!("{:.1} k msg/s", value / 1e3) }
}
