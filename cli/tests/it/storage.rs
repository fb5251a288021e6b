//! `minikafka storage`.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;

use crate::{
    program::{Ended, MINIKAFKA, run},
    server::TestServer,
};

fn storage(action: &str, root: &Path, args: &[&str]) -> Ended {
    run(MINIKAFKA, &[&["storage", action, root.to_str().unwrap()], args].concat(), b"")
}

/// A directory with two topics, whose server has stopped.
fn stopped() -> TestServer {
    let mut server = TestServer::filesystem();
    // One each: more at once may come in any number of entries.
    ["one\n", "two\n", "three\n"].iter().for_each(|line| server.produce("t", line));
    server.produce("u", "other\n");
    server.stop();
    server
}

/// The segment of topic "t".
fn segment(root: &Path) -> PathBuf {
    let dirs = fs::read_dir(root.join("logs")).unwrap().map(|entry| entry.unwrap().path());
    let dir =
        dirs.into_iter().find(|dir| dir.file_name().unwrap().to_str().unwrap().starts_with("t-0.")).unwrap();
    dir.join(format!("{:020}.log", 0))
}

fn json(ended: &Ended) -> Vec<Value> {
    ended.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_whole_directory_is_verified_for_people_and_for_programs() {
    let server = stopped();
    let ended = storage("verify", server.root(), &[]);
    assert_eq!((ended.code, ended.stderr.as_str()), (0, ""));
    let text = ended.text();
    assert!(
        // With what the server itself has written down: its beginning, two topics, and producer ids.
        text.starts_with("3 logs, 3 segments, 8 frames, 8 messages, ") && text.ends_with(": whole\n"),
        "{text}"
    );
    let ended = storage("verify", server.root(), &["-output", "json"]);
    let report = json(&ended).remove(0);
    assert_eq!((ended.code, &report["whole"], &report["messages"]), (0, &true.into(), &8.into()));
    assert_eq!(report["findings"], Value::Array(Vec::new()));
}

#[test]
fn damage_is_told_in_numbers() {
    let server = stopped();
    let path = segment(server.root());
    let mut content = fs::read(&path).unwrap();
    content[128 + 70] ^= 1;
    fs::write(&path, content).unwrap();
    let ended = storage("verify", server.root(), &[]);
    assert_eq!((ended.code, ended.stderr.as_str()), (1, ""));
    let text = ended.text();
    for part in [
        "damage: topic \"t\" partition 0: logs/t-0.",
        ".log at byte 128: ",
        "; message 1 is lost, reading goes on at 2\n",
        ": 1 damage, 1 message lost\n",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    let ended = storage("verify", server.root(), &["--output", "json"]);
    let report = json(&ended).remove(0);
    assert_eq!((ended.code, &report["whole"], &report["lost_messages"]), (1, &false.into(), &1.into()));
    let finding = &report["findings"][0];
    assert_eq!((&finding["severity"], &finding["topic"]), (&"damage".into(), &"t".into()));
    assert_eq!((&finding["last_lost_number"], &finding["next_number"]), (&1.into(), &2.into()));

    // The rest is shown.
    let ended = storage("dump", server.root(), &["-topic", "t", "-records"]);
    assert_eq!(ended.code, 1);
    assert!(ended.stderr.contains("is damaged at byte 128"), "{}", ended.stderr);
    assert!(ended.text().ends_with(" key null value \"three\"\n"), "{}", ended.text());
}

#[test]
fn entries_and_messages_are_dumped() {
    let server = stopped();
    let ended = storage("dump", server.root(), &[]);
    assert_eq!((ended.code, ended.stderr.as_str()), (0, ""));
    let text = ended.text();
    let of = |log: &str| text.lines().filter(|line| line.starts_with(log)).count();
    assert_eq!([of("t-0 "), of("u-0 "), of("__minikafka_metadata-0 ")], [3, 1, 4]);
    assert!(text.contains("\nt-0 index 0 epoch 0: message 1, data, appended at "), "{text}");
    let lines =
        json(&storage("dump", server.root(), &["-topic", "t", "-from", "3", "-records", "-output", "json"]));
    assert_eq!(lines.len(), 2);
    assert_eq!((&lines[0]["index"], &lines[0]["first_number"]), (&2.into(), &3.into()));
    assert_eq!((&lines[0]["journaled"], &lines[0]["durable_number"]), (&false.into(), &2.into()));
    assert_eq!((&lines[1]["number"], &lines[1]["value"]), (&3.into(), &"three".into()));
    assert_eq!(storage("dump", server.root(), &["-topic", "t", "-count", "1"]).text().lines().count(), 1);
    assert_eq!(storage("dump", server.root(), &["-topic", "nobody"]).code, 1);
}

#[test]
fn what_is_no_data_directory_or_in_use_is_a_failure() {
    let empty = tempfile::tempdir().unwrap();
    fs::write(empty.path().join("letter"), b"dear").unwrap();
    let server = TestServer::filesystem();
    for (root, what) in [
        (empty.path(), "is not a MiniKafka data directory"),
        (&empty.path().join("nowhere"), "No such file"),
        (server.root(), "is locked"),
    ] {
        for action in ["verify", "dump"] {
            let ended = storage(action, root, &[]);
            assert_eq!((ended.code, ended.text().as_str()), (1, ""));
            assert!(
                ended.stderr.starts_with("minikafka: ") && ended.stderr.contains(what),
                "{}",
                ended.stderr
            );
        }
    }
}

#[test]
fn each_action_has_examples() {
    for action in ["verify", "dump"] {
        let help = run(MINIKAFKA, &["storage", action, "--help"], b"").text();
        assert!(help.contains(&format!("Examples:\n  minikafka storage {action}")), "{help}");
        assert!(help.contains("Exit codes: 0"), "{help}");
    }
}
