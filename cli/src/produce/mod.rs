//! `produce`: lines in, messages out.
//!
//! ```text
//!   stdin or file -> blocks (a thread) -> lines -> Producer::enqueue -> server
//!                    bounded              one buffer                bounded
//! ```
//!
//! A message is a line without its "\n"; every other byte is kept. Nothing grows with the input: blocks wait
//! for lines, lines wait for room in the producer's buffer.

mod connect;
mod failure;
mod input;
mod interactive;
mod keys;
mod lines;
mod pipeline;
mod progress;
mod summary;

use std::{io::IsTerminal as _, path::PathBuf, process::ExitCode, time::Duration};

use clap::Parser;
use minikafka_client_produce::{Compression, Producer};

use crate::{
    host::Host,
    interrupt::{INTERRUPTED, Interrupt, Patience},
    positive::positive,
};
pub(crate) use input::Input;
use keys::{KeySeparator, Keys};
pub(crate) use lines::{LINE_BYTES_MAX, Lines};
use pipeline::End;
pub(crate) use progress::bar;
use summary::Summary;

const EXAMPLES: &str = "\
Examples:
  echo hello | produce -topic greetings
  produce -host 10.0.0.7:9999 -topic \"demo topic\" -file access.log
  produce -topic access -file access.log -compression zstd
  tail -f access.log | produce -topic access
  produce -topic orders -key-separator : -file orders.txt      (key:value)
  echo hello | produce -topic orders -partition 3
  produce -topic greetings              (type messages, Ctrl-D ends)

A message is a line without its newline; every other byte is kept, and an empty
line is an empty message. The topic is created when it is not there. What has to
be sent again, because the connection broke or the server was restarted, is
stored once.

With -key-separator, what is before the first separator of a line is the key,
which may be empty, and the rest is the value. A line without the separator has
no key. Lines of one key go to one partition and stay in order; lines without go
to all partitions in turn.

Ctrl-C, or a SIGTERM, ends it in good order: nothing more is read, what was read
is stored, and the summary says how much that is. A second one ends it at once.

Exit codes: 0 every message is stored, 1 not every message is confirmed: the
first that is not is named, 2 wrong usage, 130 ended by Ctrl-C: every message
that the summary counts is stored.";

/// Sends lines as messages to a topic of a MiniKafka server.
#[derive(Debug, Parser)]
#[command(name = "produce", version, after_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    host: Host,
    /// Topic to send to
    #[arg(long)]
    topic: String,
    /// Reads this file instead of the standard input
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// How long the server may stay away before a message counts as failed, as in 500ms, 30s or 1m
    #[arg(long, default_value = "30s", value_parser = positive)]
    timeout: Duration,
    /// Compresses messages, many at a time, before they are sent: none, gzip, snappy, lz4 or zstd. They stay
    /// compressed on the server's disk and on the way to consumers
    #[arg(long, value_name = "CODEC", default_value = "none")]
    compression: Compression,
    /// Sends everything to this partition, counted from 0. Without it, keys say where a line goes
    #[arg(long, value_name = "N")]
    partition: Option<u32>,
    /// What stands between key and value of a line, as in : or ', ' or \t. Without it, lines have no keys
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    key_separator: Option<KeySeparator>,
}

/// Sends everything.
///
/// # Errors
/// When not every message is confirmed.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    // What is enqueued is stored or has failed by the timeout.
    let mut interrupt = Interrupt::listen(Patience::Unlimited, INTERRUPTED)?;
    let input = match &args.file {
        Some(path) => Input::file(path)?,
        None => Input::stdin(),
    };
    let mut builder = Producer::builder(&args.host.host, &args.topic).compression(args.compression);
    if let Some(partition) = args.partition {
        builder = builder.partition(partition);
    }
    let keys = Keys::new(args.key_separator);
    let producer = tokio::select! {
        producer = connect::connect(builder, args.timeout) => producer?,
        () = interrupt.received() => {
            say!("{}", Summary::of_nothing());
            return Ok(ExitCode::from(INTERRUPTED));
        }
    };
    if !producer.is_idempotent() {
        say!("produce: the server is old: a line whose reply is lost is not sent again");
    }
    if args.file.is_none() && std::io::stdin().is_terminal() {
        return interactive::run(producer, input, keys, &args.topic, &mut interrupt).await;
    }
    let bar = bar(input.bytes());
    let sent = pipeline::run(producer, input, keys, &bar, &mut interrupt).await;
    bar.finish_and_clear();
    let (summary, end) = sent?;
    say!("{summary}");
    Ok(match end {
        End::OfInput => ExitCode::SUCCESS,
        End::Interrupted => ExitCode::from(INTERRUPTED),
    })
}
