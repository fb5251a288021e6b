//! Sizes in bytes, as people write them: `512KiB`, `3MiB`, `2GiB`.

use std::fmt;

/// Not a size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is a number of bytes, or of KiB, MiB or GiB, as in 3MiB")]
pub struct ByteSizeError;

const UNITS: [(&str, u64); 3] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];

/// Reads a whole number of bytes, or of a unit of 1024: `4096`, `512KiB`, `3MiB`, `2GiB`.
///
/// # Errors
/// When it is something else, or more than 64 bits hold. `MB` is refused: half of the world means 1000000.
pub fn parse_byte_size(text: &str) -> Result<u64, ByteSizeError> {
    let by_unit = UNITS.iter().find_map(|(unit, bytes)| Some((text.strip_suffix(unit)?.trim_end(), *bytes)));
    let (number, bytes) = by_unit.unwrap_or((text, 1));
    if number.is_empty() || !number.bytes().all(|digit| digit.is_ascii_digit()) {
        return Err(ByteSizeError);
    }
    number.parse::<u64>().ok().and_then(|number| number.checked_mul(bytes)).ok_or(ByteSizeError)
}

/// Prints a size in the largest unit that shows it exactly, as [`parse_byte_size`] reads it.
pub fn format_byte_size(bytes: u64) -> impl fmt::Display {
    let unit = UNITS.iter().find(|(_, unit)| bytes != 0 && bytes.is_multiple_of(*unit));
    match unit {
        Some((name, unit)) => format!("{}{name}", bytes / unit),
        None => format!("{bytes} bytes"),
    }
}

/// Prints a size for people, with at most one decimal: `11.8GiB`.
pub fn round_byte_size(bytes: u64) -> impl fmt::Display {
    match UNITS.iter().find(|(_, unit)| bytes >= *unit) {
        Some((name, unit)) if bytes.is_multiple_of(*unit) => format!("{}{name}", bytes / unit),
        Some((name, unit)) => format!("{:.1}{name}", bytes as f64 / *unit as f64),
        None => format!("{bytes} bytes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_units_of_1024() {
        for (text, bytes) in [
            ("0", 0),
            ("4096", 4096),
            ("1KiB", 1024),
            ("512 KiB", 512 << 10),
            ("3MiB", 3 << 20),
            ("2GiB", 2 << 30),
        ] {
            assert_eq!(parse_byte_size(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn refuses_the_rest() {
        for text in ["", "MiB", "3MB", "3M", "3mib", "-1", "+1", "1.5GiB", " 1", "1e6", "99999999999GiB"] {
            assert_eq!(parse_byte_size(text), Err(ByteSizeError), "{text}");
        }
    }

    #[test]
    fn rounds_what_is_for_people() {
        for (bytes, text) in [
            (5, "5 bytes"),
            (1536, "1.5KiB"),
            (64 << 20, "64MiB"),
            (12_670_153_523, "11.8GiB"),
            (1 << 40, "1024GiB"),
        ] {
            assert_eq!(round_byte_size(bytes).to_string(), text);
        }
    }

    #[test]
    fn prints_the_largest_unit_that_fits() {
        for (bytes, text) in
            [(0, "0 bytes"), (1000, "1000 bytes"), (1536, "1536 bytes"), (3 << 20, "3MiB"), (5 << 30, "5GiB")]
        {
            assert_eq!(format_byte_size(bytes).to_string(), text);
        }
    }
}
