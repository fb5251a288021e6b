//! The Kafka door: unmodified Kafka clients.
//!
//! ```text
//!   socket -> frames -----> request -----> dispatch -----------> pending replies -> socket
//!             limits on     header, shape  one file for each     in the order       in pieces, records are
//!             each and all  of the body    API; produce begins   of the requests    not copied; what is ready
//!                                          at once                                  goes by one call
//! ```
//!
//! Messages are those of the crate `kafka-protocol`; what is ours is the framing, the check of a frame before it is
//! decoded (`shape`), the reply to a fetch (`fetch/reply`), the span of each request (`trace`), and what it all means. Which requests are answered, in
//! which versions, is one table: `api`. What an error means is another: `errors`. Offsets are the broker's own.
//!
//! A new API is a file with its `SHAPE` and what it does, a row in `api`, an arm in `dispatch` and a row in
//! `docs/kafka.md`; tests compare.
//!
//! - **Invariant:** replies go out in the order of the requests.
//! - **Invariant:** batches go to the broker and to consumers as they are: nothing is recompressed.
//! - **Invariant:** nothing is allocated by what a frame claims, beyond what its client has sent before.
//! - **Invariant:** what a client does wrong ends its own connection at most.

mod admin;
mod api;
mod api_versions;
mod backlog;
mod connection;
mod counts;
mod dispatch;
mod door;
mod endpoint;
mod errors;
mod fetch;
mod frames;
mod group;
#[cfg(test)]
mod hostile;
mod init_producer_id;
mod large_reply;
mod list_offsets;
mod metadata;
mod produce;
mod rarely;
mod refused;
mod replies;
mod reply;
mod request;
mod sasl;
mod shape;
mod topic_name;
mod trace;

pub(crate) use counts::Counts;
pub(crate) use door::KafkaDoor;
pub(crate) use endpoint::endpoint;
pub(crate) use frames::MESSAGES_BYTES_MAX;
