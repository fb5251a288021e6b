//! Replies that may be large although the request is small: descriptions of whatever there is.
//!
//! A client that asks for one and does not read it makes the server hold it for a while; many such clients must not take
//! all memory. So there is room for the bytes of such replies, apart from that for messages, which are not to wait for them. A
//! reply for which there is none is not held until there is: it is thrown away, and made again when its room has been found.

use kafka_protocol::protocol::Encodable;
use tokio::sync::OwnedSemaphorePermit;

use super::{dispatch, door::Door, reply::Outcome, request::Head};

/// A reply of so many bytes needs no room: a connection has as much for other things.
const SMALL_BYTES: usize = 64 * 1024;
/// Bytes of larger ones that are not written yet, over all connections: two of the largest that there can be.
pub(super) const BUDGET_BYTES: usize = 128 * 1024 * 1024;

/// The reply that `describe` makes of a request, once there is room for it.
pub(super) async fn outcome<Q: Clone, R: Encodable, F: Future<Output = R>>(
    door: &Door,
    head: Head,
    request: Q,
    describe: impl Fn(Q) -> F,
) -> Outcome {
    let mut found = None;
    loop {
        let bytes = {
            let response = describe(request.clone()).await;
            let bytes = response.compute_size(head.version).unwrap_or(0);
            if bytes <= SMALL_BYTES {
                return dispatch::outcome(head, &response);
            }
            if let Some(room) = enough(door, found.take(), bytes) {
                return dispatch::outcome_with_room(head, &response, Some(room));
            }
            bytes
        };
        tracing::debug!(bytes, "waits for the room of a large reply");
        found = door.descriptions.clone().acquire_many_owned(permits(bytes)).await.ok();
    }
}

/// Room for so many bytes: what was found before, or what there is at once.
fn enough(door: &Door, found: Option<OwnedSemaphorePermit>, bytes: usize) -> Option<OwnedSemaphorePermit> {
    let wanted = permits(bytes);
    found
        .filter(|room| room.num_permits() >= wanted as usize)
        .or_else(|| door.descriptions.clone().try_acquire_many_owned(wanted).ok())
}

/// What is larger than all there is takes all of it.
fn permits(bytes: usize) -> u32 {
    u32::try_from(bytes.min(BUDGET_BYTES)).unwrap_or(u32::MAX)
}
