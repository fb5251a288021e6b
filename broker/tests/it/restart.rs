//! Stopping and starting again.

use std::{
    future::Future,
    path::Path,
    sync::Arc,
    task::{Context, Waker},
};

use minikafka_broker::{Broker, BrokerConfig, Error};
use minikafka_record::Offset;
use minikafka_storage::{
    LogId, Storage, TopicId,
    filesystem::{FileStorage, Options},
    memory::MemoryStorage,
};

use crate::setup::{logs, memory_broker, messages, produce, values};

async fn open(dir: &Path) -> Broker {
    let storage = FileStorage::open(dir, Options::default()).unwrap();
    Broker::open(Arc::new(storage), BrokerConfig::default()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_before_a_stop_is_there_after_it() {
    let dir = tempfile::tempdir().unwrap();
    let broker = open(dir.path()).await;
    let producers: Vec<_> = (0..8)
        .map(|producer| {
            let broker = broker.clone();
            tokio::spawn(async move {
                let mut acknowledged = 0;
                loop {
                    match produce(&broker, "demo topic", &format!("{producer} {acknowledged}")).await {
                        Ok(_) => acknowledged += 1,
                        Err(Error::Stopping) => return acknowledged,
                        Err(error) => panic!("{error}"),
                    }
                }
            })
        })
        .collect();
    let is_under_way = || {
        broker
            .partition("demo topic", None)
            .is_ok_and(|partition| partition.bounds().high_watermark >= Offset::new(500))
    };
    while !is_under_way() {
        tokio::task::yield_now().await;
    }
    broker.close().await.unwrap();
    let mut acknowledged = 0;
    for producer in producers {
        acknowledged += producer.await.unwrap();
    }
    drop(broker);
    let broker = open(dir.path()).await;
    let found = values(&broker.partition("demo topic", None).unwrap(), 0).await;
    assert_eq!(found.len(), acknowledged, "refused messages are not stored, acknowledged ones are");
    assert_eq!(broker.topics("", 10)[0].name, "demo topic");
    assert_eq!(
        produce(&broker, "demo topic", "x").await.unwrap().base_offset,
        Offset::new(acknowledged as u64)
    );
    broker.close().await.unwrap();
}

#[tokio::test]
async fn a_deleted_topic_stays_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let broker = open(dir.path()).await;
    produce(&broker, "a", "x").await.unwrap();
    produce(&broker, "b", "x").await.unwrap();
    broker.delete_topic("a").await.unwrap();
    broker.close().await.unwrap();
    drop(broker);
    let broker = open(dir.path()).await;
    let names: Vec<String> = broker.topics("", 10).into_iter().map(|topic| topic.name).collect();
    assert_eq!(names, ["b"]);
    broker.close().await.unwrap();
}

#[tokio::test]
async fn a_stopped_broker_says_so() {
    let broker = memory_broker(BrokerConfig::default()).await;
    produce(&broker, "t", "x").await.unwrap();
    let partition = broker.partition("t", None).unwrap();
    let taken = partition.produce(broker.check(messages(&["taken"])).unwrap()).await.unwrap();
    broker.begin_stop();
    assert!(matches!(
        partition.produce(broker.check(messages(&["late"])).unwrap()).await,
        Err(Error::Stopping)
    ));
    assert_eq!(taken.await.unwrap().base_offset, Offset::new(1), "what was taken goes on");
    broker.close().await.unwrap();
    broker.close().await.unwrap();
    assert!(matches!(broker.create_topic("u", 1).await, Err(Error::Stopping)));
    assert!(matches!(broker.delete_topic("t").await, Err(Error::Stopping)));
}

/// A caller that goes away as soon as it has asked.
fn ask_and_go(asking: impl Future) {
    let mut asking = Box::pin(asking);
    let _ = asking.as_mut().poll(&mut Context::from_waker(Waker::noop()));
}

#[tokio::test]
async fn a_caller_that_goes_away_while_a_topic_is_created_hides_nothing() {
    for _ in 0..20 {
        let dir = tempfile::tempdir().unwrap();
        let broker = open(dir.path()).await;
        ask_and_go(produce(&broker, "t", "gone"));
        for number in 0..10 {
            produce(&broker, "t", &number.to_string()).await.unwrap();
        }
        broker.close().await.unwrap();
        drop(broker);
        assert_eq!(logs(&FileStorage::open(dir.path(), Options::default()).unwrap()).len(), 1);
        let broker = open(dir.path()).await;
        assert_eq!(values(&broker.partition("t", None).unwrap(), 0).await.len(), 10);
        broker.close().await.unwrap();
    }
}

#[tokio::test]
async fn a_caller_that_goes_away_while_a_topic_is_deleted_brings_nothing_back() {
    for _ in 0..20 {
        let dir = tempfile::tempdir().unwrap();
        let broker = open(dir.path()).await;
        produce(&broker, "t", "old").await.unwrap();
        ask_and_go(broker.delete_topic("t"));
        // The deletion has its turn already.
        broker.create_topic("t", 1).await.unwrap();
        produce(&broker, "t", "new").await.unwrap();
        broker.close().await.unwrap();
        drop(broker);
        let broker = open(dir.path()).await;
        assert_eq!(values(&broker.partition("t", None).unwrap(), 0).await, ["new"]);
        broker.close().await.unwrap();
    }
}

/// A log of topic "t" with this id.
fn log_id(id: u8) -> LogId {
    LogId { topic: "t".to_owned(), partition: 0, topic_id: TopicId::from_bytes([id; 16]) }
}

#[tokio::test]
async fn of_two_topics_with_one_name_the_empty_one_goes() {
    for used in [1, 2] {
        let storage = Arc::new(MemoryStorage::new(u64::MAX));
        storage.open(&log_id(used)).unwrap();
        let broker = Broker::open(storage.clone(), BrokerConfig::default()).await.unwrap();
        produce(&broker, "t", "x").await.unwrap();
        drop(broker);
        storage.open(&log_id(3 - used)).unwrap();
        storage.open(&log_id(3)).unwrap();
        let broker = Broker::open(storage.clone(), BrokerConfig::default()).await.unwrap();
        assert_eq!(values(&broker.partition("t", None).unwrap(), 0).await, ["x"]);
        assert_eq!(logs(&*storage), [log_id(used)]);
    }
}

#[tokio::test]
async fn of_empty_topics_with_one_name_one_stays() {
    let storage = Arc::new(MemoryStorage::new(u64::MAX));
    (1..4).for_each(|id| drop(storage.open(&log_id(id)).unwrap()));
    let broker = Broker::open(storage.clone(), BrokerConfig::default()).await.unwrap();
    broker.partition("t", None).unwrap();
    assert_eq!(logs(&*storage).len(), 1);
}

#[tokio::test]
async fn two_topics_with_messages_and_one_name_are_not_started() {
    let storage = Arc::new(MemoryStorage::new(u64::MAX));
    for id in [1, 2] {
        let other = Arc::new(MemoryStorage::new(u64::MAX));
        other.open(&log_id(id)).unwrap();
        let broker = Broker::open(other.clone(), BrokerConfig::default()).await.unwrap();
        produce(&broker, "t", "x").await.unwrap();
        let entries = other.open(&log_id(id)).unwrap().entries(0..1, 1).unwrap();
        storage.open(&log_id(id)).unwrap().append(entries, Box::new(|outcome| outcome.unwrap()));
    }
    let error = Broker::open(storage.clone(), BrokerConfig::default()).await.unwrap_err().to_string();
    for part in ["\"t\"", &"01".repeat(16), &"02".repeat(16)] {
        assert!(error.contains(part), "{error}");
    }
    assert_eq!(logs(&*storage).len(), 2, "nothing was removed");
}
