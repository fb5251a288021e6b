//! Fetch: whole batches as they are stored, and waiting for more.
//!
//! A request is resolved, read once over all its partitions, and answered if that is enough, or if something is
//! wrong. Otherwise it waits: for a partition that has news, which is then read on from where it stood, until there
//! are `min_bytes` or the time is up. Nothing is read twice.
//!
//! From version 13 on topics have their ids instead of their names. One that was deleted and created anew has another
//! id, so a consumer finds out, and does not read on where it was in the old one.
//!
//! There are no fetch sessions: every reply has session id 0, as the protocol allows, and every request names all
//! its partitions.

mod part;
mod reading;
mod reply;

use std::time::Duration;

use kafka_protocol::{ResponseError, messages::FetchRequest};
use minikafka_broker::Error;
use tokio_util::sync::CancellationToken;

use self::reading::Reading;
use super::{
    door::Door,
    reply::Reply,
    request::Head,
    shape::{Field, I8, I32, I64, INTS, TEXT, UUID, array, structure},
};

pub(super) static SHAPE: &[Field] = &[
    I32.until(14),
    I32,
    I32,
    I32,
    I8,
    I32.since(7),
    I32.since(7),
    array(TOPIC),
    array(FORGOTTEN).since(7),
    TEXT.since(11),
    TEXT.since(12).tagged(0),
    structure(REPLICA).since(15).tagged(1),
];
static TOPIC: &[Field] = &[TEXT.until(12), UUID.since(13), array(PARTITION)];
static PARTITION: &[Field] = &[I32, I32.since(9), I64, I32.since(12), I64.since(5), I32];
static FORGOTTEN: &[Field] = &[TEXT.until(12), UUID.since(13), INTS];
static REPLICA: &[Field] = &[I32, I64];

/// The first version that names topics by their ids (KIP-516).
const IDS_SINCE: i16 = 13;

/// Most bytes of messages in a reply, but for a single batch that is larger.
const REPLY_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Bytes of replies that are read and not written yet, over all connections.
pub(super) const BUDGET_BYTES: usize = 16 * REPLY_BYTES_MAX;
/// Longest wait: a client that is gone without a word is not noticed before.
const WAIT_MAX: Duration = Duration::from_secs(300);
/// The first version whose clients know zstd (KIP-110).
const ZSTD_SINCE: i16 = 10;
/// The field of the session's epoch: no session, or a new one.
const SESSION_EPOCHS: [i32; 2] = [-1, 0];

/// Answers a request. `gone`: nobody waits any more.
pub(super) async fn fetch(door: &Door, head: Head, request: FetchRequest, gone: &CancellationToken) -> Reply {
    if head.version >= 7 && !SESSION_EPOCHS.contains(&request.session_epoch) {
        let code = door.counts.error(ResponseError::FetchSessionIdNotFound);
        return reply::refusal(head, code);
    }
    let wait = Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or(0)).min(WAIT_MAX);
    let aborted = reply::Aborted::of(request.isolation_level);
    let mut reading = Reading::new(door, head.version, request);
    reading.read(wait, gone).await;
    let (topics, room) = reading.finish();
    reply::encode(head, aborted, topics, room)
}

/// The offset behind damage, where reading goes on.
fn behind_damage(error: &Error) -> Option<minikafka_record::Offset> {
    match error {
        Error::Damaged { next, .. } => *next,
        _ => None,
    }
}
