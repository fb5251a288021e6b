//! [`Summary`], the last word of `produce`.

use std::{fmt, time::Duration};

use crate::count::{Count, Size};

/// What was sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Summary {
    pub(super) messages: u64,
    /// Of the messages' values.
    pub(super) bytes: u64,
    pub(super) elapsed: Duration,
    /// Partition and number of the last message.
    pub(super) last: Option<(u32, u64)>,
    pub(super) spread: Spread,
}

/// Where messages went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spread {
    /// To one partition.
    One,
    /// To several: a number alone says little.
    Several,
}

impl Summary {
    /// Of a program that ended before it began.
    pub(super) fn of_nothing() -> Summary {
        Summary { messages: 0, bytes: 0, elapsed: Duration::ZERO, last: None, spread: Spread::One }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Summary { messages, bytes, elapsed, last, spread } = *self;
        let count = Count(messages, "message");
        let Some((partition, last_number)) = last else {
            return write!(f, "sent {count}");
        };
        let seconds = elapsed.as_secs_f64().max(1e-6);
        let rate = (messages as f64 / seconds).round();
        let bytes_rate = Size((bytes as f64 / seconds) as u64);
        write!(
            f,
            "sent {count}, {}, in {seconds:.3} s: {rate} messages/s, {bytes_rate}/s; last number {last_number}",
            Size(bytes)
        )?;
        match spread {
            Spread::One if partition == 0 => Ok(()),
            _ => write!(f, " of partition {partition}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_was_sent() {
        let elapsed = Duration::from_millis(2500);
        let last = Some((0, 7000));
        let summary = Summary { messages: 5000, bytes: 500_000, elapsed, last, spread: Spread::One };
        assert_eq!(
            summary.to_string(),
            "sent 5000 messages, 500.0 kB, in 2.500 s: 2000 messages/s, 200.0 kB/s; last number 7000"
        );
        let several = Summary { spread: Spread::Several, ..summary };
        assert!(several.to_string().ends_with("; last number 7000 of partition 0"));
        let other = Summary { last: Some((3, 7)), ..summary };
        assert!(other.to_string().ends_with("; last number 7 of partition 3"));
        assert_eq!(Summary::of_nothing().to_string(), "sent 0 messages");
    }
}
