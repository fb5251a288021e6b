//! [`Frames`]: what comes over a socket, one frame of Kafka's protocol after the other.

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};

/// Bytes of the length that begins a frame.
const PREFIX_LEN: usize = 4;
/// Room for a frame that has not begun: a small one takes one call, with its length and what follows it.
const ROOM: usize = 8 * 1024;

/// Reads frames, and of the socket no more often than it must.
#[derive(Debug)]
pub(crate) struct Frames<R> {
    stream: R,
    buffer: BytesMut,
}

impl<R: AsyncRead + Unpin> Frames<R> {
    pub(crate) fn new(stream: R) -> Frames<R> {
        Frames { stream, buffer: BytesMut::new() }
    }

    /// The next frame without its length.
    ///
    /// # Errors
    /// When the other end has gone, or the socket has failed.
    pub(crate) async fn next(&mut self) -> anyhow::Result<Bytes> {
        let mut room = ROOM;
        loop {
            if let Some(&len) = self.buffer.first_chunk::<PREFIX_LEN>() {
                let whole = PREFIX_LEN + u32::from_be_bytes(len) as usize;
                if self.buffer.len() >= whole {
                    let mut frame = self.buffer.split_to(whole);
                    frame.advance(PREFIX_LEN);
                    return Ok(frame.freeze());
                }
                room = whole - self.buffer.len();
            }
            self.buffer.reserve(room);
            anyhow::ensure!(self.stream.read_buf(&mut self.buffer).await? > 0, "the other end has gone");
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;

    fn frame(len: usize) -> Vec<u8> {
        [&(len as u32).to_be_bytes()[..], &vec![b'x'; len]].concat()
    }

    #[tokio::test]
    async fn frames_come_as_they_were_sent() -> anyhow::Result<()> {
        // The pipe takes as much at a time: several frames at once, or a part of one.
        for pipe in [3, 64, 1 << 20] {
            let lens = [1, 0, 57, ROOM, 3 * ROOM, 2];
            let sent: Vec<u8> = lens.into_iter().flat_map(frame).collect();
            let (mut write, read) = tokio::io::duplex(pipe);
            let writing = tokio::spawn(async move { write.write_all(&sent).await });
            let mut frames = Frames::new(read);
            for len in lens {
                assert_eq!(frames.next().await?, frame(len)[PREFIX_LEN..], "a pipe of {pipe} bytes");
            }
            writing.await??;
        }
        Ok(())
    }

    #[tokio::test]
    async fn half_a_frame_is_an_error() -> anyhow::Result<()> {
        let (mut write, read) = tokio::io::duplex(64);
        write.write_all(&frame(10)[..9]).await?;
        drop(write);
        let said = Frames::new(read).next().await.expect_err("the other end has gone").to_string();
        assert_eq!(said, "the other end has gone");
        Ok(())
    }
}
