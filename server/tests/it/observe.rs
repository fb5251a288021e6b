//! `/metrics`, `/healthz` and `/readyz`, as those see them who watch over a server.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use minikafka_broker::{BrokerConfig, PositionToStore, PositionsBy, TopicPartition};
use minikafka_proto::v1::{
    CommitPositionsRequest, PartitionPosition, PollRequest, SubscribeRequest,
    group_service_client::GroupServiceClient,
};
use minikafka_record::Offset;
use minikafka_server::Server;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use crate::{
    moody_disk::Mood,
    support::{Fixture, Hands, batch, list, message, number, poll, soon, topic_dirs},
};

/// Asks as `curl` does. Returns the head and the body.
pub(crate) async fn get(server: &Server, path: &str, headers: &str) -> (String, String) {
    let mut stream = TcpStream::connect(server.local_addr()).await.unwrap();
    let head = format!("GET {path} HTTP/1.1\r\nHost: here\r\nConnection: close\r\n{headers}\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut reply = String::new();
    soon(stream.read_to_string(&mut reply)).await.unwrap();
    let (head, body) = reply.split_once("\r\n\r\n").expect("a head");
    (head.to_owned(), body.to_owned())
}

pub(crate) async fn scrape(server: &Server) -> BTreeMap<String, f64> {
    let (head, body) = get(server, "/metrics", "").await;
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    let samples = body.lines().filter(|line| !line.starts_with('#'));
    samples
        .map(|line| {
            let (name, value) = line.rsplit_once(' ').expect("a sample");
            (name.to_owned(), value.parse().unwrap_or_else(|_| panic!("{line}")))
        })
        .collect()
}

async fn ready(server: &Server) -> (bool, String) {
    let (head, body) = get(server, "/readyz", "").await;
    (head.starts_with("HTTP/1.1 200"), body)
}

async fn grpc_status(fixture: &Fixture) -> ServingStatus {
    let mut health = HealthClient::new(fixture.channel.clone());
    health.check(HealthCheckRequest::default()).await.unwrap().into_inner().status()
}

#[tokio::test]
async fn what_goes_in_and_out_is_counted() {
    let root = tempfile::tempdir().unwrap();
    let fixture = Fixture::start(Server::builder().filesystem(root.path())).await;
    let before = scrape(&fixture.server).await;
    assert_eq!(before["minikafka_topics"], 0.0);
    assert_eq!(before["minikafka_ready"], 1.0);

    let topic = "say \"hi\" twice";
    fixture.produce(topic, &["a", "b"]).await;
    fixture.v1.clone().produce(batch("t", &["c"])).await.unwrap();
    fixture.poll(poll(topic, number(2))).await.unwrap();
    let request = SubscribeRequest { topic: "t".into(), from: number(1), ..SubscribeRequest::default() };
    let mut replies = fixture.v1.clone().subscribe(request).await.unwrap().into_inner();
    soon(replies.message()).await.unwrap().unwrap();

    let after = scrape(&fixture.server).await;
    let hi = r#"{topic="say \"hi\" twice"}"#;
    assert_eq!(after[&format!("minikafka_produced_messages_total{hi}")], 2.0);
    assert_eq!(after[&format!("minikafka_fetched_messages_total{hi}")], 1.0);
    assert_eq!(after[r#"minikafka_produced_messages_total{topic="t"}"#], 1.0);
    assert_eq!(after[r#"minikafka_fetched_messages_total{topic="t"}"#], 1.0);
    for bytes in ["minikafka_produced_bytes_total", "minikafka_fetched_bytes_total"] {
        assert!(after[&format!(r#"{bytes}{{topic="t"}}"#)] > 1.0, "{after:?}");
    }
    assert_eq!((after["minikafka_topics"], after["minikafka_partitions"]), (2.0, 2.0));
    assert_eq!(after["minikafka_produce_duration_seconds_count"], 2.0);
    assert!(after["minikafka_produce_duration_seconds_sum"] > 0.0);
    for batches in ["minikafka_produced_batch_bytes", "minikafka_produced_batch_messages"] {
        assert_eq!(after[&format!("{batches}_count")], 2.0, "one for each request");
    }
    assert_eq!(after[r#"minikafka_produced_batch_bytes_bucket{le="256"}"#], 2.0);
    assert_eq!(after[r#"minikafka_produced_batch_messages_bucket{le="1"}"#], 1.0);
    assert_eq!(after["minikafka_produced_batch_messages_sum"], 3.0);
    assert_eq!(after["minikafka_fetch_duration_seconds_count"], 2.0);
    assert!(after[r#"minikafka_fsync_duration_seconds_count{file="journal"}"#] >= 1.0, "{after:?}");
    assert!(after["minikafka_group_commit_entries_sum"] >= 2.0, "{after:?}");
    assert_eq!(after["minikafka_unsynced_bytes"], 0.0, "what is acknowledged is synced");
    assert!(after["minikafka_connections"] >= 2.0, "the client's and the scrape's own");
    assert!(after["minikafka_storage_free_bytes"] > 0.0);
}

#[tokio::test]
async fn refusals_are_counted_by_reason_wherever_they_stand() {
    let fixture = Fixture::memory().await;
    fixture.produce("t", &["a"]).await;
    // In the head, in the trailers of a stream, and in the reply to a request of a stream.
    fixture.poll(PollRequest { topic: "nobody".into(), ..PollRequest::default() }).await.unwrap_err();
    let request = SubscribeRequest { topic: "t".into(), ..SubscribeRequest::default() };
    let mut replies = fixture.v1.clone().subscribe(request).await.unwrap().into_inner();
    soon(replies.message()).await.unwrap();
    fixture.server.broker().delete_topic("t").await.unwrap();
    soon(replies.message()).await.unwrap_err();
    let empty = minikafka_proto::v1::ProduceStreamRequest::default();
    let mut replies =
        fixture.v1.clone().produce_stream(tokio_stream::iter([empty])).await.unwrap().into_inner();
    soon(replies.message()).await.unwrap().unwrap();

    let after = scrape(&fixture.server).await;
    let refused = |reason| after[&format!(r#"minikafka_requests_refused_total{{reason="{reason}"}}"#)];
    assert_eq!(refused("TOPIC_NOT_FOUND"), 2.0);
    assert_eq!(refused("INVALID_REQUEST"), 1.0);
}

#[tokio::test]
async fn every_metric_stands_in_the_docs_and_nothing_else_does() {
    let root = tempfile::tempdir().unwrap();
    let fixture = Fixture::start(Server::builder().filesystem(root.path())).await;
    let (_, body) = get(&fixture.server, "/metrics", "").await;
    let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let exported: BTreeSet<(String, String)> = body
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE "))
        .map(words)
        .map(|words| (words[0].clone(), words[1].clone()))
        .collect();
    let helped = body.lines().filter_map(|line| line.strip_prefix("# HELP ")).map(words);
    assert!(helped.clone().all(|words| words.len() > 2), "each has its help");
    let helped: BTreeSet<String> = helped.map(|words| words[0].clone()).collect();
    assert_eq!(helped, exported.iter().map(|(name, _)| name.clone()).collect());

    let docs = include_str!("../../../docs/metrics.md");
    let documented: BTreeSet<(String, String)> = docs
        .lines()
        .filter_map(|line| line.strip_prefix("| `"))
        .map(|row| {
            let mut cells = row.split(" | ");
            let name = cells.next().expect("a name").trim_end_matches('`');
            (name.to_owned(), cells.next().expect("a type").to_owned())
        })
        .collect();
    assert_eq!(exported, documented);
}

#[tokio::test]
async fn lost_partitions_are_counted_and_the_server_is_ready() {
    let root = tempfile::tempdir().unwrap();
    let fixture = Fixture::start(Server::builder().filesystem(root.path())).await;
    fixture.produce("t", &["x"]).await;
    fixture.produce("u", &["x"]).await;
    assert_eq!(scrape(&fixture.server).await["minikafka_lost_partitions"], 0.0);
    fixture.stop().await;
    std::fs::remove_dir_all(topic_dirs(root.path()).remove(0)).unwrap();
    let fixture = Fixture::start(Server::builder().filesystem(root.path())).await;
    let metrics = scrape(&fixture.server).await;
    assert_eq!((metrics["minikafka_lost_partitions"], metrics["minikafka_partitions"]), (1.0, 2.0));
    assert!(ready(&fixture.server).await.0, "the rest is served");
}

#[tokio::test]
async fn the_lag_of_a_group_is_told_in_messages_and_in_time() {
    let hands = Hands::default();
    let config = BrokerConfig { clock: Arc::new(hands.clone()), ..BrokerConfig::default() };
    let fixture = Fixture::start(Server::builder().memory().broker(config)).await;
    fixture.produce("t", &["a", "b", "c"]).await;
    let mut groups = GroupServiceClient::new(fixture.channel.clone());
    for (group, number) in [("slow", 2), ("done", 4)] {
        let position = PartitionPosition { topic: "t".into(), number, ..PartitionPosition::default() };
        let group = group.to_owned();
        let positions = vec![position];
        let commit = CommitPositionsRequest { group, positions, ..CommitPositionsRequest::default() };
        groups.commit_positions(commit).await.unwrap();
    }
    hands.pass(Duration::from_millis(1500));
    let samples = scrape(&fixture.server).await;
    assert_eq!(samples["minikafka_groups"], 2.0);
    assert_eq!(samples[r#"minikafka_group_lag_messages{group="slow"}"#], 2.0);
    assert_eq!(samples[r#"minikafka_group_lag_seconds{group="slow"}"#], 1.5);
    assert_eq!(samples[r#"minikafka_group_lag_messages{group="done"}"#], 0.0);
    assert_eq!(samples[r#"minikafka_group_lag_seconds{group="done"}"#], 0.0);
    for lag in ["messages", "seconds"] {
        assert_eq!(samples[&format!(r#"minikafka_groups_untold{{lag="{lag}"}}"#)], 0.0);
    }
}

#[tokio::test]
async fn groups_whose_lag_is_not_told_are_counted() {
    let fixture = Fixture::memory().await;
    fixture.produce("t", &["a"]).await;
    let broker = fixture.server.broker();
    let commits = (0..1010).map(|group| async move {
        let of = TopicPartition { topic: "t".to_owned(), partition: 0 };
        let position = PositionToStore { of, offset: Offset::ZERO, metadata: String::new() };
        let group = format!("{group:04}");
        broker.commit_positions(&group, PositionsBy::Outsider, vec![position]).await.unwrap();
    });
    futures_util::future::join_all(commits).await;
    let samples = scrape(&fixture.server).await;
    assert_eq!(samples["minikafka_groups"], 1010.0);
    let told = samples.keys().filter(|name| name.starts_with("minikafka_group_lag_messages{")).count() as f64;
    // As many as there is time for on this machine, and no more than a page is to hold.
    assert!((1.0..=1000.0).contains(&told), "{told}");
    assert_eq!(samples[r#"minikafka_groups_untold{lag="messages"}"#], 1010.0 - told);
}

#[tokio::test]
async fn a_full_disk_is_not_ready_until_there_is_room() {
    let (root, mood) = (tempfile::tempdir().unwrap(), Arc::new(Mood::default()));
    let fixture = Fixture::start(Server::builder().storage(mood.storage(root.path()))).await;
    assert_eq!(ready(&fixture.server).await, (true, "ready\n".to_owned()));

    mood.is_full.store(true, Ordering::Relaxed);
    let (is_ready, why) = ready(&fixture.server).await;
    assert!(
        !is_ready && why.starts_with("not ready\nSTORAGE_FULL: the disk has 5000000 bytes left"),
        "{why}"
    );
    assert_eq!(grpc_status(&fixture).await, ServingStatus::NotServing);
    let (head, _) = get(&fixture.server, "/healthz", "").await;
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert_eq!(scrape(&fixture.server).await["minikafka_storage_read_only"], 1.0);
    let (head, body) = get(&fixture.server, "/readyz", "Accept: application/json\r\n").await;
    assert!(head.starts_with("HTTP/1.1 503") && head.contains("application/json"), "{head}");
    assert!(body.contains(r#""reason":"STORAGE_FULL""#), "{body}");

    // Nobody has to try first.
    mood.is_full.store(false, Ordering::Relaxed);
    assert!(ready(&fixture.server).await.0);
    assert_eq!(grpc_status(&fixture).await, ServingStatus::Serving);
    fixture.v1.clone().produce(list("t", vec![message("a")])).await.unwrap();
}

#[tokio::test]
async fn a_partition_that_has_failed_is_counted_and_keeps_nobody_away() {
    let (root, mood) = (tempfile::tempdir().unwrap(), Arc::new(Mood::default()));
    let fixture = Fixture::start(Server::builder().storage(mood.storage(root.path()))).await;
    fixture.produce("t", &["a"]).await;
    mood.is_broken.store(true, Ordering::Relaxed);
    fixture.v1.clone().produce(list("t", vec![message("b")])).await.unwrap_err();
    assert!(scrape(&fixture.server).await["minikafka_poisoned_logs"] >= 1.0);
    // Nobody would produce to a server that is not ready, and it would stay as it is.
    let (is_ready, why) = ready(&fixture.server).await;
    assert!(is_ready, "{why}");
    mood.is_broken.store(false, Ordering::Relaxed);
    // From here on no more fail. Perhaps the server's own have, too, when the writer came to them.
    let failed = scrape(&fixture.server).await["minikafka_poisoned_logs"];
    fixture.v1.clone().produce(list("t", vec![message("c")])).await.unwrap();
    let left = scrape(&fixture.server).await["minikafka_poisoned_logs"];
    assert!(left < failed, "it was opened again: {left} of {failed}");
}

#[tokio::test]
async fn a_storage_whose_thread_has_ended_is_not_ready() {
    let (root, mood) = (tempfile::tempdir().unwrap(), Arc::new(Mood::default()));
    let storage = mood.storage(root.path());
    let fixture = Fixture::start(Server::builder().storage(storage.clone())).await;
    // What a thread that panics leaves behind, as far as anybody sees.
    minikafka_storage::Storage::close(&*storage).unwrap();
    let (is_ready, why) = ready(&fixture.server).await;
    assert!(!is_ready && why.contains("STORAGE_STOPPED"), "{why}");
    assert_eq!(scrape(&fixture.server).await["minikafka_storage_stopped"], 1.0);
}

#[tokio::test]
async fn who_watches_hears_of_a_full_disk() {
    let (root, mood) = (tempfile::tempdir().unwrap(), Arc::new(Mood::default()));
    let fixture = Fixture::start(Server::builder().storage(mood.storage(root.path()))).await;
    let mut health = HealthClient::new(fixture.channel.clone());
    let mut watch = health.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
    assert_eq!(soon(watch.message()).await.unwrap().unwrap().status(), ServingStatus::Serving);
    mood.is_full.store(true, Ordering::Relaxed);
    assert_eq!(soon(watch.message()).await.unwrap().unwrap().status(), ServingStatus::NotServing);
    mood.is_full.store(false, Ordering::Relaxed);
    assert_eq!(soon(watch.message()).await.unwrap().unwrap().status(), ServingStatus::Serving);

    let unknown = HealthCheckRequest { service: "nobody".into() };
    let mut watch = health.watch(unknown).await.unwrap().into_inner();
    assert_eq!(soon(watch.message()).await.unwrap().unwrap().status(), ServingStatus::ServiceUnknown);
}

#[tokio::test]
async fn a_process_that_serves_is_alive() {
    let fixture = Fixture::memory().await;
    let (head, body) = get(&fixture.server, "/healthz", "").await;
    assert!(head.starts_with("HTTP/1.1 200") && body == "serving\n", "{head}\n{body}");
    let (_, body) = get(&fixture.server, "/healthz", "Accept: application/json\r\n").await;
    assert_eq!(body, "{\"reasons\":[],\"status\":\"serving\"}\n");
}
