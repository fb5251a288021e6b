//! [`Frames`]: the requests of a connection, one after the other, within limits.
//!
//! ```text
//!   i32 length | that many bytes
//! ```
//!
//! A frame that is larger than [`FREE_BYTES`] is read on once it has permits for its length out of a budget that all
//! connections share. Then it waits for nobody but its own client, who has to send it in time; so whoever waits for
//! permits gets them. Memory grows with the bytes that come, not with the length that is claimed.

use std::{sync::Arc, time::Duration};

use bytes::{BufMut, Bytes, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout_at},
};

use super::{
    api::{Api, Size},
    request::{Offence, peek_key},
};

/// Largest request that brings messages: as Kafka has it, because clients gather for many partitions.
pub(super) const MESSAGES_BYTES_MAX: usize = 100 * 1024 * 1024;
/// Largest request of names and numbers: a fetch of as many partitions as there may be by default has a tenth.
pub(super) const NAMES_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Bytes of each frame that need no permit: what most requests are.
const FREE_BYTES: usize = 16 * 1024;
/// Bytes of the frames that are being received or handed over, over all connections.
pub(super) const BUDGET_BYTES: usize = 2 * MESSAGES_BYTES_MAX;
/// Time that a client has to send a frame that it has begun: so long, and longer the larger it is.
const RECEIVE_TIME_MIN: Duration = Duration::from_secs(30);
/// The slowest client that is waited for.
const RECEIVE_BYTES_PER_SECOND: u64 = 64 * 1024;
/// Room for what a silent client may send next.
const READ_BYTES_MIN: usize = 4 * 1024;
/// Room for so many frames is made at once, so that those of a client who sends small ones share it.
const FRAMES_AT_ONCE: usize = 8;
/// Most room for what a client may send next, once it has sent something: a batch of 16 KiB, which Kafka's producers
/// send by default, and what is around it.
const NEXT_BYTES_MAX: usize = 20 * 1024;
/// Room for the rest of a large frame grows by at most so much at once.
const READ_BYTES_MAX: usize = 1024 * 1024;
const PREFIX_LEN: usize = 4;
/// Enough of a frame to know what it is.
const KEY_LEN: usize = 2;

/// Reads frames from a socket.
pub(super) struct Frames<R> {
    stream: R,
    buffer: BytesMut,
    budget: Arc<Semaphore>,
    /// Bytes of the largest frame so far: for as many there is room at once, because this client has sent them.
    proven: usize,
    /// Bytes of the last frame: the next one is often like it.
    last: usize,
}

/// A request as it came.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) bytes: Bytes,
    /// Its share of the budget, if it is large.
    pub(super) permit: Option<OwnedSemaphorePermit>,
}

/// Why there is no frame.
#[derive(Debug, thiserror::Error)]
pub(super) enum FrameError {
    #[error(transparent)]
    Offence(#[from] Offence),
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

impl<R: AsyncRead + Unpin> Frames<R> {
    pub(super) fn new(stream: R, budget: Arc<Semaphore>) -> Frames<R> {
        Frames { stream, buffer: BytesMut::new(), budget, proven: READ_BYTES_MIN, last: 0 }
    }

    /// Waits until a frame begins. `false`: the client has gone. Cancel safe.
    ///
    /// # Errors
    /// When the socket fails.
    pub(super) async fn begins(&mut self) -> std::io::Result<bool> {
        if !self.buffer.is_empty() {
            return Ok(true);
        }
        if self.buffer.capacity() < self.last.clamp(READ_BYTES_MIN / FRAMES_AT_ONCE, NEXT_BYTES_MAX) {
            self.buffer.reserve((FRAMES_AT_ONCE * self.last).clamp(READ_BYTES_MIN, NEXT_BYTES_MAX));
        }
        Ok(self.stream.read_buf(&mut self.buffer).await? > 0)
    }

    /// Waits until the client has gone, and meanwhile reads no more than a little. Cancel safe.
    ///
    /// # Errors
    /// When the socket fails.
    pub(super) async fn gone(&mut self) -> std::io::Result<()> {
        while self.buffer.len() < FREE_BYTES {
            self.buffer.reserve(READ_BYTES_MIN);
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Ok(());
            }
        }
        // It has sent so much that it is not known.
        std::future::pending().await
    }

    /// Length and kind of the frame that has begun.
    ///
    /// # Errors
    /// When it is too large or not to be answered, or the client goes away in the middle.
    pub(super) async fn announced(&mut self) -> Result<(usize, Size), FrameError> {
        self.fill(PREFIX_LEN + KEY_LEN, Instant::now() + RECEIVE_TIME_MIN).await?;
        Ok(self.checked_len()?)
    }

    /// The frame that has begun.
    ///
    /// # Errors
    /// When it is too large, too slow or not to be answered, or the client goes away in the middle.
    pub(super) async fn next(&mut self) -> Result<Frame, FrameError> {
        let (len, _) = self.announced().await?;
        let permit = match len > FREE_BYTES {
            true => Some(self.permits(len).await),
            false => None,
        };
        let time = RECEIVE_TIME_MIN + Duration::from_secs(len as u64 / RECEIVE_BYTES_PER_SECOND);
        // Waiting for permits was not the client's fault.
        self.fill(PREFIX_LEN + len, Instant::now() + time).await?;
        self.proven = self.proven.max(len);
        self.last = PREFIX_LEN + len;
        let bytes = self.buffer.split_to(PREFIX_LEN + len).freeze().slice(PREFIX_LEN..);
        if len > FREE_BYTES && self.buffer.is_empty() {
            // A large one is to be the only holder of its bytes.
            self.buffer = BytesMut::new();
        }
        Ok(Frame { bytes, permit })
    }

    /// The length of the frame, if such a request may have it.
    fn checked_len(&self) -> Result<(usize, Size), Offence> {
        let (prefix, rest) = self.buffer.split_first_chunk::<PREFIX_LEN>().ok_or(Offence::NoHeader)?;
        let len = i32::from_be_bytes(*prefix);
        let key = peek_key(rest).ok_or(Offence::NoHeader)?;
        let (max, size) = match Api::of(key) {
            Some((_, api)) if api.size == Size::Messages => (MESSAGES_BYTES_MAX, api.size),
            Some((_, api)) => (NAMES_BYTES_MAX, api.size),
            // Before anything more of it is read.
            None => return Err(Offence::Unknown { key, version: -1 }),
        };
        match usize::try_from(len) {
            Ok(len) if len < KEY_LEN => Err(Offence::NoHeader),
            Ok(len) if len <= max => Ok((len, size)),
            _ => Err(Offence::TooLarge { len: len.into(), max }),
        }
    }

    async fn permits(&self, len: usize) -> OwnedSemaphorePermit {
        // Lengths are limited to less than 32 bits.
        let acquired = self.budget.clone().acquire_many_owned(len as u32).await;
        acquired.expect("nobody closes this semaphore")
    }

    /// Reads until the buffer holds `len` bytes.
    async fn fill(&mut self, len: usize, deadline: Instant) -> Result<(), FrameError> {
        while self.buffer.len() < len {
            let missing = len - self.buffer.len();
            // As much again as has come: a claim alone is worth little.
            let room = missing.min(READ_BYTES_MAX).min(self.buffer.len().max(self.proven));
            self.buffer.reserve(room);
            // What belongs to the next frame would be in the way of whoever keeps a large one as it lies.
            let limit = if len > FREE_BYTES { missing } else { usize::MAX };
            let mut room = (&mut self.buffer).limit(limit);
            let read = timeout_at(deadline, self.stream.read_buf(&mut room));
            if read.await.map_err(|_| Offence::TooSlow)?? == 0 {
                return Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into());
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(bytes: &[u8]) -> Frames<&[u8]> {
        Frames::new(bytes, Arc::new(Semaphore::new(BUDGET_BYTES)))
    }

    async fn offence(bytes: &[u8]) -> Offence {
        match frames(bytes).next().await {
            Err(FrameError::Offence(offence)) => offence,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn frames_come_one_after_the_other() {
        let mut two = frames(b"\0\0\0\x03\0\x12a\0\0\0\x02\0\x12");
        for expected in [&b"\0\x12a"[..], b"\0\x12"] {
            assert!(two.begins().await.unwrap());
            assert_eq!(two.next().await.unwrap().bytes, expected);
        }
        assert!(!two.begins().await.unwrap());
    }

    #[tokio::test]
    async fn small_frames_share_an_allocation() {
        let (mut client, server) = tokio::io::duplex(4096);
        let mut frames = Frames::new(server, Arc::new(Semaphore::new(BUDGET_BYTES)));
        let mut sent = [0; 1100];
        let len = (sent.len() - PREFIX_LEN) as u32;
        sent[..PREFIX_LEN].copy_from_slice(&len.to_be_bytes());
        let mut kept = Vec::new();
        for _ in 0..4 * FRAMES_AT_ONCE {
            tokio::io::AsyncWriteExt::write_all(&mut client, &sent).await.unwrap();
            assert!(frames.begins().await.unwrap());
            kept.push(frames.next().await.unwrap().bytes);
        }
        let is_behind =
            |pair: &[Bytes]| pair[0].as_ptr_range().end.wrapping_add(PREFIX_LEN) == pair[1].as_ptr();
        let shared = kept.windows(2).filter(|pair| is_behind(pair)).count();
        assert!(shared >= 2 * FRAMES_AT_ONCE, "only {shared} of {} lie behind another", kept.len());
    }

    #[tokio::test]
    async fn a_large_frame_is_the_only_holder_of_its_bytes() {
        let large = [&(100_000_u32).to_be_bytes()[..], &[0; 100_000]].concat();
        // The next ones come right behind it.
        let sent = large.repeat(4);
        let mut frames = frames(&sent);
        for _ in 0..4 {
            assert!(frames.begins().await.unwrap());
            let bytes = frames.next().await.unwrap().bytes;
            assert_eq!(bytes.len(), 100_000);
            assert!(bytes.try_into_mut().is_ok());
        }
    }

    #[tokio::test]
    async fn a_frame_that_is_too_large_is_not_read() {
        let max = NAMES_BYTES_MAX;
        for len in [max as i64 + 1, i64::from(i32::MAX)] {
            let begin = [&(len as i32).to_be_bytes()[..], b"\0\x12"].concat();
            assert_eq!(offence(&begin).await, Offence::TooLarge { len, max });
        }
        assert_eq!(offence(b"\xff\xff\xff\xff\0\x12").await, Offence::TooLarge { len: -1, max });
        assert_eq!(offence(b"\0\0\0\x01\0\x12").await, Offence::NoHeader);
        assert_eq!(offence(b"GET / HTTP/1.1\r\n").await, Offence::Unknown { key: 0x2f20, version: -1 });
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_stops_in_the_middle_is_not_waited_for() {
        let (mut client, server) = tokio::io::duplex(64);
        let mut frames = Frames::new(server, Arc::new(Semaphore::new(BUDGET_BYTES)));
        tokio::io::AsyncWriteExt::write_all(&mut client, b"\0\0\0\x09\0\x12").await.unwrap();
        assert!(frames.begins().await.unwrap());
        let ended = frames.next().await;
        assert!(matches!(ended, Err(FrameError::Offence(Offence::TooSlow))), "{ended:?}");
    }
}
