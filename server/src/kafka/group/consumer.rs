//! What consumers tell one another, as far as those who look at groups want to know it: topics, and partitions.
//!
//! ```text
//!   subscription:  i16 version | i32 count, so many of: text                         | what is not read here
//!   assignment:    i16 version | i32 count, so many of: text, i32 count, so many i32 | what is not read here
//! ```
//!
//! A text is `i16 length | that many bytes`. The members' own business otherwise: what cannot be read is nothing, and
//! goes through as it is. Nothing is reserved by what a count claims, and what is read takes little more memory than a
//! topic can have partitions: names are no longer than those of topics, and there are at most [`ELEMENTS_MAX`] of anything
//! in one request.
//!
//! Source: `ConsumerProtocolSubscription.json` and `ConsumerProtocolAssignment.json` of Apache Kafka, whose later
//! versions only add behind these.

use bytes::Buf as _;
use minikafka_broker::{TOPIC_NAME_LEN_MAX, TopicPartition};

use crate::kafka::shape::ELEMENTS_MAX;

/// The kind of members that speak so.
pub(super) const PROTOCOL_TYPE: &str = "consumer";

/// The topics that a subscription names.
pub(super) fn topics(mut subscription: &[u8]) -> Vec<String> {
    let read = |from: &mut &[u8]| {
        from.try_get_i16().ok()?;
        let count = from.try_get_i32().ok().filter(|count| *count as usize <= ELEMENTS_MAX)?;
        (0..count).map(|_| text(from)).collect::<Option<Vec<_>>>()
    };
    read(&mut subscription).unwrap_or_default()
}

/// Reads the assignments of one request.
pub(super) struct Assignments {
    /// Partitions that it may still name.
    room: usize,
}

impl Assignments {
    pub(super) fn new() -> Assignments {
        Assignments { room: ELEMENTS_MAX }
    }

    /// The partitions that an assignment names.
    pub(super) fn partitions(&mut self, mut assignment: &[u8]) -> Vec<TopicPartition> {
        self.read(&mut assignment).unwrap_or_default()
    }

    fn read(&mut self, from: &mut &[u8]) -> Option<Vec<TopicPartition>> {
        from.try_get_i16().ok()?;
        let mut partitions = Vec::new();
        for _ in 0..from.try_get_i32().ok()? {
            let topic = text(from)?;
            for _ in 0..from.try_get_i32().ok()? {
                self.room = self.room.checked_sub(1)?;
                let partition = u32::try_from(from.try_get_i32().ok()?).ok()?;
                partitions.push(TopicPartition { topic: topic.clone(), partition });
            }
        }
        Some(partitions)
    }
}

fn text(from: &mut &[u8]) -> Option<String> {
    let len = usize::try_from(from.try_get_i16().ok()?).ok().filter(|len| *len <= TOPIC_NAME_LEN_MAX)?;
    let (text, rest) = from.split_at_checked(len)?;
    *from = rest;
    Some(std::str::from_utf8(text).ok()?.to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::{
        collection::{btree_map, vec},
        prelude::*,
        sample::select,
    };

    use super::*;

    fn partitions(assignment: &[u8]) -> Vec<TopicPartition> {
        Assignments::new().partitions(assignment)
    }

    #[test]
    fn a_request_names_so_many_partitions_and_no_more() {
        let mut assignment = b"\0\0\0\0\0\x01\0\x01a".to_vec();
        assignment.extend((ELEMENTS_MAX as u32).to_be_bytes());
        assignment.resize(assignment.len() + 4 * ELEMENTS_MAX, 0);
        let mut of_one_request = Assignments::new();
        assert_eq!(of_one_request.partitions(&assignment).len(), ELEMENTS_MAX);
        assert!(of_one_request.partitions(b"\0\0\0\0\0\x01\0\x01a\0\0\0\x01\0\0\0\x07").is_empty());
    }

    #[test]
    fn names_that_no_topic_has_are_not_read() {
        let named =
            |len: usize| [b"\0\0\0\0\0\x01", &(len as u16).to_be_bytes()[..], &vec![b'a'; len]].concat();
        assert_eq!(topics(&named(TOPIC_NAME_LEN_MAX)).len(), 1);
        assert!(topics(&named(TOPIC_NAME_LEN_MAX + 1)).is_empty());
    }

    #[test]
    fn topics_and_partitions_are_read() {
        let subscription = b"\0\x01\0\0\0\x02\0\x01a\0\x02bc\xff\xff\xff\xff\0\0\0\0";
        assert_eq!(topics(subscription), ["a", "bc"]);
        let assignment = b"\0\0\0\0\0\x01\0\x01a\0\0\0\x02\0\0\0\0\0\0\0\x07\xff\xff\xff\xff";
        let of = |partition| TopicPartition { topic: "a".into(), partition };
        assert_eq!(partitions(assignment), [of(0), of(7)]);
    }

    /// Sound as far as they go, so that what follows is looked at.
    const BEGINNINGS: &[&[u8]] =
        &[b"", b"\0\x01\0\0\0\x01", b"\0\x01\0\0\0\x01\0\x01a", b"\0\x03\0\0\0\x01\0\x01a\0\0\0\x02"];

    proptest! {
        #[test]
        fn anything_is_read_or_nothing_and_takes_no_more_than_its_bytes(
            begin in select(BEGINNINGS),
            rest in vec(prop_oneof![Just(0), Just(1), any::<u8>()], 0..100),
        ) {
            let bytes = [begin, &rest].concat();
            prop_assert!(topics(&bytes).len() <= bytes.len() / 2);
            prop_assert!(partitions(&bytes).len() <= bytes.len() / 4);
        }

        #[test]
        fn what_is_said_is_read(named in btree_map("[a-z0-9._-]{1,249}", vec(0..i32::MAX, 0..9), 0..9)) {
            let texts = |out: &mut Vec<u8>, name: &str| {
                out.extend((name.len() as u16).to_be_bytes());
                out.extend(name.as_bytes());
            };
            let begin = [&[0, 3][..], &(named.len() as u32).to_be_bytes()].concat();
            let (mut subscription, mut assignment) = (begin.clone(), begin);
            let mut expected = Vec::new();
            for (topic, numbers) in &named {
                texts(&mut subscription, topic);
                texts(&mut assignment, topic);
                assignment.extend((numbers.len() as u32).to_be_bytes());
                assignment.extend(numbers.iter().flat_map(|number| number.to_be_bytes()));
                let of = |number: &i32| TopicPartition { topic: topic.clone(), partition: *number as u32 };
                expected.extend(numbers.iter().map(of));
            }
            let wanted: Vec<_> = named.keys().cloned().collect();
            prop_assert_eq!(topics(&subscription), wanted);
            prop_assert_eq!(partitions(&assignment), expected);
        }
    }

    #[test]
    fn what_cannot_be_read_is_nothing() {
        let sound = b"\0\0\0\0\0\x01\0\x01a\0\0\0\x01\0\0\0\x07";
        for len in 0..sound.len() {
            assert!(partitions(&sound[..len]).is_empty(), "{len}");
        }
        for bytes in [&b"\0\0\x7f\xff\xff\xff"[..], b"\0\0\0\0\0\x01\x7f\xff", b"\0\0\0\0\0\x01\0\x01\xff"] {
            assert!(topics(bytes).is_empty() && partitions(bytes).is_empty(), "{bytes:?}");
        }
        let negative = b"\0\0\0\0\0\x01\0\x01a\0\0\0\x01\xff\xff\xff\xff";
        assert!(partitions(negative).is_empty());
    }
}
