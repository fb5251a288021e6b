//! What is sent again is stored once, and in order.

use std::time::Duration;

use minikafka_client_produce::{Producer, ProducerBuilder, Receipt, SendError};
use minikafka_proto::v1::RequestError;
use tonic::Code;

use crate::fake::{Fake, Step, error, too_large};

/// A producer that sends message by message.
fn one_by_one(fake: &Fake) -> ProducerBuilder {
    Producer::builder(&fake.host(), "t").batch_bytes_max(1)
}

async fn enqueue(producer: &Producer, messages: std::ops::Range<u32>) -> Vec<Receipt> {
    let mut receipts = Vec::new();
    for message in messages {
        receipts.push(producer.enqueue(message.to_string()).await.unwrap());
    }
    receipts
}

fn texts(messages: impl IntoIterator<Item = u32>) -> Vec<String> {
    messages.into_iter().map(|message| message.to_string()).collect()
}

fn refuse(code: Code, reason: &str) -> Step {
    Step::Refuse(error(code, reason))
}

#[tokio::test]
async fn a_lost_reply_leads_to_the_same_batch_again_and_the_number_that_it_has() {
    let script = [Step::Accept, Step::BreakAfterStoring, Step::Accept, Step::BreakAfterStoring];
    let fake = Fake::start(script);
    let producer = one_by_one(&fake).connect().await.unwrap();
    assert!(producer.is_idempotent());
    let receipts = enqueue(&producer, 0..20).await;
    for (receipt, number) in receipts.into_iter().zip(1..) {
        assert_eq!(receipt.await.unwrap(), number);
    }
    producer.close().await.unwrap();
    assert_eq!(fake.log().stored, texts(0..20));
}

#[tokio::test]
async fn a_killed_server_that_comes_back_gets_everything_once() {
    let fake = Fake::start([Step::Accept, Step::Accept, Step::AcceptWhenReleased]);
    let producer = one_by_one(&fake).connect().await.unwrap();
    let receipts = enqueue(&producer, 0..10).await;
    fake.arrived(3).await;
    let stored_before = fake.log().stored;
    assert_eq!(stored_before, texts(0..2));
    let fake = Fake::again(fake.kill_and_remember(), []);
    for (receipt, number) in receipts.into_iter().zip(1..) {
        assert_eq!(receipt.await.unwrap(), number);
    }
    assert_eq!(fake.log().stored, texts(2..10));
}

#[tokio::test]
async fn a_message_that_is_refused_leaves_no_hole() {
    let fake = Fake::start([
        Step::Accept,
        refuse(Code::InvalidArgument, "INVALID_BATCH"),
        Step::Accept,
        Step::Accept,
    ]);
    let producer = one_by_one(&fake).connect().await.unwrap();
    let receipts = enqueue(&producer, 0..20).await;
    for (message, receipt) in (0..).zip(receipts) {
        match receipt.await {
            Ok(number) => assert_eq!(number, if message == 0 { 1 } else { message }),
            Err(SendError::Refused(_)) => assert_eq!(message, 1),
            Err(error) => panic!("{message}: {error}"),
        }
    }
    let log = fake.log();
    assert_eq!(log.stored, texts((0..20).filter(|message| *message != 1)));
    assert_eq!(log.epochs[0], 0);
    assert!(log.epochs[1..].iter().all(|epoch| *epoch == 1), "sequences begin again: {:?}", log.epochs);
}

#[tokio::test]
async fn a_batch_that_is_split_keeps_its_sequences_and_the_order() {
    let fake = Fake::start([Step::AcceptWhenReleased, Step::Refuse(too_large())]);
    let producer = Producer::builder(&fake.host(), "t").in_flight_max(1).connect().await.unwrap();
    enqueue(&producer, 0..1).await;
    fake.arrived(1).await;
    enqueue(&producer, 1..8).await;
    fake.release(1);
    producer.flush().await.unwrap();
    let log = fake.log();
    assert_eq!(log.stored, texts(0..8));
    assert!(log.epochs.iter().all(|epoch| *epoch == 0), "no sequence is missing: {:?}", log.epochs);
}

#[tokio::test]
async fn a_batch_that_may_be_stored_is_not_split() {
    let fake = Fake::start([Step::AcceptWhenReleased, Step::BreakAfterStoring, Step::Refuse(too_large())]);
    let producer = Producer::builder(&fake.host(), "t").in_flight_max(1).connect().await.unwrap();
    enqueue(&producer, 0..1).await;
    fake.arrived(1).await;
    let doubtful = enqueue(&producer, 1..8).await;
    fake.release(1);
    for receipt in doubtful {
        let error = receipt.await.unwrap_err();
        assert!(matches!(error, SendError::OutcomeUnknown { .. }), "{error}");
    }
    assert_eq!(producer.send("8").await.unwrap(), 9);
    assert_eq!(fake.log().stored, texts(0..9), "each is there once");
}

#[tokio::test]
async fn nothing_is_sent_again_when_the_server_may_have_forgotten_it() {
    let failing = std::iter::repeat_n(refuse(Code::Internal, "STORAGE_FAILED"), 1000);
    let fake = Fake::start(failing);
    fake.set_expiry(Duration::from_millis(1200));
    let producer = one_by_one(&fake).timeout(Duration::from_secs(3600)).connect().await.unwrap();
    let sent = tokio::time::timeout(Duration::from_secs(60), producer.send("a")).await;
    let error = sent.expect("not after an hour").unwrap_err();
    assert!(matches!(error, SendError::OutcomeUnknown { .. }), "{error}");
}

#[tokio::test]
async fn what_comes_back_later_stays_in_order_with_what_was_behind_it() {
    let busy = |ms| {
        let refused = error(Code::ResourceExhausted, "DISK_FULL");
        Step::Refuse(RequestError { retry_after_ms: Some(ms), ..refused })
    };
    // The very first one, and one in the middle.
    let fake = Fake::start([busy(10), Step::Accept, Step::Accept, Step::Accept, busy(10)]);
    let producer = one_by_one(&fake).connect().await.unwrap();
    enqueue(&producer, 0..30).await;
    producer.flush().await.unwrap();
    let log = fake.log();
    assert_eq!(log.stored, texts(0..30));
    assert!(log.epochs.iter().all(|epoch| *epoch == 0), "{:?}", log.epochs);
}

#[tokio::test]
async fn a_server_that_fails_inside_is_asked_again() {
    let fake = Fake::start([Step::Accept, refuse(Code::Internal, "STORAGE_FAILED")]);
    let producer = one_by_one(&fake).connect().await.unwrap();
    enqueue(&producer, 0..10).await;
    producer.flush().await.unwrap();
    assert_eq!(fake.log().stored, texts(0..10));
}

#[tokio::test]
async fn a_server_that_goes_on_failing_leaves_the_outcome_unknown_in_time() {
    let failing = std::iter::repeat_n(refuse(Code::Internal, "STORAGE_FAILED"), 1000);
    let fake = Fake::start(failing);
    let producer = one_by_one(&fake).timeout(Duration::from_millis(1200)).connect().await.unwrap();
    let error = producer.send("a").await.unwrap_err();
    assert!(matches!(error, SendError::OutcomeUnknown { .. }), "{error}");
    assert!(error.to_string().contains("STORAGE_FAILED"), "{error}");
}

#[tokio::test]
async fn a_server_that_forgot_the_producer_is_gone_on_with() {
    for reason in ["UNKNOWN_PRODUCER", "OUT_OF_SEQUENCE"] {
        let fake = Fake::start([Step::Accept, refuse(Code::FailedPrecondition, reason)]);
        let producer = one_by_one(&fake).connect().await.unwrap();
        producer.send("0").await.unwrap();
        enqueue(&producer, 1..10).await;
        producer.flush().await.unwrap();
        let log = fake.log();
        assert_eq!(log.stored, texts(0..10));
        assert_eq!((log.epochs[0], log.epochs[9]), (0, 1), "{reason}");
    }
}

#[tokio::test]
async fn a_batch_whose_time_is_over_leaves_no_hole() {
    let fake = Fake::start([Step::Accept, Step::AcceptWhenReleased]);
    let builder = one_by_one(&fake).timeout(Duration::from_millis(700));
    let producer = builder.connect().await.unwrap();
    producer.send("0").await.unwrap();
    let late = enqueue(&producer, 1..4).await;
    for receipt in late {
        let error = receipt.await.unwrap_err();
        assert!(matches!(error, SendError::OutcomeUnknown { .. }), "{error}");
    }
    // They were on their way, and are stored all the same.
    fake.release(1);
    producer.send("4").await.unwrap();
    let log = fake.log();
    assert_eq!(log.stored, texts(0..5));
    assert_eq!(log.epochs, [0, 0, 0, 0, 1], "nobody knew, so it goes on under a new epoch");
}

#[tokio::test]
async fn a_fenced_producer_fails_and_goes_on_under_another_name() {
    let fake = Fake::start([Step::Accept, refuse(Code::FailedPrecondition, "PRODUCER_FENCED")]);
    let producer = one_by_one(&fake).connect().await.unwrap();
    producer.send("0").await.unwrap();
    let error = producer.send("1").await.unwrap_err();
    assert!(matches!(&error, SendError::Refused(refusal) if refusal.reason == "PRODUCER_FENCED"), "{error}");
    assert_eq!(producer.send("2").await.unwrap(), 2);
}

#[tokio::test]
async fn an_old_server_is_used_as_before() {
    let fake = Fake::old([Step::Accept, Step::BreakAfterStoring]);
    let producer = one_by_one(&fake).in_flight_max(1).connect().await.unwrap();
    assert!(!producer.is_idempotent());
    assert_eq!(producer.send("a").await.unwrap(), 1);
    let error = producer.send("b").await.unwrap_err();
    assert!(matches!(error, SendError::OutcomeUnknown { .. }), "{error}");
    assert_eq!(producer.send("c").await.unwrap(), 3);
    assert_eq!(fake.log().epochs, [-1, -1, -1]);
}
