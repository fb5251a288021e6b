//! [`Pattern`], topics by a regular expression.
//!
//! A whole name has to match, as with Kafka. Names beyond Kafka's letters, digits, '.', '_' and '-' match no pattern:
//! those who subscribe so are Kafka's clients, which could not read them. The expressions are those of the crate `regex`,
//! which has what RE2 has and takes linear time for whatever is asked; Kafka takes RE2/J's.

use std::collections::BTreeSet;

use regex::{Regex, RegexBuilder};

use super::core::{GroupError, limits::TOPICS_MAX};
use crate::Broker;

/// Bytes of an expression: some long names side by side.
const PATTERN_BYTES_MAX: usize = 4 * 1024;
/// Bytes that a compiled one may take: what it costs to match a name grows with it, and there may be thousands of names.
const COMPILED_BYTES_MAX: usize = 256 * 1024;
/// Bytes that matching may take beside that, so that most names cost no more than their length.
const MATCHING_BYTES_MAX: usize = 256 * 1024;
/// Names that are looked at before others have their turn.
const NAMES_AT_ONCE: usize = 32;

/// A regular expression for names of topics.
pub(super) struct Pattern(Option<Regex>);

impl Pattern {
    /// Empty: one that nothing matches.
    ///
    /// # Errors
    /// When it is none, or too large.
    pub(super) fn new(text: &str) -> Result<Pattern, GroupError> {
        let refuse = |why: String| GroupError::InvalidPattern { pattern: text.to_owned(), why };
        if text.is_empty() {
            return Ok(Pattern(None));
        }
        if text.len() > PATTERN_BYTES_MAX {
            let pattern = text.chars().take(32).collect();
            let why = format!("it has {} bytes, there may be {PATTERN_BYTES_MAX}", text.len());
            return Err(GroupError::InvalidPattern { pattern, why });
        }
        let compile = |text: &str| {
            let mut builder = RegexBuilder::new(text);
            builder.size_limit(COMPILED_BYTES_MAX).dfa_size_limit(MATCHING_BYTES_MAX).build()
        };
        // By itself, so that it cannot end the parentheses around it.
        compile(text).map_err(|error| refuse(error.to_string()))?;
        let whole = compile(&format!("^(?:{text})$")).map_err(|error| refuse(error.to_string()))?;
        Ok(Pattern(Some(whole)))
    }

    pub(super) fn matches(&self, topic: &str) -> bool {
        let is_kafkas = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        self.0.as_ref().is_some_and(|regex| topic.bytes().all(is_kafkas) && regex.is_match(topic))
    }
}

impl Broker {
    /// The topics that are there and match, as many as a member may subscribe to.
    pub(super) async fn matching(&self, pattern: &Pattern) -> BTreeSet<String> {
        let mut matching = BTreeSet::new();
        if pattern.0.is_none() {
            return matching;
        }
        let names: Vec<String> = self.0.topics.all().iter().map(|topic| topic.name.clone()).collect();
        for some in names.chunks(NAMES_AT_ONCE) {
            matching.extend(some.iter().filter(|name| pattern.matches(name)).cloned());
            if matching.len() >= TOPICS_MAX {
                break;
            }
            // Others have their turn: a pattern may be slow on purpose.
            tokio::task::yield_now().await;
        }
        while matching.len() > TOPICS_MAX {
            matching.pop_last();
        }
        matching
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_names_of_kafkas_letters_match() {
        let pattern = Pattern::new("a.*|b").unwrap();
        for (name, matches) in [("a", true), ("abc", true), ("b", true), ("bc", false), ("a b", false)] {
            assert_eq!(pattern.matches(name), matches, "{name}");
        }
        assert!(!Pattern::new("").unwrap().matches(""));
    }

    #[test]
    fn what_people_write_is_small_enough() {
        for text in [".*", r"orders-\w+-\w+-\w+", r"[\w.]+\d*", r"(prod|test)\.[a-z]{2,8}\.(events|logs).*"] {
            let accepted = Pattern::new(text).map(|_| ());
            assert!(accepted.is_ok(), "{text}: {accepted:?}");
        }
    }

    #[test]
    fn what_is_no_expression_or_too_large_is_refused() {
        for text in ["(", "a)|(b", "(?=a)", "(((a{100}){100}){100})", &"a".repeat(PATTERN_BYTES_MAX + 1)] {
            assert!(Pattern::new(text).is_err(), "{text}");
        }
    }
}
