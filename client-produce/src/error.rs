//! The errors of a producer. Their variants say what the caller can do.

use std::{fmt, sync::Arc, time::Duration};

use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::AddressError;

/// Why no connection could be opened.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The address is to be corrected.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// Nobody answers at the address; trying again may help.
    #[error("cannot reach {address}: {cause}")]
    Unreachable {
        /// The server, as host:port.
        address: String,
        /// What went wrong.
        cause: Arc<str>,
    },
}

impl ConnectError {
    /// Whether trying again may help.
    pub fn is_retryable(&self) -> bool {
        matches!(self, ConnectError::Unreachable { .. })
    }
}

/// Why a message has no number.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The server refused the message and will refuse it again: correct it. Not stored.
    #[error("refused: {0}")]
    Refused(Arc<Refusal>),
    /// The server kept asking to come back later until the delivery timeout was over: try again. Not stored.
    #[error("refused for {}: {refusal}", Seconds(*.waited))]
    Busy {
        /// What the server said last.
        refusal: Arc<Refusal>,
        /// The delivery timeout.
        waited: Duration,
    },
    /// The server could not be reached in the delivery timeout: try again. Not stored.
    #[error("not sent within {}: {cause}", Seconds(*.waited))]
    Unreachable {
        /// What went wrong last.
        cause: Arc<str>,
        /// The delivery timeout.
        waited: Duration,
    },
    /// The message waited its turn behind others until the delivery timeout was over: try again, or send more
    /// slowly. Not stored.
    #[error("not sent within {}: the server is too slow for what is sent", Seconds(*.waited))]
    Timeout {
        /// The delivery timeout.
        waited: Duration,
    },
    /// The message was sent and nobody knows what became of it: it may be stored or not. Sending it again may store it
    /// twice. An idempotent producer says so only when the delivery timeout is over, or the server has forgotten it.
    #[error("outcome unknown, the message may be stored or not: {cause}")]
    OutcomeUnknown {
        /// Why there is no reply.
        cause: Arc<str>,
    },
    /// The message is larger than any server takes. Not stored.
    #[error("message of {bytes} bytes is too large, the limit is {limit} bytes")]
    TooLarge {
        /// Bytes of the message, encoded.
        bytes: usize,
        /// What fits.
        limit: usize,
    },
    /// The producer was closed before the message was sent. Not stored.
    #[error("the producer is closed")]
    Closed,
}

impl SendError {
    /// Whether the same message, sent again, may be stored, and surely not twice.
    pub fn is_retryable(&self) -> bool {
        matches!(self, SendError::Busy { .. } | SendError::Unreachable { .. } | SendError::Timeout { .. })
    }
}

/// A time as people say it: "30 s", "0.5 s".
pub(crate) struct Seconds(pub(crate) Duration);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} s", self.0.as_secs_f64())
    }
}

/// What the server said when it refused a request.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}{}", reason_suffix(.reason))]
#[non_exhaustive]
pub struct Refusal {
    /// The kind of error, as gRPC names it.
    pub code: Code,
    /// Stable and for programs: `MESSAGE_TOO_LARGE`. Empty when the server gave none.
    pub reason: String,
    /// A sentence for people.
    pub message: String,
}

fn reason_suffix(reason: &str) -> String {
    if reason.is_empty() { String::new() } else { format!(" ({reason})") }
}

impl From<&Status> for Refusal {
    fn from(status: &Status) -> Refusal {
        let reason = status.get_details_error_info().map_or_else(String::new, |info| info.reason);
        Refusal { code: status.code(), reason, message: status.message().to_owned() }
    }
}

/// What [`Producer::flush`](crate::Producer::flush) found: not everything was stored.
#[derive(Clone, Debug, thiserror::Error)]
#[error("message {} of this producer: {error}", .position + 1)]
#[non_exhaustive]
pub struct FlushError {
    /// How many messages were enqueued before the first one that is not confirmed, since the producer began.
    pub position: u64,
    /// What happened to it.
    #[source]
    pub error: SendError,
}
