//! [`Link`], the stream of replies from the server, opened again whenever it breaks.
//!
//! ```text
//!   Idle --> Connecting --> Subscribing --> Open
//!     ^          |               |           |
//!     +--Pausing-+---------------+-----------+   when it fails or ends
//! ```

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use minikafka_proto::v1::{SubscribeRequest, SubscribeResponse};
use tokio::time::{self, Sleep};
use tokio_stream::Stream;
use tonic::{Status, Streaming};

use minikafka_client_connection::{self as connection, Backoff, Client};

use crate::{
    Address, ConsumeError,
    error::{Verdict, judge},
};

type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// See the module. It works while it is polled, and goes on where it was when it is polled again.
pub(crate) struct Link {
    address: Address,
    /// An open connection outlives its streams.
    client: Option<Client>,
    stage: Stage,
    backoff: Backoff,
    /// Why there is no connection, or no stream.
    trouble: Option<Arc<str>>,
}

enum Stage {
    Idle,
    Pausing(Pin<Box<Sleep>>),
    Connecting(BoxFuture<Result<Client, String>>),
    Subscribing(BoxFuture<Result<Streaming<SubscribeResponse>, Status>>),
    Open(Box<Streaming<SubscribeResponse>>),
}

impl Link {
    pub(crate) fn new(address: Address) -> Link {
        Link { address, client: None, stage: Stage::Idle, backoff: Backoff::new(), trouble: None }
    }

    /// Connects, with one attempt.
    ///
    /// # Errors
    /// [`ConsumeError::Unreachable`].
    pub(crate) async fn connect(&mut self) -> Result<(), ConsumeError> {
        match connection::connect(self.address.clone()).await {
            Ok(client) => self.client = Some(client),
            Err(cause) => return Err(self.unreachable(cause.into())),
        }
        Ok(())
    }

    /// Why there is no stream, when there is none.
    pub(crate) fn trouble(&self) -> Option<ConsumeError> {
        self.trouble.clone().map(|cause| self.unreachable(cause))
    }

    pub(crate) fn unreachable(&self, cause: Arc<str>) -> ConsumeError {
        ConsumeError::Unreachable { address: self.address.to_string(), cause }
    }

    /// Gives up the stream; the next one is opened with the next poll.
    pub(crate) fn drop_stream(&mut self) {
        self.stage = Stage::Idle;
    }

    /// Gives up the stream because of what came from it; the next one is opened after a pause.
    pub(crate) fn distrust_stream(&mut self) {
        self.pause();
    }

    /// The next reply. `request` is what to subscribe with when a stream has to be opened.
    ///
    /// # Errors
    /// Only what opening the stream again will not heal.
    pub(crate) fn poll_reply(
        &mut self,
        context: &mut Context<'_>,
        request: impl Fn() -> SubscribeRequest,
    ) -> Poll<Result<SubscribeResponse, ConsumeError>> {
        loop {
            match &mut self.stage {
                Stage::Idle => self.begin(&request),
                Stage::Pausing(pause) => {
                    ready!(pause.as_mut().poll(context));
                    self.stage = Stage::Idle;
                }
                Stage::Connecting(connecting) => match ready!(connecting.as_mut().poll(context)) {
                    Ok(client) => {
                        self.client = Some(client);
                        self.stage = Stage::Idle;
                        self.trouble = None;
                    }
                    Err(cause) => self.fail(cause.into()),
                },
                Stage::Subscribing(subscribing) => match ready!(subscribing.as_mut().poll(context)) {
                    Ok(stream) => self.stage = Stage::Open(Box::new(stream)),
                    Err(status) => self.take_status(&status)?,
                },
                Stage::Open(stream) => match ready!(Pin::new(stream).poll_next(context)) {
                    Some(Ok(reply)) => {
                        self.backoff.reset();
                        self.trouble = None;
                        return Poll::Ready(Ok(reply));
                    }
                    Some(Err(status)) => self.take_status(&status)?,
                    None => self.fail("the server is stopping".into()),
                },
            }
        }
    }

    fn begin(&mut self, request: &impl Fn() -> SubscribeRequest) {
        self.stage = match self.client.clone() {
            None => Stage::Connecting(Box::pin(connection::connect(self.address.clone()))),
            Some(mut client) => {
                let request = request();
                Stage::Subscribing(Box::pin(async move { Ok(client.subscribe(request).await?.into_inner()) }))
            }
        };
    }

    fn take_status(&mut self, status: &Status) -> Result<(), ConsumeError> {
        match judge(status) {
            Verdict::TryAgain(cause) => self.fail(cause),
            Verdict::Fail(error) => {
                self.stage = Stage::Idle;
                return Err(error);
            }
        }
        Ok(())
    }

    fn fail(&mut self, cause: Arc<str>) {
        self.client = None;
        self.trouble = Some(cause);
        self.pause();
    }

    fn pause(&mut self) {
        self.stage = Stage::Pausing(Box::pin(time::sleep(self.backoff.next_wait())));
    }
}
