//! The server through its public face: gRPC, HTTP and the binary.

// In a test, what must not fail and does is the result.
#![allow(clippy::unwrap_used)]

mod bad_input;
mod binary;
mod compression;
mod damage;
mod disk;
mod disk_trouble;
mod fire;
mod group_kills;
mod group_member;
mod groups;
mod kafka;
mod kills;
mod moody_disk;
mod names;
mod observe;
mod original;
mod poll;
mod predecessors;
mod produce;
mod produce_stream;
mod producers;
mod read;
mod revocations;
mod space;
mod stop;
mod subscribe;
mod support;
mod tools;
mod topics;
