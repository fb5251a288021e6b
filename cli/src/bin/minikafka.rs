//! `minikafka`: the topics and groups of a server, and the data directory of one that does not run; see
//! [`minikafka_cli::topic`], [`minikafka_cli::group`], [`minikafka_cli::storage`], [`minikafka_cli::shell`] and
//! [`minikafka_cli::bench`].

use std::process::ExitCode;

use clap::{Parser, Subcommand};

const EXAMPLES: &str = "\
Examples:
  minikafka topic list
  minikafka topic describe orders --host 10.0.0.7:9999
  minikafka topic describe orders --output json
  minikafka group describe billing
  minikafka group seek billing -to earliest --dry-run
  minikafka storage verify ./minikafka-data
  minikafka shell
  minikafka bench latency -rate 1000

Exit codes: 0 done, 1 failed, 2 wrong usage; 130 for a benchmark or a shell that was interrupted, 143 for a shell that was
terminated.";

/// Looks after the topics and consumer groups of a MiniKafka server, and after its files, and measures it.
#[derive(Debug, Parser)]
#[command(name = "minikafka", version, after_help = EXAMPLES)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Lists, describes, creates, alters and deletes topics
    Topic(minikafka_cli::topic::Args),
    /// Lists, describes, moves and deletes consumer groups
    Group(minikafka_cli::group::Args),
    /// Lists the idempotent producers of topics
    Producer(minikafka_cli::producer::Args),
    /// Takes commands one after the other: adds topics, sends, joins groups, polls
    Shell(minikafka_cli::shell::Args),
    /// Measures a server, and checks that it keeps what it is sent
    Bench(minikafka_cli::bench::Args),
    /// Looks into the data directory of a server that does not run
    Storage(minikafka_cli::storage::Args),
    /// Prints what a shell needs to complete command lines
    Completion(minikafka_cli::completion::Args),
}

#[tokio::main]
async fn main() -> ExitCode {
    let args: Args = minikafka_cli::read();
    match args.command {
        Command::Topic(topic) => minikafka_cli::run("minikafka", minikafka_cli::topic::run(topic)).await,
        Command::Group(group) => minikafka_cli::run("minikafka", minikafka_cli::group::run(group)).await,
        Command::Producer(producer) => {
            minikafka_cli::run("minikafka", minikafka_cli::producer::run(producer)).await
        }
        Command::Completion(completion) => {
            minikafka_cli::run("minikafka", async { minikafka_cli::completion::run::<Args>(&completion) })
                .await
        }
        Command::Shell(shell) => minikafka_cli::run("minikafka", minikafka_cli::shell::run(shell)).await,
        Command::Bench(bench) => minikafka_cli::run("minikafka", minikafka_cli::bench::run(bench)).await,
        Command::Storage(storage) => {
            minikafka_cli::run("minikafka", async { minikafka_cli::storage::run(&storage) }).await
        }
    }
}
