//! [`Reading`], which prints messages until the goal is reached, and overcomes what can be overcome.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    num::NonZeroU64,
    time::Duration,
};

use anyhow::{bail, ensure};
use minikafka_client_consume::{ConsumeError, Consumer, Message, Position, TopicPartition};

use super::{
    goal::{End, Goal},
    output::Output,
    subscription::{Subscription, say_lost, say_skipped},
};

/// How long a wait for messages is when there is no end to reach: after so much time without a server, that is said.
const WAIT: Duration = Duration::from_secs(1);
/// With an end to reach, the messages are there: after so much time without one, something is wrong.
const WAIT_FOR_WHAT_IS_THERE: Duration = Duration::from_secs(30);

/// See the module.
#[derive(Debug)]
pub(crate) struct Reading {
    subscription: Subscription,
    goal: Goal,
    /// Numbers at which to end, as far as they are known: not of what was lost at the start. Of all partitions, or there is
    /// no end.
    ends: Option<BTreeMap<TopicPartition, Option<u64>>>,
    printed: u64,
    output: Output,
    contact: Contact,
}

/// Whether the server is there, as was last said on stderr.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Contact {
    Fine,
    Lost,
}

impl Reading {
    pub(crate) fn new(subscription: Subscription, goal: Goal, output: Output) -> Reading {
        Reading { subscription, goal, ends: None, printed: 0, output, contact: Contact::Fine }
    }

    /// Prints messages until the goal is reached.
    pub(crate) async fn run(&mut self) -> anyhow::Result<()> {
        let mut consumer = self.subscription.begin(self.goal.end).await?;
        if self.goal.end == End::AtStart {
            let end = |of: &TopicPartition| (of.clone(), end_of(&consumer, of));
            self.ends = Some(consumer.partitions().map(end).collect());
        }
        while !self.is_done(&consumer) {
            let messages = match self.next(&mut consumer).await {
                Ok(messages) => messages,
                Err(Interruption::Consume(error)) => {
                    self.overcome(error, &mut consumer).await?;
                    continue;
                }
                Err(Interruption::Output(error)) => return Err(error.into()),
            };
            self.regain_contact();
            self.print(&messages)?;
        }
        match self.goal.end {
            End::AtStart if !self.has_enough() => self.check_nothing_is_lost(&consumer),
            _ => Ok(()),
        }
    }

    /// The end of a partition that is lost is not reached, and may be once it is mended.
    fn check_nothing_is_lost(&self, consumer: &Consumer) -> anyhow::Result<()> {
        let lost: Vec<_> = consumer.lost_partitions().map(|of| of.partition.to_string()).collect();
        ensure!(
            lost.is_empty(),
            "topic \"{}\" is printed but for what damage of the server's disk has put out of service: partition {}",
            self.subscription.topic(),
            lost.join(", ")
        );
        Ok(())
    }

    /// Prints what is not printed yet.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }

    fn is_done(&self, consumer: &Consumer) -> bool {
        self.has_enough() || self.ends.as_ref().is_some_and(|ends| is_at_end(consumer, ends))
    }

    fn has_enough(&self) -> bool {
        self.goal.count.is_some_and(|count| self.printed >= count.get())
    }

    /// The next messages. Before it waits for any, what was printed is flushed.
    async fn next(&mut self, consumer: &mut Consumer) -> Result<Vec<Message>, Interruption> {
        match consumer.poll(Duration::ZERO).await {
            Ok(messages) if !messages.is_empty() => return Ok(messages),
            // Nothing now, or no server now: wait below.
            Ok(_) | Err(ConsumeError::Unreachable { .. }) => {}
            Err(error) => return Err(Interruption::Consume(error)),
        }
        self.output.flush().map_err(Interruption::Output)?;
        let wait = match self.goal.end {
            End::None => WAIT,
            End::AtStart => WAIT_FOR_WHAT_IS_THERE,
        };
        consumer.poll(wait).await.map_err(Interruption::Consume)
    }

    fn print(&mut self, messages: &[Message]) -> io::Result<()> {
        let left = self.goal.count.map_or(u64::MAX, NonZeroU64::get) - self.printed;
        // All messages are of one partition.
        let end = match (&self.ends, messages.first()) {
            (Some(ends), Some(first)) => {
                let of = TopicPartition::new(first.topic.clone(), first.partition);
                // Of one that was lost at the start and is not any more, all is wanted.
                ends.get(&of).copied().unwrap_or(Some(0)).unwrap_or(u64::MAX)
            }
            _ => u64::MAX,
        };
        for message in messages.iter().take(left as usize).take_while(|message| message.number < end) {
            self.output.print(message)?;
            self.printed += 1;
        }
        Ok(())
    }

    /// Makes the best of an error, or gives up with it.
    async fn overcome(&mut self, error: ConsumeError, consumer: &mut Consumer) -> anyhow::Result<()> {
        match error {
            ConsumeError::Unreachable { .. } | ConsumeError::Corrupt { .. } if self.goal.end == End::None => {
                if self.contact == Contact::Fine {
                    self.contact = Contact::Lost;
                    say!("consume: {error}; trying again");
                }
            }
            ConsumeError::NotFound { .. } if self.goal.end == End::None => {
                self.output.flush()?;
                say!(
                    "consume: topic \"{}\" is not there any more; waiting for it",
                    self.subscription.topic()
                );
                // Whatever it holds when it is back was never read.
                *consumer = self.subscription.wait_for_topic(Position::Earliest).await?;
            }
            ConsumeError::OutOfRange { of, start, end, message } => {
                self.go_on_in_range(consumer, &of, start..end, &message)?;
            }
            ConsumeError::Damaged { of, from, next, .. } => {
                say_lost(from, next);
                consumer.seek(&of.topic, of.partition, Position::Number(next))?;
            }
            ConsumeError::PartitionLost { .. } if has_others(consumer) => {
                say!("consume: {error}; going on with the others");
            }
            error => return Err(error.into()),
        }
        Ok(())
    }

    /// Goes on at the oldest message kept, when eviction was faster than this reader or the topic began anew.
    fn go_on_in_range(
        &self,
        consumer: &mut Consumer,
        of: &TopicPartition,
        readable: std::ops::Range<u64>,
        message: &str,
    ) -> anyhow::Result<()> {
        // The position is known: an anchor is never out of range.
        let wanted = consumer.position(&of.topic, of.partition).unwrap_or(readable.start);
        // Before the first message, the position is what the user asked for.
        let is_asked_for = self.printed == 0;
        if wanted < readable.start {
            say_skipped(wanted, readable.start);
        } else if is_asked_for || self.goal.end == End::AtStart {
            bail!("{message}");
        } else {
            say!(
                "consume: topic \"{}\" began anew: it ends before message {}, and message {wanted} was next; going on at {}",
                self.subscription.topic(),
                readable.end,
                readable.start
            );
        }
        consumer.seek(&of.topic, of.partition, Position::Number(readable.start))?;
        Ok(())
    }

    fn regain_contact(&mut self) {
        if self.contact == Contact::Lost {
            self.contact = Contact::Fine;
            say!("consume: connected again");
        }
    }
}

/// Whether everything that can be read is read, up to these ends.
fn is_at_end(consumer: &Consumer, ends: &BTreeMap<TopicPartition, Option<u64>>) -> bool {
    let lost: BTreeSet<_> = consumer.lost_partitions().collect();
    ends.iter().all(|(of, end)| {
        let position = consumer.position(&of.topic, of.partition);
        let end = end.or_else(|| end_of(consumer, of));
        lost.contains(of) || position.zip(end).is_some_and(|(position, end)| position >= end)
    })
}

/// Where a partition ends, as far as that is known.
fn end_of(consumer: &Consumer, of: &TopicPartition) -> Option<u64> {
    consumer.range(&of.topic, of.partition).map(|range| range.end)
}

/// Whether there are partitions that are not lost.
fn has_others(consumer: &Consumer) -> bool {
    consumer.lost_partitions().count() < consumer.partitions().count()
}

/// Why there are no next messages.
#[derive(Debug)]
enum Interruption {
    Consume(ConsumeError),
    Output(io::Error),
}
