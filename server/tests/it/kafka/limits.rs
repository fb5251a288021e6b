//! How long a connection may be silent, and how many there may be.

use std::time::Duration;

use kafka_protocol::messages::{ApiVersionsRequest, ApiVersionsResponse, FetchRequest};
use minikafka_server::{Server, config::KafkaConfig};
use tokio::time::{Instant, timeout};

use super::client::{Client, door, fetch_from, start_with};
use crate::{
    observe::{get, scrape},
    support::{Fixture, soon},
};

/// Long enough for a client to say something on a busy machine.
const IDLE_TIMEOUT: Duration = Duration::from_secs(1);

#[tokio::test]
async fn who_is_silent_is_gone_and_who_waits_for_a_reply_is_not_silent() {
    let kafka = KafkaConfig { idle_timeout: IDLE_TIMEOUT, ..door() };
    let fixture = Fixture::start(Server::builder().memory().kafka(kafka)).await;
    fixture.produce("t", &["a"]).await;
    let begin = Instant::now();
    let silent = async {
        assert_eq!(Client::connect(&fixture).await.frame().await, None);
        assert!(begin.elapsed() >= IDLE_TIMEOUT, "{:?}", begin.elapsed());
    };
    let waiting = async {
        let mut client = Client::connect(&fixture).await;
        // At the end of the topic: that takes its time, and more than a silent client has.
        let wait = 2 * IDLE_TIMEOUT + IDLE_TIMEOUT / 2;
        let fetch = fetch_from("t", 1).with_min_bytes(1).with_max_wait_ms(wait.as_millis() as i32);
        let id = client.send(12, &fetch).await;
        let response = client.reply::<FetchRequest>(12, id).await;
        assert_eq!(response.responses[0].partitions[0].error_code, 0);
        // From its reply on it is as silent as others.
        assert_eq!(client.frame().await, None);
        assert!(begin.elapsed() >= wait + IDLE_TIMEOUT, "{:?}", begin.elapsed());
    };
    tokio::join!(silent, waiting);
}

async fn ask(client: &mut Client) -> ApiVersionsResponse {
    client.ask(0, &ApiVersionsRequest::default()).await
}

#[tokio::test]
async fn over_the_limit_a_connection_waits_until_another_ends() {
    // One is that of the fixture, one is the gRPC door's own.
    let fixture = start_with(Server::builder().memory().connections_max(4)).await;
    assert_eq!(scrape(&fixture.server).await["minikafka_connections_max"], 4.0);
    let (mut first, mut second) = (Client::connect(&fixture).await, Client::connect(&fixture).await);
    assert_eq!((ask(&mut first).await.error_code, ask(&mut second).await.error_code), (0, 0));

    let mut third = Client::connect(&fixture).await;
    let id = third.send(0, &ApiVersionsRequest::default()).await;
    let answer = timeout(Duration::from_millis(300), third.frame()).await;
    assert!(answer.is_err(), "there are as many as there may be: {answer:?}");
    assert_eq!(ask(&mut second).await.error_code, 0, "the others do not suffer");
    drop(first);
    assert_eq!(third.reply::<ApiVersionsRequest>(0, id).await.error_code, 0);
}

#[tokio::test]
async fn a_full_house_of_kafka_clients_shuts_out_nobody_who_asks_how_the_server_is() {
    let fixture = start_with(Server::builder().memory().connections_max(4)).await;
    let (mut first, mut second) = (Client::connect(&fixture).await, Client::connect(&fixture).await);
    assert_eq!((ask(&mut first).await.error_code, ask(&mut second).await.error_code), (0, 0));
    let mut waiting = Client::connect(&fixture).await;
    let id = waiting.send(0, &ApiVersionsRequest::default()).await;
    for path in ["/healthz", "/readyz", "/metrics"].repeat(3) {
        let (head, _) = soon(get(&fixture.server, path, "")).await;
        assert!(head.starts_with("HTTP/1.1 200"), "{path}: {head}");
    }
    drop(second);
    assert_eq!(soon(waiting.reply::<ApiVersionsRequest>(0, id)).await.error_code, 0);
}
