//! What clients do that they should not: it costs them, not the others.

use std::{sync::Arc, time::Duration};

use minikafka_proto::v1::{ProduceStreamRequest, SubscribeRequest};
use minikafka_server::Server;
use minikafka_storage::memory::MemoryStorage;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::mpsc,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;
use tonic_types::StatusExt;

use crate::support::{Fixture, connect, list, message, number, poll, soon, values, why};

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
