//! `minikafka group` and `minikafka producer`.

use serde_json::Value;

use crate::{
    program::{CONSUME, Ended, MINIKAFKA, Program, run},
    server::TestServer,
};

fn minikafka(server: &TestServer, args: &[&str]) -> Ended {
    run(MINIKAFKA, &[args, &["-host", server.host()]].concat(), b"")
}

/// What a command that succeeds prints.
fn told(server: &TestServer, args: &[&str]) -> String {
    let ended = minikafka(server, args);
    assert_eq!(ended.code, 0, "{args:?}: {}", ended.stderr);
    ended.text()
}

fn json(server: &TestServer, args: &[&str]) -> Value {
    serde_json::from_str(&told(server, &[args, &["-output", "json"]].concat())).unwrap()
}

/// A server with three messages, of which a group has read two.
fn read_by_a_group() -> TestServer {
    let server = TestServer::filesystem();
    server.produce("orders", "one\ntwo\n");
    let args = ["-topic", "orders", "-group", "billing", "-count", "2", "-host", server.host()];
    let ended = run(CONSUME, &args, b"");
    assert_eq!((ended.code, ended.text().as_str()), (0, "one\ntwo\n"), "{}", ended.stderr);
    server.produce("orders", "three\n");
    server
}

#[test]
fn a_group_is_listed_and_described_with_its_lag() {
    let server = read_by_a_group();
    assert_eq!(told(&server, &["group", "list"]), "billing\n");
    let groups = json(&server, &["group", "list"]);
    assert_eq!((&groups[0]["name"], &groups[0]["state"]), (&"billing".into(), &"empty".into()));
    let text = told(&server, &["group", "describe", "billing"]);
    assert!(text.contains("lag        1 message behind"), "{text}");
    let group = json(&server, &["group", "describe", "billing"]);
    let position = &group["positions"][0];
    assert_eq!((&position["topic"], &position["number"]), (&"orders".into(), &3.into()));
    assert_eq!((&position["end_number"], &position["lag_messages"]), (&4.into(), &1.into()));
    assert!(position["lag_ms"].is_u64(), "{position}");
    assert_eq!(group["lag_messages"], 1);
}

#[test]
fn a_group_is_moved_after_a_look_at_what_would_happen() {
    let server = read_by_a_group();
    let seek = ["group", "seek", "billing", "-to", "earliest"];
    let dry = minikafka(&server, &[&seek[..], &["-dry-run"]].concat());
    assert_eq!((dry.code, dry.stderr.as_str()), (0, "minikafka: nothing was moved: --dry-run\n"));
    let expected = "topic   partition  from  to\norders          0     3   1\n";
    assert_eq!(dry.text(), expected);
    assert_eq!(json(&server, &["group", "describe", "billing"])["positions"][0]["number"], 3);
    assert_eq!(told(&server, &seek), expected);
    assert_eq!(json(&server, &["group", "describe", "billing"])["positions"][0]["number"], 1);
    for (to, number) in [
        ("latest", 4),
        ("2", 2),
        ("99", 4),
        ("1h", 1),
        ("2999-01-01T00:00:00Z", 4),
        ("2999-01-01T00:00:00-05:30", 4),
        ("2026-01-01T02:00:00+02:00", 1),
    ] {
        let args = ["group", "seek", "billing", "-to", to, "-topic-partition", "orders:0"];
        assert_eq!(json(&server, &args)[0]["to"], number, "{to}");
    }
}

#[test]
fn what_becomes_of_other_topics_is_nothing_to_a_group_without_members() {
    let server = read_by_a_group();
    for round in 0..5 {
        let other = format!("other-{round}");
        told(&server, &["topic", "create", &other]);
        told(&server, &["topic", "alter", "orders", "-partitions", &(round + 2).to_string()]);
        told(&server, &["topic", "delete", &other]);
        assert_eq!(json(&server, &["group", "describe", "billing"])["positions"][0]["number"], 3);
    }
    told(&server, &["topic", "delete", "orders"]);
    server.produce("orders", "anew\n");
    // It has no position any more, and without one there is no group: as soon as somebody has told it.
    let described = minikafka(&server, &["group", "describe", "billing", "-output", "json"]);
    if described.code == 0 {
        let group: Value = serde_json::from_slice(&described.stdout).unwrap();
        let mut positions = group["positions"].as_array().unwrap().iter();
        assert!(positions.all(|position| position["number"].is_null()), "{group}");
    } else {
        assert!(described.code == 1 && described.stderr.contains("not found"), "{}", described.stderr);
    }
}

#[test]
fn a_group_is_deleted() {
    let server = read_by_a_group();
    assert_eq!(told(&server, &["group", "delete", "billing"]), "");
    assert_eq!(told(&server, &["group", "list"]), "");
    let server = read_by_a_group();
    assert_eq!(json(&server, &["group", "delete", "billing"])["name"], "billing");
    assert_eq!(json(&server, &["topic", "delete", "orders"])["name"], "orders");
    for args in [&["group", "delete", "billing"][..], &["group", "describe", "billing"]] {
        let ended = minikafka(&server, args);
        assert_eq!(ended.code, 1);
        assert!(ended.stderr.contains("billing"), "{}", ended.stderr);
    }
}

#[test]
fn a_group_with_members_is_neither_moved_nor_deleted() {
    let server = read_by_a_group();
    let member = ["-topic", "orders", "-group", "billing", "-host", server.host()];
    let mut member = Program::start(CONSUME, &member);
    assert_eq!(member.line(), "three");
    for args in [&["group", "seek", "billing", "-to", "earliest"][..], &["group", "delete", "billing"]] {
        let ended = minikafka(&server, args);
        assert_eq!((ended.code, ended.text().as_str()), (1, ""), "{args:?}");
        assert!(ended.stderr.contains("billing") && ended.stderr.contains("member"), "{}", ended.stderr);
    }
    member.signal("TERM");
    assert_eq!(member.end().code, 0);
    assert_eq!(json(&server, &["group", "describe", "billing"])["positions"][0]["number"], 4);
    told(&server, &["group", "delete", "billing"]);
}

#[test]
fn nonsense_is_refused() {
    let server = TestServer::memory();
    for (args, rule) in [
        (&["group", "seek", "g", "-to", "soon"][..], "neither earliest"),
        (&["group", "seek", "g", "-to", "latest", "-topic-partition", "orders"], "like orders:3"),
        (&["group", "seek", "g"], "--to"),
        (&["group"], "Usage"),
    ] {
        let ended = run(MINIKAFKA, args, b"");
        assert!(ended.code == 2 && ended.stderr.contains(rule), "{args:?}: {}", ended.stderr);
    }
    let ended = minikafka(&server, &["group", "seek", "g", "-to", "latest", "-topic", "missing"]);
    assert!(ended.code == 1 && ended.stderr.contains("missing"), "{}", ended.stderr);
}

#[test]
fn producers_are_listed() {
    let server = TestServer::memory();
    server.produce("orders", "one\ntwo\n");
    let producers = json(&server, &["producer", "list", "orders"]);
    assert_eq!(producers.as_array().map(Vec::len), Some(1));
    assert_eq!((&producers[0]["partition"], &producers[0]["last_number"]), (&0.into(), &2.into()));
    let text = told(&server, &["producer", "list", "orders", "-partition", "0"]);
    let heading = text.lines().next().unwrap().split("  ").map(str::trim).filter(|name| !name.is_empty());
    let expected = ["partition", "producer", "epoch", "last sequence", "last message", "age"];
    assert!(heading.eq(expected), "{text}");
    server.produce("bills", "three\n");
    let all = json(&server, &["producer", "list"]);
    let all: Vec<_> =
        all.as_array().unwrap().iter().map(|each| (&each["topic"], &each["last_number"])).collect();
    assert_eq!(all, [(&"bills".into(), &1.into()), (&"orders".into(), &2.into())]);
    let text = told(&server, &["producer", "list"]);
    let first_cells: Vec<_> = text.lines().map(|line| line.split_whitespace().next().unwrap()).collect();
    assert_eq!(first_cells, ["topic", "bills", "orders"], "{text}");
    let ended = minikafka(&server, &["producer", "list", "missing"]);
    assert_eq!((ended.code, ended.stderr.as_str()), (1, "minikafka: topic \"missing\" not found\n"));
}
