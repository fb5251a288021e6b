//! [`Builder`], what can be chosen about a [`Server`].

use std::{future::Future, path::Path, sync::Arc, time::Duration};

use minikafka_broker::{Broker, BrokerConfig, Error};
use minikafka_storage::{Storage, filesystem::SyncPolicy};
use tokio::net::TcpListener;

use crate::{
    Server, ServerError,
    config::{Address, KafkaConfig, Listen, StorageConfig, default_memory_limit_bytes},
    connections_max,
    server::KafkaListener,
};

/// Doors that take connections.
const DOORS: usize = 2;

/// What can be chosen about a server: its storage and how it keeps topics. Without a choice, it stores
/// messages in memory for a week.
#[derive(Debug)]
pub struct Builder {
    storage: StorageChoice,
    broker: BrokerConfig,
    kafka: KafkaConfig,
    connections_max: Option<usize>,
}

#[derive(Debug)]
enum StorageChoice {
    ToOpen(StorageConfig),
    Opened(Arc<dyn Storage>),
}

impl Default for Builder {
    fn default() -> Builder {
        let storage = StorageConfig::Memory { limit_bytes: default_memory_limit_bytes() };
        Builder {
            storage: StorageChoice::ToOpen(storage),
            broker: BrokerConfig::default(),
            kafka: KafkaConfig::off(),
            connections_max: None,
        }
    }
}

impl Builder {
    /// Stores messages in memory, up to half of the machine's.
    pub fn memory(self) -> Builder {
        self.storage_config(StorageConfig::Memory { limit_bytes: default_memory_limit_bytes() })
    }

    /// Stores messages in a directory, which is created when it is not there, synced before each
    /// acknowledgement.
    pub fn filesystem(self, root: impl AsRef<Path>) -> Builder {
        self.storage_config(StorageConfig::Filesystem {
            root: root.as_ref().to_owned(),
            sync: SyncPolicy::Always,
        })
    }

    /// Stores messages as a configuration says.
    pub fn storage_config(self, config: StorageConfig) -> Builder {
        Builder { storage: StorageChoice::ToOpen(config), ..self }
    }

    /// Stores messages in a storage of one's own. The server closes it when it stops.
    pub fn storage(self, storage: Arc<dyn Storage>) -> Builder {
        Builder { storage: StorageChoice::Opened(storage), ..self }
    }

    /// Evicts messages at this age.
    pub fn retention(mut self, retention: Duration) -> Builder {
        self.broker.retention = Some(retention);
        self
    }

    /// Evicts the oldest messages of a partition when it takes up more bytes than this, segment by segment.
    pub fn retention_bytes(mut self, bytes: u64) -> Builder {
        self.broker.retention_bytes = Some(bytes);
        self
    }

    /// Keeps topics as a configuration says.
    pub fn broker(self, broker: BrokerConfig) -> Builder {
        Builder { broker, ..self }
    }

    /// Opens a door for Kafka clients. Without this there is none.
    pub fn kafka(self, kafka: KafkaConfig) -> Builder {
        Builder { kafka, ..self }
    }

    /// Takes at most so many connections at the same time, over all doors, each of which keeps the last one for itself, however
    /// many wait at the other; those beyond wait in the system's queue. At least 2. Without this it is what the limit of open files allows: see
    /// [`connections_max`].
    pub fn connections_max(self, connections: usize) -> Builder {
        Builder { connections_max: Some(connections.max(DOORS)), ..self }
    }

    /// Starts a server on an address: `127.0.0.1:0` takes a free port, `:9999` all interfaces.
    ///
    /// # Errors
    /// When the storage cannot be opened or the address not be listened on.
    pub async fn start(self, address: &str) -> Result<Server, ServerError> {
        let address: Address =
            address.parse().map_err(|source| ServerError::Address { text: address.to_owned(), source })?;
        let (kafka, connections_max) = (self.kafka.clone(), self.room_for());
        let broker = self.open().await?;
        let listening = async {
            let listener = address.bind().await;
            let listener = listener.map_err(|source| ServerError::Listen { address, source })?;
            Ok((listener, listen_for_kafka(kafka).await?))
        };
        match listening.await {
            Ok((listener, kafka)) => Server::run(listener, kafka, broker, connections_max),
            Err(error) => {
                // The storage was ours to open, so it is ours to close; the port is the news.
                broker.close().await?;
                Err(error)
            }
        }
    }

    /// Starts a server on a listener that is there.
    ///
    /// # Errors
    /// When the storage cannot be opened, or the address for Kafka clients not be listened on.
    pub async fn start_on(self, listener: TcpListener) -> Result<Server, ServerError> {
        let kafka = listen_for_kafka(self.kafka.clone()).await?;
        let connections_max = self.room_for();
        Server::run(listener, kafka, self.open().await?, connections_max)
    }

    /// Serves on a listener until `shutdown` completes, then stops gracefully.
    ///
    /// # Errors
    /// When the storage cannot be opened, or not be closed cleanly.
    pub async fn serve(
        self,
        listener: TcpListener,
        shutdown: impl Future<Output = ()>,
    ) -> Result<(), ServerError> {
        let server = self.start_on(listener).await?;
        shutdown.await;
        server.stop().await
    }

    /// Connections that there may be.
    fn room_for(&self) -> usize {
        self.connections_max.unwrap_or_else(connections_max)
    }

    async fn open(self) -> Result<Broker, ServerError> {
        let storage = match self.storage {
            StorageChoice::Opened(storage) => storage,
            StorageChoice::ToOpen(config) => open_storage(config, self.broker.clone()).await?,
        };
        Ok(Broker::open(storage, self.broker).await?)
    }
}

/// Listens for Kafka clients. The default address may be another server's; one that was chosen may not.
async fn listen_for_kafka(config: KafkaConfig) -> Result<Option<KafkaListener>, ServerError> {
    let KafkaConfig { listen, advertised, idle_timeout } = config;
    let (address, is_chosen) = match listen {
        Listen::Off => return Ok(None),
        Listen::Default => (KafkaConfig::default_address(), false),
        Listen::At(address) => (address, true),
    };
    match address.bind().await {
        Ok(listener) => Ok(Some(KafkaListener { listener, advertised, idle_timeout })),
        Err(source) if !is_chosen => {
            tracing::warn!("no door for Kafka clients: cannot listen on {address}: {source}");
            Ok(None)
        }
        Err(source) => Err(ServerError::Listen { address, source }),
    }
}

/// Opening recovers, so it may take the disk a while.
async fn open_storage(config: StorageConfig, broker: BrokerConfig) -> Result<Arc<dyn Storage>, ServerError> {
    match tokio::task::spawn_blocking(move || config.open(&broker)).await {
        Ok(opened) => Ok(opened?),
        Err(join) if join.is_panic() => std::panic::resume_unwind(join.into_panic()),
        Err(_) => Err(Error::Stopping.into()),
    }
}
