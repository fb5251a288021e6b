//! What a consumer does when all is well.

use std::time::Duration;

use minikafka_client_consume::{ConsumeError, Consumer, Message, MissingTopic, Position};
use minikafka_proto::v1::{Anchor, position::At};
use tokio_stream::StreamExt as _;

use crate::fake::{Fake, Script, Then, reply};

/// Longer than any test takes.
pub(crate) const LONG: Duration = Duration::from_secs(60);
/// For what does not come.
pub(crate) const SHORT: Duration = Duration::from_millis(20);

pub(crate) fn numbers(messages: &[Message]) -> Vec<u64> {
    messages.iter().map(|message| message.number).collect()
}

#[tokio::test]
async fn polls_messages_and_advances_over_what_it_returns() {
    let replies = vec![reply([1..=2, 3..=3], 1..4), reply([4..=4], 1..5)];
    let fake = Fake::start([Script { replies, then: Then::Hang }]);
    let mut consumer = Consumer::subscribe(&fake.host(), "t").await.unwrap();
    assert_eq!(consumer.position("t", 0), Some(1), "confirmed, not advanced");
    assert_eq!(consumer.range("t", 0), Some(1..4));
    let messages = consumer.poll(LONG).await.unwrap();
    assert_eq!(numbers(&messages), [1, 2, 3]);
    assert_eq!(messages[1].value.as_deref(), Some(&b"message 2"[..]));
    assert_eq!((messages[1].timestamp_ms, &messages[1].key), (2, &None));
    assert_eq!(consumer.position("t", 0), Some(4));
    assert_eq!(numbers(&consumer.poll(LONG).await.unwrap()), [4]);
    assert_eq!(consumer.range("t", 0), Some(1..5));
    assert!(consumer.poll(SHORT).await.unwrap().is_empty());
    assert_eq!(consumer.position("t", 0), Some(5));
    assert_eq!(fake.wanted(), [At::Anchor(Anchor::Earliest.into())]);
}

#[tokio::test]
async fn a_poll_of_zero_gets_on_too() {
    let fake = Fake::start([Script { replies: vec![reply([1..=1], 1..2)], then: Then::Hang }]);
    let builder = Consumer::builder(&fake.host(), "t").missing_topic(MissingTopic::Wait);
    let mut consumer = builder.subscribe().await.unwrap();
    loop {
        let messages = consumer.poll(Duration::ZERO).await.unwrap();
        if !messages.is_empty() {
            assert_eq!(numbers(&messages), [1]);
            break;
        }
        tokio::task::yield_now().await;
    }
    assert_eq!(fake.requests().len(), 1, "a poll that is over leaves the subscription alone");
}

#[tokio::test]
async fn what_lies_below_the_position_is_dropped() {
    let replies = vec![reply([1..=3, 4..=8], 1..9)];
    let fake = Fake::start([Script { replies, then: Then::Hang }]);
    let builder = Consumer::builder(&fake.host(), "t").from(Position::Number(6));
    let mut consumer = builder.subscribe().await.unwrap();
    assert_eq!(numbers(&consumer.poll(LONG).await.unwrap()), [6, 7, 8]);
    assert_eq!(consumer.take_jump(), None);
    assert_eq!(fake.wanted(), [At::Number(6)]);
}

#[tokio::test]
async fn the_log_start_may_lie_inside_a_batch() {
    let fake = Fake::start([Script { replies: vec![reply([1..=5], 4..6)], then: Then::Hang }]);
    let mut consumer = Consumer::subscribe(&fake.host(), "t").await.unwrap();
    assert_eq!(consumer.position("t", 0), Some(4));
    assert_eq!(numbers(&consumer.poll(LONG).await.unwrap()), [4, 5]);
}

#[tokio::test]
async fn the_first_reply_may_come_without_messages() {
    let replies = vec![reply([], 1..8), reply([8..=8], 1..9)];
    let fake = Fake::start([Script { replies, then: Then::Hang }]);
    let builder = Consumer::builder(&fake.host(), "t").from(Position::Latest);
    let mut consumer = builder.subscribe().await.unwrap();
    assert_eq!(consumer.position("t", 0), Some(8));
    assert_eq!(numbers(&consumer.poll(LONG).await.unwrap()), [8]);
    assert_eq!(fake.wanted(), [At::Number(8)], "the end as it was, whenever the server begins to read");
}

#[tokio::test]
async fn a_time_starts_at_its_first_message() {
    let fake = Fake::start([Script { replies: vec![reply([1..=5], 1..6)], then: Then::Hang }]);
    let builder = Consumer::builder(&fake.host(), "t").from(Position::Timestamp(3));
    let mut consumer = builder.subscribe().await.unwrap();
    assert_eq!(consumer.position("t", 0), Some(3));
    assert_eq!(numbers(&consumer.poll(LONG).await.unwrap()), [3, 4, 5]);
    assert_eq!(fake.wanted(), [At::TimestampMs(3)]);
}

#[tokio::test]
async fn seek_goes_there() {
    let fake = Fake::start([
        Script { replies: vec![reply([1..=5], 1..6)], then: Then::Hang },
        Script { replies: vec![reply([1..=5], 1..6)], then: Then::Hang },
    ]);
    let mut consumer = Consumer::subscribe(&fake.host(), "t").await.unwrap();
    consumer.seek("t", 0, Position::Number(4)).unwrap();
    assert_eq!(consumer.position("t", 0), Some(4));
    assert_eq!(numbers(&consumer.poll(LONG).await.unwrap()), [4, 5]);
    assert_eq!(fake.wanted()[1], At::Number(4));
}

#[tokio::test]
async fn a_stream_advances_message_by_message() {
    let replies = vec![reply([1..=3], 1..4)];
    let fake = Fake::start([Script { replies, then: Then::Hang }]);
    let mut consumer = Consumer::subscribe(&fake.host(), "t").await.unwrap();
    let mut stream = consumer.stream();
    assert_eq!(stream.next().await.unwrap().unwrap().number, 1);
    assert_eq!(consumer.position("t", 0), Some(2));
    assert_eq!(numbers(&consumer.poll(LONG).await.unwrap()), [2, 3], "the stream took only what it yielded");

    let stream = consumer.into_stream();
    assert_eq!(stream.into_consumer().position("t", 0), Some(4));
}

#[tokio::test]
async fn the_options_reach_the_server() {
    let fake = Fake::start([Script { replies: vec![], then: Then::Hang }]);
    let builder = Consumer::builder(&fake.host(), "topic")
        .partition(3)
        .max_bytes(77)
        .reset_policy(minikafka_client_consume::ResetPolicy::Latest);
    let subscribing = tokio::spawn(builder.subscribe());
    let request = loop {
        match fake.requests().pop() {
            Some(request) => break request,
            None => tokio::task::yield_now().await,
        }
    };
    subscribing.abort();
    use minikafka_proto::v1;
    assert_eq!((request.max_bytes, request.encoding()), (77, v1::Encoding::RecordBatches));
    let partition = &request.add[0];
    assert_eq!((partition.topic.as_str(), partition.partition), ("topic", 3));
    assert_eq!(partition.reset_policy(), v1::ResetPolicy::Latest);
}

#[tokio::test]
async fn an_unreachable_server_and_a_wrong_address_show_at_once() {
    let addr = Fake::start([]).kill();
    let error = Consumer::subscribe(&addr.to_string(), "t").await.unwrap_err();
    assert!(matches!(error, ConsumeError::Unreachable { .. }) && error.is_retryable());
    assert!(error.to_string().contains(&addr.to_string()), "{error}");
    let error = Consumer::subscribe("nonsense", "t").await.unwrap_err();
    assert!(matches!(error, ConsumeError::Address(_)) && !error.is_retryable());
}

#[tokio::test]
async fn a_server_that_says_nothing_is_given_up() {
    let fake = Fake::start([]);
    let error = Consumer::builder(&fake.host(), "t").timeout(SHORT).subscribe().await.unwrap_err();
    assert!(matches!(error, ConsumeError::Unreachable { .. }), "{error}");
    assert!(error.to_string().contains("does not answer"), "{error}");
}
