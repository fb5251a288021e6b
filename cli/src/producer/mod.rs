//! `minikafka producer`: the idempotent producers that topics remember.

use std::{
    process::ExitCode,
    sync::Arc,
    time::{Duration, SystemTime},
};

use clap::Subcommand;
use minikafka_client_connection::Client;
use minikafka_flags::format_duration;
use minikafka_proto::v1::{ListProducersRequest, ProducerDescription};
use serde::Serialize;
use tonic::{Code, Status};

use crate::{
    output::{Output, json, text},
    table::{Column, Table},
    target::{Target, refused},
    topic,
};

const EXAMPLES: &str = "\
Examples:
  minikafka producer list
  minikafka producer list orders
  minikafka producer list orders -partition 3
  minikafka producer list orders --output json | jq 'map(.producer_id) | unique | length'";

/// The command line of `minikafka producer`.
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
    /// Prints who has sent to a topic, or to any, what came last from each, and how long ago
    #[command(after_help = EXAMPLES)]
    List {
        /// Name of the topic [default: all topics]
        topic: Option<String>,
        /// Only this partition of the topic, from 0
        #[arg(long, requires = "topic")]
        partition: Option<u32>,
    },
}

/// A producer in JSON.
#[derive(Serialize)]
struct Producer<'a> {
    topic: &'a str,
    partition: u32,
    producer_id: i64,
    producer_epoch: i32,
    last_sequence: i32,
    last_number: u64,
    last_append_time_ms: i64,
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
    let Action::List { topic, partition } = action;
    let mut client = target.connect().await?;
    let (producers, heading) = match topic {
        Some(topic) => (of_topic(&mut client, topic, partition).await.map_err(refused)?, Heading::OfOneTopic),
        None => (of_all(&mut client, target).await?, Heading::OfAllTopics),
    };
    match target.output {
        Output::Text => text(&table(&producers, heading).to_string())?,
        Output::Json => json(&producers.iter().map(Producer::from).collect::<Vec<_>>())?,
    }
    Ok(())
}

/// A producer, and the topic that remembers it.
type Of = (Arc<str>, ProducerDescription);

/// Ordered by topic, partition and id.
async fn of_all(client: &mut Client, target: &Target) -> anyhow::Result<Vec<Of>> {
    let mut all = Vec::new();
    for topic in topic::names(target).await? {
        match of_topic(client, topic, None).await {
            Ok(producers) => all.extend(producers),
            // It was deleted meanwhile.
            Err(status) if status.code() == Code::NotFound => {}
            Err(status) => return Err(refused(status)),
        }
    }
    Ok(all)
}

/// Ordered by partition and id.
async fn of_topic(client: &mut Client, topic: String, partition: Option<u32>) -> Result<Vec<Of>, Status> {
    let name = Arc::from(topic.as_str());
    let mut request = ListProducersRequest { topic, partition, ..ListProducersRequest::default() };
    let mut producers = Vec::new();
    loop {
        let page = client.list_producers(request.clone()).await?.into_inner();
        producers.extend(page.producers.into_iter().map(|producer| (Arc::clone(&name), producer)));
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            return Ok(producers);
        }
    }
}

/// Whether the topic has a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Heading {
    OfOneTopic,
    OfAllTopics,
}

fn table(producers: &[Of], heading: Heading) -> Table {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let columns = ["partition", "producer", "epoch", "last sequence", "last message", "age"];
    let topic = (heading == Heading::OfAllTopics).then_some(Column::Text("topic"));
    let columns: Vec<_> = topic.into_iter().chain(columns.map(Column::Number)).collect();
    let mut table = Table::new(&columns);
    for (topic, producer) in producers {
        let last = Duration::from_millis(producer.last_append_time_ms.max(0) as u64);
        // Whole seconds are enough for people.
        let age = Duration::from_secs(now.saturating_sub(last).as_secs());
        let cells = [
            producer.partition.to_string(),
            producer.producer_id.to_string(),
            producer.producer_epoch.to_string(),
            producer.last_sequence.to_string(),
            producer.last_number.to_string(),
            format_duration(age).to_string(),
        ];
        let topic = (heading == Heading::OfAllTopics).then(|| topic.to_string());
        table.push(topic.into_iter().chain(cells));
    }
    table
}

impl<'a> From<&'a Of> for Producer<'a> {
    fn from((topic, producer): &'a Of) -> Producer<'a> {
        Producer {
            topic,
            partition: producer.partition,
            producer_id: producer.producer_id,
            producer_epoch: producer.producer_epoch,
            last_sequence: producer.last_sequence,
            last_number: producer.last_number,
            last_append_time_ms: producer.last_append_time_ms,
        }
    }
}
