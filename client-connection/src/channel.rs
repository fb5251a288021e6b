//! Opening a gRPC channel to a server, with the settings that long streams of large messages need.

use std::{error::Error, sync::Arc, time::Duration};

use minikafka_proto::v1::{
    group_service_client::GroupServiceClient, mini_kafka_service_client::MiniKafkaServiceClient,
};
use tonic::transport::{Channel, Endpoint};

use crate::Address;

/// How long one attempt to connect may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a connection with an open stream may be silent before it is probed, and how long the answer may take: a peer
/// that vanished without a word is noticed after their sum. Where something comes more often by itself, as the answers to
/// a member's heartbeats do, nothing is probed.
const PROBE_INTERVAL: Duration = Duration::from_secs(20);
const PROBE_TIMEOUT: Duration = Duration::from_secs(10);
/// The largest gRPC message that is sent or taken, in bytes. Servers refuse far smaller ones.
pub const GRPC_MESSAGE_BYTES_MAX: usize = 64 << 20;
/// Frames of HTTP/2's smallest size, 16 KiB, halve the speed of large replies.
const FRAME_BYTES_MAX: u32 = 256 << 10;
/// What a server may send on one stream before it is read: two replies of the usual size.
const STREAM_WINDOW_BYTES: u32 = 2 << 20;
/// The same for all streams of a connection: more than one stream's, so that messages which nobody reads yet do not hold
/// up what else is on the connection, such as a member's heartbeats.
const CONNECTION_WINDOW_BYTES: u32 = 5 << 20;

/// A client of the v1 API. Cloning shares the connection.
pub type Client = MiniKafkaServiceClient<Channel>;

/// A client of the v1 API's groups. Cloning shares the connection.
pub type GroupClient = GroupServiceClient<Channel>;

/// An open connection, for all that a server has. Cloning shares it.
#[derive(Clone, Debug)]
pub struct Connection {
    channel: Channel,
    /// Tells it from others: a channel does not.
    identity: Arc<()>,
}

impl Connection {
    /// One attempt to connect.
    ///
    /// # Errors
    /// A sentence with the cause.
    pub async fn open(address: Address) -> Result<Connection, String> {
        Ok(Connection { channel: open(address).await?, identity: Arc::default() })
    }

    /// Talks to the server about messages and topics.
    pub fn client(&self) -> Client {
        MiniKafkaServiceClient::new(self.channel.clone())
            .max_encoding_message_size(GRPC_MESSAGE_BYTES_MAX)
            .max_decoding_message_size(GRPC_MESSAGE_BYTES_MAX)
    }

    /// Talks to the server about groups.
    pub fn groups(&self) -> GroupClient {
        GroupServiceClient::new(self.channel.clone())
            .max_encoding_message_size(GRPC_MESSAGE_BYTES_MAX)
            .max_decoding_message_size(GRPC_MESSAGE_BYTES_MAX)
    }

    /// Whether both are the same one.
    pub(crate) fn is(&self, other: &Connection) -> bool {
        Arc::ptr_eq(&self.identity, &other.identity)
    }
}

/// One attempt to connect.
///
/// # Errors
/// A sentence with the cause.
pub async fn connect(address: Address) -> Result<Client, String> {
    Ok(Connection::open(address).await?.client())
}

/// One attempt to connect to the groups of a server.
///
/// # Errors
/// A sentence with the cause.
pub async fn connect_to_groups(address: Address) -> Result<GroupClient, String> {
    Ok(Connection::open(address).await?.groups())
}

async fn open(address: Address) -> Result<Channel, String> {
    Endpoint::from(address.uri())
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .max_frame_size(FRAME_BYTES_MAX)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .http2_keep_alive_interval(PROBE_INTERVAL)
        .keep_alive_timeout(PROBE_TIMEOUT)
        .connect()
        .await
        .map_err(|error| causes(&error))
}

/// The causes behind an error of the transport, whose own text is only "transport error".
pub fn causes(error: &dyn Error) -> String {
    let mut texts: Vec<String> = Vec::new();
    let mut next = error.source();
    while let Some(cause) = next {
        let text = cause.to_string();
        // Wrappers repeat the text of what they wrap.
        if texts.last().is_none_or(|last| !last.contains(&text)) {
            texts.push(text);
        }
        next = cause.source();
    }
    if texts.is_empty() { error.to_string() } else { texts.join(": ") }
}
