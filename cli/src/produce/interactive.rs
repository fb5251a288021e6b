//! Typing messages: each line is sent at once, and its number said.

use std::process::ExitCode;

use minikafka_client_produce::Producer;

use super::{input::Input, lines::Lines};
use crate::count::Size;

/// Sends what is typed until the end of the input. A message that fails is said and does not end it; the exit code
/// remembers.
pub(super) async fn run(producer: Producer, mut input: Input, topic: &str) -> anyhow::Result<ExitCode> {
    eprintln!("Each line is a message to topic \"{topic}\". Ctrl-D ends.");
    let mut lines = Lines::default();
    let mut code = ExitCode::SUCCESS;
    prompt();
    while let Some(block) = input.next().await? {
        if lines.push(&block).is_err() {
            let limit = Size(super::lines::LINE_BYTES_MAX as u64);
            anyhow::bail!("the line is longer than {limit}, the limit of a line");
        }
        while let Some(line) = lines.next() {
            code = send(&producer, line, code).await;
            prompt();
        }
    }
    eprintln!();
    if let Some(line) = lines.last() {
        code = send(&producer, line, code).await;
    }
    Ok(code)
}

fn prompt() {
    eprint!("> ");
}

async fn send(producer: &Producer, line: &[u8], code: ExitCode) -> ExitCode {
    match producer.send(line).await {
        Ok(number) => {
            eprintln!("message {number}");
            code
        }
        Err(error) => {
            eprintln!("produce: {error}");
            ExitCode::FAILURE
        }
    }
}
