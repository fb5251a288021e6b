//! What members say, in their own words and in ours.

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
    let named = |len: usize| [b"\0\0\0\0\0\x01", &(len as u16).to_be_bytes()[..], &vec![b'a'; len]].concat();
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
