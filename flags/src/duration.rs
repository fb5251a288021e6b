//! Durations as Go's `time.ParseDuration` reads them. Source: package `time` of the Go standard library, `format.go`.
//!
//! ```text
//!   duration = [ "+" | "-" ] ( "0" | part+ )
//!   part     = ( digits [ "." [digits] ] | "." digits ) unit
//!   unit     = "ns" | "us" | "µs" | "μs" | "ms" | "s" | "m" | "h"
//! ```
//!
//! As in Go, the largest duration is 2^63 - 1 nanoseconds, about 292 years, and digits beyond a nanosecond are cut.

use std::{
    fmt::{self, Write},
    time::Duration,
};

/// The text is not a duration that can be used here. The message quotes the text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DurationError {
    /// It does not follow the grammar.
    #[error("invalid duration {0:?}: write it as 300ms, 3s, 10m or 1h30m")]
    Invalid(String),
    /// A number stands alone.
    #[error("missing unit in duration {0:?}: write it as 300ms, 3s, 10m or 1h30m")]
    MissingUnit(String),
    /// A number is followed by something else than a unit.
    #[error("unknown unit {unit:?} in duration {text:?}: the units are ns, us, ms, s, m and h")]
    UnknownUnit {
        /// What stands in the place of a unit.
        unit: String,
        /// The whole text.
        text: String,
    },
    /// It is longer than 2^63 - 1 nanoseconds.
    #[error("duration {0:?} is too long: at most about 2562047h")]
    TooLong(String),
    /// Go has negative durations, nothing here has a use for them.
    #[error("duration {0:?} is negative")]
    Negative(String),
}

const MICROSECOND: u64 = 1_000;
const MILLISECOND: u64 = 1_000 * MICROSECOND;
const SECOND: u64 = 1_000 * MILLISECOND;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;

/// Reads a duration as Go's `time.ParseDuration` does: `"3s"`, `"1h30m"`, `"1.5h"`, `"300ms"`, `".5s"`, `"0"`.
///
/// ```
/// use std::time::Duration;
///
/// assert_eq!(minikafka_flags::parse_duration("1h30m"), Ok(Duration::from_secs(5400)));
/// assert_eq!(minikafka_flags::parse_duration("1.5h"), Ok(Duration::from_secs(5400)));
/// assert!(minikafka_flags::parse_duration("10").is_err());
/// ```
///
/// # Errors
/// When the text is no duration in Go, or a negative one.
pub fn parse_duration(text: &str) -> Result<Duration, DurationError> {
    let (negative, unsigned) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    if unsigned == "0" {
        return Ok(Duration::ZERO);
    }
    if unsigned.is_empty() {
        return Err(DurationError::Invalid(text.to_owned()));
    }
    let too_long = || DurationError::TooLong(text.to_owned());
    let mut total = 0u64;
    let mut rest = unsigned;
    while !rest.is_empty() {
        total = total.checked_add(take_part(&mut rest, text)?).ok_or_else(too_long)?;
    }
    if total > i64::MAX as u64 {
        return Err(too_long());
    }
    if negative && total > 0 {
        return Err(DurationError::Negative(text.to_owned()));
    }
    Ok(Duration::from_nanos(total))
}

/// Takes a number with its unit off the front of `rest`, in nanoseconds.
fn take_part(rest: &mut &str, text: &str) -> Result<u64, DurationError> {
    let whole = take_digits(rest);
    let fraction = match rest.strip_prefix('.') {
        Some(behind) => {
            *rest = behind;
            take_digits(rest)
        }
        None => "",
    };
    if whole.is_empty() && fraction.is_empty() {
        return Err(DurationError::Invalid(text.to_owned()));
    }
    let unit = take_unit(rest, text)?;
    let too_long = || DurationError::TooLong(text.to_owned());
    let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().map_err(|_| too_long())? };
    let nanos = whole.checked_mul(unit).ok_or_else(too_long)?;
    nanos.checked_add(fraction_of(unit, fraction)).ok_or_else(too_long)
}

fn take_digits<'a>(rest: &mut &'a str) -> &'a str {
    let len = rest.bytes().take_while(u8::is_ascii_digit).count();
    let (digits, behind) = rest.split_at(len);
    *rest = behind;
    digits
}

/// Takes everything up to the next number, which has to be a unit.
fn take_unit(rest: &mut &str, text: &str) -> Result<u64, DurationError> {
    let len = rest.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(rest.len());
    let (unit, behind) = rest.split_at(len);
    *rest = behind;
    Ok(match unit {
        "" => return Err(DurationError::MissingUnit(text.to_owned())),
        "ns" => 1,
        // The micro sign U+00B5, then the Greek letter mu U+03BC.
        "us" | "\u{b5}s" | "\u{3bc}s" => MICROSECOND,
        "ms" => MILLISECOND,
        "s" => SECOND,
        "m" => MINUTE,
        "h" => HOUR,
        _ => return Err(DurationError::UnknownUnit { unit: unit.to_owned(), text: text.to_owned() }),
    })
}

/// The part of a unit behind the decimal point. Floating point, digit by digit as Go does it: another way would
/// give another nanosecond now and then.
fn fraction_of(unit: u64, digits: &str) -> u64 {
    let mut value = 0u64;
    let mut scale = 1f64;
    for digit in digits.bytes().map(|d| u64::from(d - b'0')) {
        // Go stops here, too: more digits than fit into 63 bits say nothing about nanoseconds.
        let Some(next) = value.checked_mul(10).and_then(|v| v.checked_add(digit)).filter(|v| *v <= 1 << 63)
        else {
            break;
        };
        value = next;
        scale *= 10.0;
    }
    (value as f64 * (unit as f64 / scale)) as u64
}

/// Prints a duration as Go does, without parts that are zero: `168h`, `1h30m`, `3s`, `300ms`, `1.5s`, `0s`.
///
/// What it prints, [`parse_duration`] reads back to the nanosecond.
pub fn format_duration(duration: Duration) -> impl fmt::Display {
    Compact(duration)
}

struct Compact(Duration);

impl fmt::Display for Compact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (all_seconds, nanos) = (self.0.as_secs(), u64::from(self.0.subsec_nanos()));
        if all_seconds == 0 {
            return match nanos {
                0 => f.write_str("0s"),
                1..MICROSECOND => write!(f, "{nanos}ns"),
                MICROSECOND..MILLISECOND => decimal(f, nanos, MICROSECOND, "µs"),
                _ => decimal(f, nanos, MILLISECOND, "ms"),
            };
        }
        let (hours, minutes, seconds) = (all_seconds / 3600, all_seconds / 60 % 60, all_seconds % 60);
        if hours > 0 {
            write!(f, "{hours}h")?;
        }
        if minutes > 0 {
            write!(f, "{minutes}m")?;
        }
        if seconds > 0 || nanos > 0 {
            decimal(f, seconds * SECOND + nanos, SECOND, "s")?;
        }
        Ok(())
    }
}

/// `nanos` in `unit`, with as many decimals as it takes.
fn decimal(f: &mut fmt::Formatter<'_>, nanos: u64, unit: u64, name: &str) -> fmt::Result {
    write!(f, "{}", nanos / unit)?;
    let mut rest = nanos % unit;
    if rest > 0 {
        f.write_char('.')?;
    }
    let mut place = unit / 10;
    while rest > 0 {
        write!(f, "{}", rest / place)?;
        rest %= place;
        place = (place / 10).max(1);
    }
    f.write_str(name)
}

#[cfg(test)]
mod tests;
