//! [`Replies`]: what is ready for a client, in order, and what is ready at the same time by one call.
//!
//! What one sync has made durable is acknowledged together: a producer with five batches under way gets several replies at
//! once. Written one by one each costs a call here, and wakes the client over there.
//!
//! ```text
//!   reply --> until(next): it is there ------> one more
//!                          it is not there --> all are written, while it is waited for
//!             enough of it -----------------> all are written, and then next begins
//! ```

use std::{
    collections::VecDeque,
    future::poll_fn,
    io::{self, IoSlice},
    pin::pin,
    task::Poll,
    time::Duration,
};

use bytes::Buf;
use futures_util::FutureExt as _;
use tokio::{
    io::{AsyncWrite, AsyncWriteExt as _},
    time::timeout,
};
use tracing::{Span, debug};

use super::{backlog::Backlog, reply::Reply};

/// So many bytes wait for no other reply, and no other is worked at before they are written: they are few calls as it is,
/// and memory that is held. Behind less, what a client asked for next goes on also while it takes nothing.
const GATHERED_BYTES: usize = 64 * 1024;
/// How long a client may take for so many bytes of its replies, which others may wait for the room of.
const WRITE_TIME: Duration = Duration::from_secs(30);
const WRITE_BYTES: usize = 2 * 1024 * 1024;

/// See the module's page.
pub(super) struct Replies<'a, W, T> {
    write: W,
    queue: Queue<'a, T>,
}

/// Replies that are not written yet, of which the first may be in part. One that is has left the backlog.
struct Queue<'a, T> {
    backlog: &'a Backlog<T>,
    waiting: VecDeque<Waiting>,
    /// Bytes of all.
    len: usize,
}

struct Waiting {
    reply: Reply,
    /// Of its request, and what that has in the backlog.
    span: Span,
    behind: usize,
    /// Bytes of the whole reply.
    len: usize,
}

impl<'a, W: AsyncWrite + Unpin, T> Replies<'a, W, T> {
    pub(super) fn new(write: W, backlog: &'a Backlog<T>) -> Replies<'a, W, T> {
        Replies { write, queue: Queue { backlog, waiting: VecDeque::new(), len: 0 } }
    }

    /// A reply goes out with the next ones, or while those are waited for. Its request leaves the backlog then.
    pub(super) fn push(&mut self, reply: Reply, span: Span, behind: usize) {
        let len = reply.remaining();
        self.queue.len += len;
        self.queue.waiting.push_back(Waiting { reply, span, behind, len });
    }

    /// What comes of `next`, which no reply waits for. `next` is polled whenever this is, as [`Backlog::next`] demands.
    ///
    /// # Errors
    /// Those of [`Replies::write_out`]. What `next` has begun is dropped then.
    pub(super) async fn until<F: Future>(&mut self, next: F) -> io::Result<F::Output> {
        if self.queue.len >= GATHERED_BYTES {
            self.write_out().await?;
        }
        let mut next = pin!(next);
        if self.queue.waiting.is_empty() {
            return Ok(next.await);
        }
        let now = poll_fn(|context| Poll::Ready(next.as_mut().poll(context))).await;
        if let Poll::Ready(now) = now {
            return Ok(now);
        }
        // It has begun, and may hold what others wait for: it goes on, however long the client takes.
        let ((), next) = tokio::try_join!(self.write_out(), next.map(Ok))?;
        Ok(next)
    }

    /// Writes what is ready.
    ///
    /// # Errors
    /// When the connection fails, or the client takes too little in the time that it has.
    pub(super) async fn write_out(&mut self) -> io::Result<()> {
        while self.queue.has_remaining() {
            let rest = self.queue.len.saturating_sub(WRITE_BYTES);
            let written = timeout(WRITE_TIME, self.write_down_to(rest)).await;
            written.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        }
        Ok(())
    }

    /// Writes until so many bytes are left.
    async fn write_down_to(&mut self, rest: usize) -> io::Result<()> {
        while self.queue.len > rest {
            if self.write.write_buf(&mut self.queue).await? == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
        }
        Ok(())
    }
}

impl<T> Buf for Queue<'_, T> {
    fn remaining(&self) -> usize {
        self.len
    }

    fn chunk(&self) -> &[u8] {
        self.waiting.front().map_or(&[], |first| first.reply.chunk())
    }

    fn advance(&mut self, mut count: usize) {
        self.len -= count;
        while let Some(first) = self.waiting.front_mut() {
            let of_it = count.min(first.reply.remaining());
            first.reply.advance(of_it);
            count -= of_it;
            if first.reply.has_remaining() {
                return;
            }
            let Waiting { span, behind, len, .. } = self.waiting.pop_front().expect("it is there");
            span.in_scope(|| debug!(bytes = len, "replied"));
            self.backlog.done(behind);
        }
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let each = self.waiting.iter();
        each.fold(0, |filled, waiting| filled + waiting.reply.chunks_vectored(&mut slices[filled..]))
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use tokio::{
        io::{AsyncReadExt as _, DuplexStream},
        sync::oneshot,
        time::sleep,
    };

    use super::*;

    /// Bytes of a length in front of a reply.
    const PREFIX_LEN: usize = 4;

    /// A reply of pieces that have so many bytes, each its own.
    fn reply(pieces: &[usize]) -> Reply {
        let piece = |(at, len): (usize, &usize)| Bytes::from(vec![at as u8 + 1; *len]);
        Reply::of_pieces(pieces.iter().enumerate().map(piece).collect(), None)
    }

    /// A queue of replies; each request has a byte in the backlog, which has no room beside them.
    fn queue<'a>(backlog: &'a Backlog<()>, replies: &[&[usize]]) -> Queue<'a, ()> {
        let mut all = Replies::new(tokio::io::sink(), backlog);
        for pieces in replies {
            backlog.begin();
            backlog.add((), 1);
            all.push(reply(pieces), Span::none(), 1);
        }
        all.queue
    }

    /// All bytes of a queue, taken so many at a time out of the slices that it shows.
    fn taken(mut queue: Queue<'_, ()>, step: usize) -> Vec<u8> {
        let mut taken = Vec::new();
        while queue.has_remaining() {
            let mut slices = [IoSlice::new(&[]); 3];
            let count = queue.chunks_vectored(&mut slices);
            let shown: Vec<u8> = slices[..count].iter().flat_map(|slice| slice.iter().copied()).collect();
            assert!(shown.starts_with(queue.chunk()) && !shown.is_empty());
            let step = step.min(shown.len());
            taken.extend_from_slice(&shown[..step]);
            queue.advance(step);
        }
        assert!(queue.waiting.is_empty() && queue.chunk().is_empty());
        taken
    }

    #[test]
    fn replies_are_one_sequence_of_bytes_however_it_is_taken() {
        let all: [&[usize]; 4] = [&[3, 2], &[], &[5], &[1, 1, 1, 1]];
        let backlog = Backlog::new();
        let whole = all.map(|pieces| taken(queue(&backlog, &[pieces]), usize::MAX)).concat();
        assert_eq!(whole.len(), 4 * PREFIX_LEN + 14);
        for step in 1..=whole.len() {
            let queue = queue(&backlog, &all);
            assert_eq!(queue.remaining(), whole.len());
            assert_eq!(taken(queue, step), whole, "{step} at a time");
        }
    }

    #[test]
    fn a_request_is_answered_when_its_own_reply_is_written() {
        let backlog = Backlog::new();
        // Alone a request may be as large as any.
        let is_empty = || backlog.room(usize::MAX / 2).now_or_never().is_some();
        let mut queue = queue(&backlog, &[&[6], &[6]]);
        let left: Vec<bool> = [9, 1, 9, 1]
            .map(|count| {
                queue.advance(count);
                is_empty()
            })
            .to_vec();
        assert_eq!(left, [false, false, false, true]);
    }

    /// A connection whose client has room for so many bytes that it has not read, and one reply on its way.
    fn conversation<'a>(
        room: usize,
        backlog: &'a Backlog<()>,
        reply: Reply,
    ) -> (DuplexStream, Replies<'a, DuplexStream, ()>) {
        let (client, server) = tokio::io::duplex(room);
        let mut replies = Replies::new(server, backlog);
        backlog.begin();
        replies.push(reply, Span::none(), 0);
        (client, replies)
    }

    /// What the client finds to read, without waiting.
    fn found(client: &mut DuplexStream) -> usize {
        client.read(&mut [0; 100]).now_or_never().map_or(0, Result::unwrap)
    }

    #[tokio::test]
    async fn what_is_there_goes_with_it_and_what_is_not_is_not_waited_for() {
        let backlog = Backlog::new();
        let (mut client, mut replies) = conversation(100, &backlog, reply(&[6]));
        replies.until(async {}).await.unwrap();
        assert_eq!(found(&mut client), 0);
        backlog.begin();
        replies.push(reply(&[16]), Span::none(), 0);
        let (done, third) = oneshot::channel();
        let mut until = pin!(replies.until(third));
        assert!(until.as_mut().now_or_never().is_none());
        assert_eq!(found(&mut client), 30);
        done.send(3).unwrap();
        assert_eq!(until.await.unwrap(), Ok(3));
    }

    #[tokio::test]
    async fn what_has_begun_goes_on_while_a_client_takes_nothing() {
        let backlog = Backlog::new();
        let (mut client, mut replies) = conversation(10, &backlog, reply(&[16]));
        let (done, next) = oneshot::channel();
        let (says, ended) = oneshot::channel();
        let next = async {
            let next = next.await.unwrap();
            says.send(()).unwrap();
            next
        };
        let mut until = pin!(replies.until(next));
        assert!(until.as_mut().now_or_never().is_none());
        done.send(3).unwrap();
        assert!(until.as_mut().now_or_never().is_none());
        assert_eq!(ended.await, Ok(()));
        assert_eq!(found(&mut client), 10);
        assert_eq!(until.await.unwrap(), 3);
        assert_eq!(found(&mut client), 10);
    }

    #[tokio::test]
    async fn nobody_is_waited_for_when_the_client_has_gone() {
        let backlog = Backlog::new();
        let (client, mut replies) = conversation(10, &backlog, reply(&[16]));
        drop(client);
        let error = replies.until(std::future::pending::<()>()).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    }

    #[tokio::test]
    async fn behind_a_large_reply_nothing_begins() {
        let backlog = Backlog::new();
        let (mut client, mut replies) = conversation(100, &backlog, reply(&[GATHERED_BYTES - PREFIX_LEN]));
        let (says, mut begun) = oneshot::channel();
        let mut until = pin!(replies.until(async { says.send(()) }));
        assert!(until.as_mut().now_or_never().is_none());
        assert!(begun.try_recv().is_err());
        let reading = async { client.read_exact(&mut vec![0; GATHERED_BYTES]).await.unwrap() };
        assert_eq!(tokio::join!(until, reading).0.unwrap(), Ok(()));
        assert_eq!(begun.try_recv(), Ok(()));
    }

    /// What comes of a reply to a client that takes so many bytes a second.
    async fn written(len: usize, per_second: usize) -> io::Result<()> {
        let backlog = Backlog::new();
        let (mut client, mut replies) = conversation(1024, &backlog, reply(&[len]));
        let taking = async {
            let mut taken = vec![0; per_second];
            loop {
                sleep(Duration::from_secs(1)).await;
                client.read_exact(&mut taken).await.unwrap();
            }
        };
        tokio::select! {
            written = replies.write_out() => written,
            () = taking => unreachable!(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_takes_replies_at_a_pace() {
        let pace = WRITE_BYTES / WRITE_TIME.as_secs() as usize;
        written(3 * WRITE_BYTES, pace + pace / 10).await.unwrap();
        let slow = written(3 * WRITE_BYTES, pace - pace / 10).await;
        assert_eq!(slow.unwrap_err().kind(), io::ErrorKind::TimedOut);
        // What is less has as much time.
        written(WRITE_BYTES / 10, pace / 9).await.unwrap();
    }
}
