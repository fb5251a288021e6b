//! A storage that fails.

use std::{sync::Arc, time::Duration};

use minikafka_broker::{Broker, BrokerConfig, Error, Partition, PendingProduce, TopicChange};
use minikafka_record::Offset;
use minikafka_storage::{StorageError, memory::MemoryStorage};

use crate::{
    rig::{Rig, RigStorage},
    setup::{logs, messages, produce, values},
};

#[tokio::test]
async fn full_memory_refuses_and_recovers_when_space_returns() {
    let storage = Arc::new(MemoryStorage::new(3000));
    let broker = Broker::open(storage, BrokerConfig::default()).await.unwrap();
    produce(&broker, "other", &"x".repeat(1500)).await.unwrap();
    produce(&broker, "t", &"x".repeat(1000)).await.unwrap();
    let error = produce(&broker, "t", &"y".repeat(1000)).await.unwrap_err();
    assert!(matches!(error, Error::Full(_)) && error.is_retryable(), "{error}");
    let partition = broker.partition("t", None).unwrap();
    assert_eq!(values(&partition, 0).await.len(), 1, "reads go on");
    broker.delete_topic("other").await.unwrap();
    let produced = produce(&broker, "t", &"y".repeat(1000)).await.unwrap();
    assert_eq!(produced.base_offset, Offset::new(1), "a refused message takes no number");
}

#[tokio::test]
async fn a_failed_creation_leaves_nothing_behind() {
    let (storage, rig) = Rig::new();
    let broker = Broker::open(storage.clone(), BrokerConfig::default()).await.unwrap();
    rig.fail("open t");
    assert!(matches!(broker.create_topic("t", 1).await, Err(Error::Storage(_))));
    assert!(logs(&*storage).is_empty());
    rig.mend("open t");
    produce(&broker, "t", "x").await.unwrap();
}

#[tokio::test]
async fn a_creation_of_many_partitions_is_all_or_nothing() {
    let (storage, rig) = Rig::new();
    let broker = Broker::open(storage.clone(), BrokerConfig::default()).await.unwrap();
    rig.fail("open t 20");
    assert!(matches!(broker.create_topic("t", 40).await, Err(Error::Storage(_))));
    assert!(logs(&*storage).is_empty());
    assert!(matches!(broker.describe_topic("t"), Err(Error::TopicNotFound(_))));
    broker.create_topic("t", 5).await.unwrap();
    let change = TopicChange { partitions: Some(40), ..TopicChange::default() };
    assert!(matches!(broker.alter_topic("t", change.clone()).await, Err(Error::Storage(_))));
    assert_eq!(logs(&*storage).len(), 5);
    rig.mend("open t 20");
    rig.fail("refuse __minikafka_metadata");
    assert!(matches!(broker.alter_topic("t", change.clone()).await, Err(Error::Poisoned { .. })));
    assert!(matches!(broker.create_topic("u", 3).await, Err(Error::Poisoned { .. })));
    assert!(matches!(broker.delete_topic("t").await, Err(Error::Poisoned { .. })));
    assert_eq!(logs(&*storage).len(), 5);
    produce(&broker, "t", "it is in service still").await.unwrap();
    rig.mend("refuse __minikafka_metadata");
    assert_eq!(broker.alter_topic("t", change).await.unwrap().partitions, 40);
}

#[tokio::test]
async fn a_failed_removal_says_so_and_is_finished_later() {
    let (storage, rig) = Rig::new();
    let broker = Broker::open(storage.clone(), BrokerConfig::default()).await.unwrap();
    produce(&broker, "t", "old").await.unwrap();
    rig.fail("remove t");
    for _ in 0..2 {
        let error = broker.delete_topic("t").await.unwrap_err();
        assert!(matches!(error, Error::NotRemoved { .. }));
        assert!(error.to_string().contains("is deleted, but removing its messages"), "{error}");
    }
    assert!(matches!(broker.partition("t", None), Err(Error::TopicNotFound(_))));
    produce(&broker, "t", "new").await.unwrap();
    assert_eq!(logs(&*storage).len(), 2);
    rig.mend("remove t");
    broker.delete_topic("t").await.unwrap();
    assert!(logs(&*storage).is_empty());
    assert!(matches!(broker.delete_topic("t").await, Err(Error::TopicNotFound(_))));
}

#[tokio::test]
async fn a_topic_whose_log_cannot_be_opened_is_refused_and_the_others_work() {
    let (storage, rig) = Rig::new();
    let broker = Broker::open(storage.clone(), BrokerConfig::default()).await.unwrap();
    produce(&broker, "bad", "old").await.unwrap();
    produce(&broker, "good", "old").await.unwrap();
    drop(broker);
    rig.fail("open bad");
    let broker = Broker::open(storage.clone(), BrokerConfig::default()).await.unwrap();
    produce(&broker, "good", "new").await.unwrap();
    for error in
        [produce(&broker, "bad", "new").await.unwrap_err(), broker.partition("bad", None).unwrap_err()]
    {
        assert!(matches!(error, Error::PartitionLost { .. }), "{error}");
    }
    assert_eq!(broker.describe_topic("bad").unwrap().partitions, [None]);
    assert!(matches!(broker.create_topic("bad", 1).await, Err(Error::TopicExists(_))));
    drop(broker);
    rig.mend("open bad");
    let broker = Broker::open(storage, BrokerConfig::default()).await.unwrap();
    let produced = produce(&broker, "bad", "new").await.unwrap();
    assert_eq!(produced.base_offset, Offset::new(1), "nobody has made another one in its place");
}

#[tokio::test(start_paused = true)]
async fn a_log_that_failed_is_opened_again_when_somebody_appends() {
    let (storage, rig) = Rig::new();
    let broker = Broker::open(storage, BrokerConfig::default()).await.unwrap();
    produce(&broker, "t", "a").await.unwrap();
    let partition = broker.partition("t", None).unwrap();
    let waiting = tokio::spawn({
        let partition = partition.clone();
        async move { partition.fetch(Offset::new(1), 100, Duration::from_secs(10_000)).await }
    });
    rig.fail("append t");
    let unknown = produce(&broker, "t", "in doubt").await.unwrap_err();
    assert!(matches!(unknown, Error::OutcomeUnknown { .. }) && !unknown.is_retryable(), "{unknown}");

    // The disk stays broken: it is not asked with each append.
    rig.fail("open t");
    let opened = || rig.events().iter().filter(|event| *event == "open t").count();
    let before = opened();
    for _ in 0..100 {
        let refused = produce(&broker, "t", "refused").await.unwrap_err();
        assert!(matches!(refused, Error::Poisoned { .. }) && refused.is_retryable(), "{refused}");
    }
    assert_eq!(opened() - before, 1);
    tokio::time::sleep(Duration::from_secs(2)).await;
    produce(&broker, "t", "refused").await.unwrap_err();
    assert_eq!(opened() - before, 2);
    assert_eq!(values(&partition, 0).await, ["a"], "reads go on");
    assert!(!waiting.is_finished(), "nothing is committed");

    rig.mend("append t");
    rig.mend("open t");
    tokio::time::sleep(Duration::from_secs(60)).await;
    let produced = produce(&broker, "t", "b").await.unwrap();
    assert_eq!(produced.base_offset, Offset::new(1), "what was refused takes no number");
    let fetched = waiting.await.unwrap().unwrap();
    assert_eq!((fetched.next, fetched.high_watermark), (Offset::new(2), Offset::new(2)));
    assert_eq!(values(&partition, 0).await, ["a", "b"]);
}

async fn begin(broker: &Broker, partition: &Partition, value: &str) -> PendingProduce {
    partition.produce(broker.check(messages(&[value])).unwrap()).await.unwrap()
}

/// An answer of the log that failed comes when another one is in its place: that one has not failed, and what is under
/// way in it is not committed.
#[tokio::test(start_paused = true)]
async fn a_late_answer_of_a_log_that_failed_says_nothing_of_the_one_in_its_place() {
    let (storage, rig) = Rig::new();
    let broker = Broker::open(storage, BrokerConfig::default()).await.unwrap();
    produce(&broker, "t", "a").await.unwrap();
    let partition = broker.partition("t", None).unwrap();
    rig.hold("append");
    let late = begin(&broker, &partition, "late").await;
    rig.seen("append t", 2).await;
    let held = rig.take_held();
    rig.fail("append t");
    produce(&broker, "t", "in doubt").await.unwrap_err();
    rig.mend("append t");
    produce(&broker, "t", "b").await.unwrap();

    rig.hold("append");
    let first = begin(&broker, &partition, "under way").await;
    rig.seen("append t", 5).await;
    let reopened = rig.events().iter().filter(|event| *event == "open t").count();
    let watermark = partition.bounds().high_watermark;
    for (completion, _) in held {
        completion(Err(StorageError::Poisoned("the disk is broken".to_owned())));
    }
    late.await.unwrap_err();
    tokio::time::sleep(Duration::from_secs(60)).await;
    let second = begin(&broker, &partition, "behind it").await;
    rig.seen("append t", 6).await;
    assert_eq!(partition.bounds().high_watermark, watermark, "nothing more is committed");
    assert_eq!(rig.events().iter().filter(|event| *event == "open t").count(), reopened);
    rig.release("append");
    first.await.unwrap();
    second.await.unwrap();
    assert_eq!(partition.bounds().high_watermark, partition.bounds().end);
}

/// A log that is refused an append may be in service all the same: asked for again it is the same one, and what is
/// under way in it is not committed by that.
#[tokio::test(start_paused = true)]
async fn a_log_that_has_not_failed_after_all_commits_nothing_by_being_asked_for() {
    let (storage, rig) = Rig::new();
    let broker = Broker::open(storage, BrokerConfig::default()).await.unwrap();
    produce(&broker, "t", "a").await.unwrap();
    let partition = broker.partition("t", None).unwrap();
    rig.hold("append");
    let first = begin(&broker, &partition, "under way").await;
    rig.seen("append t", 2).await;
    rig.fail("refuse t");
    produce(&broker, "t", "refused").await.unwrap_err();
    rig.mend("refuse t");
    let second = begin(&broker, &partition, "behind it").await;
    rig.seen("append t", 3).await;
    assert_eq!(partition.bounds().high_watermark, Offset::new(1));
    rig.release("append");
    first.await.unwrap();
    second.await.unwrap();
    assert_eq!(partition.bounds().high_watermark, partition.bounds().end);
}

/// A storage with the log of a topic "t" that was deleted, and could not be removed.
async fn failed_removal() -> (Arc<RigStorage>, Arc<Rig>) {
    let (storage, rig) = Rig::new();
    let broker = Broker::open(storage.clone(), BrokerConfig::default()).await.unwrap();
    produce(&broker, "t", "old").await.unwrap();
    rig.fail("remove t");
    broker.delete_topic("t").await.unwrap_err();
    rig.mend("remove t");
    assert_eq!(logs(&*storage).len(), 1);
    (storage, rig)
}

#[tokio::test]
async fn a_failed_removal_is_finished_by_the_next_start() {
    let (storage, _) = failed_removal().await;
    let broker = Broker::open(storage.clone(), BrokerConfig::default()).await.unwrap();
    assert!(broker.topics("", 10).is_empty() && logs(&*storage).is_empty());
}

#[tokio::test]
async fn a_deleted_topic_whose_log_cannot_be_opened_does_not_come_back() {
    let (storage, rig) = failed_removal().await;
    rig.fail("open t");
    let broker = Broker::open(storage.clone(), BrokerConfig::default()).await.unwrap();
    assert!(broker.topics("", 10).is_empty() && logs(&*storage).is_empty());
    rig.mend("open t");
    assert_eq!(produce(&broker, "t", "new").await.unwrap().base_offset, Offset::ZERO, "its name is free");
    drop(broker);
    let broker = Broker::open(storage, BrokerConfig::default()).await.unwrap();
    assert_eq!(values(&broker.partition("t", None).unwrap(), 0).await, ["new"]);
}
