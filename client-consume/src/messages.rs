//! [`Messages`], a consumer as a stream.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use tokio_stream::Stream;

use crate::{ConsumeError, Consumer, GroupConsumer, Message};

/// What gives messages one by one.
pub trait Source {
    /// The next message. The ones before it are done with.
    fn poll_message(&mut self, context: &mut Context<'_>) -> Poll<Result<Message, ConsumeError>>;
}

impl Source for Consumer {
    fn poll_message(&mut self, context: &mut Context<'_>) -> Poll<Result<Message, ConsumeError>> {
        Consumer::poll_message(self, context)
    }
}

impl Source for GroupConsumer {
    fn poll_message(&mut self, context: &mut Context<'_>) -> Poll<Result<Message, ConsumeError>> {
        GroupConsumer::poll_message(self, context)
    }
}

impl<S: Source> Source for &mut S {
    fn poll_message(&mut self, context: &mut Context<'_>) -> Poll<Result<Message, ConsumeError>> {
        S::poll_message(self, context)
    }
}

/// The messages of a [`Consumer`] or a [`GroupConsumer`], which it owns or borrows; see [`Consumer::stream`] and
/// [`GroupConsumer::stream`].
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

impl<C: Source + Unpin> Stream for Messages<C> {
    type Item = Result<Message, ConsumeError>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let stream = self.get_mut();
        if stream.has_failed {
            return Poll::Ready(None);
        }
        stream.consumer.poll_message(context).map(|item| {
            stream.has_failed = item.as_ref().is_err_and(|error| !error.is_retryable());
            Some(item)
        })
    }
}
