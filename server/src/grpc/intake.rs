//! [`Intake`]: how many bytes of unfinished requests the server holds, in all.
//!
//! ```text
//!   small message                    passes
//!   large one: its first bytes       pass, up to FREE_BYTES
//!              the rest              once it has permits for its whole length, or not at all
//! ```
//!
//! The permits return when the call is done; a produce stream returns them as soon as the broker, which has a
//! bound of its own, has the message.
//!
//! A message takes all its permits at once, and then it waits for nobody but its own client, who has to send
//! it within [`time_to_receive`]. So those that wait for permits get them, or a refusal in time: no deadlock.
//! Beside the budget there are the free bytes of each stream and what HTTP/2 holds for each connection: both
//! are bounded by the number of streams and connections.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::body::{Body, Bytes, HttpBody};
use http::{Request, Response};
use hyper::body::Frame;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Sleep, sleep, timeout},
};
use tokio_util::task::{TaskTracker, task_tracker::TaskTrackerToken};
use tonic::Status;
use tracing::Span;

use super::{framing::Framing, refusal::Refusal};
use crate::observe::{Refusals, Watched};

/// Bytes of each message that need no permit: what most requests are. Little enough for 512 streams on each
/// connection.
const FREE_BYTES: usize = 32 * 1024;
/// Smallest budget: a disk that syncs has work for so long that more would not be faster.
const BUDGET_BYTES_MIN: usize = 64 * 1024 * 1024;
/// However large requests may be, so many of the largest are taken side by side.
const LARGEST_REQUESTS: usize = 8;
/// How long a single request waits for permits. Short: meanwhile what it has sent fills the window of its
/// connection, and others on it may be those that hold permits. Streams wait: their clients are many messages
/// ahead.
const PERMITS_TIMEOUT: Duration = Duration::from_millis(500);
/// How long a client has to send a message that holds permits: so long, and longer the larger it is.
const RECEIVE_TIME_MIN: Duration = Duration::from_secs(30);
/// The slowest client that is waited for: an old modem is slower, but hardly sends large messages.
const RECEIVE_BYTES_PER_SECOND: u64 = 64 * 1024;

/// The bytes of unfinished requests, and the produce calls that are under way.
#[derive(Clone)]
pub(crate) struct Intake {
    permits: Arc<Semaphore>,
    request_bytes_max: usize,
    /// One token for each produce call, until its reply is handed over to HTTP.
    produce: TaskTracker,
}

/// The permits of one request. Shared by those who need its bytes: the last one to go returns them.
#[derive(Clone, Debug, Default)]
pub(super) struct Held(Arc<Mutex<Option<OwnedSemaphorePermit>>>);

/// What a request is, as far as its size matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Call {
    /// One message, which may be large.
    Produce,
    /// Many of them.
    ProduceStream,
    /// Names and numbers: never large.
    Other,
}

impl Call {
    fn of(path: &str) -> Call {
        match path.rsplit('/').next() {
            // Many positions are as large as a batch, and are stored like one.
            Some("Produce" | "CommitPositions" | "FetchPositions" | "SeekGroup") => Call::Produce,
            Some("ProduceStream" | "Join") => Call::ProduceStream,
            _ => Call::Other,
        }
    }
}

impl Intake {
    /// For requests of at most `request_bytes_max` bytes each.
    pub(crate) fn new(request_bytes_max: usize) -> Intake {
        let budget_bytes = BUDGET_BYTES_MIN.max(LARGEST_REQUESTS * request_bytes_max);
        Intake {
            permits: Arc::new(Semaphore::new(budget_bytes)),
            request_bytes_max,
            produce: TaskTracker::new(),
        }
    }

    /// Waits until no produce call is under way.
    pub(crate) async fn produce_is_answered(&self) {
        self.produce.close();
        self.produce.wait().await;
    }

    /// Permits for a message of so many bytes.
    fn permits(&self, call: Call, len: usize) -> Permits {
        let permits = self.permits.clone();
        Box::pin(async move {
            if call == Call::Other {
                return Err(Refusal::invalid_request(format!(
                    "the request has {len} bytes, this call takes at most {FREE_BYTES}"
                )));
            }
            // A prefix has 32 bits for the length.
            let acquired = permits.acquire_many_owned(len as u32);
            let acquired = match call {
                Call::ProduceStream => acquired.await,
                _ => timeout(PERMITS_TIMEOUT, acquired).await.map_err(|_| Refusal::too_many_bytes())?,
            };
            Ok(acquired.expect("nobody closes this semaphore"))
        })
    }
}

type Permits = Pin<Box<dyn Future<Output = Result<OwnedSemaphorePermit, Refusal>> + Send>>;

impl Intake {
    /// Bounds what a request of our services holds. The rest of its way is with [`Admitted`].
    pub(crate) fn admit<B>(&self, request: Request<B>) -> (Request<Metered<B>>, Admitted) {
        let call = Call::of(request.uri().path());
        let produce = (call != Call::Other).then(|| self.produce.token());
        let held = Held::default();
        let (mut head, body) = request.into_parts();
        if call == Call::ProduceStream {
            head.extensions.insert(held.clone());
        }
        let body = Metered::new(body, call, self.clone(), held.clone());
        (Request::from_parts(head, body), Admitted { _held: held, produce })
    }
}

/// A request that is under way. Its permits return with it, unless it goes on as a stream that has its own share
/// in them.
pub(crate) struct Admitted {
    _held: Held,
    /// Of a produce call.
    produce: Option<TaskTrackerToken>,
}

impl Admitted {
    /// The call is done, as far as it is not a stream. A produce call is under way until HTTP has taken its reply.
    pub(crate) fn answer(
        self,
        response: Response<tonic::body::Body>,
        refusals: Arc<Refusals>,
        span: Span,
    ) -> Response<Body> {
        response.map(|body| Body::new(Watched { body, refusals, span, _held: self.produce }))
    }
}

impl Held {
    /// Returns the permits: somebody else answers for the bytes now.
    pub(super) fn release(&self) {
        self.lock().take();
    }

    fn is_empty(&self) -> bool {
        self.lock().is_none()
    }

    fn put(&self, permits: OwnedSemaphorePermit) {
        *self.lock() = Some(permits);
    }

    /// Held for an assignment, never across an await.
    fn lock(&self) -> MutexGuard<'_, Option<OwnedSemaphorePermit>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Time that a client has to send a message of so many bytes.
fn time_to_receive(len: usize) -> Duration {
    RECEIVE_TIME_MIN + Duration::from_secs(len as u64 / RECEIVE_BYTES_PER_SECOND)
}

/// A request's body that gets permits for what it holds.
pub(crate) struct Metered<B> {
    body: B,
    call: Call,
    intake: Intake,
    held: Held,
    framing: Framing,
    /// Received, and not passed on yet.
    received: Bytes,
    /// The permits that the message under way waits for.
    waiting: Option<Permits>,
    /// When the message under way, which holds permits, has to be complete.
    deadline: Option<Pin<Box<Sleep>>>,
    failed: bool,
}

impl<B> Metered<B> {
    fn new(body: B, call: Call, intake: Intake, held: Held) -> Metered<B> {
        let framing = Framing::new(FREE_BYTES, intake.request_bytes_max);
        let received = Bytes::new();
        Metered { body, call, intake, held, framing, received, waiting: None, deadline: None, failed: false }
    }
}

impl<B: HttpBody<Data = Bytes, Error: Into<axum::BoxError>> + Unpin> Metered<B> {
    /// The next bytes that may pass, or a frame without data; `None` at the end.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        loop {
            if self.received.is_empty() {
                ready!(self.poll_deadline(cx))?;
                let frame = match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                    Some(frame) => frame.map_err(axum::Error::new)?,
                    None => return Poll::Ready(None),
                };
                match frame.into_data() {
                    Ok(data) => self.received = data,
                    Err(other) => return Poll::Ready(Some(Ok(other))),
                }
                continue;
            }
            match self.framing.pass(&self.received) {
                0 => ready!(self.poll_permits(cx))?,
                passed => {
                    if self.framing.is_between_messages() {
                        self.deadline = None;
                    }
                    return Poll::Ready(Some(Ok(Frame::data(self.received.split_to(passed)))));
                }
            }
        }
    }

    /// Fails when the time for the message under way is up. Never waits: it only leaves the waker there.
    fn poll_deadline(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), axum::Error>> {
        let is_up = self.deadline.as_mut().is_some_and(|deadline| deadline.as_mut().poll(cx).is_ready());
        Poll::Ready(if is_up { Err(failure(Refusal::too_slow())) } else { Ok(()) })
    }

    /// Gets leave for the message under way.
    fn poll_permits(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), axum::Error>> {
        if !self.held.is_empty() {
            // What comes behind the message of a unary call. Streams have returned their permits by now.
            return Poll::Ready(Err(failure(Refusal::invalid_request("the call takes one message"))));
        }
        let len = self.framing.message_len();
        let waiting = self.waiting.get_or_insert_with(|| self.intake.permits(self.call, len));
        let permits = ready!(waiting.as_mut().poll(cx));
        self.waiting = None;
        self.held.put(permits.map_err(failure)?);
        self.framing.give_leave();
        self.deadline = Some(Box::pin(sleep(time_to_receive(len))));
        Poll::Ready(Ok(()))
    }
}

/// tonic finds the status in the error of a body.
fn failure(refusal: Refusal) -> axum::Error {
    axum::Error::new(Status::from(refusal))
}

impl<B: HttpBody<Data = Bytes, Error: Into<axum::BoxError>> + Unpin> HttpBody for Metered<B> {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = self.get_mut();
        if this.failed {
            return Poll::Ready(None);
        }
        let frame = ready!(this.poll_next(cx));
        if matches!(frame, Some(Err(_))) {
            this.failed = true;
            // The refused message is nobody's any more.
            this.received = Bytes::new();
            this.held.release();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.failed || self.received.is_empty() && self.body.is_end_stream()
    }
}

#[cfg(test)]
mod tests;
