//! What a run has shown, with all that it takes to see it again: the command, the machine, the durability.

use std::io;

use serde::Serialize;

use super::{chain::Verdict, latency::Percentiles};
use crate::{
    count::Size,
    machine,
    output::{Output, json, text},
};

/// The report of one run.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) benchmark: &'static str,
    /// As it was typed.
    pub(super) command: String,
    pub(super) version: &'static str,
    pub(super) machine: String,
    pub(super) server: String,
    pub(super) topic: String,
    pub(super) partitions: u32,
    /// What an acknowledgement meant.
    pub(super) durability: &'static str,
    pub(super) message_bytes: usize,
    /// Messages per second that were wanted; null: as many as possible, a closed loop. A message is due when its sender
    /// comes to it then, so times do not tell how long that took.
    pub(super) rate: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) produced: Option<Throughput>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) consumed: Option<Throughput>,
    /// From when a message was due to its acknowledgement.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) acknowledged_ms: Option<Percentiles>,
    /// From when a message was due to when a consumer had it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) delivered_ms: Option<Percentiles>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) group: Option<GroupFigures>,
    pub(super) verified: Verdict,
}

/// Messages in some time.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Throughput {
    pub(super) messages: u64,
    pub(super) seconds: f64,
    pub(super) messages_per_second: f64,
    pub(super) bytes_per_second: f64,
}

/// What a group has shown.
#[derive(Debug, Serialize)]
pub(super) struct GroupFigures {
    pub(super) name: String,
    pub(super) members: u32,
    /// From when the members began to join until each partition had one owner, and each member its share.
    pub(super) settled_ms: f64,
    /// Until they knew where all partitions start, too.
    pub(super) ready_ms: f64,
    /// One member has left while another one joined.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) rebalance: Option<Rebalance>,
    pub(super) commits: Commits,
    /// From when a commit was due to its reply.
    pub(super) committed_ms: Option<Percentiles>,
    /// Messages that came again to another member, as they may: they were not committed.
    pub(super) redelivered: u64,
    /// Messages that came to a member after a later owner of their partition had begun.
    pub(super) by_former_owners: u64,
    /// How often the server took a member for dead.
    pub(super) memberships_lost: u64,
}

/// What a rebalance has shown.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Rebalance {
    /// Until each partition had one owner again, and each member its share.
    pub(super) settled_ms: f64,
    pub(super) partitions_moved: u64,
    /// Of each that has moved, from when the old owner read it no more to when the new one had it.
    pub(super) without_owner_ms: Option<Percentiles>,
}

/// Commits in some time.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Commits {
    /// How often each member committed; 0: after each poll.
    pub(super) interval_ms: f64,
    pub(super) commits: u64,
    pub(super) seconds: f64,
    pub(super) commits_per_second: f64,
}

impl Throughput {
    pub(super) fn new(messages: u64, message_bytes: usize, time: std::time::Duration) -> Throughput {
        let seconds = time.as_secs_f64().max(1e-9);
        let messages_per_second = messages as f64 / seconds;
        let bytes_per_second = messages_per_second * message_bytes as f64;
        Throughput { messages, seconds, messages_per_second, bytes_per_second }
    }
}

impl Report {
    pub(super) fn print(&self, output: Output) -> io::Result<()> {
        match output {
            Output::Text => text(&self.text()),
            Output::Json => json(self),
        }
    }

    fn text(&self) -> String {
        let topic = format!("topic \"{}\", partitions: {}", self.topic, self.partitions);
        let mut lines = vec![
            format!("command       {}", self.command),
            format!("machine       {}; minikafka {}", self.machine, self.version),
            format!("server        {}, {topic}", self.server),
            format!("durability    {}: what an acknowledgement means", self.durability),
        ];
        let closed = "as fast as they are taken: times are without the wait for a turn";
        let rate = self.rate.map_or(closed.to_owned(), |rate| format!("{rate} a second"));
        lines.push(format!("load          messages of {} bytes, {rate}", self.message_bytes));
        for (name, throughput) in [("produced", self.produced), ("consumed", self.consumed)] {
            lines.extend(throughput.map(|throughput| format!("{name:<13} {}", throughput.text())));
        }
        for (name, times) in [("acknowledged", self.acknowledged_ms), ("delivered", self.delivered_ms)] {
            lines.extend(times.map(|times| format!("{name:<13} {}", times.text())));
        }
        lines.extend(self.group.iter().flat_map(GroupFigures::lines));
        let Verdict { sound, lost, repeated, changed } = self.verified;
        lines.push(format!(
            "verified      {sound} sound, {lost} lost, {repeated} repeated, {changed} changed"
        ));
        lines.join("\n") + "\n"
    }
}

impl Throughput {
    fn text(&self) -> String {
        let Throughput { messages, seconds, messages_per_second, bytes_per_second } = self;
        let size = Size(*bytes_per_second as u64);
        format!("{messages} messages in {seconds:.3} s: {messages_per_second:.0} a second, {size} a second")
    }
}

impl GroupFigures {
    fn lines(&self) -> Vec<String> {
        let GroupFigures { name, members, settled_ms, ready_ms, redelivered, .. } = self;
        let Commits { interval_ms, commits, seconds, commits_per_second } = self.commits;
        let each =
            if interval_ms > 0.0 { format!("every {interval_ms} ms") } else { "after each poll".to_owned() };
        let mut lines = vec![format!(
            "group         \"{name}\", {members} members: settled in {settled_ms:.3} ms, ready to read in {ready_ms:.3} ms"
        )];
        if let Some(Rebalance { settled_ms, partitions_moved, without_owner_ms }) = &self.rebalance {
            lines.push(format!(
                "rebalance     one left and one joined: settled in {settled_ms:.3} ms, {partitions_moved} partitions moved"
            ));
            lines.extend(without_owner_ms.map(|times| format!("no owner      {}", times.text())));
        }
        lines.push(format!(
            "commits       {commits} in {seconds:.3} s, {each}: {commits_per_second:.0} a second"
        ));
        lines.extend(self.committed_ms.map(|times| format!("committed     {}", times.text())));
        lines.push(format!(
            "came again    {redelivered} that were not committed, {} to former owners; {} memberships lost",
            self.by_former_owners, self.memberships_lost
        ));
        lines
    }
}

impl Percentiles {
    fn text(&self) -> String {
        let Percentiles { p50, p90, p99, p99_9, p99_99, max } = self;
        format!(
            "p50 {p50:.3}  p90 {p90:.3}  p99 {p99:.3}  p99.9 {p99_9:.3}  p99.99 {p99_99:.3}  max {max:.3} ms"
        )
    }
}

/// The command line of this process, quoted for a shell where it must be.
pub(super) fn command() -> String {
    let quoted = |arg: String| {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@%+".contains(c);
        if !arg.is_empty() && arg.chars().all(is_plain) {
            arg
        } else {
            format!("'{}'", arg.replace('\'', "'\\''"))
        }
    };
    let mut args = std::env::args_os().map(|arg| arg.to_string_lossy().into_owned());
    let program = args.next().unwrap_or_default();
    let name = program.rsplit('/').next().unwrap_or_default().to_owned();
    std::iter::once(name).chain(args).map(quoted).collect::<Vec<_>>().join(" ")
}

/// The machine that the clients ran on.
pub(super) fn machine() -> String {
    machine::describe()
}
