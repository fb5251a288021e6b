//! [`Connections`]: those there are, and how each is served.

use std::{convert::Infallible, future::Future, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use axum::body::Body;
use http::{Request, Response};
use hyper::{body::Incoming, service::Service};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use tokio::{
    net::TcpStream,
    sync::OwnedSemaphorePermit,
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{accept::Takes, linger::Linger, observe::ConnectionCount, opening, room::Room};

/// Large frames roughly double what big streams carry; the default of 16 KiB is for web pages.
const FRAME_BYTES_MAX: u32 = 256 * 1024;
/// What a peer may send on one stream before it is read.
const STREAM_WINDOW_BYTES: u32 = 1024 * 1024;
/// The same for all its streams: more than one stream's, so that one which waits does not stop the others.
const CONNECTION_WINDOW_BYTES: u32 = 4 * 1024 * 1024;
/// Requests in flight on one connection; clients queue beyond.
const STREAMS_MAX: u32 = 512;
/// What waits to be sent on one stream before nothing more is asked for: a reply is taken whole, so this is
/// full with one that is large. Enough for the time between two looks of a fast reader.
const SEND_BYTES_MAX: usize = 256 * 1024;
/// Time to send the last replies once all produce calls are answered. Who has not ended then only reads, and
/// does not even do that.
const READERS_GRACE: Duration = Duration::from_secs(1);
/// How often a silent peer is asked whether it is still there, and how long it has to answer. Peers that
/// vanished without a word are gone after both.
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(20);
/// Time that a peer of HTTP/1 has for the head of a request; it may also be silent for so long between two.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// The connections of a server.
pub(crate) struct Connections<F> {
    http: Arc<auto::Builder<TokioExecutor>>,
    /// What answers the requests of a connection, by its peer.
    service: F,
    room: Room,
    tasks: TaskTracker,
    count: Arc<ConnectionCount>,
    /// Tells connections to end once they have answered.
    stopping: CancellationToken,
    /// Ends them as they are.
    cut: CancellationToken,
}

/// What answers requests. Each connection gets a clone.
pub(crate) trait Answers:
    Service<Request<Incoming>, Response = Response<Body>, Error = Infallible, Future: Send>
    + Clone
    + Send
    + 'static
{
}

impl<S> Answers for S where
    S: Service<Request<Incoming>, Response = Response<Body>, Error = Infallible, Future: Send>
        + Clone
        + Send
        + 'static
{
}

impl<S: Answers, F: Fn(SocketAddr) -> S> Connections<F> {
    /// None yet, and as many as there is `room`. When `stopping` is cancelled, they end once they have answered.
    pub(crate) fn new(
        service: F,
        room: Room,
        stopping: CancellationToken,
        count: Arc<ConnectionCount>,
    ) -> Connections<F> {
        Connections {
            http: Arc::new(http()),
            service,
            room,
            tasks: TaskTracker::new(),
            count,
            stopping,
            cut: CancellationToken::new(),
        }
    }

    /// Waits until all have ended, which they do once `stopping` is cancelled. Cuts those that have not at
    /// the deadline, or soon after `produce_is_answered`: readers can go on elsewhere.
    pub(crate) async fn finish(&self, deadline: Duration, produce_is_answered: impl Future<Output = ()>) {
        self.tasks.close();
        let ended = async {
            tokio::select! {
                () = self.tasks.wait() => {}
                () = async { produce_is_answered.await; sleep(READERS_GRACE).await } => {}
            }
        };
        let _ = timeout(deadline, ended).await;
        if !self.tasks.is_empty() {
            tracing::warn!(connections = self.tasks.len(), "cut the connections that did not end in time");
            self.cut.cancel();
            self.tasks.wait().await;
        }
    }
}

impl<S: Answers, F: Fn(SocketAddr) -> S + Sync> Takes for Connections<F> {
    fn room(&self) -> &Room {
        &self.room
    }

    fn serve(&self, stream: TcpStream, peer: SocketAddr, room: OwnedSemaphorePermit) {
        let http = self.http.clone();
        let service = (self.service)(peer);
        let stopping = self.stopping.clone();
        let cut = self.cut.clone();
        let counted = self.count.open();
        self.tasks.spawn(async move {
            tokio::select! {
                () = cut.cancelled() => tracing::debug!(%peer, "cut a connection"),
                outcome = serve(&http, service, stream, stopping) => match outcome {
                    Ok(()) => tracing::trace!(%peer, "a connection ended"),
                    // Nothing to worry about: port scanners, and clients that vanish.
                    Err(error) => tracing::debug!(%peer, %error, "a connection failed"),
                },
            }
            drop((room, counted));
        });
    }
}

/// HTTP/1 and HTTP/2 as they are spoken here.
fn http() -> auto::Builder<TokioExecutor> {
    let mut http = auto::Builder::new(TokioExecutor::new());
    http.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
    http.http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT)
        .max_frame_size(FRAME_BYTES_MAX)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_send_buf_size(SEND_BYTES_MAX)
        .max_concurrent_streams(STREAMS_MAX);
    http
}

/// Serves one connection until it ends, or has answered what it was asked before `stopping`.
async fn serve(
    http: &auto::Builder<TokioExecutor>,
    service: impl Answers,
    stream: TcpStream,
    stopping: CancellationToken,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    // Replies are small and must not wait for more to come: Nagle's algorithm slows streams down 10 to 20
    // times.
    stream.set_nodelay(true)?;
    let stream = tokio::select! {
        opened = opening::open(stream) => opened?,
        () = stopping.cancelled() => return Ok(()),
    };
    let mut serving = pin!(http.serve_connection(TokioIo::new(Linger::new(stream)), service));
    tokio::select! {
        outcome = &mut serving => outcome,
        () = stopping.cancelled() => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use futures_util::FutureExt as _;
    use hyper_util::service::TowerToHyperService;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
        sync::{Semaphore, mpsc},
        time::Instant,
    };

    use super::*;

    // The clock jumps ahead when nothing else happens.
    #[tokio::test(start_paused = true)]
    async fn a_connection_that_does_not_end_is_cut_at_the_deadline() {
        let (begun, mut has_begun) = mpsc::channel::<()>(1);
        let never = get(async move || {
            begun.send(()).await.expect("the test waits for it");
            std::future::pending::<()>().await;
        });
        let stopping = CancellationToken::new();
        let routes = axum::Router::new().route("/", never);
        let service = move |_| TowerToHyperService::new(routes.clone());
        let room = Room::beside(&Arc::new(Semaphore::new(0)));
        let connections = Connections::new(service, room.clone(), stopping.clone(), Arc::default());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut peer = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, address) = listener.accept().await.unwrap();
        connections.serve(stream, address, room.for_the_next().await);
        assert!(room.for_the_next().now_or_never().is_none(), "the only place is taken");
        peer.write_all(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n").await.unwrap();
        has_begun.recv().await.unwrap();

        stopping.cancel();
        let deadline = Duration::from_secs(10);
        let begin = Instant::now();
        connections.finish(deadline, std::future::pending()).await;
        assert!((deadline..2 * deadline).contains(&begin.elapsed()));
        assert_eq!(peer.read(&mut [0; 1]).await.unwrap(), 0, "it is cut");
        assert!(room.for_the_next().now_or_never().is_some(), "there is room again");
    }
}
