//! `produce`, when all is well and when the input is not.

use std::{
    io::Write as _,
    process::{Command, Stdio},
};

use crate::{
    program::{CONSUME, MINIKAFKA, PRODUCE, Program, run},
    server::{FreeAddress, TestServer},
};

/// What comes out after `input` went in.
fn round_trip(server: &TestServer, topic: &str, input: &[u8]) -> Vec<u8> {
    let produced = run(PRODUCE, &["-host", server.host(), "-topic", topic], input);
    assert_eq!((produced.code, produced.stdout.len()), (0, 0), "{}", produced.stderr);
    let consumed = run(CONSUME, &["--host", server.host(), "--topic", topic, "--until-end"], b"");
    assert_eq!((consumed.code, consumed.stderr.as_str()), (0, ""));
    consumed.stdout
}

#[test]
fn what_goes_in_comes_out_byte_by_byte() {
    for server in [TestServer::memory(), TestServer::filesystem()] {
        for (topic, input, output) in [
            ("plain", &b"a\nb\n"[..], &b"a\nb\n"[..]),
            ("no last newline", b"a\nb", b"a\nb\n"),
            ("empty lines", b"\n\na\n\n", b"\n\na\n\n"),
            ("CR and NUL", b"a\r\n\0\n\r", b"a\r\n\0\n\r\n"),
            ("not UTF-8", b"\xff\xfe\n\x80", b"\xff\xfe\n\x80\n"),
            ("demo topic", "früh\n".as_bytes(), "früh\n".as_bytes()),
        ] {
            assert_eq!(round_trip(&server, topic, input), output, "{topic}");
        }
    }
}

#[test]
fn many_lines_and_long_lines_come_out_too() {
    let server = TestServer::memory();
    let mut input = Vec::new();
    for i in 0..200_000 {
        writeln!(input, "line {i} {}", "x".repeat(i % 97)).unwrap();
    }
    for len in [262_000, 262_144, 300_000, 1 << 20, 3 << 19] {
        writeln!(input, "{}", "y".repeat(len)).unwrap();
    }
    assert!(round_trip(&server, "many", &input) == input);
}

#[test]
fn compression_is_seen_on_the_disk_only() {
    let server = TestServer::filesystem();
    let mut input = Vec::new();
    for i in 0..20_000 {
        writeln!(input, "again and again, line {i}").unwrap();
    }
    let mut sizes = Vec::new();
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        let args = ["-host", server.host(), "-topic", codec, "-compression", codec];
        let produced = run(PRODUCE, &args, &input);
        assert_eq!(produced.code, 0, "{}", produced.stderr);
        let consumed = run(CONSUME, &["-host", server.host(), "-topic", codec, "-until-end"], b"");
        assert!(consumed.stdout == input, "{codec}: {}", consumed.stderr);
        let describe = ["topic", "describe", codec, "-host", server.host(), "-output", "json"];
        let described: serde_json::Value =
            serde_json::from_str(&run(MINIKAFKA, &describe, b"").text()).unwrap();
        sizes.push((codec, described["partitions"][0]["size_bytes"].as_u64().unwrap()));
    }
    for (codec, size) in &sizes[1..] {
        assert!(*size < sizes[0].1 / 2, "{codec}: {sizes:?}");
    }
}

#[test]
fn an_unknown_compression_is_wrong_usage() {
    let ended = run(PRODUCE, &["-topic", "t", "-compression", "brotli"], b"a\n");
    assert_eq!(ended.code, 2);
    assert!(ended.stderr.contains("choose none, gzip, snappy, lz4 or zstd"), "{}", ended.stderr);
}

#[test]
fn keys_are_what_is_before_the_first_separator() {
    let server = TestServer::memory();
    for (topic, separator, input) in
        [("colon", ":", "k:v:w\n:empty key\nno key\n"), ("tab", "\\t", "k\tv:w\n\tempty key\nno key\n")]
    {
        let args = ["-host", server.host(), "-topic", topic, "-key-separator", separator];
        let produced = run(PRODUCE, &args, input.as_bytes());
        assert_eq!(produced.code, 0, "{}", produced.stderr);
        assert!(produced.stderr.starts_with("sent 3 messages, 18 bytes, in "), "{}", produced.stderr);
        let args = ["-host", server.host(), "-topic", topic, "-until-end", "-format", "json"];
        let consumed = run(CONSUME, &args, b"").text();
        let messages: Vec<serde_json::Value> =
            consumed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let pairs: Vec<_> =
            messages.iter().map(|message| (message["key"].as_str(), message["value"].as_str())).collect();
        let expected = [(Some("k"), Some("v:w")), (Some(""), Some("empty key")), (None, Some("no key"))];
        assert_eq!(pairs, expected);
    }
    let ended = run(PRODUCE, &["-topic", "t", "-key-separator", ""], b"");
    assert_eq!(ended.code, 2);
    assert!(ended.stderr.contains("it is empty"), "{}", ended.stderr);
}

#[test]
fn a_partition_that_is_not_there_is_named() {
    let server = TestServer::memory();
    let args = ["-host", server.host(), "-topic", "t", "-partition"];
    assert_eq!(run(PRODUCE, &[&args[..], &["0"]].concat(), b"a\n").code, 0);
    let ended = run(PRODUCE, &[&args[..], &["3"]].concat(), b"a\n");
    assert_eq!(ended.code, 1);
    assert!(ended.stderr.contains("partition 3 of topic \"t\" not found"), "{}", ended.stderr);
    assert!(ended.stderr.contains("PARTITION_NOT_FOUND"), "{}", ended.stderr);
}

#[test]
fn ends_with_a_summary() {
    let server = TestServer::memory();
    let args = ["-host", server.host(), "-topic", "t"];
    let ended = run(PRODUCE, &args, b"a\nbc\n\n");
    assert!(ended.stderr.starts_with("sent 3 messages, 3 bytes, in "), "{}", ended.stderr);
    assert!(ended.stderr.ends_with("; last number 3\n"), "{}", ended.stderr);
    assert_eq!(ended.stderr.lines().count(), 1, "no prompt without a terminal: {}", ended.stderr);
    assert_eq!(run(PRODUCE, &args, b"").stderr, "sent 0 messages\n");
}

#[test]
fn reads_a_file() {
    let server = TestServer::memory();
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(b"from\na file").unwrap();
    let path = file.path().to_str().unwrap();
    let ended = run(PRODUCE, &["-host", server.host(), "-topic", "t", "-file", path], b"");
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert_eq!(ended.stderr.lines().count(), 1, "no bar without a terminal: {}", ended.stderr);
    let consumed = run(CONSUME, &["-host", server.host(), "-topic", "t", "-until-end"], b"");
    assert_eq!(consumed.text(), "from\na file\n");

    for path in ["/no/such/file", "/"] {
        let ended = run(PRODUCE, &["-host", server.host(), "-topic", "t", "-file", path], b"");
        assert_eq!(ended.code, 1);
        assert!(ended.stderr.starts_with(&format!("produce: cannot read {path}: ")), "{}", ended.stderr);
    }
}

#[test]
fn a_line_over_the_limit_is_named_with_the_rule() {
    let server = TestServer::memory();
    let mut input = b"a\nb\n".to_vec();
    input.extend(vec![b'x'; 4 << 20]);
    input.extend(b"\nc\n");
    let ended = run(PRODUCE, &["-host", server.host(), "-topic", "t"], &input);
    assert_eq!(ended.code, 1);
    assert!(ended.stderr.starts_with("produce: line 3 is the first unconfirmed line: "), "{}", ended.stderr);
    assert!(ended.stderr.contains("MESSAGE_TOO_LARGE"), "{}", ended.stderr);
    assert!(ended.stderr.contains("the 2 lines before it are stored"), "{}", ended.stderr);
}

#[test]
fn a_line_so_large_that_the_server_does_not_read_it_is_refused_too() {
    let server = TestServer::memory();
    let mut input = b"a\nb\n".to_vec();
    input.extend(vec![b'x'; 8_000_000]);
    let ended = run(PRODUCE, &["-host", server.host(), "-topic", "t"], &input);
    assert_eq!(ended.code, 1);
    let expected =
        "produce: line 3 is the first unconfirmed line: refused: the request is over the limit of ";
    assert!(ended.stderr.starts_with(expected), "{}", ended.stderr);
    let end = " (MESSAGE_TOO_LARGE); the 2 lines before it are stored\n";
    assert!(ended.stderr.ends_with(end), "nothing of later lines, there are none: {}", ended.stderr);
    let consumed = run(CONSUME, &["-host", server.host(), "-topic", "t", "-until-end"], b"");
    assert_eq!(consumed.text(), "a\nb\n");
}

#[test]
fn a_line_without_end_is_refused() {
    let server = TestServer::memory();
    let mut input = b"a\n".to_vec();
    input.extend(vec![b'x'; 65 << 20]);
    let ended = run(PRODUCE, &["-host", server.host(), "-topic", "t"], &input);
    assert_eq!(ended.code, 1);
    assert!(ended.stderr.starts_with("produce: line 2 is longer than "), "{}", ended.stderr);
    let consumed = run(CONSUME, &["-host", server.host(), "-topic", "t", "-until-end"], b"");
    assert_eq!(consumed.text(), "a\n");
}

#[test]
fn a_bad_topic_name_is_refused() {
    let server = TestServer::memory();
    let ended = run(PRODUCE, &["-host", server.host(), "-topic", "../x"], b"a\n");
    assert_eq!(ended.code, 1);
    assert!(
        ended.stderr.contains("line 1") && ended.stderr.contains("INVALID_TOPIC_NAME"),
        "{}",
        ended.stderr
    );
}

#[test]
fn a_slow_input_is_sent_as_it_comes() {
    let server = TestServer::memory();
    let mut produce = Program::start(PRODUCE, &["-host", server.host(), "-topic", "t"]);
    let mut consume = Program::start(CONSUME, &["-host", server.host(), "-topic", "t"]);
    for line in ["first", "second", "third"] {
        produce.write(format!("{line}\n").as_bytes());
        assert_eq!(consume.line(), line);
    }
    assert_eq!(produce.end().code, 0);
}

#[test]
fn a_signal_ends_it_with_the_summary_of_what_is_stored() {
    let server = TestServer::memory();
    for (signal, topic) in [("INT", "i"), ("TERM", "t")] {
        let mut produce = Program::start(PRODUCE, &["-host", server.host(), "-topic", topic]);
        let mut consume = Program::start(CONSUME, &["-host", server.host(), "-topic", topic]);
        produce.write(b"1\n2\n3\npart of a line");
        assert_eq!((consume.line(), consume.line(), consume.line()), ("1".into(), "2".into(), "3".into()));
        produce.signal(signal);
        let line = produce.says("sent");
        assert!(line.starts_with("sent 3 messages, 3 bytes, in "), "{line}");
        assert!(line.ends_with("; last number 3\n"), "{line}");
        assert_eq!(produce.end().code, 130);
    }
}

#[test]
fn a_signal_before_there_is_a_server_ends_it() {
    let address = FreeAddress::new();
    let mut produce = Program::start(PRODUCE, &["-host", address.host(), "-topic", "t"]);
    produce.says("cannot reach");
    produce.signal("INT");
    let ended = produce.end();
    assert_eq!((ended.code, ended.stderr.as_str()), (130, "sent 0 messages\n"));
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let mut server = TestServer::memory();
    let mut produce = Program::start(PRODUCE, &["-host", server.host(), "-topic", "t", "-timeout", "1h"]);
    let mut consume = Program::start(CONSUME, &["-host", server.host(), "-topic", "t"]);
    produce.write(b"1\n");
    assert_eq!(consume.line(), "1");
    server.stop();
    // It cannot be sent, and would be waited for for an hour.
    produce.write(b"2\n");
    while !produce.has_ended() {
        produce.signal("INT");
    }
    assert_eq!(produce.end().code, 130);
}

#[test]
fn a_server_that_is_not_there_is_waited_for_in_vain() {
    let address = FreeAddress::new();
    let address = address.host();
    let ended = run(PRODUCE, &["-host", address, "-topic", "t", "-timeout", "600ms"], b"a\n");
    assert_eq!(ended.code, 1);
    let expected = format!("produce: cannot reach {address}: ");
    assert!(ended.stderr.lines().next().unwrap().starts_with(&expected), "{}", ended.stderr);
    assert!(ended.stderr.contains("nothing is sent"), "{}", ended.stderr);
}

#[test]
fn a_server_that_starts_later_is_waited_for() {
    let address = FreeAddress::new();
    let mut produce = Program::start(PRODUCE, &["-host", address.host(), "-topic", "t"]);
    produce.write(b"a\n");
    produce.says("cannot reach");
    let _server = TestServer::memory_at(address);
    let ended = produce.end();
    assert_eq!(ended.code, 0, "{}", ended.stderr);
}

#[test]
fn what_is_stored_is_a_success_also_when_nobody_can_read_stderr() {
    let server = TestServer::memory();
    let args = ["-host", server.host(), "-topic", "t"];
    let mut produce =
        Command::new(PRODUCE).args(args).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(produce.stderr.take());
    produce.stdin.take().unwrap().write_all(b"a\n").unwrap();
    assert_eq!(produce.wait().unwrap().code(), Some(0));
}
