//! [`Answers`]: replies on their way to a client, those that are ready at the same time by one call.
//!
//! ```text
//!   reply --> until(next): it is there ------> one more
//!                          it is not there --> all are written, while it is waited for
//! ```

use std::{future::poll_fn, io, pin::pin, task::Poll};

use bytes::Buf as _;
use futures_util::FutureExt as _;
use tokio::io::AsyncWrite;
use tracing::{Span, debug};

use super::{backlog::Backlog, replies::Replies, reply::Reply};

/// See the module's page.
pub(super) struct Answers<'a, W, T> {
    write: W,
    backlog: &'a Backlog<T>,
    replies: Replies,
    /// Whose replies they are.
    answered: Vec<Answered>,
}

/// A request that has its reply.
struct Answered {
    span: Span,
    bytes: usize,
    behind: usize,
}

impl<'a, W: AsyncWrite + Unpin, T> Answers<'a, W, T> {
    pub(super) fn new(write: W, backlog: &'a Backlog<T>) -> Answers<'a, W, T> {
        Answers { write, backlog, replies: Replies::default(), answered: Vec::new() }
    }

    /// A reply goes out with the next ones, or before anything is waited for, and leaves the backlog then.
    pub(super) fn push(&mut self, reply: Reply, span: Span, behind: usize) {
        self.answered.push(Answered { span, bytes: reply.remaining(), behind });
        self.replies.push(reply);
    }

    /// What comes of `next`. No reply waits for that: if it is not there already, they are written meanwhile.
    ///
    /// # Errors
    /// Those of [`Replies::write_out`].
    pub(super) async fn until<F: Future>(&mut self, next: F) -> io::Result<F::Output> {
        let mut next = pin!(next);
        if self.replies.is_empty() {
            return Ok(next.await);
        }
        if !self.replies.are_enough() {
            let now = poll_fn(|context| Poll::Ready(next.as_mut().poll(context))).await;
            if let Poll::Ready(now) = now {
                return Ok(now);
            }
        }
        // A client that takes nothing holds up nobody whom this one works for.
        let (_, next) = tokio::try_join!(self.write_out(), next.map(Ok))?;
        Ok(next)
    }

    /// Writes what is ready.
    ///
    /// # Errors
    /// Those of [`Replies::write_out`].
    pub(super) async fn write_out(&mut self) -> io::Result<()> {
        self.replies.write_out(&mut self.write).await?;
        for Answered { span, bytes, behind } in self.answered.drain(..) {
            span.in_scope(|| debug!(bytes, "replied"));
            self.backlog.done(behind);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, io::IoSlice, pin::Pin, rc::Rc, task::Context};

    use bytes::Bytes;
    use tokio::sync::oneshot;

    use super::*;

    /// Bytes of a length in front of a reply.
    const PREFIX_LEN: usize = 4;

    /// How many bytes each call brought to the client.
    #[derive(Clone, Debug, Default)]
    struct Calls(Rc<RefCell<Vec<usize>>>);

    impl AsyncWrite for Calls {
        fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
            unreachable!("there is a call for several pieces")
        }

        fn poll_write_vectored(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            slices: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            let bytes = slices.iter().map(|slice| slice.len()).sum();
            self.0.borrow_mut().push(bytes);
            Poll::Ready(Ok(bytes))
        }

        fn is_write_vectored(&self) -> bool {
            true
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    fn reply(len: usize) -> Reply {
        Reply::of_pieces([Bytes::from(vec![0; len - PREFIX_LEN])].into(), None)
    }

    #[tokio::test]
    async fn what_is_ready_goes_by_one_call_and_waits_for_nothing() {
        let (calls, backlog) = (Calls::default(), Backlog::<()>::new());
        (0..3).for_each(|_| backlog.begin());
        let mut answers = Answers::new(calls.clone(), &backlog);
        for len in [10, 20] {
            assert_eq!(answers.until(async { len }).await.unwrap(), len);
            answers.push(reply(len), Span::none(), 0);
        }
        assert!(calls.0.borrow().is_empty());
        // The third is not there, and when it comes it is alone.
        let (done, third) = oneshot::channel();
        let len = {
            let mut until = pin!(answers.until(third));
            assert!(until.as_mut().now_or_never().is_none());
            assert_eq!(calls.0.borrow()[..], [30]);
            done.send(40).unwrap();
            until.await.unwrap().unwrap()
        };
        answers.push(reply(len), Span::none(), 0);
        answers.write_out().await.unwrap();
        assert_eq!(calls.0.borrow()[..], [30, 40]);
    }

    #[tokio::test]
    async fn a_request_is_answered_when_its_reply_is_written() {
        let (calls, backlog) = (Calls::default(), Backlog::<()>::new());
        let room = || backlog.room(1).now_or_never().is_some();
        let mut answers = Answers::new(calls.clone(), &backlog);
        backlog.begin();
        backlog.add((), usize::MAX / 2);
        answers.push(reply(10), Span::none(), usize::MAX / 2);
        assert!(!room());
        answers.write_out().await.unwrap();
        assert!(room());
    }

    #[tokio::test]
    async fn a_large_reply_is_written_before_the_next_is_begun() {
        let (calls, backlog) = (Calls::default(), Backlog::<()>::new());
        backlog.begin();
        let mut answers = Answers::new(calls.clone(), &backlog);
        answers.push(reply(1 << 20), Span::none(), 0);
        let written = answers.until(async { true });
        assert!(written.await.unwrap());
        assert_eq!(calls.0.borrow()[..], [1 << 20]);
    }
}
