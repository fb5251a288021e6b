//! [`Replies`]: what is ready for the client, written by one call.
//!
//! What one sync has made durable is acknowledged together: a producer with five batches under way gets several replies at
//! once. Written one by one each costs a call here, and wakes the client over there.

use std::{collections::VecDeque, io, io::IoSlice, time::Duration};

use bytes::Buf;
use tokio::{
    io::{AsyncWrite, AsyncWriteExt as _},
    time::timeout,
};

use super::reply::Reply;

/// Replies of so many bytes wait for no other: they are few calls as it is, and memory that is held.
const GATHERED_BYTES: usize = 64 * 1024;
/// How long a client may take for so many bytes, which others may wait for the room of.
const WRITE_TIME: Duration = Duration::from_secs(30);
const WRITE_BYTES: usize = 2 * 1024 * 1024;

/// Replies in their order, of which the first may be written in part.
#[derive(Debug, Default)]
pub(super) struct Replies {
    waiting: VecDeque<Reply>,
    /// Their bytes.
    len: usize,
}

impl Replies {
    pub(super) fn push(&mut self, reply: Reply) {
        self.len += reply.remaining();
        self.waiting.push_back(reply);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// There is no use in waiting for another one.
    pub(super) fn are_enough(&self) -> bool {
        self.len >= GATHERED_BYTES
    }

    /// Writes all.
    ///
    /// # Errors
    /// When the connection fails, or the client takes too little of it in the time that it has.
    pub(super) async fn write_out(&mut self, write: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
        while self.has_remaining() {
            let rest = self.len.saturating_sub(WRITE_BYTES);
            let written = timeout(WRITE_TIME, self.write_down_to(write, rest)).await;
            written.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        }
        Ok(())
    }

    /// Writes until so many bytes are left.
    async fn write_down_to(&mut self, write: &mut (impl AsyncWrite + Unpin), rest: usize) -> io::Result<()> {
        while self.len > rest {
            if write.write_buf(self).await? == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
        }
        Ok(())
    }
}

impl Buf for Replies {
    fn remaining(&self) -> usize {
        self.len
    }

    fn chunk(&self) -> &[u8] {
        self.waiting.front().map_or(&[], Reply::chunk)
    }

    fn advance(&mut self, mut count: usize) {
        self.len -= count;
        while let Some(reply) = self.waiting.front_mut() {
            let of_it = count.min(reply.remaining());
            reply.advance(of_it);
            count -= of_it;
            if reply.has_remaining() {
                return;
            }
            self.waiting.pop_front();
        }
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        self.waiting.iter().fold(0, |filled, reply| filled + reply.chunks_vectored(&mut slices[filled..]))
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use tokio::{io::AsyncReadExt as _, time::sleep};

    use super::*;

    /// A reply of pieces that have so many bytes, each its own.
    fn reply(pieces: &[usize]) -> Reply {
        let piece = |(at, len): (usize, &usize)| Bytes::from(vec![at as u8 + 1; *len]);
        Reply::of_pieces(pieces.iter().enumerate().map(piece).collect(), None)
    }

    /// All bytes of a buffer, taken so many at a time out of the slices that it shows.
    fn taken(mut replies: Replies, step: usize) -> Vec<u8> {
        let mut taken = Vec::new();
        while replies.has_remaining() {
            let mut slices = [IoSlice::new(&[]); 3];
            let count = replies.chunks_vectored(&mut slices);
            let shown: Vec<u8> = slices[..count].iter().flat_map(|slice| slice.iter().copied()).collect();
            assert!(shown.starts_with(replies.chunk()) && !shown.is_empty());
            let step = step.min(shown.len());
            taken.extend_from_slice(&shown[..step]);
            replies.advance(step);
        }
        assert!(replies.is_empty() && replies.chunk().is_empty());
        taken
    }

    #[test]
    fn replies_are_one_sequence_of_bytes_however_it_is_taken() {
        let all: [&[usize]; 4] = [&[3, 2], &[], &[5], &[1, 1, 1, 1]];
        let each = |pieces: &[usize]| {
            let mut replies = Replies::default();
            replies.push(reply(pieces));
            taken(replies, usize::MAX)
        };
        let whole = all.map(each).concat();
        assert_eq!(whole.len(), 4 * 4 + 14);
        for step in 1..=whole.len() {
            let mut replies = Replies::default();
            all.iter().for_each(|pieces| replies.push(reply(pieces)));
            assert_eq!(replies.remaining(), whole.len());
            assert_eq!(taken(replies, step), whole, "{step} at a time");
        }
    }

    #[test]
    fn so_many_bytes_are_gathered() {
        let mut replies = Replies::default();
        replies.push(reply(&[GATHERED_BYTES - 8 - 4]));
        assert!(!replies.are_enough());
        replies.push(reply(&[4]));
        assert!(replies.are_enough());
    }

    /// What comes of a reply to a client that takes so many bytes a second.
    async fn written(len: usize, per_second: usize) -> io::Result<()> {
        let (mut client, mut server) = tokio::io::duplex(1024);
        let mut replies = Replies::default();
        replies.push(reply(&[len]));
        let taking = async {
            let mut taken = vec![0; per_second];
            loop {
                sleep(Duration::from_secs(1)).await;
                client.read_exact(&mut taken).await.unwrap();
            }
        };
        tokio::select! {
            written = replies.write_out(&mut server) => written,
            () = taking => unreachable!(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_takes_a_reply_at_a_pace() {
        let pace = WRITE_BYTES / WRITE_TIME.as_secs() as usize;
        written(3 * WRITE_BYTES, pace + pace / 10).await.unwrap();
        let slow = written(3 * WRITE_BYTES, pace - pace / 10).await;
        assert_eq!(slow.unwrap_err().kind(), io::ErrorKind::TimedOut);
        // What is less has as much time.
        written(WRITE_BYTES / 10, pace / 9).await.unwrap();
    }
}
