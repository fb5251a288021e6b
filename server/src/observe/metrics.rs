//! The families of `/metrics`, made anew for each scrape.
//!
//! Names follow the conventions of Prometheus: a unit at the end, `_total` behind it for what only grows. Each is
//! described in `docs/metrics.md`.

use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use minikafka_broker::{BrokerStats, GroupLag, TopicTraffic};
use minikafka_storage::{JournalStats, StorageStats};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, prometheus_text},
    registry::Registry,
};

use super::{Observed, lag::Lags, page::Page, process::Process};
use crate::kafka::Counts;

/// The label of topics without a count of their own. No topic has this name: '/' is not allowed in one.
const OTHER_TOPICS: &str = "/other";

impl Observed {
    /// All there is to say, in the text format of Prometheus; `None` when the storage does not answer.
    pub(super) async fn scrape(&self) -> Option<String> {
        let is_ready = self.readiness().await.is_ready();
        let (broker, process) = self.ask(|broker| (broker.stats(), Process::look())).await?;
        let groups = self.broker.group_count() as u64;
        let scrape = Scrape {
            groups,
            lags: Lags::look(self, groups).await,
            broker,
            process,
            is_ready,
            connections: self.connections.snapshot(),
            connections_max: self.connections_max as u64,
            refusals: self.refusals.snapshot().into_iter().collect(),
            kafka: self.kafka.clone(),
            started: self.started,
        };
        let mut registry = Registry::default();
        registry.register_collector(Box::new(scrape));
        let mut text = String::new();
        prometheus_text::encode(&mut text, &registry).ok()?;
        Some(text)
    }
}

/// What is known at a moment.
#[derive(Debug)]
struct Scrape {
    broker: BrokerStats,
    groups: u64,
    lags: Lags,
    process: Process,
    is_ready: bool,
    connections: (u64, u64),
    connections_max: u64,
    refusals: Vec<(String, u64)>,
    kafka: Arc<Counts>,
    started: SystemTime,
}

impl Collector for Scrape {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> std::fmt::Result {
        let mut page = Page(encoder);
        self.server(&mut page)?;
        kafka(&mut page, &self.kafka)?;
        self.process(&mut page)?;
        self.traffic(&mut page)?;
        self.kept(&mut page)?;
        self.groups(&mut page)?;
        syncs(&mut page, &self.broker.storage)?;
        room(&mut page, &self.broker.storage)
    }
}

impl Scrape {
    fn server(&self, page: &mut Page<'_>) -> std::fmt::Result {
        let version = [("version", env!("CARGO_PKG_VERSION"))];
        page.gauges("minikafka_build_info", "Always 1; the labels say what runs", [(version, 1)])?;
        let started = self.started.duration_since(UNIX_EPOCH).unwrap_or_default();
        page.gauge(
            "minikafka_start_time_seconds",
            "When the server was started, since 1970",
            started.as_secs(),
        )?;
        page.gauge(
            "minikafka_ready",
            "Whether messages are taken, as /readyz says: 1 or 0",
            self.is_ready.into(),
        )?;
        let (open, accepted) = self.connections;
        page.gauge("minikafka_connections", "Connections that are open", open)?;
        page.gauge("minikafka_connections_max", "Connections that may be open", self.connections_max)?;
        page.counter("minikafka_connections_accepted", "Connections that were accepted", accepted)?;
        page.counters(
            "minikafka_requests_refused",
            "Requests that were refused, by the reason that the client was told",
            self.refusals.iter().map(|(reason, count)| ([("reason", reason.as_str())], *count)),
        )
    }

    fn process(&self, page: &mut Page<'_>) -> std::fmt::Result {
        let Process { cpu_seconds, resident_bytes, open_files, open_files_max } = &self.process;
        page.seconds("process_cpu_seconds", "Processor time that the process has used", *cpu_seconds)?;
        page.gauges(
            "process_resident_memory_bytes",
            "Memory that the process takes up",
            without_labels(*resident_bytes),
        )?;
        page.gauges("process_open_fds", "Files and sockets that are open", without_labels(*open_files))?;
        page.gauge("process_max_fds", "Files and sockets that may be open", *open_files_max)
    }

    fn traffic(&self, page: &mut Page<'_>) -> std::fmt::Result {
        let by_topic = |count: fn(&TopicTraffic) -> u64| {
            let name = |topic: &'_ Option<String>| topic.clone().unwrap_or_else(|| OTHER_TOPICS.to_owned());
            let samples = self.broker.traffic.iter();
            samples.map(move |topic| ([("topic", name(&topic.topic))], count(topic))).collect::<Vec<_>>()
        };
        page.counters(
            "minikafka_produced_messages",
            "Messages that were produced and committed",
            by_topic(|topic| topic.produced_messages),
        )?;
        page.counters(
            "minikafka_produced_bytes",
            "Bytes of messages that were produced and committed, as batches",
            by_topic(|topic| topic.produced_bytes),
        )?;
        page.counters(
            "minikafka_fetched_messages",
            "Messages that were read for consumers",
            by_topic(|topic| topic.fetched_messages),
        )?;
        page.counters(
            "minikafka_fetched_bytes",
            "Bytes of batches that were read for consumers",
            by_topic(|topic| topic.fetched_bytes),
        )?;
        page.durations(
            "minikafka_produce_duration_seconds",
            "From the call of produce, waiting for room included, until the messages are committed",
            [(NO_LABELS, &self.broker.produce_durations)],
        )?;
        page.sizes(
            "minikafka_produced_batch_bytes",
            "Bytes of each batch that was produced and committed",
            &self.broker.produced_batch_bytes,
        )?;
        page.sizes(
            "minikafka_produced_batch_messages",
            "Messages in each of them",
            &self.broker.produced_batch_messages,
        )?;
        page.durations(
            "minikafka_fetch_duration_seconds",
            "From the moment when there is something to read until it is read, without waiting for messages to come",
            [(NO_LABELS, &self.broker.fetch_durations)],
        )
    }

    fn groups(&self, page: &mut Page<'_>) -> std::fmt::Result {
        let by_group = |lag: &GroupLag| [("group", lag.group.clone())];
        page.gauge("minikafka_groups", "Consumer groups there are", self.groups)?;
        page.gauges(
            "minikafka_group_lag_messages",
            "Messages that a group has not read yet, over all partitions of which it has a position or a member",
            self.lags.groups.iter().map(|lag| (by_group(lag), lag.messages)),
        )?;
        page.gauges(
            "minikafka_group_lag_seconds",
            "Age of the oldest message that a group has not read yet; 0 when it has read all",
            self.lags.groups.iter().filter_map(|lag| Some((by_group(lag), lag.age?.as_secs_f64()))),
        )?;
        page.gauges(
            "minikafka_groups_untold",
            "Groups whose lag this page does not tell, in messages or in seconds: there are too many, or the disk is too slow",
            [([("lag", "messages")], self.lags.untold), ([("lag", "seconds")], self.lags.without_age())],
        )
    }

    fn kept(&self, page: &mut Page<'_>) -> std::fmt::Result {
        let broker = &self.broker;
        page.gauge("minikafka_topics", "Topics there are", broker.topics)?;
        page.gauge("minikafka_partitions", "Partitions there are, over all topics", broker.partitions)?;
        page.gauge(
            "minikafka_lost_partitions",
            "Partitions that are out of service, because their log is missing or damaged",
            broker.lost_partitions,
        )?;
        page.gauge("minikafka_stored_bytes", "Bytes that all partitions take up", broker.stored_bytes)?;
        page.gauge(
            "minikafka_waiting_bytes",
            "Bytes of messages that wait for the disk",
            broker.waiting_bytes,
        )?;
        page.counter("minikafka_evicted_messages", "Messages that were evicted", broker.evicted_messages)?;
        page.counter("minikafka_evicted_bytes", "Bytes given back by evictions", broker.evicted_bytes)?;
        page.gauge(
            "minikafka_damaged_messages",
            "Messages that are known to be lost to damage of the disk and are not evicted yet",
            broker.damaged_messages,
        )
    }
}

/// What the Kafka door does.
fn kafka(page: &mut Page<'_>, counts: &Counts) -> std::fmt::Result {
    let (open, accepted) = counts.connections.snapshot();
    page.gauge("minikafka_kafka_connections", "Connections of Kafka clients that are open", open)?;
    page.counter(
        "minikafka_kafka_connections_accepted",
        "Connections of Kafka clients that were accepted",
        accepted,
    )?;
    page.counters(
        "minikafka_kafka_requests",
        "Requests of Kafka clients, by what they ask for",
        counts.requests().into_iter().map(|(api, count)| ([("api", api)], count)),
    )?;
    page.counters(
        "minikafka_kafka_errors",
        "Errors that Kafka clients were told, once for each partition, and connections closed for what was sent",
        counts.errors().iter().map(|(error, count)| ([("error", error.as_str())], *count)),
    )
}

/// How messages become durable.
fn syncs(page: &mut Page<'_>, storage: &StorageStats) -> std::fmt::Result {
    let by_file = |file| [("file", file)];
    page.durations(
        "minikafka_fsync_duration_seconds",
        "How long syncs of files took, of the journal or of segments",
        [(by_file("journal"), &storage.journal_syncs), (by_file("segment"), &storage.segment_syncs)],
    )?;
    page.sizes(
        "minikafka_group_commit_bytes",
        "Bytes that were made durable together",
        &storage.group_bytes,
    )?;
    page.sizes(
        "minikafka_group_commit_entries",
        "Entries, of any log, that were made durable together",
        &storage.group_entries,
    )?;
    page.gauge(
        "minikafka_unsynced_bytes",
        "Bytes that a loss of power would take now",
        storage.unsynced_bytes,
    )?;
    let JournalStats { behind_bytes, full_files, pinned_files, failed } = storage.journal.unwrap_or_default();
    page.gauge(
        "minikafka_journal_behind_bytes",
        "Bytes that are durable in the journal and not yet in segments",
        behind_bytes,
    )?;
    page.gauges(
        "minikafka_journal_files",
        "Files of the journal that wait to be emptied (full), or cannot be, because a log has failed (pinned)",
        [([("state", "full")], full_files), ([("state", "pinned")], pinned_files)],
    )?;
    page.gauge(
        "minikafka_journal_failed",
        "Whether the journal has failed and has not begun anew yet: 1 or 0",
        failed.into(),
    )
}

/// Whether there is room, and whether the disk is sound.
fn room(page: &mut Page<'_>, storage: &StorageStats) -> std::fmt::Result {
    page.gauges(
        "minikafka_storage_free_bytes",
        "Bytes that are free on the disk, or in the memory that messages may take up",
        without_labels(storage.free_bytes),
    )?;
    page.gauges(
        "minikafka_storage_size_bytes",
        "Size of that disk or memory",
        without_labels(storage.total_bytes),
    )?;
    page.gauge(
        "minikafka_storage_read_only",
        "Whether messages are refused for want of room: 1 or 0",
        storage.full.is_some().into(),
    )?;
    page.gauge(
        "minikafka_storage_stopped",
        "Whether a thread of the storage has ended, so that nothing becomes durable: 1 or 0",
        storage.stopped.into(),
    )?;
    page.gauge(
        "minikafka_poisoned_logs",
        "Logs that have failed in a write or a sync, until a produce has them opened again",
        storage.poisoned_logs,
    )
}

const NO_LABELS: [(&str, &str); 0] = [];

/// One sample without labels, if there is one.
fn without_labels(value: Option<u64>) -> Option<([(&'static str, &'static str); 0], u64)> {
    value.map(|value| (NO_LABELS, value))
}
