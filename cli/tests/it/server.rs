//! [`TestServer`], an embedded server that can be stopped and started again.

use std::time::Duration;

use minikafka_client_connection::{Client, connect};
use minikafka_proto::v1::{
    CreateTopicRequest, Message, MessageList, ProduceRequest, produce_request::Payload,
};
use minikafka_server::{Builder, Server};
use tempfile::TempDir;
use tokio::{net::TcpSocket, runtime::Runtime};

/// A server on a port of its own, in a runtime of its own.
pub(crate) struct TestServer {
    runtime: Runtime,
    server: Option<Server>,
    address: FreeAddress,
    storage: Storage,
}

enum Storage {
    Memory,
    Filesystem(TempDir),
}

impl TestServer {
    pub(crate) fn memory() -> TestServer {
        TestServer::start(Storage::Memory, FreeAddress::new())
    }

    pub(crate) fn filesystem() -> TestServer {
        TestServer::start(Storage::Filesystem(tempfile::tempdir().unwrap()), FreeAddress::new())
    }

    /// In memory, at an address that was free until now.
    pub(crate) fn memory_at(address: FreeAddress) -> TestServer {
        TestServer::start(Storage::Memory, address)
    }

    fn start(storage: Storage, address: FreeAddress) -> TestServer {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        let mut server = TestServer { runtime, server: None, address, storage };
        server.start_again();
        server
    }

    /// Starts it where it was before.
    pub(crate) fn start_again(&mut self) {
        self.start_as(self.builder());
    }

    /// Its storage, for a server with other options.
    pub(crate) fn builder(&self) -> Builder {
        match &self.storage {
            Storage::Memory => Server::builder().memory(),
            Storage::Filesystem(root) => Server::builder().filesystem(root.path()),
        }
    }

    /// Flips a bit of `text` where it lies in the files of a storage on disk.
    pub(crate) fn damage(&self, text: &str) {
        let Storage::Filesystem(root) = &self.storage else { panic!("memory has no files") };
        let mut logs = std::fs::read_dir(root.path().join("logs")).unwrap().map(|log| log.unwrap().path());
        let is_own = |log: &std::path::PathBuf| log.to_string_lossy().contains("__minikafka");
        let log = logs.find(|log| !is_own(log)).unwrap();
        for file in std::fs::read_dir(log).unwrap().map(|entry| entry.unwrap().path()) {
            let mut bytes = std::fs::read(&file).unwrap();
            if let Some(at) = bytes.windows(text.len()).position(|found| found == text.as_bytes()) {
                bytes[at] ^= 1;
                std::fs::write(&file, bytes).unwrap();
            }
        }
    }

    /// Takes the log of a partition away from a storage on disk.
    pub(crate) fn lose(&self, topic: &str, partition: u32) {
        let prefix = format!("{topic}-{partition}.");
        let mut logs = std::fs::read_dir(self.root().join("logs")).unwrap().map(|log| log.unwrap());
        let log = logs.find(|log| log.file_name().to_string_lossy().starts_with(&prefix)).unwrap();
        std::fs::remove_dir_all(log.path()).unwrap();
    }

    /// Starts it where it was before, with other options.
    pub(crate) fn start_as(&mut self, builder: Builder) {
        let server = self.runtime.block_on(builder.start(self.host())).unwrap();
        self.server = Some(server);
    }

    /// Stops it gracefully.
    pub(crate) fn stop(&mut self) {
        self.runtime.block_on(self.server.take().unwrap().stop()).unwrap();
    }

    /// Its data directory.
    pub(crate) fn root(&self) -> &std::path::Path {
        match &self.storage {
            Storage::Memory => panic!("memory has no directory"),
            Storage::Filesystem(root) => root.path(),
        }
    }

    pub(crate) fn host(&self) -> &str {
        self.address.host()
    }

    /// Creates a topic of so many partitions.
    pub(crate) fn create_topic(&self, topic: &str, partitions: u32) {
        let request = CreateTopicRequest { topic: topic.into(), partitions, settings: None };
        self.runtime.block_on(async { self.client().await.create_topic(request).await.unwrap() });
    }

    /// Appends messages to a partition.
    pub(crate) fn produce_to(&self, topic: &str, partition: u32, values: &[String]) {
        let message = |value: &String| Message { value: Some(value.clone().into()), ..Message::default() };
        self.append(topic, partition, values.iter().map(message).collect());
    }

    /// Appends a message with this timestamp.
    pub(crate) fn produce_at(&self, topic: &str, partition: u32, timestamp_ms: i64, value: &str) {
        let value = Some(value.to_owned().into());
        let message = Message { value, timestamp_ms: Some(timestamp_ms), ..Message::default() };
        self.append(topic, partition, vec![message]);
    }

    fn append(&self, topic: &str, partition: u32, messages: Vec<Message>) {
        let messages = MessageList { messages };
        let request = ProduceRequest {
            topic: topic.into(),
            partition: Some(partition),
            payload: Some(Payload::Messages(messages)),
            ..ProduceRequest::default()
        };
        self.runtime.block_on(async { self.client().await.produce(request).await.unwrap() });
    }

    async fn client(&self) -> Client {
        connect(self.host().parse().unwrap()).await.unwrap()
    }

    /// Appends messages to a topic, as `produce` does it.
    pub(crate) fn produce(&self, topic: &str, lines: &str) {
        let args = ["-host", self.host(), "-topic", topic];
        let ended = crate::program::run(crate::program::PRODUCE, &args, lines.as_bytes());
        assert_eq!(ended.code, 0, "{}", ended.stderr);
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        if let Some(server) = self.server.take() {
            let _ = self
                .runtime
                .block_on(async { tokio::time::timeout(Duration::from_secs(20), server.stop()).await });
        }
    }
}

/// An address where nobody listens until a [`TestServer`] does.
///
/// A socket that is bound and does not listen refuses connections and keeps the port from everybody else; but a
/// listener with SO_REUSEADDR, which tokio's listeners have as well, can take its place at any time.
pub(crate) struct FreeAddress {
    host: String,
    _socket: TcpSocket,
}

impl FreeAddress {
    pub(crate) fn new() -> FreeAddress {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        FreeAddress { host: socket.local_addr().unwrap().to_string(), _socket: socket }
    }

    pub(crate) fn host(&self) -> &str {
        &self.host
    }
}
