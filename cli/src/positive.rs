//! [`positive`], a duration that is one.

use std::time::Duration;

/// Reads a duration of more than nothing, for a flag.
pub(crate) fn positive(text: &str) -> Result<Duration, String> {
    match minikafka_flags::parse_duration(text) {
        Ok(Duration::ZERO) => Err("it must be more than zero".to_owned()),
        result => result.map_err(|error| error.to_string()),
    }
}
