//! Messages that the server's disk has lost.

use std::collections::BTreeSet;

use crate::{
    program::{CONSUME, MINIKAFKA, PRODUCE, Program, run},
    server::TestServer,
};

#[test]
fn what_the_disk_has_lost_is_said_and_skipped() {
    let mut server = TestServer::filesystem();
    for line in ["message A", "message B", "message C", "message D"] {
        server.produce("t", &format!("{line}\n"));
    }
    server.stop();
    server.damage("message A");
    server.damage("message C");
    server.start_again();
    let consume =
        |args: &[&str]| run(CONSUME, &[&["-host", server.host(), "-topic", "t"], args].concat(), b"");
    let said = |number, next| {
        format!("consume: message {number} is lost to damage of the server's disk; going on at {next}\n")
    };
    let all = consume(&["-until-end"]);
    assert_eq!((all.code, all.text().as_str()), (0, "message B\nmessage D\n"));
    assert_eq!(all.stderr, said(1, 2) + &said(3, 4), "once for each");
    let some = consume(&["-from", "3", "-count", "1"]);
    assert_eq!((some.code, some.text().as_str(), some.stderr), (0, "message D\n", said(3, 4)));

    let describe = |args: &[&str]| {
        run(MINIKAFKA, &[&["topic", "describe", "t", "-host", server.host()], args].concat(), b"").text()
    };
    let text = describe(&[]);
    let lines: Vec<&str> = text.lines().rev().take(3).collect();
    assert_eq!(lines[0], "lost: messages that damage of the disk has taken", "{text}");
    assert!(lines[1].ends_with(" 2") && lines[2].ends_with(" lost"), "{text}");
    let described: serde_json::Value = serde_json::from_str(&describe(&["-output", "json"])).unwrap();
    assert_eq!(described["partitions"][0]["damaged_messages"], 2);
}

/// A server whose disk has lost these of the three partitions of topic q, each with five messages.
fn with_lost(partitions: &[u32]) -> TestServer {
    let mut server = TestServer::filesystem();
    server.create_topic("q", 3);
    for partition in 0..3 {
        let values: Vec<_> = (1..=5).map(|number| format!("{partition}/{number}")).collect();
        server.produce_to("q", partition, &values);
    }
    server.stop();
    partitions.iter().for_each(|partition| server.lose("q", *partition));
    server.start_again();
    server
}

/// What is there when partition 1 is lost.
fn of_the_others() -> BTreeSet<String> {
    [0, 2].iter().flat_map(|partition| (1..=5).map(move |number| format!("{partition}/{number}"))).collect()
}

const LOST: &str = "the log of topic \"q\" partition 1 is missing or damaged: restore it and restart the server, or delete the topic";

#[test]
fn a_lost_partition_is_said_once_and_the_others_are_printed() {
    for more in [&[][..], &["-group", "g"]] {
        let server = with_lost(&[1]);
        let mut consume = Program::start(CONSUME, &[&["-host", server.host(), "-topic", "q"], more].concat());
        let printed: BTreeSet<_> = (0..10).map(|_| consume.line()).collect();
        assert_eq!(printed, of_the_others());
        assert_eq!(consume.says(""), format!("consume: {LOST}; going on with the others\n"));
        // It goes on.
        server.produce_to("q", 2, &["more".to_owned()]);
        assert_eq!(consume.line(), "more");
        consume.signal("INT");
        let ended = consume.end();
        assert_eq!((ended.code, ended.stderr.as_str()), (0, ""));
    }
}

#[test]
fn an_end_that_cannot_be_reached_is_a_failure() {
    let server = with_lost(&[1]);
    let consume = |args: &[&str]| {
        run(CONSUME, &[&["-host", server.host(), "-topic", "q", "-until-end"], args].concat(), b"")
    };
    let ended = consume(&[]);
    assert_eq!((ended.code, ended.text().lines().map(str::to_owned).collect()), (1, of_the_others()));
    let expected = format!(
        "consume: {LOST}; going on with the others\nconsume: topic \"q\" is printed but for what damage of the server's disk has put out of service: partition 1\n"
    );
    assert_eq!(ended.stderr, expected);
    for args in [&["-count", "10"][..], &["-partition", "2"]] {
        let ended = consume(args);
        assert_eq!(ended.code, 0, "{}", ended.stderr);
    }
    let ended = consume(&["-partition", "1"]);
    assert_eq!((ended.code, ended.stderr), (1, format!("consume: {LOST}\n")));
}

#[test]
fn nothing_but_lost_partitions_is_not_waited_for() {
    let server = with_lost(&[0, 1, 2]);
    for more in [&[][..], &["-group", "g"]] {
        let ended = run(CONSUME, &[&["-host", server.host(), "-topic", "q"], more].concat(), b"");
        assert_eq!((ended.code, ended.text().as_str()), (1, ""));
        assert!(ended.stderr.contains("is missing or damaged"), "{}", ended.stderr);
    }
}

#[test]
fn messages_without_keys_go_to_the_others() {
    let server = with_lost(&[0, 1]);
    (0..8).for_each(|_| server.produce("q", "x\n"));
    let produce = |args: &[&str], line: &[u8]| {
        run(PRODUCE, &[&["-host", server.host(), "-topic", "q"], args].concat(), line)
    };
    let ended = produce(&["-partition", "1"], b"x\n");
    assert!(ended.code == 1 && ended.stderr.contains(LOST), "{}", ended.stderr);
    // murmur2 sends one of these keys at least to each of three partitions.
    let keyed: String = (0..20).map(|key| format!("{key}:x\n")).collect();
    let ended = produce(&["-key-separator", ":"], keyed.as_bytes());
    assert!(ended.code == 1 && ended.stderr.contains("is missing or damaged"), "{}", ended.stderr);
    let server = with_lost(&[0, 1, 2]);
    let ended = run(PRODUCE, &["-host", server.host(), "-topic", "q"], b"x\n");
    assert!(ended.code == 1 && ended.stderr.contains("is missing or damaged"), "{}", ended.stderr);
}

#[test]
fn the_lag_of_a_group_says_what_is_lost() {
    let mut server = with_lost(&[]);
    let read = |server: &TestServer| {
        run(CONSUME, &["-host", server.host(), "-topic", "q", "-group", "g", "-count", "15"], b"")
    };
    assert_eq!(read(&server).code, 0);
    server.stop();
    server.lose("q", 1);
    server.start_again();
    let describe = |server: &TestServer, args: &[&str]| {
        run(MINIKAFKA, &[&["group", "describe", "g", "-host", server.host()], args].concat(), b"").text()
    };
    let text = describe(&server, &[]);
    assert!(text.contains("lag        unknown in 1 lost partition\n"), "{text}");
    let row: Vec<_> =
        text.lines().find(|line| line.starts_with("q              1")).unwrap().split_whitespace().collect();
    assert_eq!(row, ["q", "1", "6", "lost", "lost", "lost", "-"]);
    assert!(
        text.ends_with("lost: the log of the partition is missing or damaged, see the server's log\n"),
        "{text}"
    );
    let described: serde_json::Value =
        serde_json::from_str(&describe(&server, &["-output", "json"])).unwrap();
    let positions = &described["positions"];
    assert_eq!((&positions[1]["is_lost"], &positions[1]["number"]), (&true.into(), &6.into()));
    assert!(positions[1]["lag_messages"].is_null() && positions[1]["end_number"].is_null());
    assert_eq!((&positions[2]["is_lost"], &positions[2]["lag_messages"]), (&false.into(), &0.into()));
    server.produce_to("q", 2, &["more".to_owned()]);
    let text = describe(&server, &[]);
    assert!(text.contains("1 message behind") && text.contains(", unknown in 1 lost partition"), "{text}");
}

#[test]
fn a_shell_reads_the_others() {
    let server = with_lost(&[1]);
    let lines = b"subscribe q\njoin g -from earliest\npoll -wait 1m -count 10\npoll -wait 10ms\n";
    let ended = run(MINIKAFKA, &["shell", "-host", server.host()], lines);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert_eq!(ended.text().lines().map(str::to_owned).collect::<BTreeSet<_>>(), of_the_others());
    assert_eq!(ended.stderr.matches(LOST).count(), 1, "{}", ended.stderr);
}
