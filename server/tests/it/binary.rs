//! The program: its lines, its exit codes, its signals.

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    net::TcpListener,
    path::Path,
    process::{Child, ChildStderr, Command, Output, Stdio},
    time::{Duration, Instant},
};

use minikafka_proto::v1::{
    JoinGroup, JoinRequest, JoinResponse, LeaveGroup, group_service_client::GroupServiceClient,
    join_request::Message as Said, join_response::Message as Reply,
    mini_kafka_service_client::MiniKafkaServiceClient,
};
use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, prlimit};
use tokio_stream::wrappers::UnboundedReceiverStream;

use crate::support::{connect, half_sent, list, message, number, poll, soon, values};

/// The program, without variables of ours but one: the tests shall not fight for the port of the Kafka door.
fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_server"));
    command
        .env_clear()
        .env("MINIKAFKA_KAFKA_HOST", "off")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// A running program. It ends with the test, whatever happens.
pub(crate) struct Running {
    child: Child,
    stderr: BufReader<ChildStderr>,
    /// What it said until it served.
    lines: Vec<String>,
    address: String,
    /// Where Kafka clients are served, if they are.
    pub(crate) kafka: Option<String>,
}

impl Running {
    pub(crate) fn start(args: &[&str]) -> Running {
        Running::spawn(program().args(["-host", "127.0.0.1:0"]).args(args))
    }

    fn spawn(command: &mut Command) -> Running {
        let mut child = command.spawn().unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut lines = Vec::new();
        let mut address = String::new();
        let mut kafka = None;
        // The last line of the start.
        while !lines.last().is_some_and(|line: &String| line.contains("acknowledged means")) {
            let mut line = String::new();
            assert_ne!(stderr.read_line(&mut line).unwrap(), 0, "it ended: {lines:?}");
            if let Some((_, rest)) = line.split_once("HTTP on ") {
                address = rest.trim().to_owned();
            }
            if let Some((_, rest)) = line.split_once("Kafka clients are served on ") {
                kafka = rest.split(',').next().map(str::to_owned);
            }
            lines.push(line);
        }
        Running { child, stderr, lines, address, kafka }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).unwrap();
    }

    /// Reads what it says until a line with this. Returns what was read, which [`wait`](Running::wait) does not.
    pub(crate) fn says(&mut self, what: &str) -> String {
        let mut said = String::new();
        loop {
            let before = said.len();
            assert_ne!(self.stderr.read_line(&mut said).unwrap(), 0, "no {what:?} in {said}");
            if said[before..].contains(what) {
                return said;
            }
        }
    }

    /// Its exit code and the rest of its lines.
    pub(crate) fn wait(mut self) -> (Option<i32>, String) {
        let mut rest = String::new();
        self.stderr.read_to_string(&mut rest).unwrap();
        (self.child.wait().unwrap().code(), rest)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs the program to its end, which is near.
fn run(args: &[&str]) -> Output {
    program().args(args).output().unwrap()
}

/// The one line that a program which fails says last.
fn last_line(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).lines().last().unwrap_or_default().to_owned()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

// Of several threads, so that the client says goodbye while the test waits for the program.
#[tokio::test(flavor = "multi_thread")]
async fn it_says_what_it_serves_and_stops_on_both_signals() {
    for signal in [Signal::TERM, Signal::INT] {
        let directory = tempfile::tempdir().unwrap();
        let kept = ["-retentiontime", "1h30m", "-retention-bytes", "10GiB"];
        let running = Running::start(&[&["-root-dir", text(directory.path())], &kept[..]].concat());
        let lines = running.lines.concat();
        for part in [
            "127.0.0.1:",
            "messages of up to 3MiB",
            text(directory.path()),
            "1h30m, at most 10GiB in each partition",
            "on disk, synced",
            env!("CARGO_PKG_VERSION"),
        ] {
            assert!(lines.contains(part), "{part} is not in {lines}");
        }
        let mut v1 = MiniKafkaServiceClient::new(connect(&running.address).await);
        soon(v1.produce(list("t", vec![message("a")]))).await.unwrap();
        running.signal(signal);
        let (code, rest) = running.wait();
        assert_eq!(code, Some(0), "{rest}");

        let again = Running::start(&["-root-dir", text(directory.path())]);
        let mut v1 = MiniKafkaServiceClient::new(connect(&again.address).await);
        let reply = soon(v1.poll(poll("t", number(1)))).await.unwrap().into_inner();
        assert_eq!(values(&reply.messages), ["a"]);
    }
}

#[tokio::test]
async fn a_kill_loses_nothing_that_was_acknowledged() {
    let directory = tempfile::tempdir().unwrap();
    let running = Running::start(&["-root-dir", text(directory.path())]);
    let mut v1 = MiniKafkaServiceClient::new(connect(&running.address).await);
    for _ in 0..10 {
        soon(v1.produce(list("t", vec![message("a")]))).await.unwrap();
    }
    running.signal(Signal::KILL);
    running.wait();
    let again = Running::start(&["-root-dir", text(directory.path())]);
    let mut v1 = MiniKafkaServiceClient::new(connect(&again.address).await);
    let reply = soon(v1.poll(poll("t", number(1)))).await.unwrap().into_inner();
    assert_eq!(reply.messages.len(), 10);
}

#[tokio::test]
async fn a_second_signal_ends_it_but_two_at_once_are_one() {
    let mut running = Running::start(&["-storage", "memory"]);
    let channel = connect(&running.address).await;
    // A produce call that does not come to its end holds the stop up.
    let held_up = tokio::spawn(half_sent(&channel, 1000, 10));
    tokio::task::yield_now().await;
    soon(MiniKafkaServiceClient::new(channel).produce(list("t", vec![message("a")]))).await.unwrap();
    running.signal(Signal::TERM);
    running.says("stopping");
    let begin = Instant::now();
    while running.child.try_wait().unwrap().is_none() {
        running.signal(Signal::TERM);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(begin.elapsed() > Duration::from_millis(900), "{:?}", begin.elapsed());
    let (code, rest) = running.wait();
    assert_eq!(code, Some(1), "{rest}");
    assert!(rest.contains("second signal"), "{rest}");
    held_up.abort();
}

#[test]
fn two_signals_at_once_end_it_well() {
    let running = Running::start(&["-storage", "memory"]);
    running.signal(Signal::TERM);
    running.signal(Signal::INT);
    running.signal(Signal::TERM);
    let (code, rest) = running.wait();
    assert_eq!(code, Some(0), "{rest}");
}

#[tokio::test]
async fn too_few_open_files_are_survived() {
    let mut running = Running::start(&["-storage", "memory"]);
    let mut v1 = MiniKafkaServiceClient::new(connect(&running.address).await);
    soon(v1.produce(list("t", vec![message("before")]))).await.unwrap();
    drop(v1);
    // Set once it runs, whatever it has open by then: the server's own bound of connections is far away.
    let few = fs::read_dir(format!("/proc/{}/fd", running.child.id())).unwrap().count() as u64 + 8;
    let limit = Rlimit { current: Some(few), maximum: Some(few) };
    prlimit(Some(Pid::from_child(&running.child)), Resource::Nofile, limit).unwrap();
    let crowd: Vec<_> = (0..40).map(|_| std::net::TcpStream::connect(&running.address).unwrap()).collect();
    running.says("cannot accept connections at the moment");
    drop(crowd);
    let mut v1 = MiniKafkaServiceClient::new(soon(connect(&running.address)).await);
    soon(v1.produce(list("t", vec![message("a")]))).await.unwrap();
}

#[test]
fn a_line_says_that_there_are_as_many_connections_as_there_may_be() {
    let mut limited = Command::new("sh");
    let server = ["-c", "ulimit -n 64 && exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_server")];
    limited.env_clear().args(server).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let args = ["-host", "127.0.0.1:0", "-kafka-host", "127.0.0.1:0", "-storage", "memory"];
    let mut running = Running::spawn(limited.args(args));
    let address = running.kafka.clone().unwrap();
    let crowd: Vec<_> = (0..40).map(|_| std::net::TcpStream::connect(&address).unwrap()).collect();
    running.says("there are as many connections as there may be");
    drop(crowd);
}

#[test]
fn memory_is_announced_as_such() {
    let running = Running::start(&["-root-dir=", "-memory-limit", "64MiB"]);
    let lines = running.lines.concat();
    assert!(
        lines.contains("memory, at most 64MiB") && lines.contains("its end takes all messages"),
        "{lines}"
    );
}

#[test]
fn the_log_can_be_json_and_warns_of_unknown_variables() {
    let mut command = program();
    let output = command
        .args(["-host", "192.0.2.1:1", "-storage", "memory", "-log", "json"])
        .env("MINIKAFKA_RETENTION", "3s")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8_lossy(&output.stderr);
    let first = stderr.lines().next().unwrap();
    assert!(first.starts_with('{') && first.contains("MINIKAFKA_RETENTION"), "{stderr}");
}

#[test]
fn failures_are_one_line_and_exit_code_1() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, "not ours").unwrap();
    let below_a_file = file.join("data");
    let fresh = directory.path().join("fresh");
    let locked = tempfile::tempdir().unwrap();
    let _first = Running::start(&["-root-dir", text(locked.path())]);
    for (args, part) in [
        (["-root-dir", text(directory.path()), "-host", "127.0.0.1:0"], "not a MiniKafka data directory"),
        (["-root-dir", text(&file), "-host", "127.0.0.1:0"], "not a directory"),
        (["-root-dir", text(&below_a_file), "-host", "127.0.0.1:0"], "file/data"),
        (["-root-dir", text(locked.path()), "-host", "127.0.0.1:0"], "locked"),
        (["-root-dir", text(&fresh), "-host", "192.0.2.1:1"], "cannot listen on 192.0.2.1:1"),
    ] {
        let output = run(&args);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let line = last_line(&output);
        assert!(line.starts_with("server: ") && line.contains(part), "{line}");
    }
    assert_eq!(fs::read_to_string(&file).unwrap(), "not ours");
}

#[test]
fn a_taken_port_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = run(&["-storage", "memory", "-host", &address]);
    assert_eq!(output.status.code(), Some(1));
    let line = last_line(&output);
    assert!(line.starts_with(&format!("server: cannot listen on {address}: ")), "{line}");
}

#[tokio::test]
async fn the_kafka_door_is_announced_with_what_clients_are_told() {
    let args = ["-storage", "memory", "-kafka-host", "127.0.0.1:0", "-advertised-host", "kafka.example"];
    let running = Running::start(&args);
    let address = running.kafka.as_deref().expect("the door is announced");
    let (_, port) = address.split_once(':').unwrap();
    let told = format!("told that it is kafka.example:{port}");
    assert!(running.lines.iter().any(|line| line.trim_end().ends_with(&told)), "{:?}", running.lines);
    tokio::net::TcpStream::connect(address).await.unwrap();
}

#[test]
fn a_taken_kafka_port_is_an_error_if_it_was_chosen_and_else_a_warning() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = run(&["-storage", "memory", "-host", "127.0.0.1:0", "-kafka-host", &address]);
    assert_eq!(output.status.code(), Some(1));
    let line = last_line(&output);
    assert!(line.starts_with(&format!("server: cannot listen on {address}: ")), "{line}");

    // Ours or somebody else's, it is taken.
    let _taken = TcpListener::bind("127.0.0.1:9092");
    let mut command = program();
    command.env_remove("MINIKAFKA_KAFKA_HOST").args(["-host", "127.0.0.1:0", "-storage", "memory"]);
    let lines = Running::spawn(&mut command).lines.concat();
    assert!(lines.contains("no door for Kafka clients: cannot listen on 127.0.0.1:9092"), "{lines}");
    assert!(!lines.contains("Kafka clients are served"), "{lines}");
}

#[test]
fn bad_configuration_is_one_line_and_exit_code_2() {
    for (name, value) in
        [("HOST", "localhost"), ("RETENTIONTIME", "0s"), ("RETENTIONTIME", "-1h"), ("KAFKA_HOST", "9092")]
    {
        let name = format!("MINIKAFKA_{name}");
        let output = program().env(&name, value).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
        assert!(stderr.starts_with(&format!("server: {name}={value:?}: ")), "{stderr}");
    }
    assert_eq!(run(&["-hots", "x"]).status.code(), Some(2));
}

#[test]
fn help_and_version_are_answers() {
    let help = run(&["-help"]);
    assert_eq!(help.status.code(), Some(0));
    let text = String::from_utf8_lossy(&help.stdout);
    assert!(text.contains("Examples:") && text.contains("MINIKAFKA_ROOT_DIR"), "{text}");
    let version = run(&["--version"]);
    assert_eq!(version.status.code(), Some(0));
    assert_eq!(
        String::from_utf8_lossy(&version.stdout).trim(),
        format!("server {}", env!("CARGO_PKG_VERSION"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn at_debug_level_a_message_can_be_followed() {
    for (log, is_followed) in [("debug", true), ("info", false)] {
        let args = ["-host", "127.0.0.1:0", "-storage", "memory", "-log", log];
        let running = Running::spawn(program().args(args));
        let mut v1 = MiniKafkaServiceClient::new(connect(&running.address).await);
        soon(v1.produce(list("t", vec![message("a")]))).await.unwrap();
        soon(v1.poll(poll("t", number(1)))).await.unwrap();
        running.signal(Signal::TERM);
        let (_, rest) = running.wait();
        for (call, parts) in [
            ("/Produce\"", ["produce{partition=t-0 ", "taken into an entry"]),
            ("/Produce\"", ["produce{partition=t-0 ", "committed number=1 count=1"]),
            ("/Poll\"", ["fetched partition=t-0 ", "number=1 count=1"]),
        ] {
            let is_there = |line: &str| line.contains(call) && parts.iter().all(|part| line.contains(part));
            assert_eq!(rest.lines().any(is_there), is_followed, "{parts:?} in {rest}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn at_debug_level_a_member_can_be_followed() {
    for (log, is_followed) in [("debug", true), ("info", false)] {
        let args = ["-host", "127.0.0.1:0", "-storage", "memory", "-log", log];
        let running = Running::spawn(program().args(args));
        let channel = connect(&running.address).await;
        let mut v1 = MiniKafkaServiceClient::new(channel.clone());
        soon(v1.produce(list("t", vec![message("a")]))).await.unwrap();
        let mut groups = GroupServiceClient::new(channel);
        let join = JoinGroup { group: "g".into(), topics: vec!["t".into()], ..JoinGroup::default() };
        let (says, requests) = tokio::sync::mpsc::unbounded_channel();
        let say = |said| says.send(JoinRequest { message: Some(said) }).unwrap();
        say(Said::Join(join));
        let mut replies =
            soon(groups.join(UnboundedReceiverStream::new(requests))).await.unwrap().into_inner();
        let is_assignment = |reply: JoinResponse| matches!(reply.message, Some(Reply::Assignment(_)));
        while !is_assignment(soon(replies.message()).await.unwrap().unwrap()) {}
        say(Said::Leave(LeaveGroup {}));
        while soon(replies.message()).await.unwrap().is_some() {}
        let refused = JoinGroup { group: "h".into(), member_id: "gone".into(), ..JoinGroup::default() };
        let requests = tokio_stream::iter([JoinRequest { message: Some(Said::Join(refused)) }]);
        let mut replies = soon(groups.join(requests)).await.unwrap().into_inner();
        soon(replies.message()).await.unwrap_err();
        running.signal(Signal::TERM);
        let (_, rest) = running.wait();
        for (of, what) in [
            (r#"group="g" member_id="#, "joined epoch=1 topics=1"),
            (r#"group="g" member_id="#, "assigned epoch=1 partitions=1"),
            (r#"group="g" member_id="#, "left"),
            (r#"group="h""#, "not heard any more why="),
        ] {
            let is_there =
                |line: &str| line.contains("member{address=") && line.contains(of) && line.contains(what);
            assert_eq!(rest.lines().any(is_there), is_followed, "{what} in {rest}");
        }
    }
}
