//! [`Process`], a server in a process of its own, so that it can be killed.

use std::{
    env,
    io::{self, BufRead, BufReader, Read},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        OnceLock,
        mpsc::{self, Receiver},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use minikafka_server::Server;
use minikafka_storage::filesystem::{FileStorage, Options};
use rustix::process::{Pid, Signal, kill_process};

/// Where [`serve`] stores. Without it, that is a test of nothing.
const ROOT: &str = "MINIKAFKA_TEST_KILLS_ROOT";
/// The retention of [`serve`] in milliseconds.
const RETENTION_MS: &str = "MINIKAFKA_TEST_KILLS_RETENTION_MS";
/// Where [`serve`] serves.
const HOST: &str = "MINIKAFKA_TEST_KILLS_HOST";
/// Where it does unless told otherwise.
const ANY_PORT: &str = "127.0.0.1:0";
/// What comes before the address, in the program's lines and in those of [`serve`].
const SERVES: &str = "serves gRPC and HTTP on ";
/// Longer than any start takes on a busy machine.
const START_MAX: Duration = Duration::from_secs(30);

#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// The program, with its defaults.
    Program,
    /// This test binary once more, with nothing to run but [`serve`].
    SmallFiles,
}

/// A server that runs. It ends with the test, whatever happens.
pub(crate) struct Process {
    child: Child,
    address: Receiver<String>,
    /// Once it is known.
    known: OnceLock<String>,
    /// Reads its lines to the end, and returns those that report something bad.
    complaints: Option<JoinHandle<Vec<String>>>,
}

impl Process {
    pub(crate) fn start(kind: Kind, root: &Path, retention: Option<Duration>) -> Process {
        Process::start_at(ANY_PORT, kind, root, retention)
    }

    /// Starts it at this address.
    pub(crate) fn start_at(host: &str, kind: Kind, root: &Path, retention: Option<Duration>) -> Process {
        let retention = retention.map(|age| age.as_millis());
        let mut command = match kind {
            Kind::Program => {
                let mut command = Command::new(env!("CARGO_BIN_EXE_server"));
                command.env_clear().args(["-host", host, "-sync", "always", "-root-dir"]).arg(root);
                command
                    .args(retention.iter().flat_map(|ms| ["-retentiontime".to_owned(), format!("{ms}ms")]));
                command
            }
            Kind::SmallFiles => {
                let mut command = Command::new(env::current_exe().unwrap());
                command
                    .args(["--exact", "kills::process::serve", "--nocapture"])
                    .env(ROOT, root)
                    .env(HOST, host);
                command.envs(retention.iter().map(|ms| (RETENTION_MS, ms.to_string())));
                command
            }
        };
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        let (announce, address) = mpsc::channel();
        let complaints = thread::spawn(move || {
            lines
                .inspect(|line| {
                    if let Some((_, address)) = line.split_once(SERVES) {
                        let _ = announce.send(address.trim().to_owned());
                    }
                })
                .filter(|line| ["ERROR", "panicked"].iter().any(|word| line.contains(word)))
                .collect()
        });
        Process { child, address, known: OnceLock::new(), complaints: Some(complaints) }
    }

    /// Where it serves, once it does.
    pub(crate) fn address(&self) -> String {
        self.known.get_or_init(|| self.address.recv_timeout(START_MAX).expect("it starts")).clone()
    }

    /// Asks it to stop.
    pub(crate) fn stop(&self) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
    }

    /// With SIGKILL: no code of it runs any more.
    pub(crate) fn signal_kill(&mut self) {
        self.child.kill().unwrap();
    }

    /// Kills it, if it is not dead yet, and looks whether it had found anything bad.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        let complaints = self.complaints.take().expect("it is killed once").join().unwrap();
        assert!(complaints.is_empty(), "a kill damages nothing: {complaints:#?}");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The server with small files. In an ordinary run of the tests it has nothing to do.
#[test]
fn serve() {
    let Some(root) = env::var_os(ROOT) else { return };
    let retention = env::var(RETENTION_MS).ok().map(|ms| Duration::from_millis(ms.parse().unwrap()));
    tracing_subscriber::fmt().with_ansi(false).with_writer(io::stderr).init();
    let options = Options {
        segment_bytes: 512 << 10,
        tail_bytes: 256 << 10,
        open_files: 6,
        journal_bytes: 1 << 20,
        direct_bytes: 16 << 10,
        small_round_bytes: 24 << 10,
        ..Options::default()
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let storage = FileStorage::open(Path::new(&root), options).unwrap();
    let mut builder = Server::builder().storage(std::sync::Arc::new(storage));
    if let Some(retention) = retention {
        builder = builder.retention(retention);
    }
    let host = env::var(HOST).unwrap_or_else(|_| ANY_PORT.to_owned());
    let server = runtime.block_on(builder.start(&host)).unwrap();
    eprintln!("{SERVES}{}", server.local_addr());
    // Whoever started it holds the other end: nothing comes, and it ends with its starter.
    let _ = io::stdin().read(&mut [0]);
}
