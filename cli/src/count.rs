//! [`Count`] and [`Size`], amounts for people.

use std::fmt;

/// So many of something: "1 message", "2 messages".
#[derive(Clone, Copy, Debug)]
pub(crate) struct Count(pub(crate) u64, pub(crate) &'static str);

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Count(count, noun) = self;
        let plural = if *count == 1 { "" } else { "s" };
        write!(f, "{count} {noun}{plural}")
    }
}

/// So many bytes, in units of a thousand: "17 bytes", "1.5 MB".
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size(pub(crate) u64);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [&str; 5] = ["kB", "MB", "GB", "TB", "PB"];
        if self.0 < 1000 {
            return Count(self.0, "byte").fmt(f);
        }
        let mut size = self.0 as f64 / 1000.0;
        let mut units = UNITS.iter();
        let mut unit = units.next();
        // A size that would be rounded to "1000.0" gets the next unit.
        while size >= 999.95
            && let Some(larger) = units.next()
        {
            size /= 1000.0;
            unit = Some(larger);
        }
        write!(f, "{size:.1} {}", unit.unwrap_or(&""))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_read_well() {
        assert_eq!(Count(0, "message").to_string(), "0 messages");
        assert_eq!(Count(1, "message").to_string(), "1 message");
        for (bytes, text) in [
            (0, "0 bytes"),
            (1, "1 byte"),
            (999, "999 bytes"),
            (1000, "1.0 kB"),
            (1550, "1.6 kB"),
            (999_949, "999.9 kB"),
            (999_950, "1.0 MB"),
            (5_000_000_000, "5.0 GB"),
        ] {
            assert_eq!(Size(bytes).to_string(), text);
        }
    }
}
