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

use minikafka_client_connection::{Address, Backoff, Client, Connection, SharedConnection};

use crate::{
    ConsumeError,
    error::{Verdict, is_answer, judge},
};

pub(crate) type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Requests that wait to be sent on an open stream. More than this is a connection that does not get on: then the
/// stream is opened again, which says everything at once.
const REQUESTS_MAX: usize = 64;

/// See the module. It works while it is polled, and goes on where it was when it is polled again.
pub(crate) struct Link {
    shared: SharedConnection,
    /// An open connection outlives its streams.
    connected: Option<Connected>,
    stage: Stage,
    backoff: Backoff,
    /// Why there is no connection, or no stream.
    trouble: Option<Arc<str>>,
}

/// The connection, and who talks over it.
struct Connected {
    connection: Connection,
    client: Client,
}

enum Stage {
    Idle,
    Pausing(Pin<Box<Sleep>>),
    Connecting(BoxFuture<Result<Connection, String>>),
    Opening(BoxFuture<Result<Open, Status>>),
    Open(Box<Open>),
}

/// Both ways of a stream.
struct Open {
    requests: mpsc::Sender<ReadRequest>,
    replies: Streaming<ReadResponse>,
}

impl Link {
    pub(crate) fn new(shared: SharedConnection) -> Link {
        Link { shared, connected: None, stage: Stage::Idle, backoff: Backoff::new(), trouble: None }
    }

    /// Connects, with one attempt.
    ///
    /// # Errors
    /// [`ConsumeError::Unreachable`].
    pub(crate) async fn connect(&mut self) -> Result<Client, ConsumeError> {
        match self.shared.open().await {
            Ok(connection) => Ok(self.connected.insert(connection.into()).client.clone()),
            Err(cause) => Err(self.unreachable(cause.into())),
        }
    }

    /// Why there is no stream, when there is none.
    pub(crate) fn trouble(&self) -> Option<ConsumeError> {
        self.trouble.clone().map(|cause| self.unreachable(cause))
    }

    pub(crate) fn address(&self) -> &Address {
        self.shared.address()
    }

    pub(crate) fn unreachable(&self, cause: Arc<str>) -> ConsumeError {
        ConsumeError::Unreachable { address: self.shared.address().to_string(), cause }
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
        self.connected.as_ref().map(|connected| &connected.client)
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
                    Ok(connection) => {
                        self.connected = Some(connection.into());
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
                    None => {
                        self.give_up_connection();
                        self.fail("the server is stopping".into());
                    }
                },
            }
        }
    }

    fn begin(&mut self, requests: &impl Fn() -> Vec<ReadRequest>) {
        self.stage = match &self.connected {
            None => {
                let shared = self.shared.clone();
                Stage::Connecting(Box::pin(async move { shared.open().await }))
            }
            Some(Connected { client, .. }) => Stage::Opening(Box::pin(open(client.clone(), requests()))),
        };
    }

    fn take_status(&mut self, status: &Status) -> Result<(), ConsumeError> {
        match judge(status) {
            Verdict::TryAgain(cause) => {
                if !is_answer(status) {
                    self.give_up_connection();
                }
                self.fail(cause);
            }
            Verdict::Fail(error) => {
                self.stage = Stage::Idle;
                return Err(error);
            }
        }
        Ok(())
    }

    /// The connection does not work, or will not for long.
    fn give_up_connection(&self) {
        if let Some(Connected { connection, .. }) = &self.connected {
            self.shared.give_up(connection);
        }
    }

    fn fail(&mut self, cause: Arc<str>) {
        // The next stream is opened on the one that everybody has then, which may be the same.
        self.connected = None;
        self.trouble = Some(cause);
        self.pause();
    }

    fn pause(&mut self) {
        self.stage = Stage::Pausing(Box::pin(time::sleep(self.backoff.next_wait())));
    }
}

impl From<Connection> for Connected {
    fn from(connection: Connection) -> Connected {
        Connected { client: connection.client(), connection }
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
