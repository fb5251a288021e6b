//! What `minikafka topic` prints.

use std::{
    io::{self, Write as _, stdout},
    time::Duration,
};

use minikafka_flags::format_duration;
use minikafka_proto::v1::{DescribeTopicResponse, Durability, TopicSummary};
use serde::Serialize;

use super::Output;
use crate::count::{Count, Size};

/// A topic in JSON.
#[derive(Serialize)]
struct Topic<'a> {
    name: &'a str,
    id: &'a str,
    partitions: u32,
}

/// A described topic in JSON.
#[derive(Serialize)]
struct Description<'a> {
    name: &'a str,
    id: &'a str,
    /// Null: for ever.
    retention_ms: Option<u64>,
    /// Null: no limit.
    retention_bytes: Option<u64>,
    durability: &'a str,
    partitions: Vec<Partition>,
}

#[derive(Serialize)]
struct Partition {
    partition: u32,
    start_number: u64,
    end_number: u64,
    durable_number: u64,
    leader_epoch: u64,
    size_bytes: u64,
    damaged_messages: u64,
}

/// The names, one a line; or an array.
pub(super) fn list(topics: &[TopicSummary], output: Output) -> io::Result<()> {
    match output {
        Output::Text => text(&topics.iter().map(|topic| format!("{}\n", topic.name)).collect::<String>()),
        Output::Json => json(&topics.iter().map(Topic::from).collect::<Vec<_>>()),
    }
}

/// Nothing, as a command does that did what it was told; or an object.
pub(super) fn created(topic: &TopicSummary, output: Output) -> io::Result<()> {
    match output {
        Output::Text => Ok(()),
        Output::Json => json(&Topic::from(topic)),
    }
}

pub(super) fn description(topic: &DescribeTopicResponse, output: Output) -> io::Result<()> {
    match output {
        Output::Text => text(&described(topic)),
        Output::Json => json(&Description::from(topic)),
    }
}

fn described(topic: &DescribeTopicResponse) -> String {
    let retention = match topic.retention_ms {
        Some(age) => format_duration(Duration::from_millis(age)).to_string(),
        None => "for ever".to_owned(),
    };
    let at_most = topic
        .retention_bytes
        .map_or_else(String::new, |bytes| format!(", at most {} in each partition", Size(bytes)));
    let mut lines = vec![
        format!("topic       {}", topic.name),
        format!("id          {}", topic.id),
        format!("retention   {retention}{at_most}"),
        format!("durability  {}", meaning(topic.durability())),
    ];
    for partition in &topic.partitions {
        let (start, end) = (partition.start_number, partition.end_number);
        let messages = match end - start.min(end) {
            0 => format!("no messages, the next is {end}"),
            1 => format!("1 message, {start}"),
            count => format!("{}, {start} to {}", Count(count, "message"), end - 1),
        };
        let size = Size(partition.size_bytes);
        let lost = match partition.damaged_messages {
            0 => String::new(),
            lost => format!("; {} lost to damage of the disk", Count(lost, "message")),
        };
        lines.push(format!("partition {} {messages}; {size} stored{lost}", partition.partition));
    }
    lines.join("\n") + "\n"
}

/// What an acknowledgement means.
fn meaning(durability: Durability) -> &'static str {
    match durability {
        Durability::Unspecified => "unknown",
        Durability::Synced => "synced: on disk before a message is acknowledged",
        Durability::Periodic => "periodic: power loss may take the last acknowledged messages",
        Durability::Cached => "cached: power loss may take acknowledged messages",
        Durability::Memory => "memory: the end of the server takes all messages",
    }
}

fn name(durability: Durability) -> &'static str {
    match durability {
        Durability::Unspecified => "unknown",
        Durability::Synced => "synced",
        Durability::Periodic => "periodic",
        Durability::Cached => "cached",
        Durability::Memory => "memory",
    }
}

fn text(text: &str) -> io::Result<()> {
    stdout().write_all(text.as_bytes())
}

fn json(value: &impl Serialize) -> io::Result<()> {
    let mut stdout = stdout().lock();
    serde_json::to_writer(&mut stdout, value)?;
    stdout.write_all(b"\n")
}

impl<'a> From<&'a TopicSummary> for Topic<'a> {
    fn from(topic: &'a TopicSummary) -> Topic<'a> {
        Topic { name: &topic.name, id: &topic.id, partitions: topic.partitions }
    }
}

impl<'a> From<&'a DescribeTopicResponse> for Description<'a> {
    fn from(topic: &'a DescribeTopicResponse) -> Description<'a> {
        let partitions = topic.partitions.iter().map(|partition| Partition {
            partition: partition.partition,
            start_number: partition.start_number,
            end_number: partition.end_number,
            durable_number: partition.durable_number,
            leader_epoch: partition.leader_epoch,
            size_bytes: partition.size_bytes,
            damaged_messages: partition.damaged_messages,
        });
        Description {
            name: &topic.name,
            id: &topic.id,
            retention_ms: topic.retention_ms,
            retention_bytes: topic.retention_bytes,
            durability: name(topic.durability()),
            partitions: partitions.collect(),
        }
    }
}
