//! What the programs do when a server is killed in the middle of its work.

use std::{
    env,
    io::{self, Read as _, Write as _},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
};

use minikafka_server::Server;
use tempfile::TempDir;

use crate::{
    program::{CONSUME, PRODUCE, Program, run},
    server::FreeAddress,
};

/// Where the server process listens and stores. Without them, [`serve`] is a test of nothing.
const ADDRESS: &str = "MINIKAFKA_TEST_ADDRESS";
const ROOT: &str = "MINIKAFKA_TEST_ROOT";

/// A server in a process of its own, so that it can be killed: this test binary once more, with nothing to run but
/// [`serve`].
struct ServerProcess(Child);

impl ServerProcess {
    fn start(address: &str, root: &Path) -> ServerProcess {
        let child = Command::new(env::current_exe().unwrap())
            .args(["--exact", "killed_server::serve"])
            .env(ADDRESS, address)
            .env(ROOT, root)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn();
        ServerProcess(child.unwrap())
    }

    /// With SIGKILL: no code of it runs any more.
    fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The server process. In an ordinary run of the tests it has nothing to do.
#[test]
fn serve() {
    let (Some(address), Some(root)) = (env::var(ADDRESS).ok(), env::var_os(ROOT)) else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let _server = runtime.block_on(Server::builder().filesystem(root).start(&address)).unwrap();
    // Whoever started it holds the other end: nothing comes, and it ends with its starter.
    let _ = io::stdin().read(&mut [0]);
}

#[test]
fn what_is_confirmed_survives_and_the_first_line_that_is_not_is_named() {
    let address = FreeAddress::new();
    let root = TempDir::new().unwrap();
    let target = ["-host", address.host(), "-topic", "t"];
    let mut server = ServerProcess::start(address.host(), root.path());
    let mut produce = Program::start(PRODUCE, &target);
    let mut tail = Program::start(CONSUME, &target);

    let mut input = produce.take_input();
    // Until `produce` ends: it reads no further then.
    thread::spawn(move || (0_u64..).try_for_each(|number| input.write_all(line(number).as_bytes())));
    let mut seen = 0;
    // A server that happens to be killed between two batches is only away for a while: kill the next one, too.
    while !produce.has_ended() {
        for _ in 0..1000 {
            let Some(text) = tail.line_unless_ended(&mut produce) else { break };
            assert_eq!(text + "\n", line(seen));
            seen += 1;
        }
        server.kill();
        server = ServerProcess::start(address.host(), root.path());
    }

    let ended = produce.end();
    assert_eq!(ended.code, 1, "{}", ended.stderr);
    let last = ended.stderr.lines().last().unwrap();
    let (first_unconfirmed, rest) =
        last.strip_prefix("produce: line ").and_then(|rest| rest.split_once(' ')).unwrap();
    assert!(rest.starts_with("is the first unconfirmed line: outcome unknown"), "{last}");
    let confirmed = first_unconfirmed.parse::<u64>().unwrap() - 1;

    // `produce` waits for the server, the other two do not have to.
    assert_eq!(run(PRODUCE, &target, b"the last line\n").code, 0);
    let stored = run(CONSUME, &[&target[..], &["-until-end"]].concat(), b"");
    assert_eq!(stored.code, 0, "{}", stored.stderr);
    let expected: String = (0..confirmed).map(line).collect();
    assert!(stored.stdout.starts_with(expected.as_bytes()), "{confirmed} lines are confirmed");
    while tail.line() != "the last line" {}
}

/// Long enough that many batches are under way.
fn line(number: u64) -> String {
    format!("line {number} {}\n", "x".repeat(100))
}
