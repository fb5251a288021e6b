//! [`Counts`]: what the Kafka door counts, for `/metrics`.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use kafka_protocol::ResponseError;

use super::{api::APIS, request::Offence};
use crate::observe::ConnectionCount;

/// Requests, errors and connections of the Kafka door.
#[derive(Debug)]
pub(crate) struct Counts {
    requests: [AtomicU64; APIS.len()],
    /// By the error that the client was told. There is a fixed number of them.
    errors: Mutex<BTreeMap<String, u64>>,
    pub(crate) connections: Arc<ConnectionCount>,
}

impl Default for Counts {
    fn default() -> Counts {
        let requests = [const { AtomicU64::new(0) }; APIS.len()];
        Counts { requests, errors: Mutex::default(), connections: Arc::default() }
    }
}

impl Counts {
    pub(super) fn request(&self, api: usize) {
        self.requests[api].fetch_add(1, Ordering::Relaxed);
    }

    /// Counts an error that a client is told, and returns its code.
    pub(super) fn error(&self, error: ResponseError) -> i16 {
        tracing::debug!(%error, "an error is told");
        self.count(error.to_string());
        error.code()
    }

    /// Counts a connection that was ended for what it sent.
    pub(super) fn offence(&self, offence: &Offence) {
        let reason = match offence {
            Offence::Unknown { .. } => "closed: unknown request",
            Offence::TooLarge { .. } => "closed: frame too large",
            Offence::Malformed { .. } | Offence::NoHeader => "closed: malformed request",
            Offence::TooSlow => "closed: request too slow",
        };
        self.count(reason.to_owned());
    }

    fn count(&self, what: String) {
        *self.errors.lock().unwrap_or_else(PoisonError::into_inner).entry(what).or_default() += 1;
    }

    /// Requests that were answered, by API.
    pub(crate) fn requests(&self) -> Vec<(&'static str, u64)> {
        let counts = self.requests.iter().map(|count| count.load(Ordering::Relaxed));
        APIS.iter().map(|api| api.name).zip(counts).collect()
    }

    /// Errors that clients were told, and connections that were ended for what they sent.
    pub(crate) fn errors(&self) -> BTreeMap<String, u64> {
        self.errors.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
