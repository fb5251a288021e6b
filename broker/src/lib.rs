//! Topics, partitions, producers, retention, consumer groups: what every door calls.
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
//! - **Invariant:** a batch of an idempotent producer is stored once, however often it is sent.
//! - **Invariant:** everything that waits holds permits for its bytes until it is answered.

mod admin;
mod append_clock;
mod broker;
mod cluster_id;
mod config;
mod description;
mod doubt;
mod error;
mod eviction;
mod fetch;
mod group;
pub mod machine;
mod metadata;
mod opening;
mod owner;
mod partition;
mod payload;
mod placement;
mod producers;
mod record_place;
mod reopening;
mod reply;
mod retention;
mod settings;
mod stats;
mod terms;
mod topic;
mod topic_name;
mod traffic;

pub use append_clock::{AppendClock, Clock, SystemClock};
pub use broker::Broker;
pub use cluster_id::ClusterId;
pub use config::{AutoCreate, BrokerConfig};
pub use description::{PartitionBounds, TopicDescription, TopicSummary};
pub use error::Error;
pub use fetch::Fetched;
pub use group::{
    Assignment, ClassicAssignment, ClassicDescription, ClassicJoin, ClassicJoined, ClassicLeaver,
    ClassicMember, ClassicMemberDescription, ClassicPeer, ClassicProtocol, ClassicState, ClassicSummary,
    ClassicSync, ClassicSynced, GroupDescription, GroupError, GroupJoin, GroupLag, GroupPlace, GroupState,
    GroupSummary, HEARTBEAT_INTERVAL, HeartbeatReply, Lag, Leave, MEMBER_SESSION_TIMEOUT, MemberDescription,
    MemberHeartbeat, Membership, Newcomers, PartitionLag, PositionToStore, PositionsBy, ReturningMember,
    SeekMode, SeekTo, SoughtPosition, StoredPosition, TopicPartition,
};
pub use owner::{Origin, PendingProduce, Produced};
pub use partition::Partition;
pub use payload::{CheckedPayload, NewMessage, Payload};
pub use placement::{Endpoint, Node, NodeId, Placement};
pub use producers::{ProducerDescription, ProducerIdentity};
pub use record_place::RecordPlace;
pub use settings::{Effective, Limit, SettingSource, TopicChange, TopicSetting, TopicSettings};
pub use stats::{BrokerStats, Unready};
pub use terms::TermEnd;
pub use topic_name::{TOPIC_NAME_LEN_MAX, TopicNameError, validate_topic_name};
pub use traffic::{TOPICS_COUNTED_MAX, TopicTraffic};
