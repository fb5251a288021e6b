//! What MiniKafka reaches, beside what the machine allows.
//!
//! A figure alone says little: machines differ and neighbours are noisy. So each scenario measures its limit in the same
//! run, round by round in turn, and reports the medians and their ratio.

mod grpc;
mod report;
mod storage;

use std::{path::PathBuf, time::Duration};

use clap::{Parser, Subcommand};

/// Measures MiniKafka against the limits of the machine.
#[derive(Parser)]
#[command(version, after_help = "Example:\n  cargo run --release -p minikafka-bench -- storage --rounds 5")]
struct Args {
    #[command(subcommand)]
    what: Option<What>,
    /// Rounds of each scenario; medians are reported.
    #[arg(long, default_value_t = 5, global = true)]
    rounds: usize,
    /// Seconds that a timed round takes.
    #[arg(long, default_value_t = 2, global = true)]
    seconds: u64,
    /// Directory for the data: its disk is what is measured.
    #[arg(long, default_value = "target", global = true)]
    dir: PathBuf,
}

#[derive(Clone, Copy, PartialEq, Eq, Subcommand)]
enum What {
    /// Appends with fsync, against a bare group-commit loop.
    Storage,
    /// gRPC produce and subscribe, against bare tonic streams.
    Grpc,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    std::fs::create_dir_all(&args.dir)?;
    report::header();
    if args.what != Some(What::Grpc) {
        storage::run(&args.dir, args.rounds, Duration::from_secs(args.seconds))?;
    }
    if args.what != Some(What::Storage) {
        tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()?
            .block_on(grpc::run(&args.dir, args.rounds))?;
    }
    Ok(())
}
