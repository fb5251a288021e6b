//! `minikafka topic`: lists, describes, creates, alters and deletes topics.

mod admin;
mod print;
mod settings;

use std::process::ExitCode;

use clap::{ArgGroup, Subcommand};
use minikafka_proto::v1::{AlterTopicRequest, CreateTopicRequest};

use crate::target::Target;
use admin::Admin;
use settings::Settings;

const EXAMPLES: &str = "\
Examples:
  minikafka topic list
  minikafka topic describe orders
  minikafka topic create orders -partitions 12 -retention 24h
  minikafka topic alter orders -partitions 24 -retention default
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
  minikafka topic create orders -partitions 12 -retention 24h -retention-bytes 10GiB -message-max 1MiB
  minikafka topic create audit -retention never
  minikafka topic create \"demo topic\" --host 10.0.0.7:9999
  minikafka topic create orders --output json | jq -r .id";

const ALTER_EXAMPLES: &str = "\
Examples:
  minikafka topic alter orders -partitions 24
  minikafka topic alter orders -retention 1h -message-max default
  minikafka topic alter orders -retention never -retention-bytes 10GiB --host 10.0.0.7:9999";

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

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Action {
    /// Prints the name of each topic
    #[command(after_help = LIST_EXAMPLES)]
    List,
    /// Prints the settings of a topic, who has chosen them, and the numbers of its partitions
    #[command(after_help = DESCRIBE_EXAMPLES)]
    Describe {
        /// Name of the topic
        topic: String,
    },
    /// Creates a topic
    #[command(after_help = CREATE_EXAMPLES)]
    Create(NewTopic),
    /// Adds partitions to a topic, or changes its settings: all of it, or nothing
    #[command(after_help = ALTER_EXAMPLES, group = ArgGroup::new("change").args(CHANGES).required(true).multiple(true))]
    Alter {
        /// Name of the topic
        topic: String,
        /// Number of partitions from now on: more than there are. There is no way back, and keys may go to other
        /// partitions then
        #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
        partitions: Option<u32>,
        #[command(flatten)]
        settings: Settings,
    },
    /// Deletes a topic and its messages, without asking
    #[command(after_help = DELETE_EXAMPLES)]
    Delete {
        /// Name of the topic
        topic: String,
    },
}

/// A topic that is to be.
#[derive(Debug, clap::Args)]
pub(crate) struct NewTopic {
    /// Name of the topic: 1 to 249 bytes of UTF-8 without control characters and slashes
    topic: String,
    /// Number of partitions [default: the server's, 1 unless it was told otherwise]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    partitions: Option<u32>,
    #[command(flatten)]
    settings: Settings,
}

/// The flags of a change, of which there is at least one.
const CHANGES: [&str; 4] = ["partitions", "retention", "retention_bytes", "message_max"];

/// Does what it is told.
///
/// # Errors
/// When the server cannot be reached or refuses.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    act(args.action, &args.target).await?;
    Ok(ExitCode::SUCCESS)
}

/// Does one thing.
pub(crate) async fn act(action: Action, target: &Target) -> anyhow::Result<()> {
    let mut admin = Admin::connect(target).await?;
    match action {
        Action::List => print::list(&admin.list().await?, target.output)?,
        Action::Describe { topic } => print::description(&admin.describe(&topic).await?, target.output)?,
        Action::Create(NewTopic { topic, partitions, settings }) => {
            let (settings, _) = settings.changes();
            // 0: as many as the server says.
            let partitions = partitions.unwrap_or(0);
            let request = CreateTopicRequest { topic, partitions, settings: Some(settings) };
            print::changed(&admin.create(request).await?, target.output)?;
        }
        Action::Alter { topic, partitions, settings } => {
            let (set, reset) = settings.changes();
            let reset = reset.into_iter().map(Into::into).collect();
            let request = AlterTopicRequest { topic, partitions, set: Some(set), reset };
            print::changed(&admin.alter(request).await?, target.output)?;
        }
        Action::Delete { topic } => {
            admin.delete(&topic).await?;
            print::deleted(&topic, target.output)?;
        }
    }
    Ok(())
}

/// The names of all topics.
pub(crate) async fn names(target: &Target) -> anyhow::Result<Vec<String>> {
    let topics = Admin::connect(target).await?.list().await?;
    Ok(topics.into_iter().map(|topic| topic.name).collect())
}
