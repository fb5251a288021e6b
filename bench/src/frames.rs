//! [`Frames`]: what comes over a socket, one frame of Kafka's protocol after the other.

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};

/// Bytes of the length that begins a frame.
const LEN_BYTES: usize = 4;
/// Room for whatever is there: a small frame takes one call, with its length and what follows it.
const ROOM: usize = 8 * 1024;

/// Reads frames, and of the socket no more often than it must.
#[derive(Debug)]
pub(crate) struct Frames<R> {
    from: R,
    bytes: BytesMut,
}

impl<R: AsyncRead + Unpin> Frames<R> {
    pub(crate) fn of(from: R) -> Frames<R> {
        Frames { from, bytes: BytesMut::new() }
    }

    /// The next frame without its length.
    ///
    /// # Errors
    /// When the other end has gone, or the socket has failed.
    pub(crate) async fn next(&mut self) -> anyhow::Result<Bytes> {
        let mut wanted = LEN_BYTES;
        loop {
            if let Some(&len) = self.bytes.first_chunk::<LEN_BYTES>() {
                wanted = LEN_BYTES + u32::from_be_bytes(len) as usize;
                if self.bytes.len() >= wanted {
                    let mut frame = self.bytes.split_to(wanted);
                    frame.advance(LEN_BYTES);
                    return Ok(frame.freeze());
                }
            }
            self.bytes.reserve((wanted - self.bytes.len()).max(ROOM));
            anyhow::ensure!(self.from.read_buf(&mut self.bytes).await? > 0, "the other end has gone");
        }
    }
}
