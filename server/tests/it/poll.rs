//! Poll.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use minikafka_proto::v1::{
    Anchor, Encoding, Message, MissingTopic, PollRequest, Position, ResetPolicy, position::At,
};
use minikafka_record::RecordBatch;
use tonic::Code;
use tonic_types::StatusExt;

use crate::support::{
    Fixture, Hands, anchor, batch, list, message, number, numbers, poll, soon, values, why,
};

#[tokio::test]
async fn positions_are_numbers_places_and_times() {
    let fixture = Fixture::memory().await;
    let at = |text: &str, timestamp_ms| Message { timestamp_ms: Some(timestamp_ms), ..message(text) };
    let messages = vec![at("a", 100), at("b", 200), at("c", 300)];
    fixture.v1.clone().produce(list("t", messages)).await.unwrap();
    let time = |timestamp_ms| Some(Position { at: Some(At::TimestampMs(timestamp_ms)) });
    for (from, wanted) in [
        (None, &["a", "b", "c"][..]),
        (Some(Position { at: None }), &["a", "b", "c"]),
        (number(2), &["b", "c"]),
        (number(4), &[]),
        (anchor(Anchor::Earliest), &["a", "b", "c"]),
        (anchor(Anchor::Latest), &[]),
        (time(0), &["a", "b", "c"]),
        (time(200), &["b", "c"]),
        (time(201), &["c"]),
        (time(301), &[]),
    ] {
        let reply = fixture.poll(poll("t", from)).await.unwrap();
        assert_eq!(values(&reply.messages), wanted, "{from:?}");
        assert_eq!((reply.next_number, reply.start_number, reply.end_number), (4, 1, 4), "{from:?}");
    }
    let status = fixture.poll(poll("t", number(0))).await.expect_err("there is no 0");
    assert_eq!(why(&status), (Code::InvalidArgument, "INVALID_REQUEST".to_owned()));
}

#[tokio::test]
async fn out_of_range_is_an_error_or_goes_on_as_the_policy_says() {
    let fixture = Fixture::memory().await;
    fixture.produce("t", &["a", "b"]).await;
    let with =
        |reset_policy: ResetPolicy| PollRequest { reset_policy: reset_policy.into(), ..poll("t", number(9)) };
    for policy in [ResetPolicy::Unspecified, ResetPolicy::Fail] {
        let status = fixture.poll(with(policy)).await.expect_err("out of range");
        assert_eq!(why(&status), (Code::OutOfRange, "NUMBER_OUT_OF_RANGE".to_owned()));
        let metadata = status.get_details_error_info().unwrap().metadata;
        assert_eq!((metadata["start"].as_str(), metadata["end"].as_str()), ("1", "3"));
    }
    let reply = fixture.poll(with(ResetPolicy::Earliest)).await.unwrap();
    assert_eq!(values(&reply.messages), ["a", "b"]);
    let reply = fixture.poll(with(ResetPolicy::Latest)).await.unwrap();
    assert_eq!((reply.messages.len(), reply.next_number), (0, 3));
}

#[tokio::test]
async fn below_the_start_is_out_of_range_too() {
    let hands = Hands::default();
    let fixture = Fixture::with(|config| config.clock = Arc::new(hands.clone())).await;
    fixture.produce("t", &["a", "b"]).await;
    hands.outlive(&fixture).await;
    let status = fixture.poll(poll("t", number(1))).await.expect_err("evicted");
    let metadata = status.get_details_error_info().unwrap().metadata;
    assert_eq!((metadata["start"].as_str(), metadata["end"].as_str()), ("3", "3"));
    assert_eq!(fixture.produce("t", &["c"]).await.first_number, 3);
    let earliest = PollRequest { reset_policy: ResetPolicy::Earliest.into(), ..poll("t", number(1)) };
    let reply = fixture.poll(earliest).await.unwrap();
    assert_eq!((values(&reply.messages), reply.start_number), (vec!["c"], 3));
}

#[tokio::test]
async fn the_list_is_cut_to_size_and_exact() {
    let fixture = Fixture::memory().await;
    let texts: Vec<String> = (0..100).map(|i| format!("{i:0100}")).collect();
    fixture
        .v1
        .clone()
        .produce(batch("t", &texts.iter().map(String::as_str).collect::<Vec<_>>()))
        .await
        .unwrap();
    let mut next = 7;
    while next <= 100 {
        let request = PollRequest { max_bytes: 500, ..poll("t", number(next)) };
        let reply = fixture.poll(request).await.unwrap();
        assert!((1..=4).contains(&reply.messages.len()));
        assert_eq!(reply.messages[0].number, next);
        next = reply.next_number;
        assert_eq!(numbers(&reply.messages).last(), Some(&(next - 1)));
    }
    let one = fixture.poll(PollRequest { max_bytes: 1, ..poll("t", number(50)) }).await.unwrap();
    assert_eq!(numbers(&one.messages), [50], "one message comes, however large");
}

#[tokio::test]
async fn a_reply_never_exceeds_what_default_clients_take() {
    let fixture = Fixture::memory().await;
    let text = "x".repeat(1 << 20);
    for _ in 0..6 {
        fixture.produce("t", &[&text]).await;
    }
    for encoding in [Encoding::Messages, Encoding::RecordBatches] {
        let mut next = 1;
        while next <= 6 {
            let wanted =
                PollRequest { max_bytes: u32::MAX, encoding: encoding.into(), ..poll("t", number(next)) };
            // The stub is a default client: it fails beyond 4 MiB.
            let reply = fixture.poll(wanted).await.unwrap();
            assert!(reply.next_number > next);
            next = reply.next_number;
        }
    }
}

#[tokio::test]
async fn batches_come_as_they_are_stored() {
    let fixture = Fixture::memory().await;
    fixture.produce("t", &["a"]).await;
    fixture.v1.clone().produce(batch("t", &["b", "c"])).await.unwrap();
    let wanted = PollRequest { encoding: Encoding::RecordBatches.into(), ..poll("t", number(3)) };
    let reply = fixture.poll(wanted).await.unwrap();
    assert!(reply.messages.is_empty());
    assert_eq!(reply.next_number, 4);
    let batch = RecordBatch::parse(reply.record_batches[0].clone()).unwrap();
    batch.validate().unwrap();
    assert_eq!((batch.base_offset().number(), batch.count()), (2, 2), "whole batches");
}

#[tokio::test]
async fn a_poll_at_the_end_waits_to_be_woken() {
    let fixture = Fixture::memory().await;
    fixture.produce("t", &["a"]).await;
    let mut v1 = fixture.v1.clone();
    let waiting =
        tokio::spawn(
            async move { v1.poll(PollRequest { max_wait_ms: 20_000, ..poll("t", number(2)) }).await },
        );
    fixture.produce("t", &["b"]).await;
    let reply = soon(waiting).await.unwrap().unwrap().into_inner();
    assert_eq!(values(&reply.messages), ["b"]);
}

#[tokio::test]
async fn a_wait_in_vain_is_as_long_as_wanted() {
    let fixture = Fixture::memory().await;
    fixture.produce("t", &["a"]).await;
    let begin = Instant::now();
    let reply = soon(fixture.poll(PollRequest { max_wait_ms: 50, ..poll("t", number(2)) })).await.unwrap();
    assert!(begin.elapsed() >= Duration::from_millis(50));
    assert_eq!((reply.messages.len(), reply.next_number), (0, 2));
}

#[tokio::test]
async fn a_missing_topic_is_an_error_or_waited_for() {
    let fixture = Fixture::memory().await;
    let status = fixture.poll(poll("t", None)).await.expect_err("no topic");
    assert_eq!(why(&status), (Code::NotFound, "TOPIC_NOT_FOUND".to_owned()));
    let wait = |max_wait_ms| PollRequest {
        missing_topic: MissingTopic::Wait.into(),
        max_wait_ms,
        ..poll("t", anchor(Anchor::Latest))
    };
    let reply = soon(fixture.poll(wait(10))).await.unwrap();
    assert_eq!((reply.messages.len(), reply.next_number, reply.end_number), (0, 1, 1));
    let mut v1 = fixture.v1.clone();
    let waiting = tokio::spawn(async move { v1.poll(wait(20_000)).await });
    fixture.produce("t", &["a"]).await;
    // If the poll came first it sees the message; if it came second, the message is before the latest.
    let reply = soon(waiting).await.unwrap().unwrap().into_inner();
    assert!(reply.messages.is_empty() || values(&reply.messages) == ["a"]);
}

#[tokio::test]
async fn values_of_enums_that_nobody_knows_are_refused() {
    let fixture = Fixture::memory().await;
    fixture.produce("t", &["a"]).await;
    for request in [
        PollRequest { encoding: 99, ..poll("t", None) },
        PollRequest { reset_policy: 99, ..poll("t", None) },
        PollRequest { missing_topic: 99, ..poll("t", None) },
        poll("t", Some(Position { at: Some(At::Anchor(99)) })),
    ] {
        let status = fixture.poll(request).await.expect_err("not known");
        assert_eq!(why(&status), (Code::InvalidArgument, "INVALID_REQUEST".to_owned()));
    }
}

#[tokio::test]
async fn a_number_that_no_message_can_have_is_refused_as_it_was_sent() {
    let fixture = Fixture::memory().await;
    fixture.produce("t", &["a"]).await;
    for wanted in [0, (1 << 63) + 1, u64::MAX] {
        let status = fixture.poll(poll("t", number(wanted))).await.expect_err("there is none");
        assert_eq!(why(&status), (Code::InvalidArgument, "INVALID_REQUEST".to_owned()));
        assert!(status.message().contains(&format!("message {wanted}:")), "{status}");
    }
    let status = fixture.poll(poll("t", number(1 << 63))).await.expect_err("it is not there yet");
    assert_eq!(why(&status), (Code::OutOfRange, "NUMBER_OUT_OF_RANGE".to_owned()));
}
