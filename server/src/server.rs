//! [`Server`], a running server.

use std::{convert::Infallible, future::pending, net::SocketAddr, sync::Arc, time::Duration};

use minikafka_broker::{Broker, Endpoint, Error};
use tokio::{net::TcpListener, sync::Semaphore, task::JoinHandle};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::{
    Builder, ServerError,
    accept::accept,
    config::Advertised,
    connection::Connections,
    kafka::{KafkaDoor, endpoint},
    room::Room,
    router::Router,
};

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
    /// Where the Kafka door listens and what clients are told about that, if it is open.
    kafka: Option<(SocketAddr, Endpoint)>,
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
    pub(crate) fn run(
        listener: TcpListener,
        kafka: Option<KafkaListener>,
        broker: Broker,
        connections_max: usize,
    ) -> Result<Server, ServerError> {
        let local_addr = listener.local_addr().map_err(ServerError::Listener)?;
        let found = kafka.as_ref().map(KafkaListener::addresses).transpose()?;
        if let Some((_, endpoint)) = &found {
            broker.advertise_kafka(endpoint.clone());
        }
        let stop = CancellationToken::new();
        let running = tokio::spawn(run(listener, kafka, broker.clone(), connections_max, stop.clone()));
        Ok(Server { local_addr, kafka: found, broker, running, stop: stop.drop_guard() })
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Where it listens for Kafka clients, if it does.
    pub fn kafka_addr(&self) -> Option<SocketAddr> {
        self.kafka.as_ref().map(|(address, _)| *address)
    }

    /// The address that Kafka clients are told, `host:port`, if there is a door for them.
    pub fn kafka_advertised(&self) -> Option<String> {
        self.kafka.as_ref().map(|(_, endpoint)| endpoint.to_string())
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

/// A socket for Kafka clients, and what they are told instead of its address.
#[derive(Debug)]
pub(crate) struct KafkaListener {
    pub(crate) listener: TcpListener,
    pub(crate) advertised: Option<Advertised>,
    /// How long a client may be silent.
    pub(crate) idle_timeout: Duration,
}

impl KafkaListener {
    /// Where it listens, and what clients are told.
    fn addresses(&self) -> Result<(SocketAddr, Endpoint), ServerError> {
        let address = self.listener.local_addr().map_err(ServerError::Listener)?;
        Ok((address, endpoint(self.advertised.as_ref(), address)))
    }
}

/// Serves until `stop`, then stops.
async fn run(
    listener: TcpListener,
    kafka: Option<KafkaListener>,
    broker: Broker,
    connections_max: usize,
    stop: CancellationToken,
) -> Result<(), ServerError> {
    let stopping = CancellationToken::new();
    let Router { door, observed, intake } = Router::new(&broker, &stopping, connections_max);
    // Of all doors: each connection takes a file.
    let doors = 1 + usize::from(kafka.is_some());
    let shared = Arc::new(Semaphore::new(connections_max.saturating_sub(doors)));
    let kafka = kafka.map(|KafkaListener { listener, idle_timeout, .. }| {
        let counts = observed.kafka.clone();
        (
            listener,
            KafkaDoor::new(broker.clone(), counts, idle_timeout, Room::beside(&shared), stopping.clone()),
        )
    });
    let connections = Connections::new(
        move |peer| door.of(peer),
        Room::beside(&shared),
        stopping.clone(),
        observed.connections,
    );
    tokio::select! {
        () = stop.cancelled() => {}
        never = accept(&listener, &connections) => match never {},
        never = accept_kafka(kafka.as_ref()) => match never {},
    }
    drop(listener);
    let kafka = kafka.map(|(_, connections)| connections);
    // The broker first: whatever streams do about `stopping`, they find that nothing more is taken, and those who
    // ask for the health hear of it.
    broker.begin_stop();
    stopping.cancel();
    tokio::join!(connections.finish(STOP_DEADLINE, intake.produce_is_answered()), async {
        if let Some(kafka) = &kafka {
            kafka.finish(STOP_DEADLINE).await;
        }
    });
    Ok(broker.close().await?)
}

async fn accept_kafka(door: Option<&(TcpListener, KafkaDoor)>) -> Infallible {
    match door {
        Some((listener, connections)) => accept(listener, connections).await,
        None => pending().await,
    }
}
