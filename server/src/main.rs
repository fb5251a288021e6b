//! The server of MiniKafka as a program. See `server --help`.

use std::{
    env, io,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{anyhow, bail};
use minikafka_broker::BrokerConfig;
use minikafka_flags::format_duration;
use minikafka_server::{
    Server,
    config::{Config, StorageConfig, format_byte_size, round_byte_size},
    raise_open_files,
};
use minikafka_storage::Durability;
use tokio::{
    runtime::Runtime,
    signal::unix::{Signal, SignalKind, signal},
};

/// Signals within so much time are one wish: a terminal and a supervisor may both pass it on.
const SAME_WISH: Duration = Duration::from_secs(1);
/// Exit code when the server cannot start, or not stop cleanly.
const EXIT_FAILURE: u8 = 1;

fn main() -> ExitCode {
    let config = match Config::load(env::vars_os(), env::args_os()) {
        Ok(config) => config,
        Err(error) => {
            error.print();
            return error.exit_code().into();
        }
    };
    config.log.start();
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    match run(&config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Our errors say their causes themselves.
            eprintln!("server: {error}");
            EXIT_FAILURE.into()
        }
    }
}

fn run(config: &Config) -> anyhow::Result<()> {
    let runtime = Runtime::new().map_err(|error| anyhow!("cannot start the runtime: {error}"))?;
    let outcome = runtime.block_on(serve(config));
    // Who sent a second signal does not want to wait for a disk that does not answer.
    runtime.shutdown_background();
    outcome
}

async fn serve(config: &Config) -> anyhow::Result<()> {
    let open_files = raise_open_files();
    tracing::debug!(open_files, "raised the limit of open files");
    // Before anything is opened: a signal during recovery ends the server as well.
    let mut signals = Signals::listen().map_err(|error| anyhow!("cannot listen for signals: {error}"))?;
    let builder = Server::builder()
        .storage_config(config.storage.clone())
        .broker(config.broker.clone())
        .kafka(config.kafka.clone());
    let address = config.host.to_string();
    let server = tokio::select! {
        started = builder.start(&address) => started?,
        signal = signals.next() => {
            tracing::info!(signal, "stopped before it was started");
            return Ok(());
        }
    };
    announce(&server, config);
    let signal = signals.next().await;
    tracing::info!(signal, "stopping; a second signal ends the server at once");
    tokio::select! {
        biased;
        stopped = server.stop() => stopped.map_err(|error| anyhow!("did not stop cleanly: {error}"))?,
        () = signals.next_after(SAME_WISH) => bail!("ended by a second signal before it had stopped"),
    }
    tracing::info!("stopped");
    Ok(())
}

/// Says what is served where, where it is stored, for how long, and what an acknowledgement means.
fn announce(server: &Server, config: &Config) {
    let address = server.local_addr();
    tracing::info!("MiniKafka {} serves gRPC and HTTP on {address}", env!("CARGO_PKG_VERSION"));
    announce_kafka(server);
    if address.ip().is_loopback() {
        tracing::info!("only this machine can reach it: -host :{} serves all interfaces", address.port());
    } else {
        tracing::warn!("anybody who reaches {address} can read and write: there is no authentication");
    }
    match &config.storage {
        StorageConfig::Memory { limit_bytes } => {
            tracing::info!("storage: memory, at most {}", round_byte_size(*limit_bytes));
        }
        StorageConfig::Filesystem { root, .. } => {
            let root = root.canonicalize().unwrap_or_else(|_| root.clone());
            tracing::info!("storage: files in {}", root.display());
        }
    }
    let BrokerConfig { retention, retention_bytes, message_bytes_max, .. } = config.broker;
    let kept = retention.map_or("for ever".to_owned(), |age| format!("for {}", format_duration(age)));
    let size = retention_bytes
        .map_or_else(String::new, |bytes| format!(", at most {} in each partition", format_byte_size(bytes)));
    let largest = format_byte_size(message_bytes_max as u64);
    tracing::info!("retention: messages are kept {kept}{size}; messages of up to {largest}");
    tracing::info!("acknowledged means: {}", meaning(server.broker().durability()));
}

/// Says where Kafka clients are served, and what they are told.
fn announce_kafka(server: &Server) {
    let (Some(address), Some(advertised)) = (server.kafka_addr(), server.kafka_advertised()) else { return };
    tracing::info!("Kafka clients are served on {address}, and told that it is {advertised}");
    if !address.ip().is_loopback() {
        tracing::warn!(
            "any Kafka client that reaches {address} can read and write: there is no authentication"
        );
    }
}

fn meaning(durability: Durability) -> String {
    match durability {
        Durability::Synced => "on disk, synced".to_owned(),
        Durability::Periodic(interval) => format!(
            "handed to the operating system, which syncs every {}; power loss may take acknowledged messages, \
             and their numbers may be given again",
            format_duration(interval)
        ),
        Durability::Cached => {
            "handed to the operating system, which syncs when it likes; power loss may take \
                               acknowledged messages, and their numbers may be given again"
                .to_owned()
        }
        Durability::Memory => "in the memory of this process; its end takes all messages".to_owned(),
    }
}

/// SIGINT and SIGTERM.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn listen() -> io::Result<Signals> {
        Ok(Signals {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Waits for one that comes later than that from now.
    async fn next_after(&mut self, ignored: Duration) {
        let begin = Instant::now();
        loop {
            self.next().await;
            if begin.elapsed() >= ignored {
                return;
            }
        }
    }

    /// The name of the next one.
    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
        }
    }
}
