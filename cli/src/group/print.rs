//! What `minikafka group` prints.

use std::{io, time::Duration};

use minikafka_flags::format_duration;
use minikafka_proto::v1::{
    DescribeGroupResponse, GroupMember, GroupPosition, GroupState, GroupSummary, SeekedPosition,
    TopicPartition,
};
use serde::Serialize;

use crate::{
    count::Count,
    output::{Output, json, text},
    table::{
        Column::{Number, Text},
        Table,
    },
};

/// A group in JSON.
#[derive(Serialize)]
struct Group<'a> {
    name: &'a str,
    state: &'a str,
    members: u32,
}

/// A described group in JSON.
#[derive(Serialize)]
struct Description<'a> {
    name: &'a str,
    state: &'a str,
    epoch: u64,
    members: Vec<Member<'a>>,
    positions: Vec<Position<'a>>,
    /// Of all positions together, but for lost partitions.
    lag_messages: u64,
    /// The largest of them.
    lag_ms: u64,
}

#[derive(Serialize)]
struct Member<'a> {
    member_id: &'a str,
    /// Null: none.
    instance_id: Option<&'a str>,
    client_id: Option<&'a str>,
    /// Null while it is not connected.
    client_address: Option<&'a str>,
    member_epoch: u64,
    topics: &'a [String],
    owned: Vec<Partition<'a>>,
    target: Vec<Partition<'a>>,
}

#[derive(Serialize)]
struct Partition<'a> {
    topic: &'a str,
    partition: u32,
}

#[derive(Serialize)]
struct Position<'a> {
    topic: &'a str,
    partition: u32,
    /// Null: none is stored, and the lag is counted from the first message on.
    number: Option<u64>,
    /// Null, as the lag: nobody knows.
    end_number: Option<u64>,
    lag_messages: Option<u64>,
    lag_ms: Option<u64>,
    /// The log of the partition is missing or damaged.
    is_lost: bool,
    metadata: &'a str,
    /// Null: nobody owns it.
    member_id: Option<&'a str>,
    commit_time_ms: Option<i64>,
}

/// A group that is gone, in JSON.
#[derive(Serialize)]
struct Deleted<'a> {
    name: &'a str,
}

/// A position that was moved, in JSON.
#[derive(Serialize)]
struct Seeked<'a> {
    topic: &'a str,
    partition: u32,
    /// Null: nowhere.
    from: Option<u64>,
    to: u64,
}

/// The names, one a line; or an array.
pub(super) fn list(groups: &[GroupSummary], output: Output) -> io::Result<()> {
    match output {
        Output::Text => text(&groups.iter().map(|group| format!("{}\n", group.name)).collect::<String>()),
        Output::Json => {
            let groups = groups.iter().map(|group| {
                let state = state(group.state());
                Group { name: &group.name, state, members: group.members }
            });
            json(&groups.collect::<Vec<_>>())
        }
    }
}

pub(super) fn description(group: &DescribeGroupResponse, output: Output) -> io::Result<()> {
    match output {
        Output::Text => text(&described(group)),
        Output::Json => json(&Description::from(group)),
    }
}

/// Nothing, as a command does that did what it was told; or an object.
pub(super) fn deleted(name: &str, output: Output) -> io::Result<()> {
    match output {
        Output::Text => Ok(()),
        Output::Json => json(&Deleted { name }),
    }
}

/// What has moved, or would.
pub(super) fn seeked(positions: &[SeekedPosition], output: Output) -> io::Result<()> {
    match output {
        Output::Text => {
            let mut table = Table::new(&[Text("topic"), Number("partition"), Number("from"), Number("to")]);
            for SeekedPosition { topic, partition, from, to } in positions {
                let from = or_dash(from.map(|from| from.to_string()));
                table.push([topic.clone(), partition.to_string(), from, to.to_string()]);
            }
            text(&table.to_string())
        }
        Output::Json => {
            let positions = positions.iter().map(|moved| {
                let SeekedPosition { topic, partition, from, to } = moved;
                Seeked { topic, partition: *partition, from: *from, to: *to }
            });
            json(&positions.collect::<Vec<_>>())
        }
    }
}

fn described(group: &DescribeGroupResponse) -> String {
    let (messages, age) = lag(group);
    let lost = group.positions.iter().filter(|position| position.is_lost).count() as u64;
    let mut behind = match messages {
        0 if lost > 0 => String::new(),
        0 => "nothing to read".to_owned(),
        count => format!("{} behind, the oldest is {} old", Count(count, "message"), duration(age)),
    };
    if lost > 0 {
        let comma = if behind.is_empty() { "" } else { ", " };
        behind += &format!("{comma}unknown in {}", Count(lost, "lost partition"));
    }
    let members = Count(group.members.len() as u64, "member");
    let mut text = format!(
        "group      {}\nstate      {}, {members}, epoch {}\nlag        {behind}\n",
        group.name,
        state(group.state()),
        group.epoch
    );
    if !group.members.is_empty() {
        let mut table = Table::new(&[
            Text("member"),
            Text("client"),
            Text("address"),
            Number("epoch"),
            Number("owns"),
            Number("is to own"),
        ]);
        for member in &group.members {
            let client = [&member.instance_id, &member.client_id].into_iter().find(|name| !name.is_empty());
            let address = some(&member.client_address).map(ToOwned::to_owned);
            table.push([
                member.member_id.clone(),
                or_dash(client.cloned()),
                or_dash(address),
                member.member_epoch.to_string(),
                member.owned.len().to_string(),
                member.target.len().to_string(),
            ]);
        }
        text += &format!("\n{table}");
    }
    if !group.positions.is_empty() {
        let mut table = Table::new(&[
            Text("topic"),
            Number("partition"),
            Number("next"),
            Number("end"),
            Number("lag"),
            Number("age"),
            Text("member"),
            Text("metadata"),
        ]);
        for position in &group.positions {
            table.push([
                position.topic.clone(),
                position.partition.to_string(),
                or_dash(position.number.map(|number| number.to_string())),
                unless_lost(position, position.end_number.to_string()),
                unless_lost(position, position.lag_messages.to_string()),
                unless_lost(position, duration(position.lag_ms)),
                or_dash(some(&position.member_id).map(ToOwned::to_owned)),
                position.metadata.clone(),
            ]);
        }
        text += &format!("\n{table}");
    }
    if lost > 0 {
        text += "lost: the log of the partition is missing or damaged, see the server's log\n";
    }
    text
}

/// What is known of a partition that is not lost.
fn unless_lost(position: &GroupPosition, known: String) -> String {
    if position.is_lost { "lost".to_owned() } else { known }
}

/// Messages of all positions together, and the age of the oldest.
fn lag(group: &DescribeGroupResponse) -> (u64, u64) {
    let messages = group.positions.iter().map(|position| position.lag_messages).sum();
    let age = group.positions.iter().map(|position| position.lag_ms).max();
    (messages, age.unwrap_or_default())
}

fn duration(millis: u64) -> String {
    format_duration(Duration::from_millis(millis)).to_string()
}

fn or_dash(text: Option<String>) -> String {
    text.unwrap_or_else(|| "-".to_owned())
}

/// What an empty text stands for.
fn some(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

fn state(state: GroupState) -> &'static str {
    match state {
        GroupState::Unspecified => "unknown",
        GroupState::Empty => "empty",
        GroupState::Reconciling => "reconciling",
        GroupState::Stable => "stable",
    }
}

impl<'a> From<&'a DescribeGroupResponse> for Description<'a> {
    fn from(group: &'a DescribeGroupResponse) -> Description<'a> {
        let (lag_messages, lag_ms) = lag(group);
        Description {
            name: &group.name,
            state: state(group.state()),
            epoch: group.epoch,
            members: group.members.iter().map(Member::from).collect(),
            positions: group.positions.iter().map(Position::from).collect(),
            lag_messages,
            lag_ms,
        }
    }
}

impl<'a> From<&'a GroupMember> for Member<'a> {
    fn from(member: &'a GroupMember) -> Member<'a> {
        let partitions = |partitions: &'a [TopicPartition]| {
            let one = |at: &'a TopicPartition| Partition { topic: &at.topic, partition: at.partition };
            partitions.iter().map(one).collect()
        };
        Member {
            member_id: &member.member_id,
            instance_id: some(&member.instance_id),
            client_id: some(&member.client_id),
            client_address: some(&member.client_address),
            member_epoch: member.member_epoch,
            topics: &member.topics,
            owned: partitions(&member.owned),
            target: partitions(&member.target),
        }
    }
}

impl<'a> From<&'a GroupPosition> for Position<'a> {
    fn from(position: &'a GroupPosition) -> Position<'a> {
        Position {
            topic: &position.topic,
            partition: position.partition,
            number: position.number,
            end_number: (!position.is_lost).then_some(position.end_number),
            lag_messages: (!position.is_lost).then_some(position.lag_messages),
            lag_ms: (!position.is_lost).then_some(position.lag_ms),
            is_lost: position.is_lost,
            metadata: &position.metadata,
            member_id: some(&position.member_id),
            commit_time_ms: position.number.map(|_| position.commit_time_ms),
        }
    }
}
