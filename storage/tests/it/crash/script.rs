//! [`Step`], what a history is made of, readable and writable as text.
//!
//! ```text
//!     open a              opens or creates a log
//!     append a 3x40       three entries with messages of 40 bytes, in one append; waits for the answer
//!     send a 3x40         the same, does not wait
//!     wait                waits for all answers
//!     trim a 50           moves the start half way to the last entry that is complete
//!     truncate a 50       cuts the last half of the entries
//!     reset a             throws all away and goes on elsewhere
//!     remove a            removes the log
//!     blob a vote 20      stores a blob of 20 bytes
//!     reopen              closes the storage and opens it again
//! ```
//!
//! A history that fails is printed like this: paste it into a test.

use std::{fmt, str::FromStr};

use crate::fake_disk::Rng;

/// One step of a history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Open { topic: String },
    Append { topic: String, entries: u64, bytes: u64 },
    Send { topic: String, entries: u64, bytes: u64 },
    Wait,
    Trim { topic: String, percent: u64 },
    Truncate { topic: String, percent: u64 },
    Reset { topic: String },
    Remove { topic: String },
    Blob { topic: String, name: String, bytes: u64 },
    Reopen,
}

/// Reads a history, one step per line.
pub(super) fn parse(text: &str) -> Vec<Step> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines.map(|line| line.parse().unwrap_or_else(|()| panic!("not a step: {line}"))).collect()
}

/// Writes a history, one step per line.
pub(super) fn text(steps: &[Step]) -> String {
    steps.iter().map(|step| format!("{step}\n")).collect()
}

impl Step {
    /// The log that it is about.
    pub(super) fn topic(&self) -> Option<&str> {
        match self {
            Step::Open { topic }
            | Step::Append { topic, .. }
            | Step::Send { topic, .. }
            | Step::Trim { topic, .. }
            | Step::Truncate { topic, .. }
            | Step::Reset { topic }
            | Step::Remove { topic }
            | Step::Blob { topic, .. } => Some(topic),
            Step::Wait | Step::Reopen => None,
        }
    }
}

impl FromStr for Step {
    type Err = ();

    fn from_str(line: &str) -> Result<Step, ()> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let number = |word: &str| word.parse::<u64>().map_err(drop);
        let size = |word: &str| {
            let (entries, bytes) = word.split_once('x').ok_or(())?;
            Ok((number(entries)?, number(bytes)?))
        };
        Ok(match words[..] {
            ["open", topic] => Step::Open { topic: topic.to_owned() },
            ["append", topic, what] => {
                let (entries, bytes) = size(what)?;
                Step::Append { topic: topic.to_owned(), entries, bytes }
            }
            ["send", topic, what] => {
                let (entries, bytes) = size(what)?;
                Step::Send { topic: topic.to_owned(), entries, bytes }
            }
            ["wait"] => Step::Wait,
            ["trim", topic, percent] => Step::Trim { topic: topic.to_owned(), percent: number(percent)? },
            ["truncate", topic, percent] => {
                Step::Truncate { topic: topic.to_owned(), percent: number(percent)? }
            }
            ["reset", topic] => Step::Reset { topic: topic.to_owned() },
            ["remove", topic] => Step::Remove { topic: topic.to_owned() },
            ["blob", topic, name, bytes] => {
                Step::Blob { topic: topic.to_owned(), name: name.to_owned(), bytes: number(bytes)? }
            }
            ["reopen"] => Step::Reopen,
            _ => return Err(()),
        })
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::Open { topic } => write!(f, "open {topic}"),
            Step::Append { topic, entries, bytes } => write!(f, "append {topic} {entries}x{bytes}"),
            Step::Send { topic, entries, bytes } => write!(f, "send {topic} {entries}x{bytes}"),
            Step::Wait => f.write_str("wait"),
            Step::Trim { topic, percent } => write!(f, "trim {topic} {percent}"),
            Step::Truncate { topic, percent } => write!(f, "truncate {topic} {percent}"),
            Step::Reset { topic } => write!(f, "reset {topic}"),
            Step::Remove { topic } => write!(f, "remove {topic}"),
            Step::Blob { topic, name, bytes } => write!(f, "blob {topic} {name} {bytes}"),
            Step::Reopen => f.write_str("reopen"),
        }
    }
}

/// A random history over a few logs.
pub(super) fn random(rng: &mut Rng, len: usize) -> Vec<Step> {
    (0..len).map(|_| random_step(rng)).collect()
}

fn random_step(rng: &mut Rng) -> Step {
    let topic = ["a", "b", "c"][rng.below(3) as usize].to_owned();
    let entries = [1, 1, 2, 5][rng.below(4) as usize];
    let bytes = match rng.below(10) {
        0 => rng.between(1000, 6000),
        1..=3 => rng.between(200, 900),
        _ => rng.below(80),
    };
    match rng.below(100) {
        0..40 => Step::Append { topic, entries, bytes },
        40..62 => Step::Send { topic, entries, bytes },
        62..68 => Step::Wait,
        68..80 => Step::Trim { topic, percent: rng.between(0, 100) },
        80..85 => Step::Truncate { topic, percent: rng.between(0, 100) },
        85..88 => Step::Reset { topic },
        88..91 => Step::Remove { topic },
        91..96 => Step::Blob { topic, name: "vote".to_owned(), bytes: rng.below(300) },
        _ => Step::Reopen,
    }
}

#[test]
fn a_history_reads_as_it_is_written() {
    let steps = random(&mut Rng::new(1), 500);
    assert_eq!(parse(&text(&steps)), steps);
}
