//! `minikafka group`: lists and describes consumer groups, moves their positions, and deletes them.

mod print;

use std::{process::ExitCode, str::FromStr};

use clap::Subcommand;
use minikafka_client_connection::GroupClient;
use minikafka_proto::v1::{
    DeleteGroupRequest, DescribeGroupRequest, DescribeGroupResponse, GroupSummary, ListGroupsRequest,
    SeekGroupRequest, TopicPartition,
};

use crate::{
    place::Place,
    target::{Target, refused},
};

const EXAMPLES: &str = "\
Examples:
  minikafka group list
  minikafka group describe billing
  minikafka group describe billing --output json | jq .lag_messages
  minikafka group seek billing -to earliest --dry-run
  minikafka group delete billing";

const LIST_EXAMPLES: &str = "\
Examples:
  minikafka group list
  minikafka group list --output json | jq -r '.[] | select(.state == \"empty\") | .name'";

const DESCRIBE_EXAMPLES: &str = "\
Examples:
  minikafka group describe billing
  minikafka group describe billing --output json | jq '.positions[] | select(.lag_ms > 60000)'";

const SEEK_EXAMPLES: &str = "\
Examples:
  minikafka group seek billing -to earliest --dry-run
  minikafka group seek billing -to latest -topic orders
  minikafka group seek billing -to 1h30m
  minikafka group seek billing -to 2026-01-31T12:00:00Z -topic-partition orders:3
  minikafka group seek billing -to 2026-01-31T14:00:00+02:00 -topic orders
  minikafka group seek billing -to 1017 -topic-partition orders:3

Numbers beyond what is there are taken as its start or end. The group must have no members.";

const DELETE_EXAMPLES: &str = "\
Examples:
  minikafka group delete billing";

/// The command line of `minikafka group`.
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
    /// Prints the name of each group
    #[command(after_help = LIST_EXAMPLES)]
    List,
    /// Prints the members of a group, how far they have come, and how far that is behind
    #[command(after_help = DESCRIBE_EXAMPLES)]
    Describe {
        /// Name of the group
        group: String,
    },
    /// Moves the positions of a group without members, and prints from where to where
    #[command(after_help = SEEK_EXAMPLES)]
    Seek {
        /// Name of the group; it is created when it is not there
        group: String,
        /// Where to: earliest, latest, the number of a message, how long ago, or a time, which is UTC without an offset
        #[arg(long, value_name = "PLACE")]
        to: Place,
        /// All partitions of this topic; may be given again [default: all for which the group has positions]
        #[arg(long)]
        topic: Vec<String>,
        /// One partition; may be given again
        #[arg(long, value_name = "TOPIC:PARTITION", value_parser = partition)]
        topic_partition: Vec<TopicPartition>,
        /// Prints what would move, and moves nothing; refused when the move would be
        #[arg(long)]
        dry_run: bool,
    },
    /// Deletes a group without members, and its positions, without asking
    #[command(after_help = DELETE_EXAMPLES)]
    Delete {
        /// Name of the group
        group: String,
    },
}

/// A topic and a partition; the name may hold colons.
fn partition(text: &str) -> Result<TopicPartition, &'static str> {
    let parsed = text.rsplit_once(':').map(|(topic, partition)| (topic, u32::from_str(partition)));
    match parsed {
        Some((topic, Ok(partition))) if !topic.is_empty() => {
            Ok(TopicPartition { topic: topic.to_owned(), partition })
        }
        _ => Err("not a topic and a partition, like orders:3"),
    }
}

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
    let mut client = target.connect_to_groups().await?;
    let output = target.output;
    match action {
        Action::List => print::list(&all(&mut client).await?, output)?,
        Action::Describe { group } => {
            print::description(&described(&mut client, group).await?, output)?;
        }
        Action::Seek { group, to, topic, topic_partition, dry_run } => {
            let request = SeekGroupRequest {
                group,
                topics: topic,
                partitions: topic_partition,
                to: Some(to.position().into()),
                dry_run,
            };
            let seeked = client.seek_group(request).await.map_err(refused)?.into_inner();
            print::seeked(&seeked.positions, output)?;
            if dry_run {
                say!("minikafka: nothing was moved: --dry-run");
            }
        }
        Action::Delete { group } => {
            client.delete_group(DeleteGroupRequest { group: group.clone() }).await.map_err(refused)?;
            print::deleted(&group, output)?;
        }
    }
    Ok(())
}

/// The names of all groups.
pub(crate) async fn names(target: &Target) -> anyhow::Result<Vec<String>> {
    let groups = all(&mut target.connect_to_groups().await?).await?;
    Ok(groups.into_iter().map(|group| group.name).collect())
}

/// All of a group, in one.
async fn described(client: &mut GroupClient, group: String) -> anyhow::Result<DescribeGroupResponse> {
    let mut request = DescribeGroupRequest { group, ..DescribeGroupRequest::default() };
    let mut all = DescribeGroupResponse::default();
    loop {
        let page = client.describe_group(request.clone()).await.map_err(refused)?.into_inner();
        let (mut members, mut positions) = (all.members, all.positions);
        members.extend_from_slice(&page.members);
        positions.extend_from_slice(&page.positions);
        request.page_token.clone_from(&page.next_page_token);
        // What is said of the whole is newest on the last page.
        all = DescribeGroupResponse { members, positions, ..page };
        if request.page_token.is_empty() {
            return Ok(all);
        }
    }
}

/// All groups, ordered by name.
async fn all(client: &mut GroupClient) -> anyhow::Result<Vec<GroupSummary>> {
    let (mut groups, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = ListGroupsRequest { page_size: 0, page_token };
        let page = client.list_groups(request).await.map_err(refused)?.into_inner();
        groups.extend(page.groups);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return Ok(groups);
        }
    }
}
