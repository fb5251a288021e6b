//! `minikafka shell` with a script as its input.

use crate::{
    program::{Ended, MINIKAFKA, Program, run},
    server::{FreeAddress, TestServer},
};

fn script(server: &TestServer, flags: &[&str], lines: &str) -> Ended {
    run(MINIKAFKA, &[&["shell", "-host", server.host()], flags].concat(), lines.as_bytes())
}

#[test]
fn a_script_says_only_what_it_was_told_to() {
    let server = TestServer::memory();
    let lines = "# a comment\n\nadd topic orders -partitions 3\r\ntopic list\nsend -partition 2 orders a, b\n\
                 consume orders -until-end -format verbose";
    let ended = script(&server, &[], lines);
    assert_eq!((ended.code, ended.stderr.as_str()), (0, "message 1 of partition 2\n"));
    let (list, message) = ended.stdout.split_at(7);
    assert_eq!(list, b"orders\n");
    let message = String::from_utf8(message.to_vec()).unwrap();
    assert!(message.starts_with("2\t1\t") && message.ends_with("\t\ta, b\n"), "{message:?}");
}

#[test]
fn the_exit_code_says_whether_a_command_failed() {
    let server = TestServer::memory();
    let lines = "topic describe t\nnonsense\nadd topic t\ntopic list\n";
    let ended = script(&server, &[], lines);
    assert_eq!((ended.code, ended.text().as_str()), (1, "t\n"));
    for line in ["minikafka: line 1: topic: topic \"t\" not found", "minikafka: line 2: unrecognized"] {
        assert!(ended.stderr.contains(line), "{}", ended.stderr);
    }
    let ended = script(&server, &["-stop-on-error"], "add topic t\nadd topic u\n");
    assert_eq!((ended.code, script(&server, &[], "topic list").text().as_str()), (1, "t\n"));
    let ended = script(&server, &[], "quit\nnonsense\n");
    assert_eq!((ended.code, ended.stderr.as_str()), (0, ""));
    assert_eq!(script(&server, &[], "").code, 0);
    let ended = run(MINIKAFKA, &["shell", "-host", server.host()], b"topic list\nsend t \xff\n");
    assert_eq!((ended.code, ended.text().as_str()), (1, "t\n"));
    assert!(ended.stderr.contains("not text"), "{}", ended.stderr);
}

#[test]
fn a_member_misses_nothing_that_is_sent_after_it_has_joined() {
    let server = TestServer::memory();
    let lines = "add topic t\nsend t early\nsubscribe t\njoin g\nsend t one\nsend t two\n\
                 poll -wait 1m -count 2\nleave\nsend t three\njoin g\npoll -wait 1m -count 1\n";
    let ended = script(&server, &[], lines);
    assert_eq!((ended.code, ended.text().as_str()), (0, "one\ntwo\nthree\n"), "{}", ended.stderr);
    // The end of the input leaves the group, and commits what was printed.
    let ended = script(&server, &[], "subscribe t\njoin g\nsend t four\npoll -wait 1m -count 1\n");
    assert_eq!(ended.text(), "four\n", "{}", ended.stderr);
}

#[test]
fn a_topic_may_be_subscribed_to_after_joining_and_given_up() {
    let server = TestServer::memory();
    let lines = "add topic t\nadd topic u\njoin g\nsubscribe t u\nsend t one\npoll -wait 1m -count 1\n\
                 send u two\npoll -wait 1m -count 1\nunsubscribe t\nsend t three\nsend u four\n\
                 poll -wait 1m -count 1\n";
    let ended = script(&server, &[], lines);
    assert_eq!((ended.code, ended.text().as_str()), (0, "one\ntwo\nfour\n"), "{}", ended.stderr);
}

#[test]
fn ctrl_c_ends_a_script() {
    let server = TestServer::memory();
    server.produce("t", "one\n");
    let mut shell = Program::start(MINIKAFKA, &["shell", "-host", server.host()]);
    shell.write(b"consume t\nremove topic t\n");
    assert_eq!(shell.line(), "one");
    shell.signal("INT");
    assert_eq!(shell.end().code, 130);
    assert_eq!(script(&server, &[], "topic list").text(), "t\n");
}

#[test]
fn no_server_is_a_failure_of_each_command() {
    let address = FreeAddress::new();
    let ended = run(MINIKAFKA, &["shell", "-host", address.host()], b"topic list\nsend t x\njoin g\n");
    assert_eq!(ended.code, 1);
    assert_eq!(ended.stderr.matches("cannot reach").count(), 3, "{}", ended.stderr);
}

#[test]
fn unsubscribing_from_what_is_not_subscribed_to_changes_nothing() {
    let server = TestServer::memory();
    let lines = "subscribe t u\nunsubscribe t typo\nstatus\nunsubscribe u t t\nstatus\n";
    let ended = script(&server, &[], lines);
    assert_eq!(ended.stderr, "minikafka: line 2: unsubscribe: not subscribed to topic \"typo\"\n");
    let text = ended.text();
    let (before, after) = text.split_once("\nserver ").unwrap();
    assert!(before.contains("\nt ") && before.contains("\nu "), "{text}");
    assert!(after.ends_with("subscribed to nothing\n"), "{text}");
    assert_eq!(ended.code, 1);
}

#[test]
fn times_are_places_to_start_at() {
    let server = TestServer::memory();
    let lines = "send t one\nconsume t -until-end -from 2999-01-01T00:00:00+02:00\nconsume t -until-end -from 1h\n\
                 subscribe t\njoin g -from 1h\npoll -wait 1m -count 1\n";
    let ended = script(&server, &[], lines);
    assert_eq!((ended.code, ended.text().as_str()), (0, "one\none\n"), "{}", ended.stderr);
}
