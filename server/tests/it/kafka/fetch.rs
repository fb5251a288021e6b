//! Fetch: what is in a reply, and when it comes.

use kafka_protocol::messages::{FetchRequest, FetchResponse, fetch_request::FetchPartition};
use minikafka_record::Compression;

use super::client::{Client, batch, batches, compressed, fetch_from, fetch_topic, start, values};
use crate::support::{Fixture, soon};

/// Three batches of three records each.
async fn three_batches(topic: &str) -> (Fixture, Client) {
    let fixture = start().await;
    let mut client = Client::connect(&fixture).await;
    client.create(topic).await;
    for n in 0..3 {
        let three = [0, 1, 2].map(|m| (3 * n + m).to_string());
        client.produce(topic, batch(&three.each_ref().map(String::as_str))).await;
    }
    (fixture, client)
}

#[tokio::test]
async fn every_version_that_names_topics_is_answered() {
    let (_fixture, mut client) = three_batches("t").await;
    for version in 4..=12 {
        let data = client.fetch(version, fetch_from("t", 0)).await;
        assert_eq!(values(&data).len(), 9, "version {version}");
        assert_eq!((data.high_watermark, data.last_stable_offset), (9, 9));
        assert_eq!(data.log_start_offset, if version >= 5 { 0 } else { -1 });
        assert_eq!(data.aborted_transactions, None);
        let committed = client.fetch(version, fetch_from("t", 0).with_isolation_level(1)).await;
        assert_eq!(committed.aborted_transactions, Some(Vec::new()));
        assert_eq!(values(&committed), values(&data));
    }
}

#[tokio::test]
async fn the_batch_that_holds_the_offset_comes_whole() {
    let (_fixture, mut client) = three_batches("t").await;
    let data = client.fetch(12, fetch_from("t", 4)).await;
    let offsets: Vec<u64> = batches(&data).iter().map(|batch| batch.base_offset().get()).collect();
    assert_eq!(offsets, [3, 6]);
}

#[tokio::test]
async fn at_least_one_batch_comes_whatever_the_limits_are() {
    let (_fixture, mut client) = three_batches("t").await;
    for (bytes, partition_bytes) in [(1, 1 << 20), (1 << 20, 1), (0, 0), (-1, -1)] {
        let mut request = fetch_from("t", 0).with_max_bytes(bytes);
        request.topics[0].partitions[0].partition_max_bytes = partition_bytes;
        let data = client.fetch(12, request).await;
        assert_eq!(values(&data), ["0", "1", "2"], "{bytes} {partition_bytes}");
    }
}

#[tokio::test]
async fn the_limit_goes_by_the_order_of_the_request() {
    let (fixture, mut client) = three_batches("a").await;
    client.create("b").await;
    client.produce("b", batch(&["b"])).await;
    client.create("c").await;
    for (order, expected) in
        [(["a", "b", "c"], [3, 0, 0]), (["b", "a", "c"], [1, 0, 0]), (["c", "a", "b"], [0, 3, 0])]
    {
        let topics = order.iter().map(|topic| fetch_topic(topic, 0)).collect();
        let request = fetch_from("a", 0).with_max_bytes(1).with_topics(topics);
        let response: FetchResponse = client.ask(12, &request).await;
        let counts: Vec<usize> =
            response.responses.iter().map(|topic| values(&topic.partitions[0]).len()).collect();
        assert_eq!(counts, expected, "{order:?}");
    }
    drop(fixture);
}

#[tokio::test]
async fn an_error_needs_no_room() {
    let (_fixture, mut client) = three_batches("a").await;
    client.create("b").await;
    let topics = vec![fetch_topic("a", 0), fetch_topic("b", 10)];
    let response: FetchResponse =
        client.ask(12, &fetch_from("a", 0).with_max_bytes(1).with_topics(topics)).await;
    let codes: Vec<i16> = response.responses.iter().map(|topic| topic.partitions[0].error_code).collect();
    assert_eq!(codes, [0, 1], "the second is beyond the end");
}

#[tokio::test]
async fn nothing_is_not_waited_for() {
    let (_fixture, mut client) = three_batches("a").await;
    let nothing = fetch_from("a", 0).with_min_bytes(1).with_max_wait_ms(i32::MAX).with_topics(Vec::new());
    let response: FetchResponse = client.ask(12, &nothing).await;
    assert_eq!((response.error_code, response.responses), (0, Vec::new()));
}

#[tokio::test]
async fn at_the_end_there_is_nothing_and_not_null() {
    let (_fixture, mut client) = three_batches("t").await;
    for version in 4..=12 {
        let data = client.fetch(version, fetch_from("t", 9)).await;
        assert_eq!((data.error_code, data.high_watermark), (0, 9));
        assert_eq!(data.records.as_deref(), Some(&b""[..]), "version {version}");
    }
}

#[tokio::test]
async fn an_append_ends_the_wait() {
    let (fixture, mut client) = three_batches("t").await;
    let mut producer = Client::connect(&fixture).await;
    let waiting = fetch_from("t", 9).with_min_bytes(1).with_max_wait_ms(200_000);
    let id = client.send(12, &waiting).await;
    producer.produce("t", batch(&["new"])).await;
    let mut response = client.reply::<FetchRequest>(12, id).await;
    assert_eq!(values(&response.responses.remove(0).partitions.remove(0)), ["new"]);
}

#[tokio::test]
async fn the_wait_goes_on_until_there_are_enough_bytes() {
    let (fixture, mut client) = three_batches("a").await;
    client.create("b").await;
    let mut producer = Client::connect(&fixture).await;
    let one = batch(&["new"]);
    let waiting = fetch_from("a", 9)
        .with_min_bytes(one.len() as i32 * 2 + 1)
        .with_max_wait_ms(200_000)
        .with_topics(vec![fetch_topic("a", 9), fetch_topic("b", 0)]);
    let id = client.send(12, &waiting).await;
    for topic in ["a", "b", "a"] {
        producer.produce(topic, one.clone()).await;
    }
    let response = client.reply::<FetchRequest>(12, id).await;
    let counts: Vec<usize> =
        response.responses.iter().map(|topic| values(&topic.partitions[0]).len()).collect();
    assert_eq!(counts, [2, 1], "each once");
}

#[tokio::test]
async fn the_wait_ends_in_time_and_with_what_there_is() {
    let (_fixture, mut client) = three_batches("t").await;
    let short = fetch_from("t", 6).with_min_bytes(1 << 20).with_max_wait_ms(1);
    assert_eq!(values(&client.fetch(12, short).await), ["6", "7", "8"]);
    let none = fetch_from("t", 9).with_min_bytes(1).with_max_wait_ms(1);
    assert_eq!(client.fetch(12, none).await.records.as_deref(), Some(&b""[..]));
}

/// How many fetches have begun.
pub(super) async fn fetches(fixture: &Fixture) -> f64 {
    let found = crate::observe::scrape(&fixture.server).await;
    found.get("minikafka_kafka_requests_total{api=\"Fetch\"}").copied().unwrap_or_default()
}

#[tokio::test]
async fn an_error_ends_the_wait() {
    let (fixture, mut client) = three_batches("t").await;
    client.create("other").await;
    let topics = vec![fetch_topic("other", 0), fetch_topic("t", 9)];
    let waiting = fetch_from("t", 9).with_min_bytes(1).with_max_wait_ms(200_000).with_topics(topics);
    let id = client.send(12, &waiting).await;
    soon(async { while fetches(&fixture).await < 1.0 {} }).await;
    fixture.server.broker().delete_topic("t").await.unwrap();
    let response = client.reply::<FetchRequest>(12, id).await;
    let codes: Vec<i16> = response.responses.iter().map(|topic| topic.partitions[0].error_code).collect();
    assert_eq!(codes, [0, 3]);
}

#[tokio::test]
async fn a_partition_is_asked_for_once_in_a_request() {
    let (_fixture, mut client) = three_batches("t").await;
    client.create("other").await;
    let topics = vec![fetch_topic("t", 6), fetch_topic("other", 0), fetch_topic("t", 0)];
    let waiting = fetch_from("t", 0).with_min_bytes(1 << 20).with_max_wait_ms(200_000).with_topics(topics);
    let response = client.ask(12, &waiting).await;
    let told = response
        .responses
        .iter()
        .map(|topic| (topic.partitions[0].error_code, values(&topic.partitions[0]).len()));
    assert_eq!(told.collect::<Vec<_>>(), [(0, 3), (0, 0), (42, 0)]);
}

#[tokio::test]
async fn what_cannot_be_read_is_said_at_once() {
    let (_fixture, mut client) = three_batches("t").await;
    for (topic, offset, code) in [("t", 10, 1), ("t", -1, 1), ("nowhere", 0, 3), ("demo topic", 0, 17)] {
        let request = fetch_from(topic, offset).with_min_bytes(1).with_max_wait_ms(200_000);
        let data = client.fetch(12, request).await;
        assert_eq!(data.error_code, code, "{topic} {offset}");
        assert_eq!(data.records.as_deref(), Some(&b""[..]));
        if code == 1 {
            assert_eq!((data.log_start_offset, data.high_watermark), (0, 9));
        }
    }
    let with_epoch =
        |epoch| FetchPartition::default().with_current_leader_epoch(epoch).with_partition_max_bytes(99);
    for (partition, code) in [(with_epoch(0), 0), (with_epoch(1), 75), (with_epoch(-1).with_partition(7), 3)]
    {
        let mut request = fetch_from("t", 0);
        request.topics[0].partitions = vec![partition];
        assert_eq!(client.fetch(12, request).await.error_code, code);
    }
}

#[tokio::test]
async fn there_are_no_sessions() {
    let (_fixture, mut client) = three_batches("t").await;
    for version in 7..=12 {
        // A new session, please: the answer says that there is none.
        let data = client.fetch(version, fetch_from("t", 0).with_session_epoch(0)).await;
        assert_eq!(values(&data).len(), 9);
        let going_on = fetch_from("t", 0).with_session_id(5).with_session_epoch(1);
        let response: FetchResponse = client.ask(version, &going_on).await;
        assert_eq!((response.error_code, response.session_id, response.responses.len()), (70, 0, 0));
    }
}

#[tokio::test]
async fn clients_from_before_zstd_are_told_that_they_cannot_read_it() {
    let (_fixture, mut client) = three_batches("t").await;
    client.produce("t", compressed(Compression::Zstd, 50)).await;
    assert_eq!(client.fetch(10, fetch_from("t", 9)).await.error_code, 0);
    assert_eq!(client.fetch(9, fetch_from("t", 9)).await.error_code, 76);
    assert_eq!(values(&client.fetch(9, fetch_from("t", 0)).await).len(), 9, "what comes before it");
}

#[tokio::test]
async fn large_replies_come_whole() {
    let fixture = start().await;
    let mut client = Client::connect(&fixture).await;
    client.create("t").await;
    let value = "x".repeat(900_000);
    for _ in 0..30 {
        assert_eq!(client.produce("t", batch(&[&value, "small"])).await.error_code, 0);
    }
    let mut offset = 0;
    let mut replies = 0;
    while offset < 60 {
        let mut request = fetch_from("t", offset).with_max_bytes(i32::MAX);
        request.topics[0].partitions[0].partition_max_bytes = i32::MAX;
        let data = client.fetch(12, request).await;
        offset = batches(&data).last().expect("there is more").end_offset().as_i64();
        replies += 1;
    }
    assert_eq!(replies, 2, "a reply has at most 16 MiB");
}
