//! What MiniKafka reaches, beside what the machine allows.
//!
//! A figure alone says little: machines differ and neighbours are noisy. So each scenario measures its limit in the
//! same run, round by round in turn, and reports medians, their ratio, and the bar that they are held against.
//!
//! ```text
//!   scenario ---> MiniKafka, its storage or its server   (server processes: serve; processes to be killed: recovery)
//!            \--> bare: the least code that does the same
//!             \-> report: a line for each figure
//! ```

mod bare;
mod child;
mod client;
mod frames;
mod kafka_client;
mod latencies;
mod load;
mod logs;
mod machine;
mod memory;
mod pacer;
mod report;
mod scenario;
mod serve;

use std::{path::PathBuf, time::Duration};

use clap::{Parser, Subcommand};

use crate::{
    scenario::{
        Settings, catchup, crowd, fanout, footprint, idle, kafka, large, latency, matrix, produce,
        publishers, readers, recovery, spread, storage, unary,
    },
    serve::Kind,
};

/// Measures MiniKafka against the limits of the machine.
#[derive(Parser)]
#[command(version, after_help = "Example:\n  cargo run --release -p minikafka-bench -- storage --rounds 5")]
struct Args {
    #[command(subcommand)]
    what: Option<What>,
    /// Rounds of each scenario; medians are reported.
    #[arg(long, default_value_t = 3, global = true)]
    rounds: usize,
    /// Seconds that each side has in a round.
    #[arg(long, default_value_t = 1.0, global = true)]
    seconds: f64,
    /// Directory for the data: its disk is what is measured.
    #[arg(long, default_value = "target", global = true)]
    dir: PathBuf,
    /// GiB of the scenarios that are about size: recovery, footprint, catchup.
    #[arg(long, default_value_t = 1.0, global = true)]
    gib: f64,
}

#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
enum What {
    /// All of these, one after the other.
    All,
    /// Appends of 1 KiB with fsync, against a bare group-commit loop.
    Storage,
    /// The same load over 1, 16, 256 and 1000 partitions.
    Matrix,
    /// Appends of 16 KiB to 1 MiB, against plain loops that write.
    Large,
    /// One gRPC produce stream, against bare tonic streams.
    Produce,
    /// Unary gRPC calls, against bare tonic.
    Unary,
    /// Latency at a fixed rate, and while segments roll.
    Latency,
    /// 64 publishers with one message in flight each.
    Publishers,
    /// One producer, many subscribers.
    Fanout,
    /// The Kafka door, with a raw client.
    Kafka,
    /// The Kafka door, with 64 connections and one batch under way on each.
    Crowd,
    /// Thousands of waiting readers, and one that lags.
    Readers,
    /// Reading a log from its start.
    Catchup,
    /// Opening after a kill.
    Recovery,
    /// Memory, and what idle partitions cost.
    Footprint,
    /// One produce stream over 100 partitions, against one partition.
    Spread,
    /// What 1000 idle partitions and 1000 idle groups cost.
    Idle,
    /// A server as a child process.
    #[command(hide = true)]
    Serve {
        #[arg(long)]
        kind: Kind,
        #[arg(long)]
        data: PathBuf,
    },
    /// A child process that appends until it is killed.
    #[command(hide = true)]
    Fill {
        #[arg(long)]
        data: PathBuf,
        #[arg(long)]
        logs: usize,
        #[arg(long)]
        bytes: u64,
    },
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let what = args.what.unwrap_or(What::All);
    match &what {
        What::Serve { kind, data } => return runtime.block_on(serve::run(*kind, data)),
        What::Fill { data, logs, bytes } => return recovery::fill(data, *logs, *bytes),
        _ => {}
    }
    std::fs::create_dir_all(&args.dir)?;
    let settings = Settings {
        dir: args.dir,
        rounds: args.rounds.max(1),
        time: Duration::from_secs_f64(args.seconds),
        gib: args.gib,
    };
    println!("{}", machine::describe(&settings.dir));
    println!(
        "MiniKafka {}: acknowledged means synced (-sync always) unless a line says otherwise; {} rounds of {} s",
        env!("CARGO_PKG_VERSION"),
        settings.rounds,
        args.seconds
    );
    report::header();
    let all = what == What::All;
    let wanted = |one: What| all || what == one;
    if wanted(What::Storage) {
        storage::run(&settings)?;
    }
    if wanted(What::Matrix) {
        matrix::run(&settings)?;
    }
    if wanted(What::Large) {
        large::run(&settings)?;
    }
    if wanted(What::Recovery) {
        recovery::run(&settings)?;
    }
    runtime.block_on(over_grpc(&settings, wanted))?;
    report::footer();
    Ok(())
}

/// The scenarios with a server.
async fn over_grpc(settings: &Settings, wanted: impl Fn(What) -> bool) -> anyhow::Result<()> {
    if wanted(What::Produce) {
        produce::run(settings).await?;
    }
    if wanted(What::Unary) {
        unary::run(settings).await?;
    }
    if wanted(What::Latency) {
        latency::run(settings).await?;
    }
    if wanted(What::Publishers) {
        publishers::run(settings).await?;
    }
    if wanted(What::Fanout) {
        fanout::run(settings).await?;
    }
    if wanted(What::Kafka) {
        kafka::run(settings).await?;
    }
    if wanted(What::Crowd) {
        crowd::run(settings).await?;
    }
    if wanted(What::Readers) {
        readers::run(settings).await?;
    }
    if wanted(What::Catchup) {
        catchup::run(settings).await?;
    }
    if wanted(What::Footprint) {
        footprint::run(settings).await?;
    }
    if wanted(What::Spread) {
        spread::run(settings).await?;
    }
    if wanted(What::Idle) {
        idle::run(settings).await?;
    }
    Ok(())
}
