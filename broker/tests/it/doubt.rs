//! Changes of topics over whose command the disk failed: nobody knows what came of them, until it shows.

use std::{sync::Arc, time::Duration};

use minikafka_broker::{Broker, BrokerConfig, Error, Limit, PositionsBy, TopicChange, TopicSettings};
use minikafka_storage::StorageError;

use crate::{
    groups::position,
    rig::{Rig, RigStorage},
    setup::{logs, partition_of, produce, values},
};

/// The disk fails over the next command. With "doubt" it has kept it, with "append" it has not.
const KEPT: &str = "doubt __minikafka_metadata";
const NOT_KEPT: &str = "append __minikafka_metadata";

async fn open() -> (Broker, Arc<RigStorage>, Arc<Rig>) {
    let (storage, rig) = Rig::new();
    let broker = Broker::open(storage.clone(), BrokerConfig::default()).await.unwrap();
    (broker, storage, rig)
}

fn is_in_doubt<T>(outcome: &Result<T, Error>) -> bool {
    match outcome {
        Err(Error::OutcomeUnknown { source, .. }) => matches!(source, StorageError::Io { .. }),
        Err(Error::NotDeleted { .. }) => true,
        _ => false,
    }
}

async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), future).await.expect("it happens")
}

fn change(partitions: u32, retention_bytes: u64) -> TopicChange {
    let set = TopicSettings { retention_bytes: Some(Limit::At(retention_bytes)), ..TopicSettings::default() };
    TopicChange { partitions: Some(partitions), set, ..TopicChange::default() }
}

#[tokio::test]
async fn a_topic_that_proves_durable_is_there_as_soon_as_that_shows() {
    let (broker, storage, rig) = open().await;
    rig.fail(KEPT);
    assert!(is_in_doubt(&broker.create_topic("t", 2).await));
    rig.mend(KEPT);
    assert!(matches!(broker.describe_topic("t"), Err(Error::TopicNotFound(_))));
    // It is not about topics, and opens the log again.
    broker.init_producer(None).await.unwrap();
    let partition = soon(broker.partition_when_created("t", Some(1))).await.unwrap();
    assert_eq!(broker.describe_topic("t").unwrap().partitions.len(), 2);
    assert_eq!(values(&partition, 0).await, [""; 0]);
    produce(&broker, "t", "x").await.unwrap();
    let before = broker.describe_topic("t").unwrap().summary;
    broker.close().await.unwrap();
    let broker = Broker::open(storage, BrokerConfig::default()).await.unwrap();
    assert_eq!(broker.describe_topic("t").unwrap().summary, before);
}

#[tokio::test]
async fn whoever_needs_a_topic_that_is_in_doubt_gets_it_by_asking_again() {
    let (broker, _, rig) = open().await;
    rig.fail(KEPT);
    assert!(is_in_doubt(&produce(&broker, "t", "a").await));
    rig.mend(KEPT);
    assert_eq!(produce(&broker, "t", "a").await.unwrap().base_offset.number(), 1);
    let again = broker.create_topic("t", 1).await;
    assert!(matches!(again, Err(Error::TopicExists(_))), "{again:?}");
}

#[tokio::test]
async fn while_the_disk_fails_nothing_is_built_upon_what_is_in_doubt() {
    let (broker, storage, rig) = open().await;
    rig.fail(KEPT);
    assert!(is_in_doubt(&broker.create_topic("t", 1).await));
    rig.fail("open __minikafka_metadata");
    let refused = broker.create_topic("t", 1).await;
    assert!(matches!(refused, Err(Error::Poisoned { .. })), "{refused:?}");
    assert_eq!(logs(&*storage).len(), 1, "only those that may be needed");
}

#[tokio::test]
async fn the_logs_of_a_topic_that_came_to_nothing_go() {
    let (broker, storage, rig) = open().await;
    rig.fail(NOT_KEPT);
    assert!(is_in_doubt(&broker.create_topic("t", 3).await));
    rig.mend(NOT_KEPT);
    assert_eq!(logs(&*storage).len(), 3, "they may be needed");
    broker.create_topic("other", 1).await.unwrap();
    assert_eq!(logs(&*storage).len(), 1);
    assert_eq!(broker.create_topic("t", 2).await.unwrap().partitions, 2);
}

#[tokio::test]
async fn a_change_that_proves_durable_counts() {
    let (broker, _, rig) = open().await;
    produce(&broker, "t", "a").await.unwrap();
    rig.fail(KEPT);
    assert!(is_in_doubt(&broker.alter_topic("t", change(3, 5_000_000)).await));
    rig.mend(KEPT);
    assert_eq!(broker.describe_topic("t").unwrap().partitions.len(), 1);
    // By what the topic has had before, this would be one more.
    let fewer = broker.alter_topic("t", change(2, 6_000_000)).await;
    assert!(matches!(fewer, Err(Error::InvalidPartitions { .. })), "{fewer:?}");
    let described = broker.describe_topic("t").unwrap();
    assert_eq!((described.partitions.len(), described.retention_bytes.value), (3, Some(5_000_000)));
    assert_eq!(values(&broker.partition("t", Some(0)).unwrap(), 0).await, ["a"]);
    assert_eq!(values(&broker.partition("t", Some(2)).unwrap(), 0).await, [""; 0]);
}

#[tokio::test]
async fn a_change_that_came_to_nothing_leaves_the_topic_as_it_was() {
    let (broker, storage, rig) = open().await;
    partition_of(&broker, "t").await;
    rig.fail(NOT_KEPT);
    assert!(is_in_doubt(&broker.alter_topic("t", change(3, 5_000_000)).await));
    rig.mend(NOT_KEPT);
    let altered = broker.alter_topic("t", TopicChange { partitions: Some(2), ..Default::default() }).await;
    assert_eq!(altered.unwrap().partitions, 2);
    assert_eq!(logs(&*storage).len(), 2);
    assert_ne!(broker.describe_topic("t").unwrap().retention_bytes.value, Some(5_000_000));
    produce(&broker, "t", "a").await.unwrap();
}

#[tokio::test]
async fn a_deletion_that_proves_durable_is_brought_to_its_end() {
    let (broker, storage, rig) = open().await;
    produce(&broker, "t", "old").await.unwrap();
    rig.fail(KEPT);
    assert!(is_in_doubt(&broker.delete_topic("t").await));
    rig.mend(KEPT);
    assert_eq!(logs(&*storage).len(), 1, "it may be needed");
    produce(&broker, "t", "new").await.unwrap();
    assert_eq!(logs(&*storage).len(), 1);
    assert_eq!(values(&broker.partition("t", None).unwrap(), 0).await, ["new"]);
}

#[tokio::test]
async fn a_topic_whose_deletion_came_to_nothing_is_back_with_its_messages() {
    let (broker, _, rig) = open().await;
    produce(&broker, "t", "a").await.unwrap();
    broker.commit_positions("g", PositionsBy::Outsider, vec![position("t", 1)]).await.unwrap();
    rig.fail(NOT_KEPT);
    assert!(is_in_doubt(&broker.delete_topic("t").await));
    rig.mend(NOT_KEPT);
    assert!(matches!(broker.partition("t", None), Err(Error::TopicNotFound(_))));
    // Groups hear of it, and wait for how it ends. A commit has its turn behind what they would do.
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    broker.commit_positions("other", PositionsBy::Outsider, Vec::new()).await.unwrap();
    produce(&broker, "t", "b").await.unwrap();
    assert_eq!(values(&broker.partition("t", None).unwrap(), 0).await, ["a", "b"]);
    let positions = broker.group_positions("g", None).unwrap();
    assert_eq!(positions.len(), 1, "what groups have read of it is known, too");
}
