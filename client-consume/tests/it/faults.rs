//! What a consumer does when something goes wrong.

use minikafka_client_consume::{
    ConsumeError, Consumer, Jump, MissingTopic, Position, ResetPolicy, TopicPartition,
};
use minikafka_proto::v1::{ReadResponse, position::At};
use tokio_stream::StreamExt as _;
use tonic::{Code, Status};

use crate::{
    fake::{Fake, Script, Then, batch, refusal, reply},
    reading::{LONG, SHORT, numbers},
};

fn script(replies: Vec<ReadResponse>, then: Then) -> Script {
    Script { replies, then }
}

#[tokio::test]
async fn a_stream_that_ends_or_breaks_is_opened_again_at_the_position() {
    let fake = Fake::start([
        script(vec![reply([1..=2], 1..3)], Then::End),
        script(vec![reply([1..=2, 3..=3], 1..4)], Then::Fail(Status::internal("broken on command"))),
        script(vec![], Then::Fail(refusal(Code::Unavailable, "STOPPING", &[]))),
        script(vec![reply([4..=4], 1..5)], Then::Hang),
    ]);
    let mut consumer = Consumer::subscribe(&fake.host(), "t").await.unwrap();
    for expected in [&[1, 2][..], &[3], &[4]] {
        assert_eq!(numbers(&consumer.poll(LONG).await.unwrap()), expected);
    }
    assert_eq!(fake.wanted()[1..], [At::Number(3), At::Number(4), At::Number(4)]);
}

#[tokio::test]
async fn a_killed_server_is_found_again() {
    let fake = Fake::start([script(vec![reply([1..=2], 1..3)], Then::Hang)]);
    let mut consumer = Consumer::subscribe(&fake.host(), "t").await.unwrap();
    consumer.poll(LONG).await.unwrap();
    let addr = fake.kill();
    // A poll that is over before an attempt to connect has failed returns nothing.
    let error = loop {
        if let Err(error) = consumer.poll(SHORT).await {
            break error;
        }
    };
    assert!(matches!(error, ConsumeError::Unreachable { .. }) && error.is_retryable(), "{error}");
    assert_eq!(consumer.position("t", 0), Some(3));
    let fake = Fake::start_at(addr, [script(vec![reply([3..=3], 1..4)], Then::Hang)]);
    assert_eq!(numbers(&consumer.poll(LONG).await.unwrap()), [3]);
    assert_eq!(fake.wanted(), [At::Number(3)]);
}

#[tokio::test]
async fn a_missing_topic_fails_or_is_waited_for() {
    let fake = Fake::start([]);
    fake.set_partitions(0);
    let error = Consumer::subscribe(&fake.host(), "t").await.unwrap_err();
    assert!(matches!(error, ConsumeError::NotFound { .. }) && !error.is_retryable(), "{error}");

    // Waiting happens in the server: the stream is silent.
    let builder = Consumer::builder(&fake.host(), "t").missing_topic(MissingTopic::Wait);
    let mut consumer = builder.subscribe().await.unwrap();
    assert!(consumer.poll(SHORT).await.unwrap().is_empty());
}

#[tokio::test]
async fn out_of_range_names_the_range_and_leaves_the_position() {
    let out_of_range = Then::Refuse(Code::OutOfRange, "NUMBER_OUT_OF_RANGE", &[("start", 5), ("end", 9)]);
    let fake = Fake::start([
        script(vec![reply([1..=1], 1..9)], out_of_range.clone()),
        script(vec![], out_of_range),
        script(vec![reply([5..=8], 5..9)], Then::Hang),
    ]);
    let mut consumer = Consumer::subscribe(&fake.host(), "t").await.unwrap();
    consumer.poll(LONG).await.unwrap();
    for _ in 0..2 {
        let error = consumer.poll(LONG).await.unwrap_err();
        assert!(matches!(error, ConsumeError::OutOfRange { start: 5, end: 9, .. }), "{error}");
        assert_eq!(consumer.position("t", 0), Some(2));
    }
    consumer.seek("t", 0, Position::Number(5)).unwrap();
    assert_eq!(numbers(&consumer.poll(LONG).await.unwrap()), [5, 6, 7, 8]);
}

#[tokio::test]
async fn the_policy_earliest_goes_on_and_tells() {
    let fake = Fake::start([script(
        vec![reply([1..=2], 1..3), reply([7..=8], 6..9), reply([12..=12], 10..13)],
        Then::Hang,
    )]);
    let builder = Consumer::builder(&fake.host(), "t").reset_policy(ResetPolicy::Earliest);
    let mut consumer = builder.subscribe().await.unwrap();
    assert_eq!(numbers(&consumer.poll(LONG).await.unwrap()), [1, 2]);
    assert_eq!(consumer.take_jump(), None);
    assert_eq!(numbers(&consumer.poll(LONG).await.unwrap()), [7, 8]);
    assert_eq!(consumer.take_jump(), Some(Jump { of: TopicPartition::new("t", 0), from: 3, to: 7 }));
    assert_eq!(consumer.take_jump(), None);
    assert_eq!(numbers(&consumer.poll(LONG).await.unwrap()), [12]);
    assert_eq!(consumer.take_jump(), Some(Jump { of: TopicPartition::new("t", 0), from: 9, to: 12 }));
}

#[tokio::test]
async fn a_topic_that_began_anew_is_read_from_its_start() {
    for first in [vec![reply([], 1..1), reply([1..=2], 1..3)], vec![reply([1..=2], 1..3)]] {
        let fake = Fake::start([script(first, Then::Hang)]);
        let builder = Consumer::builder(&fake.host(), "t").from(Position::Number(1000));
        let mut consumer = builder.reset_policy(ResetPolicy::Earliest).subscribe().await.unwrap();
        assert_eq!(numbers(&consumer.poll(LONG).await.unwrap()), [1, 2]);
        assert_eq!(consumer.take_jump(), Some(Jump { of: TopicPartition::new("t", 0), from: 1000, to: 1 }));
        assert_eq!(consumer.position("t", 0), Some(3));
    }
}

#[tokio::test]
async fn bytes_that_changed_on_the_way_are_not_delivered() {
    let mut damaged = reply([3..=4], 1..5);
    let mut bytes = batch(3..=4).to_vec();
    *bytes.last_mut().unwrap() ^= 1;
    damaged.record_batches = vec![bytes.into()];
    let good = || reply([1..=2], 1..5);
    let fake = Fake::start([
        script(vec![good(), damaged], Then::Hang),
        script(vec![reply([3..=4], 1..5)], Then::Hang),
    ]);
    let mut consumer = Consumer::subscribe(&fake.host(), "t").await.unwrap();
    consumer.poll(LONG).await.unwrap();
    let error = consumer.poll(LONG).await.unwrap_err();
    assert!(matches!(error, ConsumeError::Corrupt { number: 3, .. }) && error.is_retryable(), "{error}");
    assert_eq!(consumer.position("t", 0), Some(3));
    assert_eq!(numbers(&consumer.poll(LONG).await.unwrap()), [3, 4]);
    assert_eq!(fake.wanted()[1], At::Number(3));
}

#[tokio::test]
async fn a_refused_request_is_not_tried_again() {
    let fake =
        Fake::start([script(vec![], Then::Fail(refusal(Code::InvalidArgument, "INVALID_TOPIC_NAME", &[])))]);
    let error = Consumer::subscribe(&fake.host(), "../t").await.unwrap_err();
    let ConsumeError::Refused { code, reason, .. } = &error else { panic!("{error}") };
    assert_eq!((*code, reason.as_str()), (Code::InvalidArgument, "INVALID_TOPIC_NAME"));
    assert_eq!(fake.requests().len(), 1);
}

#[tokio::test]
async fn a_stream_outlives_the_server_and_ends_with_what_does_not_heal() {
    let fake = Fake::start([
        script(vec![reply([1..=1], 1..2)], Then::Fail(Status::unavailable("broken on command"))),
        script(vec![reply([2..=2], 1..3)], Then::Refuse(Code::NotFound, "TOPIC_NOT_FOUND", &[])),
    ]);
    let mut stream = Consumer::subscribe(&fake.host(), "t").await.unwrap().into_stream();
    assert_eq!(stream.next().await.unwrap().unwrap().number, 1);
    assert_eq!(stream.next().await.unwrap().unwrap().number, 2);
    assert!(matches!(stream.next().await, Some(Err(ConsumeError::NotFound { .. }))));
    assert!(stream.next().await.is_none());
    assert_eq!(stream.into_consumer().position("t", 0), Some(3));
}

#[tokio::test]
async fn damage_names_what_is_lost() {
    let damaged = Then::Refuse(Code::DataLoss, "DAMAGED", &[("from", 3), ("next", 9)]);
    let fake = Fake::start([script(vec![], damaged)]);
    let error = Consumer::subscribe(&fake.host(), "t").await.unwrap_err();
    assert!(matches!(error, ConsumeError::Damaged { from: 3, next: 9, .. }), "{error}");
}
