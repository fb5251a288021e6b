//! Which topics Kafka's clients see: those whose names Kafka allows. Others work at every other door.

/// Longest name in bytes.
const LEN_MAX: usize = 249;

/// What is said to those who break it.
pub(super) const RULE: &str =
    "a name has 1 to 249 of ASCII letters, digits, '.', '_' and '-', and is neither \".\" nor \"..\"";

/// Whether Kafka allows this name: 1 to 249 of ASCII letters, digits, '.', '_' and '-', and neither "." nor "..".
pub(super) fn is_allowed(name: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    (1..=LEN_MAX).contains(&name.len()) && name.bytes().all(is_allowed) && name != "." && name != ".."
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_kafka_allows_are_seen() {
        for name in ["a", "orders.v1_2-x", "...", &"x".repeat(249)] {
            assert!(is_allowed(name), "{name}");
        }
        for name in ["", ".", "..", "demo topic", "größe", "a/b", &"x".repeat(250)] {
            assert!(!is_allowed(name), "{name}");
        }
    }
}
