//! `minikafka completion`: what shells make of it. bash is asked itself; of the others, the scripts are read.

use std::collections::BTreeSet;

use crate::program::{MINIKAFKA, run};

/// Completes the last one of the words, as bash does when somebody presses Tab.
const PRESS_TAB: &str = r#"
source <("$1" completion bash "$2") || exit
COMP_WORDS=("${@:2}")
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
[[ $(complete -p "$2") =~ -F\ ([^ ]+) ]] || exit
"${BASH_REMATCH[1]}" "$2" "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
((${#COMPREPLY[@]} == 0)) || printf '%s\n' "${COMPREPLY[@]}"
"#;

/// What bash offers for a command line that ends where the cursor is.
fn offered(line: &str) -> BTreeSet<String> {
    let words: Vec<&str> = line.split(' ').collect();
    let ended = run("bash", &[&["--norc", "-c", PRESS_TAB, "bash", MINIKAFKA], &words[..]].concat(), b"");
    assert_eq!((ended.code, ended.stderr.as_str()), (0, ""), "{line}");
    ended.text().lines().map(str::to_owned).collect()
}

fn script(shell: &str, program: &str) -> String {
    let ended = run(MINIKAFKA, &["completion", shell, program], b"");
    assert_eq!((ended.code, ended.stderr.as_str()), (0, ""), "{shell}");
    ended.text()
}

#[test]
fn bash_completes_flags_with_one_dash_and_with_two() {
    for (line, expected) in [
        ("minikafka topic create -par", &["-partitions"][..]),
        ("minikafka topic create --par", &["--partitions"]),
        ("minikafka topic create orders -ret", &["-retention", "-retention-bytes"]),
        ("minikafka topic list -host :9999 -out", &["-output"]),
        ("minikafka topic list -output ", &["json", "text"]),
        ("minikafka topic list --output ", &["json", "text"]),
        ("minikafka topic list -output js", &["json"]),
        ("minikafka group seek billing -dr", &["-dry-run"]),
        ("minikafka shell -stop", &["-stop-on-error"]),
        ("minikafka shell --stop", &["--stop-on-error"]),
        ("minikafka top", &["topic"]),
        ("minikafka -he", &["-help"]),
        ("minikafka topic create -nonsense", &[]),
        ("consume -topic t -from", &["-from"]),
        ("consume -format ", &["json", "value", "verbose"]),
        ("consume -until-end -format v", &["value", "verbose"]),
        ("produce -topic t --key", &["--key-separator"]),
        ("produce -topic t -key", &["-key-separator"]),
    ] {
        assert!(offered(line).iter().eq(expected), "{line}: {:?}", offered(line));
    }
    let flags = offered("consume -");
    for flag in ["-h", "-help", "-topic", "-until-end"] {
        assert!(flags.contains(flag), "{flag} in {flags:?}");
    }
    assert!(!flags.iter().any(|flag| flag.starts_with("--")), "{flags:?}");
    let two_dashes = offered("consume --");
    assert!(two_dashes.contains("--topic") && two_dashes.iter().all(|flag| flag.starts_with("--")));
}

#[test]
fn other_shells_are_told_of_both_kinds_of_flags() {
    for (shell, program, parts) in [
        ("zsh", "produce", &["#compdef produce\n", "\n'(-topic)--topic=[", "\n'(--topic)-topic=["][..]),
        ("zsh", "consume", &["\n'(--group -group --partition)-partition=[", "_arguments_options=(-S -C)\n"]),
        ("zsh", "consume", &[" on this machine]:HOST\\:PORT:_default' \\\n"]),
        (
            "zsh",
            "minikafka",
            &["\n'*--topic-partition=[", "\n'*-topic-partition=[", "\n'(--output)-output=["],
        ),
        ("fish", "consume", &["complete -c consume -l until-end -o until-end -d '"]),
        ("fish", "minikafka", &[" -s h -l help -o help -d '", " -l dry-run -o dry-run -d '"]),
        ("elvish", "consume", &["cand --topic '", "cand -topic '"]),
        ("powershell", "consume", &["::new('--topic', '--topic', ", "::new('-topic', '-topic', "]),
    ] {
        let script = script(shell, program);
        for part in parts {
            assert!(script.contains(part), "{part} in {script}");
        }
    }
}

#[test]
fn no_other_shell_is_known() {
    let ended = run(MINIKAFKA, &["completion", "tcsh"], b"");
    assert!(ended.code == 2 && ended.stderr.contains("tcsh"), "{}", ended.stderr);
}
