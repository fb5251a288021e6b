//! The producers of a run: each has a connection and one or more streams of messages, and each stream a partition.

use std::time::Duration;

use anyhow::Context as _;
use minikafka_client_produce::{Compression, Message, Producer, Receipt};
use tokio::{sync::mpsc, task::JoinHandle, time::Instant};

use super::{
    chain::Writer,
    clock::{End, Schedule},
    latency::Latencies,
    target::Target,
};

/// What the producers are told.
#[derive(Clone, Debug)]
pub(super) struct Load {
    pub(super) run: u64,
    /// Streams of messages, each to a partition of its own, in turn.
    pub(super) streams: u32,
    /// They share the streams.
    pub(super) producers: u32,
    pub(super) message_len: usize,
    /// Messages per second of all together; `None`: as fast as the server takes them.
    pub(super) per_second: Option<f64>,
    pub(super) end: End,
    pub(super) compression: Compression,
    /// Messages that are due before this time are not measured.
    pub(super) warmup: Duration,
}

/// What came of it.
#[derive(Debug)]
pub(super) struct Sent {
    /// Messages of each stream, all acknowledged.
    pub(super) counts: Vec<u64>,
    /// From when a message was due to its acknowledgement.
    pub(super) latencies: Latencies,
    /// From the first message to the last acknowledgement.
    pub(super) elapsed: Duration,
}

impl Sent {
    pub(super) fn messages(&self) -> u64 {
        self.counts.iter().sum()
    }
}

/// A load that is being sent.
#[derive(Debug)]
pub(super) struct Sending {
    streams: Vec<JoinHandle<anyhow::Result<(u64, Latencies)>>>,
    start: Instant,
}

/// The producers, connected.
pub(super) async fn connect(target: &Target, load: &Load) -> anyhow::Result<Vec<Producer>> {
    let mut producers = Vec::new();
    for _ in 0..load.producers {
        let builder = Producer::builder(&target.host, &target.topic).compression(load.compression);
        producers.push(builder.connect().await?);
    }
    Ok(producers)
}

impl Sending {
    /// Starts all streams at once.
    pub(super) fn start(producers: &[Producer], target: &Target, load: &Load, start: Instant) -> Sending {
        let streams = (0..load.streams).zip(producers.iter().cycle()).map(|(stream, producer)| {
            let partition = target.partition_of(stream);
            tokio::spawn(send(producer.clone(), load.clone(), stream, partition, start))
        });
        Sending { streams: streams.collect(), start }
    }

    /// Waits for the last acknowledgement.
    ///
    /// # Errors
    /// When a message was not stored.
    pub(super) async fn end(self) -> anyhow::Result<Sent> {
        let (mut counts, mut latencies) = (Vec::new(), Latencies::new());
        for stream in self.streams {
            let (count, times) = stream.await.context("a producer panicked")??;
            counts.push(count);
            latencies.add(&times);
        }
        Ok(Sent { counts, latencies, elapsed: self.start.elapsed() })
    }
}

/// Sends one stream to a partition. Returns how many messages it had.
async fn send(
    producer: Producer,
    load: Load,
    stream: u32,
    partition: u32,
    start: Instant,
) -> anyhow::Result<(u64, Latencies)> {
    let schedule = Schedule::new(start, load.per_second, stream, load.streams, load.end);
    let mut writer = Writer::new(load.run, stream, load.message_len);
    // Bounded by what the producer holds back: a receipt is there once its message is in the buffer.
    let (sent, receipts) = mpsc::unbounded_channel();
    let acknowledged = tokio::spawn(acknowledge(receipts, start + load.warmup));
    let mut count = 0;
    while let Some(due) = schedule.wait(count).await {
        let nanos = due.saturating_duration_since(start).as_nanos() as u64;
        let message = Message::new(writer.next(nanos)).partition(partition);
        let receipt = producer.enqueue(message).await?;
        count += 1;
        if sent.send((due, receipt)).is_err() {
            break; // an earlier message has failed, which is told below
        }
    }
    drop(sent);
    // Once all have their receipts, nothing is left to send.
    let latencies = acknowledged.await.context("a task panicked")??;
    Ok((count, latencies))
}

/// Waits for each acknowledgement; those of a partition come in order.
async fn acknowledge(
    mut receipts: mpsc::UnboundedReceiver<(Instant, Receipt)>,
    measured_from: Instant,
) -> anyhow::Result<Latencies> {
    let mut latencies = Latencies::new();
    while let Some((due, receipt)) = receipts.recv().await {
        receipt.await?;
        if due >= measured_from {
            latencies.record(due.elapsed());
        }
    }
    Ok(latencies)
}
