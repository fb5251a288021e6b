//! What clients do that they should not: it costs them, not the others.

use std::{sync::Arc, time::Duration};

use minikafka_proto::v1::{
    ProduceStreamRequest, SubscribeRequest, produce_stream_response::Result as Outcome,
};
use minikafka_server::Server;
use minikafka_storage::memory::MemoryStorage;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::mpsc,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::support::{Fixture, connect, half_sent, list, message, number, poll, soon, values, why};

#[tokio::test]
async fn garbage_ends_that_connection_only() {
    let fixture = Fixture::memory().await;
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let half_a_frame = [&preface[..], &[0, 0, 9, 4]].concat();
    let wild_frame = [&preface[..], &[0xff; 64]].concat();
    for garbage in [&b"\0\x01\x02garbage\r\n\r\n"[..], &[0xff; 100_000], b"GET", &half_a_frame, &wild_frame] {
        let mut stream = TcpStream::connect(fixture.server.local_addr()).await.unwrap();
        // The server may hang up before it has taken everything.
        let _ = stream.write_all(garbage).await;
        let _ = stream.shutdown().await;
        let _ = soon(stream.read_to_end(&mut Vec::new())).await;
    }
    assert_eq!(fixture.produce("t", &["a"]).await.first_number, 1);
}

#[tokio::test]
async fn clients_that_vanish_leave_nothing_behind() {
    let fixture = Fixture::memory().await;
    fixture.produce("t", &["a"]).await;
    for _ in 0..20 {
        let address = fixture.server.local_addr().to_string();
        let mut v1 = minikafka_proto::v1::mini_kafka_service_client::MiniKafkaServiceClient::new(
            connect(&address).await,
        );
        let (requests, outbox) = mpsc::channel(16);
        let mut replies = v1.produce_stream(ReceiverStream::new(outbox)).await.unwrap().into_inner();
        let subscribe =
            SubscribeRequest { topic: "t".into(), from: number(1), ..SubscribeRequest::default() };
        let mut subscription = v1.subscribe(subscribe).await.unwrap().into_inner();
        let produce = Some(list("t", vec![message("b")]));
        requests.send(ProduceStreamRequest { request_id: 1, produce }).await.unwrap();
        soon(subscription.message()).await.unwrap();
        soon(replies.message()).await.unwrap();
        // All of it goes at once, in mid-stream.
    }
    let reply = fixture.poll(poll("t", None)).await.unwrap();
    assert_eq!(reply.messages.len(), 21);
    // A stop waits for connections: it is quick only if none is left.
    tokio::time::timeout(Duration::from_secs(5), fixture.stop()).await.expect("connections are left");
}

#[tokio::test]
async fn a_thousand_idle_connections_are_fine() {
    let fixture = Fixture::memory().await;
    let mut idle = Vec::new();
    for _ in 0..1000 {
        idle.push(TcpStream::connect(fixture.server.local_addr()).await.unwrap());
    }
    // Behind them all, a new one is served.
    let channel = soon(connect(&fixture.server.local_addr().to_string())).await;
    let mut v1 = minikafka_proto::v1::mini_kafka_service_client::MiniKafkaServiceClient::new(channel);
    soon(v1.produce(list("t", vec![message("a")]))).await.unwrap();
    drop(v1);
    // Nor does a stop wait for them.
    tokio::time::timeout(Duration::from_secs(5), fixture.stop())
        .await
        .expect("idle connections hold the stop");
}

#[tokio::test]
async fn hundreds_of_calls_share_a_connection() {
    let fixture = Fixture::memory().await;
    fixture.produce("t", &["a"]).await;
    let calls: Vec<_> = (0..512)
        .map(|_| {
            let mut v1 = fixture.v1.clone();
            tokio::spawn(async move {
                let wait = minikafka_proto::v1::PollRequest { max_wait_ms: 20_000, ..poll("t", number(2)) };
                v1.poll(wait).await.unwrap().into_inner()
            })
        })
        .collect();
    fixture.produce("t", &["b"]).await;
    for call in calls {
        assert_eq!(values(&soon(call).await.unwrap().messages), ["b"]);
    }
}

/// Bytes of a large request that is allowed.
const LARGE: usize = 6 << 20;

#[tokio::test(flavor = "multi_thread")]
async fn half_sent_requests_do_not_pile_up_and_cost_the_others_little() {
    let fixture = Fixture::memory().await;
    let address = fixture.server.local_addr().to_string();
    // Of its own connection: that is what goes with them.
    let channel = connect(&address).await;
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..200 {
        calls.spawn(half_sent(&channel, LARGE, 40_000));
    }
    // All but those that have a place in the budget of 64 MiB are refused.
    for _ in 0..190 {
        let response = soon(calls.join_next()).await.unwrap().unwrap();
        let status = Status::from_header_map(response.headers()).expect("a refusal");
        assert_eq!(why(&status), (Code::ResourceExhausted, "MEMORY_FULL".to_owned()));
        assert!(status.get_details_retry_info().is_some());
    }
    fixture.produce("t", &["small"]).await;
    // Enough for a large request to be refused, while a stream waits.
    let large = "x".repeat(2_900_000);
    let mut v1 = fixture.v1.clone();
    while v1.produce(list("t", vec![message(&large)])).await.is_ok() {
        calls.spawn(half_sent(&channel, LARGE / 2, 40_000));
    }
    let (requests, outbox) = mpsc::channel(1);
    let mut replies = v1.produce_stream(ReceiverStream::new(outbox)).await.unwrap().into_inner();
    let produce = Some(list("t", vec![message(&large)]));
    requests.send(ProduceStreamRequest { request_id: 1, produce }).await.unwrap();
    // Once they are gone, their place is free.
    drop((calls, channel));
    let reply = soon(replies.message()).await.unwrap().unwrap();
    assert!(matches!(reply.result, Some(Outcome::Produced(_))), "{reply:?}");
    soon(v1.produce(list("t", vec![message(&large)]))).await.unwrap();
}

#[tokio::test]
async fn only_produce_takes_large_requests() {
    let fixture = Fixture::memory().await;
    let status = fixture.poll(poll(&"x".repeat(1 << 20), None)).await.expect_err("no topic has such a name");
    assert_eq!(why(&status), (Code::InvalidArgument, "INVALID_REQUEST".to_owned()));
}

#[tokio::test]
async fn full_memory_is_an_error_and_reads_go_on() {
    let fixture = Fixture::start(Server::builder().storage(Arc::new(MemoryStorage::new(1 << 20)))).await;
    let text = "x".repeat(100_000);
    let status = soon(async {
        loop {
            if let Err(status) = fixture.v1.clone().produce(list("t", vec![message(&text)])).await {
                break status;
            }
        }
    })
    .await;
    assert_eq!(why(&status), (Code::ResourceExhausted, "MEMORY_FULL".to_owned()));
    assert!(status.get_details_retry_info().is_some());
    let reply = fixture.poll(poll("t", None)).await.unwrap();
    assert!(!reply.messages.is_empty());
    fixture.server.broker().delete_topic("t").await.unwrap();
    assert_eq!(fixture.produce("t", &[&text]).await.first_number, 1);
}
