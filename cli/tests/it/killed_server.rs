//! What the programs do when a server is killed in the middle of its work.

use std::{
    env,
    io::{self, Read as _, Write as _},
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc::{self, TryRecvError},
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
fn every_line_is_stored_once_and_in_order_however_often_the_server_is_killed() {
    const KILLS: usize = 4;
    let address = FreeAddress::new();
    let root = TempDir::new().unwrap();
    let target = ["-host", address.host(), "-topic", "t"];
    let mut server = ServerProcess::start(address.host(), root.path());
    let mut produce = Program::start(PRODUCE, &target);
    let mut tail = Program::start(CONSUME, &target);

    let mut input = produce.take_input();
    let (stop, stopped) = mpsc::channel::<()>();
    // So many that there is always something on its way.
    let writing = thread::spawn(move || {
        let mut written = 0;
        while stopped.try_recv() == Err(TryRecvError::Empty) {
            input.write_all(line(written).as_bytes()).unwrap();
            written += 1;
        }
        written
    });
    let mut seen = 0;
    for _ in 0..KILLS {
        for _ in 0..1000 {
            assert_eq!(tail.line() + "\n", line(seen));
            seen += 1;
        }
        server.kill();
        server = ServerProcess::start(address.host(), root.path());
    }
    drop(stop);
    let written = writing.join().unwrap();
    let ended = produce.end();
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let stored = run(CONSUME, &[&target[..], &["-until-end"]].concat(), b"");
    assert_eq!(stored.code, 0, "{}", stored.stderr);
    let expected: String = (0..written).map(line).collect();
    assert!(stored.stdout == expected.as_bytes(), "{written} lines, each once");
}

/// Long enough that many batches are under way.
fn line(number: u64) -> String {
    format!("line {number} {}\n", "x".repeat(100))
}
