//! The service of the first MiniKafka, as its clients use it.

use std::sync::Arc;

use bytes::Bytes;
use minikafka_proto::original::{MsgNumber, Payload, PollRequest, PollResponse, ProduceRequest, Topic};
use tonic::{Code, Status};

use crate::support::{Fixture, Hands, list, why};

async fn produce(fixture: &Fixture, topic: &str, payload: &str) -> u64 {
    let request = ProduceRequest {
        topic: Some(Topic { topic: topic.to_owned() }),
        payload: Some(Payload { payload: Bytes::copy_from_slice(payload.as_bytes()) }),
    };
    fixture.original.clone().produce(request).await.expect("produce").into_inner().msg_number
}

async fn poll(fixture: &Fixture, topic: &str, read_from: Option<u64>) -> Result<PollResponse, Status> {
    let read_from = read_from.map(|msg_number| MsgNumber { msg_number });
    let request = PollRequest { topic: topic.to_owned(), read_from };
    fixture.original.clone().poll(request).await.map(tonic::Response::into_inner)
}

fn next(reply: &PollResponse) -> u64 {
    reply.new_read_from.expect("a position").msg_number
}

fn texts(reply: &PollResponse) -> Vec<&[u8]> {
    reply.payloads.iter().map(|payload| &payload.payload[..]).collect()
}

#[tokio::test]
async fn produce_numbers_and_poll_returns_what_follows() {
    let fixture = Fixture::memory().await;
    assert_eq!(produce(&fixture, "demo topic", "a").await, 1);
    assert_eq!(produce(&fixture, "demo topic", "").await, 2);
    assert_eq!(produce(&fixture, "other", "x").await, 1);
    assert_eq!(produce(&fixture, "demo topic", "c").await, 3);
    for from in [None, Some(0), Some(1)] {
        let reply = poll(&fixture, "demo topic", from).await.unwrap();
        assert_eq!((texts(&reply), next(&reply)), (vec![&b"a"[..], b"", b"c"], 4));
    }
    let reply = poll(&fixture, "demo topic", Some(3)).await.unwrap();
    assert_eq!((texts(&reply), next(&reply)), (vec![&b"c"[..]], 4));
}

#[tokio::test]
async fn beyond_the_end_there_is_nothing_and_the_position_stays() {
    let fixture = Fixture::memory().await;
    produce(&fixture, "t", "a").await;
    for from in [2, 3, 1000] {
        let reply = poll(&fixture, "t", Some(from)).await.unwrap();
        assert_eq!((reply.payloads.len(), next(&reply)), (0, from));
    }
    fixture.server.broker().create_topic("empty", 1).await.unwrap();
    for from in [None, Some(0), Some(1)] {
        let reply = poll(&fixture, "empty", from).await.unwrap();
        assert_eq!((reply.payloads.len(), next(&reply)), (0, from.unwrap_or(0)));
    }
}

#[tokio::test]
async fn below_the_start_it_goes_on_at_the_start() {
    let hands = Hands::default();
    let fixture = Fixture::with(|config| config.clock = Arc::new(hands.clone())).await;
    produce(&fixture, "t", "a").await;
    produce(&fixture, "t", "b").await;
    hands.outlive(&fixture).await;
    for from in [0, 1, 3] {
        let reply = poll(&fixture, "t", Some(from)).await.unwrap();
        assert_eq!((reply.payloads.len(), next(&reply)), (0, from), "nothing there: the position stays");
    }
    assert_eq!(produce(&fixture, "t", "c").await, 3);
    for from in [None, Some(0), Some(1), Some(3)] {
        let reply = poll(&fixture, "t", from).await.unwrap();
        assert_eq!((texts(&reply), next(&reply)), (vec![&b"c"[..]], 4));
    }
}

#[tokio::test]
async fn an_unknown_topic_is_named() {
    let fixture = Fixture::memory().await;
    let status = poll(&fixture, "nowhere", None).await.expect_err("no topic");
    assert_eq!(status.code(), Code::NotFound);
    assert!(status.message().contains("topic") && status.message().contains("nowhere"), "{status}");
}

#[tokio::test]
async fn requests_without_topic_or_payload_are_refused() {
    let fixture = Fixture::memory().await;
    let topic = Some(Topic { topic: "t".into() });
    let payload = Some(Payload { payload: Bytes::from_static(b"a") });
    for request in [
        ProduceRequest { topic: None, payload: payload.clone() },
        ProduceRequest { topic: topic.clone(), payload: None },
        ProduceRequest { topic: Some(Topic::default()), payload },
    ] {
        let status = fixture.original.clone().produce(request).await.expect_err("incomplete");
        assert_eq!(status.code(), Code::InvalidArgument);
    }
    assert_eq!(poll(&fixture, "t", None).await.expect_err("nothing was stored").code(), Code::NotFound);
}

#[tokio::test]
async fn a_reply_is_as_full_as_a_default_client_takes() {
    let fixture = Fixture::memory().await;
    // Empty messages cost two bytes each in a reply, and nothing but that.
    for value in ["", "0123456789", &"x".repeat(700_000)] {
        let topic = format!("t{}", value.len());
        let count = (9 << 20) / (value.len() + 100);
        for chunk in vec![value; count].chunks(4096.min((2 << 20) / (value.len() + 30))) {
            fixture.produce(&topic, chunk).await;
        }
        let (mut from, mut polls) = (1, 0);
        while from <= count as u64 {
            // The stub is a default client: it fails beyond 4 MiB.
            let reply = poll(&fixture, &topic, Some(from)).await.unwrap();
            assert_eq!(next(&reply), from + reply.payloads.len() as u64);
            assert!(reply.payloads.iter().all(|payload| payload.payload.len() == value.len()));
            from = next(&reply);
            polls += 1;
        }
        assert!(polls <= 4, "{polls} polls for {count} messages of {} bytes", value.len());
    }
}

#[tokio::test]
async fn null_is_returned_as_empty() {
    let fixture = Fixture::memory().await;
    fixture.v1.clone().produce(list("t", vec![Default::default()])).await.unwrap();
    let reply = poll(&fixture, "t", None).await.unwrap();
    assert_eq!(texts(&reply), [b""]);
}

#[tokio::test]
async fn a_message_over_the_limit_is_refused() {
    let fixture = Fixture::memory().await;
    for len in [3 << 20, 20 << 20] {
        let request = ProduceRequest {
            topic: Some(Topic { topic: "t".into() }),
            payload: Some(Payload { payload: vec![0; len].into() }),
        };
        let status = fixture.original.clone().produce(request).await.expect_err("too large");
        assert_eq!(status.code(), Code::InvalidArgument);
        assert!(status.message().contains("3145728"), "{status}");
    }
}

#[tokio::test]
async fn topics_with_several_partitions_are_not_for_the_original() {
    let fixture = Fixture::memory().await;
    fixture.server.broker().create_topic("t", 2).await.unwrap();
    let mut original = fixture.original.clone();
    let produce = ProduceRequest {
        topic: Some(Topic { topic: "t".into() }),
        payload: Some(Payload { payload: "x".into() }),
    };
    let poll = PollRequest { topic: "t".into(), read_from: None };
    for status in [
        original.produce(produce).await.expect_err("two partitions"),
        original.poll(poll).await.expect_err("two partitions"),
    ] {
        assert_eq!(why(&status), (Code::FailedPrecondition, "SEVERAL_PARTITIONS".to_owned()));
    }
}
