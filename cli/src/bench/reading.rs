//! The consumers of a run: each reads one partition to the end of its streams, and checks every message.

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, bail};
use minikafka_client_consume::{Consumer, Position, ResetPolicy};
use tokio::{sync::watch, task::JoinHandle, time::Instant};

use super::{
    chain::{Reader, Verdict},
    latency::Latencies,
    sending::Load,
    target::Target,
};

/// Without a message for so long, those that are missing are given up.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// How often a reader looks whether it is to end.
pub(super) const LOOK: Duration = Duration::from_millis(200);

/// What was read.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) verdict: Verdict,
    /// From when a message was due to when it was read.
    pub(super) latencies: Latencies,
    /// From the first poll to the last message.
    pub(super) elapsed: Duration,
}

/// Readers of all partitions.
#[derive(Debug)]
pub(super) struct Reading {
    partitions: Vec<JoinHandle<anyhow::Result<PartitionRead>>>,
    /// What was sent, once that is known.
    sent: watch::Sender<Option<Arc<Stored>>>,
    start: Instant,
}

/// What readers have to find.
#[derive(Debug)]
struct Stored {
    /// Messages of each stream.
    counts: Vec<u64>,
    /// Number behind the last message of each partition: a message that is stored twice may lie behind all others.
    ends: Vec<u64>,
}

#[derive(Debug)]
struct PartitionRead {
    verdict: Verdict,
    latencies: Latencies,
    last: Instant,
}

/// A consumer of each partition, from its position in `from` on. What is written from now on reaches them.
pub(super) async fn connect(target: &Target, from: &[u64]) -> anyhow::Result<Vec<Consumer>> {
    let mut consumers = Vec::new();
    for (partition, number) in (0..).zip(from) {
        let consumer = Consumer::builder(&target.host, &target.topic)
            .partition(partition)
            .from(Position::Number(*number))
            .reset_policy(ResetPolicy::Earliest);
        consumers.push(consumer.subscribe().await?);
    }
    Ok(consumers)
}

impl Reading {
    /// Starts to read; times count from `start`.
    pub(super) fn start(consumers: Vec<Consumer>, target: &Target, load: &Load, start: Instant) -> Reading {
        let readers_of = |partition| {
            let streams = load.streams_to(target, partition);
            streams.map(|stream| (stream, Reader::new(load.run, stream))).collect()
        };
        let (sent, known) = watch::channel(None);
        let partitions = consumers
            .into_iter()
            .zip(0..)
            .map(|(consumer, partition)| {
                let (streams, topic) = (readers_of(partition), target.topic.clone());
                let reader =
                    PartitionReader { consumer, topic, partition, streams, start, warmup: load.warmup };
                tokio::spawn(reader.run(known.clone()))
            })
            .collect();
        Reading { partitions, sent, start: Instant::now() }
    }

    /// Reads on until each stream has so many messages and nothing is left of the partitions, or nothing comes any more.
    pub(super) async fn end(self, counts: &[u64], target: &Target) -> anyhow::Result<Read> {
        let stored = Stored { counts: counts.to_vec(), ends: target.ends_now().await? };
        // Readers that have failed do not listen, and say so below.
        self.sent.send_replace(Some(stored.into()));
        let mut all =
            Read { verdict: Verdict::default(), latencies: Latencies::new(), elapsed: Duration::ZERO };
        for partition in self.partitions {
            let read = partition.await.context("a reader panicked")??;
            all.verdict.add(read.verdict);
            all.latencies.add(&read.latencies);
            all.elapsed = all.elapsed.max(read.last.saturating_duration_since(self.start));
        }
        Ok(all)
    }
}

/// Reads one partition.
struct PartitionReader {
    consumer: Consumer,
    topic: String,
    partition: u32,
    streams: Vec<(u32, Reader)>,
    start: Instant,
    warmup: Duration,
}

impl PartitionReader {
    async fn run(mut self, sent: watch::Receiver<Option<Arc<Stored>>>) -> anyhow::Result<PartitionRead> {
        let mut latencies = Latencies::new();
        let mut last = Instant::now();
        loop {
            let known = sent.borrow().clone();
            if let Some(stored) = known
                && (self.has_all(&stored) || last.elapsed() >= PATIENCE)
            {
                return Ok(PartitionRead { verdict: self.verdict(&stored.counts), latencies, last });
            }
            let messages = self.consumer.poll(LOOK).await?;
            let now = Instant::now();
            for value in messages.iter().filter_map(|message| message.value.as_ref()) {
                let taken = self.streams.iter_mut().find_map(|(_, reader)| reader.take(value));
                let Some(due) = taken.map(Duration::from_nanos) else { continue };
                last = now;
                if due >= self.warmup {
                    latencies.record(now.saturating_duration_since(self.start + due));
                }
            }
        }
    }

    fn has_all(&self, Stored { counts, ends }: &Stored) -> bool {
        let is_at_end = || {
            let end = ends.get(self.partition as usize).copied().unwrap_or(0);
            self.consumer.position(&self.topic, self.partition).is_some_and(|next| next >= end)
        };
        self.streams.iter().all(|(stream, reader)| reader.next() >= counts[*stream as usize]) && is_at_end()
    }

    fn verdict(self, counts: &[u64]) -> Verdict {
        let mut verdict = Verdict::default();
        for (stream, reader) in self.streams {
            verdict.add(reader.end(counts[stream as usize]));
        }
        verdict
    }
}

/// Fails, with the reason in a sentence, when a run is not sound.
pub(super) fn check(verdict: &Verdict) -> anyhow::Result<()> {
    if verdict.is_sound() {
        return Ok(());
    }
    let Verdict { sound, lost, repeated, changed } = verdict;
    bail!(
        "{sound} messages came as they were sent, {lost} are lost, {repeated} came again or late, {changed} are changed"
    )
}
