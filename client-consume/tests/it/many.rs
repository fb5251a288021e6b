//! One consumer that reads many partitions of many topics.

use std::{collections::BTreeSet, time::Duration};

use minikafka_client_consume::{ConsumeError, Consumer, MissingTopic, Position, TopicPartition};
use tokio_stream::StreamExt as _;

use crate::{
    reading::LONG,
    setup::{A_MOMENT, Rig, Seen, place},
};

async fn read(consumer: &mut Consumer, count: usize) -> Seen {
    let mut seen = Seen::default();
    while seen.count() < count {
        let messages = consumer.poll(LONG).await.unwrap();
        assert!(!messages.is_empty(), "it waits too long, and has {seen:?}");
        seen.add(&messages);
    }
    seen
}

#[tokio::test]
async fn all_partitions_of_all_topics_are_read_in_order() {
    let rig = Rig::start().await;
    rig.create("a", 3).await;
    rig.create("b", 2).await;
    for (topic, partition) in [("a", 0), ("a", 1), ("a", 2), ("b", 0), ("b", 1)] {
        rig.produce(topic, partition, 1..=10).await;
    }
    let mut consumer = Consumer::builder(&rig.host(), "a").topic("b").subscribe().await.unwrap();
    assert_eq!(consumer.partitions().count(), 5);
    assert_eq!(consumer.range("b", 1), Some(1..11));
    let mut seen = read(&mut consumer, 50).await;
    for (topic, partition) in [("b", 1), ("a", 2)] {
        rig.produce(topic, partition, 11..=12).await;
        let messages = consumer.poll(LONG).await.unwrap();
        assert_eq!(place(&messages[0]), (topic.to_owned(), partition, 11));
        seen.add(&messages);
    }
    seen.0.extend(read(&mut consumer, 54 - seen.count()).await.0);
    for of in consumer.partitions() {
        let numbers = seen.numbers(&of.topic, of.partition);
        assert!(numbers.is_sorted() && numbers.len() >= 10, "{of}: {numbers:?}");
        assert_eq!(consumer.position(&of.topic, of.partition), Some(numbers.last().unwrap() + 1));
    }
}

#[tokio::test]
async fn chosen_partitions_only() {
    let rig = Rig::start().await;
    rig.create("a", 3).await;
    rig.create("b", 3).await;
    for partition in 0..3 {
        rig.produce("a", partition, 1..=5).await;
        rig.produce("b", partition, 1..=5).await;
    }
    let builder = Consumer::builder(&rig.host(), "a").partition(2).topic("b").partition(0).partition(1);
    let mut consumer = builder.subscribe().await.unwrap();
    let seen = read(&mut consumer, 15).await;
    let read: Vec<_> = seen.0.keys().map(|(topic, partition)| (topic.as_str(), *partition)).collect();
    assert_eq!(read, [("a", 2), ("b", 0), ("b", 1)]);
    let error = Consumer::builder(&rig.host(), "a").partition(7).subscribe().await.unwrap_err();
    assert!(matches!(&error, ConsumeError::NotFound { of: Some(of), .. } if of.partition == 7), "{error}");
    let error = consumer.seek("a", 0, Position::Earliest).unwrap_err();
    assert!(error.to_string().contains("does not read partition 0 of topic \"a\""), "{error}");
}

#[tokio::test]
async fn each_partition_has_a_position_of_its_own() {
    let rig = Rig::start().await;
    rig.create("t", 3).await;
    for partition in 0..3 {
        rig.produce("t", partition, 1..=4).await;
    }
    let mut consumer = Consumer::builder(&rig.host(), "t").from(Position::Latest).subscribe().await.unwrap();
    rig.produce("t", 1, 5..=5).await;
    consumer.seek("t", 2, Position::Number(3)).unwrap();
    let seen = read(&mut consumer, 3).await;
    assert_eq!(
        (seen.numbers("t", 0), seen.numbers("t", 1), seen.numbers("t", 2)),
        (&[][..], &[5][..], &[3, 4][..])
    );
    consumer.seek("t", 1, Position::Earliest).unwrap();
    assert_eq!(read(&mut consumer, 5).await.numbers("t", 1), [1, 2, 3, 4, 5]);
}

#[tokio::test]
async fn those_that_are_behind_take_turns() {
    let rig = Rig::start().await;
    rig.create("t", 4).await;
    for partition in 0..4 {
        for first in (1..=1000).step_by(100) {
            rig.produce("t", partition, first..=first + 99).await;
        }
    }
    let mut consumer = Consumer::builder(&rig.host(), "t").max_bytes(1000).subscribe().await.unwrap();
    let mut seen = Seen::default();
    while seen.count() < 2000 {
        seen.add(&consumer.poll(LONG).await.unwrap());
    }
    for partition in 0..4 {
        let read = seen.numbers("t", partition).len();
        assert!((300..=700).contains(&read), "{read} of partition {partition} in the first half");
    }
}

#[tokio::test]
async fn partitions_that_a_topic_gets_later_are_found() {
    let rig = Rig::start().await;
    rig.create("t", 1).await;
    rig.produce("t", 0, 1..=2).await;
    let builder = Consumer::builder(&rig.host(), "t").from(Position::Latest);
    let mut consumer = builder.refresh_interval(Duration::from_millis(20)).subscribe().await.unwrap();
    rig.grow("t", 3).await;
    // Written before they are found, and later than the subscription.
    rig.produce("t", 1, 1..=3).await;
    rig.produce("t", 2, 1..=3).await;
    let seen = read(&mut consumer, 6).await;
    assert_eq!((seen.numbers("t", 1), seen.numbers("t", 2)), (&[1, 2, 3][..], &[1, 2, 3][..]));
    assert_eq!(consumer.partitions().count(), 3);
}

#[tokio::test]
async fn a_topic_that_comes_later_is_read_from_its_start() {
    let rig = Rig::start().await;
    rig.create("there", 2).await;
    let builder = Consumer::builder(&rig.host(), "there").topic("later").from(Position::Latest);
    let mut consumer = builder.clone().missing_topic(MissingTopic::Wait).subscribe().await.unwrap();
    assert!(matches!(builder.subscribe().await.unwrap_err(), ConsumeError::NotFound { .. }));
    rig.produce("there", 1, 1..=2).await;
    assert_eq!(read(&mut consumer, 2).await.numbers("there", 1), [1, 2]);
    rig.create("later", 2).await;
    rig.produce("later", 1, 1..=2).await;
    assert_eq!(read(&mut consumer, 2).await.numbers("later", 1), [1, 2]);
}

#[tokio::test]
async fn what_fails_for_one_does_not_stop_the_others() {
    let rig = Rig::start().await;
    rig.create("doomed", 2).await;
    rig.create("kept", 2).await;
    let mut consumer = Consumer::builder(&rig.host(), "doomed").topic("kept").subscribe().await.unwrap();
    rig.delete("doomed").await;
    let (mut errors, mut seen, mut next) = (BTreeSet::new(), Seen::default(), 1);
    while errors.len() < 2 || seen.count() < 3 {
        match consumer.poll(A_MOMENT).await {
            Ok(messages) if messages.is_empty() => {
                rig.produce("kept", 1, next..=next).await;
                next += 1;
            }
            Ok(messages) => seen.add(&messages),
            Err(ConsumeError::NotFound { of: Some(of), .. }) => {
                errors.insert(of);
            }
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(errors, BTreeSet::from([0, 1].map(|partition| TopicPartition::new("doomed", partition))));
}

#[tokio::test]
async fn a_thousand_partitions_are_more_than_one_request_and_are_read() {
    let rig = Rig::start().await;
    let topic = "a topic with a name that is as long as names are".repeat(3);
    rig.create(&topic, 1000).await;
    for partition in [0, 500, 999] {
        rig.produce(&topic, partition, 1..=2).await;
    }
    let mut stream = Consumer::subscribe(&rig.host(), &topic).await.unwrap().into_stream();
    let mut seen = Seen::default();
    while seen.count() < 6 {
        seen.add(&[stream.next().await.unwrap().unwrap()]);
    }
    assert_eq!(seen.numbers(&topic, 999), [1, 2]);
    assert_eq!(stream.into_consumer().partitions().count(), 1000);
}
