//! Eviction that overtakes readers: they hear where the log begins now, and what they read is right. Row 17.

use std::{sync::Arc, time::Duration};

use minikafka_broker::{Broker, BrokerConfig, Error, Partition};
use minikafka_record::Offset;
use minikafka_storage::filesystem::{FileStorage, Options};

use crate::setup::produce;

const MESSAGES: u64 = 3000;
const READERS: usize = 4;

/// What a reader went through.
#[derive(Debug, Default)]
struct Tale {
    read: u64,
    jumps: u64,
}

/// Reads to the last message, a batch at a time, and goes on at the log start whenever it is overtaken.
async fn read_all(partition: Partition) -> Tale {
    let (mut at, mut tale) = (Offset::ZERO, Tale::default());
    while at.get() < MESSAGES {
        match partition.fetch(at, 1, Duration::from_secs(20)).await {
            Ok(fetched) => {
                assert!(!fetched.batches.is_empty(), "nothing came in time at {at:?}");
                let records = fetched.batches.iter().flat_map(|batch| batch.records());
                for record in records.map(Result::unwrap).filter(|record| record.offset >= at) {
                    let value = String::from_utf8(record.value.unwrap().to_vec()).unwrap();
                    assert_eq!(value.split(' ').next(), Some(record.offset.get().to_string().as_str()));
                    tale.read += 1;
                }
                at = fetched.next;
            }
            Err(Error::OutOfRange { wanted, start, .. }) => {
                assert_eq!(wanted, at);
                assert!(start > at, "the new start is ahead");
                at = start;
                tale.jumps += 1;
            }
            Err(error) => panic!("at {at:?}: {error}"),
        }
    }
    tale
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_that_eviction_overtakes_go_on_at_the_new_start() {
    let root = tempfile::tempdir().unwrap();
    // Readers find nothing in memory: each read goes to a file that may be on its way out.
    let options = Options { segment_bytes: 16 << 10, tail_bytes: 0, ..Options::default() };
    let storage = Arc::new(FileStorage::open(root.path(), options).unwrap());
    let config = BrokerConfig { retention: None, retention_bytes: Some(64 << 10), ..BrokerConfig::default() };
    let broker = Broker::open(storage, config).await.unwrap();
    let padding = "x".repeat(1000);
    produce(&broker, "t", &format!("0 {padding}")).await.unwrap();
    let readers: Vec<_> =
        (0..READERS).map(|_| tokio::spawn(read_all(broker.partition("t", None).unwrap()))).collect();
    for number in 1..MESSAGES {
        produce(&broker, "t", &format!("{number} {padding}")).await.unwrap();
        if number % 100 == 0 {
            broker.evict().await.unwrap();
        }
    }
    for reader in readers {
        let tale = reader.await.unwrap();
        assert!(tale.read > 0, "{tale:?}");
    }
    // One that comes late is overtaken for sure.
    let late = read_all(broker.partition("t", None).unwrap()).await;
    assert!(late.jumps > 0 && late.read < MESSAGES, "{late:?}");
    broker.close().await.unwrap();
}
