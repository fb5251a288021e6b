//! The Kafka door, as clients see it: bytes on a socket, written and read by `kafka-protocol`.

mod admin;
mod client;
mod connection;
mod doors;
mod fetch;
mod groups;
mod list_offsets;
mod metadata;
mod produce;
mod topic_ids;
mod versions;
