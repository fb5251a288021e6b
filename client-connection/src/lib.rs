//! How clients reach a server: what an address looks like, how a connection is opened and shared, how long to wait before
//! the next attempt.
//!
//! What the producer, the consumer and the command line share. It knows nothing of messages.

mod address;
mod backoff;
mod channel;
mod shared;

pub use address::{Address, AddressError};
pub use backoff::Backoff;
pub use channel::{
    Client, Connection, GRPC_MESSAGE_BYTES_MAX, GroupClient, causes, connect, connect_to_groups,
};
pub use shared::SharedConnection;
