//! The gRPC door: the API of today ([`V1`]) and the service of the first MiniKafka ([`Original`]).
//!
//! What each call promises stands beside it in the `.proto` files. Numbers are counted from 1 out there and
//! become offsets here, at the edge; errors become statuses in one table, `refusal.rs`.

mod backlog;
mod ending;
mod framing;
mod group_join;
mod groups;
mod intake;
mod message;
mod original;
mod page;
mod poll;
mod position;
mod produce;
mod produce_stream;
mod producers;
mod read;
mod reader;
mod refusal;
mod settings;
mod subscribe;
mod topics;
mod turns;
mod v1;

pub(crate) use ending::end_when_stopping;
pub(crate) use groups::Groups;
pub(crate) use intake::{Admitted, Intake};
pub(crate) use original::Original;
pub(crate) use refusal::{explain_too_large, request_bytes_max};
pub(crate) use v1::V1;

/// What the default client of every language takes in one message.
const CLIENT_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Most bytes of messages in a reply: what a default client takes, less the other fields of the reply.
const REPLY_BYTES_MAX: usize = CLIENT_BYTES_MAX - 1024;
