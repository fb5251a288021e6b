//! What `minikafka topic` prints.

use std::{io, time::Duration};

use minikafka_flags::{format_byte_size, format_duration};
use minikafka_proto::v1::{
    DescribeTopicResponse, Durability, PartitionDescription, SettingSource, TopicSummary,
};
use serde::Serialize;

use crate::{
    count::Size,
    output::{Output, json, text},
};

/// A topic in JSON.
#[derive(Serialize)]
struct Topic<'a> {
    name: &'a str,
    id: &'a str,
    partitions: u32,
}

/// A topic that is gone, in JSON.
#[derive(Serialize)]
struct Deleted<'a> {
    name: &'a str,
}

/// A described topic in JSON.
#[derive(Serialize)]
struct Description<'a> {
    name: &'a str,
    id: &'a str,
    /// Null: for ever.
    retention_ms: Option<u64>,
    retention_ms_source: &'a str,
    /// Null: no limit.
    retention_bytes: Option<u64>,
    retention_bytes_source: &'a str,
    message_bytes_max: u64,
    message_bytes_max_source: &'a str,
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
    /// Its log is missing or damaged, and the other fields say nothing.
    is_lost: bool,
}

/// The names, one a line; or an array.
pub(super) fn list(topics: &[TopicSummary], output: Output) -> io::Result<()> {
    match output {
        Output::Text => text(&topics.iter().map(|topic| format!("{}\n", topic.name)).collect::<String>()),
        Output::Json => json(&topics.iter().map(Topic::from).collect::<Vec<_>>()),
    }
}

/// Nothing, as a command does that did what it was told; or an object.
pub(super) fn changed(topic: &TopicSummary, output: Output) -> io::Result<()> {
    match output {
        Output::Text => Ok(()),
        Output::Json => json(&Topic::from(topic)),
    }
}

/// The same for one that is gone.
pub(super) fn deleted(name: &str, output: Output) -> io::Result<()> {
    match output {
        Output::Text => Ok(()),
        Output::Json => json(&Deleted { name }),
    }
}

pub(super) fn description(topic: &DescribeTopicResponse, output: Output) -> io::Result<()> {
    match output {
        Output::Text => text(&described(topic)),
        Output::Json => json(&Description::from(topic)),
    }
}

fn described(topic: &DescribeTopicResponse) -> String {
    let age = topic.retention_ms.map(|age| format_duration(Duration::from_millis(age)).to_string());
    let bytes = topic.retention_bytes.map(|bytes| format!("{} in each partition", format_byte_size(bytes)));
    let largest = format!("{}", format_byte_size(topic.message_bytes_max));
    let settings = [
        ("retention", age.unwrap_or_else(|| "for ever".to_owned()), topic.retention_ms_source()),
        ("retention bytes", bytes.unwrap_or_else(|| "no limit".to_owned()), topic.retention_bytes_source()),
        ("message max", largest, topic.message_bytes_max_source()),
    ];
    let width = settings.iter().map(|(_, value, _)| value.len()).max().unwrap_or_default();
    let mut text = format!("topic            {}\nid               {}\n", topic.name, topic.id);
    for (name, value, source) in settings {
        text += &format!("{name:<15}  {value:<width$}  {}\n", whose(source));
    }
    text += &format!("durability       {}\n\n", meaning(topic.durability()));
    text + &table(&topic.partitions)
}

/// The partitions, one a line, in columns that stay straight however many there are.
fn table(partitions: &[PartitionDescription]) -> String {
    let is_damaged = partitions.iter().any(|partition| partition.damaged_messages > 0);
    let mut rows =
        vec![["partition", "messages", "first", "next", "stored", "lost"].map(str::to_owned).to_vec()];
    for partition in partitions {
        let (start, end) = (partition.start_number, partition.end_number);
        let numbers =
            [partition.partition.into(), end - start.min(end), start, end].map(|n: u64| n.to_string());
        let mut row = numbers.to_vec();
        row.push(Size(partition.size_bytes).to_string());
        row.push(partition.damaged_messages.to_string());
        if partition.is_lost {
            row.truncate(1);
        }
        rows.push(row);
    }
    let columns = if is_damaged { 6 } else { 5 };
    let width = |column| rows.iter().filter_map(|row| row.get(column)).map(String::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:>width$}"));
        let cells = cells.collect::<Vec<_>>().join("  ");
        let lost = if row.len() == 1 { "  its log is missing or damaged: see the server's log" } else { "" };
        format!("{cells}{lost}\n")
    };
    let note = if is_damaged { "lost: messages that damage of the disk has taken\n" } else { "" };
    rows.iter().map(line).collect::<String>() + note
}

/// Who has chosen a setting.
fn whose(source: SettingSource) -> &'static str {
    match source {
        SettingSource::Unspecified => "",
        SettingSource::Server => "(the server's)",
        SettingSource::Topic => "(the topic's own)",
    }
}

fn source(source: SettingSource) -> &'static str {
    match source {
        SettingSource::Unspecified => "unknown",
        SettingSource::Server => "server",
        SettingSource::Topic => "topic",
    }
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
            is_lost: partition.is_lost,
        });
        Description {
            name: &topic.name,
            id: &topic.id,
            retention_ms: topic.retention_ms,
            retention_ms_source: source(topic.retention_ms_source()),
            retention_bytes: topic.retention_bytes,
            retention_bytes_source: source(topic.retention_bytes_source()),
            message_bytes_max: topic.message_bytes_max,
            message_bytes_max_source: source(topic.message_bytes_max_source()),
            durability: name(topic.durability()),
            partitions: partitions.collect(),
        }
    }
}
