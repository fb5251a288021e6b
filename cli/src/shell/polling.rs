//! `poll`: prints what is there for the member.

use std::time::Duration;

use minikafka_client_consume::{ConsumeError, GroupConsumer, Message, Position};

use super::{grammar::Polling, membership::Member};
use crate::{
    consume::{Output, lost, skipped},
    count::Count,
};

/// After so much silence there is no more: the server sends what it has without a pause.
const SILENCE: Duration = Duration::from_millis(100);

/// Prints messages until there are no more, or enough. What was printed counts as done with the next poll.
///
/// Dropped in the middle, what was printed is printed, and nothing else is taken.
pub(super) async fn poll(member: &mut Member, polling: &Polling, output: &mut Output) -> anyhow::Result<()> {
    let (count, mut wait) = (polling.count.get(), polling.wait);
    let mut printed = 0;
    let mut trouble = member.take_trouble().into_iter();
    while printed < count {
        let polled = match trouble.next() {
            Some(error) => Err(error),
            None => member.consumer.poll(wait).await,
        };
        match polled {
            Ok(messages) if messages.is_empty() => break,
            Ok(messages) => {
                printed += print(&messages, count - printed, &mut member.consumer, output)?;
                wait = SILENCE;
            }
            // Something has come. A connection that is not back yet is news to the next poll, if it lasts.
            Err(ConsumeError::Unreachable { .. }) if printed > 0 => break,
            Err(error) => overcome(error, &mut member.consumer)?,
        }
        say_jumps(&mut member.consumer);
    }
    output.flush()?;
    match printed {
        0 => say!("no messages"),
        count => say!("{}", Count(count, "message")),
    }
    Ok(())
}

/// Prints messages, at most `left`. Returns how many.
fn print(
    messages: &[Message],
    left: u64,
    consumer: &mut GroupConsumer,
    output: &mut Output,
) -> anyhow::Result<u64> {
    let count = messages.len().min(usize::try_from(left).unwrap_or(usize::MAX));
    for message in &messages[..count] {
        output.print(message)?;
    }
    // At once: whoever ends this with Ctrl-C has seen what counts as done.
    output.flush()?;
    if let Some(rest) = messages.get(count) {
        consumer.seek(&rest.topic, rest.partition, Position::Number(rest.number))?;
    }
    Ok(count as u64)
}

/// Makes the best of an error, or gives up with it.
fn overcome(error: ConsumeError, consumer: &mut GroupConsumer) -> anyhow::Result<()> {
    match error {
        ConsumeError::MembershipLost { .. } => say!("{error}; joined again"),
        ConsumeError::NotCommitted { .. } => say!("{error}; trying again"),
        ConsumeError::PartitionLost { .. } => say!("{error}; going on with the others"),
        ConsumeError::Damaged { of, from, next, .. } => {
            say!("{}", lost(from, next));
            consumer.seek(&of.topic, of.partition, Position::Number(next))?;
        }
        error => return Err(error.into()),
    }
    Ok(())
}

fn say_jumps(consumer: &mut GroupConsumer) {
    while let Some(jump) = consumer.take_jump() {
        if jump.from < jump.to {
            say!("{}", skipped(jump.from, jump.to));
        } else {
            say!("{} began anew: going on at {}", jump.of, jump.to);
        }
    }
}
