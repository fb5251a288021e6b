//! Stopping and starting again.

use std::{path::Path, sync::Arc};

use minikafka_broker::{Broker, BrokerConfig, Error};
use minikafka_record::Offset;
use minikafka_storage::filesystem::{FileStorage, Options};

use crate::setup::{memory_broker, messages, produce, values};

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
