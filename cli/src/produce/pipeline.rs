//! Sending an input from its beginning to its end, as fast as the server takes it.

use std::time::Instant;

use anyhow::anyhow;
use indicatif::ProgressBar;
use minikafka_client_produce::{Producer, Receipt};

use super::{
    failure::{not_sent, unconfirmed, what_of_the_earlier},
    input::Input,
    keys::Keys,
    lines::{LINE_BYTES_MAX, Lines},
    summary::{Spread, Summary},
};
use crate::{count::Size, interrupt::Interrupt};

/// Why nothing more is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    OfInput,
    /// A signal came. What was read before is stored.
    Interrupted,
}

/// Sends every line of `input`, or those that were read when `interrupt` comes. Stops soon after the first failure.
///
/// # Errors
/// When not every line that was read is confirmed; it names the first that is not.
pub(super) async fn run(
    producer: Producer,
    input: Input,
    keys: Keys,
    bar: &ProgressBar,
    interrupt: &mut Interrupt,
) -> anyhow::Result<(Summary, End)> {
    let mut sender = Sender { producer, keys, messages: 0, bytes: 0, last: None, spread: Spread::One };
    let start = Instant::now();
    // Dropped in the middle, `send_all` leaves a line that is enqueued and counted, or neither.
    let end = tokio::select! {
        biased;
        () = interrupt.received() => End::Interrupted,
        sent = send_all(&mut sender, input, bar) => sent.map(|()| End::OfInput)?,
    };
    Ok((sender.finish(start).await?, end))
}

async fn send_all(sender: &mut Sender, mut input: Input, bar: &ProgressBar) -> anyhow::Result<()> {
    let mut lines = Lines::default();
    while let Some(block) = next_block(&mut input, sender).await? {
        if lines.push(&block).is_err() {
            return Err(sender.line_too_long().await);
        }
        while let Some(line) = lines.next() {
            sender.send(line).await?;
        }
        sender.check()?;
        bar.inc(block.len() as u64);
    }
    if let Some(line) = lines.last() {
        sender.send(line).await?;
    }
    Ok(())
}

/// The next block. While there is none, failures are looked for: a silent input must not hide them.
async fn next_block(input: &mut Input, sender: &Sender) -> anyhow::Result<Option<Vec<u8>>> {
    if let Some(block) = input.try_next() {
        return Ok(Some(block?));
    }
    let mut next = std::pin::pin!(input.next());
    tokio::select! {
        block = &mut next => return block,
        flushed = sender.flush() => flushed?,
    }
    next.await
}

/// What is sent so far.
struct Sender {
    producer: Producer,
    keys: Keys,
    messages: u64,
    /// Of the messages' values.
    bytes: u64,
    last: Option<Receipt>,
    spread: Spread,
}

impl Sender {
    async fn send(&mut self, line: &[u8]) -> anyhow::Result<()> {
        let (message, bytes) = self.keys.message(line);
        match self.producer.enqueue(message).await {
            Ok(receipt) => {
                if self.last.as_ref().is_some_and(|last| last.partition() != receipt.partition()) {
                    self.spread = Spread::Several;
                }
                self.last = Some(receipt);
            }
            Err(error) => {
                self.flush().await?;
                return Err(not_sent(self.messages + 1, &error));
            }
        }
        self.messages += 1;
        self.bytes += bytes as u64;
        Ok(())
    }

    /// The first failure so far.
    fn check(&self) -> anyhow::Result<()> {
        match self.producer.failure() {
            None => Ok(()),
            Some(failure) => Err(unconfirmed(&self.producer, &failure, self.messages)),
        }
    }

    async fn flush(&self) -> anyhow::Result<()> {
        self.producer.flush().await.map_err(|failure| unconfirmed(&self.producer, &failure, self.messages))
    }

    async fn line_too_long(&self) -> anyhow::Error {
        if let Err(earlier) = self.flush().await {
            return earlier;
        }
        let limit = Size(LINE_BYTES_MAX as u64);
        let earlier = what_of_the_earlier(self.messages);
        anyhow!("line {} is longer than {limit}, the limit of a line{earlier}", self.messages + 1)
    }

    async fn finish(self, start: Instant) -> anyhow::Result<Summary> {
        self.flush().await?;
        let Sender { messages, bytes, last, spread, .. } = self;
        let last = match last {
            Some(receipt) => Some((receipt.partition(), receipt.await?)),
            None => None,
        };
        Ok(Summary { messages, bytes, elapsed: start.elapsed(), last, spread })
    }
}
