//! Stopping, and what is there afterwards.

use std::collections::BTreeMap;

use minikafka_proto::v1::{
    PollRequest, ProduceStreamRequest, SubscribeRequest, mini_kafka_service_client::MiniKafkaServiceClient,
    produce_stream_response::Result as Outcome,
};
use minikafka_server::{STOP_DEADLINE, Server};
use tokio::net::TcpListener;
use tonic::transport::Channel;

use crate::support::{Fixture, list, message, number, poll, soon};

/// Numbers and texts that were acknowledged.
type Acknowledged = BTreeMap<u64, String>;

/// Produces one by one until the server takes no more.
async fn produce_until_refused(mut v1: MiniKafkaServiceClient<Channel>, name: usize) -> Acknowledged {
    let mut acknowledged = Acknowledged::new();
    for count in 0.. {
        let text = format!("{name} {count}");
        match v1.produce(list("t", vec![message(&text)])).await {
            Ok(reply) => acknowledged.insert(reply.into_inner().first_number, text),
            Err(_) => break,
        };
    }
    acknowledged
}

/// The same on a stream, many at a time. The server ends it well.
async fn stream_until_refused(mut v1: MiniKafkaServiceClient<Channel>) -> Acknowledged {
    let requests = tokio_stream::iter((0..).map(|request_id: u64| ProduceStreamRequest {
        request_id,
        produce: Some(list("t", vec![message(&format!("stream {request_id}"))])),
    }));
    let mut acknowledged = Acknowledged::new();
    let mut replies = v1.produce_stream(requests).await.unwrap().into_inner();
    while let Some(reply) =
        replies.message().await.expect("the server answers what it took, and ends with OK")
    {
        if let Some(Outcome::Produced(produced)) = reply.result {
            acknowledged.insert(produced.first_number, format!("stream {}", reply.request_id));
        }
    }
    acknowledged
}

#[tokio::test(flavor = "multi_thread")]
async fn every_acknowledged_message_is_there_after_a_stop_under_load() {
    let directory = tempfile::tempdir().unwrap();
    let fixture = Fixture::start(Server::builder().filesystem(directory.path())).await;
    let mut producers: Vec<_> =
        (0..8).map(|name| tokio::spawn(produce_until_refused(fixture.v1.clone(), name))).collect();
    producers.push(tokio::spawn(stream_until_refused(fixture.v1.clone())));
    // Under way: the first thousand can be read.
    let waiting = PollRequest { max_wait_ms: 20_000, ..poll("t", number(1000)) };
    soon(async {
        while fixture.poll(waiting.clone()).await.map_or(true, |reply| reply.messages.is_empty()) {
            tokio::task::yield_now().await;
        }
    })
    .await;
    soon(fixture.server.stop()).await.unwrap();
    let mut acknowledged = Acknowledged::new();
    for producer in producers {
        for (number, text) in soon(producer).await.unwrap() {
            assert_eq!(acknowledged.insert(number, text), None, "number {number} was given twice");
        }
    }

    let again = Fixture::start(Server::builder().filesystem(directory.path())).await;
    let mut stored = Acknowledged::new();
    let mut next = 1;
    loop {
        let reply = again.poll(poll("t", number(next))).await.unwrap();
        for message in &reply.messages {
            stored
                .insert(message.number, String::from_utf8(message.value.clone().unwrap().to_vec()).unwrap());
        }
        next = reply.next_number;
        if reply.messages.is_empty() {
            break;
        }
    }
    assert_eq!(stored.len() as u64, next - 1, "no gaps");
    assert!(acknowledged.len() >= 900, "{}", acknowledged.len());
    for (number, text) in &acknowledged {
        assert_eq!(stored.get(number), Some(text), "number {number} was acknowledged");
    }
    let of_stream = |texts: &Acknowledged| texts.values().filter(|text| text.starts_with("stream")).count();
    assert_eq!(of_stream(&stored), of_stream(&acknowledged), "what has no answer was not stored");
    assert_eq!(again.produce("t", &["more"]).await.first_number, next, "numbers go on");
    again.stop().await;
}

#[tokio::test]
async fn a_server_serves_on_a_listener_until_it_is_told() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let serving = tokio::spawn(Server::builder().memory().serve(listener, async {
        let _ = stopped.await;
    }));
    let mut v1 = MiniKafkaServiceClient::new(crate::support::connect(&address).await);
    v1.produce(list("t", vec![message("a")])).await.unwrap();
    drop(stop);
    soon(serving).await.unwrap().unwrap();
    assert!(tokio::net::TcpStream::connect(&address).await.is_err(), "nobody listens any more");
}

#[tokio::test]
async fn a_reader_that_does_not_read_holds_the_stop_up_for_a_moment_only() {
    let fixture = Fixture::memory().await;
    fixture.produce("t", &[&"x".repeat(3_000_000)]).await;
    fixture.produce("t", &[&"x".repeat(3_000_000)]).await;
    let subscribe = SubscribeRequest { topic: "t".into(), ..SubscribeRequest::default() };
    let mut v1 = fixture.v1.clone();
    let _unread = v1.subscribe(subscribe).await.unwrap();
    let Fixture { server, .. } = fixture;
    tokio::time::timeout(STOP_DEADLINE / 2, server.stop()).await.expect("the reader holds it up").unwrap();
}

#[tokio::test]
async fn a_dropped_server_stops_by_itself() {
    let directory = tempfile::tempdir().unwrap();
    let fixture = Fixture::start(Server::builder().filesystem(directory.path())).await;
    fixture.produce("t", &["a"]).await;
    drop(fixture);
    // The directory is free once the server has stopped.
    let again = soon(async {
        loop {
            match Server::builder().filesystem(directory.path()).start("127.0.0.1:0").await {
                Ok(server) => break server,
                Err(_) => tokio::task::yield_now().await,
            }
        }
    })
    .await;
    assert_eq!(again.broker().partition("t", None).unwrap().bounds().high_watermark.get(), 1);
    again.stop().await.unwrap();
}

#[tokio::test]
async fn a_server_that_cannot_listen_leaves_the_directory_free() {
    let directory = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let error =
        Server::builder().filesystem(directory.path()).start(&address).await.expect_err("the port is taken");
    assert!(error.to_string().starts_with(&format!("cannot listen on {address}: ")), "{error}");
    let server = Server::builder().filesystem(directory.path()).start("127.0.0.1:0").await.unwrap();
    server.stop().await.unwrap();
    let error = Server::builder().start("nonsense").await.expect_err("no address");
    assert!(error.to_string().contains("host:port"), "{error}");
}
