//! [`Child`]: this program once more, as another process: a server apart from its clients, or one to be killed.

use std::{
    fs,
    io::{BufRead, BufReader},
    process::{self, ChildStdout, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, bail};

/// The system counts processor time in these, on every Linux.
const TICKS_PER_SECOND: f64 = 100.0;

/// A process that ends with this one, or when it is dropped: by SIGKILL, as a crash would.
#[derive(Debug)]
pub(crate) struct Child {
    process: process::Child,
    lines: BufReader<ChildStdout>,
}

impl Child {
    /// Runs a hidden subcommand.
    pub(crate) fn start(args: &[&str]) -> anyhow::Result<Child> {
        let program = std::env::current_exe().context("this program has no path")?;
        let mut process = Command::new(program)
            .args(args)
            // Its end tells the child that nobody is left to kill it.
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start a child process")?;
        let stdout = process.stdout.take().context("the child has no output")?;
        Ok(Child { process, lines: BufReader::new(stdout) })
    }

    /// The next line that it prints.
    pub(crate) fn line(&mut self) -> anyhow::Result<String> {
        let mut line = String::new();
        if self.lines.read_line(&mut line)? == 0 {
            bail!("the child process ended: {:?}", self.process.wait()?);
        }
        Ok(line.trim().to_owned())
    }

    /// Kills it with SIGKILL, and waits until it is gone.
    pub(crate) fn kill(mut self) -> anyhow::Result<()> {
        self.process.kill()?;
        self.process.wait()?;
        Ok(())
    }

    /// Bytes of memory that it has now.
    pub(crate) fn memory(&self) -> anyhow::Result<f64> {
        self.status("VmRSS:")
    }

    /// The most bytes of memory that it had.
    pub(crate) fn memory_peak(&self) -> anyhow::Result<f64> {
        self.status("VmHWM:")
    }

    fn status(&self, name: &str) -> anyhow::Result<f64> {
        let text = fs::read_to_string(format!("/proc/{}/status", self.process.id()))?;
        let line = text.lines().find(|line| line.starts_with(name)).context("no such line")?;
        let kb: f64 = line.split_whitespace().nth(1).context("no number")?.parse()?;
        Ok(kb * 1024.0)
    }

    /// Processor time that it has used.
    pub(crate) fn processor_time(&self) -> anyhow::Result<Duration> {
        let text = fs::read_to_string(format!("/proc/{}/stat", self.process.id()))?;
        // The name, in parentheses, may hold anything; user and system time are 12 and 13 fields behind it.
        let (_, fields) = text.rsplit_once(')').context("no name")?;
        let ticks: f64 = fields
            .split_whitespace()
            .skip(11)
            .take(2)
            .map(|ticks| ticks.parse::<f64>().unwrap_or_default())
            .sum();
        Ok(Duration::from_secs_f64(ticks / TICKS_PER_SECOND))
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// In a child: ends the process when the parent is gone.
pub(crate) fn end_with_parent() {
    std::thread::spawn(|| {
        let mut line = String::new();
        while std::io::stdin().read_line(&mut line).is_ok_and(|read| read > 0) {
            line.clear();
        }
        process::exit(0);
    });
}
