//! [`LargeReplies`]: replies without messages that are large although the request may be small.
//!
//! A client that asks for one and does not read it makes the server hold it for a while; many such clients must not take
//! all memory. So there is room for the bytes of such replies, apart from that for messages, which are not to wait for
//! them. A description for which there is none is not held until there is: it is thrown away, and made again when its room
//! has been found.

use std::{sync::Arc, time::Duration};

use kafka_protocol::protocol::Encodable;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use super::{dispatch, door::Door, reply::Outcome, request::Head};

/// A reply of so many bytes needs no room: a connection has as much for other things.
const SMALL_BYTES: usize = 64 * 1024;
/// The largest usual reply, such as the description of all partitions that a server has.
const USUAL_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Bytes of usual ones that are not written yet, over all connections, and the same for larger ones.
const USUAL_BUDGET_BYTES: usize = 64 * 1024 * 1024;
const HUGE_BUDGET_BYTES: usize = 64 * 1024 * 1024;
/// Longest wait for room, each time. Then the connection ends: what waits is memory, too.
const WAIT_MAX: Duration = Duration::from_secs(30);
/// A description has grown by less than this part when it is made again; otherwise it would wait anew, behind all others.
const GROWTH_PART: usize = 8;

/// The work of a request that is decoded and changes something: `$answer` is done once, and the client told of it.
macro_rules! told {
    ($door:ident, $request:ident, |$borrowed:ident, $decoded:ident| $answer:expr) => {{
        let head = $request.head;
        let $decoded = $request.decode()?;
        Box::pin(async move {
            let $borrowed = &*$door;
            let response = $answer.await;
            $crate::kafka::large_reply::tell($borrowed, head, &response).await
        })
    }};
}

/// The same for what can be described again.
macro_rules! described {
    ($door:ident, $request:ident, |$borrowed:ident, $decoded:ident| $description:expr) => {{
        let head = $request.head;
        let request = $request.decode()?;
        Box::pin(async move {
            let $borrowed = &*$door;
            $crate::kafka::large_reply::describe($borrowed, head, request, |$decoded| $description).await
        })
    }};
}

pub(super) use {described, told};

/// Room for the bytes of large replies, over all connections. Usual ones do not wait for those that are huge.
#[derive(Debug)]
pub(super) struct LargeReplies {
    usual: Arc<Semaphore>,
    huge: Arc<Semaphore>,
}

impl Default for LargeReplies {
    fn default() -> LargeReplies {
        let semaphore = |bytes| Arc::new(Semaphore::new(bytes));
        LargeReplies { usual: semaphore(USUAL_BUDGET_BYTES), huge: semaphore(HUGE_BUDGET_BYTES) }
    }
}

impl LargeReplies {
    /// Takes room for so many bytes, if it is there at once.
    fn try_take(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let (room, permits) = self.room(bytes);
        room.try_acquire_many_owned(permits).ok()
    }

    /// Takes room for so many bytes when it is there; `None`: not in time.
    async fn take(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let (room, permits) = self.room(bytes);
        tracing::debug!(bytes, available = room.available_permits(), "takes the room of a large reply");
        timeout(WAIT_MAX, room.acquire_many_owned(permits)).await.ok()?.ok()
    }

    /// Which room it is, and how much of it. What is larger than all there is takes all of it.
    fn room(&self, bytes: usize) -> (Arc<Semaphore>, u32) {
        let (room, budget) = match bytes <= USUAL_BYTES_MAX {
            true => (&self.usual, USUAL_BUDGET_BYTES),
            false => (&self.huge, HUGE_BUDGET_BYTES),
        };
        (room.clone(), u32::try_from(bytes.min(budget)).expect("a budget is less"))
    }
}

/// The reply that `describe` makes of a request, once there is room for it. It may be made several times, so what it changes
/// may be done again; errors that it tells of are counted each time.
pub(super) async fn describe<Q: Clone, R: Encodable, F: Future<Output = R>>(
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
            let is_enough =
                |room: &OwnedSemaphorePermit| room.num_permits() >= door.large_replies.room(bytes).1 as usize;
            let room = found.take().filter(is_enough).or_else(|| door.large_replies.try_take(bytes));
            if room.is_some() {
                return dispatch::outcome_with_room(head, &response, room);
            }
            bytes
        };
        found = door.large_replies.take(bytes + bytes / GROWTH_PART).await;
        if found.is_none() {
            return Outcome::Close;
        }
    }
}

/// A reply that was made once, because it tells of a change, and is kept until there is room for its bytes. What it is made
/// of is there anyhow, or in proportion to the request.
pub(super) async fn tell(door: &Door, head: Head, response: &impl Encodable) -> Outcome {
    let bytes = response.compute_size(head.version).unwrap_or(0);
    if bytes <= SMALL_BYTES {
        return dispatch::outcome(head, response);
    }
    match door.large_replies.take(bytes).await {
        None => Outcome::Close,
        room => dispatch::outcome_with_room(head, response, room),
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn usual_replies_do_not_wait_for_huge_ones_and_nobody_waits_for_ever() {
        let replies = LargeReplies::default();
        // Larger than all there is.
        let huge = replies.take(2 * HUGE_BUDGET_BYTES).await.unwrap();
        assert_eq!(replies.huge.available_permits(), 0);
        assert!(replies.try_take(USUAL_BYTES_MAX).is_some());
        let begin = Instant::now();
        assert!(replies.take(USUAL_BYTES_MAX + 1).await.is_none());
        assert!(begin.elapsed() >= WAIT_MAX, "{:?}", begin.elapsed());
        drop(huge);
        assert!(replies.try_take(USUAL_BYTES_MAX + 1).is_some());
    }
}
