//! Disks that lose, stall and are full, partitions that are lost, and no room: what Kafka clients are told, and that
//! others do not notice.

use std::{fs, path::Path, sync::Arc};

use kafka_protocol::messages::{FetchRequest, FetchResponse, MetadataRequest, ProduceRequest};
use minikafka_broker::BrokerConfig;
use minikafka_server::Server;

use super::client::{
    ALL, Client, batch, batches, fetch_from, fetch_topic, produce, stamped, start_with, values, wanted,
};
use crate::{
    damage::damage,
    moody_disk::Mood,
    support::{Fixture, soon, topic_dirs},
};

const ID: i64 = 7_000;

/// A server whose disk has lost some of ten messages of topic "t", one a batch, between two runs.
async fn damaged(root: &Path, lost: &[u64]) -> (Fixture, Client) {
    let fixture = start_with(Server::builder().filesystem(root)).await;
    let mut client = Client::connect(&fixture).await;
    client.create("t").await;
    for n in 0..10 {
        assert_eq!(client.produce("t", batch(&[&format!("message {n}")])).await.error_code, 0);
    }
    drop(client);
    fixture.stop().await;
    lost.iter().for_each(|n| damage(root, &format!("message {n}")));
    let fixture = start_with(Server::builder().filesystem(root)).await;
    let client = Client::connect(&fixture).await;
    (fixture, client)
}

#[tokio::test]
async fn a_consumer_goes_on_behind_what_the_disk_has_lost_and_is_served_nothing_of_it() {
    let root = tempfile::tempdir().unwrap();
    let (_fixture, mut client) = damaged(root.path(), &[0, 4, 5, 9]).await;
    // As a consumer that begins at 0 does it: from the end of what came last.
    let (mut seen, mut next) = (Vec::new(), 0);
    while next < 9 {
        let data = client.fetch(12, fetch_from("t", next)).await;
        assert_eq!((data.error_code, data.log_start_offset, data.high_watermark), (0, 0, 10));
        let read = batches(&data);
        seen.extend(read.iter().map(|batch| batch.base_offset().get()));
        next = read.last().expect("there is more").end_offset().as_i64();
    }
    assert_eq!(seen, [1, 2, 3, 6, 7, 8]);
    // Only lost ones are left: nothing comes, until there is something new, which has a number of its own.
    assert_eq!(client.fetch(12, fetch_from("t", 9)).await.records.as_deref(), Some(&b""[..]));
    assert_eq!(client.produce("t", batch(&["new"])).await.base_offset, 10);
    assert_eq!(values(&client.fetch(12, fetch_from("t", 9)).await), ["new"]);
    assert_eq!(values(&client.fetch(12, fetch_from("t", 5)).await)[0], "message 6", "within what is lost");
}

#[tokio::test]
async fn a_damaged_partition_leaves_the_others_of_a_fetch_alone() {
    let root = tempfile::tempdir().unwrap();
    let (_fixture, mut client) = damaged(root.path(), &[4]).await;
    client.create("other").await;
    client.produce("other", batch(&["whole"])).await;
    let topics = vec![fetch_topic("t", 4), fetch_topic("other", 0)];
    let response: FetchResponse = client.ask(12, &fetch_from("t", 4).with_topics(topics)).await;
    let told: Vec<_> = response.responses.iter().map(|topic| &topic.partitions[0]).collect();
    assert_eq!((told[0].error_code, &*values(told[0])[0]), (0, "message 5"));
    assert_eq!((told[1].error_code, &*values(told[1])[0]), (0, "whole"));
    assert_eq!((client.list(7, "t", -2).await.offset, client.list(7, "t", -1).await.offset), (0, 10));
}

#[tokio::test]
async fn a_partition_without_its_log_has_no_leader_and_no_leader_epoch_and_the_other_goes_on() {
    let root = tempfile::tempdir().unwrap();
    let fixture = start_with(Server::builder().filesystem(root.path())).await;
    fixture.server.broker().create_topic("t", 2).await.unwrap();
    fixture.stop().await;
    let is_second = |log: &&std::path::PathBuf| log.file_name().unwrap().to_string_lossy().starts_with("t-1");
    fs::remove_dir_all(topic_dirs(root.path()).iter().find(is_second).unwrap()).unwrap();

    let fixture = start_with(Server::builder().filesystem(root.path())).await;
    let mut client = Client::connect(&fixture).await;
    for version in [7, 13] {
        let request = MetadataRequest::default().with_topics(Some(vec![wanted("t")]));
        let response = client.ask(version, &request).await;
        let leader = |index: usize| {
            let partition = &response.topics[0].partitions[index];
            (partition.leader_id.0, partition.leader_epoch)
        };
        assert_eq!(response.topics[0].error_code, 0);
        assert_eq!(leader(0), (response.brokers[0].node_id.0, 0));
        assert_eq!(leader(1), (-1, -1), "version {version}");
        assert_ne!(response.topics[0].partitions[1].error_code, 0);
    }
    let answers = client.ask(9, &produce("t", 1, ALL, batch(&["a"]))).await;
    assert_eq!(answers.responses[0].partition_responses[0].error_code, 56);
    assert_eq!(client.produce("t", batch(&["a"])).await.error_code, 0);
}

/// A server on a disk that is slow when it is told to be, with topic "t".
async fn moody(waiting_bytes_max: usize) -> (Fixture, Client, Arc<Mood>, tempfile::TempDir) {
    let (root, mood) = (tempfile::tempdir().unwrap(), Arc::new(Mood::default()));
    let config = BrokerConfig { waiting_bytes_max, ..BrokerConfig::default() };
    let fixture = start_with(Server::builder().storage(mood.storage(root.path())).broker(config)).await;
    let mut client = Client::connect(&fixture).await;
    client.create("t").await;
    (fixture, client, mood, root)
}

async fn wait_for_a_sync(mood: &Arc<Mood>) {
    let mood = mood.clone();
    tokio::task::spawn_blocking(move || mood.wait_for_a_sync()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_no_longer_for_the_disk_is_told_so_and_sends_the_same_again() {
    let (_fixture, mut client, mood, _root) = moody(1 << 20).await;
    mood.hold_syncs();
    let sent = stamped(&batch(&["a"]), ID, 0, 0);
    let request = produce("t", 0, ALL, sent.clone()).with_timeout_ms(1);
    let response = soon(client.ask(9, &request)).await;
    let answer = &response.responses[0].partition_responses[0];
    assert_eq!((answer.error_code, answer.base_offset), (7, -1));
    assert_eq!(client.list(7, "t", -1).await.offset, 0, "nothing is there before it is on the disk");
    mood.let_syncs_go();
    let again = client.produce("t", sent).await;
    assert_eq!((again.error_code, again.base_offset), (0, 0), "it was on its way all the time");
    assert_eq!(client.list(7, "t", -1).await.offset, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_room_producers_wait_and_nobody_else_does() {
    let (fixture, mut first, mood, _root) = moody(1).await;
    assert_eq!(first.produce("t", batch(&["before"])).await.error_code, 0);
    mood.hold_syncs();
    let (mut second, mut other) = (Client::connect(&fixture).await, Client::connect(&fixture).await);
    // All the room there is.
    let begun = first.send(9, &produce("t", 0, ALL, batch(&["first"]))).await;
    wait_for_a_sync(&mood).await;
    let waiting = second.send(9, &produce("t", 0, ALL, batch(&["second"]))).await;
    let long = fetch_from("t", 1).with_min_bytes(1).with_max_wait_ms(200_000);
    let polling = second.send(12, &long).await;
    let requests = async |api: &str| {
        let found = crate::observe::scrape(&fixture.server).await;
        found.get(&*format!("minikafka_kafka_requests_total{{api=\"{api}\"}}")).copied().unwrap_or_default()
    };
    soon(async { while requests("Produce").await < 3.0 {} }).await;
    assert_eq!(values(&other.fetch(12, fetch_from("t", 0)).await), ["before"]);
    assert_eq!(other.list(7, "t", -1).await.offset, 1);
    assert_eq!(requests("Fetch").await, 1.0, "what the second has sent behind its batch is not even read");
    mood.let_syncs_go();
    let offset = |response: kafka_protocol::messages::ProduceResponse| {
        let answer = &response.responses[0].partition_responses[0];
        (answer.error_code, answer.base_offset)
    };
    assert_eq!(offset(first.reply::<ProduceRequest>(9, begun).await), (0, 1));
    assert_eq!(offset(second.reply::<ProduceRequest>(9, waiting).await), (0, 2));
    let polled = second.reply::<FetchRequest>(12, polling).await;
    assert_eq!(values(&polled.responses[0].partitions[0]), ["first", "second"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_said_and_passes() {
    use std::sync::atomic::Ordering;
    let (_fixture, mut client, mood, _root) = moody(1 << 20).await;
    client.produce("t", batch(&["before"])).await;
    mood.is_full.store(true, Ordering::Relaxed);
    let large = batch(&[&"x".repeat(100_000)]);
    // There is a little room left when the disk is not asked yet.
    let mut end = 1;
    let refused = loop {
        let answer = client.produce("t", large.clone()).await;
        if answer.error_code != 0 {
            break answer;
        }
        end += 1;
        assert!(end < 1000, "never refused");
    };
    assert_eq!((refused.error_code, refused.base_offset), (56, -1));
    assert_eq!(&*values(&client.fetch(12, fetch_from("t", 0)).await)[0], "before", "reads go on");
    mood.is_full.store(false, Ordering::Relaxed);
    let taken = soon(async {
        loop {
            let answer = client.produce("t", large.clone()).await;
            if answer.error_code == 0 {
                break answer;
            }
        }
    })
    .await;
    assert_eq!(taken.base_offset, end, "a refused batch takes no offset");
}
