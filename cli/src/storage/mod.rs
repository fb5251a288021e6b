//! `minikafka storage`: looks into the data directory of a server that does not run, without changing it.

mod dump;
mod print;
mod verify;

use std::{path::PathBuf, process::ExitCode};

use clap::Subcommand;

use crate::output::Output;

const EXAMPLES: &str = "\
Examples:
  minikafka storage verify ./minikafka-data
  minikafka storage dump ./minikafka-data -topic orders -count 10

Nothing in the directory is changed. A directory that a server uses is refused.";

const VERIFY_EXAMPLES: &str = "\
Examples:
  minikafka storage verify ./minikafka-data
  minikafka storage verify ./minikafka-data -output json | jq .lost_messages

Every frame, index, manifest, blob and record of the journal is read and checked.
Each finding is a line: \"damage\" costs messages or a file, a \"note\" costs nothing:
a torn tail that was never acknowledged, an index that is built again, what an
earlier start has kept aside.

Exit codes: 0 whole, 1 damage was found or the directory cannot be read, 2 wrong
usage.";

const DUMP_EXAMPLES: &str = "\
Examples:
  minikafka storage dump ./minikafka-data
  minikafka storage dump ./minikafka-data -topic orders -from 100 -count 10
  minikafka storage dump ./minikafka-data -records -output json | jq .value

A line for each entry: the log, index, leader epoch, message numbers, append time
in milliseconds, kind, bytes, and where it is. With -records, a line for each of
its messages follows: number, timestamp, key and value; in JSON they look like
those of consume -format json. What is damaged is said on stderr, and left out.

Exit codes: 0 done, 1 damage was found or the directory cannot be read, 2 wrong
usage.";

/// The command line of `minikafka storage`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Checks every file of a data directory and says what is lost
    #[command(after_help = VERIFY_EXAMPLES)]
    Verify(verify::Args),
    /// Prints what the logs of a data directory hold
    #[command(after_help = DUMP_EXAMPLES)]
    Dump(dump::Args),
}

/// Which directory, and how to print.
#[derive(Debug, clap::Args)]
struct Target {
    /// The data directory, as the server's -root-dir names it
    dir: PathBuf,
    /// How to print: text or json
    #[arg(long, value_enum, default_value_t = Output::Text, hide_possible_values = true)]
    output: Output,
}

/// Does what it is told.
///
/// # Errors
/// When the directory cannot be read, or a server uses it.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    match &args.action {
        Action::Verify(args) => verify::run(args),
        Action::Dump(args) => dump::run(args),
    }
}
