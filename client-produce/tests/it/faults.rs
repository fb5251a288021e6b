//! What a producer does when something goes wrong. When replies are lost: see `exactly_once`.

use std::time::Duration;

use minikafka_client_produce::{Producer, SendError};
use minikafka_proto::v1::RequestError;

use crate::fake::{Fake, Step, too_large};

/// A delivery timeout that is waited for: short, but long beside a reply on a busy machine.
const SHORT: Duration = Duration::from_secs(2);

fn busy(retry_after_ms: u64) -> Step {
    Step::Refuse(RequestError {
        code: tonic::Code::ResourceExhausted as i32,
        reason: "DISK_FULL".into(),
        message: "disk full on command".into(),
        retry_after_ms: Some(retry_after_ms),
        ..Default::default()
    })
}

#[tokio::test]
async fn a_refused_message_fails_and_later_ones_go_on() {
    let fake = Fake::start([Step::Refuse(too_large())]);
    let producer = Producer::connect(&fake.host(), "t").await.unwrap();
    let error = producer.send("bad").await.unwrap_err();
    let SendError::Refused(refusal) = &error else { panic!("{error}") };
    assert_eq!(refusal.reason, "MESSAGE_TOO_LARGE");
    assert_eq!(refusal.message, "too large on command");
    assert!(!error.is_retryable());
    assert_eq!(producer.send("good").await.unwrap(), 1);
    let failure = producer.flush().await.unwrap_err();
    assert_eq!(failure.position, 0);
    producer.flush().await.expect("a failure is reported once");
}

#[tokio::test]
async fn a_batch_that_is_too_large_is_sent_in_halves() {
    let script = [Step::AcceptWhenReleased].into_iter();
    let fake = Fake::start(script.chain(std::iter::repeat_n(Step::RefuseAsTooLargeUnlessSingle, 100)));
    let producer = Producer::builder(&fake.host(), "t").in_flight_max(1).connect().await.unwrap();
    producer.enqueue("0").await.unwrap();
    fake.arrived(1).await;
    let mut receipts = Vec::new();
    for i in 1..=7 {
        receipts.push(producer.enqueue(i.to_string()).await.unwrap());
    }
    fake.release(1);
    for (receipt, number) in receipts.into_iter().zip(2..) {
        assert_eq!(receipt.await.unwrap(), number);
    }
    assert_eq!(fake.log().stored, ["0", "1", "2", "3", "4", "5", "6", "7"]);
}

#[tokio::test]
async fn a_message_that_ends_the_stream_is_refused_and_all_others_are_stored() {
    let fake = Fake::start([Step::AcceptWhenReleased, Step::EndAsTooLarge]);
    let builder = Producer::builder(&fake.host(), "t").batch_bytes_max(1).in_flight_max(3);
    let producer = builder.connect().await.unwrap();
    let mut receipts = Vec::new();
    for message in ["a", "too large", "c", "d", "e"] {
        receipts.push(producer.enqueue(message).await.unwrap());
    }
    fake.release(1);
    let mut results = Vec::new();
    for receipt in receipts {
        results.push(receipt.await);
    }
    let error = results.remove(1).unwrap_err();
    let SendError::Refused(refusal) = &error else { panic!("{error}") };
    assert_eq!(refusal.reason, "MESSAGE_TOO_LARGE");
    assert_eq!(refusal.message, "over the limit on command");
    assert_eq!(results.into_iter().map(Result::unwrap).collect::<Vec<_>>(), [1, 2, 3, 4]);
    assert_eq!(fake.log().stored, ["a", "c", "d", "e"]);
    assert_eq!(producer.flush().await.unwrap_err().position, 1);
}

#[tokio::test]
async fn a_batch_that_ends_the_stream_is_sent_in_halves() {
    let script = [Step::AcceptWhenReleased].into_iter();
    let fake = Fake::start(script.chain(std::iter::repeat_n(Step::EndAsTooLargeUnlessSingle, 100)));
    let producer = Producer::builder(&fake.host(), "t").in_flight_max(1).connect().await.unwrap();
    producer.enqueue("0").await.unwrap();
    fake.arrived(1).await;
    for i in 1..=7 {
        producer.enqueue(i.to_string()).await.unwrap();
    }
    fake.release(1);
    producer.close().await.unwrap();
    assert_eq!(fake.log().stored, ["0", "1", "2", "3", "4", "5", "6", "7"]);
}

#[tokio::test]
async fn a_server_that_fails_inside_leaves_the_outcome_unknown() {
    let code = tonic::Code::Internal as i32;
    let error = RequestError { code, message: "the disk is gone".into(), ..Default::default() };
    let fake = Fake::start([Step::Refuse(error)]);
    let producer = Producer::builder(&fake.host(), "t").idempotent(false).connect().await.unwrap();
    let error = producer.send("a").await.unwrap_err();
    assert!(matches!(error, SendError::OutcomeUnknown { .. }), "{error}");
    assert!(error.to_string().contains("the disk is gone"), "{error}");
    assert_eq!(producer.send("b").await.unwrap(), 1);
}

#[tokio::test]
async fn a_server_that_asks_to_come_back_is_asked_again() {
    let fake = Fake::start([busy(20), busy(20)]);
    let producer = Producer::builder(&fake.host(), "t").in_flight_max(1).connect().await.unwrap();
    for message in ["a", "b", "c"] {
        producer.enqueue(message).await.unwrap();
    }
    producer.flush().await.unwrap();
    assert_eq!(fake.log().stored, ["a", "b", "c"]);
}

#[tokio::test]
async fn a_server_that_stays_busy_fails_the_message_in_time() {
    // The pause is longer than the timeout: it is over while the message waits, not while a reply is under
    // way.
    let fake = Fake::start([busy(60_000)]);
    let builder = Producer::builder(&fake.host(), "t").timeout(SHORT);
    let producer = builder.connect().await.unwrap();
    let error = producer.send("a").await.unwrap_err();
    assert!(matches!(error, SendError::Busy { .. }) && error.is_retryable(), "{error}");
    let expected = "refused for 2 s: disk full on command (DISK_FULL)";
    assert_eq!(error.to_string(), expected);
    assert!(fake.log().stored.is_empty());
}

#[tokio::test]
async fn a_graceful_end_loses_and_doubles_nothing() {
    let fake = Fake::start([Step::Accept, Step::EndWithOk, Step::Accept, Step::EndWithOk]);
    let producer = Producer::builder(&fake.host(), "t").batch_bytes_max(1).connect().await.unwrap();
    let values: Vec<String> = (0..50).map(|i| i.to_string()).collect();
    for value in &values {
        producer.enqueue(value.as_str()).await.unwrap();
    }
    producer.close().await.unwrap();
    assert_eq!(fake.log().stored, values);
}

#[tokio::test]
async fn a_broken_stream_leaves_the_outcome_unknown_and_is_not_sent_again() {
    let fake = Fake::start([Step::Accept, Step::BreakAfterStoring]);
    let builder = Producer::builder(&fake.host(), "t").batch_bytes_max(1).in_flight_max(2);
    let producer = builder.idempotent(false).connect().await.unwrap();
    let mut receipts = Vec::new();
    for i in 0..20 {
        receipts.push(producer.enqueue(i.to_string()).await.unwrap());
    }
    let mut results = Vec::new();
    for receipt in receipts {
        results.push(receipt.await);
    }
    assert!(results[0].is_ok());
    let error = results[1].as_ref().unwrap_err();
    assert!(matches!(error, SendError::OutcomeUnknown { .. }) && !error.is_retryable(), "{error}");
    assert!(error.to_string().contains("broken on command"), "{error}");
    // At most one more was under way; all others were not written yet and went out on the next stream.
    let unknown = results.iter().filter(|result| result.is_err()).count();
    assert!(unknown <= 2, "{results:?}");
    assert!(results[3..].iter().all(Result::is_ok), "{results:?}");
    let stored = fake.log().stored;
    assert_eq!(stored.iter().filter(|value| *value == "1").count(), 1, "stored once, though without reply");
    let failure = producer.failure().unwrap();
    assert_eq!(failure.position, 1);
    assert_eq!(producer.flush().await.unwrap_err().position, 1);
}

#[tokio::test]
async fn a_server_that_lost_its_memory_leaves_the_outcome_unknown_and_gets_the_rest() {
    let fake = Fake::start([Step::Accept, Step::AcceptWhenReleased]);
    let producer = Producer::builder(&fake.host(), "t").in_flight_max(1).connect().await.unwrap();
    producer.send("a").await.unwrap();
    let under_way = producer.enqueue("b").await.unwrap();
    fake.arrived(2).await;
    let waiting = producer.enqueue("c").await.unwrap();
    let fake = Fake::start_at(fake.kill(), []);
    assert!(matches!(under_way.await, Err(SendError::OutcomeUnknown { .. })));
    assert_eq!(waiting.await.unwrap(), 1);
    assert_eq!(fake.log().stored, ["c"]);
}

#[tokio::test]
async fn no_reply_in_time_leaves_the_outcome_unknown_and_what_waits_is_not_sent() {
    let fake = Fake::start([Step::AcceptWhenReleased]);
    let builder = Producer::builder(&fake.host(), "t").in_flight_max(1).timeout(SHORT);
    let producer = builder.connect().await.unwrap();
    let under_way = producer.enqueue("a").await.unwrap();
    fake.arrived(1).await;
    let waiting = producer.enqueue("b").await.unwrap();
    assert!(matches!(under_way.await, Err(SendError::OutcomeUnknown { .. })));
    assert!(matches!(waiting.await, Err(SendError::Timeout { .. })));
    // The reply that comes too late frees its place; the producer goes on.
    fake.release(1);
    assert_eq!(producer.send("c").await.unwrap(), 2);
}

#[tokio::test]
async fn a_server_that_stays_away_fails_the_message_in_time() {
    let fake = Fake::start([]);
    let builder = Producer::builder(&fake.host(), "t").timeout(SHORT);
    let producer = builder.connect().await.unwrap();
    producer.send("a").await.unwrap();
    let addr = fake.kill();
    // The first one may still be written into the dying connection.
    let _ = producer.send("b").await.unwrap_err();
    let error = producer.send("c").await.unwrap_err();
    assert!(matches!(error, SendError::Unreachable { .. }) && error.is_retryable(), "{error}");
    let _fake = Fake::start_at(addr, []);
    // The pause before the next attempt to connect may be longer than the timeout.
    let number = loop {
        match producer.send("d").await {
            Ok(number) => break number,
            Err(error) => assert!(error.is_retryable(), "{error}"),
        }
    };
    assert_eq!(number, 1);
}

#[tokio::test]
async fn a_server_without_the_service_refuses() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let incoming = tokio_stream::wrappers::TcpListenerStream::new(listener);
    let routes = tonic::service::Routes::builder().routes();
    tokio::spawn(tonic::transport::Server::builder().add_routes(routes).serve_with_incoming(incoming));
    let producer = Producer::connect(&addr.to_string(), "t").await.unwrap();
    let error = producer.send("a").await.unwrap_err();
    assert!(
        matches!(&error, SendError::Refused(refusal) if refusal.code == tonic::Code::Unimplemented),
        "{error}"
    );
}
