//! `minikafka topic`.

use minikafka_broker::BrokerConfig;

use crate::{
    program::{Ended, MINIKAFKA, run},
    server::{FreeAddress, TestServer},
};

fn topic(server: &TestServer, args: &[&str]) -> Ended {
    run(MINIKAFKA, &[&["topic"], args, &["--host", server.host()]].concat(), b"")
}

#[test]
fn topics_come_and_go() {
    let server = TestServer::memory();
    assert_eq!(topic(&server, &["list"]).text(), "");
    for name in ["b", "demo topic"] {
        let created = topic(&server, &["create", name]);
        assert_eq!((created.code, created.text().as_str(), created.stderr.as_str()), (0, "", ""));
    }
    server.produce("a", "1\n2\n");
    assert_eq!(topic(&server, &["list"]).text(), "a\nb\ndemo topic\n");
    let again = topic(&server, &["create", "b"]);
    assert_eq!(again.code, 1);
    assert!(again.stderr.starts_with("minikafka: ") && again.stderr.contains("\"b\""), "{}", again.stderr);
    assert_eq!(topic(&server, &["delete", "b"]).code, 0);
    assert_eq!(topic(&server, &["list"]).text(), "a\ndemo topic\n");
    for action in ["delete", "describe"] {
        let missing = topic(&server, &[action, "b"]);
        assert_eq!((missing.code, missing.text().as_str()), (1, ""));
        assert!(missing.stderr.contains("\"b\""), "{}", missing.stderr);
    }
}

#[test]
fn a_topic_has_the_partitions_of_the_server_unless_told_otherwise() {
    let mut server = TestServer::memory();
    server.stop();
    server.start_as(server.builder().broker(BrokerConfig { partitions: 8, ..BrokerConfig::default() }));
    assert_eq!(topic(&server, &["create", "by flag", "-partitions", "2"]).code, 0);
    assert_eq!(topic(&server, &["create", "by hand"]).code, 0);
    assert_eq!(run(MINIKAFKA, &["shell", "-host", server.host()], b"add topic shell\n").code, 0);
    for (name, count) in [("by flag", 2), ("by hand", 8), ("shell", 8)] {
        let json = topic(&server, &["describe", name, "-output", "json"]).text();
        let described: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(described["partitions"].as_array().unwrap().len(), count, "{name}");
    }
}

#[test]
fn describes_for_people_and_for_programs() {
    let server = TestServer::memory();
    server.produce("t", "1\n2\n");
    let text = topic(&server, &["describe", "t"]).text();
    let lines: Vec<&str> = text.lines().collect();
    let cells = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(cells(lines[lines.len() - 2]), ["partition", "messages", "first", "next", "stored"], "{text}");
    assert_eq!(cells(lines[lines.len() - 1])[..4], ["0", "2", "1", "3"], "{text}");
    assert!(text.contains("durability       memory: "), "{text}");
    let json = topic(&server, &["describe", "t", "-output", "json"]).text();
    let described: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&described["name"], &described["durability"]), (&"t".into(), &"memory".into()));
    assert_eq!(described["partitions"][0]["end_number"], 3);
    let json = topic(&server, &["list", "--output=json"]).text();
    let listed: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(listed[0]["name"], "t");
    assert_eq!(listed[0]["id"], described["id"]);
}

#[test]
fn describes_how_much_is_kept() {
    let mut server = TestServer::memory();
    let describe =
        |server: &TestServer, args: &[&str]| topic(server, &[&["describe", "t"], args].concat()).text();
    let json = |server: &TestServer| {
        serde_json::from_str::<serde_json::Value>(&describe(server, &["-output", "json"])).unwrap()
    };
    server.produce("t", "1\n");
    assert!(describe(&server, &[]).contains("retention        168h      (the server's)\n"));
    assert!(json(&server)["retention_bytes"].is_null());
    server.stop();
    server.start_as(server.builder().retention_bytes(5_000_000));
    server.produce("t", "1\n");
    assert!(
        describe(&server, &[]).contains("retention bytes  5000000 bytes in each partition  (the server's)\n")
    );
    assert_eq!(json(&server)["retention_bytes"], 5_000_000);
}

#[test]
fn a_topic_has_partitions_and_settings_of_its_own() {
    let server = TestServer::memory();
    let flags = ["-partitions", "12", "-retention", "24h", "--retention-bytes=10GiB", "-message-max", "1MiB"];
    assert_eq!(topic(&server, &[&["create", "orders"][..], &flags].concat()).code, 0);
    let text = topic(&server, &["describe", "orders"]).text();
    for line in [
        "retention        24h                      (the topic's own)\n",
        "retention bytes  10GiB in each partition  (the topic's own)\n",
        "message max      1MiB                     (the topic's own)\n",
        "\n       11         0      1     1  0 bytes\n",
    ] {
        assert!(text.contains(line), "{line} in {text}");
    }
    let flags = ["-partitions", "24", "-retention", "default", "-retention-bytes", "unlimited"];
    let altered = topic(&server, &[&["alter", "orders", "-output", "json"][..], &flags].concat());
    let altered: serde_json::Value = serde_json::from_str(&altered.text()).unwrap();
    assert_eq!(altered["partitions"], 24);
    let json = topic(&server, &["describe", "orders", "-output", "json"]).text();
    let described: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(described["partitions"].as_array().unwrap().len(), 24);
    assert_eq!(
        (&described["retention_ms_source"], &described["retention_bytes_source"]),
        (&"server".into(), &"topic".into())
    );
    assert_eq!(
        (&described["retention_bytes"], &described["message_bytes_max"]),
        (&serde_json::Value::Null, &1_048_576.into())
    );
    let json = topic(&server, &["list", "--output", "json"]).text();
    assert_eq!(serde_json::from_str::<serde_json::Value>(&json).unwrap()[0]["partitions"], 24);
}

#[test]
fn what_cannot_be_is_refused_with_the_rule() {
    let server = TestServer::memory();
    topic(&server, &["create", "t", "-partitions", "3"]);
    for (args, code, part) in [
        (&["alter", "t", "-partitions", "2"][..], 1, "has 3 partitions and cannot have 2"),
        (&["alter", "t", "-message-max", "1GiB"], 1, "minikafka: -message-max: "),
        (&["alter", "u", "-partitions", "2"], 1, "topic \"u\" not found"),
        (&["alter", "t", "-retention-bytes", "1KiB"], 1, "minikafka: -retention-bytes: "),
        (&["alter", "t", "-message-max", "unlimited"], 2, "a message has a limit"),
        (&["alter", "t", "-message-max", "never"], 2, "a message has a limit"),
        (&["alter", "t", "-message-max", "0"], 2, "more than zero"),
        (&["alter", "t", "-retention-bytes", "0KiB"], 2, "more than zero"),
        (&["alter", "t", "-retention-bytes", "9223372036854775808"], 2, "at most 9223372036854775807"),
        (&["create", "u", "-retention", "0s"], 2, "at least 1ms, or never"),
        (&["alter", "t", "-retention", "999us"], 2, "at least 1ms, or never"),
        (&["alter", "t", "-retention", "-1s"], 2, "is negative"),
        (&["alter", "t", "-partitions", "0"], 2, "0 is not in"),
        (&["alter", "t"], 2, "--partitions"),
        (&["create", "u", "-partitions", "0"], 2, "0 is not in"),
        (&["create", "u", "-retention", "soon"], 2, "write it as"),
        (&["create", "u", "-retention-bytes", "10GB"], 2, "MiB"),
    ] {
        let refused = topic(&server, args);
        assert_eq!((refused.code, refused.text().as_str()), (code, ""), "{args:?}");
        assert!(refused.stderr.contains(part), "{part} in {}", refused.stderr);
    }
    assert_eq!(topic(&server, &["list"]).text(), "t\n");
}

#[test]
fn no_server_is_a_failure() {
    let address = FreeAddress::new();
    let address = address.host();
    let ended = run(MINIKAFKA, &["topic", "list", "-host", address], b"");
    assert_eq!(ended.code, 1);
    assert!(ended.stderr.starts_with(&format!("minikafka: cannot reach {address}: ")), "{}", ended.stderr);
}
