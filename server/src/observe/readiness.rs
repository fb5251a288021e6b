//! [`Readiness`]: whether the server takes messages, and why not. One answer for `/readyz` and gRPC.

use axum::response::{IntoResponse, Response};
use http::{
    HeaderMap, StatusCode,
    header::{ACCEPT, CONTENT_TYPE},
};
use minikafka_broker::Unready;
use serde_json::json;

use super::Observed;

/// Why the server takes no messages; nothing: it takes them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Readiness {
    why: Vec<Why>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Why {
    /// Stable, for programs.
    reason: &'static str,
    /// For people.
    message: String,
}

impl Readiness {
    pub(super) fn is_ready(&self) -> bool {
        self.why.is_empty()
    }

    fn because(reason: &'static str, message: impl Into<String>) -> Readiness {
        Readiness { why: vec![Why { reason, message: message.into() }] }
    }
}

impl From<Unready> for Why {
    fn from(unready: Unready) -> Why {
        let (reason, message) = match unready {
            Unready::Stopping => ("STOPPING", "the server is stopping".to_owned()),
            Unready::Full(message) => ("STORAGE_FULL", message),
            Unready::StorageStopped => {
                ("STORAGE_STOPPED", "a thread of the storage has ended: nothing becomes durable".to_owned())
            }
        };
        Why { reason, message }
    }
}

impl Observed {
    /// Asks anew each time: room on a disk returns without a word.
    pub(super) async fn readiness(&self) -> Readiness {
        // Known without asking anybody.
        if self.broker.is_stopping() {
            return Readiness { why: vec![Unready::Stopping.into()] };
        }
        match self.ask(|broker| broker.unready()).await {
            Some(unready) => Readiness { why: unready.into_iter().map(Why::from).collect() },
            None => Readiness::because("STORAGE_SILENT", "the storage does not answer"),
        }
    }
}

/// As text, or as JSON for those who accept it; `good` is what it is called when nothing is wrong.
pub(super) fn answer(readiness: &Readiness, good: &'static str, headers: &HeaderMap) -> Response {
    let status = if readiness.is_ready() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let word = if readiness.is_ready() { good } else { "not ready" };
    let accepts = headers.get(ACCEPT).and_then(|accept| accept.to_str().ok());
    if accepts.is_some_and(|accept| accept.contains("application/json")) {
        let reasons = readiness.why.iter().map(|why| json!({"reason": why.reason, "message": why.message}));
        let body = json!({"status": word, "reasons": reasons.collect::<Vec<_>>()});
        return (status, [(CONTENT_TYPE, "application/json")], format!("{body}\n")).into_response();
    }
    let reasons = readiness.why.iter().map(|why| format!("{}: {}\n", why.reason, why.message));
    (status, format!("{word}\n{}", reasons.collect::<String>())).into_response()
}
