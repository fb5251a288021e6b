//! Fetching.

use std::time::Duration;

use minikafka_broker::{BrokerConfig, Error, NodeId, Payload, RecordPlace};
use minikafka_record::{BatchBuilder, Offset};

use crate::setup::{memory_broker, produce, values};

const LONG: Duration = Duration::from_secs(3600);

#[tokio::test(start_paused = true)]
async fn a_reader_at_the_end_waits_and_is_woken() {
    let broker = memory_broker(BrokerConfig::default()).await;
    produce(&broker, "t", "one").await.unwrap();
    let partition = broker.partition("t", None).unwrap();
    let reader = tokio::spawn({
        let partition = partition.clone();
        async move { partition.fetch(Offset::new(1), 100, LONG).await }
    });
    tokio::task::yield_now().await;
    produce(&broker, "t", "two").await.unwrap();
    let fetched = reader.await.unwrap().unwrap();
    assert_eq!((fetched.batches.len(), fetched.next), (1, Offset::new(2)));
}

#[tokio::test(start_paused = true)]
async fn a_reader_gives_up_in_time() {
    let broker = memory_broker(BrokerConfig::default()).await;
    produce(&broker, "t", "one").await.unwrap();
    let partition = broker.partition("t", None).unwrap();
    let fetched = partition.fetch(Offset::new(1), 100, Duration::from_secs(5)).await.unwrap();
    assert!(fetched.batches.is_empty());
    assert_eq!((fetched.next, fetched.high_watermark), (Offset::new(1), Offset::new(1)));
}

#[tokio::test]
async fn beyond_the_end_and_below_the_start_the_range_is_named() {
    let broker = memory_broker(BrokerConfig::default()).await;
    for value in ["one", "two", "three"] {
        produce(&broker, "t", value).await.unwrap();
    }
    let partition = broker.partition("t", None).unwrap();
    let error = partition.fetch(Offset::new(4), 100, LONG).await.unwrap_err();
    assert!(matches!(&error, Error::OutOfRange { high_watermark, .. } if *high_watermark == Offset::new(3)));
    assert!(error.to_string().contains("message 5 is out of range"), "{error}");
    assert!(error.to_string().contains("4 the next to come"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn waiting_readers_hear_of_the_end() {
    let broker = memory_broker(BrokerConfig::default()).await;
    for topic in ["deleted", "stopped"] {
        produce(&broker, topic, "x").await.unwrap();
    }
    let wait = |topic: &str| {
        let partition = broker.partition(topic, None).unwrap();
        tokio::spawn(async move { partition.fetch(Offset::new(1), 100, LONG).await })
    };
    let (deleted, stopped) = (wait("deleted"), wait("stopped"));
    let missing = tokio::spawn({
        let broker = broker.clone();
        async move { broker.partition_when_created("never", None).await }
    });
    tokio::task::yield_now().await;
    broker.delete_topic("deleted").await.unwrap();
    assert!(matches!(deleted.await.unwrap(), Err(Error::TopicNotFound(_))));
    broker.close().await.unwrap();
    assert!(matches!(stopped.await.unwrap(), Err(Error::Stopping)));
    assert!(matches!(missing.await.unwrap(), Err(Error::Stopping)));
}

#[tokio::test]
async fn two_readers_read_independently() {
    let broker = memory_broker(BrokerConfig::default()).await;
    for number in 0..100 {
        produce(&broker, "t", &number.to_string()).await.unwrap();
    }
    let partition = broker.partition("t", None).unwrap();
    let (all, half) = tokio::join!(values(&partition, 0), values(&partition, 50));
    assert_eq!(all.len(), 100);
    assert_eq!(half, all[50..]);
}

#[tokio::test]
async fn a_time_leads_to_an_offset() {
    let broker = memory_broker(BrokerConfig::default()).await;
    let first = produce(&broker, "t", "x").await.unwrap();
    let partition = broker.partition("t", None).unwrap();
    assert_eq!(partition.offset_at(first.append_time).await.unwrap(), Some(Offset::ZERO));
    assert_eq!(partition.offset_at(first.append_time + 10_000_000).await.unwrap(), None);
}

#[tokio::test]
async fn the_record_with_the_largest_timestamp_is_found_whatever_the_timestamps_are() {
    let broker = memory_broker(BrokerConfig::default()).await;
    broker.create_topic("t", 1).await.unwrap();
    let partition = broker.partition("t", None).unwrap();
    assert_eq!(partition.newest_record().await.unwrap(), None);
    let times =
        [i64::MIN, -7, -2, 0, -2, 1, 1_700_000_000_123, 9, 1_700_000_000_123, i64::MAX - 1, i64::MAX, 3];
    let mut newest: Option<RecordPlace> = None;
    for (offset, timestamp) in times.into_iter().enumerate() {
        let mut batch = BatchBuilder::new();
        batch.push(timestamp, None, Some(b"x"), &[]);
        let payload = broker.check(Payload::Batch(batch.finish(Offset::ZERO, 0))).unwrap();
        partition.produce(payload).await.unwrap().await.unwrap();
        if newest.is_none_or(|newest| newest.timestamp < timestamp) {
            newest = Some(RecordPlace { offset: Offset::new(offset as u64), timestamp });
        }
        assert_eq!(partition.newest_record().await.unwrap(), newest, "after {timestamp}");
    }
}

#[tokio::test]
async fn a_server_on_its_own_leads_all_partitions() {
    let broker = memory_broker(BrokerConfig::default()).await;
    produce(&broker, "t", "x").await.unwrap();
    let placement = broker.placement(&broker.partition("t", None).unwrap());
    assert_eq!((placement.leader, placement.leader_epoch), (Some(NodeId::ALONE), 0));
    assert_eq!((&placement.replicas, &placement.in_sync), (&vec![NodeId::ALONE], &vec![NodeId::ALONE]));
}
