//! What to say when not every line is confirmed.

use anyhow::anyhow;
use minikafka_client_produce::{FlushError, Producer, SendError};

/// An error that names the first unconfirmed line and what is known of the others. Lines are enqueued one by one,
/// so a line's number is its position plus one. `enqueued` is how many there were.
pub(super) fn unconfirmed(producer: &Producer, failure: &FlushError, enqueued: u64) -> anyhow::Error {
    // An earlier line may still be on its way; it is not confirmed either.
    let confirmed = failure.position.min(producer.settled());
    let line = confirmed + 1;
    let reason = if confirmed == failure.position {
        failure.error.to_string()
    } else {
        format!("not confirmed yet when line {} failed: {}", failure.position + 1, failure.error)
    };
    anyhow!(
        "line {line} is the first unconfirmed line: {reason}{}{}",
        what_of_the_earlier(confirmed),
        what_of_the_later(enqueued - line)
    )
}

/// An error about a line that was not even enqueued; all lines before it are stored.
pub(super) fn not_sent(line: u64, error: &SendError) -> anyhow::Error {
    anyhow!("line {line} is the first unconfirmed line: {error}{}", what_of_the_earlier(line - 1))
}

/// `enqueued` counts the lines that were given to the producer after the first unconfirmed one.
fn what_of_the_later(enqueued: u64) -> &'static str {
    match enqueued {
        0 => "",
        _ => "; later lines may be stored or not",
    }
}

pub(super) fn what_of_the_earlier(confirmed: u64) -> String {
    match confirmed {
        0 => String::new(),
        1 => "; the line before it is stored".to_owned(),
        count => format!("; the {count} lines before it are stored"),
    }
}
