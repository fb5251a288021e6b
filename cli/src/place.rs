//! [`Place`], where in a topic to start or to move to, as it is written on the command line.

use std::{
    str::FromStr,
    time::{Duration, SystemTime},
};

use minikafka_client_consume::Position;
use minikafka_flags::parse_duration;

/// A place in each partition of a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Earliest,
    Latest,
    Number(u64),
    /// So long ago.
    Ago(Duration),
    /// At this time.
    Time(SystemTime),
}

impl Place {
    /// What is so long ago counts from now.
    pub(crate) fn position(self) -> Position {
        match self {
            Place::Earliest => Position::Earliest,
            Place::Latest => Position::Latest,
            Place::Number(number) => Position::Number(number),
            Place::Ago(age) => Position::Timestamp(millis(SystemTime::now() - age)),
            Place::Time(time) => Position::Timestamp(millis(time)),
        }
    }
}

/// Milliseconds since the Unix epoch.
fn millis(time: SystemTime) -> i64 {
    match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
        Err(before) => i64::try_from(before.duration().as_millis()).map_or(i64::MIN, |millis| -millis),
    }
}

impl FromStr for Place {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Place, &'static str> {
        match (text, text.parse()) {
            ("earliest", _) => return Ok(Place::Earliest),
            ("latest", _) => return Ok(Place::Latest),
            (_, Ok(0)) => return Err("messages are numbered from 1"),
            (_, Ok(number)) => return Ok(Place::Number(number)),
            (_, Err(_)) => {}
        }
        if let Ok(age) = parse_duration(text) {
            return Ok(Place::Ago(age));
        }
        time(text).map(Place::Time).ok_or(
            "neither earliest, latest, the number of a message, a time like 2026-01-31T12:00:00Z or \
             2026-01-31T14:00:00+02:00, nor how long ago, like 1h30m",
        )
    }
}

/// A time of RFC 3339, in which a space may stand for the T; UTC without an offset.
fn time(text: &str) -> Option<SystemTime> {
    // The library reads UTC only.
    let Some((local, is_ahead, offset)) = split_offset(text) else {
        return humantime::parse_rfc3339_weak(text).ok();
    };
    let is_local = local.bytes().last().is_some_and(|last| last.is_ascii_digit()) && !has_offset(local);
    let local = humantime::parse_rfc3339_weak(local).ok().filter(|_| is_local)?;
    if is_ahead { local.checked_sub(offset) } else { local.checked_add(offset) }
}

/// What is before `+02:00` or `-02:00` at the end, whether that is ahead of UTC, and by how much it is off.
fn split_offset(text: &str) -> Option<(&str, bool, Duration)> {
    let (local, offset) = text.split_at_checked(text.len().checked_sub("+02:00".len())?)?;
    let is_ahead = match offset.as_bytes()[0] {
        b'+' => true,
        b'-' => false,
        _ => return None,
    };
    let (hours, minutes) = offset[1..].split_once(':')?;
    let (hours, minutes) = (two_digits(hours, 23)?, two_digits(minutes, 59)?);
    Some((local, is_ahead, Duration::from_secs(hours * 3600 + minutes * 60)))
}

fn has_offset(text: &str) -> bool {
    split_offset(text).is_some()
}

fn two_digits(text: &str, max: u64) -> Option<u64> {
    let is_number = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|number| is_number && *number <= max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_places_numbers_and_ages() {
        assert_eq!("earliest".parse(), Ok(Place::Earliest));
        assert_eq!("latest".parse(), Ok(Place::Latest));
        assert_eq!("17".parse(), Ok(Place::Number(17)));
        assert_eq!("1h30m".parse(), Ok(Place::Ago(Duration::from_secs(5400))));
        for nonsense in ["0", "-1", "", "first", "1.5", "2026-13-01"] {
            nonsense.parse::<Place>().unwrap_err();
        }
    }

    #[test]
    fn reads_times_with_and_without_an_offset() {
        let noon = Place::Time(SystemTime::UNIX_EPOCH + Duration::from_millis(1_769_860_800_500));
        for text in [
            "2026-01-31T12:00:00.5Z",
            "2026-01-31 12:00:00.5",
            "2026-01-31T12:00:00.5+00:00",
            "2026-01-31T12:00:00.5-00:00",
            "2026-01-31T14:00:00.5+02:00",
            "2026-01-31 06:30:00.500-05:30",
            "2026-02-01T11:59:00.5+23:59",
        ] {
            assert_eq!(text.parse(), Ok(noon), "{text}");
        }
        assert_eq!(noon.position(), Position::Timestamp(1_769_860_800_500));
        let before_the_epoch: Place = "1970-01-01T00:00:00+01:00".parse().unwrap();
        assert_eq!(before_the_epoch.position(), Position::Timestamp(-3_600_000));
        for nonsense in [
            "2026-01-31T12:00:00+24:00",
            "2026-01-31T12:00:00+02:60",
            "2026-01-31T12:00:00+2:00",
            "2026-01-31T12:00:00+0200",
            "2026-01-31T12:00:00++2:00",
            "2026-01-31T12:00:00Z+02:00",
            "2026-01-31T12:00:00.Z+02:00",
            "2026-01-31T12:00:00+00:00+02:00",
            "2026-01-31T12:00:00.5+00:00+02:00",
            "2026-01-31+02:00",
            "+02:00",
            "ö2:00",
        ] {
            nonsense.parse::<Place>().unwrap_err();
        }
    }
}
