//! Connecting, with patience: the server may be starting at the same moment.

use std::time::Duration;

use anyhow::Context as _;
use minikafka_client_connection::Backoff;
use minikafka_client_produce::{Producer, ProducerBuilder};
use minikafka_flags::format_duration;
use tokio::time::{self, Instant};

/// Connects to a server that is there within `timeout`, which is that of messages, too. That it is not there
/// at once is said on stderr, once.
pub(super) async fn connect(builder: ProducerBuilder, timeout: Duration) -> anyhow::Result<Producer> {
    let builder = builder.timeout(timeout);
    let deadline = Instant::now() + timeout;
    let mut backoff = Backoff::new();
    let mut has_said_so = false;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match builder.clone().connect().await {
            Ok(producer) => return Ok(producer),
            Err(error) if error.is_retryable() && !left.is_zero() => {
                if !has_said_so {
                    say!("produce: {error}; trying again for {}", format_duration(timeout));
                    has_said_so = true;
                }
                // The last attempt is at the deadline.
                time::sleep(backoff.next_wait().min(left)).await;
            }
            Err(error) if error.is_retryable() => {
                return Err(error).context("nothing is sent");
            }
            Err(error) => return Err(error.into()),
        }
    }
}
