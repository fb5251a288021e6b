//! [`Frames`]: the requests of a connection, one after the other, within limits.
//!
//! ```text
//!   i32 length | that many bytes
//! ```
//!
//! Of a frame that is larger than [`FREE_BYTES`] the rest is read once so much has come, or only its head if this client
//! has sent as large a one before. Then it gets permits for its length out of a budget that all connections share (see
//! [`Incoming`]), and waits for nobody but its own client, who has to send it at a pace; so whoever waits for permits gets
//! them soon. Memory grows with the bytes that come, not with a length that is claimed, beyond what this client has sent before.
//!
//! A frame of more than [`LARGE_BYTES`] lies in memory of its own, so that a batch which is nearly all of it can be
//! stored where it lies.

use std::{sync::Arc, time::Duration};

use bytes::{BufMut, Bytes, BytesMut};
use minikafka_storage::Spares;
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
pub(crate) const MESSAGES_BYTES_MAX: usize = 100 * 1024 * 1024;
/// Largest request of names and numbers: a fetch of as many partitions as there may be by default has a tenth.
pub(super) const NAMES_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Largest request that says who somebody is: Kafka's `sasl.server.max.receive.size`.
const CREDENTIALS_BYTES_MAX: usize = 512 * 1024;
/// Bytes of each frame that need no permit: what most requests are.
const FREE_BYTES: usize = 16 * 1024;
/// A frame of more than so many bytes has memory of its own.
pub(super) const LARGE_BYTES: usize = 32 * 1024;
/// What clients usually send at most.
const USUAL_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Bytes of usual frames that are being received or handed over, over all connections.
const USUAL_BUDGET_BYTES: usize = 16 * USUAL_BYTES_MAX;
/// The same for larger ones.
const HUGE_BUDGET_BYTES: usize = 2 * MESSAGES_BYTES_MAX;
/// Time that a client has to send a small frame, or the first bytes of a larger one.
const RECEIVE_TIME: Duration = Duration::from_secs(30);
/// Time that a client has for so many bytes of a larger one: it keeps others waiting.
const PACE_TIME: Duration = Duration::from_secs(10);
const PACE_BYTES: usize = 640 * 1024;
/// Room for what a silent client may send next.
const READ_BYTES_MIN: usize = 4 * 1024;
/// Room for so many frames is made at once, so that those of a client who sends small ones share it.
const FRAMES_AT_ONCE: usize = 8;
/// Most room for what a client may send next, once it has sent something: a batch of 16 KiB, which Kafka's producers
/// send by default, and what is around it.
const NEXT_BYTES_MAX: usize = 20 * 1024;
/// Least room for it, and all that is read behind a large frame: the next one is like it, and the rest of that comes
/// straight into memory of its own.
const HEAD_BYTES: usize = READ_BYTES_MIN / FRAMES_AT_ONCE;
/// Large frames have room for so large a share more than they need, so that it is enough for the next one that is
/// nearly as large.
const SLACK_SHARE: usize = 64;
/// Room for the rest of a large frame grows by at most so much at once.
const READ_BYTES_MAX: usize = 1024 * 1024;
const PREFIX_LEN: usize = 4;
/// Enough of a frame to know what it is.
const KEY_LEN: usize = 2;

/// Room for the bytes of frames, over all connections. Usual ones do not wait for those that are huge.
#[derive(Debug)]
pub(super) struct Incoming {
    usual: Arc<Semaphore>,
    huge: Arc<Semaphore>,
    /// Memory of frames that were stored where they lay.
    spares: Spares,
}

impl Incoming {
    pub(super) fn new(spares: Spares) -> Incoming {
        let semaphore = |bytes| Arc::new(Semaphore::new(bytes));
        Incoming { usual: semaphore(USUAL_BUDGET_BYTES), huge: semaphore(HUGE_BUDGET_BYTES), spares }
    }

    /// Waits for permits for a frame of so many bytes.
    async fn permits(&self, len: usize) -> OwnedSemaphorePermit {
        let budget = if len <= USUAL_BYTES_MAX { &self.usual } else { &self.huge };
        // Lengths are limited to less than 32 bits.
        let acquired = budget.clone().acquire_many_owned(len as u32).await;
        acquired.expect("nobody closes this semaphore")
    }
}

/// Reads frames from a socket.
pub(super) struct Frames<R> {
    stream: R,
    buffer: BytesMut,
    /// The one before, of small frames or heads: by the time that it is needed, they are mostly gone, and its memory is
    /// used again.
    spare: BytesMut,
    incoming: Arc<Incoming>,
    /// Bytes of the largest frame so far: for as many there is room at once, because this client has sent them.
    proven: usize,
    /// Bytes of the last frame, its prefix included: the next one is often like it.
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
    pub(super) fn new(stream: R, incoming: Arc<Incoming>) -> Frames<R> {
        let (buffer, spare) = Default::default();
        Frames { stream, buffer, spare, incoming, proven: READ_BYTES_MIN, last: 0 }
    }

    /// Waits until a frame begins. `false`: the client has gone. Cancel safe.
    ///
    /// # Errors
    /// When the socket fails.
    pub(super) async fn begins(&mut self) -> std::io::Result<bool> {
        if !self.buffer.is_empty() {
            return Ok(true);
        }
        let (expected, limit) = match self.last > PREFIX_LEN + LARGE_BYTES {
            true => (HEAD_BYTES, HEAD_BYTES),
            false => (self.last.clamp(HEAD_BYTES, NEXT_BYTES_MAX), usize::MAX),
        };
        if self.buffer.capacity() < expected {
            let room = FRAMES_AT_ONCE * expected;
            // One that holds a frame or two would still be in use.
            if room <= NEXT_BYTES_MAX {
                std::mem::swap(&mut self.buffer, &mut self.spare);
            }
            self.buffer.reserve(room.min(NEXT_BYTES_MAX));
        }
        Ok(self.stream.read_buf(&mut (&mut self.buffer).limit(limit)).await? > 0)
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
        self.fill(PREFIX_LEN + KEY_LEN, RECEIVE_TIME).await?;
        Ok(self.checked_len()?)
    }

    /// The frame that has begun.
    ///
    /// # Errors
    /// When it is too large, too slow or not to be answered, or the client goes away in the middle.
    pub(super) async fn next(&mut self) -> Result<Frame, FrameError> {
        let (len, _) = self.announced().await?;
        // Of a client who has sent as much before nothing more is asked first.
        if len <= FREE_BYTES || len > self.proven {
            self.fill(PREFIX_LEN + len.min(FREE_BYTES), RECEIVE_TIME).await?;
        }
        let permit = match len > FREE_BYTES {
            true => Some(self.incoming.permits(len).await),
            false => None,
        };
        if len > LARGE_BYTES {
            self.set_apart(len);
        }
        self.fill(PREFIX_LEN + len, PACE_TIME).await?;
        self.proven = self.proven.max(len);
        self.last = PREFIX_LEN + len;
        let bytes = self.buffer.split_to(PREFIX_LEN + len).freeze().slice(PREFIX_LEN..);
        if len > LARGE_BYTES && self.buffer.is_empty() {
            // It is to be the only holder of its bytes.
            self.buffer = BytesMut::new();
        }
        Ok(Frame { bytes, permit })
    }

    /// Gives a large frame that has begun memory of its own: enough and hardly more, if this client has sent as large ones
    /// before.
    fn set_apart(&mut self, len: usize) {
        if self.buffer.len() >= PREFIX_LEN + len {
            return;
        }
        let room = PREFIX_LEN + len.min(self.proven.max(2 * self.buffer.len()));
        let spare = self.incoming.spares.take(room);
        let mut own = spare.unwrap_or_else(|| BytesMut::with_capacity(room + room / SLACK_SHARE));
        own.extend_from_slice(&self.buffer);
        self.buffer.clear();
        self.spare = std::mem::replace(&mut self.buffer, own);
    }

    /// The length of the frame, if such a request may have it.
    fn checked_len(&self) -> Result<(usize, Size), Offence> {
        let (prefix, rest) = self.buffer.split_first_chunk::<PREFIX_LEN>().ok_or(Offence::NoHeader)?;
        let len = i32::from_be_bytes(*prefix);
        let key = peek_key(rest).ok_or(Offence::NoHeader)?;
        let (max, size) = match Api::of(key) {
            Some((_, api)) => (bytes_max(api.size), api.size),
            // Before anything more of it is read.
            None => return Err(Offence::Unknown { key, version: -1 }),
        };
        match usize::try_from(len) {
            Ok(len) if len < KEY_LEN => Err(Offence::NoHeader),
            Ok(len) if len <= max => Ok((len, size)),
            _ => Err(Offence::TooLarge { len: len.into(), max }),
        }
    }

    /// Reads until the buffer holds `len` bytes. So long is waited for each [`PACE_BYTES`] of them.
    async fn fill(&mut self, len: usize, time: Duration) -> Result<(), FrameError> {
        if self.buffer.len() >= len {
            return Ok(());
        }
        let (mut deadline, mut expected) = (Instant::now() + time, self.buffer.len() + PACE_BYTES);
        while self.buffer.len() < len {
            if self.buffer.len() >= expected {
                (deadline, expected) = (Instant::now() + time, self.buffer.len() + PACE_BYTES);
            }
            let missing = len - self.buffer.len();
            // As much again as has come: a claim alone is worth little.
            let room = missing.min(READ_BYTES_MAX).min(self.buffer.len().max(self.proven));
            self.buffer.reserve(room);
            // What belongs to the next frame would be in the way of whoever keeps a large one as it lies.
            let limit = if len > LARGE_BYTES { missing } else { usize::MAX };
            let mut room = (&mut self.buffer).limit(limit);
            let read = timeout_at(deadline, self.stream.read_buf(&mut room));
            if read.await.map_err(|_| Offence::TooSlow)?? == 0 {
                return Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into());
            }
        }
        Ok(())
    }
}

/// Bytes of the largest request of a kind.
fn bytes_max(size: Size) -> usize {
    match size {
        Size::Messages => MESSAGES_BYTES_MAX,
        Size::Names => NAMES_BYTES_MAX,
        Size::Credentials => CREDENTIALS_BYTES_MAX,
    }
}

#[cfg(test)]
mod tests;
