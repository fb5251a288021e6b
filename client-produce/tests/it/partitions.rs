//! Where messages go when a topic has several partitions.

use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use minikafka_client_produce::{Message, Producer, SendError};
use minikafka_record::partition_of_key;

use crate::fake::{Fake, Step, error};

#[tokio::test]
async fn keys_go_where_their_hash_says_and_stay_in_order() {
    let fake = Fake::start([]);
    fake.set_partitions(7);
    let producer = Producer::builder(&fake.host(), "t").batch_bytes_max(200).connect().await.unwrap();
    let mut receipts = Vec::new();
    for i in 0..500 {
        let key = format!("key {}", i % 20);
        let receipt = producer.enqueue(Message::new(i.to_string()).key(key.clone())).await.unwrap();
        assert_eq!(receipt.partition(), partition_of_key(key.as_bytes(), 7));
        receipts.push(receipt);
    }
    let mut numbers: HashMap<u32, Vec<u64>> = HashMap::new();
    for receipt in receipts {
        numbers.entry(receipt.partition()).or_default().push(receipt.await.unwrap());
    }
    for numbers in numbers.values() {
        assert!(numbers.iter().copied().eq(1..=numbers.len() as u64), "each counts its own: {numbers:?}");
    }
    let log = fake.log();
    let mut last: HashMap<String, u32> = HashMap::new();
    for (record, partition) in log.records.iter().zip(&log.partitions) {
        let key = String::from_utf8_lossy(record.key.as_deref().unwrap()).into_owned();
        assert_eq!(*partition, partition_of_key(key.as_bytes(), 7));
        let message: u32 = String::from_utf8_lossy(record.value.as_deref().unwrap()).parse().unwrap();
        assert!(last.insert(key, message).is_none_or(|last| last < message));
    }
    assert_eq!(log.records.len(), 500);
}

/// Sends messages without keys until each served partition of four has had a turn. Returns where they went.
async fn spread(producer: &Producer) -> BTreeSet<u32> {
    let mut partitions = BTreeSet::new();
    for _ in 0..400 {
        let receipt = producer.enqueue("x".repeat(80)).await.unwrap();
        partitions.insert(receipt.partition());
    }
    producer.flush().await.unwrap();
    partitions
}

#[tokio::test]
async fn without_keys_messages_avoid_lost_partitions() {
    let fake = Fake::start([]);
    fake.set_partitions(4);
    fake.lose(&[0, 1, 3]);
    let builder = || Producer::builder(&fake.host(), "t").batch_bytes_max(1000);
    assert_eq!(spread(&builder().connect().await.unwrap()).await, [2].into());
    // Who says where is believed, and hears from the server what comes of it.
    let producer = builder().connect().await.unwrap();
    assert_eq!(producer.enqueue(Message::new("a").partition(1)).await.unwrap().partition(), 1);
    let keyed = producer.enqueue(Message::new("a").key("k")).await.unwrap();
    assert_eq!(keyed.partition(), partition_of_key(b"k", 4));
    // Without any other there is no choice.
    fake.lose(&[0, 1, 2, 3]);
    builder().connect().await.unwrap().send("a").await.unwrap();
}

#[tokio::test]
async fn a_refusal_tells_that_a_partition_is_lost() {
    let fake = Fake::start([Step::Refuse(error(tonic::Code::DataLoss, "DAMAGED"))]);
    fake.set_partitions(4);
    let producer = Producer::builder(&fake.host(), "t").batch_bytes_max(1000).connect().await.unwrap();
    let receipt = producer.enqueue("a").await.unwrap();
    let lost = receipt.partition();
    fake.lose(&[lost]);
    let refused = receipt.await.unwrap_err();
    assert!(matches!(&refused, SendError::Refused(refusal) if refusal.reason == "DAMAGED"), "{refused}");
    producer.flush().await.unwrap_err();
    let expected: BTreeSet<u32> = (0..4).filter(|partition| *partition != lost).collect();
    assert_eq!(spread(&producer).await, expected);
}

#[tokio::test]
async fn without_keys_batches_go_to_all_partitions_in_turn() {
    let fake = Fake::start([Step::AcceptWhenReleased]);
    fake.set_partitions(4);
    let builder = Producer::builder(&fake.host(), "t").in_flight_max(1).batch_bytes_max(1000);
    let producer = builder.connect().await.unwrap();
    producer.enqueue("first").await.unwrap();
    fake.arrived(1).await;
    for _ in 0..400 {
        producer.enqueue("x".repeat(80)).await.unwrap();
    }
    fake.release(1);
    producer.flush().await.unwrap();
    let log = fake.log();
    let mut counts = [0; 4];
    log.partitions.iter().for_each(|partition| counts[*partition as usize] += 1);
    assert!(counts.iter().all(|count| (90..=111).contains(count)), "{counts:?}");
    assert!(log.batch_counts.iter().filter(|count| **count >= 10).count() >= 36, "{:?}", log.batch_counts);
}

#[tokio::test]
async fn who_says_where_is_obeyed() {
    let fake = Fake::start([]);
    fake.set_partitions(3);
    let producer = Producer::builder(&fake.host(), "t").partition(2).connect().await.unwrap();
    producer.send("a").await.unwrap();
    producer.send(Message::new("b").key("k")).await.unwrap();
    producer.send(Message::new("c").partition(1)).await.unwrap();
    assert_eq!(fake.log().partitions, [2, 2, 1]);
    let error = producer.send(Message::new("d").partition(u32::MAX)).await.unwrap_err();
    let SendError::Refused(refusal) = &error else { panic!("{error}") };
    assert_eq!(refusal.reason, "PARTITION_NOT_FOUND");
    assert_eq!(producer.send("e").await.unwrap(), 3);
}

#[tokio::test]
async fn a_partition_that_is_gone_makes_it_look_again() {
    let fake = Fake::start([]);
    fake.set_partitions(64);
    let producer = Producer::connect(&fake.host(), "t").await.unwrap();
    fake.set_partitions(2);
    let message = || Message::new("v").key("key");
    assert!(partition_of_key(b"key", 64) >= 2);
    producer.send(message()).await.unwrap_err();
    // It is asked beside the stream, and the next message may be faster.
    while producer.send(message()).await.is_err() {}
    assert_eq!(fake.log().partitions, [partition_of_key(b"key", 2)]);
}

#[tokio::test]
async fn a_topic_that_is_created_by_the_first_message_is_looked_at_then() {
    let fake = Fake::start([]);
    fake.set_partitions_when_created(5);
    let producer = Producer::connect(&fake.host(), "t").await.unwrap();
    assert_eq!(producer.enqueue("v").await.unwrap().partition(), 0);
    // It is asked beside the stream, and messages without keys do not wait for the answer.
    while producer.enqueue("v").await.unwrap().partition() == 0 {
        producer.flush().await.unwrap();
    }
    producer.close().await.unwrap();
}

#[tokio::test]
async fn a_key_goes_to_one_partition_from_the_first_message_on() {
    for idempotent in [true, false] {
        let fake = Fake::start([]);
        fake.set_partitions_when_created(5);
        let builder = Producer::builder(&fake.host(), "t").idempotent(idempotent);
        let producer = builder.connect().await.unwrap();
        let key = |i: u32| format!("key {}", i % 10);
        let partition = async |i: u32| {
            let receipt = producer.enqueue(Message::new("v").key(key(i))).await.unwrap();
            assert_eq!(receipt.partition(), partition_of_key(key(i).as_bytes(), 5));
        };
        // Several at once, while nobody knows.
        tokio::join!(partition(0), partition(1), partition(2), partition(3), partition(4));
        for i in 5..50 {
            partition(i).await;
        }
        producer.flush().await.unwrap();
        assert_eq!(fake.log().records.len(), 50);
    }
}

#[tokio::test]
async fn a_key_without_a_topic_to_go_to_fails_by_its_receipt() {
    let fake = Fake::start([]);
    fake.set_partitions_when_created(0);
    let producer = Producer::connect(&fake.host(), "t").await.unwrap();
    let receipt = producer.enqueue(Message::new("v").key("key")).await.unwrap();
    let error = receipt.await.unwrap_err();
    assert!(
        matches!(&error, SendError::Refused(refusal) if refusal.code == tonic::Code::NotFound),
        "{error}"
    );
    let failure = producer.flush().await.unwrap_err();
    assert_eq!(failure.position, 0);
    // Somebody creates it.
    fake.set_partitions(3);
    let receipt = producer.enqueue(Message::new("v").key("key")).await.unwrap();
    assert_eq!(receipt.partition(), partition_of_key(b"key", 3));
    receipt.await.unwrap();
}

#[tokio::test]
async fn a_key_that_waits_for_a_server_fails_in_time_or_with_the_producer() {
    let fake = Fake::start([]);
    fake.set_partitions_when_created(5);
    let builder = Producer::builder(&fake.host(), "t").timeout(Duration::from_millis(300));
    let producer = builder.connect().await.unwrap();
    let patient = Producer::connect(&fake.host(), "t").await.unwrap();
    fake.kill();
    let receipt = producer.enqueue(Message::new("v").key("key")).await.unwrap();
    let error = receipt.await.unwrap_err();
    assert!(matches!(error, SendError::Unreachable { .. } | SendError::Timeout { .. }), "{error}");

    let waiting = patient.enqueue(Message::new("v").key("key"));
    let (waited, closed) = tokio::join!(waiting, patient.clone().close());
    assert!(matches!(waited, Err(SendError::Closed)), "{waited:?}");
    closed.unwrap();
}
