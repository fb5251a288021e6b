//! `minikafka topic`: lists, describes, creates and deletes topics.

mod admin;
mod print;

use std::process::ExitCode;

use clap::{Subcommand, ValueEnum};

use crate::host::Host;
use admin::Admin;

const EXAMPLES: &str = "\
Examples:
  minikafka topic list
  minikafka topic describe orders
  minikafka topic create \"demo topic\"
  minikafka topic delete orders --host 10.0.0.7:9999
  minikafka topic list --output json | jq -r '.[].name'";

/// The command line of `minikafka topic`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
    #[command(flatten)]
    target: Target,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Prints the name of each topic
    List,
    /// Prints the numbers of a topic, its retention, and what an acknowledgement means
    Describe {
        /// Name of the topic
        topic: String,
    },
    /// Creates a topic
    Create {
        /// Name of the topic: 1 to 249 bytes of UTF-8 without control characters and slashes
        topic: String,
    },
    /// Deletes a topic and its messages, without asking
    Delete {
        /// Name of the topic
        topic: String,
    },
}

/// Of which server, and how to print.
#[derive(Debug, clap::Args)]
struct Target {
    #[command(flatten)]
    host: Host,
    /// How to print
    #[arg(long, value_enum, default_value_t = Output::Text, global = true)]
    output: Output,
}

/// How to print.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    /// For people
    Text,
    /// For programs
    Json,
}

/// Does what it is told.
///
/// # Errors
/// When the server cannot be reached or refuses.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let mut admin = Admin::connect(&args.target.host.host).await?;
    match args.action {
        Action::List => print::list(&admin.list().await?, args.target.output)?,
        Action::Describe { topic } => print::description(&admin.describe(&topic).await?, args.target.output)?,
        Action::Create { topic } => print::created(&admin.create(&topic).await?, args.target.output)?,
        Action::Delete { topic } => admin.delete(&topic).await?,
    }
    Ok(ExitCode::SUCCESS)
}
