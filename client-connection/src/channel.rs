//! Opening a gRPC channel to a server, with the settings that long streams of large messages need.

use std::{error::Error, time::Duration};

use minikafka_proto::v1::{
    group_service_client::GroupServiceClient, mini_kafka_service_client::MiniKafkaServiceClient,
};
use tonic::transport::{Channel, Endpoint};

use crate::Address;

/// How long one attempt to connect may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How often a stream without traffic is probed, and how long the answer may take: a peer that vanished
/// without a word is noticed after their sum.
const PROBE_INTERVAL: Duration = Duration::from_secs(20);
const PROBE_TIMEOUT: Duration = Duration::from_secs(10);
/// The largest gRPC message that is sent or taken, in bytes. Servers refuse far smaller ones.
pub const GRPC_MESSAGE_BYTES_MAX: usize = 64 << 20;
/// Frames of HTTP/2's smallest size, 16 KiB, halve the speed of large replies.
const FRAME_BYTES_MAX: u32 = 256 << 10;

/// A client of the v1 API. Cloning shares the connection.
pub type Client = MiniKafkaServiceClient<Channel>;

/// A client of the v1 API's groups. Cloning shares the connection.
pub type GroupClient = GroupServiceClient<Channel>;

/// One attempt to connect.
///
/// # Errors
/// A sentence with the cause.
pub async fn connect(address: Address) -> Result<Client, String> {
    Ok(MiniKafkaServiceClient::new(open(address).await?)
        .max_encoding_message_size(GRPC_MESSAGE_BYTES_MAX)
        .max_decoding_message_size(GRPC_MESSAGE_BYTES_MAX))
}

/// One attempt to connect to the groups of a server.
///
/// # Errors
/// A sentence with the cause.
pub async fn connect_to_groups(address: Address) -> Result<GroupClient, String> {
    Ok(GroupServiceClient::new(open(address).await?)
        .max_encoding_message_size(GRPC_MESSAGE_BYTES_MAX)
        .max_decoding_message_size(GRPC_MESSAGE_BYTES_MAX))
}

async fn open(address: Address) -> Result<Channel, String> {
    Endpoint::from(address.uri())
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .max_frame_size(FRAME_BYTES_MAX)
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
