//! Retention.

use std::{sync::Arc, time::Duration};

use minikafka_broker::{Broker, BrokerConfig, Error, SystemClock};
use minikafka_record::Offset;
use minikafka_storage::{
    filesystem::{FileStorage, Options},
    memory::MemoryStorage,
};

use crate::{
    rig::Rig,
    setup::{ManualClock, memory_broker, produce, values},
};

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

/// A config whose messages are gone almost at once.
fn short() -> BrokerConfig {
    BrokerConfig { retention: Some(Duration::from_millis(50)), ..BrokerConfig::default() }
}

#[tokio::test]
async fn one_failed_eviction_stops_neither_the_start_nor_the_others() {
    let (storage, rig) = Rig::new();
    let clock = ManualClock::at(1_000_000);
    let config = config(Duration::from_secs(10), &clock);
    let broker = Broker::open(storage.clone(), config.clone()).await.unwrap();
    for topic in ["a", "b", "c"] {
        produce(&broker, topic, "x").await.unwrap();
    }
    drop(broker);
    clock.pass(Duration::from_secs(11));
    rig.fail("trim b");
    let broker = Broker::open(storage, config).await.unwrap();
    let start = |topic| broker.partition(topic, None).unwrap().bounds().start;
    assert_eq!(["a", "b", "c"].map(start), [Offset::new(1), Offset::ZERO, Offset::new(1)]);
    for topic in ["a", "b", "c"] {
        produce(&broker, topic, "y").await.unwrap();
    }
    clock.pass(Duration::from_secs(11));
    let error = broker.evict().await.unwrap_err();
    assert!(error.to_string().contains("trim b"), "{error}");
    assert_eq!(["a", "b", "c"].map(start), [Offset::new(2), Offset::ZERO, Offset::new(2)]);
}

#[tokio::test]
async fn a_failed_eviction_is_tried_again_by_itself() {
    let (storage, rig) = Rig::new();
    rig.fail("trim t");
    let broker = Broker::open(storage, short()).await.unwrap();
    produce(&broker, "t", "x").await.unwrap();
    rig.seen("trim t failed", 1).await;
    rig.mend("trim t");
    rig.seen("trim t done", 1).await;
}

#[tokio::test]
async fn some_partitions_are_evicted_from_at_a_time_and_no_more() {
    let (storage, rig) = Rig::new();
    let broker = Broker::open(storage, short()).await.unwrap();
    let topics: Vec<String> = (0..30).map(|number| format!("t{number}")).collect();
    for topic in &topics {
        rig.hold(&format!("trim {topic}"));
        produce(&broker, topic, "x").await.unwrap();
    }
    let trims = |events: &[String]| events.iter().filter(|event| event.starts_with("trim")).count();
    rig.until(|events| trims(events) >= 8).await;
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(trims(&rig.events()), 8, "bounded, and one that takes long does not stop the others");
    for topic in &topics {
        rig.release(&format!("trim {topic}"));
    }
    for topic in &topics {
        rig.seen(&format!("trim {topic} done"), 1).await;
    }
}

#[tokio::test]
async fn a_stop_waits_for_the_eviction_that_runs_and_nothing_is_evicted_after_it() {
    let (storage, rig) = Rig::new();
    let broker = Broker::open(storage, short()).await.unwrap();
    rig.hold("trim t");
    produce(&broker, "t", "x").await.unwrap();
    rig.seen("trim t", 1).await;
    let closing = tokio::spawn({
        let broker = broker.clone();
        async move { broker.close().await }
    });
    // The stop has come as far as the retention task when producers and readers have heard of it.
    while broker.partition("t", None).unwrap().is_open() {
        tokio::task::yield_now().await;
    }
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert!(!rig.events().contains(&"close".to_owned()));
    rig.release("trim t");
    closing.await.unwrap().unwrap();
    assert_eq!(rig.events()[rig.events().len() - 3..], ["trim t", "trim t done", "close"]);
}
