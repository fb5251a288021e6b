//! `consume` over several partitions.

use crate::{
    program::{CONSUME, Ended, run},
    server::TestServer,
};

/// A topic "t" of three partitions with three messages each: "0/1" is the first one of partition 0.
pub(crate) fn server() -> TestServer {
    let server = TestServer::memory();
    server.create_topic("t", 3);
    for partition in 0..3 {
        let lines: Vec<_> = (1..=3).map(|number| format!("{partition}/{number}")).collect();
        server.produce_to("t", partition, &lines);
    }
    server
}

pub(crate) fn consume(server: &TestServer, args: &[&str]) -> Ended {
    run(CONSUME, &[&["-host", server.host(), "-topic", "t"], args].concat(), b"")
}

#[test]
fn all_partitions_are_read_or_one() {
    let server = server();
    let all = consume(&server, &["-until-end"]);
    assert_eq!((all.code, all.stderr.as_str()), (0, ""));
    assert_eq!(all.text().lines().count(), 9);
    for partition in 0..3 {
        let of_partition: Vec<_> = all
            .text()
            .lines()
            .filter(|line| line.starts_with(&format!("{partition}/")))
            .map(str::to_owned)
            .collect();
        assert_eq!(of_partition, [1, 2, 3].map(|number| format!("{partition}/{number}")), "in order");
    }
    let one = consume(&server, &["-until-end", "-partition", "1", "-from", "2"]);
    assert_eq!((one.code, one.text().as_str()), (0, "1/2\n1/3\n"));
    // Also for one who waits for messages to come: the topic is there, and need not be waited for.
    for args in [&["-until-end", "-partition=7"][..], &["-partition=7"]] {
        let missing = consume(&server, args);
        assert_eq!(missing.code, 1);
        let says = "consume: partition 7 of topic \"t\" not found: it has 3";
        assert!(missing.stderr.starts_with(says), "{}", missing.stderr);
    }
}

#[test]
fn a_number_needs_a_partition() {
    let server = server();
    let ended = consume(&server, &["-from", "2"]);
    assert_eq!((ended.code, ended.text().as_str()), (1, ""));
    assert!(ended.stderr.contains("say which one with -partition"), "{}", ended.stderr);
}

#[test]
fn the_formats_tell_the_partition() {
    let server = server();
    let json = consume(&server, &["-partition", "2", "-count", "1", "-format", "json"]);
    assert!(json.text().starts_with("{\"partition\":2,\"number\":1,"), "{}", json.text());
    let verbose = consume(&server, &["-partition", "2", "-count", "1", "-format", "verbose"]);
    assert!(verbose.text().starts_with("2\t1\t"), "{}", verbose.text());
}

#[test]
fn what_does_not_go_together_is_refused() {
    let server = server();
    for args in [
        &["-group", "g", "-partition", "1"][..],
        &["-group", "g", "-until-end"],
        &["-commit-interval", "1s"],
        &["-group", "g", "-commit-interval", "soon"],
    ] {
        let ended = consume(&server, args);
        assert_eq!((ended.code, ended.text().as_str()), (2, ""), "{args:?}: {}", ended.stderr);
    }
}

#[test]
fn a_time_is_a_place_in_all_partitions() {
    let server = TestServer::memory();
    server.create_topic("t", 2);
    for (partition, hour) in [(0, 8), (1, 9), (0, 10), (1, 11)] {
        let noon_ms = 1_769_860_800_000;
        server.produce_at("t", partition, noon_ms + (hour - 12) * 3_600_000, &format!("at {hour}"));
    }
    for (from, expected) in [
        ("2026-01-31T10:00:00Z", &["at 10", "at 11"][..]),
        ("2026-01-31T12:00:00+02:00", &["at 10", "at 11"]),
        ("2026-01-31 05:30:00-03:30", &["at 10", "at 11", "at 9"]),
        ("2026-01-31T10:00:00.001", &["at 11"]),
        ("2026-01-31T12:00:00Z", &[]),
        ("1h30m", &[]),
        ("2000000h", &["at 10", "at 11", "at 8", "at 9"]),
    ] {
        let all = consume(&server, &["-until-end", "-from", from]);
        assert_eq!((all.code, all.stderr.as_str()), (0, ""), "{from}");
        let mut lines: Vec<_> = all.text().lines().map(str::to_owned).collect();
        lines.sort();
        assert_eq!(lines, expected, "{from}");
    }
    // A new group starts there as well.
    let group = ["-group", "g", "-from", "2026-01-31T13:00:00+02:00", "-count", "1"];
    assert_eq!(consume(&server, &group).text(), "at 11\n");
}
