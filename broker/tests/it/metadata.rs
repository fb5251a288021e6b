//! What a server knows of its topics, over restarts, crashes and damage.

use std::{path::Path, sync::Arc, time::Duration};

use minikafka_broker::{
    Broker, BrokerConfig, Error, Limit, SettingSource, TopicChange, TopicDescription, TopicSettings,
};
use minikafka_record::Offset;
use minikafka_storage::{
    LogId, Storage, TopicId,
    filesystem::{FileStorage, Options},
    memory::MemoryStorage,
};

use crate::setup::{logs, messages, produce, values};

fn files(dir: &Path) -> Arc<dyn Storage> {
    Arc::new(FileStorage::open(dir, Options::default()).unwrap())
}

async fn open(storage: &Arc<dyn Storage>) -> Broker {
    Broker::open(storage.clone(), BrokerConfig::default()).await.unwrap()
}

fn id(topic: &str, partition: u32, id: u8) -> LogId {
    LogId { topic: topic.to_owned(), partition, topic_id: TopicId::from_bytes([id; 16]) }
}

fn settings() -> TopicSettings {
    TopicSettings {
        retention: Some(Limit::At(Duration::from_secs(3600))),
        retention_bytes: Some(Limit::Unlimited),
        message_bytes_max: Some(4096),
    }
}

/// Produces to one partition.
async fn produce_to(broker: &Broker, topic: &str, partition: u32, value: &str) -> Result<Offset, Error> {
    let partition = broker.partition(topic, Some(partition))?;
    let pending = partition.produce(broker.check(messages(&[value]))?).await?;
    Ok(pending.await?.base_offset)
}

/// A topic that was created, altered, and written to, and another one that is gone.
async fn make_topics(broker: &Broker) {
    broker.create_topic_with("t", 3, settings()).await.unwrap();
    let change = TopicChange { partitions: Some(5), ..TopicChange::default() };
    broker.alter_topic("t", change).await.unwrap();
    broker.create_topic("gone", 2).await.unwrap();
    broker.delete_topic("gone").await.unwrap();
    produce_to(broker, "t", 4, "x").await.unwrap();
}

async fn assert_same(before: &TopicDescription, broker: &Broker) {
    assert_eq!(broker.topics("", 9).len(), 1);
    let mut found = broker.describe_topic("t").unwrap();
    assert_eq!(found.partitions.len(), 5);
    // Sizes in files are others after an opening.
    found.partitions.clone_from(&before.partitions);
    assert_eq!(found, *before);
    assert_eq!(found.retention.value, Some(Duration::from_secs(3600)));
    assert_eq!(found.retention_bytes.source, SettingSource::Topic);
    assert_eq!(values(&broker.partition("t", Some(4)).unwrap(), 0).await, ["x"]);
}

#[tokio::test]
async fn topics_are_what_they_were_after_a_stop_and_after_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let broker = open(&files(dir.path())).await;
    make_topics(&broker).await;
    let before = broker.describe_topic("t").unwrap();
    // A kill lets go of everything, and closes nothing.
    drop(broker);
    let broker = open(&files(dir.path())).await;
    assert_same(&before, &broker).await;
    broker.close().await.unwrap();
    drop(broker);
    assert_same(&before, &open(&files(dir.path())).await).await;

    let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new(u64::MAX));
    let broker = open(&storage).await;
    make_topics(&broker).await;
    let before = broker.describe_topic("t").unwrap();
    drop(broker);
    assert_same(&before, &open(&storage).await).await;
}

#[tokio::test]
async fn creations_that_did_not_come_to_their_end_leave_nothing() {
    let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new(u64::MAX));
    let broker = open(&storage).await;
    let topic_id = broker.create_topic("t", 2).await.unwrap().id;
    drop(broker);
    for partition in 0..3 {
        storage.open(&id("u", partition, 1)).unwrap();
        storage.open(&LogId { topic: "t".to_owned(), partition: 2 + partition, topic_id }).unwrap();
    }
    let broker = open(&storage).await;
    assert_eq!(logs(&*storage).len(), 2);
    assert_eq!(broker.topics("", 9).len(), 1);
    assert_eq!(broker.describe_topic("t").unwrap().partitions.len(), 2);
}

#[tokio::test]
async fn logs_from_before_there_was_metadata_are_adopted() {
    let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new(u64::MAX));
    storage.open(&id("empty", 0, 1)).unwrap();
    let topic_id = with_messages(&storage, "t").await;
    for _ in 0..2 {
        let broker = open(&storage).await;
        assert_eq!(broker.topics("", 9).len(), 2);
        assert_eq!(broker.describe_topic("t").unwrap().summary.id, topic_id);
        assert_eq!(values(&broker.partition("t", None).unwrap(), 0).await, ["x"]);
    }
}

/// Puts a log with a message into a storage that no topic of it has.
async fn with_messages(storage: &Arc<dyn Storage>, topic: &str) -> TopicId {
    let other: Arc<dyn Storage> = Arc::new(MemoryStorage::new(u64::MAX));
    let broker = open(&other).await;
    produce(&broker, topic, "x").await.unwrap();
    let log = logs(&*other).remove(0);
    let entries = other.open(&log).unwrap().entries(0..1, 1).unwrap();
    storage.open(&log).unwrap().append(entries, Box::new(|outcome| outcome.unwrap()));
    log.topic_id
}

#[tokio::test]
async fn logs_with_messages_that_no_topic_has_are_adopted_and_never_deleted() {
    let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new(u64::MAX));
    let broker = open(&storage).await;
    broker.create_topic("known", 1).await.unwrap();
    drop(broker);
    let topic_id = with_messages(&storage, "t").await;
    for _ in 0..2 {
        let broker = open(&storage).await;
        assert_eq!(broker.describe_topic("t").unwrap().summary.id, topic_id);
        assert_eq!(values(&broker.partition("t", None).unwrap(), 0).await, ["x"]);
    }
    // But one name is one topic.
    with_messages(&storage, "known").await;
    let error = Broker::open(storage.clone(), BrokerConfig::default()).await.unwrap_err();
    assert!(matches!(error, Error::AmbiguousTopic { .. }), "{error}");
}

#[tokio::test]
async fn a_partition_whose_log_is_missing_is_out_of_service_and_not_made_anew() {
    let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new(u64::MAX));
    let broker = open(&storage).await;
    let topic_id = broker.create_topic("t", 3).await.unwrap().id;
    for partition in 0..3 {
        produce_to(&broker, "t", partition, "x").await.unwrap();
    }
    drop(broker);
    storage.remove(&LogId { topic: "t".to_owned(), partition: 1, topic_id }).unwrap();
    for round in 1..3 {
        let broker = open(&storage).await;
        let error = produce_to(&broker, "t", 1, "y").await.unwrap_err();
        assert!(matches!(error, Error::PartitionLost { partition: 1, .. }), "{error}");
        let partitions = broker.describe_topic("t").unwrap().partitions;
        assert_eq!(partitions.iter().map(Option::is_some).collect::<Vec<_>>(), [true, false, true]);
        for _ in 0..6 {
            produce(&broker, "t", "z").await.unwrap();
        }
        let end = broker.partition("t", Some(2)).unwrap().bounds().end;
        assert!(end > Offset::new(2 * round), "the others share its turn");
    }
    let broker = open(&storage).await;
    broker.delete_topic("t").await.unwrap();
    broker.create_topic("t", 2).await.unwrap();
    produce_to(&broker, "t", 1, "new").await.unwrap();
}

#[tokio::test]
async fn no_producer_id_is_given_twice_over_kills_and_losses() {
    let dir = tempfile::tempdir().unwrap();
    let mut next = 0;
    for round in 0..4 {
        let broker = open(&files(dir.path())).await;
        let given = broker.allocate_producer_ids(1000).await.unwrap();
        assert!(given.start >= next && given.end == given.start + 1000, "round {round}: {given:?}");
        next = given.end;
        if round == 2 {
            broker.close().await.unwrap();
            drop(broker);
            spoil(dir.path(), "manifest");
        }
    }
    assert!(next > 1 << 60, "after the loss they go on at the time of day");
}

/// Spoils files of the metadata, from the middle of each on.
fn spoil(dir: &Path, is_it: &str) {
    let logs = std::fs::read_dir(dir.join("logs")).unwrap().map(|log| log.unwrap().path());
    let metadata = logs.filter(|log| log.to_string_lossy().contains("__minikafka_metadata"));
    let files = metadata.flat_map(|log| std::fs::read_dir(log).unwrap().map(|file| file.unwrap().path()));
    let mut spoiled = 0;
    for file in files.filter(|file| file.to_string_lossy().ends_with(is_it)) {
        let mut content = std::fs::read(&file).unwrap();
        (20..content.len()).step_by(64).for_each(|at| content[at] ^= 0x55);
        std::fs::write(&file, content).unwrap();
        spoiled += 1;
    }
    assert!(spoiled > 0, "{is_it}");
}

#[tokio::test]
async fn a_server_whose_metadata_is_damaged_starts_with_the_topics_that_lie_there() {
    for file in ["manifest", ".log"] {
        let dir = tempfile::tempdir().unwrap();
        let broker = open(&files(dir.path())).await;
        make_topics(&broker).await;
        broker.create_topic("empty", 2).await.unwrap();
        let before = broker.describe_topic("t").unwrap();
        broker.close().await.unwrap();
        drop(broker);
        spoil(dir.path(), file);
        for round in 0..3 {
            let broker = open(&files(dir.path())).await;
            let names: Vec<_> = broker.topics("", 9).into_iter().map(|topic| topic.name).collect();
            assert_eq!(names, ["empty", "t"], "{file}, round {round}");
            let found = broker.describe_topic("t").unwrap();
            assert_eq!(found.summary, before.summary, "{file}");
            assert_eq!(found.retention.source, SettingSource::Server, "its settings are lost");
            assert_eq!(values(&broker.partition("t", Some(4)).unwrap(), 0).await, ["x"]);
            if round == 1 {
                broker.close().await.unwrap();
            }
        }
    }
}
