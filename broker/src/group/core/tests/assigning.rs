//! Who is to read what: even, sticky, spread.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use proptest::prelude::*;

use super::{
    super::{
        PartitionMap, PartitionSet, TopicViews,
        assign::{Before, assign},
    },
    names, view,
};

type Targets = BTreeMap<String, PartitionSet>;
type Subscriptions = BTreeMap<String, BTreeSet<String>>;

fn deal(subscriptions: &Subscriptions, topics: &TopicViews, before: &Targets) -> Targets {
    let mut owners: PartitionMap<&str> = PartitionMap::default();
    for (member, partitions) in before {
        partitions.iter().for_each(|(topic, number, ())| owners.insert(topic, number, member));
    }
    let subscriptions = subscriptions.iter().map(|(member, topics)| (member.as_str(), topics)).collect();
    let before = |topic: &str, number| {
        let owner = owners.get(topic, number).copied();
        Before { target: owner, holder: owner }
    };
    let targets = assign(&subscriptions, topics, before);
    targets.into_iter().map(|(member, partitions)| (member.to_owned(), partitions)).collect()
}

fn views(topics: &[(&str, u32)]) -> TopicViews {
    topics.iter().map(|(topic, partitions)| view(topic, 0, *partitions)).collect()
}

fn all(members: usize, topics: &[&str]) -> Subscriptions {
    (0..members).map(|member| (format!("m{member:02}"), names(topics))).collect()
}

fn loads(targets: &Targets) -> Vec<usize> {
    targets.values().map(PartitionSet::len).collect()
}

/// Partitions that stay in the group and change hands.
fn moves(before: &Targets, after: &Targets) -> usize {
    let moved = |(member, partitions): (&String, &PartitionSet)| {
        let now = after.get(member);
        partitions
            .iter()
            .filter(|(topic, number, ())| now.is_some_and(|now| !now.contains(topic, *number)))
            .count()
    };
    before.iter().map(moved).sum()
}

#[test]
fn partitions_of_many_small_topics_do_not_all_go_to_the_first_members() {
    // Dealing out each topic by itself would give all twenty to the first.
    let topics: Vec<String> = (0..20).map(|topic| format!("t{topic:02}")).collect();
    let topics: Vec<&str> = topics.iter().map(String::as_str).collect();
    let views = views(&topics.iter().map(|topic| (*topic, 1)).collect::<Vec<_>>());
    assert_eq!(loads(&deal(&all(10, &topics), &views, &Targets::new())), [2; 10]);
}

#[test]
fn each_member_gets_a_share_of_each_topic() {
    let topics = ["a", "b", "c"];
    let views = views(&[("a", 8), ("b", 8), ("c", 8)]);
    let mut targets = Targets::new();
    for members in 1..=4 {
        targets = deal(&all(members, &topics), &views, &targets);
        assert!(loads(&targets).iter().all(|load| *load == 24 / members));
    }
    for (member, partitions) in &targets {
        for topic in topics {
            assert_eq!(partitions.of_topic(topic).count(), 2, "{member} {topic}");
        }
    }
}

#[test]
fn more_members_than_partitions_leave_some_without() {
    assert_eq!(loads(&deal(&all(4, &["a"]), &views(&[("a", 2)]), &Targets::new())), [1, 1, 0, 0]);
}

#[test]
fn a_partition_is_handed_on_over_somebody_else() {
    // m0 reads a only, m1 both, m2 b only: what m0 has too much reaches m2 through m1.
    let subscriptions: Subscriptions = [("m0", &["a"][..]), ("m1", &["a", "b"]), ("m2", &["b"])]
        .map(|(member, topics)| (member.to_owned(), names(topics)))
        .into();
    let before: Targets = [
        ("m0".to_owned(), [("a", 0), ("a", 1), ("a", 2), ("a", 3)].into_iter().collect()),
        ("m1".to_owned(), [("b", 0), ("b", 1)].into_iter().collect()),
    ]
    .into();
    let after = deal(&subscriptions, &views(&[("a", 4), ("b", 2)]), &before);
    assert_eq!(loads(&after), [2, 2, 2]);
    assert_eq!(moves(&before, &after), 4, "two ways of two steps");
}

#[test]
fn ten_members_and_900_partitions_take_milliseconds() {
    let topics: Vec<String> = (0..30).map(|topic| format!("t{topic:02}")).collect();
    let topics: Vec<&str> = topics.iter().map(String::as_str).collect();
    let views = views(&topics.iter().map(|topic| (*topic, 30)).collect::<Vec<_>>());
    let mut targets = Targets::new();
    let begin = Instant::now();
    for members in 1..=10 {
        targets = deal(&all(members, &topics), &views, &targets);
    }
    let elapsed = begin.elapsed();
    println!("ten joins, 900 partitions: {elapsed:?}");
    assert_eq!(loads(&targets), [90; 10]);
    // Far more than it takes, so that a busy machine fails nothing.
    assert!(elapsed < Duration::from_secs(5));
}

/// Whether loads of this sum of squares are the most even there are: tries everything.
fn most_even(subscriptions: &[Vec<bool>], partitions: &[usize]) -> usize {
    // Numbers of partitions of each topic, handed out in all ways.
    fn tried(subscriptions: &[Vec<bool>], partitions: &[usize], topic: usize, loads: &mut [usize]) -> usize {
        if topic == partitions.len() {
            return loads.iter().map(|load| load * load).sum();
        }
        handed(subscriptions, partitions, topic, 0, partitions[topic], loads)
    }
    fn handed(
        subscriptions: &[Vec<bool>],
        partitions: &[usize],
        topic: usize,
        member: usize,
        left: usize,
        loads: &mut [usize],
    ) -> usize {
        if member == loads.len() {
            let is_read = subscriptions.iter().any(|topics| topics[topic]);
            return if left == 0 || !is_read {
                tried(subscriptions, partitions, topic + 1, loads)
            } else {
                usize::MAX
            };
        }
        let most = if subscriptions[member][topic] { left } else { 0 };
        (0..=most)
            .map(|given| {
                loads[member] += given;
                let squares = handed(subscriptions, partitions, topic, member + 1, left - given, loads);
                loads[member] -= given;
                squares
            })
            .min()
            .unwrap_or(usize::MAX)
    }
    tried(subscriptions, partitions, 0, &mut vec![0; subscriptions.len()])
}

const TOPICS: [&str; 3] = ["a", "b", "c"];

fn subscriptions_of(reads: &[Vec<bool>]) -> Subscriptions {
    let topics = |reads: &Vec<bool>| {
        TOPICS.iter().zip(reads).filter(|(_, reads)| **reads).map(|(topic, _)| (*topic).to_owned()).collect()
    };
    reads.iter().enumerate().map(|(member, reads)| (format!("m{member}"), topics(reads))).collect()
}

/// Whether a way leads from a member to one with two partitions less: tries all of them.
fn has_way(subscriptions: &Subscriptions, targets: &Targets, from: &str) -> bool {
    let (mut reached, mut next) = (BTreeSet::from([from]), vec![from]);
    while let Some(giver) = next.pop() {
        for (taker, wanted) in subscriptions {
            if targets[giver].topics().any(|topic| wanted.contains(topic)) && reached.insert(taker) {
                next.push(taker);
            }
        }
    }
    reached.into_iter().any(|member| targets[member].len() + 2 <= targets[from].len())
}

proptest! {
    #[test]
    fn no_way_is_left_in_larger_groups(
        rounds in prop::collection::vec(
            prop::collection::vec(prop::collection::vec(any::<bool>(), 10), 1..16),
            1..4,
        ),
        partitions in prop::collection::vec(0u32..12, 10),
    ) {
        let topics: Vec<String> = (0..10).map(|topic| format!("t{topic}")).collect();
        let views: TopicViews =
            topics.iter().zip(&partitions).map(|(topic, count)| view(topic, 0, *count)).collect();
        let mut targets = Targets::new();
        for reads in rounds {
            // One in two topics would be too easy.
            let wants = |member: usize, topic: usize| reads[member][topic] && reads[member][(topic * 3 + 1) % 10];
            let subscriptions: Subscriptions = (0..reads.len())
                .map(|member| {
                    let wanted = (0..10).filter(|topic| wants(member, *topic));
                    (format!("m{member:02}"), wanted.map(|topic| topics[topic].clone()).collect())
                })
                .collect();
            targets = deal(&subscriptions, &views, &targets);
            for member in subscriptions.keys() {
                prop_assert!(!has_way(&subscriptions, &targets, member), "{member}: {targets:?}");
            }
        }
    }

    #[test]
    fn it_is_as_even_as_can_be_with_any_subscriptions(
        first in prop::collection::vec(prop::collection::vec(any::<bool>(), 3), 1..4),
        second in prop::collection::vec(prop::collection::vec(any::<bool>(), 3), 1..4),
        partitions in prop::collection::vec(0usize..5, 3),
    ) {
        let views: TopicViews =
            TOPICS.iter().zip(&partitions).map(|(topic, count)| view(topic, 0, *count as u32)).collect();
        let mut targets = Targets::new();
        for reads in [first, second] {
            targets = deal(&subscriptions_of(&reads), &views, &targets);
            let squares: usize = loads(&targets).iter().map(|load| load * load).sum();
            prop_assert_eq!(squares, most_even(&reads, &partitions));
        }
    }

    #[test]
    fn members_with_equal_subscriptions_differ_by_one_and_moves_are_as_few_as_can_be(
        sizes in prop::collection::vec((0u32..20, 1usize..8), 1..8),
        start in prop::collection::vec(0u32..12, 3),
    ) {
        let mut counts = start;
        let mut targets = Targets::new();
        for (index, (grown, members)) in sizes.into_iter().enumerate() {
            counts[index % 3] = counts[index % 3].max(grown);
            let views: TopicViews =
                TOPICS.iter().zip(&counts).map(|(topic, count)| view(topic, 0, *count)).collect();
            let subscriptions = all(members, &TOPICS);
            let after = deal(&subscriptions, &views, &targets);
            let (least, most) =
                (loads(&after).into_iter().min().unwrap(), loads(&after).into_iter().max().unwrap());
            prop_assert!(most - least <= 1, "{:?}", loads(&after));
            // Who stays keeps the lower share, and as many as there are larger shares keep one more.
            let all: usize = loads(&after).iter().sum();
            let (share, larger) = (all / members, all % members);
            let kept = |member: &String| targets.get(member).map_or(0, PartitionSet::len);
            let over: Vec<usize> =
                subscriptions.keys().map(kept).filter(|kept| *kept > share).map(|kept| kept - share).collect();
            let fewest = over.iter().sum::<usize>() - larger.min(over.len());
            prop_assert_eq!(moves(&targets, &after), fewest);
            targets = after;
        }
    }
}
