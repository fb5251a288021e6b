//! A storage that fails.

use std::sync::Arc;

use minikafka_broker::{Broker, BrokerConfig, Error, TopicChange};
use minikafka_record::Offset;
use minikafka_storage::memory::MemoryStorage;

use crate::{
    rig::Rig,
    setup::{logs, produce, values},
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
    rig.fail("append __minikafka_metadata");
    assert!(matches!(broker.alter_topic("t", change.clone()).await, Err(Error::Poisoned { .. })));
    assert!(matches!(broker.create_topic("u", 3).await, Err(Error::Poisoned { .. })));
    assert!(matches!(broker.delete_topic("t").await, Err(Error::Poisoned { .. })));
    assert_eq!(logs(&*storage).len(), 5);
    produce(&broker, "t", "it is in service still").await.unwrap();
    rig.mend("append __minikafka_metadata");
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
async fn a_failed_removal_is_finished_by_the_next_start() {
    let (storage, rig) = Rig::new();
    let broker = Broker::open(storage.clone(), BrokerConfig::default()).await.unwrap();
    produce(&broker, "t", "old").await.unwrap();
    rig.fail("remove t");
    broker.delete_topic("t").await.unwrap_err();
    drop(broker);
    rig.mend("remove t");
    let broker = Broker::open(storage.clone(), BrokerConfig::default()).await.unwrap();
    assert!(broker.topics("", 10).is_empty() && logs(&*storage).is_empty());
}
