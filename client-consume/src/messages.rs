//! [`Messages`], a consumer as a stream.

use std::{
    borrow::BorrowMut,
    pin::Pin,
    task::{Context, Poll},
};

use tokio_stream::Stream;

use crate::{ConsumeError, Consumer, Message};

/// The messages of a [`Consumer`], which it owns or borrows; see [`Consumer::stream`].
#[derive(Debug)]
#[must_use = "a stream does nothing unless it is polled"]
pub struct Messages<C> {
    consumer: C,
    /// After an error that polling again will not heal.
    has_failed: bool,
}

impl<C> Messages<C> {
    pub(crate) fn new(consumer: C) -> Messages<C> {
        Messages { consumer, has_failed: false }
    }

    /// The consumer, given back. Its position is behind the last message that the stream yielded.
    pub fn into_consumer(self) -> C {
        self.consumer
    }
}

impl<C: BorrowMut<Consumer> + Unpin> Stream for Messages<C> {
    type Item = Result<Message, ConsumeError>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let stream = self.get_mut();
        if stream.has_failed {
            return Poll::Ready(None);
        }
        stream.consumer.borrow_mut().poll_message(context).map(|item| {
            stream.has_failed = item.as_ref().is_err_and(|error| !error.is_retryable());
            Some(item)
        })
    }
}
