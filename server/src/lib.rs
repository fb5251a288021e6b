//! The server of MiniKafka: its doors, its configuration, and [`Server`], which can be embedded.
//!
//! ```text
//!   socket -> accept -> kafka                   unmodified Kafka clients, on a port of their own
//!   socket -> accept -> connection -> door ---> grpc::v1        the API of today
//!             bounded   HTTP/1 and    by path   grpc::original  the service of the first MiniKafka
//!                       HTTP/2                  health, reflection
//!                                               http            a word for browsers
//!                                               observe         /metrics, /healthz, /readyz
//!                                                  |
//!                                                  v
//!                                               Broker
//! ```
//!
//! A door turns requests into calls of the broker and answers into replies, and holds nothing itself. Doors
//! do not call each other. What an error means in gRPC stands in one table, `grpc/refusal.rs`.
//!
//! # Stopping
//!
//! The listener is closed, the broker takes nothing new, what it has taken is made durable and answered,
//! streams end with a status, connections are told to go away and have [`STOP_DEADLINE`] to do so; those that
//! only read are cut a moment after the last produce call is answered. Then the storage is closed.
//!
//! **Invariant:** a stop, graceful or not, loses nothing that was acknowledged as being on disk.

mod accept;
mod builder;
pub mod config;
mod connection;
mod door;
mod error;
mod grpc;
mod http;
mod kafka;
mod linger;
mod observe;
mod open_files;
mod opening;
mod room;
mod router;
mod server;

pub use builder::Builder;
pub use error::ServerError;
pub use open_files::{connections_max, raise_open_files};
pub use server::{STOP_DEADLINE, Server};
