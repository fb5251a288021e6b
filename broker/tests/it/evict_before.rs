//! Evicting by hand: everything before an offset.

use std::{sync::Arc, time::Duration};

use minikafka_broker::{Broker, BrokerConfig, Error, Partition};
use minikafka_record::Offset;
use minikafka_storage::filesystem::{FileStorage, Options};

use crate::{
    rig::Rig,
    setup::{memory_broker, produce, values},
};

async fn three(broker: &Broker) -> Partition {
    for value in ["one", "two", "three"] {
        produce(broker, "t", value).await.unwrap();
    }
    broker.partition("t", None).unwrap()
}

#[tokio::test]
async fn what_lies_before_is_gone_and_the_rest_is_there() {
    let broker = memory_broker(BrokerConfig::default()).await;
    let partition = three(&broker).await;
    assert_eq!(partition.evict_before(Offset::new(1)).await.unwrap(), Offset::new(1));
    assert_eq!(values(&partition, 1).await, ["two", "three"]);
    let error = partition.fetch(Offset::ZERO, 1, Duration::ZERO).await.unwrap_err();
    assert!(matches!(error, Error::OutOfRange { start, .. } if start == Offset::new(1)));
    assert_eq!(partition.evict_before(Offset::ZERO).await.unwrap(), Offset::new(1), "it never goes back");

    assert_eq!(partition.evict_before(Offset::new(3)).await.unwrap(), Offset::new(3), "all of it");
    let beyond = partition.evict_before(Offset::new(4)).await;
    assert!(matches!(beyond, Err(Error::OutOfRange { wanted, .. }) if wanted == Offset::new(4)));
    assert_eq!(produce(&broker, "t", "four").await.unwrap().base_offset, Offset::new(3), "numbers go on");
}

#[tokio::test]
async fn it_is_durable_on_return() {
    let dir = tempfile::tempdir().unwrap();
    let open = || async {
        let storage = FileStorage::open(dir.path(), Options::default()).unwrap();
        Broker::open(Arc::new(storage), BrokerConfig::default()).await.unwrap()
    };
    let broker = open().await;
    three(&broker).await.evict_before(Offset::new(2)).await.unwrap();
    broker.close().await.unwrap();
    drop(broker);
    let partition = open().await.partition("t", None).unwrap();
    assert_eq!(partition.bounds().start, Offset::new(2));
    assert_eq!(values(&partition, 2).await, ["three"]);
}

#[tokio::test]
async fn a_disk_that_fails_and_a_topic_that_is_gone_are_told_of() {
    let (storage, rig) = Rig::new();
    let broker = Broker::open(storage, BrokerConfig::default()).await.unwrap();
    let partition = three(&broker).await;
    rig.fail("trim t");
    assert!(partition.evict_before(Offset::new(1)).await.is_err());
    rig.mend("trim t");
    assert_eq!(partition.evict_before(Offset::new(1)).await.unwrap(), Offset::new(1));
    broker.delete_topic("t").await.unwrap();
    assert!(matches!(partition.evict_before(Offset::new(2)).await, Err(Error::TopicNotFound(_))));
}
