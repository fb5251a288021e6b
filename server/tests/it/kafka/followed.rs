//! One produce and one fetch, followed through the log of a real server.

use kafka_protocol::messages::{FetchRequest, ProduceRequest};
use rustix::process::Signal;

use super::client::{ALL, Client, batch, fetch_from, produce};
use crate::binary::Running;

/// What a produce leaves in the log, in this order.
const PRODUCE: [&str; 5] = ["received", "taken into an entry", SYNCED, "committed", "replied"];
/// The same of a fetch that waits.
const FETCH: [&str; 6] = ["received", "waits for more", "woken", "fetched", "read", "replied"];
/// It is that of many requests, and stands in no request's span.
const SYNCED: &str = "synced";

/// The log of a server on which a fetch waits for a produce.
async fn logged(log: &str, is_followed: bool) -> String {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path().to_str().unwrap();
    let args = ["-root-dir", directory, "-kafka-host", "127.0.0.1:0", "-log", log];
    let mut running = Running::start(&args);
    let address = running.kafka.clone().expect("the door is open");
    let mut consumer = Client::connect_to(&address).await;
    consumer.create("t").await;
    let waiting = fetch_from("t", 0).with_min_bytes(1).with_max_wait_ms(20_000);
    let fetch = consumer.send(12, &waiting).await;
    let said = if is_followed { running.says("waits for more") } else { String::new() };
    let mut producer = Client::connect_to(&address).await;
    let id = producer.send(9, &produce("t", 0, ALL, batch(&["a"]))).await;
    producer.reply::<ProduceRequest>(9, id).await;
    consumer.reply::<FetchRequest>(12, fetch).await;
    running.signal(Signal::TERM);
    let (code, rest) = running.wait();
    assert_eq!(code, Some(0), "{rest}");
    said + &rest
}

/// Whether the steps are there, one behind the other. `of` is what tells the lines of the request; `says`, how a line has a
/// message.
fn is_followed(log: &str, of: &[&str], steps: &[&str], says: fn(&str) -> String) -> bool {
    let mut lines = log.lines();
    steps.iter().all(|step| {
        let said = if *step == SYNCED { step.to_string() } else { says(step) };
        let is_ours = |line: &str| *step == SYNCED || of.iter().all(|part| line.contains(part));
        lines.any(|line| line.contains(&said) && is_ours(line))
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn at_debug_level_a_produce_and_a_fetch_are_followed_from_their_arrival_to_their_reply() {
    let says = |step: &str| format!(": {step}");
    let produce =
        ["request{peer=127.0.0.1:", "api=\"Produce\" version=9 correlation_id=1 client_id=\"test\""];
    let fetch = ["request{peer=127.0.0.1:", "api=\"Fetch\" version=12 correlation_id=2 client_id=\"test\""];
    for (level, is_there) in [("debug", true), ("info", false)] {
        let log = logged(level, is_there).await;
        assert_eq!(is_followed(&log, &produce, &PRODUCE, says), is_there, "{log}");
        assert_eq!(is_followed(&log, &fetch, &FETCH, says), is_there, "{log}");
        assert_eq!(log.contains("request{"), is_there, "{log}");
        if is_there {
            // Both in the replies' lines: what was asked for, and what came of it.
            let line =
                |of: &str| log.lines().find(|line| line.contains(of) && line.contains("replied")).unwrap();
            let brought = format!("acks=-1 partitions=1 bytes={}}}: replied bytes=", batch(&["a"]).len());
            assert!(line("Produce").contains(&brought), "{log}");
            assert!(
                line("Fetch").contains("partitions=1 min_bytes=1 max_wait_ms=20000}: replied bytes="),
                "{log}"
            );
            assert!(log.contains(":produce{partition=t-0 count=1 bytes="), "{log}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_is_there_for_programs() {
    let log = logged("debug,json", true).await;
    let says = |step: &str| format!("\"message\":\"{step}");
    for (api, steps) in [("Produce", &PRODUCE[..]), ("Fetch", &FETCH)] {
        let of = format!("\"api\":\"{api}\"");
        let of = [of.as_str(), "\"client_id\":\"test\"", "\"peer\":\"127.0.0.1:", "\"name\":\"request\""];
        assert!(is_followed(&log, &of, steps, says), "{log}");
    }
}
