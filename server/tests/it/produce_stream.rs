//! Pipelined produce.

use std::time::Duration;

use minikafka_proto::v1::{
    ProduceRequest, ProduceStreamRequest, ProduceStreamResponse, produce_stream_response::Result as Outcome,
};
use tokio::sync::mpsc;
use tokio_stream::{StreamExt, wrappers::ReceiverStream};
use tonic::{Code, Streaming};

use crate::support::{Fixture, batch, list, message, poll, soon, values, why};

/// An open stream: where requests go, and where replies come from.
async fn open(fixture: &Fixture) -> (mpsc::Sender<ProduceStreamRequest>, Streaming<ProduceStreamResponse>) {
    let (requests, outbox) = mpsc::channel(16);
    let replies = fixture.v1.clone().produce_stream(ReceiverStream::new(outbox)).await.unwrap().into_inner();
    (requests, replies)
}

fn request(request_id: u64, produce: ProduceRequest) -> ProduceStreamRequest {
    ProduceStreamRequest { request_id, produce: Some(produce) }
}

fn first_number(reply: &ProduceStreamResponse) -> u64 {
    match reply.result.as_ref().expect("a result") {
        Outcome::Produced(produced) => produced.first_number,
        Outcome::Error(error) => panic!("{error:?}"),
    }
}

#[tokio::test]
async fn replies_come_in_the_order_of_requests() {
    let fixture = Fixture::memory().await;
    let requests: Vec<_> = (0..3000)
        .map(|id| {
            let text = id.to_string();
            let produce = if id % 3 == 0 { batch("t", &[&text]) } else { list("t", vec![message(&text)]) };
            request(id, produce)
        })
        .collect();
    let replies = fixture.v1.clone().produce_stream(tokio_stream::iter(requests)).await.unwrap().into_inner();
    let replies: Vec<_> = soon(replies.collect::<Result<_, _>>()).await.unwrap();
    assert_eq!(replies.len(), 3000);
    for (id, reply) in replies.iter().enumerate() {
        assert_eq!((reply.request_id, first_number(reply)), (id as u64, id as u64 + 1));
    }
}

#[tokio::test]
async fn a_bad_request_gets_its_own_error_and_the_stream_goes_on() {
    let fixture = Fixture::memory().await;
    let (requests, mut replies) = open(&fixture).await;
    for (id, produce) in [
        (1, list("t", vec![message("a")])),
        (2, list("../x", vec![message("b")])),
        (3, ProduceRequest { topic: "t".into(), ..Default::default() }),
        (4, list("t", vec![message("c")])),
        (5, list("other", vec![message("d")])),
        (6, list("t", vec![message("e")])),
    ] {
        requests.send(request(id, produce)).await.unwrap();
    }
    requests.send(ProduceStreamRequest { request_id: 7, produce: None }).await.unwrap();
    drop(requests);
    let mut outcomes = Vec::new();
    while let Some(reply) = soon(replies.message()).await.unwrap() {
        outcomes.push((
            reply.request_id,
            match reply.result.unwrap() {
                Outcome::Produced(produced) => Ok(produced.first_number),
                Outcome::Error(error) => Err((error.code, error.reason)),
            },
        ));
    }
    let refused = |reason: &str| Err((Code::InvalidArgument as i32, reason.to_owned()));
    assert_eq!(
        outcomes,
        [
            (1, Ok(1)),
            (2, refused("INVALID_TOPIC_NAME")),
            (3, refused("INVALID_REQUEST")),
            (4, Ok(2)),
            (5, Ok(1)),
            (6, Ok(3)),
            (7, refused("INVALID_REQUEST")),
        ]
    );
    assert_eq!(values(&fixture.poll(poll("t", None)).await.unwrap().messages), ["a", "c", "e"]);
}

#[tokio::test]
async fn a_topic_deleted_meanwhile_is_created_again() {
    let fixture = Fixture::memory().await;
    let (requests, mut replies) = open(&fixture).await;
    for id in 0..2 {
        requests.send(request(id, list("t", vec![message("a")]))).await.unwrap();
        let reply = soon(replies.message()).await.unwrap().unwrap();
        assert_eq!(first_number(&reply), 1);
        fixture.server.broker().delete_topic("t").await.unwrap();
    }
}

#[tokio::test]
async fn a_request_far_over_the_limit_ends_the_stream_after_what_was_taken() {
    let fixture = Fixture::memory().await;
    let (requests, mut replies) = open(&fixture).await;
    requests.send(request(1, list("t", vec![message("a")]))).await.unwrap();
    requests.send(request(2, list("t", vec![message(&"x".repeat(12 << 20))]))).await.unwrap();
    assert_eq!(first_number(&soon(replies.message()).await.unwrap().unwrap()), 1);
    let status = soon(replies.message()).await.expect_err("it cannot be read");
    assert_eq!(why(&status), (Code::InvalidArgument, "MESSAGE_TOO_LARGE".to_owned()));
}

#[tokio::test]
async fn at_the_stop_what_was_taken_is_answered_and_the_stream_ends_well() {
    let fixture = Fixture::memory().await;
    let (requests, mut replies) = open(&fixture).await;
    requests.send(request(1, list("t", vec![message("a")]))).await.unwrap();
    assert_eq!(first_number(&soon(replies.message()).await.unwrap().unwrap()), 1);
    let Fixture { server, .. } = fixture;
    let stopped = tokio::spawn(server.stop());
    // The client keeps its side open: the server ends the stream.
    assert_eq!(soon(replies.message()).await.unwrap(), None);
    soon(stopped).await.unwrap().unwrap();
    drop(requests);
}

#[tokio::test]
async fn a_client_that_does_not_read_its_replies_is_slowed_down_alone() {
    let fixture = Fixture::memory().await;
    let (requests, replies) = open(&fixture).await;
    let sender = tokio::spawn(async move {
        let mut id = 0;
        while requests.send(request(id, list("slow", vec![message("a")]))).await.is_ok() {
            id += 1;
        }
    });
    for _ in 0..100 {
        soon(fixture.produce("fast", &["b"])).await;
    }
    sender.abort();
    drop(replies);
    tokio::time::timeout(Duration::from_secs(5), fixture.stop()).await.expect("the stream is left");
}
