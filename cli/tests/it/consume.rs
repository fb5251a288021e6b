//! `consume`, when all is well and when the wish is not.

use std::{
    io::Read as _,
    process::{Command, Stdio},
};

use crate::{
    program::{CONSUME, Ended, Program, run},
    server::{FreeAddress, TestServer},
};

fn consume(server: &TestServer, args: &[&str]) -> Ended {
    run(CONSUME, &[&["-host", server.host(), "-topic", "t"], args].concat(), b"")
}

#[test]
fn starts_and_ends_where_it_is_told() {
    let server = TestServer::memory();
    server.produce("t", "1\n2\n3\n4\n5\n");
    for (args, expected) in [
        (&["-until-end"][..], "1\n2\n3\n4\n5\n"),
        (&["-until-end", "-from", "earliest"], "1\n2\n3\n4\n5\n"),
        (&["-until-end", "-from", "4"], "4\n5\n"),
        (&["-until-end", "-from=5"], "5\n"),
        (&["-until-end", "-from", "6"], ""),
        (&["-until-end", "-from", "latest"], ""),
        (&["-count", "2"], "1\n2\n"),
        (&["--count=2", "--from=3"], "3\n4\n"),
        (&["-count", "9", "-until-end"], "1\n2\n3\n4\n5\n"),
    ] {
        let ended = consume(&server, args);
        assert_eq!((ended.code, ended.text().as_str(), ended.stderr.as_str()), (0, expected, ""), "{args:?}");
    }
}

#[test]
fn a_start_beyond_the_end_names_the_end() {
    let server = TestServer::memory();
    server.produce("t", "1\n2\n3\n");
    for args in [&["-from", "5"][..], &["-from", "5", "-until-end"]] {
        let ended = consume(&server, args);
        assert_eq!((ended.code, ended.text().as_str()), (1, ""), "{args:?}");
        assert!(ended.stderr.contains("4 the next to come"), "{}", ended.stderr);
    }
}

#[test]
fn until_end_needs_a_topic_and_a_server() {
    let server = TestServer::memory();
    let ended = consume(&server, &["-until-end"]);
    assert_eq!((ended.code, ended.text().as_str()), (1, ""));
    assert!(ended.stderr.contains("\"t\""), "{}", ended.stderr);
    let address = FreeAddress::new();
    let address = address.host();
    let ended = run(CONSUME, &["-host", address, "-topic", "t", "-until-end"], b"");
    assert_eq!(ended.code, 1);
    assert!(ended.stderr.starts_with(&format!("consume: cannot reach {address}: ")), "{}", ended.stderr);
}

#[test]
fn a_bad_topic_name_is_refused() {
    let server = TestServer::memory();
    let ended = run(CONSUME, &["-host", server.host(), "-topic", "../x"], b"");
    assert_eq!((ended.code, ended.text().as_str()), (1, ""));
}

#[test]
fn formats_are_what_they_say() {
    let server = TestServer::memory();
    server.produce("t", "a\n\"b\"\n");
    let json = consume(&server, &["-until-end", "-format", "json"]).text();
    let objects: Vec<serde_json::Value> =
        json.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(objects[1]["number"], 2);
    assert_eq!(objects[1]["value"], "\"b\"");
    assert!(objects[1]["key"].is_null() && objects[1]["timestamp_ms"].is_i64());
    let verbose = consume(&server, &["-until-end", "-format=verbose", "-from", "2"]).text();
    let fields: Vec<&str> = verbose.trim_end().split('\t').collect();
    assert_eq!((fields[0], fields[1], fields[3], fields[4]), ("0", "2", "", "\"b\""));
    assert_eq!(fields[2], objects[1]["timestamp_ms"].to_string());
}

#[test]
fn two_readers_read_on_their_own() {
    let server = TestServer::memory();
    server.produce("t", "1\n2\n");
    let args = ["-host", server.host(), "-topic", "t"];
    let mut one = Program::start(CONSUME, &args);
    let mut other = Program::start(CONSUME, &[&args[..], &["-from", "2"]].concat());
    assert_eq!((one.line(), one.line(), other.line()), ("1".into(), "2".into(), "2".into()));
    server.produce("t", "3\n");
    assert_eq!((one.line(), other.line()), ("3".into(), "3".into()));
}

#[test]
fn a_signal_ends_it_and_loses_nothing_that_was_read() {
    let server = TestServer::memory();
    server.produce("t", "1\n2\n");
    for signal in ["INT", "TERM"] {
        let mut endless = Program::start(CONSUME, &["-host", server.host(), "-topic", "t"]);
        assert_eq!((endless.line(), endless.line()), ("1".into(), "2".into()));
        endless.signal(signal);
        let ended = endless.end();
        assert_eq!((ended.code, ended.stderr.as_str()), (0, ""));
    }
    let mut short = Program::start(CONSUME, &["-host", server.host(), "-topic", "t", "-count", "5"]);
    assert_eq!((short.line(), short.line()), ("1".into(), "2".into()));
    short.signal("INT");
    assert_eq!(short.end().code, 130);
}

#[test]
fn a_signal_ends_it_as_well_when_nobody_reads_its_output() {
    let server = TestServer::memory();
    server.produce("t", &"a line\n".repeat(200_000));
    for (args, code) in [(&[][..], 0), (&["-count", "300000"], 130)] {
        let args = [&["-host", server.host(), "-topic", "t"], args].concat();
        let mut consume = Command::new(CONSUME).args(args).stdout(Stdio::piped()).spawn().unwrap();
        // Once the first byte is there, it is writing more than a pipe takes.
        consume.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
        let killed = Command::new("kill").args(["-s", "INT", &consume.id().to_string()]).status().unwrap();
        assert!(killed.success());
        assert_eq!(consume.wait().unwrap().code(), Some(code));
    }
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let server = TestServer::memory();
    server.produce("t", &"a line\n".repeat(100_000));
    let pipe = format!("'{CONSUME}' -host {} -topic t | head -n 1; echo ${{PIPESTATUS[0]}}", server.host());
    let ended = run("bash", &["-c", &pipe], b"");
    assert_eq!((ended.text().as_str(), ended.stderr.as_str()), ("a line\n0\n", ""));
}
