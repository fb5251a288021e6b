//! How lines are read.

use super::*;

fn sent(line: &str) -> (String, String, Option<String>, Option<u32>) {
    match parse(line) {
        Parsed::Command(Command::Send(Sending { topic, message, key, partition })) => {
            (topic, message, key, partition)
        }
        other => panic!("{line}: {other:?}"),
    }
}

fn nonsense(line: &str) -> String {
    match parse(line) {
        Parsed::Nonsense(text) => text,
        other => panic!("{line}: {other:?}"),
    }
}

#[test]
fn the_grammar_is_sound() {
    commands().debug_assert();
}

#[test]
fn a_message_is_the_rest_of_the_line_as_it_stands() {
    for (line, topic, message) in [
        ("send t hello world", "t", "hello world"),
        ("  send  t   two  spaces ", "t", "two  spaces "),
        ("send 'demo topic' it's", "demo topic", "it's"),
        (r#"send t {"id": 1, "name": "a b"}"#, "t", r#"{"id": 1, "name": "a b"}"#),
        ("send t 'in quotes'", "t", "in quotes"),
        ("send t ' padded '", "t", " padded "),
        (r#"send t "two\nlines""#, "t", "two\nlines"),
        (r#"send t '"a string"'"#, "t", "\"a string\""),
        ("send t 'a' 'b'", "t", "'a' 'b'"),
        ("send t ''", "t", ""),
        ("send t -5", "t", "-5"),
        ("send t --key x", "t", "--key x"),
        ("send t # 1", "t", "# 1"),
        ("send -- -t -m", "-t", "-m"),
        ("send größe π", "größe", "π"),
    ] {
        assert_eq!(sent(line), (topic.to_owned(), message.to_owned(), None, None), "{line}");
    }
    let keyed = ("t".to_owned(), "in".to_owned(), Some("alice".to_owned()), Some(2));
    for line in ["send -key alice -partition 2 t in", "send --key=alice --partition=2 -- t in"] {
        assert_eq!(sent(line), keyed, "{line}");
    }
    assert_eq!(sent("send -key -x t m").2.as_deref(), Some("-x"));
}

#[test]
fn nonsense_is_named() {
    for (line, part) in [
        ("frobnicate", "'frobnicate'"),
        ("./topic list", "'./topic'"),
        ("topic.x list", "'topic.x'"),
        ("add orders", "'orders'"),
        ("add topic", "<TOPIC>"),
        ("send", "<TOPIC>"),
        ("send t", "<MESSAGE>"),
        ("join", "<GROUP>"),
        ("join g -from 7", "neither earliest, latest, a time like"),
        ("poll -count 0", "at least 1"),
        ("poll -wait soon", "soon"),
        ("topic list -host :1", "--host"),
        ("subscribe 'demo", "quote ' is not closed"),
    ] {
        let said = nonsense(line);
        assert!(said.contains(part) && !said.starts_with("error"), "{line}: {said}");
        assert!(!said.contains("\n\n") && !said.contains("For more"), "{line}: {said}");
    }
}

#[test]
fn there_is_help_for_everything() {
    for (line, part) in [
        ("help", "  send "),
        ("help", "Ctrl-D leaves"),
        ("help", "Says more about a command\n\nA word"),
        ("help send", "send orders \"two\\nlines\""),
        ("send -help", "send orders"),
        ("help topic create", "\n  topic create audit -retention never"),
        ("help add topic", "add topic [OPTIONS] <TOPIC>"),
    ] {
        let Parsed::Help(text) = parse(line) else { panic!("{line}") };
        assert!(text.contains(part), "{line}: {text}");
        assert!(!text.contains("minikafka topic") && !text.contains("--host"), "{line}: {text}");
    }
}

#[test]
fn a_blank_line_and_a_comment_are_nothing() {
    for line in ["", "  ", "# add topic x", "\t# x"] {
        assert!(matches!(parse(line), Parsed::Nothing), "{line}");
    }
}
