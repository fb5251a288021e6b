//! `minikafka topic`: lists, describes, creates and deletes topics.

mod admin;
mod print;

use std::process::ExitCode;

use clap::Subcommand;

use crate::{host::Host, output::Output};
use admin::Admin;

const EXAMPLES: &str = "\
Examples:
  minikafka topic list
  minikafka topic describe orders
  minikafka topic create \"demo topic\"
  minikafka topic delete orders --host 10.0.0.7:9999
  minikafka topic list --output json | jq -r '.[].name'";

const LIST_EXAMPLES: &str = "\
Examples:
  minikafka topic list
  minikafka topic list --host 10.0.0.7:9999
  minikafka topic list --output json | jq -r '.[].name'";

const DESCRIBE_EXAMPLES: &str = "\
Examples:
  minikafka topic describe orders
  minikafka topic describe orders --host 10.0.0.7:9999
  minikafka topic describe orders --output json | jq '.partitions[0].end_number'";

const CREATE_EXAMPLES: &str = "\
Examples:
  minikafka topic create orders
  minikafka topic create \"demo topic\" --host 10.0.0.7:9999
  minikafka topic create orders --output json | jq -r .id";

const DELETE_EXAMPLES: &str = "\
Examples:
  minikafka topic delete orders
  minikafka topic delete \"demo topic\" --host 10.0.0.7:9999";

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
    #[command(after_help = LIST_EXAMPLES)]
    List,
    /// Prints the numbers of a topic, its retention, and what an acknowledgement means
    #[command(after_help = DESCRIBE_EXAMPLES)]
    Describe {
        /// Name of the topic
        topic: String,
    },
    /// Creates a topic
    #[command(after_help = CREATE_EXAMPLES)]
    Create {
        /// Name of the topic: 1 to 249 bytes of UTF-8 without control characters and slashes
        topic: String,
    },
    /// Deletes a topic and its messages, without asking
    #[command(after_help = DELETE_EXAMPLES)]
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
    /// How to print: text or json
    #[arg(long, value_enum, default_value_t = Output::Text, hide_possible_values = true, global = true)]
    output: Output,
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
