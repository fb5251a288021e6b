//! [`PseudoTerminal`], a program at a terminal, and the hands and eyes of a person.

use std::{
    io::{Read, Write},
    process::Child,
    sync::{
        Arc,
        mpsc::{self, Receiver},
    },
    thread,
};

use pty_process::{
    Size,
    blocking::{Command, Pty, open},
};
use rustix::termios::{LocalModes, tcgetattr};

use crate::program::DEADLINE;

pub(crate) const CTRL_C: &str = "\x03";
pub(crate) const CTRL_D: &str = "\x04";
pub(crate) const UP: &str = "\x1b[A";
pub(crate) const TAB: &str = "\t";
pub(crate) const ENTER: &str = "\r";

/// So wide that no line is broken.
const SIZE: (u16, u16) = (50, 250);

/// A program at a terminal of its own; killed when it is dropped.
pub(crate) struct PseudoTerminal {
    child: Child,
    terminal: Arc<Pty>,
    output: Receiver<Vec<u8>>,
    raw: Vec<u8>,
    /// How much of the text on the screen was looked at.
    seen: usize,
}

impl PseudoTerminal {
    pub(crate) fn start(program: &str, args: &[&str], variables: &[(&str, &str)]) -> PseudoTerminal {
        let (terminal, side_of_the_program) = open().unwrap();
        terminal.resize(Size::new(SIZE.0, SIZE.1)).unwrap();
        let child = Command::new(program)
            .args(args)
            .env_remove("MINIKAFKA_HOST")
            .env("TERM", "xterm")
            .envs(variables.iter().copied())
            .spawn(side_of_the_program)
            .unwrap();
        let terminal = Arc::new(terminal);
        let output = chunks(terminal.clone());
        PseudoTerminal { child, terminal, output, raw: Vec::new(), seen: 0 }
    }

    /// Presses keys.
    pub(crate) fn press(&self, keys: &str) {
        (&*self.terminal).write_all(keys.as_bytes()).unwrap();
    }

    /// Waits until `text` is printed behind what was looked at before, and looks no further.
    pub(crate) fn see(&mut self, text: &str) {
        loop {
            let screen = plain(&self.raw);
            if let Some(at) = find(&screen[self.seen..], text.as_bytes()) {
                self.seen += at + text.len();
                return;
            }
            let unseen = || String::from_utf8_lossy(&screen[self.seen..]).into_owned();
            match self.output.recv_timeout(DEADLINE) {
                Ok(chunk) => self.raw.extend(chunk),
                Err(error) => panic!("{text:?} does not come: {error}; there is {:?}", unseen()),
            }
        }
    }

    /// All that was printed so far and looked at.
    pub(crate) fn looked_at(&self) -> String {
        String::from_utf8(plain(&self.raw)[..self.seen].to_vec()).unwrap()
    }

    /// Sends it a signal, as `kill` names them.
    pub(crate) fn signal(&self, signal: &str) {
        let id = self.child.id().to_string();
        let status = std::process::Command::new("kill").args(["-s", signal, &id]).status().unwrap();
        assert!(status.success());
    }

    /// Waits for its end, which leaves the terminal as it was. Returns its exit code.
    pub(crate) fn end(mut self) -> i32 {
        // Its side of the terminal is closed when it has ended.
        while self.output.recv_timeout(DEADLINE).is_ok() {}
        let modes = tcgetattr(&*self.terminal).unwrap().local_modes;
        assert!(modes.contains(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG), "{modes:?}");
        self.child.wait().unwrap().code().expect("no signal ended it")
    }
}

impl Drop for PseudoTerminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn chunks(terminal: Arc<Pty>) -> Receiver<Vec<u8>> {
    let (chunks, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut buffer = [0; 4096];
        // Linux says with an error that nobody has the other side open any more.
        while let Ok(len @ 1..) = (&*terminal).read(&mut buffer) {
            if chunks.send(buffer[..len].to_vec()).is_err() {
                return;
            }
        }
    });
    receiver
}

/// Without control sequences, carriage returns and bells. What is not complete at the end is left out.
fn plain(raw: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    let mut bytes = raw.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\x1b' if bytes.next_if_eq(&b'[').is_some() => {
                bytes.by_ref().find(|byte| (b'@'..=b'~').contains(byte));
            }
            b'\x1b' | b'\r' | b'\x07' => {}
            byte => plain.push(byte),
        }
    }
    plain
}

fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).position(|window| window == part)
}
