//! Retention.

use std::{sync::Arc, time::Duration};

use minikafka_broker::{Broker, BrokerConfig, Error, SystemClock};
use minikafka_record::Offset;
use minikafka_storage::{
    filesystem::{FileStorage, Options},
    memory::MemoryStorage,
};

use crate::setup::{ManualClock, memory_broker, produce, values};

fn config(retention: Duration, clock: &Arc<ManualClock>) -> BrokerConfig {
    BrokerConfig { retention: Some(retention), clock: clock.clone(), ..BrokerConfig::default() }
}

#[tokio::test]
async fn messages_are_gone_after_their_age_and_not_before() {
    let clock = ManualClock::at(1_000_000);
    let broker = memory_broker(config(Duration::from_secs(10), &clock)).await;
    for value in ["one", "two", "three"] {
        produce(&broker, "t", value).await.unwrap();
        clock.pass(Duration::from_secs(4));
    }
    let partition = broker.partition("t", None).unwrap();
    // Ages 12, 8 and 4 seconds.
    broker.evict().await.unwrap();
    assert_eq!(partition.bounds().start, Offset::new(1));
    assert_eq!(values(&partition, 1).await, ["two", "three"]);
    let error = partition.fetch(Offset::ZERO, 1, Duration::ZERO).await.unwrap_err();
    assert!(matches!(error, Error::OutOfRange { start, .. } if start == Offset::new(1)));
    clock.pass(Duration::from_secs(7));
    broker.evict().await.unwrap();
    assert_eq!(partition.bounds().start, Offset::new(3));
    assert_eq!(produce(&broker, "t", "four").await.unwrap().base_offset, Offset::new(3), "numbers go on");
}

#[tokio::test]
async fn a_step_of_the_wall_clock_evicts_nothing_and_keeps_nothing() {
    let clock = ManualClock::at(1_000_000);
    let broker = memory_broker(config(Duration::from_secs(10), &clock)).await;
    produce(&broker, "t", "x").await.unwrap();
    let partition = broker.partition("t", None).unwrap();
    clock.set_wall(9_000_000);
    broker.evict().await.unwrap();
    assert_eq!(partition.bounds().start, Offset::ZERO);
    clock.set_wall(0);
    clock.pass(Duration::from_secs(11));
    broker.evict().await.unwrap();
    assert_eq!(partition.bounds().start, Offset::new(1));
}

#[tokio::test]
async fn the_timer_evicts_by_itself_and_goes_on_after_an_empty_log() {
    let config = BrokerConfig {
        retention: Some(Duration::from_millis(50)),
        clock: Arc::new(SystemClock),
        ..BrokerConfig::default()
    };
    let broker = memory_broker(config).await;
    for round in 1..=3 {
        produce(&broker, "t", "x").await.unwrap();
        let partition = broker.partition("t", None).unwrap();
        let gone = async {
            while partition.bounds().start < Offset::new(round) {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), gone).await.expect("never evicted");
    }
}

#[tokio::test]
async fn over_a_restart_age_goes_on_and_the_start_never_goes_back() {
    let dir = tempfile::tempdir().unwrap();
    let clock = ManualClock::at(1_000_000);
    let open = || async {
        let storage = FileStorage::open(dir.path(), Options::default()).unwrap();
        Broker::open(Arc::new(storage), config(Duration::from_secs(10), &clock)).await.unwrap()
    };
    let broker = open().await;
    produce(&broker, "t", "one").await.unwrap();
    clock.pass(Duration::from_secs(6));
    produce(&broker, "t", "two").await.unwrap();
    broker.close().await.unwrap();
    drop(broker);
    // The server was away for 5 seconds: the first message is 11 seconds old, the second 5.
    clock.pass(Duration::from_secs(5));
    let broker = open().await;
    let partition = broker.partition("t", None).unwrap();
    assert_eq!(values(&partition, partition.bounds().start.get()).await, ["two"]);
    broker.close().await.unwrap();
    drop((broker, partition));
    // The wall clock is wrong now, by days: ages count from the newest message on.
    clock.set_wall(500_000);
    let broker = open().await;
    let partition = broker.partition("t", None).unwrap();
    assert_eq!(partition.bounds().start, Offset::new(1), "what was evicted stays evicted");
    assert_eq!(values(&partition, 1).await, ["two"]);
    clock.pass(Duration::from_secs(11));
    broker.evict().await.unwrap();
    assert_eq!(partition.bounds().start, Offset::new(2));
    assert_eq!(produce(&broker, "t", "three").await.unwrap().base_offset, Offset::new(2));
    broker.close().await.unwrap();
}

#[tokio::test]
async fn without_a_retention_nothing_goes() {
    let clock = ManualClock::at(1_000_000);
    let config = BrokerConfig { retention: None, clock: clock.clone(), ..BrokerConfig::default() };
    let broker = Broker::open(Arc::new(MemoryStorage::new(u64::MAX)), config).await.unwrap();
    produce(&broker, "t", "x").await.unwrap();
    clock.pass(Duration::from_secs(1_000_000_000));
    broker.evict().await.unwrap();
    assert_eq!(values(&broker.partition("t", None).unwrap(), 0).await, ["x"]);
}
