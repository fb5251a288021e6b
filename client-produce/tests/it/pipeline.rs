//! What a producer does when all is well.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use minikafka_client_produce::{Compression, ConnectError, Message, Producer, SendError};

use crate::fake::{Fake, Step};

#[tokio::test]
async fn a_send_returns_the_number() {
    let fake = Fake::start([]);
    let producer = Producer::connect(&fake.host(), "t").await.unwrap();
    assert_eq!(producer.send("one").await.unwrap(), 1);
    assert_eq!(producer.send(String::from("two")).await.unwrap(), 2);
    assert_eq!(producer.send(vec![b'3']).await.unwrap(), 3);
    assert_eq!(producer.send(&b""[..]).await.unwrap(), 4);
    assert_eq!(fake.log().stored, ["one", "two", "3", ""]);
}

#[tokio::test]
async fn what_comes_while_requests_are_under_way_forms_the_next_batch() {
    let fake = Fake::start([Step::AcceptWhenReleased]);
    let producer = Producer::builder(&fake.host(), "t").in_flight_max(1).connect().await.unwrap();
    let first = producer.enqueue("0").await.unwrap();
    fake.arrived(1).await;
    let mut receipts = Vec::new();
    for i in 1..=100 {
        receipts.push(producer.enqueue(i.to_string()).await.unwrap());
    }
    assert_eq!(producer.settled(), 0);
    fake.release(1);
    assert_eq!(first.await.unwrap(), 1);
    for (receipt, number) in receipts.into_iter().zip(2..) {
        assert_eq!(receipt.await.unwrap(), number);
    }
    producer.flush().await.unwrap();
    assert_eq!(producer.settled(), 101);
    assert_eq!(fake.log().batch_counts, [1, 100]);
}

#[tokio::test]
async fn batches_respect_their_limit_and_a_larger_message_travels_alone() {
    let fake = Fake::start([Step::AcceptWhenReleased]);
    let builder = Producer::builder(&fake.host(), "t").in_flight_max(1).batch_bytes_max(1000);
    let producer = builder.connect().await.unwrap();
    producer.enqueue("first").await.unwrap();
    fake.arrived(1).await;
    for len in [300, 300, 300, 5000, 300, 300] {
        producer.enqueue("x".repeat(len)).await.unwrap();
    }
    fake.release(1);
    producer.flush().await.unwrap();
    assert_eq!(fake.log().batch_counts, [1, 2, 1, 1, 2]);
}

#[tokio::test]
async fn batches_are_compressed_when_that_makes_them_smaller() {
    for codec in Compression::ALL {
        let fake = Fake::start([Step::AcceptWhenReleased]);
        let builder = Producer::builder(&fake.host(), "t").in_flight_max(1).compression(codec);
        let producer = builder.connect().await.unwrap();
        producer.enqueue("a").await.unwrap();
        fake.arrived(1).await;
        for i in 0..1000 {
            producer.enqueue(format!("again and again, {i}")).await.unwrap();
        }
        fake.release(1);
        producer.close().await.unwrap();
        let log = fake.log();
        assert_eq!(log.batch_counts, [1, 1000]);
        assert_eq!(log.codecs, [Compression::None, codec], "a single letter does not become smaller");
        assert_eq!(log.stored[1000], "again and again, 999");
    }
}

#[tokio::test]
async fn a_full_buffer_makes_enqueue_wait() {
    let fake = Fake::start([Step::AcceptWhenReleased]);
    let producer = Producer::builder(&fake.host(), "t").buffer_bytes_max(1000).connect().await.unwrap();
    producer.enqueue("x".repeat(700)).await.unwrap();
    let mut second = Box::pin(producer.enqueue("y".repeat(700)));
    fake.arrived(1).await;
    assert!(futures_now(&mut second).is_none(), "there is no room");
    fake.release(1);
    assert_eq!(second.await.unwrap().await.unwrap(), 2);
    // Larger than the buffer: it waits until it has it to itself.
    assert_eq!(producer.send("z".repeat(5000)).await.unwrap(), 3);
}

/// Polls once.
fn futures_now<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match std::pin::Pin::new(future).poll(&mut context) {
        std::task::Poll::Ready(output) => Some(output),
        std::task::Poll::Pending => None,
    }
}

#[tokio::test]
async fn many_senders_at_once_each_get_their_number() {
    let fake = Fake::start([]);
    let producer = Producer::connect(&fake.host(), "t").await.unwrap();
    let senders = (0..500).map(|i| {
        let producer = producer.clone();
        tokio::spawn(async move { (i, producer.send(format!("message {i}")).await.unwrap()) })
    });
    for sender in senders.collect::<Vec<_>>() {
        let (i, number) = sender.await.unwrap();
        assert_eq!(fake.log().stored[number as usize - 1], format!("message {i}"));
    }
}

#[tokio::test]
async fn a_dropped_producer_and_a_dropped_receipt_drop_no_message() {
    let fake = Fake::start([Step::AcceptWhenReleased]);
    let producer = Producer::connect(&fake.host(), "t").await.unwrap();
    drop(producer.enqueue("a").await.unwrap());
    let receipt = producer.enqueue("b").await.unwrap();
    drop(producer);
    fake.release(1);
    assert_eq!(receipt.await.unwrap(), 2);
    assert_eq!(fake.log().stored, ["a", "b"]);
}

#[tokio::test]
async fn close_flushes_and_closes_all_clones() {
    let fake = Fake::start([]);
    let producer = Producer::connect(&fake.host(), "t").await.unwrap();
    let clone = producer.clone();
    for i in 0..10 {
        producer.enqueue(i.to_string()).await.unwrap();
    }
    producer.close().await.unwrap();
    assert_eq!(fake.log().stored.len(), 10);
    assert!(matches!(clone.send("late").await, Err(SendError::Closed)));
}

#[tokio::test]
async fn closing_an_unused_producer_returns_at_once() {
    let fake = Fake::start([]);
    Producer::connect(&fake.host(), "t").await.unwrap().close().await.unwrap();
}

#[tokio::test]
async fn a_message_carries_key_headers_and_time_and_null_is_not_empty() {
    let fake = Fake::start([]);
    let producer = Producer::connect(&fake.host(), "t").await.unwrap();
    let message = Message::new("value").key("key").header("name", b"\0").timestamp_ms(7);
    assert_eq!(producer.send(message).await.unwrap(), 1);
    assert_eq!(producer.send(Message::null()).await.unwrap(), 2);
    let before = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64;
    assert_eq!(producer.send("").await.unwrap(), 3);
    let records = fake.log().records;
    assert_eq!(records[0].key.as_deref(), Some(&b"key"[..]));
    assert_eq!(records[0].value.as_deref(), Some(&b"value"[..]));
    assert_eq!(records[0].headers[0].name, "name");
    assert_eq!(records[0].headers[0].value.as_deref(), Some(&b"\0"[..]));
    assert_eq!(records[0].timestamp, 7);
    assert_eq!((&records[1].key, &records[1].value), (&None, &None));
    assert_eq!(records[2].value.as_deref(), Some(&b""[..]));
    assert!((before..before + 60_000).contains(&records[2].timestamp), "the time of enqueueing");
}

#[tokio::test]
async fn an_unreachable_server_and_a_wrong_address_show_at_once() {
    let addr = Fake::start([]).kill();
    let error = Producer::connect(&addr.to_string(), "t").await.unwrap_err();
    assert!(matches!(error, ConnectError::Unreachable { .. }) && error.is_retryable());
    assert!(error.to_string().contains(&addr.to_string()), "{error}");
    assert!(error.to_string().contains("refused"), "{error}");
    let error = Producer::connect("nonsense", "t").await.unwrap_err();
    assert!(matches!(error, ConnectError::Address(_)) && !error.is_retryable());
}

#[tokio::test]
async fn a_message_that_no_server_takes_is_refused_at_once() {
    let fake = Fake::start([]);
    let builder = Producer::builder(&fake.host(), "t").timeout(Duration::from_secs(60));
    let producer = builder.connect().await.unwrap();
    let error = producer.send(vec![0; 64 << 20]).await.unwrap_err();
    assert!(matches!(error, SendError::TooLarge { .. }), "{error}");
    // The largest that is not refused here arrives.
    assert_eq!(producer.send(vec![b'x'; (64 << 20) - 8192]).await.unwrap(), 1);
}
