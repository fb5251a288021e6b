//! [`Program`], a program that runs, and [`Ended`], one that ran.

use std::{
    io::{BufRead, BufReader, Read, Write},
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

/// Longer than any test takes on a busy machine.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// How long a line may take that need not come.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

pub(crate) const PRODUCE: &str = env!("CARGO_BIN_EXE_produce");
pub(crate) const CONSUME: &str = env!("CARGO_BIN_EXE_consume");
pub(crate) const MINIKAFKA: &str = env!("CARGO_BIN_EXE_minikafka");

/// A program that runs; killed when it is dropped.
pub(crate) struct Program {
    child: Child,
    stdout: Receiver<Vec<u8>>,
    stderr: Receiver<Vec<u8>>,
}

/// A program that ran.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

impl Ended {
    /// Its stdout as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.stdout.clone()).unwrap()
    }
}

/// Runs a program to its end, with these bytes as its input.
pub(crate) fn run(program: &str, args: &[&str], input: &[u8]) -> Ended {
    let mut program = Program::start(program, args);
    let mut stdin = program.take_input();
    let input = input.to_vec();
    // A program that ends early reads no further: that is its business.
    thread::spawn(move || stdin.write_all(&input));
    program.end()
}

impl Program {
    pub(crate) fn start(program: &str, args: &[&str]) -> Program {
        let mut child = Command::new(program)
            .args(args)
            .env_remove("MINIKAFKA_HOST")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = lines(child.stdout.take().unwrap());
        let stderr = lines(child.stderr.take().unwrap());
        Program { child, stdout, stderr }
    }

    /// The next line of stdout, without its newline.
    pub(crate) fn line(&mut self) -> String {
        let line = self.stdout.recv_timeout(DEADLINE).expect("a line on stdout");
        String::from_utf8(line).unwrap().trim_end_matches('\n').to_owned()
    }

    /// The next line of stdout, if it comes soon.
    pub(crate) fn try_line(&mut self) -> Option<String> {
        let line = self.stdout.recv_timeout(LOOK_AGAIN).ok()?;
        Some(String::from_utf8(line).unwrap().trim_end_matches('\n').to_owned())
    }

    /// Waits until a line on stderr contains `text`, and returns it.
    pub(crate) fn says(&mut self, text: &str) -> String {
        loop {
            let line = self.stderr.recv_timeout(DEADLINE).expect("a line on stderr");
            let line = String::from_utf8(line).unwrap();
            if line.contains(text) {
                return line;
            }
        }
    }

    /// Writes to its input.
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.child.stdin.as_mut().unwrap().write_all(bytes).unwrap();
    }

    /// Its input, for a thread that writes it; [`end`](Program::end) does not end it any more.
    pub(crate) fn take_input(&mut self) -> ChildStdin {
        self.child.stdin.take().unwrap()
    }

    /// Sends it a signal, as `kill` names them.
    pub(crate) fn signal(&self, signal: &str) {
        let id = self.child.id().to_string();
        let status = Command::new("kill").args(["-s", signal, &id]).status().unwrap();
        assert!(status.success());
    }

    /// Whether it has ended.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Ends its input and waits for its end.
    pub(crate) fn end(mut self) -> Ended {
        drop(self.child.stdin.take());
        let stdout = rest(&self.stdout);
        let stderr = String::from_utf8(rest(&self.stderr)).unwrap();
        let code = self.child.wait().unwrap().code().expect("no signal ended it");
        Ended { code, stdout, stderr }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn lines(source: impl Read + Send + 'static) -> Receiver<Vec<u8>> {
    let (lines, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut source = BufReader::new(source);
        loop {
            let mut line = Vec::new();
            if source.read_until(b'\n', &mut line).unwrap() == 0 || lines.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

fn rest(lines: &Receiver<Vec<u8>>) -> Vec<u8> {
    let deadline = Instant::now() + DEADLINE;
    let mut rest = Vec::new();
    loop {
        match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) => rest.extend(line),
            Err(RecvTimeoutError::Disconnected) => return rest,
            Err(RecvTimeoutError::Timeout) => panic!("the program does not end"),
        }
    }
}
