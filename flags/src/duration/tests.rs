//! The table is that of Go's own `TestParseDuration` and what else people try.

use proptest::prelude::*;

use super::*;

#[test]
fn reads_what_go_reads() {
    let table: &[(&str, u64)] = &[
        ("0", 0),
        ("5s", 5 * SECOND),
        ("30s", 30 * SECOND),
        ("1478s", 1478 * SECOND),
        ("+5s", 5 * SECOND),
        ("+0", 0),
        ("-0", 0),
        ("-0s", 0),
        ("5.0s", 5 * SECOND),
        ("5.6s", 5 * SECOND + 600 * MILLISECOND),
        ("5.s", 5 * SECOND),
        (".5s", 500 * MILLISECOND),
        ("1.0s", SECOND),
        ("1.00s", SECOND),
        ("1.004s", SECOND + 4 * MILLISECOND),
        ("1.0040s", SECOND + 4 * MILLISECOND),
        ("100.00100s", 100 * SECOND + MILLISECOND),
        ("10ns", 10),
        ("11us", 11 * MICROSECOND),
        ("12\u{b5}s", 12 * MICROSECOND),
        ("12\u{3bc}s", 12 * MICROSECOND),
        ("500µs", 500 * MICROSECOND),
        ("13ms", 13 * MILLISECOND),
        ("14s", 14 * SECOND),
        ("15m", 15 * MINUTE),
        ("16h", 16 * HOUR),
        ("3h30m", 3 * HOUR + 30 * MINUTE),
        ("10.5s4m", 4 * MINUTE + 10 * SECOND + 500 * MILLISECOND),
        ("1h2m3s4ms5us6ns", HOUR + 2 * MINUTE + 3 * SECOND + 4 * MILLISECOND + 5 * MICROSECOND + 6),
        ("39h9m14.425s", 39 * HOUR + 9 * MINUTE + 14 * SECOND + 425 * MILLISECOND),
        ("1s1s", 2 * SECOND),
        ("52763797000ns", 52_763_797_000),
        ("0.3333333333333333333h", 20 * MINUTE),
        ("0.100000000000000000000h", 6 * MINUTE),
        ("0.830103483285477580700h", 49 * MINUTE + 48 * SECOND + 372_539_827),
        ("9007199254740993ns", (1 << 53) + 1),
        ("9223372036854775807ns", (1 << 63) - 1),
        ("9223372036854775.807us", (1 << 63) - 1),
        ("9223372036s854ms775us807ns", (1 << 63) - 1),
        ("0.9223372036854775807h", 3_320_413_933_267),
        ("168h", 168 * HOUR),
        ("1.5h", 90 * MINUTE),
        ("0.0000000001s", 0),
    ];
    for &(text, nanos) in table {
        assert_eq!(parse_duration(text), Ok(Duration::from_nanos(nanos)), "{text}");
    }
}

#[test]
fn refuses_the_rest() {
    let invalid =
        ["", "-", "+", ".", "-.", ".s", "+.s", "s", "-s", " 3s", "--5s", "+-5s", "h1", "\u{b5}s", "é"];
    for text in invalid {
        assert_eq!(parse_duration(text), Err(DurationError::Invalid(text.into())), "{text}");
    }
    for text in ["3", "1.5", "1h30", "00", "0.0", "1.s.2"] {
        assert_eq!(parse_duration(text), Err(DurationError::MissingUnit(text.into())), "{text}");
    }
    for (text, unit) in [
        ("3 s", " s"),
        ("3s ", "s "),
        ("1d", "d"),
        ("3S", "S"),
        ("5 minutes", " minutes"),
        ("1e3s", "e"),
        ("1,5s", ","),
        ("1h-5m", "h-"),
        ("1\u{e9}", "\u{e9}"),
        ("1\0s", "\0s"),
    ] {
        let error = DurationError::UnknownUnit { unit: unit.into(), text: text.into() };
        assert_eq!(parse_duration(text), Err(error), "{text}");
    }
    for text in [
        "9223372036854775808ns",
        "9223372036854775.808us",
        "9223372036854ms775us808ns",
        "18446744073709551616ns",
        "99999999999999999999999s",
        "2562048h",
        "9223372036s9223372036s",
        "-9223372036854775809ns",
    ] {
        assert_eq!(parse_duration(text), Err(DurationError::TooLong(text.into())), "{text}");
    }
    for text in ["-1s", "-1.5h", "-.5s", "-1ns"] {
        assert_eq!(parse_duration(text), Err(DurationError::Negative(text.into())), "{text}");
    }
}

#[test]
fn messages_quote_the_text() {
    for text in ["", "3", "1d", "9999999h", "-1s"] {
        let message = parse_duration(text).expect_err(text).to_string();
        assert!(message.contains(&format!("{text:?}")), "{message}");
    }
}

#[test]
fn prints_compactly() {
    for (nanos, text) in [
        (0, "0s"),
        (1, "1ns"),
        (1100, "1.1µs"),
        (500 * MICROSECOND, "500µs"),
        (2200 * MICROSECOND, "2.2ms"),
        (300 * MILLISECOND, "300ms"),
        (3 * SECOND, "3s"),
        (3300 * MILLISECOND, "3.3s"),
        (SECOND + 1, "1.000000001s"),
        (10 * MINUTE, "10m"),
        (4 * MINUTE + 5 * SECOND, "4m5s"),
        (90 * MINUTE, "1h30m"),
        (HOUR + SECOND / 2, "1h0.5s"),
        (168 * HOUR, "168h"),
    ] {
        assert_eq!(format_duration(Duration::from_nanos(nanos)).to_string(), text);
    }
    assert_eq!(format_duration(Duration::MAX).to_string(), "5124095576030431h15.999999999s");
}

proptest! {
    #[test]
    fn what_is_printed_is_read_back(nanos in prop_oneof![0..10_000_000_000u64, 0..=i64::MAX as u64]) {
        let duration = Duration::from_nanos(nanos);
        prop_assert_eq!(parse_duration(&format_duration(duration).to_string()), Ok(duration));
    }

    #[test]
    fn any_text_is_read_without_panic(text in "[-+]?[0-9.hmsuµ ]{0,24}|\\PC{0,12}") {
        let _ = parse_duration(&text);
    }
}
