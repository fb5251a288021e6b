//! The accept loop. It does not end: what goes wrong with one connection, or for lack of files, passes.

use std::{
    convert::Infallible,
    io,
    net::SocketAddr,
    time::{Duration, Instant},
};

use futures_util::FutureExt as _;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::OwnedSemaphorePermit,
};

use crate::room::Room;

/// How long to wait before the next try when the system has nothing to give: other connections end meanwhile.
const PAUSE: Duration = Duration::from_millis(100);
/// At most one line in so much time about the same trouble.
const LOG_INTERVAL: Duration = Duration::from_secs(10);

/// The connections of a door.
pub(crate) trait Takes {
    /// How many there may be.
    fn room(&self) -> &Room;

    /// Serves a connection in the background.
    fn serve(&self, stream: TcpStream, peer: SocketAddr, room: OwnedSemaphorePermit);
}

/// Takes connections, as many as there is room for; the others wait in the system's queue, as with Kafka.
pub(crate) async fn accept(listener: &TcpListener, connections: &impl Takes) -> Infallible {
    let (mut trouble, mut crowd) = (Trouble::default(), Trouble::default());
    let room = connections.room();
    loop {
        let held = match room.for_the_next().now_or_never() {
            Some(held) => held,
            None => {
                crowd.report(|times| {
                    tracing::warn!(
                        times,
                        "there are as many connections as there may be: who connects now waits until one ends"
                    );
                });
                room.for_the_next().await
            }
        };
        match listener.accept().await {
            Ok((stream, peer)) => connections.serve(stream, peer, room.take(held)),
            // The peer was quicker to leave.
            Err(error) if is_about_the_peer(&error) => {
                tracing::debug!(%error, "a connection ended before it began");
            }
            Err(error) => {
                trouble
                    .report(|times| tracing::warn!(%error, times, "cannot accept connections at the moment"));
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

fn is_about_the_peer(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

/// Trouble that would fill the log if every occurrence took a line: too many connections or open files, no memory.
#[derive(Default)]
struct Trouble {
    last_line: Option<Instant>,
    unreported: u64,
}

impl Trouble {
    /// Has a line logged, which says how often it was so since the last one.
    fn report(&mut self, log: impl FnOnce(u64)) {
        self.unreported += 1;
        if self.last_line.is_some_and(|at| at.elapsed() < LOG_INTERVAL) {
            return;
        }
        log(self.unreported);
        self.last_line = Some(Instant::now());
        self.unreported = 0;
    }
}
