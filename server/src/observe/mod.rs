//! What the server says about itself over HTTP: `/metrics`, `/healthz`, `/readyz`, and the gRPC health service.
//!
//! ```text
//!   /metrics ---> Observed::scrape --> metrics: families, encoded from
//!                                        BrokerStats (and StorageStats in it)   counted below, by plain atomics
//!                                        Traffic of the door                    connections, refusals
//!                                        process                                from /proc
//!                                        lag                                    positions of groups, asked for each time
//!   /readyz, grpc.health.v1.Health --> readiness: one answer for both
//! ```
//!
//! Storage and broker count for themselves and know nothing of Prometheus; a scrape asks them and translates.
//! There is no global recorder: two servers in one process do not count into each other's figures.
//!
//! A new family is a function in `metrics`, called where the others are, and a row in `docs/metrics.md`; a test
//! compares the two.

mod health;
mod lag;
mod metrics;
mod page;
mod process;
mod readiness;
mod refusals;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use axum::{
    Router,
    extract::State,
    response::{IntoResponse, Response},
    routing::get,
};
use http::{HeaderMap, StatusCode, header::CONTENT_TYPE};
use minikafka_broker::Broker;
use tokio::{sync::Semaphore, task::spawn_blocking, time::timeout};

use self::readiness::Readiness;
pub(crate) use self::{
    health::health_server,
    refusals::{Refusals, Watched},
};
use crate::kafka::Counts;

/// Threads that may ask the broker and the system at the same time. A disk that does not answer keeps them.
const ASKING_MAX: usize = 4;
/// How long they have. A probe that waits longer gives up, and then says less than "the storage is silent".
const ASK_TIMEOUT: Duration = Duration::from_secs(2);
/// Version of the format that Prometheus reads.
const METRICS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What is observed, and what the doors count. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Observed {
    broker: Broker,
    pub(crate) refusals: Arc<Refusals>,
    pub(crate) connections: Arc<ConnectionCount>,
    connections_max: usize,
    pub(crate) kafka: Arc<Counts>,
    started: SystemTime,
    asking: Arc<Semaphore>,
}

impl Observed {
    /// Of a server that takes at most so many connections.
    pub(crate) fn new(broker: Broker, connections_max: usize) -> Observed {
        Observed {
            broker,
            refusals: Arc::default(),
            connections: Arc::default(),
            connections_max,
            kafka: Arc::default(),
            started: SystemTime::now(),
            asking: Arc::new(Semaphore::new(ASKING_MAX)),
        }
    }

    /// Asks the broker something that may block. `None` when there is no answer in time.
    async fn ask<T: Send + 'static>(&self, ask: impl FnOnce(&Broker) -> T + Send + 'static) -> Option<T> {
        let answer = async {
            let turn = self.asking.clone().acquire_owned().await.ok()?;
            let broker = self.broker.clone();
            let asked = spawn_blocking(move || {
                let answer = ask(&broker);
                drop(turn);
                answer
            });
            asked.await.ok()
        };
        timeout(ASK_TIMEOUT, answer).await.ok().flatten()
    }
}

/// What it says over HTTP.
pub(crate) fn pages(observed: Observed) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .with_state(observed)
}

/// `GET /metrics`: everything, in the text format of Prometheus.
async fn metrics(State(observed): State<Observed>) -> Response {
    match observed.scrape().await {
        Some(text) => ([(CONTENT_TYPE, METRICS_TYPE)], text).into_response(),
        None => (StatusCode::SERVICE_UNAVAILABLE, "the storage does not answer\n").into_response(),
    }
}

/// `GET /healthz`: the process serves, whatever its disk does.
async fn healthz(headers: HeaderMap) -> Response {
    readiness::answer(&Readiness::default(), "serving", &headers)
}

/// `GET /readyz`: it takes messages, or why not.
async fn readyz(State(observed): State<Observed>, headers: HeaderMap) -> Response {
    readiness::answer(&observed.readiness().await, "ready", &headers)
}

/// The connections of a server.
#[derive(Debug, Default)]
pub(crate) struct ConnectionCount {
    open: AtomicU64,
    accepted: AtomicU64,
}

impl ConnectionCount {
    /// Those that are open, and all there ever were.
    pub(crate) fn snapshot(&self) -> (u64, u64) {
        (self.open.load(Ordering::Relaxed), self.accepted.load(Ordering::Relaxed))
    }

    /// One more, until what is returned is dropped.
    pub(crate) fn open(self: &Arc<Self>) -> OpenConnection {
        self.open.fetch_add(1, Ordering::Relaxed);
        self.accepted.fetch_add(1, Ordering::Relaxed);
        OpenConnection(self.clone())
    }
}

/// Counts as an open connection.
#[derive(Debug)]
pub(crate) struct OpenConnection(Arc<ConnectionCount>);

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}
