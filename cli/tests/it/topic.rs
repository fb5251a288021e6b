//! `minikafka topic`.

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
fn describes_for_people_and_for_programs() {
    let server = TestServer::memory();
    server.produce("t", "1\n2\n");
    let text = topic(&server, &["describe", "t"]).text();
    assert!(text.contains("2 messages, 1 to 2") && text.contains("memory"), "{text}");
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
    assert!(describe(&server, &[]).contains("retention   168h\n"));
    assert!(json(&server)["retention_bytes"].is_null());
    server.stop();
    server.start_as(server.builder().retention_bytes(5_000_000));
    server.produce("t", "1\n");
    assert!(describe(&server, &[]).contains("retention   168h, at most 5.0 MB in each partition\n"));
    assert_eq!(json(&server)["retention_bytes"], 5_000_000);
}

#[test]
fn no_server_is_a_failure() {
    let address = FreeAddress::new();
    let address = address.host();
    let ended = run(MINIKAFKA, &["topic", "list", "-host", address], b"");
    assert_eq!(ended.code, 1);
    assert!(ended.stderr.starts_with(&format!("minikafka: cannot reach {address}: ")), "{}", ended.stderr);
}
