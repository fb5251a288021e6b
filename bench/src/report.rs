//! Figures: a line for each, with what it is compared to and whether it reaches its bar.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Lines that missed their bar.
static SHORT: AtomicUsize = AtomicUsize::new(0);

/// What a figure counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Messages per second.
    Messages,
    /// Bytes per second.
    Bandwidth,
    /// Seconds.
    Seconds,
    /// Bytes.
    Bytes,
    /// Part of one core, where 1 is all of it.
    Cores,
    /// One time over another.
    Times,
}

/// What a figure has to reach.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Bar {
    /// Nothing: it is there to be seen.
    None,
    /// This part of the limit, or more.
    Ratio(f64),
    /// This, or more.
    AtLeast(f64),
    /// This, or less.
    AtMost(f64),
    /// The limit and this much, or less.
    LimitPlus(f64),
}

/// One line of the report; the rounds of both sides were taken in turn.
#[derive(Debug)]
#[must_use = "a figure is seen once it is printed"]
pub(crate) struct Figure<'a> {
    scenario: String,
    unit: Unit,
    ours: &'a [f64],
    limit: Option<(&'a str, &'a [f64])>,
    bar: Bar,
}

impl<'a> Figure<'a> {
    /// A figure of each round.
    pub(crate) fn new(scenario: impl Into<String>, unit: Unit, ours: &'a [f64]) -> Figure<'a> {
        Figure { scenario: scenario.into(), unit, ours, limit: None, bar: Bar::None }
    }

    /// What the machine allowed in the same rounds, and what that is.
    pub(crate) fn limit(self, what: &'a str, limit: &'a [f64]) -> Figure<'a> {
        Figure { limit: Some((what, limit)), ..self }
    }

    /// What it has to reach.
    pub(crate) fn bar(self, bar: Bar) -> Figure<'a> {
        Figure { bar, ..self }
    }

    /// Prints the line.
    pub(crate) fn print(self) {
        let ours = median(self.ours);
        let (scenario, limit, ratio) = match self.limit {
            None => (self.scenario, None, None),
            Some((what, limit)) => {
                let ratios: Vec<f64> =
                    self.ours.iter().zip(limit).map(|(ours, limit)| ours / limit).collect();
                (format!("{} | {what}", self.scenario), Some(median(limit)), Some(median(&ratios)))
            }
        };
        let (bar, reached) = self.bar.judge(self.unit, ours, limit.unwrap_or_default(), ratio);
        let verdict = match reached {
            None => "",
            Some(true) => "ok",
            Some(false) => {
                SHORT.fetch_add(1, Ordering::Relaxed);
                "SHORT"
            }
        };
        let limit = limit.map(|limit| self.unit.show(limit)).unwrap_or_default();
        let ratio = ratio.map(|ratio| format!("{:.0} %", ratio * 100.0)).unwrap_or_default();
        let line =
            format!("{scenario:<84} {:>11} {limit:>11} {ratio:>7} {bar:>13} {verdict}", self.unit.show(ours));
        println!("{}", line.trim_end());
    }
}

impl Bar {
    /// The bar in words, and whether it is reached.
    fn judge(self, unit: Unit, ours: f64, limit: f64, ratio: Option<f64>) -> (String, Option<bool>) {
        match self {
            Bar::None => (String::new(), None),
            Bar::Ratio(part) => {
                (format!(">= {:.0} %", part * 100.0), Some(ratio.is_some_and(|ratio| ratio >= part)))
            }
            Bar::AtLeast(least) => (format!(">= {}", unit.show(least)), Some(ours >= least)),
            Bar::AtMost(most) => (format!("<= {}", unit.show(most)), Some(ours <= most)),
            Bar::LimitPlus(more) => (format!("<= +{}", unit.show(more)), Some(ours <= limit + more)),
        }
    }
}

impl Unit {
    fn show(self, value: f64) -> String {
        match self {
            Unit::Messages if value >= 1e6 => format!("{:.2} M/s", value / 1e6),
            Unit::Messages => format!("{:.1} k/s", value / 1e3),
            Unit::Bandwidth => format!("{:.0} MB/s", value / 1e6),
            Unit::Seconds if value >= 1.0 => format!("{value:.2} s"),
            Unit::Seconds => format!("{:.3} ms", value * 1e3),
            Unit::Bytes if value >= 1e6 => format!("{:.1} MB", value / 1e6),
            Unit::Bytes => format!("{:.1} KB", value / 1e3),
            Unit::Cores => format!("{:.2} %", value * 100.0),
            Unit::Times => format!("{value:.1} x"),
        }
    }
}

/// Prints the heading of the table.
pub(crate) fn header() {
    println!("{:<84} {:>11} {:>11} {:>7} {:>13}", "scenario | limit", "MiniKafka", "limit", "ratio", "bar");
}

/// Prints what a group of figures has in common.
pub(crate) fn section(title: &str) {
    println!("-- {title}");
}

/// Prints how many lines missed their bar.
pub(crate) fn footer() {
    match SHORT.load(Ordering::Relaxed) {
        0 => println!("every figure reaches its bar"),
        short => println!("{short} figures are short of their bar"),
    }
}

/// A field of all rounds.
pub(crate) fn pick<T>(rounds: &[T], field: impl Fn(&T) -> f64) -> Vec<f64> {
    rounds.iter().map(field).collect()
}

/// The median; of an even number, the upper of the two in the middle.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}
