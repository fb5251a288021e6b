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
mod tests {
    use super::*;

    fn incoming() -> Arc<Incoming> {
        Arc::new(Incoming::new(Spares::default()))
    }

    fn frames(bytes: &[u8]) -> Frames<&[u8]> {
        Frames::new(bytes, incoming())
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

    /// A client that sends small frames of one length, one at a time.
    struct SmallFrames {
        client: tokio::io::DuplexStream,
        frames: Frames<tokio::io::DuplexStream>,
    }

    impl SmallFrames {
        const LEN: usize = 1100;

        fn new() -> SmallFrames {
            let (client, server) = tokio::io::duplex(4096);
            SmallFrames { client, frames: Frames::new(server, incoming()) }
        }

        async fn next(&mut self) -> Bytes {
            let mut sent = [0; SmallFrames::LEN];
            let len = (sent.len() - PREFIX_LEN) as u32;
            sent[..PREFIX_LEN].copy_from_slice(&len.to_be_bytes());
            tokio::io::AsyncWriteExt::write_all(&mut self.client, &sent).await.unwrap();
            assert!(self.frames.begins().await.unwrap());
            self.frames.next().await.unwrap().bytes
        }
    }

    #[tokio::test]
    async fn small_frames_share_an_allocation() {
        let mut client = SmallFrames::new();
        let mut kept = Vec::new();
        for _ in 0..4 * FRAMES_AT_ONCE {
            kept.push(client.next().await);
        }
        let is_behind =
            |pair: &[Bytes]| pair[0].as_ptr_range().end.wrapping_add(PREFIX_LEN) == pair[1].as_ptr();
        let shared = kept.windows(2).filter(|pair| is_behind(pair)).count();
        assert!(shared >= 2 * FRAMES_AT_ONCE, "only {shared} of {} lie behind another", kept.len());
    }

    #[tokio::test]
    async fn memory_whose_frames_are_gone_is_used_again() {
        let mut client = SmallFrames::new();
        let mut places = std::collections::BTreeSet::new();
        let mut last = None;
        // What is given back to the allocator is somebody else's then.
        let mut others = Vec::new();
        for _ in 0..100 * FRAMES_AT_ONCE {
            others.push(Vec::<u8>::with_capacity(FRAMES_AT_ONCE * SmallFrames::LEN));
            let frame = client.next().await;
            places.insert(frame.as_ptr().addr());
            // Whoever sends one at a time has the last one under way when room is made for the next.
            last = Some(frame);
        }
        drop(last);
        assert!(places.len() <= 4 * FRAMES_AT_ONCE, "800 frames lay in {} places", places.len());
    }

    #[tokio::test]
    async fn a_large_frame_is_the_only_holder_of_its_bytes() {
        for len in [LARGE_BYTES + 1, 1_200_000, 3_500_000] {
            let large = [&(len as u32).to_be_bytes()[..], &vec![0; len]].concat();
            // Small ones before it, and the next ones right behind it.
            let sent = [&b"\0\0\0\x03\0\x12a"[..], &large, &large, &large].concat();
            let mut frames = frames(&sent);
            let mut spare = Vec::new();
            for wanted in [3, len, len, len] {
                assert!(frames.begins().await.unwrap());
                let bytes = frames.next().await.unwrap().bytes;
                assert_eq!(bytes.len(), wanted);
                spare.push(bytes.try_into_mut().map(|own| own.capacity() - own.len()));
            }
            // Of the first nobody knows whether all of it will come.
            assert!(spare[1].is_ok(), "{len}: {spare:?}");
            let is_slight =
                |spare: &Result<usize, Bytes>| spare.as_ref().is_ok_and(|spare| *spare <= len / 32);
            assert!(spare[2..].iter().all(is_slight), "{len}: {spare:?}");
        }
    }

    #[tokio::test]
    async fn behind_a_large_frame_no_more_than_a_head_is_read_before_there_is_room_for_the_next() {
        let large = [&100_000u32.to_be_bytes()[..], &vec![0; 100_000]].concat();
        let small = [&900u32.to_be_bytes()[..], &[0; 900]].concat();
        let sent = [&large[..], &large, &small, &small, &large].concat();
        let mut frames = frames(&sent);
        let (mut heads, mut lens) = (Vec::new(), Vec::new());
        while frames.begins().await.unwrap() {
            heads.push(frames.buffer.len());
            lens.push(frames.next().await.unwrap().bytes.len());
        }
        assert_eq!(lens, [100_000, 100_000, 900, 900, 100_000]);
        assert!(heads[1..3].iter().all(|head| *head <= HEAD_BYTES), "{heads:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_alone_is_enough_for_permits_from_who_has_sent_as_much_and_for_ten_seconds() {
        const LEN: usize = 100_000;
        let large = [&(LEN as u32).to_be_bytes()[..], &[0; LEN]].concat();
        for (before, permits, seconds) in [(0, 0, 30), (1, LEN, 10)] {
            let (mut client, server) = tokio::io::duplex(2 * LEN);
            let incoming = incoming();
            let mut frames = Frames::new(server, incoming.clone());
            for _ in 0..before {
                tokio::io::AsyncWriteExt::write_all(&mut client, &large).await.unwrap();
                frames.next().await.unwrap();
            }
            tokio::io::AsyncWriteExt::write_all(&mut client, &large[..HEAD_BYTES]).await.unwrap();
            assert!(frames.begins().await.unwrap());
            let started = Instant::now();
            let mut next = std::pin::pin!(frames.next());
            assert!(tokio::time::timeout(Duration::from_secs(1), &mut next).await.is_err());
            assert_eq!(incoming.usual.available_permits(), USUAL_BUDGET_BYTES - permits);
            let error = next.await.unwrap_err();
            assert!(matches!(error, FrameError::Offence(Offence::TooSlow)), "{error}");
            assert_eq!(started.elapsed().as_secs(), seconds);
        }
    }

    #[tokio::test]
    async fn who_has_sent_as_much_is_given_memory_that_a_large_frame_has_left() {
        const LEN: usize = 1_000_000;
        let spares = Spares::default();
        let incoming = Arc::new(Incoming::new(spares.clone()));
        let sent = [&(LEN as u32).to_be_bytes()[..], &[0; LEN]].concat().repeat(2);
        let mut frames = Frames::new(&sent[..], incoming);
        for is_proven in [false, true] {
            assert!(spares.take(LEN).is_none(), "nothing is kept for which nobody has asked");
            spares.keep(vec![1; LEN + LEN / 100].into());
            assert!(frames.begins().await.unwrap());
            let frame = frames.next().await.unwrap().bytes;
            assert!(frame.len() == LEN && frame.iter().all(|byte| *byte == 0));
            assert_eq!(spares.take(LEN).is_none(), is_proven);
        }
    }

    #[tokio::test]
    async fn a_frame_that_is_too_large_is_not_read() {
        let max = NAMES_BYTES_MAX;
        for len in [max as i64 + 1, i64::from(i32::MAX)] {
            let begin = [&(len as i32).to_be_bytes()[..], b"\0\x12"].concat();
            assert_eq!(offence(&begin).await, Offence::TooLarge { len, max });
        }
        let max_credentials = CREDENTIALS_BYTES_MAX;
        let begin = [&(max_credentials as u32 + 1).to_be_bytes()[..], b"\0\x24"].concat();
        let too_large = Offence::TooLarge { len: max_credentials as i64 + 1, max: max_credentials };
        assert_eq!(offence(&begin).await, too_large);
        assert_eq!(offence(b"\xff\xff\xff\xff\0\x12").await, Offence::TooLarge { len: -1, max });
        assert_eq!(offence(b"\0\0\0\x01\0\x12").await, Offence::NoHeader);
        assert_eq!(offence(b"GET / HTTP/1.1\r\n").await, Offence::Unknown { key: 0x2f20, version: -1 });
    }

    /// What comes of a frame of which so many bytes are sent, each piece so long after the one before.
    async fn paced(len: usize, pieces: &[(usize, u64)]) -> Result<Frame, FrameError> {
        let (mut client, server) = tokio::io::duplex(1024);
        let mut frames = Frames::new(server, incoming());
        let sending = async {
            let mut begin = (len as u32).to_be_bytes().to_vec();
            for (bytes, seconds) in pieces {
                begin.resize(begin.len() + bytes, 0);
                tokio::time::sleep(Duration::from_secs(*seconds)).await;
                tokio::io::AsyncWriteExt::write_all(&mut client, &begin).await.unwrap();
                begin.clear();
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = sending => unreachable!(),
            frame = async { assert!(frames.begins().await.unwrap()); frames.next().await } => frame,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_large_frame_comes_at_a_pace() {
        let second = PACE_TIME.as_secs();
        let keeps_pace =
            [(FREE_BYTES, 0), (PACE_BYTES, second - 1), (PACE_BYTES, second - 1), (PACE_BYTES, second - 1)];
        let len = FREE_BYTES + 3 * PACE_BYTES;
        assert_eq!(paced(len, &keeps_pace).await.unwrap().bytes.len(), len);
        let lags =
            [(FREE_BYTES, 0), (PACE_BYTES, second - 1), (PACE_BYTES / 2, second - 1), (len, second - 1)];
        assert!(matches!(paced(len, &lags).await, Err(FrameError::Offence(Offence::TooSlow))));
    }

    #[tokio::test]
    async fn who_claims_much_and_sends_little_keeps_nobody_waiting() {
        let incoming = incoming();
        let claim = [&(MESSAGES_BYTES_MAX as u32).to_be_bytes()[..], &[0; FREE_BYTES - 1]].concat();
        let mut silent = Vec::new();
        for _ in 0..100 {
            let (mut client, server) = tokio::io::duplex(2 * FREE_BYTES);
            tokio::io::AsyncWriteExt::write_all(&mut client, &claim).await.unwrap();
            let mut frames = Frames::new(server, incoming.clone());
            assert!(frames.begins().await.unwrap());
            let mut next = Box::pin(async move { frames.next().await });
            assert!(futures_util::poll!(&mut next).is_pending());
            silent.push((client, next));
        }
        assert_eq!(incoming.huge.available_permits(), HUGE_BUDGET_BYTES);
        // Those that have sent more take all there is for such, and not what there is for others.
        for (client, next) in &mut silent {
            tokio::io::AsyncWriteExt::write_all(client, &[0; 2]).await.unwrap();
            assert!(futures_util::poll!(next).is_pending());
        }
        assert_eq!(incoming.huge.available_permits(), 0);
        let usual = [&(USUAL_BYTES_MAX as u32).to_be_bytes()[..], &vec![0; USUAL_BYTES_MAX]].concat();
        let mut frames = Frames::new(&usual[..], incoming);
        assert!(frames.begins().await.unwrap());
        frames.next().await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_stops_in_the_middle_is_not_waited_for() {
        let (mut client, server) = tokio::io::duplex(64);
        let mut frames = Frames::new(server, incoming());
        tokio::io::AsyncWriteExt::write_all(&mut client, b"\0\0\0\x09\0\x12").await.unwrap();
        assert!(frames.begins().await.unwrap());
        let ended = frames.next().await;
        assert!(matches!(ended, Err(FrameError::Offence(Offence::TooSlow))), "{ended:?}");
    }
}
