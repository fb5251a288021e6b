//! Produce, one request at a time.

use bytes::Bytes;
use minikafka_broker::AutoCreate;
use minikafka_proto::v1::{
    Header, Message, ProduceRequest, ProduceStreamRequest, produce_stream_response::Result as Outcome,
};
use tonic::Code;

use crate::support::{Fixture, batch, list, message, number, numbers, poll, values, why};

#[tokio::test]
async fn messages_are_numbered_from_1_without_gaps() {
    let fixture = Fixture::memory().await;
    let first = fixture.produce("demo topic", &["a", "b"]).await;
    assert_eq!((first.first_number, first.count, first.partition, first.leader_epoch), (1, 2, 0, 0));
    assert!(first.append_time_ms > 0);
    let other = fixture.produce("other", &["x"]).await;
    assert_eq!(other.first_number, 1);
    let encoded =
        fixture.v1.clone().produce(batch("demo topic", &["c", "d", "e"])).await.unwrap().into_inner();
    assert_eq!((encoded.first_number, encoded.count), (3, 3));
    let reply = fixture.poll(poll("demo topic", None)).await.unwrap();
    assert_eq!(values(&reply.messages), ["a", "b", "c", "d", "e"]);
    assert_eq!(numbers(&reply.messages), [1, 2, 3, 4, 5]);
}

#[tokio::test]
async fn everything_in_a_message_comes_back() {
    let fixture = Fixture::memory().await;
    let full = Message {
        value: Some(Bytes::from_static(b"\0\xff")),
        key: Some(Bytes::from_static(b"key")),
        headers: vec![
            Header { name: "h".into(), value: Some(Bytes::new()) },
            Header { name: "h".into(), value: None },
        ],
        timestamp_ms: Some(1_234_567_890_123),
        number: 99,
    };
    let null = Message::default();
    let empty = message("");
    let sent = vec![full.clone(), null, empty];
    let produced = fixture.v1.clone().produce(list("t", sent)).await.unwrap().into_inner();
    let reply = fixture.poll(poll("t", None)).await.unwrap();
    assert_eq!(reply.messages[0], Message { number: 1, ..full });
    assert_eq!((&reply.messages[1].value, &reply.messages[1].key), (&None, &None));
    assert_eq!(reply.messages[1].timestamp_ms, Some(produced.append_time_ms));
    assert_eq!(reply.messages[2].value, Some(Bytes::new()));
}

#[tokio::test]
async fn what_breaks_a_rule_is_refused_and_nothing_is_stored() {
    let fixture = Fixture::with(|config| config.message_bytes_max = 1000).await;
    let mut v1 = fixture.v1.clone();
    let mut crooked = batch("t", &["a"]);
    if let Some(minikafka_proto::v1::produce_request::Payload::RecordBatch(bytes)) = &mut crooked.payload {
        let mut flipped = bytes.to_vec();
        *flipped.last_mut().unwrap() ^= 1;
        *bytes = flipped.into();
    }
    let large = "x".repeat(1000);
    let old = Message { timestamp_ms: Some(-5), ..message("a") };
    for (request, reason) in [
        (ProduceRequest { topic: "t".into(), ..Default::default() }, "INVALID_REQUEST"),
        (list("t", vec![]), "INVALID_REQUEST"),
        (list("t", vec![old]), "INVALID_REQUEST"),
        (list("", vec![message("a")]), "INVALID_TOPIC_NAME"),
        (list("../x", vec![message("a")]), "INVALID_TOPIC_NAME"),
        (list(&"x".repeat(250), vec![message("a")]), "INVALID_TOPIC_NAME"),
        (list("t", vec![message(&large)]), "MESSAGE_TOO_LARGE"),
        (batch("t", &[&large]), "MESSAGE_TOO_LARGE"),
        (crooked, "INVALID_BATCH"),
    ] {
        let status = v1.produce(request).await.expect_err(reason);
        assert_eq!(why(&status), (Code::InvalidArgument, reason.to_owned()), "{status}");
    }
    assert_eq!(fixture.produce("t", &["first"]).await.first_number, 1);
}

#[tokio::test]
async fn a_message_far_over_the_limit_is_told_the_limit() {
    let fixture = Fixture::memory().await;
    let huge = "x".repeat(12 * 1024 * 1024);
    let status = fixture.v1.clone().produce(list("t", vec![message(&huge)])).await.expect_err("too large");
    assert_eq!(why(&status), (Code::InvalidArgument, "MESSAGE_TOO_LARGE".to_owned()));
    assert!(status.message().contains("3145728"), "{status}");
    assert_eq!(fixture.poll(poll("t", None)).await.expect_err("no topic").code(), Code::NotFound);
}

#[tokio::test]
async fn the_largest_message_makes_the_way_there_and_back() {
    let fixture = Fixture::memory().await;
    let large = "x".repeat(3 * 1024 * 1024 - 200);
    fixture.produce("t", &["before", &large, "after"][1..2]).await;
    let reply = fixture.poll(poll("t", number(1))).await.unwrap();
    assert_eq!(reply.messages[0].value.as_ref().unwrap().len(), large.len());
}

#[tokio::test]
async fn the_leader_epoch_is_checked() {
    let fixture = Fixture::memory().await;
    let request =
        |leader_epoch| ProduceRequest { leader_epoch: Some(leader_epoch), ..list("t", vec![message("a")]) };
    fixture.v1.clone().produce(request(0)).await.unwrap();
    let status = fixture.v1.clone().produce(request(7)).await.expect_err("another epoch");
    assert_eq!(why(&status), (Code::FailedPrecondition, "STALE_LEADER_EPOCH".to_owned()));

    // Nor is a topic created that the request would not have gone to.
    let fresh = |leader_epoch| ProduceRequest { topic: "fresh".to_owned(), ..request(leader_epoch) };
    let status = fixture.v1.clone().produce(fresh(7)).await.expect_err("a new topic begins with epoch 0");
    assert_eq!(why(&status), (Code::FailedPrecondition, "STALE_LEADER_EPOCH".to_owned()));
    assert_eq!(fixture.poll(poll("fresh", None)).await.expect_err("no topic").code(), Code::NotFound);
    let stream = tokio_stream::iter(
        [7, 0].map(|request_id| ProduceStreamRequest { request_id, produce: Some(fresh(request_id)) }),
    );
    let mut replies = fixture.v1.clone().produce_stream(stream).await.unwrap().into_inner();
    let Some(Outcome::Error(error)) = replies.message().await.unwrap().unwrap().result else { panic!() };
    assert_eq!(error.reason, "STALE_LEADER_EPOCH");
    let Some(Outcome::Produced(_)) = replies.message().await.unwrap().unwrap().result else { panic!() };
}

#[tokio::test]
async fn a_partition_that_is_not_there_is_not_found() {
    let fixture = Fixture::memory().await;
    let request = ProduceRequest { partition: Some(1), ..list("t", vec![message("a")]) };
    let status = fixture.v1.clone().produce(request).await.expect_err("there is one partition");
    assert_eq!(why(&status), (Code::NotFound, "PARTITION_NOT_FOUND".to_owned()));
}

#[tokio::test]
async fn topics_are_not_created_when_that_is_off() {
    let fixture = Fixture::with(|config| config.auto_create = AutoCreate::Disabled).await;
    let status = fixture.v1.clone().produce(list("t", vec![message("a")])).await.expect_err("no topic");
    assert_eq!(why(&status), (Code::NotFound, "TOPIC_NOT_FOUND".to_owned()));
    assert!(status.message().contains("\"t\""));
}
