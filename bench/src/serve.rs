//! [`ServerProcess`]: a server in a process of its own, as users have it. Which one is measured, and which ones are
//! the limit, is its [`Kind`].

use std::path::Path;

use minikafka_client_connection::{Address, Client, connect};
use minikafka_server::Server;
use minikafka_storage::filesystem::SyncPolicy;
use tempfile::TempDir;

use crate::{
    bare::{GroupCommit, Service},
    child::{Child, end_with_parent},
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
}

/// A server, with a directory of its own.
#[derive(Debug)]
pub(crate) struct ServerProcess {
    // Ends before its directory goes.
    pub(crate) child: Child,
    pub(crate) address: String,
    _dir: TempDir,
}

impl ServerProcess {
    /// Starts a server, with its files somewhere below `dir`.
    pub(crate) fn start(kind: Kind, dir: &Path) -> anyhow::Result<ServerProcess> {
        let dir = tempfile::tempdir_in(dir)?;
        let name = match kind {
            Kind::MiniKafka => "mini-kafka",
            Kind::Echo => "echo",
            Kind::Commit => "commit",
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
        Kind::MiniKafka => {
            let storage = minikafka_server::config::StorageConfig::Filesystem {
                root: dir.to_owned(),
                sync: SyncPolicy::Always,
            };
            let server = Server::builder().storage_config(storage).start("127.0.0.1:0").await?;
            println!("{}", server.local_addr());
            std::future::pending::<()>().await;
            return Ok(());
        }
        Kind::Echo => None,
        Kind::Commit => Some(GroupCommit::create(dir)?),
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    Service::new(commit).serve(listener).await
}
