//! `consume`: see [`minikafka_cli::consume`].

use std::process::ExitCode;

use minikafka_cli::consume::Args;

#[tokio::main]
async fn main() -> ExitCode {
    let args: Args = minikafka_cli::read();
    minikafka_cli::run("consume", minikafka_cli::consume::run(args)).await
}
