//! The senders of a run: each sends one or more streams of messages in turn, and each stream goes to one partition.

use std::{
    ops::Range,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context as _, ensure};
use minikafka_client_produce::{Compression, Message, Producer, Receipt};
use tokio::{sync::mpsc, task::JoinHandle, time::Instant};

use super::{
    chain::Writer,
    clock::{End, Schedule},
    latency::Latencies,
    stop::Stop,
    target::Target,
};

/// What the producers are told.
#[derive(Clone, Debug)]
pub(super) struct Load {
    pub(super) run: u64,
    /// Connections, which the senders share.
    pub(super) producers: u32,
    /// How the messages are shared out.
    pub(super) spread: Spread,
    pub(super) message_len: usize,
    /// Messages per second of all together; `None`: as fast as the server takes them.
    pub(super) per_second: Option<f64>,
    pub(super) end: End,
    pub(super) compression: Compression,
    /// Messages that are due before this time are not measured.
    pub(super) warmup: Duration,
    pub(super) stop: Stop,
}

/// Which streams there are, and who sends them.
///
/// ```text
///                      stream                              is sent by
///   PartitionsShared   partition                           a sender of its own
///   AllToEach          producer * partitions + partition   the producer, in turn with its others
/// ```
///
/// So a stream always goes to partition `stream % partitions`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spread {
    PartitionsShared,
    AllToEach,
}

fn partition_of(stream: u32, partitions: u32) -> u32 {
    stream % partitions
}

/// Both ends of each stream are in memory here.
const STREAMS_MAX: u64 = 200_000;

impl Load {
    fn senders(&self, partitions: u32) -> u32 {
        match self.spread {
            Spread::PartitionsShared => partitions,
            Spread::AllToEach => self.producers,
        }
    }

    /// How many streams each sender has.
    fn streams_each(&self, partitions: u32) -> u32 {
        match self.spread {
            Spread::PartitionsShared => 1,
            Spread::AllToEach => partitions,
        }
    }

    fn streams_of(&self, target: &Target, sender: u32) -> Range<u32> {
        let each = self.streams_each(target.partitions);
        sender * each..(sender + 1) * each
    }

    /// The streams that go to a partition.
    pub(super) fn streams_to(&self, target: &Target, partition: u32) -> impl Iterator<Item = u32> {
        let all = self.senders(target.partitions) * self.streams_each(target.partitions);
        (partition..all).step_by(target.partitions as usize)
    }

    fn schedule(&self, target: &Target, sender: u32, start: Instant) -> Schedule {
        Schedule::new(start, self.per_second, sender, self.senders(target.partitions), self.end)
    }

    /// # Errors
    /// When there would be too many streams to a topic with so many partitions.
    pub(super) fn check(&self, partitions: u32) -> anyhow::Result<()> {
        let streams = u64::from(self.senders(partitions)) * u64::from(self.streams_each(partitions));
        ensure!(
            streams <= STREAMS_MAX,
            "{} producers and {partitions} partitions make {streams} chains to check, and at most {STREAMS_MAX} are kept",
            self.producers
        );
        Ok(())
    }
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

/// How many messages each stream of a sender had, and how long they took.
type SenderEnd = anyhow::Result<(Vec<u64>, Latencies)>;

/// A load that is being sent.
#[derive(Debug)]
pub(super) struct Sending {
    senders: Vec<JoinHandle<SenderEnd>>,
    start: Instant,
}

/// The producers, connected.
pub(super) async fn connect(target: &Target, load: &Load) -> anyhow::Result<Vec<Producer>> {
    // A topic that was there has as many partitions as it has.
    load.check(target.partitions)?;
    let mut producers = Vec::new();
    for _ in 0..load.producers {
        let builder = Producer::builder(&target.host, &target.topic).compression(load.compression);
        producers.push(builder.connect().await?);
    }
    Ok(producers)
}

impl Sending {
    /// Starts all senders at once.
    pub(super) fn start(producers: &[Producer], target: &Target, load: &Load, start: Instant) -> Sending {
        let senders =
            (0..load.senders(target.partitions)).zip(producers.iter().cycle()).map(|(number, producer)| {
                let sender = Sender {
                    producer: producer.clone(),
                    number,
                    load: load.clone(),
                    partitions: target.partitions,
                    start,
                };
                load.stop
                    .spawn(sender.run(load.schedule(target, number, start), load.streams_of(target, number)))
            });
        Sending { senders: senders.collect(), start }
    }

    /// Waits for the last acknowledgement.
    ///
    /// # Errors
    /// When a message was not stored.
    pub(super) async fn end(self) -> anyhow::Result<Sent> {
        let (mut counts, mut latencies) = (Vec::new(), Latencies::new());
        for sender in self.senders {
            let (of_streams, times) = sender.await.context("a producer panicked")??;
            counts.extend(of_streams);
            latencies.add(&times);
        }
        Ok(Sent { counts, latencies, elapsed: self.start.elapsed() })
    }
}

/// Sends streams in turn.
struct Sender {
    producer: Producer,
    number: u32,
    load: Load,
    partitions: u32,
    start: Instant,
}

/// The way of a stream to its partition.
struct Lane {
    writer: Writer,
    partition: u32,
    count: u64,
    /// Bounded by what the producer holds back: a receipt is there once its message is in the buffer.
    sent: mpsc::UnboundedSender<(Instant, Receipt)>,
    acknowledged: JoinHandle<anyhow::Result<()>>,
}

/// A std lock: held for one figure, never across an await.
type SharedLatencies = Arc<Mutex<Latencies>>;

impl Sender {
    /// Sends until the schedule or somebody says that it is over, and all is acknowledged.
    async fn run(self, schedule: Schedule, streams: Range<u32>) -> SenderEnd {
        let latencies = Arc::new(Mutex::new(Latencies::new()));
        let mut lanes = self.lanes(streams, &latencies);
        let mut outcome = tokio::select! {
            sent = self.send(&schedule, &mut lanes) => sent,
            // Nobody wants to know how much it was; what is on its way is waited for all the same.
            () = self.load.stop.wanted() => Ok(()),
        };
        let mut counts = Vec::with_capacity(lanes.len());
        for Lane { sent, acknowledged, count, .. } in lanes {
            drop(sent);
            // Once all have their receipts, nothing is left to send. After a failure, too: a message that is stored
            // later would create the topic again that the run deletes.
            let drained = acknowledged.await.context("a task panicked").flatten();
            outcome = outcome.and(drained);
            counts.push(count);
        }
        outcome?;
        let latencies = latencies.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Ok((counts, latencies))
    }

    async fn send(&self, schedule: &Schedule, lanes: &mut [Lane]) -> anyhow::Result<()> {
        // The senders do not write to the same partition all at a time.
        let mut turn = self.number as usize % lanes.len();
        let mut count = 0;
        while let Some(due) = schedule.wait(count).await {
            let nanos = due.saturating_duration_since(self.start).as_nanos() as u64;
            let lane = &mut lanes[turn];
            let message = Message::new(lane.writer.next(nanos)).partition(lane.partition);
            let receipt = self.producer.enqueue(message).await?;
            lane.count += 1;
            if let Err(refused) = lane.sent.send((due, receipt)) {
                // An earlier message has failed, which its lane tells. This one is on its way all the same.
                let (_, receipt) = refused.0;
                let _ = receipt.await;
                break;
            }
            count += 1;
            turn = (turn + 1) % lanes.len();
        }
        Ok(())
    }

    fn lanes(&self, streams: Range<u32>, latencies: &SharedLatencies) -> Vec<Lane> {
        let first = Writer::new(self.load.run, streams.start, self.load.message_len);
        let lane = |stream: u32| {
            let (sent, receipts) = mpsc::unbounded_channel();
            let measured_from = self.start + self.load.warmup;
            let acknowledged = tokio::spawn(acknowledge(receipts, measured_from, latencies.clone()));
            let (writer, partition) = (first.beside(stream), partition_of(stream, self.partitions));
            Lane { writer, partition, count: 0, sent, acknowledged }
        };
        streams.map(lane).collect()
    }
}

/// Waits for each acknowledgement of a stream. They come in order in a partition, and in none over several. After a
/// failure it takes no more receipts, and waits for those that it has.
async fn acknowledge(
    mut receipts: mpsc::UnboundedReceiver<(Instant, Receipt)>,
    measured_from: Instant,
    latencies: SharedLatencies,
) -> anyhow::Result<()> {
    let mut outcome = Ok(());
    while let Some((due, receipt)) = receipts.recv().await {
        let receipt = receipt.await;
        let time = due.elapsed();
        if let Err(failure) = receipt {
            receipts.close();
            outcome = outcome.and(Err(failure.into()));
            continue;
        }
        if due >= measured_from {
            latencies.lock().unwrap_or_else(PoisonError::into_inner).record(time);
        }
    }
    outcome
}
