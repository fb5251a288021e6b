//! Topics, partitions, retention: what every door calls.
//!
//! ```text
//!   door -> Partition::produce -> mailbox -> owner task -> Log::append -> ... disk ... -> completion
//!             validates, waits     bounded    one per       one entry of        the high watermark moves,
//!             for room             in bytes   partition     what waited         producers are answered,
//!                                                                               readers are woken
//!
//!   door -> Partition::fetch  -> in-memory tail, or the file on a bounded pool; at the end: waits to be woken
//! ```
//!
//! There is one [`Broker`] handle, cheap to clone, and one [`Partition`] handle for each partition. They know
//! no sockets and no wire types: doors convert at their edge. Offsets count from 0 here; doors that speak of
//! message numbers add 1.
//!
//! - **Invariant:** offsets are assigned by the owner task, in the order in which `produce` was called.
//! - **Invariant:** a reader sees nothing at or beyond the high watermark.
//! - **Invariant:** everything that waits holds permits for its bytes until it is answered.

mod admin;
mod append_clock;
mod broker;
mod config;
mod description;
mod error;
mod eviction;
mod fetch;
mod opening;
mod owner;
mod partition;
mod payload;
mod reply;
mod retention;
mod stats;
mod topic;
mod topic_name;
mod traffic;

pub use append_clock::{Clock, SystemClock};
pub use broker::Broker;
pub use config::{AutoCreate, BrokerConfig};
pub use description::{PartitionBounds, TopicDescription, TopicSummary};
pub use error::Error;
pub use fetch::Fetched;
pub use owner::{PendingProduce, Produced};
pub use partition::Partition;
pub use payload::{CheckedPayload, NewMessage, Payload};
pub use stats::{BrokerStats, Unready};
pub use topic_name::{TOPIC_NAME_LEN_MAX, TopicNameError, validate_topic_name};
pub use traffic::{TOPICS_COUNTED_MAX, TopicTraffic};
