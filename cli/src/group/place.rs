//! [`Place`], the value of `-to`.

use std::{
    str::FromStr,
    time::{Duration, SystemTime},
};

use minikafka_flags::parse_duration;
use minikafka_proto::v1::{Anchor, Position, position::At};

/// Where to move positions to.
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
    pub(super) fn position(self) -> Position {
        let at = match self {
            Place::Earliest => At::Anchor(Anchor::Earliest.into()),
            Place::Latest => At::Anchor(Anchor::Latest.into()),
            Place::Number(number) => At::Number(number),
            Place::Ago(age) => At::TimestampMs(millis(SystemTime::now() - age)),
            Place::Time(time) => At::TimestampMs(millis(time)),
        };
        Position { at: Some(at) }
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
        humantime::parse_rfc3339_weak(text).map(Place::Time).map_err(|_| {
            "neither earliest, latest, the number of a message, a time like 2026-01-31T12:00:00Z, nor how long ago, like 1h30m"
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_places_numbers_and_times() {
        assert_eq!("earliest".parse(), Ok(Place::Earliest));
        assert_eq!("latest".parse(), Ok(Place::Latest));
        assert_eq!("17".parse(), Ok(Place::Number(17)));
        assert_eq!("1h30m".parse(), Ok(Place::Ago(Duration::from_secs(5400))));
        let noon = Place::Time(SystemTime::UNIX_EPOCH + Duration::from_millis(1_769_860_800_500));
        assert_eq!("2026-01-31T12:00:00.5Z".parse(), Ok(noon));
        assert_eq!("2026-01-31 12:00:00.5".parse(), Ok(noon));
        assert_eq!(noon.position().at, Some(At::TimestampMs(1_769_860_800_500)));
        for nonsense in ["0", "-1", "", "first", "1.5", "2026-13-01"] {
            nonsense.parse::<Place>().unwrap_err();
        }
    }
}
