//! [`Reply`]: what is written to the socket, in pieces, so that records are not copied into it.

use std::{collections::VecDeque, io::IoSlice};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::protocol::Encodable;
use tokio::sync::OwnedSemaphorePermit;

use super::request::Head;

/// A reply with its length in front.
#[derive(Debug, Default)]
pub(super) struct Reply {
    pieces: VecDeque<Bytes>,
    len: usize,
    /// Room for the bytes, given back when they are written.
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
    /// A reply to a request.
    ///
    /// # Errors
    /// When a field has a value that the version cannot carry: a bug.
    pub(super) fn encode(head: Head, response: &impl Encodable) -> anyhow::Result<Reply> {
        let mut out = Reply::begin(head);
        out.reserve(response.compute_size(head.version)?);
        response.encode(&mut out, head.version)?;
        Ok(Reply::of_pieces([out.freeze()].into(), None))
    }

    /// The header of a reply; the body is to follow.
    pub(super) fn begin(head: Head) -> BytesMut {
        let mut out = BytesMut::new();
        out.put_i32(head.correlation_id);
        if head.key.response_header_version(head.version) >= 1 {
            // No tagged fields.
            out.put_u8(0);
        }
        out
    }

    /// A reply of pieces that begin with the header. `room` is given back when they are written.
    pub(super) fn of_pieces(mut pieces: VecDeque<Bytes>, room: Option<OwnedSemaphorePermit>) -> Reply {
        let len: usize = pieces.iter().map(Bytes::len).sum();
        let prefix = i32::try_from(len).expect("replies are limited to far less");
        pieces.push_front(Bytes::copy_from_slice(&prefix.to_be_bytes()));
        Reply { pieces, len: len + size_of_val(&prefix), room }
    }
}

impl Buf for Reply {
    fn remaining(&self) -> usize {
        self.len
    }

    fn chunk(&self) -> &[u8] {
        self.pieces.front().map_or(&[], |piece| piece)
    }

    fn advance(&mut self, mut count: usize) {
        self.len -= count;
        while let Some(first) = self.pieces.front_mut() {
            if count < first.len() {
                first.advance(count);
                break;
            }
            count -= first.len();
            self.pieces.pop_front();
        }
        if self.pieces.is_empty() {
            self.room = None;
        }
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let count = slices.len().min(self.pieces.len());
        for (slice, piece) in slices.iter_mut().zip(&self.pieces) {
            *slice = IoSlice::new(piece);
        }
        count
    }
}
