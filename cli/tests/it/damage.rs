//! Messages that the server's disk has lost.

use std::collections::BTreeSet;

use crate::{
    program::{CONSUME, MINIKAFKA, Program, run},
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
fn a_shell_reads_the_others() {
    let server = with_lost(&[1]);
    let lines = b"subscribe q\njoin g -from earliest\npoll -wait 1m -count 10\npoll -wait 10ms\n";
    let ended = run(MINIKAFKA, &["shell", "-host", server.host()], lines);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert_eq!(ended.text().lines().map(str::to_owned).collect::<BTreeSet<_>>(), of_the_others());
    assert_eq!(ended.stderr.matches(LOST).count(), 1, "{}", ended.stderr);
}
