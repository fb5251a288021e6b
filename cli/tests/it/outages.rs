//! What the programs do when servers and topics come and go.

use std::time::Duration;

use crate::{
    program::{CONSUME, MINIKAFKA, PRODUCE, Program, run},
    server::{FreeAddress, TestServer},
};

fn tail(host: &str) -> Program {
    Program::start(CONSUME, &["-host", host, "-topic", "t"])
}

#[test]
fn consume_survives_a_restart_of_the_server() {
    let mut server = TestServer::filesystem();
    server.produce("t", "1\n2\n");
    let mut consume = tail(server.host());
    assert_eq!((consume.line(), consume.line()), ("1".into(), "2".into()));
    server.stop();
    consume.says("trying again");
    server.start_again();
    consume.says("connected again");
    server.produce("t", "3\n");
    assert_eq!(consume.line(), "3");
    consume.signal("INT");
    let ended = consume.end();
    assert_eq!((ended.code, ended.text().as_str(), ended.stderr.as_str()), (0, "", ""));
}

#[test]
fn consume_waits_for_a_topic() {
    let server = TestServer::memory();
    let mut consume = tail(server.host());
    consume.says("topic \"t\" is not there yet; waiting for it");
    server.produce("t", "1\n");
    assert_eq!(consume.line(), "1");
    server.produce("t", "2\n");
    assert_eq!(consume.line(), "2");
}

#[test]
fn consume_from_latest_misses_nothing_of_a_topic_that_comes_later() {
    let server = TestServer::memory();
    let mut consume = Program::start(CONSUME, &["-host", server.host(), "-topic", "t", "-from", "latest"]);
    consume.says("waiting");
    server.produce("t", "1\n2\n");
    assert_eq!((consume.line(), consume.line()), ("1".into(), "2".into()));
}

#[test]
fn consume_waits_for_a_server() {
    let address = FreeAddress::new();
    let mut consume = tail(address.host());
    consume.says("trying again");
    let server = TestServer::memory_at(address);
    server.produce("t", "1\n");
    assert_eq!(consume.line(), "1");
}

#[test]
fn consume_goes_on_when_a_topic_was_deleted_and_comes_back() {
    let server = TestServer::memory();
    server.produce("t", "1\n2\n3\n");
    let mut consume = tail(server.host());
    for number in ["1", "2", "3"] {
        assert_eq!(consume.line(), number);
    }
    let deleted = run(MINIKAFKA, &["topic", "delete", "t", "--host", server.host()], b"");
    assert_eq!(deleted.code, 0, "{}", deleted.stderr);
    consume.says("topic \"t\" is not there any more; waiting for it");
    server.produce("t", "new 1\n");
    assert_eq!(consume.line(), "new 1");
}

#[test]
fn consume_goes_on_when_a_server_has_lost_its_memory() {
    let mut server = TestServer::memory();
    server.produce("t", "1\n2\n3\n");
    let mut consume = tail(server.host());
    for number in ["1", "2", "3"] {
        assert_eq!(consume.line(), number);
    }
    server.stop();
    consume.says("trying again");
    server.start_again();
    server.produce("t", "new 1\n");
    assert_eq!(consume.line(), "new 1");
}

#[test]
fn consume_says_what_was_evicted() {
    let mut server = TestServer::filesystem();
    server.produce("t", "1\n2\n3\n");
    server.stop();
    server.start_short_lived();
    // Until the eviction has happened, an end-to-end read still finds messages.
    loop {
        let read = run(CONSUME, &["-host", server.host(), "-topic", "t", "-until-end"], b"");
        assert_eq!(read.code, 0, "{}", read.stderr);
        if read.stdout.is_empty() {
            break;
        }
    }
    server.produce("t", "4\n");
    let mut consume = Program::start(CONSUME, &["-host", server.host(), "-topic", "t", "-from", "2"]);
    let line = consume.says("evicted before");
    assert!(line.starts_with("consume: messages 2 to "), "{line}");
}

#[test]
fn produce_goes_on_when_the_server_was_restarted() {
    let mut server = TestServer::filesystem();
    let mut produce = Program::start(PRODUCE, &["-host", server.host(), "-topic", "t"]);
    let mut consume = Program::start(CONSUME, &["-host", server.host(), "-topic", "t"]);
    produce.write(b"1\n");
    assert_eq!(consume.line(), "1");
    server.stop();
    produce.write(b"2\n");
    server.start_again();
    assert_eq!(consume.line(), "2");
    let ended = produce.end();
    assert_eq!(ended.code, 0, "{}", ended.stderr);
}

impl TestServer {
    /// Starts it again with a retention so short that old messages are evicted.
    fn start_short_lived(&mut self) {
        self.start_as(self.builder().retention(Duration::from_secs(1)));
    }
}
