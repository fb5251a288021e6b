//! A member of a group that prints its share of the messages.
//!
//! **Invariant:** nothing is committed before it is printed and flushed: the output is flushed before each poll, and a
//! member that cannot print goes without a word.

use std::{io, num::NonZeroU64, time::Duration};

use anyhow::{anyhow, bail};
use minikafka_client_connection::{Backoff, connect};
use minikafka_client_consume::{ConsumeError, GroupConsumer, Message, Position};
use minikafka_flags::format_duration;
use minikafka_proto::v1::DescribeTopicRequest;
use tokio::time;

use super::{
    lost,
    output::Output,
    repeated::Printed,
    subscription::{numbers_say_nothing, say_lost, say_skipped},
};
use crate::interrupt::{AbruptEnd, Cut, INTERRUPTED, Interrupt, Patience};

/// How long a wait for messages is: after so much time without a server, that is said.
const WAIT: Duration = Duration::from_secs(1);

/// How long an end by Ctrl-C may take to commit what was printed.
const COMMITTING: Duration = Duration::from_secs(10);
/// How long all of such an end may take: a reader of stdout that does not read holds it up without end.
const ENDING: Duration = Duration::from_secs(15);

/// Which group to be a member of, and how.
#[derive(Clone, Debug)]
pub(super) struct Membership {
    host: String,
    group: String,
    topic: String,
    start: Position,
    pub(super) commit_interval: Duration,
}

/// Why it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    AsWanted,
    Interrupted,
}

/// Listens for signals. An end that is cut short says that positions may not be committed.
pub(super) fn listen() -> anyhow::Result<Interrupt> {
    Interrupt::listen_with(Patience::For(ENDING), |cut| {
        let (why, exit_code) = match cut {
            Cut::SecondSignal => ("interrupted again", INTERRUPTED),
            Cut::PatienceIsOver => ("it cannot end in good order", 1),
        };
        let says = format!(
            "consume: {why}: the last positions are not committed; what was printed since the last commit may come again"
        );
        AbruptEnd { says: Some(says), exit_code }
    })
}

/// Prints messages until there are `count`, or it is interrupted; then commits what was printed and leaves.
pub(super) async fn run(
    membership: &Membership,
    count: Option<NonZeroU64>,
    output: Output,
    interrupt: &mut Interrupt,
) -> anyhow::Result<Ended> {
    let mut consumer = tokio::select! {
        joined = membership.join() => joined?,
        () = interrupt.received() => return Ok(Ended::Interrupted),
    };
    let mut member = Member {
        left: count.map(NonZeroU64::get),
        output,
        has_lost_contact: false,
        printed: Printed::default(),
    };
    let ended = tokio::select! {
        printed = member.print_all(&mut consumer, membership) => printed.map(|()| Ended::AsWanted),
        () = interrupt.received() => Ok(Ended::Interrupted),
    };
    match ended {
        Ok(ended) => {
            member.output.flush()?;
            membership.leave(consumer, &member.printed, ended).await?;
            Ok(ended)
        }
        // What could not be printed must come again.
        Err(error) if error.is::<io::Error>() => Err(error),
        Err(error) => {
            member.output.flush()?;
            // The failure is the news; what comes again is news, too.
            if let Err(error) = membership.leave(consumer, &member.printed, Ended::AsWanted).await {
                eprintln!("consume: {error:#}");
            }
            Err(error)
        }
    }
}

impl Membership {
    pub(super) fn new(host: &str, group: &str, topic: &str, start: Position) -> Membership {
        Membership {
            host: host.to_owned(),
            group: group.to_owned(),
            topic: topic.to_owned(),
            start,
            commit_interval: Duration::ZERO,
        }
    }

    /// Joins the group; waits for a server that is not there.
    async fn join(&self) -> anyhow::Result<GroupConsumer> {
        let mut has_said_so = false;
        let mut backoff = Backoff::new();
        loop {
            self.check_start().await?;
            let builder = GroupConsumer::builder(&self.host, &self.group)
                .subscribe(&self.topic)
                .start(self.start)
                .commit_interval(self.commit_interval)
                .client_id("consume");
            match builder.join_consumer_group().await {
                Err(error) if error.is_retryable() => {
                    if !has_said_so {
                        eprintln!("consume: {error}; trying again");
                        has_said_so = true;
                    }
                    time::sleep(backoff.next_wait()).await;
                }
                result => return Ok(result?),
            }
        }
    }

    /// Commits what was printed, and leaves. Once somebody has asked it to end, there is a limit to that.
    async fn leave(&self, consumer: GroupConsumer, printed: &Printed, ended: Ended) -> anyhow::Result<()> {
        let repeated = printed.uncommitted(&consumer);
        // It holds all of the consumer, and is kept in one place.
        let leaving = Box::pin(consumer.leave_consumer_group());
        let left = match ended {
            Ended::AsWanted => leaving.await.map_err(|error| error.to_string()),
            // Then it is a matter of politeness.
            Ended::Interrupted if repeated.is_empty() => {
                let _ = time::timeout(WAIT, leaving).await;
                Ok(())
            }
            Ended::Interrupted => within_limits(leaving).await,
        };
        let group = &self.group;
        left.map_err(|cause| {
            anyhow!("the last positions of group \"{group}\" are not committed: {cause}; {repeated}")
        })
    }

    /// A number says where to start in one partition only.
    async fn check_start(&self) -> anyhow::Result<()> {
        let Position::Number(_) = self.start else { return Ok(()) };
        // Without a server there is nothing to join either, and without a topic nothing to be wrong about.
        let Ok(mut client) = connect(self.host.parse()?).await else { return Ok(()) };
        let request = DescribeTopicRequest { topic: self.topic.clone(), ..DescribeTopicRequest::default() };
        let partitions =
            client.describe_topic(request).await.map_or(0, |reply| reply.into_inner().partitions.len());
        if partitions > 1 {
            bail!("{}: start at earliest, latest or a time", numbers_say_nothing(&self.topic));
        }
        Ok(())
    }
}

/// Waits for the end of a membership for as long as somebody who has pressed Ctrl-C does, and says so.
async fn within_limits(
    mut leaving: impl Future<Output = Result<(), ConsumeError>> + Unpin,
) -> Result<(), String> {
    let left = match time::timeout(WAIT, &mut leaving).await {
        Ok(left) => Ok(left),
        Err(_elapsed) => {
            let limit = format_duration(COMMITTING);
            eprintln!("consume: no answer to the commit yet; trying for {limit} more, Ctrl-C ends that");
            time::timeout(COMMITTING, leaving).await
        }
    };
    match left {
        Ok(left) => left.map_err(|error| error.to_string()),
        Err(_elapsed) => Err("no answer".to_owned()),
    }
}

struct Member {
    /// How many messages are still to be printed; `None`: without end.
    left: Option<u64>,
    output: Output,
    has_lost_contact: bool,
    printed: Printed,
}

impl Member {
    async fn print_all(
        &mut self,
        consumer: &mut GroupConsumer,
        membership: &Membership,
    ) -> anyhow::Result<()> {
        while self.left != Some(0) {
            self.output.flush()?;
            match consumer.poll(WAIT).await {
                Ok(messages) => {
                    self.regain_contact();
                    self.print(&messages, consumer)?;
                }
                Err(error @ ConsumeError::PartitionLost { .. }) => {
                    lost::overcome(error, consumer, &membership.host, &membership.topic).await?;
                }
                Err(error) => self.overcome(error, consumer)?,
            }
            while let Some(jump) = consumer.take_jump() {
                if jump.from < jump.to {
                    say_skipped(jump.from, jump.to);
                } else {
                    eprintln!("consume: {} began anew: going on at {}", jump.of, jump.to);
                }
            }
        }
        Ok(())
    }

    fn print(&mut self, messages: &[Message], consumer: &mut GroupConsumer) -> anyhow::Result<()> {
        let count = self.left.map_or(messages.len(), |left| messages.len().min(left as usize));
        for message in &messages[..count] {
            self.output.print(message)?;
        }
        self.printed.add(&messages[..count]);
        self.left = self.left.map(|left| left - count as u64);
        if let Some(rest) = messages.get(count) {
            // What is not printed is not to be committed.
            consumer.seek(&rest.topic, rest.partition, Position::Number(rest.number))?;
        }
        Ok(())
    }

    fn overcome(&mut self, error: ConsumeError, consumer: &mut GroupConsumer) -> anyhow::Result<()> {
        match error {
            ConsumeError::Unreachable { .. } | ConsumeError::Corrupt { .. } => {
                if !self.has_lost_contact {
                    self.has_lost_contact = true;
                    eprintln!("consume: {error}; trying again");
                }
            }
            ConsumeError::MembershipLost { .. } => eprintln!("consume: {error}; joining again"),
            ConsumeError::NotCommitted { .. } => eprintln!("consume: {error}; trying again"),
            ConsumeError::Damaged { of, from, next, .. } => {
                say_lost(from, next);
                consumer.seek(&of.topic, of.partition, Position::Number(next))?;
            }
            error => return Err(error.into()),
        }
        Ok(())
    }

    fn regain_contact(&mut self) {
        if self.has_lost_contact {
            self.has_lost_contact = false;
            eprintln!("consume: connected again");
        }
    }
}
