//! `minikafka bench groups`: it measures a group, checks what its members read, and cleans up after itself.

use minikafka_client_connection::connect;
use minikafka_proto::v1::{
    MessageList, PollRequest, Position, ProduceRequest, position::At, produce_request::Payload,
};
use serde_json::Value;

use crate::{
    program::{Ended, MINIKAFKA, Program, run},
    server::TestServer,
};

fn groups(host: &str, args: &[&str]) -> Ended {
    run(MINIKAFKA, &[&["bench", "groups"], args, &["-host", host]].concat(), b"")
}

fn json(host: &str, args: &[&str]) -> Value {
    let ended = groups(host, &[args, &["-output", "json"]].concat());
    assert_eq!((ended.code, ended.stderr.as_str()), (0, ""), "{}", ended.text());
    serde_json::from_slice(&ended.stdout).unwrap()
}

fn assert_nothing_is_left(server: &TestServer) {
    for what in ["topic", "group"] {
        let listed = run(MINIKAFKA, &[what, "list", "-host", server.host()], b"");
        assert_eq!(listed.text(), "", "the {what} of the run is gone");
    }
}

#[test]
fn a_run_is_reported_and_leaves_nothing_behind() {
    let server = TestServer::filesystem();
    let args = ["-members", "4", "-partitions", "9", "-messages", "2000", "-rate", "2000", "-warmup", "0s"];
    let ended = groups(server.host(), &args);
    assert_eq!((ended.code, ended.stderr.as_str()), (0, ""), "{}", ended.text());
    let text = ended.text();
    for expected in [
        "command       minikafka bench groups -members 4 -partitions 9 ",
        "machine       ",
        "partitions: 9",
        "durability    synced",
        "produced      2000 messages in ",
        "consumed      2000 messages in ",
        "delivered     p50 ",
        ", 4 members: settled in ",
        "rebalance     one left and one joined: settled in ",
        "no owner      p50 ",
        ", every 100 ms: ",
        "committed     p50 ",
        " to former owners; ",
        "verified      2000 sound, 0 lost, 0 repeated, 0 changed",
    ] {
        assert!(text.contains(expected), "{expected} is missing:\n{text}");
    }
    assert_nothing_is_left(&server);
}

#[test]
fn programs_get_numbers() {
    let server = TestServer::memory();
    let args = ["-members", "3", "-partitions", "8", "-messages", "1000", "-rate", "1000"];
    let report = json(server.host(), &[&args[..], &["-commit-interval", "0s", "-warmup", "0s"]].concat());
    assert_eq!((&report["benchmark"], &report["durability"]), (&"groups".into(), &"memory".into()));
    assert_eq!((&report["consumed"]["messages"], &report["verified"]["sound"]), (&1000.into(), &1000.into()));
    let group = &report["group"];
    for time in ["settled_ms", "ready_ms"] {
        assert!(group[time].as_f64().unwrap() > 0.0, "{group}");
    }
    // The leaving member had two or three, and the joining one gets as many.
    assert!(group["rebalance"]["partitions_moved"].as_u64().unwrap() >= 2, "{group}");
    assert!(group["rebalance"]["without_owner_ms"]["max"].as_f64().unwrap() >= 0.0, "{group}");
    let commits = &group["commits"];
    assert!(commits["commits"].as_u64().unwrap() >= 8 && commits["interval_ms"] == 0.0, "{group}");
    assert!(commits["commits_per_second"].as_f64().unwrap() > 0.0, "{group}");
    for times in [&group["committed_ms"], &report["delivered_ms"], &report["acknowledged_ms"]] {
        assert!(times["p50"].as_f64().unwrap() <= times["max"].as_f64().unwrap(), "{times}");
    }
    assert_eq!((&group["members"], &group["by_former_owners"]), (&3.into(), &0.into()));
    assert_nothing_is_left(&server);
}

#[test]
fn without_a_rebalance_nothing_moves_and_nothing_comes_again() {
    let server = TestServer::memory();
    let args = ["-members", "2", "-partitions", "4", "-messages", "200", "-rate", "1000", "-steady"];
    let report = json(server.host(), &args);
    let group = &report["group"];
    assert_eq!((&group["rebalance"], &group["redelivered"]), (&Value::Null, &0.into()), "{group}");
}

#[test]
fn a_topic_that_is_there_is_used_and_stays_and_what_was_in_it_is_not_read() {
    let server = TestServer::memory();
    server.create_topic("orders", 3);
    server.produce_to("orders", 1, &["one".to_owned(), "two".to_owned()]);
    let args = ["-topic", "orders", "-members", "2", "-messages", "100", "-rate", "500"];
    let report = json(server.host(), &args);
    assert_eq!((&report["partitions"], &report["verified"]["sound"]), (&3.into(), &100.into()));
    let topics = run(MINIKAFKA, &["topic", "list", "-host", server.host()], b"");
    assert_eq!(topics.text(), "orders\n");
}

#[test]
fn more_members_than_partitions_are_measured_too() {
    let server = TestServer::memory();
    let args = ["-members", "3", "-partitions", "2", "-messages", "100", "-rate", "500"];
    assert_eq!(json(server.host(), &args)["verified"]["sound"], 100);
}

#[test]
fn nonsense_is_refused() {
    let server = TestServer::memory();
    for (args, rule) in [
        (&["-members", "0"][..], "members"),
        (&["-commit-interval", "soon"], "commit-interval"),
        (&["-topic", "orders", "-partitions", "2"], "cannot be used with"),
    ] {
        let ended = groups(server.host(), args);
        assert!(ended.code == 2 && ended.stderr.contains(rule), "{args:?}: {}", ended.stderr);
    }
    let ended = groups(server.host(), &["-topic", "missing"]);
    assert_eq!((ended.code, ended.stderr.as_str()), (1, "minikafka: topic \"missing\" not found\n"));
    let ended = groups(server.host(), &["-session-timeout", "10ms", "-partitions", "1", "-members", "1"]);
    assert_eq!(ended.code, 1, "the server has the last word: {}", ended.stderr);
    assert_nothing_is_left(&server);
}

/// Stores the first message of a partition once more, as soon as it is there.
async fn repeat_first(host: &str, topic: &str) {
    let mut client = connect(host.parse().unwrap()).await.unwrap();
    let first = loop {
        let from = Some(Position { at: Some(At::Number(1)) });
        let poll =
            PollRequest { topic: topic.to_owned(), from, max_wait_ms: 10_000, ..PollRequest::default() };
        let polled = client.poll(poll).await.unwrap().into_inner();
        if let Some(first) = polled.messages.into_iter().next() {
            break first;
        }
    };
    let payload = Some(Payload::Messages(MessageList { messages: vec![first] }));
    let again = ProduceRequest { topic: topic.to_owned(), payload, ..ProduceRequest::default() };
    client.produce(again).await.unwrap();
}

#[test]
fn a_chain_that_is_broken_is_found_out() {
    let server = TestServer::memory();
    server.create_topic("orders", 1);
    let args = ["-members", "2", "-messages", "300", "-rate", "100", "-host", server.host()];
    let bench = [&["bench", "groups", "-topic", "orders"], &args[..]].concat();
    let running = Program::start(MINIKAFKA, &bench);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(repeat_first(server.host(), "orders"));
    let ended = running.end();
    assert_eq!(ended.code, 1, "{}", ended.text());
    assert!(ended.stderr.contains("300 messages came as they were sent, 0 are lost, 1 came again or late"));
    assert!(ended.text().contains("300 sound, 0 lost, 1 repeated, 0 changed"), "{}", ended.text());
    let listed = run(MINIKAFKA, &["group", "list", "-host", server.host()], b"");
    assert_eq!(listed.text(), "", "the group is gone");
}
