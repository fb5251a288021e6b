//! [`Server`], a running server.

use std::{net::SocketAddr, time::Duration};

use minikafka_broker::{Broker, Error};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::{Builder, ServerError, accept::accept, connection::Connections, connections_max, router::Router};

/// How long connections have to end by themselves when the server stops; then they are cut. What was taken is
/// stored in any case. Half of the time that Docker gives a container: the rest is for the storage.
pub const STOP_DEADLINE: Duration = Duration::from_secs(5);

/// A running server. Dropping it stops it, too, but nobody can wait for that: see [`stop`](Server::stop).
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let server = minikafka_server::Server::builder().memory().start("127.0.0.1:0").await?;
/// println!("serving on {}", server.local_addr());
/// server.broker().create_topic("orders", 1).await?;
/// server.stop().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Server {
    local_addr: SocketAddr,
    broker: Broker,
    running: JoinHandle<Result<(), ServerError>>,
    /// Has the server stop, when it is dropped at the latest.
    stop: DropGuard,
}

impl Server {
    /// What can be chosen.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Serves in the background.
    pub(crate) fn run(listener: TcpListener, broker: Broker) -> Result<Server, ServerError> {
        let local_addr = listener.local_addr().map_err(ServerError::Listener)?;
        let stop = CancellationToken::new();
        let running = tokio::spawn(run(listener, broker.clone(), stop.clone()));
        Ok(Server { local_addr, broker, running, stop: stop.drop_guard() })
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Its topics.
    pub fn broker(&self) -> &Broker {
        &self.broker
    }

    /// Stops gracefully: takes nothing new, makes durable and answers what was taken, ends streams and
    /// connections within [`STOP_DEADLINE`], closes the storage.
    ///
    /// # Errors
    /// When the storage cannot be closed cleanly. What was acknowledged is stored in any case.
    pub async fn stop(self) -> Result<(), ServerError> {
        drop(self.stop);
        match self.running.await {
            Ok(outcome) => outcome,
            Err(join) if join.is_panic() => std::panic::resume_unwind(join.into_panic()),
            // The runtime goes down, and everything with it.
            Err(_) => Err(Error::Stopping.into()),
        }
    }
}

/// Serves until `stop`, then stops.
async fn run(listener: TcpListener, broker: Broker, stop: CancellationToken) -> Result<(), ServerError> {
    let stopping = CancellationToken::new();
    let Router { door, observed, intake } = Router::new(&broker, &stopping);
    let connections = Connections::new(
        move |peer| door.of(peer),
        connections_max(),
        stopping.clone(),
        observed.connections,
    );
    tokio::select! {
        () = stop.cancelled() => {}
        never = accept(&listener, &connections) => match never {},
    }
    drop(listener);
    // The broker first: whatever streams do about `stopping`, they find that nothing more is taken, and those who
    // ask for the health hear of it.
    broker.begin_stop();
    stopping.cancel();
    connections.finish(STOP_DEADLINE, intake.produce_is_answered()).await;
    Ok(broker.close().await?)
}
