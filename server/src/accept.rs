//! The accept loop. It does not end: what goes wrong with one connection, or for lack of files, passes.

use std::{
    convert::Infallible,
    future::Future,
    io,
    net::SocketAddr,
    time::{Duration, Instant},
};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::OwnedSemaphorePermit,
};

/// How long to wait before the next try when the system has nothing to give: other connections end meanwhile.
const PAUSE: Duration = Duration::from_millis(100);
/// At most one line in so much time about the same trouble.
const LOG_INTERVAL: Duration = Duration::from_secs(10);

/// The connections of a door.
pub(crate) trait Takes {
    /// Waits until there is room for one more.
    fn room(&self) -> impl Future<Output = OwnedSemaphorePermit> + Send;

    /// Serves a connection in the background.
    fn serve(&self, stream: TcpStream, peer: SocketAddr, room: OwnedSemaphorePermit);
}

/// Takes connections, as many as there is room for; the others wait in the system's queue.
pub(crate) async fn accept(listener: &TcpListener, connections: &impl Takes) -> Infallible {
    let mut trouble = Trouble::default();
    loop {
        let room = connections.room().await;
        match listener.accept().await {
            Ok((stream, peer)) => connections.serve(stream, peer, room),
            // The peer was quicker to leave.
            Err(error) if is_about_the_peer(&error) => {
                tracing::debug!(%error, "a connection ended before it began");
            }
            Err(error) => {
                trouble.report(&error);
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

fn is_about_the_peer(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

/// Trouble that would fill the log if every occurrence took a line: too many open files, no memory.
#[derive(Default)]
struct Trouble {
    last_line: Option<Instant>,
    unreported: u64,
}

impl Trouble {
    fn report(&mut self, error: &io::Error) {
        self.unreported += 1;
        if self.last_line.is_some_and(|at| at.elapsed() < LOG_INTERVAL) {
            return;
        }
        tracing::warn!(%error, times = self.unreported, "cannot accept connections at the moment");
        self.last_line = Some(Instant::now());
        self.unreported = 0;
    }
}
