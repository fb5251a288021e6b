//! Replies in order, and what ends a connection.

use kafka_protocol::{
    messages::{
        ApiVersionsRequest, FetchRequest, MetadataRequest, ProduceRequest, SaslAuthenticateRequest,
        SaslHandshakeRequest, fetch_response::PartitionData,
    },
    protocol::StrBytes,
};

use super::client::{ALL, Client, batch, fetch_from, produce, start, start_with, values};
use crate::support::soon;
use minikafka_server::Server;

#[tokio::test]
async fn replies_come_in_the_order_of_the_requests() {
    let fixture = start().await;
    let mut client = Client::connect(&fixture).await;
    client.create("t").await;
    // The first one waits; the others could be answered at once.
    let waiting = fetch_from("t", 0).with_max_wait_ms(20_000).with_min_bytes(1);
    let first = client.send(4, &waiting).await;
    let second = client.send(1, &MetadataRequest::default().with_topics(None)).await;
    let third = client.send(3, &produce("t", 0, ALL, batch(&["a"]))).await;
    let mut fetched = client.reply::<FetchRequest>(4, first).await;
    let data: PartitionData = fetched.responses.remove(0).partitions.remove(0);
    assert_eq!(values(&data), ["a"], "the produce behind it has begun");
    client.reply::<MetadataRequest>(1, second).await;
    client.reply::<ProduceRequest>(3, third).await;
}

#[tokio::test]
async fn what_came_before_the_client_left_is_stored() {
    let fixture = start().await;
    let mut reader = Client::connect(&fixture).await;
    reader.create("t").await;
    // More than may be under way at a time, in one piece, and then the end.
    let sent: Vec<String> = (0..500).map(|n| n.to_string()).collect();
    let mut sender = Client::connect(&fixture).await;
    let mut bytes = Vec::new();
    for value in &sent {
        bytes.extend(sender.encode(9, &produce("t", 0, 0, batch(&[value]))).1);
    }
    sender.send_bytes(&bytes).await;
    drop(sender);
    let mut found = Vec::new();
    while found.len() < sent.len() {
        let from = fetch_from("t", found.len() as i64).with_max_wait_ms(20_000).with_min_bytes(1);
        let data = reader.fetch(4, from).await;
        assert_eq!(data.error_code, 0);
        let more = values(&data);
        assert!(!more.is_empty(), "nothing behind {}", found.len());
        found.extend(more);
    }
    assert_eq!(found, sent);
}

#[tokio::test]
async fn many_batches_on_their_way_keep_their_order() {
    let fixture = start().await;
    let mut client = Client::connect(&fixture).await;
    client.create("t").await;
    let mut ids = Vec::new();
    for n in 0..200 {
        ids.push(client.send(7, &produce("t", 0, ALL, batch(&[&n.to_string()]))).await);
    }
    for (offset, id) in ids.into_iter().enumerate() {
        let response = client.reply::<ProduceRequest>(7, id).await;
        assert_eq!(response.responses[0].partition_responses[0].base_offset, offset as i64);
    }
    let all: Vec<String> = (0..200).map(|n| n.to_string()).collect();
    assert_eq!(values(&client.fetch(12, fetch_from("t", 0)).await), all);
}

#[tokio::test]
async fn without_acks_there_is_no_reply() {
    let fixture = start().await;
    let mut client = Client::connect(&fixture).await;
    client.create("t").await;
    client.send(9, &produce("t", 0, 0, batch(&["a"]))).await;
    // The next reply is that of the next request, and what was sent before it is stored.
    let data = client.fetch(12, fetch_from("t", 0).with_min_bytes(1).with_max_wait_ms(20_000)).await;
    assert_eq!(values(&data), ["a"]);
}

#[tokio::test]
async fn without_acks_a_refusal_ends_the_connection() {
    let fixture = start().await;
    let mut client = Client::connect(&fixture).await;
    client.send(9, &produce("nowhere", 0, 0, batch(&["a"]))).await;
    assert_eq!(client.frame().await, None);
}

#[tokio::test]
async fn what_cannot_be_answered_ends_its_own_connection_only() {
    let fixture = start().await;
    let mut other = Client::connect(&fixture).await;
    for bytes in [
        // A key that is not there, a version that is not there, Produce before its time, no header.
        &b"\0\0\0\x0a\x7f\xff\0\0\0\0\0\x01\xff\xff"[..],
        b"\0\0\0\x0a\0\x03\0\x63\0\0\0\x01\xff\xff",
        b"\0\0\0\x0a\0\0\0\x02\0\0\0\x01\xff\xff",
        b"\0\0\0\x02\0\x03",
        // Frames that are too large, or negative.
        b"\x7f\xff\xff\xff\0\x03",
        b"\x7f\xff\xff\xff\0\0",
        b"\xff\xff\xff\xff\0\x03",
        // More elements than bytes.
        b"\0\0\0\x0e\0\x03\0\x01\0\0\0\x01\xff\xff\x7f\xff\xff\xff",
        // Another protocol.
        b"GET / HTTP/1.1\r\n\r\n",
    ] {
        let mut client = Client::connect(&fixture).await;
        client.send_bytes(bytes).await;
        assert_eq!(client.frame().await, None, "{bytes:?}");
        assert_eq!(other.ask(0, &ApiVersionsRequest::default()).await.error_code, 0);
    }
}

#[tokio::test]
async fn null_where_an_array_has_to_be_is_no_length_and_ends_its_own_connection_only() {
    let fixture = start().await;
    let mut other = Client::connect(&fixture).await;
    other.create("t").await;
    const HEADER: &[u8] = b"\0\0\0\x01\xff\xff";
    const NULL: &[u8] = b"\xff\xff\xff\xff";
    for (what, key_and_version, fields) in [
        ("the topics of a Produce", b"\0\0\0\x03", &b"\xff\xff\0\x01\0\0\0\x01"[..]),
        ("the topics of a Fetch", b"\0\x01\0\x04", b"\xff\xff\xff\xff\0\0\0\0\0\0\0\0\0\0\0\0\0"),
        ("the topics of a ListOffsets", b"\0\x02\0\x01", b"\xff\xff\xff\xff"),
        ("the topics of an OffsetCommit", b"\0\x08\0\x02", b"\0\x01g\xff\xff\xff\xff\0\0\0\0\0\0\0\0\0\0"),
        ("the groups of a DescribeGroups", b"\0\x0f\0\0", b""),
        ("the topics of a CreateTopics", b"\0\x13\0\x02", b""),
    ] {
        let mut client = Client::connect(&fixture).await;
        client.send_frame(&[key_and_version, HEADER, fields, NULL].concat()).await;
        assert_eq!(client.frame().await, None, "{what}");
        assert_eq!(other.ask(0, &ApiVersionsRequest::default()).await.error_code, 0);
    }
}

#[tokio::test]
async fn what_was_asked_before_an_offence_is_answered() {
    let fixture = start().await;
    let mut client = Client::connect(&fixture).await;
    client.create("t").await;
    let id = client.send(9, &produce("t", 0, ALL, batch(&["a"]))).await;
    client.send_bytes(b"\x7f\xff\xff\xff\0\x03").await;
    let response = client.reply::<ProduceRequest>(9, id).await;
    assert_eq!(response.responses[0].partition_responses[0].error_code, 0);
    assert_eq!(client.frame().await, None);
}

#[tokio::test]
async fn a_stop_answers_what_waits() {
    let directory = tempfile::tempdir().unwrap();
    let fixture = start_with(Server::builder().filesystem(directory.path())).await;
    let mut client = Client::connect(&fixture).await;
    client.create("t").await;
    let id = client.send(12, &fetch_from("t", 0).with_min_bytes(1).with_max_wait_ms(200_000)).await;
    let produced = client.produce_on_another(&fixture, "u").await;
    assert_eq!(produced, 0);
    soon(fixture.stop()).await;
    let response = client.reply::<FetchRequest>(12, id).await;
    let code = response.responses[0].partitions[0].error_code;
    assert!([0, 6].contains(&code), "{code}");
    assert_eq!(client.frame().await, None);
}

impl Client {
    /// So that the server has surely read what this connection has sent before.
    async fn produce_on_another(&self, fixture: &crate::support::Fixture, topic: &str) -> i16 {
        let mut other = Client::connect(fixture).await;
        other.create(topic).await;
        other.produce(topic, batch(&["a"])).await.error_code
    }
}

#[tokio::test]
async fn requests_errors_and_connections_are_counted() {
    let fixture = start().await;
    let mut client = Client::connect(&fixture).await;
    client.create("t").await;
    assert_eq!(client.produce("nowhere", batch(&["a"])).await.error_code, 3);
    let found = crate::observe::scrape(&fixture.server).await;
    for (series, count) in [
        ("minikafka_kafka_connections", 1.0),
        ("minikafka_kafka_connections_accepted_total", 1.0),
        ("minikafka_kafka_requests_total{api=\"Metadata\"}", 1.0),
        ("minikafka_kafka_requests_total{api=\"Produce\"}", 1.0),
        ("minikafka_kafka_errors_total{error=\"UnknownTopicOrPartition\"}", 1.0),
    ] {
        assert_eq!(found.get(series), Some(&count), "{series}");
    }
}

#[tokio::test]
async fn a_client_that_is_set_up_for_sasl_is_told_that_nobody_asks() {
    let fixture = start().await;
    let mut client = Client::connect(&fixture).await;
    for version in 0..=1 {
        let request = SaslHandshakeRequest::default().with_mechanism(StrBytes::from_static_str("PLAIN"));
        let response = client.ask(version, &request).await;
        assert_eq!((response.error_code, response.mechanisms.len()), (34, 0));
    }
    for version in 0..=2 {
        let request = SaslAuthenticateRequest::default().with_auth_bytes("\0user\0secret".into());
        let response = client.ask(version, &request).await;
        assert_eq!(response.error_code, 34);
        assert!(response.error_message.unwrap().contains("PLAINTEXT"));
    }
    // Credentials are small; a frame that claims to be more ends its connection before it is sent.
    client.send_bytes(b"\0\x10\0\0\0\x24\0\x02\0\0\0\x01\xff\xff").await;
    assert_eq!(client.frame().await, None);
}
