//! `consume`: messages out, one after the other.
//!
//! ```text
//!   server -> Consumer::poll -> format -> output, flushed when there is nothing more to print just now
//!                  |
//!                  +-> trouble (server away, topic not there, messages evicted): said on stderr, and overcome
//! ```

mod ending;
mod format;
mod goal;
mod lost;
mod member;
mod output;
mod reading;
mod repeated;
mod subscription;

use std::{num::NonZeroU64, process::ExitCode, time::Duration};

use clap::Parser;

use crate::{
    host::Host,
    interrupt::{Interrupt, Patience},
    place::Place,
};
use ending::{AllCommitted, Ended};
pub(crate) use format::Format;
pub(crate) use goal::Goal;
use member::Membership;
pub(crate) use output::Output;
pub(crate) use reading::Reading;
pub(crate) use subscription::{Subscription, lost, skipped};

/// How long a polite end may take: a reader of stdout that does not read holds it up without end.
const PATIENCE: Duration = Duration::from_secs(1);

const EXAMPLES: &str = "\
Examples:
  consume -topic greetings                        everything, then what comes
  consume -topic greetings -from latest           only what comes
  consume -topic greetings -until-end > all.txt   everything there is, then end
  consume -topic greetings -from 100 -count 10    messages 100 to 109
  consume -topic greetings -from 1h30m            what came in the last 90 minutes
  consume -topic greetings -from 2026-01-31T14:00:00+02:00
  consume -topic greetings -format json | jq .value
  consume -topic orders -partition 3              one partition only
  consume -topic orders -group billing            shared with other members; goes
                                                  on where the group has come to

Formats:
  value    the value and a newline; nothing but a newline for a null value
  json     an object per line: partition, number, timestamp_ms, key, value,
           headers. Bytes that are not UTF-8 come as base64 in key_base64 and
           value_base64
  verbose  partition, number, timestamp in milliseconds, key and value, with
           tabs between

All partitions of the topic are read, also those that it gets later. Messages
of one partition come in order.

With -group, each partition is printed by one member of the group at a time,
and what was printed is committed every -commit-interval, at the end, and when
a partition moves. After a crash, what was printed and not committed comes
again. -from says where to start in partitions for which nothing is committed.
Ctrl-C commits for up to 10s when the server is away, and says what may come
again if that was in vain; a second one ends it at once.

Without -until-end or -count it goes on until Ctrl-C: it waits for a topic that
is not there yet, comes back when the server does, and goes on at the oldest
message when others were evicted before they were read. Messages that the disk
of the server has lost are skipped, and so are partitions that it has lost
whole, which are tried again now and then. It says so on stderr.

Exit codes: 0 done, or ended by Ctrl-C with no end to reach; 1 failed, also when
the positions of the group could not be committed at the end, when all
partitions are lost, and when some are so that -until-end is not reached; 2 wrong usage; 130
ended by Ctrl-C before -until-end or -count was reached, or by a second Ctrl-C
before the positions of the group were committed.";

/// Prints the messages of a topic of a MiniKafka server.
#[derive(Debug, Parser)]
#[command(name = "consume", version, after_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    host: Host,
    /// Topic to read
    #[arg(long)]
    topic: String,
    /// Reads this partition only, counted from 0
    #[arg(long, value_name = "N", conflicts_with = "group")]
    partition: Option<u32>,
    /// Reads as a member of this group, which shares the partitions and remembers how far it came
    #[arg(long, value_name = "NAME")]
    group: Option<String>,
    /// How often the group's positions are committed, while there are messages
    #[arg(long, value_name = "TIME", requires = "group", default_value = "5s", value_parser = minikafka_flags::parse_duration)]
    commit_interval: Duration,
    /// Where to start: earliest, latest, the number of a message, how long ago, or a time, which is UTC without an offset
    #[arg(long, default_value = "earliest", value_name = "PLACE")]
    from: Place,
    /// Ends after so many messages
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    count: Option<NonZeroU64>,
    /// Ends at the end as it is at the start; fails when there is no such topic or no server
    #[arg(long, conflicts_with = "group")]
    until_end: bool,
    /// How to print a message: value, json or verbose
    #[arg(long, value_enum, default_value_t = Format::Value, hide_possible_values = true)]
    format: Format,
}

pub(crate) fn at_least_one(text: &str) -> Result<NonZeroU64, String> {
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
    let output = Output::stdout(args.format)?;
    if let Some(group) = &args.group {
        let committed = AllCommitted::default();
        let mut interrupt = ending::listen(&committed, exit_code)?;
        let mut membership = Membership::new(&args.host.host, group, &args.topic, args.from.position());
        membership.commit_interval = args.commit_interval;
        // Large, and only here for some.
        let ended = Box::pin(member::run(&membership, goal.count, output, &mut interrupt, &committed));
        return Ok(match ended.await? {
            Ended::AsWanted => ExitCode::SUCCESS,
            Ended::Interrupted => ExitCode::from(exit_code),
            Ended::Failed => ExitCode::FAILURE,
        });
    }
    let mut interrupt = Interrupt::listen(Patience::For(PATIENCE), exit_code)?;
    let subscription = Subscription::new(&args.host.host, &args.topic, args.partition, args.from);
    let mut reading = Reading::new(subscription, goal, output);
    let result = tokio::select! {
        result = reading.run() => result.map(|()| ExitCode::SUCCESS),
        () = interrupt.received() => Ok(ExitCode::from(exit_code)),
    };
    // What was printed before a failure is as good as what was printed before success.
    reading.flush()?;
    result
}
