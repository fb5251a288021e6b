//! [`Membership`], what the shell is subscribed to, and its place in a group.

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    future::pending,
    mem,
    time::Duration,
};

use anyhow::{anyhow, bail, ensure};
use minikafka_client_consume::{ConsumeError, GroupConsumer};
use tokio::time::{self, Instant};

use crate::{
    count::Count,
    place::Place,
    table::{Column, Table},
};

/// How long to wait for the partitions of a topic: they may all be others', or the topic is not there yet.
const SETTLING: Duration = Duration::from_secs(2);
/// A person thinks for longer than programs do, and is there all the same: [`Membership::attend`] polls meanwhile, so
/// this is only how long others wait for a shell that hangs.
const POLL_INTERVAL_MAX: Duration = Duration::from_secs(60);

/// Between two attempts when something is wrong.
const PAUSE: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Debug)]
pub(super) struct Membership {
    host: String,
    topics: BTreeSet<String>,
    member: Option<Member>,
}

#[derive(Debug)]
pub(super) struct Member {
    pub(super) group: String,
    pub(super) consumer: GroupConsumer,
    /// What went wrong while nobody polled: the next poll says it.
    trouble: Option<ConsumeError>,
    /// And which partitions are lost.
    lost: Vec<ConsumeError>,
}

impl Membership {
    pub(super) fn new(host: &str) -> Membership {
        Membership { host: host.to_owned(), topics: BTreeSet::new(), member: None }
    }

    /// The group, if the shell is a member of one.
    pub(super) fn group(&self) -> Option<&str> {
        self.member.as_ref().map(|member| member.group.as_str())
    }

    /// Who polls; an error says what is missing for that.
    pub(super) fn member(&mut self) -> anyhow::Result<&mut Member> {
        let member =
            self.member.as_mut().ok_or_else(|| anyhow!("not a member of a group: join one first"))?;
        ensure!(!self.topics.is_empty(), "nothing is subscribed to: subscribe to a topic first");
        Ok(member)
    }

    pub(super) async fn subscribe(&mut self, topics: Vec<String>) -> anyhow::Result<()> {
        if let Some(member) = &mut self.member {
            topics.iter().for_each(|topic| member.consumer.subscribe(topic));
        }
        self.topics.extend(topics);
        self.settle().await
    }

    pub(super) fn unsubscribe(&mut self, topics: &[String]) -> anyhow::Result<()> {
        // All of them or none: what fails has changed nothing.
        for topic in topics {
            ensure!(self.topics.contains(topic), "not subscribed to topic \"{topic}\"");
        }
        for topic in topics {
            self.topics.remove(topic);
            if let Some(member) = &mut self.member {
                member.consumer.unsubscribe(topic);
            }
        }
        Ok(())
    }

    /// Joins a group. A new one starts at `from`.
    pub(super) async fn join(&mut self, group: String, from: Place) -> anyhow::Result<()> {
        if let Some(group) = self.group() {
            bail!("already a member of group \"{group}\": leave it first");
        }
        let builder = GroupConsumer::builder(&self.host, &group)
            .start(from.position())
            .poll_interval_max(POLL_INTERVAL_MAX)
            .client_id("minikafka shell");
        let builder = self.topics.iter().fold(builder, |builder, topic| builder.subscribe(topic));
        let consumer = builder.join_consumer_group().await?;
        self.member = Some(Member { group, consumer, trouble: None, lost: Vec::new() });
        self.settle().await
    }

    /// Commits what was printed, and leaves. Returns which group.
    pub(super) async fn leave(&mut self) -> anyhow::Result<String> {
        let Some(Member { group, consumer, .. }) = self.member.take() else {
            bail!("not a member of a group")
        };
        consumer.leave_consumer_group().await?;
        Ok(group)
    }

    /// Waits until what is subscribed to is read, so that nothing which is sent from then on is missed; says what there
    /// is to read.
    async fn settle(&mut self) -> anyhow::Result<()> {
        let Some(member) = self.member.as_mut().filter(|_| !self.topics.is_empty()) else { return Ok(()) };
        let is_settled = member.settle().await?;
        let count = Count(member.consumer.partitions().count() as u64, "partition");
        let group = &member.group;
        match is_settled {
            true => say!("member of group \"{group}\", reads {count}"),
            false => say!(
                "member of group \"{group}\", reads {count} so far: others read the rest, or a topic is not there yet"
            ),
        }
        Ok(())
    }

    /// Keeps the membership while nobody polls, and gives up what others are to have. Returns now and then.
    pub(super) async fn attend(&mut self) {
        match &mut self.member {
            Some(member) if member.may_be_attended_to() => match member.consumer.attend().await {
                // The next poll sees for itself.
                ConsumeError::Unreachable { .. } | ConsumeError::Corrupt { .. } => time::sleep(PAUSE).await,
                error @ ConsumeError::PartitionLost { .. } => member.lost.push(error),
                error => member.trouble = Some(error),
            },
            _ => pending().await,
        }
    }

    /// [`attend`](Membership::attend)s without end.
    pub(super) async fn attend_always(&mut self) -> Infallible {
        loop {
            self.attend().await;
        }
    }

    /// What it is subscribed to, and how far it has come.
    pub(super) fn status(&self) -> String {
        let mut text = String::new();
        if let Some(member) = &self.member {
            text += &format!("group   {}\nmember  {}\n", member.group, member.consumer.member_id());
        }
        let mut reads: BTreeMap<&str, Vec<u32>> =
            self.topics.iter().map(|topic| (topic.as_str(), Vec::new())).collect();
        let consumer = self.member.as_ref().map(|member| &member.consumer);
        for of in consumer.iter().flat_map(|consumer| consumer.partitions()) {
            reads.entry(&of.topic).or_default().push(of.partition);
        }
        if reads.is_empty() {
            return text + "subscribed to nothing\n";
        }
        let mut table =
            Table::new(&[Column::Text("topic"), Column::Number("partition"), Column::Number("next")]);
        for (topic, partitions) in reads {
            if partitions.is_empty() {
                table.push([topic.to_owned(), "-".to_owned(), "-".to_owned()]);
            }
            for partition in partitions {
                let position = consumer.and_then(|consumer| consumer.position(topic, partition));
                let next = position.map_or_else(|| "-".to_owned(), |number| number.to_string());
                table.push([topic.to_owned(), partition.to_string(), next]);
            }
        }
        text + &table.to_string()
    }
}

impl Member {
    /// Whether that would not only bring the same trouble again.
    fn may_be_attended_to(&self) -> bool {
        self.trouble.as_ref().is_none_or(ConsumeError::is_retryable)
    }

    /// What went wrong since the last poll.
    pub(super) fn take_trouble(&mut self) -> Vec<ConsumeError> {
        mem::take(&mut self.lost).into_iter().chain(self.trouble.take()).collect()
    }

    /// As [`GroupConsumer::settle`]; says at once which partitions are lost.
    async fn settle(&mut self) -> Result<bool, ConsumeError> {
        let until = Instant::now() + SETTLING;
        loop {
            match self.consumer.settle(until.saturating_duration_since(Instant::now())).await {
                Err(error @ ConsumeError::PartitionLost { .. }) => {
                    say!("{error}; going on with the others");
                }
                settled => return settled,
            }
        }
    }
}
