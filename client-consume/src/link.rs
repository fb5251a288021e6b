//! [`Link`], the stream of replies from the server, opened again whenever it breaks.
//!
//! ```text
//!   Idle --> Connecting --> Opening --> Open
//!     ^          |             |         |
//!     +--Pausing-+-------------+---------+   when it fails or ends
//! ```

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use minikafka_proto::v1::{ReadRequest, ReadResponse};
use tokio::{
    sync::mpsc,
    time::{self, Sleep},
};
use tokio_stream::{Stream, wrappers::ReceiverStream};
use tonic::{Status, Streaming};

use minikafka_client_connection::{self as connection, Backoff, Client};

use crate::{
    Address, ConsumeError,
    error::{Verdict, judge},
};

pub(crate) type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Requests that wait to be sent on an open stream. More than this is a connection that does not get on: then the
/// stream is opened again, which says everything at once.
const REQUESTS_MAX: usize = 64;

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
    Opening(BoxFuture<Result<Open, Status>>),
    Open(Box<Open>),
}

/// Both ways of a stream.
struct Open {
    requests: mpsc::Sender<ReadRequest>,
    replies: Streaming<ReadResponse>,
}

impl Link {
    pub(crate) fn new(address: Address) -> Link {
        Link { address, client: None, stage: Stage::Idle, backoff: Backoff::new(), trouble: None }
    }

    /// Connects, with one attempt.
    ///
    /// # Errors
    /// [`ConsumeError::Unreachable`].
    pub(crate) async fn connect(&mut self) -> Result<Client, ConsumeError> {
        match connection::connect(self.address.clone()).await {
            Ok(client) => Ok(self.client.insert(client).clone()),
            Err(cause) => Err(self.unreachable(cause.into())),
        }
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

    /// As [`distrust_stream`](Link::distrust_stream), and says why until there is another one.
    pub(crate) fn distrust_stream_because(&mut self, cause: Arc<str>) {
        self.trouble = Some(cause);
        self.pause();
    }

    /// The connection, when there is one.
    pub(crate) fn client(&self) -> Option<&Client> {
        self.client.as_ref()
    }

    /// Changes what the stream reads. When it cannot be told, it is given up: the next one is told everything.
    pub(crate) fn tell(&mut self, requests: impl Iterator<Item = ReadRequest>) {
        for request in requests {
            match &self.stage {
                Stage::Open(open) if open.requests.try_send(request).is_ok() => {}
                Stage::Open(_) | Stage::Opening(_) => self.drop_stream(),
                Stage::Idle | Stage::Pausing(_) | Stage::Connecting(_) => {}
            }
        }
    }

    /// The next reply. `requests` is what to begin with when a stream has to be opened.
    ///
    /// # Errors
    /// Only what opening the stream again will not heal.
    pub(crate) fn poll_reply(
        &mut self,
        context: &mut Context<'_>,
        requests: impl Fn() -> Vec<ReadRequest>,
    ) -> Poll<Result<ReadResponse, ConsumeError>> {
        loop {
            match &mut self.stage {
                Stage::Idle => self.begin(&requests),
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
                Stage::Opening(opening) => match ready!(opening.as_mut().poll(context)) {
                    Ok(open) => self.stage = Stage::Open(Box::new(open)),
                    Err(status) => self.take_status(&status)?,
                },
                Stage::Open(open) => match ready!(Pin::new(&mut open.replies).poll_next(context)) {
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

    fn begin(&mut self, requests: &impl Fn() -> Vec<ReadRequest>) {
        self.stage = match self.client.clone() {
            None => Stage::Connecting(Box::pin(connection::connect(self.address.clone()))),
            Some(client) => Stage::Opening(Box::pin(open(client, requests()))),
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

async fn open(mut client: Client, first: Vec<ReadRequest>) -> Result<Open, Status> {
    let (requests, outgoing) = mpsc::channel(first.len() + REQUESTS_MAX);
    for request in first {
        requests.try_send(request).expect("there is room for the first requests, and somebody to take them");
    }
    let replies = client.read(ReceiverStream::new(outgoing)).await?.into_inner();
    Ok(Open { requests, replies })
}
