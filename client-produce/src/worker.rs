//! [`Worker`], the background task of a producer: it keeps a stream open while there is something to send.

use std::{error::Error, pin::pin, sync::Arc};

use tokio::time;
use tonic::{Code, Status};

use minikafka_client_connection::{self as connection, Backoff, Client, causes};

use crate::{
    Address, Refusal,
    introduction::run_errands,
    outbound::Outbound,
    queue::Queue,
    state::{Ending, TOO_LARGE},
};

/// See the module. When it is dropped, whatever is left has failed.
#[derive(Debug)]
pub(crate) struct Worker {
    address: Address,
    queue: Arc<Queue>,
}

/// What an attempt to send came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Attempt {
    /// The server replied at least once.
    Progress,
    /// It did not.
    NoProgress,
}

impl Worker {
    pub(crate) fn new(address: Address, queue: Arc<Queue>) -> Worker {
        Worker { address, queue }
    }

    /// Sends until the queue is closed and everything is settled, starting on the connection that `client`
    /// has.
    pub(crate) async fn run(self, client: Client) {
        let mut client = Some(client);
        let mut backoff = Backoff::new();
        while self.queue.wait_for_work().await {
            let attempt = match client.take() {
                Some(client) => self.stream(client).await,
                None => self.connect_and_stream().await,
            };
            match attempt {
                Attempt::Progress => backoff.reset(),
                Attempt::NoProgress => {
                    self.while_expiring(time::sleep(backoff.next_wait())).await;
                }
            }
        }
    }

    async fn connect_and_stream(&self) -> Attempt {
        match self.while_expiring(connection::connect(self.address.clone())).await {
            Some(Ok(client)) => self.stream(client).await,
            Some(Err(cause)) => {
                self.queue.note_unreachable(cause.into());
                Attempt::NoProgress
            }
            None => Attempt::NoProgress,
        }
    }

    /// Opens a stream and takes its replies until it ends.
    async fn stream(&self, mut client: Client) -> Attempt {
        let errand_client = client.clone();
        let outbound = Outbound::new(self.queue.clone());
        let mut attempt = Attempt::NoProgress;
        let replies = async {
            let mut replies = client.produce_stream(outbound).await?.into_inner();
            while let Some(reply) = replies.message().await? {
                attempt = Attempt::Progress;
                self.queue.take_reply(reply).map_err(Status::internal)?;
            }
            Ok(())
        };
        let ended = tokio::select! {
            ended = self.while_expiring(replies) => ended,
            never = run_errands(&self.queue, errand_client) => match never {},
        };
        let ending = match ended {
            Some(Err(status)) => ending(&status),
            Some(Ok(())) | None => Ending::Graceful,
        };
        if matches!(ending, Ending::TooLarge(_)) {
            // As good as a reply: that request will not come again as it was.
            attempt = Attempt::Progress;
        }
        self.queue.end_session(ending);
        attempt
    }

    /// Waits for `future` and fails, meanwhile, the batches whose time is over; `None` when nothing is left
    /// to wait for.
    async fn while_expiring<T>(&self, future: impl Future<Output = T>) -> Option<T> {
        let mut future = pin!(future);
        while !self.queue.is_finished() {
            let wake_up = self.queue.next_wake_up();
            tokio::select! {
                output = &mut future => return Some(output),
                () = time::sleep_until(wake_up) => self.queue.wake_up(),
                () = self.queue.notified() => {}
            }
        }
        None
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.queue.abandon();
    }
}

/// What a status that ends the whole stream means.
fn ending(status: &Status) -> Ending {
    let refusal = Refusal::from(status);
    match status.code() {
        // What is far over the limit is not even read, and the stream cannot go on behind it.
        Code::InvalidArgument if refusal.reason == TOO_LARGE => Ending::TooLarge(Arc::new(refusal)),
        // The server looked at no request: it has no such method, or does not let us use it.
        Code::Unimplemented | Code::Unauthenticated | Code::PermissionDenied => {
            Ending::Refused(Arc::new(refusal))
        }
        _ if status.source().is_some() => Ending::Broken(causes(status).into()),
        _ => Ending::Broken(status.message().into()),
    }
}
