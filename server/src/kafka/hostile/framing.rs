//! However a stream of frames is cut into pieces on its way, the same frames come out of it.

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use minikafka_storage::Spares;
use proptest::{collection::vec, prelude::*};
use tokio::io::{AsyncWriteExt, duplex};

use super::super::frames::{Frames, Incoming, LARGE_BYTES};

/// Bytes that a pipe holds: less than a large frame.
const PIPE_BYTES: usize = 20_000;

/// The length of a frame, of every kind there is: its key at least, around all that share memory, alone in its own.
fn lens() -> impl Strategy<Value = Vec<usize>> {
    let near = |len: usize| (len - 10)..(len + 10);
    let one = prop_oneof![2..100usize, near(1100), near(16 * 1024), near(LARGE_BYTES), 2..3 * LARGE_BYTES];
    vec(one, 1..12)
}

/// Frames of a Produce, each of which says in all its bytes which one it is.
fn frames(lens: &[usize]) -> Vec<Bytes> {
    let frame = |(number, len): (usize, &usize)| {
        let mut frame = vec![number as u8; *len];
        frame[..2].fill(0);
        Bytes::from(frame)
    };
    lens.iter().enumerate().map(frame).collect()
}

fn stream(frames: &[Bytes]) -> BytesMut {
    let mut stream = BytesMut::new();
    for frame in frames {
        stream.put_u32(frame.len() as u32);
        stream.extend_from_slice(frame);
    }
    stream
}

/// What comes out when pieces of these lengths are sent, in turn. Every other frame is kept, as one that is stored is.
async fn received(mut stream: &[u8], pieces: &[usize]) -> Vec<Bytes> {
    let (mut client, server) = duplex(PIPE_BYTES);
    let sending = async move {
        for piece in pieces.iter().cycle() {
            let (piece, rest) = stream.split_at(stream.len().min(*piece));
            client.write_all(piece).await.expect("it is read");
            stream = rest;
            // What was sent is looked at before more comes.
            tokio::task::yield_now().await;
            if stream.is_empty() {
                return;
            }
        }
    };
    let receiving = async {
        let mut frames = Frames::new(server, Arc::new(Incoming::new(Spares::default())));
        let (mut copies, mut kept) = (Vec::new(), Vec::new());
        while frames.begins().await.expect("a pipe does not fail") {
            let bytes = frames.next().await.expect("a sound frame").bytes;
            copies.push(Bytes::copy_from_slice(&bytes));
            kept.extend((copies.len() % 2 == 0).then_some(bytes));
        }
        let unchanged = copies.iter().skip(1).step_by(2).eq(kept.iter());
        assert!(unchanged, "what is kept is as it was");
        copies
    };
    tokio::join!(sending, receiving).1
}

proptest! {
    #[test]
    fn frames_are_what_was_sent_however_they_are_cut(lens in lens(), pieces in vec(1..40_000usize, 1..8)) {
        let sent = frames(&lens);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        let received = runtime.block_on(received(&stream(&sent), &pieces));
        prop_assert!(received == sent, "{lens:?} in pieces of {pieces:?}");
    }
}
