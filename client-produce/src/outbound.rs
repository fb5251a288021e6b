//! [`Outbound`], the requests of one stream as tonic takes them.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use minikafka_proto::v1::ProduceStreamRequest;
use tokio_stream::Stream;

use crate::{
    queue::{Queue, SessionOver},
    state::SessionId,
};

/// Takes each request from the queue at the moment when tonic encodes it: what was not taken was surely not
/// written, and is safe to send on the next stream.
#[derive(Debug)]
pub(crate) struct Outbound {
    queue: Arc<Queue>,
    session: SessionId,
}

impl Outbound {
    pub(crate) fn new(queue: Arc<Queue>) -> Outbound {
        let session = queue.begin_session();
        Outbound { queue, session }
    }
}

impl Stream for Outbound {
    type Item = ProduceStreamRequest;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match self.queue.next_request(self.session, context.waker()) {
            Ok(Some(request)) => Poll::Ready(Some(request)),
            Ok(None) => Poll::Pending,
            Err(SessionOver) => Poll::Ready(None),
        }
    }
}
