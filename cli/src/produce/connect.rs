//! Connecting, with patience: the server may be starting at the same moment.

use std::time::Duration;

use anyhow::Context as _;
use minikafka_client_produce::Producer;
use tokio::time::{self, Instant};

/// Between attempts: short beside the start of a server, long beside an attempt.
const PAUSE: Duration = Duration::from_millis(250);

/// Connects to a server that is there within `timeout`. That it is not there at once is said on stderr, once.
pub(super) async fn connect(host: &str, topic: &str, timeout: Duration) -> anyhow::Result<Producer> {
    let deadline = Instant::now() + timeout;
    let mut has_said_so = false;
    loop {
        match Producer::builder(host, topic).timeout(timeout).connect().await {
            Ok(producer) => return Ok(producer),
            Err(error) if error.is_retryable() && Instant::now() + PAUSE < deadline => {
                if !has_said_so {
                    eprintln!("produce: {error}; trying again for {timeout:?}");
                    has_said_so = true;
                }
                time::sleep(PAUSE).await;
            }
            Err(error) if error.is_retryable() => {
                return Err(error).context("nothing is sent");
            }
            Err(error) => return Err(error.into()),
        }
    }
}
