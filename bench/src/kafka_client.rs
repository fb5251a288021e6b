//! A raw Kafka client: requests that are encoded once, and a socket. What is measured is the server, not a library.
//!
//! Formats: the Produce, Fetch and Metadata requests of the Apache Kafka protocol documentation, in versions without
//! compact lengths.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::{
    io::AsyncWriteExt,
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
};

use crate::{frames::Frames, latencies::Latencies};

const PRODUCE: i16 = 0;
const FETCH: i16 = 1;
pub(crate) const METADATA: i16 = 3;
/// Any: replies come in order.
const CORRELATION_ID: i32 = 7;

/// A connection.
#[derive(Debug)]
pub(crate) struct Client {
    requests: OwnedWriteHalf,
    replies: Frames<OwnedReadHalf>,
}

/// How a loop went.
#[derive(Debug)]
pub(crate) struct Sent {
    pub(crate) elapsed: Duration,
    pub(crate) latencies: Latencies,
}

fn frame(key: i16, version: i16, body: impl FnOnce(&mut BytesMut)) -> Bytes {
    let mut out = BytesMut::new();
    out.put_i32(0);
    out.put_i16(key);
    out.put_i16(version);
    out.put_i32(CORRELATION_ID);
    out.put_i16(-1);
    body(&mut out);
    let len = out.len() as i32 - 4;
    out[..4].copy_from_slice(&len.to_be_bytes());
    out.freeze()
}

fn put_text(out: &mut BytesMut, text: &str) {
    out.put_i16(text.len() as i16);
    out.put_slice(text.as_bytes());
}

/// A request to store a batch, durable before it is answered.
pub(crate) fn produce(topic: &str, batch: &[u8]) -> Bytes {
    frame(PRODUCE, 7, |out| {
        out.put_i16(-1);
        out.put_i16(-1);
        out.put_i32(30_000);
        out.put_i32(1);
        put_text(out, topic);
        out.put_i32(1);
        out.put_i32(0);
        out.put_i32(batch.len() as i32);
        out.put_slice(batch);
    })
}

fn fetch(topic: &str, offset: u64, bytes_max: i32) -> Bytes {
    frame(FETCH, 4, |out| {
        out.put_i32(-1);
        out.put_i32(1000);
        out.put_i32(1);
        out.put_i32(bytes_max);
        out.put_i8(0);
        out.put_i32(1);
        put_text(out, topic);
        out.put_i32(1);
        out.put_i32(0);
        out.put_i64(offset as i64);
        out.put_i32(bytes_max);
    })
}

impl Client {
    pub(crate) async fn connect(address: &str) -> anyhow::Result<Client> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (replies, requests) = stream.into_split();
        Ok(Client { requests, replies: Frames::new(replies) })
    }

    /// Creates a topic by asking for it.
    pub(crate) async fn create(&mut self, topic: &str) -> anyhow::Result<()> {
        let request = frame(METADATA, 4, |out| {
            out.put_i32(1);
            put_text(out, topic);
            out.put_u8(1);
        });
        self.requests.write_all(&request).await?;
        self.replies.next().await?;
        Ok(())
    }

    /// Sends requests to produce, in turn, with so many under way, for some time.
    pub(crate) async fn produce(
        &mut self,
        requests: &[Bytes],
        under_way_max: usize,
        time: Duration,
    ) -> anyhow::Result<Sent> {
        let started = Instant::now();
        let mut under_way = VecDeque::new();
        let mut latencies = Latencies::new();
        for request in requests.iter().cycle() {
            if started.elapsed() >= time {
                break;
            }
            if under_way.len() == under_way_max {
                self.produced(&mut under_way, &mut latencies).await?;
            }
            under_way.push_back(Instant::now());
            self.requests.write_all(request).await?;
        }
        while !under_way.is_empty() {
            self.produced(&mut under_way, &mut latencies).await?;
        }
        Ok(Sent { elapsed: started.elapsed(), latencies })
    }

    /// Sends one request to produce and waits for the reply.
    pub(crate) async fn produce_once(&mut self, request: &Bytes) -> anyhow::Result<()> {
        self.requests.write_all(request).await?;
        self.produced(&mut [Instant::now()].into(), &mut Latencies::new()).await
    }

    async fn produced(
        &mut self,
        under_way: &mut VecDeque<Instant>,
        latencies: &mut Latencies,
    ) -> anyhow::Result<()> {
        let mut reply = self.replies.next().await?;
        let sent = under_way.pop_front().context("a reply that nobody waits for")?;
        latencies.record_since(sent);
        // Correlation id and one topic, its name, one partition and its index.
        reply.advance(8);
        let name_len = reply.get_i16() as usize;
        reply.advance(name_len + 8);
        let error = reply.get_i16();
        ensure!(error == 0, "error {error}");
        Ok(())
    }

    /// Fetches from an offset. Returns the bytes of the batches.
    pub(crate) async fn fetch(&mut self, topic: &str, offset: u64, bytes_max: i32) -> anyhow::Result<usize> {
        self.requests.write_all(&fetch(topic, offset, bytes_max)).await?;
        let mut reply = self.replies.next().await?;
        // Correlation id, throttle time and one topic, its name, one partition and its index.
        reply.advance(12);
        let name_len = reply.get_i16() as usize;
        reply.advance(name_len + 8);
        let error = reply.get_i16();
        ensure!(error == 0, "error {error}");
        // Two offsets and the null array of transactions.
        reply.advance(20);
        Ok(reply.get_i32() as usize)
    }
}

/// What a bare server answers to a request that produces: no error.
pub(crate) fn produced(topic: &str) -> Bytes {
    reply(|out| {
        out.put_i32(1);
        put_text(out, topic);
        out.put_i32(1);
        out.put_i32(0);
        out.put_i16(0);
        out.put_i64(0);
        out.put_i64(-1);
        out.put_i64(0);
        out.put_i32(0);
    })
}

/// What a bare server answers to a fetch, but for the bytes that follow.
pub(crate) fn fetched(topic: &str, bytes: usize) -> Bytes {
    let mut head = BytesMut::from(
        &reply(|out| {
            out.put_i32(0);
            out.put_i32(1);
            put_text(out, topic);
            out.put_i32(1);
            out.put_i32(0);
            out.put_i16(0);
            out.put_i64(0);
            out.put_i64(0);
            out.put_i32(-1);
            out.put_i32(bytes as i32);
        })[..],
    );
    let len = (head.len() - 4 + bytes) as i32;
    head[..4].copy_from_slice(&len.to_be_bytes());
    head.freeze()
}

fn reply(body: impl FnOnce(&mut BytesMut)) -> Bytes {
    let mut out = BytesMut::new();
    out.put_i32(0);
    out.put_i32(CORRELATION_ID);
    body(&mut out);
    let len = out.len() as i32 - 4;
    out[..4].copy_from_slice(&len.to_be_bytes());
    out.freeze()
}
