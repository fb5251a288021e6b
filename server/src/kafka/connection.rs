//! One connection: requests in, replies out in the same order.
//!
//! Two halves run side by side in one task. One reads requests and begins them, so that a producer has several batches on
//! their way; the other finishes what was begun, one after the other. Between them is a queue with an end, and beyond it a
//! client is not read from: see [`Backlog`].

use std::{io, net::SocketAddr, sync::Arc};

use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, Span, debug};

use super::{
    api::Size,
    backlog::Backlog,
    dispatch::{self, Caller, Work},
    door::Door,
    frames::{Frame, FrameError, Frames},
    rarely::Rarely,
    replies::Replies,
    reply::Outcome,
    request::Request,
    trace,
};
use crate::linger::Linger;

/// A request that was begun.
struct Begun {
    work: Work,
    span: Span,
    /// What it adds to the backlog.
    behind: usize,
}

/// Serves until the client goes, does what cannot be answered, or `stopping` is cancelled and all is answered.
///
/// # Errors
/// When the socket fails, or what the client did.
pub(super) async fn serve(
    door: &Arc<Door>,
    mut stream: TcpStream,
    peer: SocketAddr,
    stopping: CancellationToken,
) -> Result<(), FrameError> {
    // Replies are small, and clients wait for them.
    stream.set_nodelay(true)?;
    let caller = Caller { address: peer.ip().to_string(), gone: CancellationToken::new() };
    let ended = converse(door, &mut stream, peer, stopping, caller).await;
    if matches!(ended, Err(FrameError::Io(_))) {
        return ended;
    }
    let shut = Linger::new(stream).shutdown().await;
    ended.and(shut.map_err(FrameError::Io))
}

/// Reads requests and writes replies, until there are no more.
async fn converse(
    door: &Arc<Door>,
    stream: &mut TcpStream,
    peer: SocketAddr,
    stopping: CancellationToken,
    caller: Caller,
) -> Result<(), FrameError> {
    let (read, write) = stream.split();
    let backlog = Backlog::new();
    let reading = async {
        let mut frames = Frames::new(read, door.incoming.clone());
        let ended = tokio::select! {
            // What has come is no longer idle.
            biased;
            ended = take(door, &mut frames, &backlog, &caller, peer) => ended,
            () = Rarely::new(ends(door, &backlog, peer, stopping)) => Ok(()),
        };
        if let Err(FrameError::Offence(offence)) = &ended {
            door.counts.offence(offence);
        }
        // What was begun is answered still, but nobody polls for more.
        caller.gone.cancel();
        backlog.close();
        ended
    };
    let writing = answer(write, &backlog);
    tokio::pin!(reading, writing);
    tokio::select! {
        // In this order: see `Backlog`.
        biased;
        ended = &mut reading => {
            let written = writing.await;
            ended.and(written.map_err(FrameError::Io))
        }
        written = &mut writing => Ok(written?),
    }
}

/// Waits until the server stops, or the client has been idle for too long.
async fn ends(door: &Door, backlog: &Backlog<Begun>, peer: SocketAddr, stopping: CancellationToken) {
    tokio::select! {
        () = stopping.cancelled() => {}
        () = backlog.idle(door.idle_timeout) => {
            debug!(%peer, timeout = ?door.idle_timeout, "an idle Kafka connection is closed");
        }
    }
}

/// Reads requests and begins them, until the client has gone.
async fn take<R: AsyncRead + Unpin>(
    door: &Arc<Door>,
    frames: &mut Frames<R>,
    backlog: &Backlog<Begun>,
    caller: &Caller,
    peer: SocketAddr,
) -> Result<(), FrameError> {
    while frames.begins().await? {
        backlog.begin();
        let (len, size) = frames.announced().await?;
        let behind = match size {
            // Those have a bound of their own, and what is kept of them is counted once that is known.
            Size::Messages => 0,
            Size::Names | Size::Credentials => len,
        };
        tokio::select! {
            // In this order: what comes last before a client says no more is answered, too.
            biased;
            () = backlog.room(behind) => {}
            gone = frames.gone() => {
                gone?;
                if size != Size::Messages {
                    return Ok(());
                }
            }
        }
        // Not in a race with the end: what has come before that is stored, although no reply may be wanted.
        backlog.turn().await;
        let Frame { bytes, permit } = frames.next().await?;
        let read = Request::read(&bytes)?;
        // Whoever stores a large batch wants to be the only holder of its bytes.
        drop(bytes);
        let span = trace::of(&read, peer);
        let (work, kept) = dispatch::begin(door, read, caller, &span).instrument(span.clone()).await?;
        let behind = behind + kept;
        // What holds the bytes now has a bound of its own.
        drop(permit);
        backlog.add(Begun { work, span, behind }, behind);
    }
    Ok(())
}

/// Finishes what was begun, in order, and writes the replies.
async fn answer(write: impl AsyncWrite + Unpin, backlog: &Backlog<Begun>) -> io::Result<()> {
    let mut replies = Replies::new(write, backlog);
    while let Some(Begun { work, span, behind }) = replies.until(backlog.next()).await? {
        match replies.until(work.instrument(span.clone())).await? {
            Outcome::Reply(reply) => replies.push(reply, span, behind),
            Outcome::Silence => {
                span.in_scope(|| debug!("done, and no reply is wanted"));
                backlog.done(behind);
            }
            Outcome::Close => {
                span.in_scope(|| debug!("the connection ends instead of a reply"));
                break;
            }
        }
    }
    replies.write_out().await
}
