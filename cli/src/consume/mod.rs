//! `consume`: messages out, one after the other.
//!
//! ```text
//!   server -> Consumer::poll -> format -> output, flushed when there is nothing more to print just now
//!                  |
//!                  +-> trouble (server away, topic not there, messages evicted): said on stderr, and overcome
//! ```

mod format;
mod goal;
mod output;
mod reading;
mod start;
mod subscription;

use std::{num::NonZeroU64, process::ExitCode, time::Duration};

use clap::Parser;

use crate::{
    host::Host,
    interrupt::{Interrupt, Patience},
};
pub(crate) use format::Format;
use goal::Goal;
use output::Output;
use reading::Reading;
use start::Start;
use subscription::Subscription;

/// How long a polite end may take: a reader of stdout that does not read holds it up without end.
const PATIENCE: Duration = Duration::from_secs(1);

const EXAMPLES: &str = "\
Examples:
  consume -topic greetings                        everything, then what comes
  consume -topic greetings -from latest           only what comes
  consume -topic greetings -until-end > all.txt   everything there is, then end
  consume -topic greetings -from 100 -count 10    messages 100 to 109
  consume -topic greetings -format json | jq .value

Formats:
  value    the value and a newline; nothing but a newline for a null value
  json     an object per line: number, timestamp_ms, key, value, headers. Bytes
           that are not UTF-8 come as base64 in key_base64 and value_base64
  verbose  number, timestamp in milliseconds, key and value, with tabs between

Without -until-end or -count it goes on until Ctrl-C: it waits for a topic that
is not there yet, comes back when the server does, and goes on at the oldest
message when others were evicted before they were read. Messages that the disk
of the server has lost are skipped. It says so on stderr.

Exit codes: 0 done, or ended by Ctrl-C with no end to reach; 1 failed; 2 wrong
usage; 130 ended by Ctrl-C before -until-end or -count was reached.";

/// Prints the messages of a topic of a MiniKafka server.
#[derive(Debug, Parser)]
#[command(name = "consume", version, after_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    host: Host,
    /// Topic to read
    #[arg(long)]
    topic: String,
    /// Where to start: earliest, latest, or the number of a message
    #[arg(long, default_value = "earliest", value_name = "WHERE")]
    from: Start,
    /// Ends after so many messages
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    count: Option<NonZeroU64>,
    /// Ends at the end as it is at the start; fails when there is no such topic or no server
    #[arg(long)]
    until_end: bool,
    /// How to print a message: value, json or verbose
    #[arg(long, value_enum, default_value_t = Format::Value, hide_possible_values = true)]
    format: Format,
}

fn at_least_one(text: &str) -> Result<NonZeroU64, String> {
    match text.parse() {
        Ok(count) => NonZeroU64::new(count).ok_or_else(|| "-count must be at least 1".to_owned()),
        Err(_) => Err("-count must be a whole number, at least 1".to_owned()),
    }
}

/// Prints messages until the goal is reached or Ctrl-C.
///
/// # Errors
/// When there is nothing to read, or nowhere to print.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let goal = Goal::new(args.count, args.until_end);
    let exit_code = goal.exit_code_when_interrupted();
    let mut interrupt = Interrupt::listen(Patience::For(PATIENCE), exit_code)?;
    let subscription = Subscription::new(&args.host.host, &args.topic, args.from);
    let mut reading = Reading::new(subscription, goal, Output::stdout(args.format)?);
    let result = tokio::select! {
        result = reading.run() => result.map(|()| ExitCode::SUCCESS),
        () = interrupt.received() => Ok(ExitCode::from(exit_code)),
    };
    // What was printed before a failure is as good as what was printed before success.
    reading.flush()?;
    result
}
