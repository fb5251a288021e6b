//! gRPC: our producer and consumer against a durable server, beside bare tonic streams of lists of 100 messages that
//! nobody stores. Client and server share the process and the machine, on both sides.

use std::{path::Path, time::Instant};

use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream, stream::BoxStream};
use minikafka_client_consume::Consumer;
use minikafka_client_produce::Producer;
use minikafka_proto::v1::{
    self, Message, MessageList, ProduceRequest, ProduceResponse, ProduceStreamRequest, ProduceStreamResponse,
    SubscribeRequest, SubscribeResponse,
    mini_kafka_service_client::MiniKafkaServiceClient,
    mini_kafka_service_server::{MiniKafkaService, MiniKafkaServiceServer},
    produce_request::Payload,
    produce_stream_response::Result as Outcome,
};
use minikafka_server::Server;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status, Streaming, transport::Channel};

use crate::report;

/// Messages in each list of the bare streams.
const LIST_LEN: usize = 100;
/// Bytes that each round moves.
const ROUND_BYTES: usize = 256 * 1024 * 1024;

pub(crate) async fn run(dir: &Path, rounds: usize) -> anyhow::Result<()> {
    for message_len in [100, 1024] {
        let count = (ROUND_BYTES / message_len / LIST_LEN * LIST_LEN) as u64;
        let (mut produce, mut subscribe) = (Vec::new(), Vec::new());
        let (mut bare_produce, mut bare_subscribe) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            bare_produce.push(measure_bare_produce(message_len, count).await?);
            let (sent, received) = measure_minikafka(dir, message_len, count).await?;
            produce.push(sent);
            subscribe.push(received);
            bare_subscribe.push(measure_bare_subscribe(message_len, count).await?);
        }
        report::compare(
            &format!("gRPC produce {message_len} B, fsync, one producer"),
            &produce,
            &bare_produce,
            "",
        );
        report::compare(
            &format!("gRPC subscribe {message_len} B from the start"),
            &subscribe,
            &bare_subscribe,
            "",
        );
    }
    Ok(())
}

/// Messages per second in, acknowledged as durable, and out again.
async fn measure_minikafka(dir: &Path, message_len: usize, count: u64) -> anyhow::Result<(f64, f64)> {
    let dir = tempfile::tempdir_in(dir)?;
    let server = Server::builder().filesystem(dir.path()).start("127.0.0.1:0").await?;
    let host = server.local_addr().to_string();
    let value = vec![b'x'; message_len];
    let producer = Producer::connect(&host, "bench").await?;
    let started = Instant::now();
    for _ in 0..count {
        producer.enqueue(&value[..]).await?;
    }
    producer.close().await?;
    let sent = report::per_second(count, started.elapsed());

    let mut messages = Consumer::subscribe(&host, "bench").await?;
    let started = Instant::now();
    let mut received = 0;
    while received < count {
        received += messages.poll(std::time::Duration::from_secs(10)).await?.len() as u64;
    }
    let received = report::per_second(received, started.elapsed());
    drop(messages);
    server.stop().await?;
    Ok((sent, received))
}

/// Lists of messages to a server that answers and forgets.
async fn measure_bare_produce(message_len: usize, count: u64) -> anyhow::Result<f64> {
    let mut client = bare_client(message_len).await?;
    let list = list(message_len);
    let requests = stream::iter(0..count / LIST_LEN as u64).map(move |request_id| ProduceStreamRequest {
        request_id,
        produce: Some(ProduceRequest {
            topic: "bench".to_owned(),
            payload: Some(Payload::Messages(list.clone())),
            ..ProduceRequest::default()
        }),
    });
    let started = Instant::now();
    let mut replies = client.produce_stream(requests).await?.into_inner();
    while replies.message().await?.is_some() {}
    Ok(report::per_second(count, started.elapsed()))
}

/// Lists of messages from a server that has one and sends it again and again.
async fn measure_bare_subscribe(message_len: usize, count: u64) -> anyhow::Result<f64> {
    let mut client = bare_client(message_len).await?;
    let started = Instant::now();
    let mut replies = client.subscribe(SubscribeRequest::default()).await?.into_inner();
    let mut received = 0;
    while received < count {
        let Some(reply) = replies.message().await? else { anyhow::bail!("the bare stream ended") };
        received += reply.messages.len() as u64;
    }
    Ok(report::per_second(received, started.elapsed()))
}

fn list(message_len: usize) -> MessageList {
    let value = Bytes::from(vec![b'x'; message_len]);
    MessageList { messages: vec![Message { value: Some(value), ..Message::default() }; LIST_LEN] }
}

/// A client of a bare server of its own.
async fn bare_client(message_len: usize) -> anyhow::Result<MiniKafkaServiceClient<Channel>> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let incoming = TcpListenerStream::new(listener).inspect(|socket| {
        if let Ok(socket) = socket {
            // As ours does; without it streams stall.
            let _ = socket.set_nodelay(true);
        }
    });
    let service = MiniKafkaServiceServer::new(Bare { list: list(message_len) });
    // The largest frame that roughly doubles large streams; ours has it, too.
    let server = tonic::transport::Server::builder().max_frame_size(256 * 1024).add_service(service);
    tokio::spawn(server.serve_with_incoming(incoming));
    let channel = Channel::from_shared(format!("http://{address}"))?.tcp_nodelay(true).connect().await?;
    Ok(MiniKafkaServiceClient::new(channel))
}

/// Tonic and nothing else.
struct Bare {
    list: MessageList,
}

type Replies<T> = BoxStream<'static, Result<T, Status>>;

#[tonic::async_trait]
impl MiniKafkaService for Bare {
    type ProduceStreamStream = Replies<ProduceStreamResponse>;
    type SubscribeStream = Replies<SubscribeResponse>;

    async fn produce_stream(
        &self,
        request: Request<Streaming<ProduceStreamRequest>>,
    ) -> Result<Response<Self::ProduceStreamStream>, Status> {
        Ok(Response::new(request.into_inner().map(|request| Ok(acknowledge(&request?))).boxed()))
    }

    async fn subscribe(
        &self,
        _: Request<SubscribeRequest>,
    ) -> Result<Response<Self::SubscribeStream>, Status> {
        let list = self.list.clone();
        Ok(Response::new(endless(list).boxed()))
    }

    async fn produce(&self, _: Request<ProduceRequest>) -> Result<Response<ProduceResponse>, Status> {
        Err(Status::unimplemented("not measured"))
    }

    async fn poll(&self, _: Request<v1::PollRequest>) -> Result<Response<v1::PollResponse>, Status> {
        Err(Status::unimplemented("not measured"))
    }

    async fn list_topics(
        &self,
        _: Request<v1::ListTopicsRequest>,
    ) -> Result<Response<v1::ListTopicsResponse>, Status> {
        Err(Status::unimplemented("not measured"))
    }

    async fn describe_topic(
        &self,
        _: Request<v1::DescribeTopicRequest>,
    ) -> Result<Response<v1::DescribeTopicResponse>, Status> {
        Err(Status::unimplemented("not measured"))
    }

    async fn create_topic(
        &self,
        _: Request<v1::CreateTopicRequest>,
    ) -> Result<Response<v1::CreateTopicResponse>, Status> {
        Err(Status::unimplemented("not measured"))
    }

    async fn delete_topic(
        &self,
        _: Request<v1::DeleteTopicRequest>,
    ) -> Result<Response<v1::DeleteTopicResponse>, Status> {
        Err(Status::unimplemented("not measured"))
    }
}

fn acknowledge(request: &ProduceStreamRequest) -> ProduceStreamResponse {
    let count = match request.produce.as_ref().and_then(|produce| produce.payload.as_ref()) {
        Some(Payload::Messages(list)) => list.messages.len() as u32,
        _ => 0,
    };
    let produced = ProduceResponse { count, ..ProduceResponse::default() };
    ProduceStreamResponse { request_id: request.request_id, result: Some(Outcome::Produced(produced)) }
}

fn endless(list: MessageList) -> impl Stream<Item = Result<SubscribeResponse, Status>> {
    stream::repeat_with(move || {
        Ok(SubscribeResponse { messages: list.messages.clone(), ..SubscribeResponse::default() })
    })
}
