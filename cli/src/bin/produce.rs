//! `produce`: see [`minikafka_cli::produce`].

use std::process::ExitCode;

use minikafka_cli::produce::Args;

#[tokio::main]
async fn main() -> ExitCode {
    let args: Args = minikafka_cli::read();
    minikafka_cli::run("produce", minikafka_cli::produce::run(args)).await
}
