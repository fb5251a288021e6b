//! A member of a group that prints its share of the messages.
//!
//! **Invariant:** nothing is committed before it is printed and flushed: the output is flushed before each poll, and a
//! member that cannot print leaves without a commit.

use std::{io, num::NonZeroU64, time::Duration};

use anyhow::{anyhow, bail};
use minikafka_client_connection::{Backoff, connect};
use minikafka_client_consume::{ConsumeError, GroupConsumer, Message, Position};
use minikafka_proto::v1::DescribeTopicRequest;
use tokio::time;

use super::{
    ending::{self, AllCommitted, Ended},
    lost,
    output::Output,
    repeated::Printed,
    subscription::{numbers_say_nothing, say_lost, say_skipped},
};
use crate::interrupt::Interrupt;

/// How long a wait for messages is: after so much time without a server, that is said.
const WAIT: Duration = Duration::from_secs(1);

/// Which group to be a member of, and how.
#[derive(Clone, Debug)]
pub(super) struct Membership {
    host: String,
    group: String,
    topic: String,
    start: Position,
    pub(super) commit_interval: Duration,
}

/// Prints messages until there are `count`, or it is interrupted; then commits what was printed and leaves.
pub(super) async fn run(
    membership: &Membership,
    count: Option<NonZeroU64>,
    output: Output,
    interrupt: &mut Interrupt,
    committed: &AllCommitted,
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
    match ended.and_then(|ended| Ok(member.output.flush().map(|()| ended)?)) {
        Ok(ended) => {
            membership.leave(consumer, &member.printed, ended, committed).await?;
            Ok(ended)
        }
        Err(error) if error.is::<io::Error>() => {
            ending::leave_unprinted(consumer).await;
            Err(error)
        }
        Err(error) => {
            if let Err(broken) = member.output.flush() {
                ending::leave_unprinted(consumer).await;
                return Err(broken.into());
            }
            // The failure is the news; what comes again is news, too.
            let left = membership.leave(consumer, &member.printed, Ended::Failed, committed);
            if let Err(error) = left.await {
                say!("consume: {error:#}");
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
                        say!("consume: {error}; trying again");
                        has_said_so = true;
                    }
                    time::sleep(backoff.next_wait()).await;
                }
                result => return Ok(result?),
            }
        }
    }

    /// Commits what was printed, and leaves.
    async fn leave(
        &self,
        consumer: GroupConsumer,
        printed: &Printed,
        ended: Ended,
        committed: &AllCommitted,
    ) -> anyhow::Result<()> {
        let group = &self.group;
        ending::end((consumer, printed), ended, committed).await.map_err(|(cause, repeated)| {
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
                    say!("consume: {} began anew: going on at {}", jump.of, jump.to);
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
                    say!("consume: {error}; trying again");
                }
            }
            ConsumeError::MembershipLost { .. } => say!("consume: {error}; joining again"),
            ConsumeError::NotCommitted { .. } => say!("consume: {error}; trying again"),
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
            say!("consume: connected again");
        }
    }
}
