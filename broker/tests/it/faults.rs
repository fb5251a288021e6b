//! A storage that fails.

use std::{sync::Arc, time::Duration};

use minikafka_broker::{Broker, BrokerConfig, Error};
use minikafka_record::Offset;
use minikafka_storage::{Storage, memory::MemoryStorage};

use crate::{
    rig::Rig,
    setup::{produce, values},
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
    assert!(storage.list().unwrap().is_empty());
    rig.mend("open t");
    produce(&broker, "t", "x").await.unwrap();
}

#[tokio::test]
async fn a_failed_deletion_says_so_and_is_finished_before_the_name_is_used_again() {
    let (storage, rig) = Rig::new();
    let broker = Broker::open(storage.clone(), BrokerConfig::default()).await.unwrap();
    produce(&broker, "t", "old").await.unwrap();
    rig.fail("remove t");
    for _ in 0..2 {
        let error = broker.delete_topic("t").await.unwrap_err();
        assert!(matches!(error, Error::NotDeleted { .. }));
        assert!(error.to_string().contains("removing it failed"), "{error}");
    }
    assert!(matches!(broker.partition("t", None), Err(Error::TopicNotFound(_))));
    assert!(matches!(produce(&broker, "t", "new").await, Err(Error::NotDeleted { .. })));
    rig.mend("remove t");
    produce(&broker, "t", "new").await.unwrap();
    assert_eq!(storage.list().unwrap().len(), 1);
    broker.delete_topic("t").await.unwrap();
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
    for error in [
        produce(&broker, "bad", "new").await.unwrap_err(),
        broker.partition("bad", None).unwrap_err(),
        broker.describe_topic("bad").unwrap_err(),
        broker.create_topic("bad", 1).await.unwrap_err(),
        broker.delete_topic("bad").await.unwrap_err(),
    ] {
        assert!(matches!(error, Error::Storage(_)), "{error}");
    }
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
