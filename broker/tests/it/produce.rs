//! Producing.

use bytes::Bytes;
use minikafka_broker::{
    Broker, BrokerConfig, CheckedPayload, Error, NewMessage, Partition, Payload, Produced,
};
use minikafka_record::{BatchBuilder, Compression, Header, Offset};
use tokio::task::JoinHandle;

use crate::{
    rig::Rig,
    setup::{memory_broker, message, messages, partition_of, produce, values},
};

#[tokio::test]
async fn messages_are_numbered_in_the_order_of_the_calls() {
    let broker = memory_broker(BrokerConfig::default()).await;
    let partition = partition_of(&broker, "t").await;
    let mut pending = Vec::new();
    for number in 0..500 {
        pending.push(
            partition
                .produce(broker.check(messages(&[&format!("{number} a"), &format!("{number} b")])).unwrap())
                .await
                .unwrap(),
        );
    }
    for (number, pending) in pending.into_iter().enumerate() {
        let produced = pending.await.unwrap();
        assert_eq!((produced.base_offset, produced.count), (Offset::new(2 * number as u64), 2));
    }
    let expected: Vec<String> =
        (0..500).flat_map(|number| [format!("{number} a"), format!("{number} b")]).collect();
    assert_eq!(values(&partition, 0).await, expected);
}

#[tokio::test]
async fn what_waits_together_becomes_one_batch() {
    let broker = memory_broker(BrokerConfig::default()).await;
    let partition = partition_of(&broker, "t").await;
    // The owner runs only when this task waits.
    let mut pending = Vec::new();
    for number in 0..50 {
        pending
            .push(partition.produce(broker.check(messages(&[&number.to_string()])).unwrap()).await.unwrap());
    }
    for pending in pending {
        pending.await.unwrap();
    }
    let fetched = partition.fetch(Offset::ZERO, 1 << 20, std::time::Duration::ZERO).await.unwrap();
    assert_eq!(fetched.batches.len(), 1);
    fetched.batches[0].validate().unwrap();
    assert_eq!(fetched.batches[0].count(), 50);
}

#[tokio::test]
async fn everything_of_a_message_is_kept_in_either_form() {
    let broker = memory_broker(BrokerConfig::default()).await;
    let partition = partition_of(&broker, "t").await;
    let header = Header { name: Bytes::from_static(b"h"), value: None };
    let message = NewMessage {
        timestamp: Some(-5),
        key: Some(Bytes::new()),
        value: None,
        headers: vec![header.clone(), Header { value: Some(Bytes::from_static(b"v")), ..header }],
    };
    let mut batch = BatchBuilder::new();
    batch.push(-5, message.key.as_deref(), None, &message.headers);
    let batch = Payload::Batch(batch.finish(Offset::new(77), 9));
    for payload in [Payload::Messages(vec![message.clone()]), batch] {
        partition.produce(broker.check(payload).unwrap()).await.unwrap().await.unwrap();
    }
    let fetched = partition.fetch(Offset::ZERO, 1 << 20, std::time::Duration::ZERO).await.unwrap();
    let records: Vec<_> =
        fetched.batches.iter().flat_map(|batch| batch.records().map(Result::unwrap)).collect();
    assert_eq!(records.len(), 2);
    for (number, record) in records.into_iter().enumerate() {
        assert_eq!(record.offset, Offset::new(number as u64));
        assert_eq!((record.timestamp, record.key, record.value), (-5, Some(Bytes::new()), None));
        assert_eq!(record.headers, message.headers);
    }
}

#[tokio::test]
async fn a_message_without_a_timestamp_gets_the_append_time() {
    let broker = memory_broker(BrokerConfig::default()).await;
    let partition = partition_of(&broker, "t").await;
    let mut batch = BatchBuilder::new();
    batch.push(-1, None, Some(b"x"), &[]);
    let batch = Payload::Batch(batch.finish(Offset::ZERO, 0));
    for payload in [Payload::Messages(vec![message("x")]), batch] {
        let produced = partition.produce(broker.check(payload).unwrap()).await.unwrap().await.unwrap();
        let fetched = partition.fetch(produced.base_offset, 1, std::time::Duration::ZERO).await.unwrap();
        fetched.batches[0].validate().unwrap();
        assert_eq!(fetched.batches[0].records().next().unwrap().unwrap().timestamp, produced.append_time);
    }
}

#[tokio::test]
async fn a_lone_batch_is_stored_where_it_lies() {
    let broker = memory_broker(BrokerConfig::default()).await;
    let partition = partition_of(&broker, "t").await;
    let sent = |value: &[u8]| {
        let mut batch = BatchBuilder::new();
        batch.push(7, None, Some(value), &[]);
        Bytes::from(batch.finish(Offset::new(77), 9).to_vec())
    };
    let (alone, held) = (sent(b"alone"), sent(b"held"));
    let lay_at = alone.as_ptr();
    // All at once, so that they wait together and could become one entry.
    let payloads = [
        Payload::Messages(vec![message("before")]),
        Payload::LoneBatch(alone),
        Payload::LoneBatch(held.clone()),
        Payload::Batch(sent(b"after")),
    ];
    let mut pending = Vec::new();
    for payload in payloads {
        pending.push(partition.produce(broker.check(payload).unwrap()).await.unwrap());
    }
    for (number, pending) in pending.into_iter().enumerate() {
        assert_eq!(pending.await.unwrap().base_offset, Offset::new(number as u64));
    }
    assert_eq!(values(&partition, 0).await, ["before", "alone", "held", "after"]);
    let fetched = partition.fetch(Offset::new(1), 1, std::time::Duration::ZERO).await.unwrap();
    assert_eq!(fetched.batches[0].bytes().as_ptr(), lay_at);
    assert_eq!(held, sent(b"held"), "it was not its own to change");
}

#[tokio::test]
async fn a_compressed_batch_is_stored_as_it_was_sent() {
    let broker = memory_broker(BrokerConfig { message_bytes_max: 1000, ..BrokerConfig::default() }).await;
    let partition = partition_of(&broker, "t").await;
    let sent = |count: usize, value_len: usize| {
        let mut batch = BatchBuilder::new();
        (0..count).for_each(|_| batch.push(7, None, Some(&vec![b'x'; value_len]), &[]));
        batch.finish_compressed(Compression::Zstd, Offset::new(77), 9)
    };
    let fits = sent(20, 300);
    let pending = partition.produce(broker.check(Payload::Batch(fits.clone())).unwrap()).await.unwrap();
    assert_eq!(pending.await.unwrap().count, 20);
    let fetched = partition.fetch(Offset::ZERO, 1, std::time::Duration::ZERO).await.unwrap();
    let stored = &fetched.batches[0];
    assert_eq!((stored.base_offset(), stored.header().leader_epoch), (Offset::ZERO, 0));
    assert_eq!(stored.bytes()[16..], fits[16..]);
    assert_eq!(values(&partition, 0).await, vec!["x".repeat(300); 20]);

    for (too_large, rule) in [
        (sent(30, 300), "expands to more than 8000 bytes"),
        (sent(1, 1000), "record 0 of the batch has 1009 bytes, the limit is 939 bytes"),
    ] {
        let error = broker.check(Payload::Batch(too_large)).unwrap_err();
        assert!(matches!(error, Error::BatchTooLarge(_)) && !error.is_retryable());
        assert!(error.to_string().contains(rule), "{error}");
    }
}

#[tokio::test]
async fn what_breaks_a_rule_is_refused_and_takes_no_number() {
    let broker = memory_broker(BrokerConfig { message_bytes_max: 1000, ..BrokerConfig::default() }).await;
    let mut batch = BatchBuilder::new();
    batch.push(0, None, Some(b"x"), &[]);
    let good = batch.finish(Offset::ZERO, 0);
    let mut flipped = good.to_vec();
    *flipped.last_mut().unwrap() ^= 1;
    let large = "x".repeat(1000);
    for (payload, rule) in [
        (Payload::Messages(Vec::new()), "at least one message"),
        (messages(&[&large]), "over the limit of 1000 bytes"),
        (Payload::Batch(Bytes::from(vec![0; 1001])), "over the limit of 1000 bytes"),
        (Payload::Batch(Bytes::new()), "cut short"),
        (Payload::Batch(good.slice(..good.len() - 1)), "cut short"),
        (Payload::Batch(flipped.into()), "checksum"),
    ] {
        let error = broker.check(payload).unwrap_err();
        assert!(!error.is_retryable());
        assert!(error.to_string().contains(rule), "{error}");
    }
    assert_eq!(produce(&broker, "t", "first").await.unwrap().base_offset, Offset::ZERO);
}

/// Starts a produce and lets it go as far as it gets by itself.
async fn begin(partition: &Partition, payload: CheckedPayload) -> JoinHandle<Result<Produced, Error>> {
    let partition = partition.clone();
    let producing = tokio::spawn(async move { partition.produce(payload).await?.await });
    // Each yield lets the producer and the owner run as far as they can: there is one thread.
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    producing
}

#[tokio::test]
async fn producers_wait_for_room_and_nobody_is_dropped() {
    let (storage, rig) = Rig::new();
    let config = BrokerConfig { waiting_bytes_max: 4096, ..BrokerConfig::default() };
    let broker = Broker::open(storage, config).await.unwrap();
    let partition = partition_of(&broker, "t").await;
    rig.hold("append");
    let mut producers = Vec::new();
    for _ in 0..20 {
        producers.push(begin(&partition, broker.check(messages(&[&"x".repeat(500)])).unwrap()).await);
    }
    let taken = partition.bounds().end.get();
    // Each takes up more than 1000 bytes with all that belongs to it.
    assert!((1..=4).contains(&taken), "{taken} were taken while there is room for 4 at most");
    rig.release("append");
    let mut offsets = Vec::new();
    for producer in producers {
        offsets.push(producer.await.unwrap().unwrap().base_offset.get());
    }
    assert_eq!(offsets, (0..20).collect::<Vec<_>>(), "first come, first served");
}

#[tokio::test]
async fn small_messages_and_headers_take_up_room_as_large_as_they_are() {
    let many = messages(&["x"; 500]);
    let headers = vec![Header { name: Bytes::new(), value: None }; 1000];
    let with_headers = Payload::Messages(vec![NewMessage { headers, ..message("x") }]);
    for payload in [many, with_headers] {
        let (storage, rig) = Rig::new();
        let config = BrokerConfig { waiting_bytes_max: 32 * 1024, ..BrokerConfig::default() };
        let broker = Broker::open(storage, config).await.unwrap();
        let partition = partition_of(&broker, "t").await;
        rig.hold("append");
        let large = begin(&partition, broker.check(payload).unwrap()).await;
        let end = partition.bounds().end;
        let next = begin(&partition, broker.check(messages(&["next"])).unwrap()).await;
        assert!(end > Offset::ZERO && partition.bounds().end == end, "the next one waits");
        rig.release("append");
        large.await.unwrap().unwrap();
        assert_eq!(next.await.unwrap().unwrap().base_offset, end);
    }
}

#[tokio::test]
async fn who_still_waits_for_room_at_a_stop_is_told_so() {
    let (storage, rig) = Rig::new();
    let config = BrokerConfig { waiting_bytes_max: 100, ..BrokerConfig::default() };
    let broker = Broker::open(storage, config).await.unwrap();
    let partition = partition_of(&broker, "t").await;
    rig.hold("append");
    let taken = begin(&partition, broker.check(messages(&["taken"])).unwrap()).await;
    let waiting = begin(&partition, broker.check(messages(&["waiting"])).unwrap()).await;
    broker.begin_stop();
    rig.release("append");
    assert_eq!(taken.await.unwrap().unwrap().base_offset, Offset::ZERO);
    assert!(matches!(waiting.await.unwrap(), Err(Error::Stopping)));
    assert_eq!(partition.bounds().end, Offset::new(1));
}

#[tokio::test]
async fn an_entry_keeps_little_more_memory_than_it_has_bytes() {
    let (storage, rig) = Rig::new();
    let broker = Broker::open(storage, BrokerConfig::default()).await.unwrap();
    let partition = partition_of(&broker, "t").await;
    for (count, value) in [(1, 1), (1, 100_000), (500, 1), (500, 100)] {
        let value = "x".repeat(value);
        let mut pending = Vec::new();
        for _ in 0..count {
            pending.push(partition.produce(broker.check(messages(&[&value])).unwrap()).await.unwrap());
        }
        for pending in pending {
            pending.await.unwrap();
        }
    }
    for (len, capacity) in rig.payloads() {
        assert!(capacity <= len + len / 4 + 64, "{len} bytes pin {capacity}");
    }
}

#[tokio::test]
async fn more_than_all_the_room_there_is_can_still_be_sent() {
    let broker = memory_broker(BrokerConfig { waiting_bytes_max: 100, ..BrokerConfig::default() }).await;
    produce(&broker, "t", &"x".repeat(5000)).await.unwrap();
}

#[tokio::test]
async fn a_stale_leader_epoch_is_told_so() {
    let broker = memory_broker(BrokerConfig::default()).await;
    let partition = partition_of(&broker, "t").await;
    partition.check_leader_epoch(None).unwrap();
    partition.check_leader_epoch(Some(0)).unwrap();
    assert!(matches!(partition.check_leader_epoch(Some(3)), Err(Error::StaleLeaderEpoch { current: 0, .. })));
}
