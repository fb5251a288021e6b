//! The least that a Kafka server does: parses frames, writes them with a group commit, answers; or answers each with
//! the same bytes.

use std::sync::Arc;

use bytes::{Buf, Bytes};
use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpStream},
    sync::{mpsc, oneshot},
};

use super::GroupCommit;
use crate::{
    frames::Frames,
    kafka_client::{METADATA, fetched, produced},
};

/// Replies of a connection that wait for the disk.
const WAITING_MAX: usize = 64;
/// As the topic of the load is called.
const TOPIC: &str = "bench";

/// Stores what it gets, without a log.
pub(crate) async fn sink(listener: TcpListener, commit: GroupCommit) -> anyhow::Result<()> {
    let commit = Arc::new(commit);
    loop {
        let (stream, _) = listener.accept().await?;
        let commit = commit.clone();
        tokio::spawn(async move { store(stream, &commit).await });
    }
}

async fn store(stream: TcpStream, commit: &GroupCommit) -> anyhow::Result<()> {
    stream.set_nodelay(true)?;
    let (read, mut write) = stream.into_split();
    let mut frames = Frames::new(read);
    let (queue, mut queued) = mpsc::channel::<oneshot::Receiver<Result<(), String>>>(WAITING_MAX);
    let answering = async move {
        let reply = produced(TOPIC);
        while let Some(stored) = queued.recv().await {
            stored.await?.map_err(anyhow::Error::msg)?;
            write.write_all(&reply).await?;
        }
        anyhow::Ok(())
    };
    let storing = async move {
        loop {
            let frame = frames.next().await?;
            let (done, stored) = oneshot::channel();
            match frame.clone().get_i16() {
                METADATA => _ = done.send(Ok(())),
                _ => commit.append(&frame, Box::new(|outcome| _ = done.send(outcome))),
            }
            queue.send(stored).await?;
        }
        #[allow(unreachable_code)]
        anyhow::Ok(())
    };
    tokio::try_join!(storing, answering)?;
    Ok(())
}

/// Answers each request with the same bytes of messages.
pub(crate) async fn source(listener: TcpListener, bytes: usize) -> anyhow::Result<()> {
    let reply = Bytes::from([&fetched(TOPIC, bytes)[..], &vec![b'x'; bytes]].concat());
    loop {
        let (stream, _) = listener.accept().await?;
        let reply = reply.clone();
        tokio::spawn(async move {
            stream.set_nodelay(true)?;
            let (read, mut write) = stream.into_split();
            let mut frames = Frames::new(read);
            loop {
                frames.next().await?;
                write.write_all(&reply).await?;
            }
            #[allow(unreachable_code)]
            anyhow::Ok(())
        });
    }
}
