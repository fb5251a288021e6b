//! [`Reply`]: what is written to the socket, in pieces, so that records are not copied into it.

use std::{collections::VecDeque, io::IoSlice};

use anyhow::Context as _;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::protocol::Encodable;
use tokio::sync::OwnedSemaphorePermit;

use super::request::Head;

/// Bytes of the length in front of a reply.
const PREFIX_LEN: usize = 4;

/// A reply with its length in front.
#[derive(Debug, Default)]
pub(super) struct Reply {
    /// Most replies are no more than this.
    first: Bytes,
    rest: VecDeque<Bytes>,
    len: usize,
    /// How long the first piece was before some of it was written.
    first_len: usize,
    /// Room for the bytes, given back piece by piece when they are written.
    room: Option<OwnedSemaphorePermit>,
}

/// What became of a request.
#[derive(Debug)]
pub(super) enum Outcome {
    Reply(Reply),
    /// The client wants no reply.
    Silence,
    /// The connection cannot go on.
    Close,
}

impl Reply {
    /// A reply to a request. `room` is given back when it is written.
    ///
    /// # Errors
    /// When a field has a value that the version cannot carry: a bug.
    pub(super) fn encode(
        head: Head,
        response: &impl Encodable,
        room: Option<OwnedSemaphorePermit>,
    ) -> anyhow::Result<Reply> {
        // Exactly as much as is needed: that is one allocation, and one piece to write.
        let len = PREFIX_LEN + Reply::header_len(head) + response.compute_size(head.version)?;
        let mut out = BytesMut::with_capacity(len);
        out.put_bytes(0, PREFIX_LEN);
        Reply::put_header(&mut out, head);
        response.encode(&mut out, head.version)?;
        let prefix = i32::try_from(out.len() - PREFIX_LEN).context("a reply is too large")?;
        out[..PREFIX_LEN].copy_from_slice(&prefix.to_be_bytes());
        let len = out.len();
        Ok(Reply { len, first_len: len, first: out.freeze(), rest: VecDeque::new(), room })
    }

    /// The header of a reply; the body is to follow.
    pub(super) fn begin(head: Head) -> BytesMut {
        let mut out = BytesMut::new();
        Reply::put_header(&mut out, head);
        out
    }

    fn put_header(out: &mut BytesMut, head: Head) {
        out.put_i32(head.correlation_id);
        if Reply::has_tags(head) {
            // None.
            out.put_u8(0);
        }
    }

    fn header_len(head: Head) -> usize {
        size_of_val(&head.correlation_id) + usize::from(Reply::has_tags(head))
    }

    fn has_tags(head: Head) -> bool {
        head.key.response_header_version(head.version) >= 1
    }

    /// A reply of pieces that begin with the header. `room` is given back as they are written.
    pub(super) fn of_pieces(pieces: VecDeque<Bytes>, room: Option<OwnedSemaphorePermit>) -> Reply {
        let len: usize = pieces.iter().map(Bytes::len).sum();
        let prefix = i32::try_from(len).expect("replies are limited to far less");
        let first = Bytes::copy_from_slice(&prefix.to_be_bytes());
        Reply { len: len + first.len(), first_len: first.len(), first, rest: pieces, room }
    }
}

impl Buf for Reply {
    fn remaining(&self) -> usize {
        self.len
    }

    fn chunk(&self) -> &[u8] {
        &self.first
    }

    fn advance(&mut self, mut count: usize) {
        self.len -= count;
        while count >= self.first.len() {
            count -= self.first.len();
            if let Some(room) = &mut self.room {
                drop(room.split(self.first_len.min(room.num_permits())));
            }
            let Some(next) = self.rest.pop_front() else {
                self.first = Bytes::new();
                self.room = None;
                return;
            };
            self.first_len = next.len();
            self.first = next;
        }
        self.first.advance(count);
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let pieces = std::iter::once(&self.first).chain(&self.rest);
        slices.iter_mut().zip(pieces).map(|(slice, piece)| *slice = IoSlice::new(piece)).count()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::sync::Semaphore;

    use super::*;

    #[test]
    fn room_is_given_back_as_pieces_are_written() {
        let semaphore = Arc::new(Semaphore::new(100));
        let room = semaphore.clone().try_acquire_many_owned(100).unwrap();
        let pieces = [40, 50].map(|len| Bytes::from(vec![0; len]));
        let mut reply = Reply::of_pieces(pieces.into(), Some(room));
        let mut left = Vec::new();
        for count in [PREFIX_LEN, 39, 1, 25, 25] {
            reply.advance(count);
            left.push(semaphore.available_permits());
        }
        assert_eq!(left, [PREFIX_LEN, PREFIX_LEN, 40 + PREFIX_LEN, 40 + PREFIX_LEN, 100]);
    }
}
