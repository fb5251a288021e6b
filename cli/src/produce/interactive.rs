//! Typing messages: each line is sent at once, and its number said.

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use anyhow::bail;
use minikafka_client_produce::{Message, Producer, SendError};

use super::{
    input::Input,
    keys::Keys,
    lines::{LINE_BYTES_MAX, Lines},
};
use crate::{
    count::Size,
    interrupt::{INTERRUPTED, Interrupt},
};

/// The reason of a refusal that no other line avoids.
const INVALID_TOPIC_NAME: &str = "INVALID_TOPIC_NAME";

/// Sends what is typed until the end of the input, or until `interrupt` comes. A message that fails is said and does
/// not end it; the exit code remembers.
///
/// # Errors
/// When no line can be sent: the topic cannot have that name.
pub(super) async fn run(
    producer: Producer,
    input: Input,
    keys: Keys,
    topic: &str,
    interrupt: &mut Interrupt,
) -> anyhow::Result<ExitCode> {
    say!("Each line is a message to topic \"{topic}\". Ctrl-D ends.");
    tokio::select! {
        code = send_all(&producer, input, &keys) => code,
        () = interrupt.received() => {
            say!();
            // A message whose number was not said yet.
            producer.flush().await?;
            Ok(ExitCode::from(INTERRUPTED))
        }
    }
}

async fn send_all(producer: &Producer, mut input: Input, keys: &Keys) -> anyhow::Result<ExitCode> {
    let mut lines = Lines::default();
    let mut code = ExitCode::SUCCESS;
    prompt();
    while let Some(block) = input.next().await? {
        if lines.push(&block).is_err() {
            let limit = Size(LINE_BYTES_MAX as u64);
            bail!("the line is longer than {limit}, the limit of a line");
        }
        while let Some(line) = lines.next() {
            code = send(producer, keys.message(line).0, code).await?;
            prompt();
        }
    }
    say!();
    if let Some(line) = lines.last() {
        code = send(producer, keys.message(line).0, code).await?;
    }
    Ok(code)
}

fn prompt() {
    let _ = write!(io::stderr(), "> ");
}

async fn send(producer: &Producer, message: Message<'_>, code: ExitCode) -> anyhow::Result<ExitCode> {
    let sent = async {
        let receipt = producer.enqueue(message).await?;
        Ok((receipt.partition(), receipt.await?))
    };
    match sent.await {
        Ok((0, number)) => {
            say!("message {number}");
            Ok(code)
        }
        Ok((partition, number)) => {
            say!("message {number} of partition {partition}");
            Ok(code)
        }
        Err(SendError::Refused(refusal)) if refusal.reason == INVALID_TOPIC_NAME => {
            Err(SendError::Refused(refusal).into())
        }
        Err(error) => {
            say!("produce: {error}");
            // It is said: it is no news to a later flush.
            let _ = producer.flush().await;
            Ok(ExitCode::FAILURE)
        }
    }
}

#[cfg(test)]
mod tests {
    use minikafka_server::Server;

    use super::*;
    use crate::interrupt::Patience;

    /// What comes of typing `lines`, with a server in memory.
    async fn typed(topic: &str, lines: &'static [u8]) -> anyhow::Result<ExitCode> {
        let server = Server::builder().memory().start("127.0.0.1:0").await.unwrap();
        let producer = Producer::connect(&server.local_addr().to_string(), topic).await.unwrap();
        let mut interrupt = Interrupt::listen(Patience::Unlimited, INTERRUPTED).unwrap();
        let input = Input::of(io::Cursor::new(lines));
        let result = run(producer, input, Keys::default(), topic, &mut interrupt).await;
        server.stop().await.unwrap();
        result
    }

    #[tokio::test]
    async fn lines_are_sent_until_the_end() {
        assert_eq!(typed("t", b"a\nb").await.unwrap(), ExitCode::SUCCESS);
    }

    #[tokio::test]
    async fn a_topic_that_cannot_be_ends_it_at_once() {
        let error = typed("../x", b"a\nb\n").await.unwrap_err();
        assert!(error.to_string().contains(INVALID_TOPIC_NAME), "{error}");
    }
}
