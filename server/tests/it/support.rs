//! A running server with clients, and what tests say often.

use std::{
    future::{Future, poll_fn},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use minikafka_broker::{BrokerConfig, Clock};
use minikafka_proto::{
    original::mini_kafka_client::MiniKafkaClient,
    v1::{
        Anchor, Message, MessageList, PollRequest, PollResponse, Position, ProduceRequest, ProduceResponse,
        mini_kafka_service_client::MiniKafkaServiceClient, position::At, produce_request::Payload,
    },
};
use minikafka_record::{BatchBuilder, Offset};
use minikafka_server::{Builder, Server};
use tokio_stream::StreamExt;
use tonic::client::GrpcService;
use tonic::{
    Code, Status,
    transport::{Channel, Endpoint},
};
use tonic_types::StatusExt;

/// A server in this process, and a connection to it.
pub(crate) struct Fixture {
    pub(crate) server: Server,
    pub(crate) v1: MiniKafkaServiceClient<Channel>,
    pub(crate) original: MiniKafkaClient<Channel>,
    pub(crate) channel: Channel,
}

impl Fixture {
    pub(crate) async fn start(builder: Builder) -> Fixture {
        let server = builder.start("127.0.0.1:0").await.expect("the server starts");
        let channel = connect(&server.local_addr().to_string()).await;
        Fixture {
            server,
            v1: MiniKafkaServiceClient::new(channel.clone()),
            original: MiniKafkaClient::new(channel.clone()),
            channel,
        }
    }

    pub(crate) async fn memory() -> Fixture {
        Fixture::start(Server::builder().memory()).await
    }

    pub(crate) async fn with(change: impl FnOnce(&mut BrokerConfig)) -> Fixture {
        let mut config = BrokerConfig::default();
        change(&mut config);
        Fixture::start(Server::builder().memory().broker(config)).await
    }

    pub(crate) async fn produce(&self, topic: &str, values: &[&str]) -> ProduceResponse {
        let request = list(topic, values.iter().map(|value| message(value)).collect());
        self.v1.clone().produce(request).await.expect("produce").into_inner()
    }

    pub(crate) async fn poll(&self, request: PollRequest) -> Result<PollResponse, Status> {
        self.v1.clone().poll(request).await.map(tonic::Response::into_inner)
    }

    /// Stops the server, with the clients gone.
    pub(crate) async fn stop(self) {
        let Fixture { server, v1, original, channel } = self;
        drop((v1, original, channel));
        server.stop().await.expect("the server stops");
    }
}

/// A clock that is moved by hand.
#[derive(Clone, Debug, Default)]
pub(crate) struct Hands(Arc<AtomicU64>);

impl Hands {
    pub(crate) fn pass(&self, time: Duration) {
        self.0.fetch_add(time.as_millis() as u64, Ordering::Relaxed);
    }

    /// Lets everything that is there grow too old, and waits until it is evicted.
    pub(crate) async fn outlive(&self, fixture: &Fixture) {
        let age = fixture.server.broker().config().retention.expect("messages grow old");
        self.0.fetch_add(age.as_millis() as u64 + 1, Ordering::Relaxed);
        fixture.server.broker().evict().await.expect("eviction");
    }
}

impl Clock for Hands {
    fn wall(&self) -> Duration {
        Duration::from_millis(1_700_000_000_000) + self.elapsed()
    }

    fn elapsed(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::Relaxed))
    }
}

pub(crate) async fn connect(address: &str) -> Channel {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).expect("an address").tcp_nodelay(true);
    endpoint.connect().await.expect("the server answers")
}

/// Fails a test that hangs, long before anybody gives up on it.
pub(crate) async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), future).await.expect("it takes too long")
}

/// The directory of the one log that is not the server's own.
pub(crate) fn only_topic(root: &Path) -> PathBuf {
    let mut logs = topic_dirs(root);
    assert_eq!(logs.len(), 1, "{logs:?}");
    logs.remove(0)
}

/// The directories of all logs that are not the server's own.
pub(crate) fn topic_dirs(root: &Path) -> Vec<PathBuf> {
    let logs = std::fs::read_dir(root.join("logs")).unwrap().map(|log| log.unwrap().path());
    logs.filter(|log| !log.file_name().unwrap().to_string_lossy().starts_with("__minikafka")).collect()
}

pub(crate) fn message(value: &str) -> Message {
    Message { value: Some(Bytes::copy_from_slice(value.as_bytes())), ..Message::default() }
}

pub(crate) fn list(topic: &str, messages: Vec<Message>) -> ProduceRequest {
    let payload = Payload::Messages(MessageList { messages });
    ProduceRequest { topic: topic.to_owned(), payload: Some(payload), ..ProduceRequest::default() }
}

pub(crate) fn batch(topic: &str, values: &[&str]) -> ProduceRequest {
    let mut builder = BatchBuilder::new();
    for value in values {
        builder.push(1_700_000_000_000, None, Some(value.as_bytes()), &[]);
    }
    let payload = Payload::RecordBatch(builder.finish(Offset::ZERO, 0));
    ProduceRequest { topic: topic.to_owned(), payload: Some(payload), ..ProduceRequest::default() }
}

pub(crate) fn poll(topic: &str, from: Option<Position>) -> PollRequest {
    PollRequest { topic: topic.to_owned(), from, ..PollRequest::default() }
}

pub(crate) fn number(number: u64) -> Option<Position> {
    Some(Position { at: Some(At::Number(number)) })
}

pub(crate) fn anchor(anchor: Anchor) -> Option<Position> {
    Some(Position { at: Some(At::Anchor(anchor.into())) })
}

pub(crate) fn values(messages: &[Message]) -> Vec<&str> {
    messages
        .iter()
        .map(|message| std::str::from_utf8(message.value.as_deref().expect("a value")).expect("text"))
        .collect()
}

pub(crate) fn numbers(messages: &[Message]) -> Vec<u64> {
    messages.iter().map(|message| message.number).collect()
}

/// The code and the reason of a status.
pub(crate) fn why(status: &Status) -> (Code, String) {
    let reason = status.get_details_error_info().map(|info| info.reason).unwrap_or_default();
    (status.code(), reason)
}

/// Begins a produce call with the prefix of a message of `len` bytes and the first `part` of them, and sends
/// no more. The call ends with what is returned.
pub(crate) fn half_sent(
    channel: &Channel,
    len: usize,
    part: usize,
) -> impl Future<Output = http::Response<tonic::body::Body>> + use<> {
    let prefix = [&[0][..], &(len as u32).to_be_bytes()].concat();
    let begin = [prefix, vec![0; part]].concat();
    let stream =
        tokio_stream::iter([Ok::<_, std::convert::Infallible>(begin)]).chain(futures_util::stream::pending());
    let request = http::Request::post("http://here/minikafka.v1.MiniKafkaService/Produce")
        .header("content-type", "application/grpc")
        .body(tonic::body::Body::new(axum::body::Body::from_stream(stream)))
        .expect("a request");
    let mut channel = channel.clone();
    async move {
        poll_fn(|cx| channel.poll_ready(cx)).await.expect("a connection");
        channel.call(request).await.expect("a response")
    }
}
