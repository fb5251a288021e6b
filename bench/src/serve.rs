//! [`ServerProcess`]: a server in a process of its own, as users have it. Which one is measured, and which ones are
//! the limit, is its [`Kind`].

use std::{fs::File, path::Path};

use minikafka_client_connection::{Address, Client, connect};
use minikafka_server::{Server, config::KafkaConfig};
use minikafka_storage::filesystem::SyncPolicy;
use tempfile::TempDir;

use crate::{
    bare::{GroupCommit, Keep, Service, sink, source, stub},
    child::{Child, end_with_parent},
    memory::fresh_dir,
};

/// Which server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Kind {
    /// MiniKafka; what it acknowledges is synced.
    MiniKafka,
    /// A bare server that answers and forgets.
    Echo,
    /// A bare server that writes what it gets and syncs it, in groups, before it answers.
    Commit,
    /// MiniKafka's door for Kafka clients; what it acknowledges is synced.
    Kafka,
    /// A bare server that parses Kafka's frames, writes and syncs them, in groups, before it answers.
    KafkaSink,
    /// A bare server that answers each of Kafka's frames with the same bytes.
    KafkaSource,
    /// A bare server that answers Kafka's clients, and stores nothing.
    KafkaStub,
    /// The same, but it writes what it gets to a file, and does not sync it.
    KafkaFile,
    /// The same, but it writes over the same bytes of the file again and again, and syncs them, in groups, before it answers.
    KafkaCommit,
}

/// Bytes of messages in a reply of the bare source.
pub(crate) const SOURCE_BYTES: usize = 8 << 20;

/// A server, with a directory of its own.
#[derive(Debug)]
pub(crate) struct ServerProcess {
    // Ends before its directory goes.
    pub(crate) child: Child,
    pub(crate) address: String,
    _dir: TempDir,
}

impl ServerProcess {
    /// Starts a server, with its files somewhere below `dir`, and memory for them.
    pub(crate) fn start(kind: Kind, dir: &Path) -> anyhow::Result<ServerProcess> {
        let dir = fresh_dir(dir)?;
        let name = match kind {
            Kind::MiniKafka => "mini-kafka",
            Kind::Echo => "echo",
            Kind::Commit => "commit",
            Kind::Kafka => "kafka",
            Kind::KafkaSink => "kafka-sink",
            Kind::KafkaSource => "kafka-source",
            Kind::KafkaStub => "kafka-stub",
            Kind::KafkaFile => "kafka-file",
            Kind::KafkaCommit => "kafka-commit",
        };
        let mut child =
            Child::start(&["serve", "--kind", name, "--data", dir.path().to_str().unwrap_or_default()])?;
        let address = child.line()?;
        Ok(ServerProcess { child, address, _dir: dir })
    }

    /// A connection, as our own clients open it.
    pub(crate) async fn connect(&self) -> anyhow::Result<Client> {
        let address: Address = self.address.parse()?;
        connect(address).await.map_err(anyhow::Error::msg)
    }
}

/// The child: serves until it is killed.
pub(crate) async fn run(kind: Kind, dir: &Path) -> anyhow::Result<()> {
    end_with_parent();
    let commit = match kind {
        Kind::MiniKafka | Kind::Kafka => {
            let storage = minikafka_server::config::StorageConfig::Filesystem {
                root: dir.to_owned(),
                sync: SyncPolicy::Always,
            };
            let door = KafkaConfig::at("127.0.0.1:0".parse()?);
            let server = Server::builder().storage_config(storage).kafka(door).start("127.0.0.1:0").await?;
            let kafka = server.kafka_addr().filter(|_| kind == Kind::Kafka);
            println!("{}", kafka.unwrap_or(server.local_addr()));
            std::future::pending::<()>().await;
            return Ok(());
        }
        Kind::Echo | Kind::KafkaSource | Kind::KafkaStub | Kind::KafkaFile => None,
        Kind::Commit | Kind::KafkaSink => Some(GroupCommit::create(dir)?),
        Kind::KafkaCommit => Some(GroupCommit::in_place(dir)?),
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    match (kind, commit) {
        (Kind::KafkaSink, Some(commit)) => sink(listener, commit).await,
        (Kind::KafkaSource, _) => source(listener, SOURCE_BYTES).await,
        (Kind::KafkaStub, _) => stub(listener, Keep::Nothing).await,
        (Kind::KafkaFile, _) => stub(listener, Keep::Written(File::create(dir.join("batches"))?)).await,
        (Kind::KafkaCommit, Some(commit)) => stub(listener, Keep::Synced(commit)).await,
        (_, commit) => Service::new(commit).serve(listener).await,
    }
}
