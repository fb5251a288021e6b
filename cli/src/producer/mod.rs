//! `minikafka producer`: the idempotent producers that a topic remembers.

use std::{
    process::ExitCode,
    time::{Duration, SystemTime},
};

use clap::Subcommand;
use minikafka_flags::format_duration;
use minikafka_proto::v1::{ListProducersRequest, ProducerDescription};
use serde::Serialize;

use crate::{
    output::{Output, json, text},
    table::{Column, Table},
    target::{Target, refused},
};

const EXAMPLES: &str = "\
Examples:
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
    /// Prints who has sent to a topic, what came last from each, and how long ago
    #[command(after_help = EXAMPLES)]
    List {
        /// Name of the topic
        topic: String,
        /// Only this partition, from 0
        #[arg(long)]
        partition: Option<u32>,
    },
}

/// A producer in JSON.
#[derive(Serialize)]
struct Producer {
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
    let mut client = target.connect().await?;
    let Action::List { topic, partition } = action;
    let mut request = ListProducersRequest { topic, partition, ..ListProducersRequest::default() };
    let mut producers = Vec::new();
    loop {
        let page = client.list_producers(request.clone()).await.map_err(refused)?.into_inner();
        producers.extend(page.producers);
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            break;
        }
    }
    match target.output {
        Output::Text => text(&table(&producers).to_string())?,
        Output::Json => json(&producers.iter().map(Producer::from).collect::<Vec<_>>())?,
    }
    Ok(())
}

fn table(producers: &[ProducerDescription]) -> Table {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let mut table = Table::new(
        &["partition", "producer", "epoch", "last sequence", "last message", "age"].map(Column::Number),
    );
    for producer in producers {
        let last = Duration::from_millis(producer.last_append_time_ms.max(0) as u64);
        // Whole seconds are enough for people.
        let age = Duration::from_secs(now.saturating_sub(last).as_secs());
        table.push([
            producer.partition.to_string(),
            producer.producer_id.to_string(),
            producer.producer_epoch.to_string(),
            producer.last_sequence.to_string(),
            producer.last_number.to_string(),
            format_duration(age).to_string(),
        ]);
    }
    table
}

impl From<&ProducerDescription> for Producer {
    fn from(producer: &ProducerDescription) -> Producer {
        Producer {
            partition: producer.partition,
            producer_id: producer.producer_id,
            producer_epoch: producer.producer_epoch,
            last_sequence: producer.last_sequence,
            last_number: producer.last_number,
            last_append_time_ms: producer.last_append_time_ms,
        }
    }
}
