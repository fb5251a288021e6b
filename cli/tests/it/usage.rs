//! Help, versions, and what is no usage.

use crate::program::{CONSUME, MINIKAFKA, PRODUCE, run};

#[test]
fn nonsense_exits_with_2() {
    for (program, args) in [
        (PRODUCE, &[][..]),
        (PRODUCE, &["-topic"]),
        (PRODUCE, &["-topic", "t", "-nonsense"]),
        (PRODUCE, &["-topic", "t", "-timeout", "soon"]),
        (PRODUCE, &["-topic", "t", "-timeout", "0s"]),
        (CONSUME, &[]),
        (CONSUME, &["-topic", "t", "-from", "0"]),
        (CONSUME, &["-topic", "t", "-from", "never"]),
        (CONSUME, &["-topic", "t", "-from", "2026-01-31T12:00:00+24:00"]),
        (CONSUME, &["-topic", "t", "-count", "0"]),
        (CONSUME, &["-topic", "t", "-format", "xml"]),
        (MINIKAFKA, &[]),
        (MINIKAFKA, &["topic"]),
        (MINIKAFKA, &["topic", "create"]),
        (MINIKAFKA, &["topic", "rename", "a", "b"]),
        (MINIKAFKA, &["shell", "topic", "list"]),
        (MINIKAFKA, &["shell", "-host", "nonsense"]),
        (MINIKAFKA, &["bench", "produce", "-partitions", "0"]),
        (MINIKAFKA, &["bench", "consume", "-messages", "0"]),
        (MINIKAFKA, &["bench", "latency", "-duration", "0s"]),
        (MINIKAFKA, &["bench", "latency", "-rate", "0"]),
        (MINIKAFKA, &["bench", "groups", "-session-timeout", "0s"]),
        (MINIKAFKA, &["producer", "list", "-partition", "0"]),
        (MINIKAFKA, &["storage"]),
        (MINIKAFKA, &["storage", "verify"]),
        (MINIKAFKA, &["storage", "repair", "."]),
        (MINIKAFKA, &["storage", "dump", ".", "-from", "0"]),
        (MINIKAFKA, &["storage", "verify", ".", "-output", "xml"]),
    ] {
        let ended = run(program, args, b"");
        assert_eq!((ended.code, ended.text().as_str()), (2, ""), "{args:?}");
        assert!(!ended.stderr.is_empty());
    }
}

#[test]
fn a_wrong_address_is_nonsense_too() {
    for program in [PRODUCE, CONSUME] {
        let ended = run(program, &["-topic", "t", "-host", "nonsense"], b"a\n");
        assert_eq!(ended.code, 2);
        assert!(ended.stderr.contains("\"nonsense\" has no port"), "{}", ended.stderr);
    }
}

#[test]
fn help_has_examples_and_a_version_is_there() {
    for (program, name) in [(PRODUCE, "produce"), (CONSUME, "consume"), (MINIKAFKA, "minikafka")] {
        for flag in ["-help", "--help", "-h"] {
            let help = run(program, &[flag], b"");
            assert_eq!(help.code, 0);
            assert!(help.text().contains("Examples:"), "{}", help.text());
        }
        for flag in ["-version", "--version", "-V"] {
            let version = run(program, &[flag], b"");
            assert_eq!(version.text(), format!("{name} {}\n", env!("CARGO_PKG_VERSION")));
        }
    }
}

#[test]
fn each_action_has_examples() {
    let topic = ["list", "describe", "create", "alter", "delete"].map(|action| ("topic", action));
    let group = ["list", "describe", "seek", "delete"].map(|action| ("group", action));
    for (noun, action) in topic.into_iter().chain(group).chain([("producer", "list")]) {
        let help = run(MINIKAFKA, &[noun, action, "--help"], b"").text();
        assert!(help.contains(&format!("Examples:\n  minikafka {noun} {action}")), "{help}");
        assert!(help.contains("How to print: text or json") && !help.contains("possible values"), "{help}");
    }
}

#[test]
fn each_benchmark_has_examples() {
    for what in ["produce", "consume", "latency", "groups"] {
        let help = run(MINIKAFKA, &["bench", what, "--help"], b"").text();
        assert!(help.contains(&format!("Examples:\n  minikafka bench {what}")), "{help}");
    }
}

#[test]
fn a_count_of_zero_is_refused_with_the_rule() {
    let ended = run(CONSUME, &["-topic", "t", "-count", "0"], b"");
    assert!(ended.stderr.contains("-count must be at least 1"), "{}", ended.stderr);
}
