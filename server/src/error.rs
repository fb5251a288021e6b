//! [`ServerError`], why a server does not start or does not stop cleanly.

use std::io;

use minikafka_storage::StorageError;

use crate::config::{Address, AddressError};

/// Why a server does not start, or does not stop cleanly. The message is one line.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// The address is none.
    #[error("address {text:?}: {source}")]
    Address {
        /// What was given.
        text: String,
        /// The rule.
        source: AddressError,
    },
    /// The port is taken or not allowed, or the name unknown.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// Where.
        address: Address,
        /// What the system says.
        source: io::Error,
    },
    /// The listener does not know its own address.
    #[error("cannot use the listener: {0}")]
    Listener(io::Error),
    /// The storage cannot be opened.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The broker cannot start or stop.
    #[error(transparent)]
    Broker(#[from] minikafka_broker::Error),
}
