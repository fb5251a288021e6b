//! `minikafka bench`: how fast a server is, as its clients see it.
//!
//! ```text
//!   clock: when messages are due -> chain: messages that know each other -> sending -> server
//!                                                                                        |
//!   report <- latency <---------------- chain: what came of them <-------- reading <-----'
//! ```
//!
//! Loads at a rate are open loops: a message is due when it is due, whatever became of those before it, and its
//! time counts from then. So a server that stalls is seen to stall, which loops that wait hide (coordinated
//! omission). All that is sent is read back and checked: a fast server that loses messages is no fast server.

mod chain;
mod clock;
mod groups;
mod latency;
mod reading;
mod report;
mod sending;
mod stop;
mod target;

use std::{ops::RangeInclusive, process::ExitCode, time::Duration};

use clap::Subcommand;
use minikafka_client_produce::Compression;
use minikafka_flags::parse_duration;
use tokio::time::Instant;

use self::{
    clock::End,
    latency::Percentiles,
    reading::{Read, Reading},
    report::{Report, Throughput},
    sending::{Load, Sending, Sent, Spread},
    stop::Stop,
    target::Target,
};
use crate::{
    interrupt::{INTERRUPTED, Interrupt, Patience},
    positive::positive,
    target::Target as Server,
};

const EXAMPLES: &str = "\
Examples:
  minikafka bench produce
  minikafka bench produce -size 1024 -producers 8 -partitions 8 -duration 30s
  minikafka bench latency -rate 1000 -duration 60s
  minikafka bench consume -messages 5000000
  minikafka bench groups -members 10 -partitions 64 -rate 5000
  minikafka bench groups -commit-interval 0s -output json | jq .group.rebalance
  minikafka bench latency -output json | jq .acknowledged_ms.p99

Everything that is sent is read back and checked. Exit codes: 0 done and sound, 1 failed or not sound, 2 wrong usage,
130 interrupted.";

const PRODUCE_EXAMPLES: &str = "\
Examples:
  minikafka bench produce
  minikafka bench produce -size 1024 -producers 8 -partitions 100 -duration 30s
  minikafka bench produce -rate 50000 -output json | jq .acknowledged_ms.p99";

const CONSUME_EXAMPLES: &str = "\
Examples:
  minikafka bench consume -messages 5000000
  minikafka bench consume -compression zstd -partitions 8 -output json | jq .consumed.messages_per_second";

const LATENCY_EXAMPLES: &str = "\
Examples:
  minikafka bench latency -rate 1000 -duration 60s
  minikafka bench latency -producers 8 -partitions 8 -output json | jq .delivered_ms.p99";

const GROUPS_EXAMPLES: &str = "\
Examples:
  minikafka bench groups -members 10 -partitions 64 -rate 5000
  minikafka bench groups -commit-interval 0s -output json | jq .group.rebalance
  minikafka bench groups -steady -duration 30s";

/// The command line of `minikafka bench`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(subcommand)]
    what: What,
    #[command(flatten)]
    server: Server,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Sends messages and measures until they are acknowledged
    #[command(after_help = PRODUCE_EXAMPLES)]
    Produce(Common),
    /// Fills a topic, then reads it from there on
    #[command(after_help = CONSUME_EXAMPLES)]
    Consume(Common),
    /// Sends at a rate, and measures until messages are acknowledged and delivered
    #[command(after_help = LATENCY_EXAMPLES)]
    Latency(Common),
    /// Sends at a rate to a topic that a group reads, one of whose members leaves while another one joins
    #[command(after_help = GROUPS_EXAMPLES)]
    Groups(groups::Args),
}

/// What all runs can be told.
#[derive(Clone, Debug, clap::Args)]
struct Common {
    /// Topic, which has to be there [default: a new one, deleted afterwards]
    #[arg(long)]
    topic: Option<String>,
    /// Partitions of the new topic [default: 1; groups: 64]
    #[arg(long, conflicts_with = "topic", value_parser = clap::value_parser!(u32).range(1..))]
    partitions: Option<u32>,
    /// Bytes of each message, at least 36; the topic has a limit, 3 MiB if nobody has set another
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(SIZES))]
    size: u32,
    /// Producers, each with a connection; each writes to all partitions in turn; groups: they share the partitions
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    producers: u32,
    /// Messages of all producers together, instead of a duration
    #[arg(long, conflicts_with = "duration", value_parser = clap::value_parser!(u64).range(1..))]
    messages: Option<u64>,
    /// How long to send: 10s, 1m [default: 10s]
    #[arg(long, value_parser = positive)]
    duration: Option<Duration>,
    /// Messages per second of all producers together [default: as many as the server takes; latency, groups: 1000]
    #[arg(long, value_parser = rate)]
    rate: Option<f64>,
    /// Messages that are due before this time are sent and not measured [default: 0s; latency, groups: 1s]
    #[arg(long, value_parser = parse_duration)]
    warmup: Option<Duration>,
    /// gzip, snappy, lz4, zstd or none. The messages do not become smaller: it shows what trying costs
    #[arg(long, default_value = "none")]
    compression: Compression,
}

const SIZES: RangeInclusive<i64> = chain::LEN_MIN as i64..=chain::LEN_MAX as i64;

/// One message in a quarter of an hour at least, and one in a nanosecond at most: from one to the next is a time.
const RATES: RangeInclusive<f64> = 0.001..=1e9;

fn rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if RATES.contains(&rate) => Ok(rate),
        _ => Err(format!("it is a number from {} to {}", RATES.start(), RATES.end())),
    }
}

const PARTITIONS: u32 = 1;
const DURATION: Duration = Duration::from_secs(10);
const LATENCY_RATE: f64 = 1000.0;
const LATENCY_WARMUP: Duration = Duration::from_secs(1);

/// How long a run has to clean up behind itself once it is interrupted.
const PATIENCE: Duration = Duration::from_secs(10);

/// As for nonsense that the command line itself shows.
const WRONG_USAGE: u8 = 2;

/// Does what it is told.
///
/// # Errors
/// When the server cannot be reached or refuses, or what is read back is not what was sent.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let (name, mut common) = match args.what {
        What::Produce(common) => ("produce", common),
        What::Consume(common) => ("consume", common),
        What::Latency(common) => ("latency", common),
        What::Groups(groups) => return groups::run(groups, &args.server).await,
    };
    if name == "latency" {
        common.pace();
    }
    let run = random();
    let load = common.load(run);
    let partitions = common.partitions.unwrap_or(PARTITIONS);
    if let Err(error) = common.check(&load, partitions) {
        return Ok(wrong_usage(&error));
    }
    let mut interrupt = listen()?;
    let target = Target::open(&args.server, common.topic.as_deref(), partitions, run).await?;
    let measured = tokio::select! {
        measured = measure(name, &target, &common, &load) => measured,
        () = interrupt.received() => {
            target.announce_interrupted();
            load.stop.all().await;
            target.close().await?;
            return Ok(ExitCode::from(INTERRUPTED));
        }
    };
    let report = match measured {
        Ok(report) => report,
        Err(error) => {
            load.stop.all().await;
            target.give_up().await;
            return Err(error);
        }
    };
    report.print(args.server.output)?;
    target.close().await?;
    reading::check(&report.verified)?;
    Ok(ExitCode::SUCCESS)
}

/// Says what is wrong before anything was done.
fn wrong_usage(error: &anyhow::Error) -> ExitCode {
    say!("minikafka: {error:#}");
    ExitCode::from(WRONG_USAGE)
}

/// Listens for signals: what a run has made is deleted first.
fn listen() -> anyhow::Result<Interrupt> {
    Interrupt::listen(Patience::For(PATIENCE), INTERRUPTED)
}

/// A number that no other run has.
fn random() -> u64 {
    use std::hash::{BuildHasher as _, RandomState};
    RandomState::new().hash_one(std::process::id())
}

async fn measure(
    name: &'static str,
    target: &Target,
    common: &Common,
    load: &Load,
) -> anyhow::Result<Report> {
    let producers = sending::connect(target, load).await?;
    let (sent, read): (Sent, Read) = match name {
        // Readers beside the producers: what is measured is how late they are.
        "latency" => {
            let consumers = reading::connect(target, &target.ends).await?;
            let start = Instant::now();
            let reading = Reading::start(consumers, target, load, start);
            let sent = Sending::start(&producers, target, load, start).end().await?;
            let read = reading.end(&sent.counts, target).await?;
            (sent, read)
        }
        _ => {
            let start = Instant::now();
            let sent = Sending::start(&producers, target, load, start).end().await?;
            let consumers = reading::connect(target, &target.ends).await?;
            let read = Reading::start(consumers, target, load, start).end(&sent.counts, target).await?;
            (sent, read)
        }
    };
    Ok(common.report(name, target, &sent, &read))
}

impl Common {
    /// Latencies are those of a load that the server can take.
    fn pace(&mut self) {
        self.rate.get_or_insert(LATENCY_RATE);
        self.warmup.get_or_insert(LATENCY_WARMUP);
    }

    /// Whether the load can be had, as far as that is known before a new topic with so many partitions is created.
    fn check(&self, load: &Load, partitions: u32) -> anyhow::Result<()> {
        match self.topic {
            Some(_) => Ok(()),
            None => load.check(partitions),
        }
    }

    fn load(&self, run: u64) -> Load {
        let end = match self.messages {
            Some(messages) => End::Messages(messages),
            None => End::After(self.duration.unwrap_or(DURATION)),
        };
        Load {
            run,
            producers: self.producers,
            spread: Spread::AllToEach,
            message_len: self.size as usize,
            per_second: self.rate,
            end,
            compression: self.compression,
            warmup: self.warmup.unwrap_or_default(),
            stop: Stop::default(),
        }
    }

    fn report(&self, name: &'static str, target: &Target, sent: &Sent, read: &Read) -> Report {
        let size = self.size as usize;
        let consumed = Throughput::new(read.verdict.sound, size, read.elapsed);
        let delivered: Option<Percentiles> = read.latencies.percentiles();
        Report {
            benchmark: name,
            command: report::command(),
            version: env!("CARGO_PKG_VERSION"),
            machine: report::machine(),
            server: target.host.clone(),
            topic: target.topic.clone(),
            partitions: target.partitions,
            durability: target.durability,
            message_bytes: size,
            rate: self.rate,
            produced: Some(Throughput::new(sent.messages(), size, sent.elapsed)),
            consumed: matches!(name, "consume" | "groups").then_some(consumed),
            acknowledged_ms: sent.latencies.percentiles(),
            delivered_ms: delivered.filter(|_| matches!(name, "latency" | "groups")),
            group: None,
            verified: read.verdict,
        }
    }
}
