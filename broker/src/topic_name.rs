//! The rule for topic names.

use crate::machine::INTERNAL_PREFIX;

/// Longest name in bytes, as in Kafka.
pub const TOPIC_NAME_LEN_MAX: usize = 249;

/// A name that breaks the rule. The message says which part of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("topic name {name:?} {rule}")]
pub struct TopicNameError {
    /// The name, cut when it is long.
    name: String,
    rule: &'static str,
}

/// Checks a topic name: 1 to 249 bytes of UTF-8 without control characters, '/' or '\\', no space at either
/// end, not "." or "..", and not with the beginning `__minikafka`, which the server's own logs have.
///
/// # Errors
/// When it breaks the rule.
pub fn validate_topic_name(name: &str) -> Result<(), TopicNameError> {
    let rule = if name.is_empty() {
        "is empty: a topic name has 1 to 249 bytes"
    } else if name.len() > TOPIC_NAME_LEN_MAX {
        "is too long: a topic name has 1 to 249 bytes"
    } else if name == "." || name == ".." {
        "is not allowed: it would be a directory"
    } else if name.contains(['/', '\\']) {
        "has a slash or backslash: they are not allowed"
    } else if name.contains(char::is_control) {
        "has a control character: they are not allowed"
    } else if name.starts_with(char::is_whitespace) || name.ends_with(char::is_whitespace) {
        "begins or ends with a space: that is not allowed"
    } else if name.starts_with(INTERNAL_PREFIX) {
        "begins as the server's own logs do, with __minikafka: that is not allowed"
    } else {
        return Ok(());
    };
    Err(TopicNameError { name: name.chars().take(64).collect(), rule })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_what_people_use() {
        for name in ["a", "demo topic", "orders.v1_2-x", "größe", "...", &"x".repeat(249), "日本語"] {
            assert_eq!(validate_topic_name(name), Ok(()), "{name}");
        }
    }

    #[test]
    fn refuses_the_rest_with_the_rule() {
        for (name, rule) in [
            ("", "empty"),
            (&*"x".repeat(250), "too long"),
            (".", "directory"),
            ("..", "directory"),
            ("../x", "slash"),
            ("a\\b", "backslash"),
            ("a\0b", "control"),
            ("a\nb", "control"),
            ("\u{85}", "control"),
            (" a", "space"),
            ("a ", "space"),
            ("\u{a0}a", "space"),
            ("__minikafka_metadata", "__minikafka"),
        ] {
            let error = validate_topic_name(name).expect_err(name).to_string();
            assert!(error.contains(rule), "{error}");
        }
    }
}
