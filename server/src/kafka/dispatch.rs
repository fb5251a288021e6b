//! From a request to the work of answering it.

use std::{future::Future, pin::Pin, sync::Arc};

use kafka_protocol::{messages::ApiKey, protocol::Encodable};
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;
use tracing::Span;

use super::{
    admin, api_versions,
    door::Door,
    fetch, group, init_producer_id,
    large_reply::described,
    list_offsets, metadata, produce,
    reply::{Outcome, Reply},
    request::{Head, Offence, Read},
    sasl, trace,
};

/// What is left to do for a reply. It begins when the replies before it are known and all but little of them is written; a
/// produce has its place in the order of its partition already. It is dropped when the connection fails.
pub(super) type Work = Pin<Box<dyn Future<Output = Outcome> + Send>>;

/// Who asks.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    /// Where it comes from.
    pub(super) address: String,
    /// Cancelled when nobody waits for long polls any more.
    pub(super) gone: CancellationToken,
}

/// Begins what a request asks for. `span` is the request's, and is entered already. Says also how many bytes of memory the
/// work keeps until it is its turn, beside those of the request.
///
/// # Errors
/// When the body cannot be read.
pub(super) async fn begin(
    door: &Arc<Door>,
    read: Read,
    caller: &Caller,
    span: &Span,
) -> Result<(Work, usize), Offence> {
    let request = match read {
        Read::Request(request) => request,
        Read::UnknownApiVersions(head) => {
            let (head, response) = api_versions::refuse(door, head);
            return Ok((Box::pin(async move { outcome(head, &response) }), 0));
        }
    };
    let head = request.head;
    door.counts.request(request.api);
    let door = door.clone();
    let work: Work = match head.key {
        ApiKey::Produce => {
            let frame_len = request.frame_len;
            let request = request.decode()?;
            trace::produce(span, &request);
            return Ok(produce::begin(&door, head, frame_len, request).await);
        }
        ApiKey::Fetch => {
            let (request, gone) = (request.decode()?, caller.gone.clone());
            trace::fetch(span, &request);
            Box::pin(async move { Outcome::Reply(fetch::fetch(&door, head, request, &gone).await) })
        }
        ApiKey::ListOffsets => {
            described!(door, request, |door, request| list_offsets::list(door, head.version, request))
        }
        ApiKey::Metadata => {
            described!(door, request, |door, request| metadata::describe(door, head.version, request))
        }
        ApiKey::ApiVersions => {
            let request = request.decode()?;
            Box::pin(async move { outcome(head, &api_versions::list(&request)) })
        }
        ApiKey::SaslHandshake => {
            let response = sasl::handshake(&door);
            Box::pin(async move { outcome(head, &response) })
        }
        ApiKey::SaslAuthenticate => {
            let response = sasl::authenticate(&door);
            Box::pin(async move { outcome(head, &response) })
        }
        ApiKey::InitProducerId => {
            let request = request.decode()?;
            Box::pin(async move { outcome(head, &init_producer_id::init(&door, request).await) })
        }
        ApiKey::FindCoordinator
        | ApiKey::JoinGroup
        | ApiKey::SyncGroup
        | ApiKey::Heartbeat
        | ApiKey::LeaveGroup
        | ApiKey::OffsetCommit
        | ApiKey::OffsetFetch
        | ApiKey::OffsetDelete
        | ApiKey::ListGroups
        | ApiKey::DescribeGroups
        | ApiKey::ConsumerGroupHeartbeat
        | ApiKey::ConsumerGroupDescribe
        | ApiKey::DeleteGroups => group::begin(door, caller, request)?,
        _ => admin::begin(door, request)?,
    };
    Ok((work, 0))
}

/// The reply to a request.
pub(super) fn outcome(head: Head, response: &impl Encodable) -> Outcome {
    outcome_with_room(head, response, None)
}

/// The reply to a request, which gives `room` back when it is written.
pub(super) fn outcome_with_room(
    head: Head,
    response: &impl Encodable,
    room: Option<OwnedSemaphorePermit>,
) -> Outcome {
    match Reply::encode(head, response, room) {
        Ok(reply) => Outcome::Reply(reply),
        Err(error) => {
            tracing::error!(?head, %error, "a reply cannot be encoded");
            Outcome::Close
        }
    }
}
