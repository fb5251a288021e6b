//! [`Pattern`], topics by a regular expression.
//!
//! A whole name has to match, as with Kafka. Names beyond Kafka's letters, digits, '.', '_' and '-' match no pattern:
//! those who subscribe so are Kafka's clients, which could not read them. The expressions are those of the crate `regex`,
//! which has what RE2 has and takes linear time for whatever is asked; Kafka takes RE2/J's.

use std::collections::BTreeSet;

use regex::{Regex, RegexBuilder};

use super::core::{GroupError, limits::TOPICS_MAX};
use crate::{Broker, Error, broker::blocking};

/// Bytes of an expression: some long names side by side.
const PATTERN_BYTES_MAX: usize = 4 * 1024;
/// Bytes that a compiled one may take: what it costs to match a name grows with it, and there may be thousands of names.
const COMPILED_BYTES_MAX: usize = 256 * 1024;
/// Bytes that matching may take beside that, so that most names cost no more than their length.
const MATCHING_BYTES_MAX: usize = 256 * 1024;
/// Members that have names matched at a time: it takes a processor each, and memory for names.
pub(super) const MATCHERS: usize = 2;

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

    /// Those of some topics that do not match.
    pub(super) fn others(&self, topics: &BTreeSet<String>) -> BTreeSet<String> {
        topics.iter().filter(|topic| !self.matches(topic)).cloned().collect()
    }

    fn matches(&self, topic: &str) -> bool {
        let is_kafkas = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        self.0.as_ref().is_some_and(|regex| topic.bytes().all(is_kafkas) && regex.is_match(topic))
    }
}

/// What matches an expression.
pub(super) struct Matched {
    pattern: Pattern,
    /// As many topics as a member may subscribe to.
    pub(super) topics: BTreeSet<String>,
}

impl Matched {
    /// Those of some topics that do not match. Topics that were found do.
    pub(super) fn others(&self, topics: &BTreeSet<String>) -> BTreeSet<String> {
        let unknown = topics.difference(&self.topics);
        unknown.filter(|topic| !self.pattern.matches(topic)).cloned().collect()
    }
}

impl Broker {
    /// Looks for the topics that are there and match. It may take long: see [`match_apart`](Broker::match_apart).
    pub(super) fn matched(&self, pattern: Pattern) -> Matched {
        let mut topics = BTreeSet::new();
        if pattern.0.is_some() {
            let names = self.0.topics.all().into_iter().map(|topic| topic.name.clone());
            topics.extend(names.filter(|name| pattern.matches(name)));
        }
        while topics.len() > TOPICS_MAX {
            topics.pop_last();
        }
        Matched { pattern, topics }
    }

    /// Has expressions compiled and matched in a thread of its own: they may be slow on purpose, up to 7 ms for one of the
    /// longest names, and nobody else is to wait for that but those who use expressions, too.
    pub(super) async fn match_apart<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Broker) -> Result<T, GroupError> + Send + 'static,
    ) -> Result<T, Error> {
        let turn = self.0.groups.matchers.clone().acquire_owned().await.map_err(|_| Error::Stopping)?;
        let broker = self.clone();
        let outcome = blocking(move || {
            let outcome = work(&broker);
            drop(turn);
            Ok(outcome)
        });
        Ok(outcome.await??)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

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

    proptest! {
        #[test]
        fn anything_is_an_expression_or_refused(
            text in "(\\PC|[a-c.*+?()\\[\\]{}|^$\\\\1-9,-]){0,40}",
            name in "[a-c1-9._-]{1,20}",
        ) {
            let Ok(pattern) = Pattern::new(&text) else { return Ok(()) };
            // It ends, and what it says of one name is what it says of a set of them.
            let names = BTreeSet::from([name.clone()]);
            prop_assert_eq!(pattern.others(&names).is_empty(), pattern.matches(&name));
            prop_assert!(!pattern.matches(&[&name, " "].concat()));
        }

        #[test]
        fn what_is_quoted_matches_itself_and_nothing_longer(name in "[a-zA-Z0-9._-]{1,40}") {
            let pattern = Pattern::new(&regex::escape(&name)).unwrap();
            prop_assert!(pattern.matches(&name));
            prop_assert!(!pattern.matches(&[&name, "a"].concat()) && !pattern.matches(&["a", &name].concat()));
        }
    }

    async fn broker() -> Broker {
        let storage = std::sync::Arc::new(minikafka_storage::memory::MemoryStorage::new(u64::MAX));
        let broker = Broker::open(storage, crate::BrokerConfig::default()).await.unwrap();
        broker.create_topic("a", 1).await.unwrap();
        broker
    }

    #[tokio::test]
    async fn who_waits_for_matching_keeps_no_group_from_hearing_of_topics() {
        let broker = broker().await;
        let by_pattern = crate::MemberHeartbeat {
            group: "p".to_owned(),
            pattern: Some("a|b".to_owned()),
            topics: Some(Vec::new()),
            ..crate::MemberHeartbeat::default()
        };
        broker.heartbeat_member(by_pattern).await.unwrap();
        let by_name = crate::GroupJoin {
            group: "g".to_owned(),
            topics: vec!["a".to_owned()],
            ..crate::GroupJoin::default()
        };
        let mut member = broker.join_group(by_name).await.unwrap();
        assert_eq!(member.next_assignment().await.unwrap().partitions.len(), 1);
        // As long as others match, nobody else does.
        let turns = broker.0.groups.matchers.clone().acquire_many_owned(MATCHERS as u32).await.unwrap();
        let change = crate::TopicChange { partitions: Some(2), ..crate::TopicChange::default() };
        broker.alter_topic("a", change).await.unwrap();
        let more = tokio::time::timeout(std::time::Duration::from_secs(20), member.next_assignment());
        assert_eq!(more.await.expect("soon").unwrap().partitions.len(), 2);
        drop(turns);
    }

    #[tokio::test]
    async fn who_matches_holds_nobody_up() {
        let broker = broker().await;
        // There is one thread here, which does both.
        let (go_on, gone_on) = std::sync::mpsc::channel();
        let matching = broker.match_apart(move |broker| {
            gone_on.recv_timeout(std::time::Duration::from_secs(20)).expect("others go on meanwhile");
            Ok(broker.matched(Pattern::new("a|b")?).topics)
        });
        let other = async { go_on.send(()).unwrap() };
        let (matched, ()) = tokio::join!(matching, other);
        assert_eq!(matched.unwrap(), BTreeSet::from(["a".to_owned()]));
    }
}
