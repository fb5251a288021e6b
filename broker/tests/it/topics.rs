//! Topics: created, listed, described, deleted.

use minikafka_broker::{AutoCreate, BrokerConfig, Error, TopicChange, TopicSettings};
use minikafka_record::Offset;

use crate::setup::{memory_broker, messages, produce};

#[tokio::test]
async fn a_topic_is_created_once_even_if_many_want_it() {
    let broker = memory_broker(BrokerConfig::default()).await;
    let wanted: Vec<_> = (0..50)
        .map(|_| {
            let broker = broker.clone();
            tokio::spawn(async move { produce(&broker, "demo topic", "x").await.unwrap().base_offset })
        })
        .collect();
    let mut offsets = Vec::new();
    for wanted in wanted {
        offsets.push(wanted.await.unwrap().get());
    }
    offsets.sort_unstable();
    assert_eq!(offsets, (0..50).collect::<Vec<u64>>());
    assert!(matches!(broker.create_topic("demo topic", 1).await, Err(Error::TopicExists(_))));
}

#[tokio::test]
async fn without_auto_create_a_topic_must_be_there() {
    let broker =
        memory_broker(BrokerConfig { auto_create: AutoCreate::Disabled, ..BrokerConfig::default() }).await;
    assert!(matches!(produce(&broker, "t", "x").await, Err(Error::TopicNotFound(_))));
    broker.create_topic("t", 1).await.unwrap();
    produce(&broker, "t", "x").await.unwrap();
}

#[tokio::test]
async fn bad_names_and_numbers_are_refused_with_the_rule() {
    let broker = memory_broker(BrokerConfig::default()).await;
    for name in ["", "..", "../x", " x", &"x".repeat(250)] {
        assert!(matches!(broker.create_topic(name, 1).await, Err(Error::InvalidTopicName(_))), "{name}");
        assert!(matches!(produce(&broker, name, "x").await, Err(Error::InvalidTopicName(_))), "{name}");
        assert!(matches!(broker.partition(name, None), Err(Error::InvalidTopicName(_))), "{name}");
    }
    assert!(matches!(broker.create_topic("t", 0).await, Err(Error::InvalidPartitions { .. })));
    let payload = broker.check(messages(&["x"])).unwrap();
    let partition = broker.partition_to_produce("t", Some(1), &payload).await;
    assert!(matches!(partition, Err(Error::PartitionNotFound { .. })));
    assert!(broker.topics("", 10).is_empty(), "nothing was created");
    produce(&broker, "t", "x").await.unwrap();
    let error = broker.partition("t", Some(1)).unwrap_err();
    assert!(error.to_string().contains("partition 1 of topic \"t\" not found"), "{error}");
}

#[tokio::test]
async fn there_are_no_more_partitions_than_allowed() {
    let broker = memory_broker(BrokerConfig { partitions_max: 2, ..BrokerConfig::default() }).await;
    produce(&broker, "a", "x").await.unwrap();
    produce(&broker, "b", "x").await.unwrap();
    assert!(matches!(
        produce(&broker, "c", "x").await,
        Err(Error::TooManyPartitions { there: 2, more: 1, max: 2 })
    ));
    broker.delete_topic("a").await.unwrap();
    produce(&broker, "c", "x").await.unwrap();
}

#[tokio::test]
async fn topics_are_listed_in_pages_by_name() {
    let broker = memory_broker(BrokerConfig::default()).await;
    for name in ["b", "a", "d", "c"] {
        broker.create_topic(name, 1).await.unwrap();
    }
    let names =
        |after: &str, count| broker.topics(after, count).into_iter().map(|t| t.name).collect::<Vec<_>>();
    assert_eq!(names("", 3), ["a", "b", "c"]);
    assert_eq!(names("c", 3), ["d"]);
}

#[tokio::test]
async fn a_topic_created_again_is_another_topic() {
    let broker = memory_broker(BrokerConfig::default()).await;
    produce(&broker, "t", "old").await.unwrap();
    let old = broker.partition("t", None).unwrap();
    let id = broker.describe_topic("t").unwrap().summary.id;
    broker.delete_topic("t").await.unwrap();
    assert!(matches!(broker.describe_topic("t"), Err(Error::TopicNotFound(_))));
    assert!(matches!(broker.delete_topic("t").await, Err(Error::TopicNotFound(_))));
    assert!(!old.is_open());
    assert!(matches!(
        old.produce(broker.check(messages(&["x"])).unwrap()).await,
        Err(Error::TopicNotFound(_))
    ));
    assert_eq!(produce(&broker, "t", "new").await.unwrap().base_offset, Offset::ZERO);
    assert_ne!(broker.describe_topic("t").unwrap().summary.id, id);
}

#[tokio::test]
async fn who_waits_for_a_topic_gets_it() {
    let broker = memory_broker(BrokerConfig::default()).await;
    let waiting = tokio::spawn({
        let broker = broker.clone();
        async move { broker.partition_when_created("t", None).await.unwrap() }
    });
    tokio::task::yield_now().await;
    broker.create_topic("other", 1).await.unwrap();
    assert!(!waiting.is_finished());
    broker.create_topic("t", 1).await.unwrap();
    assert_eq!(waiting.await.unwrap().topic(), "t");
}

#[tokio::test]
async fn an_id_is_one_topic_and_not_the_next_of_its_name() {
    let broker = memory_broker(BrokerConfig::default()).await;
    let first = broker.create_topic("t", 1).await.unwrap();
    let altered = TopicChange { partitions: Some(2), ..TopicChange::default() };
    assert_eq!(broker.alter_topic("t", altered).await.unwrap().id, first.id, "it is the same topic");
    assert_eq!(broker.topic_with_id(first.id).unwrap().partitions, 2);
    assert_eq!(broker.partition_with_id(first.id, 1).unwrap().number(), 1);
    let missing = broker.partition_with_id(first.id, 2);
    assert!(matches!(missing, Err(Error::PartitionNotFound { partitions: 2, .. })));

    broker.delete_topic("t").await.unwrap();
    let second = broker.create_topic("t", 1).await.unwrap();
    assert_ne!(second.id, first.id);
    assert!(matches!(broker.topic_with_id(first.id), Err(Error::TopicIdNotFound(id)) if id == first.id));
    let deletion = broker.delete_topic_with_id(first.id).await;
    assert!(matches!(deletion, Err(Error::TopicIdNotFound(_))), "{deletion:?}");
    assert_eq!(broker.delete_topic_with_id(second.id).await.unwrap(), "t");
    assert!(broker.topics("", 10).is_empty());
}

#[tokio::test]
async fn what_is_only_checked_changes_nothing() {
    let broker = memory_broker(BrokerConfig { partitions_max: 3, ..BrokerConfig::default() }).await;
    let settings = TopicSettings::default();
    broker.check_creation("t", 3, &settings, 0).unwrap();
    assert!(broker.topics("", 10).is_empty());
    assert!(matches!(broker.check_creation("..", 1, &settings, 0), Err(Error::InvalidTopicName(_))));
    assert!(matches!(broker.check_creation("t", 0, &settings, 0), Err(Error::InvalidPartitions { .. })));
    assert!(matches!(broker.check_creation("t", 4, &settings, 0), Err(Error::TooManyPartitions { .. })));

    broker.create_topic("t", 2).await.unwrap();
    assert!(matches!(broker.check_creation("t", 1, &settings, 0), Err(Error::TopicExists(_))));
    let to = |partitions| TopicChange { partitions: Some(partitions), ..TopicChange::default() };
    broker.check_alteration("t", &to(3)).unwrap();
    let why = |partitions| broker.check_alteration("t", &to(partitions)).unwrap_err().to_string();
    assert_eq!(why(0), "topic \"t\" has at least one partition, not 0");
    assert!(why(1).contains("has 2 partitions and cannot have 1: they are added"), "{}", why(1));
    assert!(matches!(broker.check_alteration("u", &to(3)), Err(Error::TopicNotFound(_))));
    assert!(matches!(broker.check_alteration("t", &to(1)), Err(Error::InvalidPartitions { .. })));
    assert!(matches!(broker.check_alteration("t", &to(4)), Err(Error::TooManyPartitions { .. })));
    assert_eq!(broker.topics("", 10)[0].partitions, 2);
}
