//! Retention by size.

use std::{path::Path, sync::Arc, time::Duration};

use minikafka_broker::{Broker, BrokerConfig, Error};
use minikafka_record::Offset;
use minikafka_storage::{
    Storage,
    filesystem::{FileStorage, Options},
    memory::MemoryStorage,
};

use crate::{
    rig::Rig,
    setup::{ManualClock, memory_broker, produce, values},
};

const LIMIT: u64 = 20_000;

/// By size alone.
fn config() -> BrokerConfig {
    BrokerConfig { retention: None, retention_bytes: Some(LIMIT), ..BrokerConfig::default() }
}

/// Without a journal: what is there in files and nowhere else.
fn files(root: &Path, segment_bytes: u64) -> Arc<dyn Storage> {
    let options = Options { segment_bytes, journal_bytes: 0, ..Options::default() };
    Arc::new(FileStorage::open(root, options).unwrap())
}

/// Produces messages until the log begins at `start` or later.
async fn produce_until_start(broker: &Broker, start: u64) {
    for number in 0..100_000 {
        produce(broker, "t", &format!("{number} {}", "x".repeat(500))).await.unwrap();
        if broker.partition("t", None).unwrap().bounds().start >= Offset::new(start) {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("nothing is evicted");
}

/// Waits until the log takes up no more than `bytes`.
async fn until_size(broker: &Broker, bytes: u64) {
    let partition = broker.partition("t", None).unwrap();
    let small = async {
        while partition.bounds().size_bytes > bytes {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), small).await.expect("it stays too large");
}

#[tokio::test]
async fn the_oldest_go_when_there_is_too_much_by_themselves() {
    let root = tempfile::tempdir().unwrap();
    let storages = [Arc::new(MemoryStorage::new(u64::MAX)) as Arc<dyn Storage>, files(root.path(), 4000)];
    for storage in storages {
        let broker = Broker::open(storage, config()).await.unwrap();
        produce_until_start(&broker, 100).await;
        let partition = broker.partition("t", None).unwrap();
        // The next message is reason to look again at what could not go.
        while partition.bounds().size_bytes > LIMIT {
            let number = partition.bounds().end.get();
            produce(&broker, "t", &format!("{number} ")).await.unwrap();
            tokio::task::yield_now().await;
        }
        let bounds = partition.bounds();
        assert!(bounds.size_bytes > LIMIT / 2, "no more goes than has to: {bounds:?}");
        let kept = values(&partition, bounds.start.get()).await;
        assert_eq!(kept.len() as u64, bounds.end.since(bounds.start));
        assert!(kept[0].starts_with(&format!("{} ", bounds.start.get())), "the newest are there");
        let error = partition.fetch(Offset::ZERO, 1, Duration::ZERO).await.unwrap_err();
        assert!(matches!(error, Error::OutOfRange { start, .. } if start == bounds.start));
        assert_eq!(broker.describe_topic("t").unwrap().retention_bytes.value, Some(LIMIT));
        broker.close().await.unwrap();
    }
}

#[tokio::test]
async fn what_is_written_to_stays_however_large() {
    let root = tempfile::tempdir().unwrap();
    let broker = Broker::open(files(root.path(), 1 << 20), config()).await.unwrap();
    for _ in 0..20 {
        produce(&broker, "t", &"x".repeat(5000)).await.unwrap();
    }
    broker.evict().await.unwrap();
    let bounds = broker.partition("t", None).unwrap().bounds();
    assert!(bounds.size_bytes > 4 * LIMIT && bounds.start == Offset::ZERO, "{bounds:?}");
    broker.close().await.unwrap();
    // So does one message that is larger than all that is allowed.
    let broker = memory_broker(config()).await;
    for _ in 0..3 {
        produce(&broker, "t", &"x".repeat(LIMIT as usize)).await.unwrap();
    }
    broker.evict().await.unwrap();
    assert_eq!(broker.partition("t", None).unwrap().bounds().start, Offset::new(2));
}

#[tokio::test]
async fn a_smaller_limit_holds_from_the_start() {
    let root = tempfile::tempdir().unwrap();
    let broker = Broker::open(files(root.path(), 4000), BrokerConfig::default()).await.unwrap();
    for _ in 0..50 {
        produce(&broker, "t", &"x".repeat(1000)).await.unwrap();
    }
    broker.close().await.unwrap();
    drop(broker);
    let broker = Broker::open(files(root.path(), 4000), config()).await.unwrap();
    let bounds = broker.partition("t", None).unwrap().bounds();
    assert!(bounds.size_bytes <= LIMIT && bounds.start > Offset::ZERO, "{bounds:?}");
    assert_eq!(bounds.end, Offset::new(50));
    broker.close().await.unwrap();
}

#[tokio::test]
async fn both_limits_hold() {
    let clock = ManualClock::at(1_000_000);
    let retention = Some(Duration::from_secs(10));
    let broker = memory_broker(BrokerConfig { retention, clock: clock.clone(), ..config() }).await;
    produce_until_start(&broker, 10).await;
    clock.pass(Duration::from_secs(11));
    broker.evict().await.unwrap();
    let bounds = broker.partition("t", None).unwrap().bounds();
    assert_eq!(bounds.start, bounds.end);
    produce_until_start(&broker, bounds.end.get() + 10).await;
}

#[tokio::test]
async fn nobody_looks_again_until_there_is_reason_to() {
    let (storage, rig) = Rig::new();
    let broker = Broker::open(storage, config()).await.unwrap();
    let count = 3000;
    for number in 0..count {
        produce(&broker, "t", &format!("{number}")).await.unwrap();
        tokio::task::yield_now().await;
    }
    until_size(&broker, LIMIT).await;
    let trims = rig.events().iter().filter(|event| *event == "trim t").count();
    assert!((1..count / 2).contains(&trims), "{trims} evictions for {count} messages");
}

#[tokio::test]
async fn what_comes_while_the_oldest_go_goes_too_if_it_is_too_much() {
    let (storage, rig) = Rig::new();
    rig.hold("trim t");
    let broker = Broker::open(storage, config()).await.unwrap();
    let half = "x".repeat(LIMIT as usize / 2);
    for _ in 0..3 {
        produce(&broker, "t", &half).await.unwrap();
    }
    rig.seen("trim t", 1).await;
    for _ in 0..4 {
        produce(&broker, "t", &half).await.unwrap();
    }
    rig.release("trim t");
    until_size(&broker, LIMIT).await;
    assert_eq!(broker.partition("t", None).unwrap().bounds().end, Offset::new(7));
}

#[tokio::test]
async fn a_failed_eviction_is_tried_again() {
    let (storage, rig) = Rig::new();
    rig.fail("trim t");
    let broker = Broker::open(storage, config()).await.unwrap();
    for _ in 0..3 {
        produce(&broker, "t", &"x".repeat(LIMIT as usize / 2)).await.unwrap();
    }
    rig.seen("trim t failed", 1).await;
    rig.mend("trim t");
    until_size(&broker, LIMIT).await;
}
