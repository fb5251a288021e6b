//! gRPC: our producer and consumer against a durable server, beside bare tonic streams that store nothing: lists of 100
//! messages, and record batches of 256 KiB as they are, which is what our clients send. And beside the disk: the same
//! bytes written and synced in pieces of 1 MiB. Client and server share the process and the machine, on all sides.

use std::{fs::File, io::Write, path::Path, time::Instant};

use bytes::Bytes;
use futures_util::{StreamExt, stream, stream::BoxStream};
use minikafka_client_connection::{Address, Client, connect};
use minikafka_client_consume::Consumer;
use minikafka_client_produce::Producer;
use minikafka_proto::v1::{
    self, Message, MessageList, ProduceRequest, ProduceResponse, ProduceStreamRequest, ProduceStreamResponse,
    SubscribeRequest, SubscribeResponse,
    mini_kafka_service_server::{MiniKafkaService, MiniKafkaServiceServer},
    produce_request::Payload,
    produce_stream_response::Result as Outcome,
};
use minikafka_record::{BatchBuilder, Offset};
use minikafka_server::Server;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status, Streaming};

use crate::report;

/// Messages in each list of the bare streams.
const LIST_LEN: usize = 100;
/// Bytes of the batches of the bare streams: what our producer sends.
const BATCH_BYTES: usize = 256 << 10;
/// Bytes that each round moves.
const ROUND_BYTES: usize = 256 * 1024 * 1024;

pub(crate) async fn run(dir: &Path, rounds: usize) -> anyhow::Result<()> {
    for message_len in [100, 1024] {
        let count = (ROUND_BYTES / message_len / LIST_LEN * LIST_LEN) as u64;
        let (list, batch) = (Reply::list(message_len), Reply::batch(message_len));
        let mut figures: [Vec<f64>; 7] = Default::default();
        for _ in 0..rounds {
            let (sent, received) = measure_minikafka(dir, message_len, count).await?;
            let round = [
                sent,
                measure_bare_produce(&list, count).await?,
                measure_bare_produce(&batch, count).await?,
                measure_disk(dir, message_len)?,
                received,
                measure_bare_subscribe(&list, count).await?,
                measure_bare_subscribe(&batch, count).await?,
            ];
            figures.iter_mut().zip(round).for_each(|(figures, figure)| figures.push(figure));
        }
        let [sent, sent_lists, sent_batches, disk, received, received_lists, received_batches] = &figures;
        report::compare(&format!("produce {message_len} B, fsync | tonic, lists of 100"), sent, sent_lists);
        report::compare(
            &format!("produce {message_len} B, fsync | tonic, batches of 256 KiB"),
            sent,
            sent_batches,
        );
        report::compare(&format!("produce {message_len} B, fsync | disk, fdatasync each MiB"), sent, disk);
        report::compare(
            &format!("subscribe {message_len} B | tonic, lists of 100"),
            received,
            received_lists,
        );
        report::compare(
            &format!("subscribe {message_len} B | tonic, batches of 256 KiB"),
            received,
            received_batches,
        );
    }
    Ok(())
}

/// Messages per second that the disk takes, written and synced.
fn measure_disk(dir: &Path, message_len: usize) -> anyhow::Result<f64> {
    let dir = tempfile::tempdir_in(dir)?;
    let mut file = File::create(dir.path().join("bare"))?;
    let piece = vec![b'x'; 1 << 20];
    let started = Instant::now();
    for _ in 0..ROUND_BYTES / piece.len() {
        file.write_all(&piece)?;
        file.sync_data()?;
    }
    Ok(report::per_second((ROUND_BYTES / message_len) as u64, started.elapsed()))
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

/// What the bare streams carry, again and again.
#[derive(Clone)]
struct Reply {
    payload: Payload,
    messages: u64,
}

impl Reply {
    fn list(message_len: usize) -> Reply {
        let value = Bytes::from(vec![b'x'; message_len]);
        let messages = vec![Message { value: Some(value), ..Message::default() }; LIST_LEN];
        Reply { payload: Payload::Messages(MessageList { messages }), messages: LIST_LEN as u64 }
    }

    fn batch(message_len: usize) -> Reply {
        let mut batch = BatchBuilder::new();
        while batch.len() < BATCH_BYTES {
            batch.push(0, None, Some(&vec![b'x'; message_len]), &[]);
        }
        let messages = batch.count() as u64;
        Reply { payload: Payload::RecordBatch(batch.finish(Offset::ZERO, 0)), messages }
    }

    fn response(&self) -> SubscribeResponse {
        match self.payload.clone() {
            Payload::Messages(list) => {
                SubscribeResponse { messages: list.messages, ..SubscribeResponse::default() }
            }
            Payload::RecordBatch(batch) => {
                SubscribeResponse { record_batches: vec![batch], ..SubscribeResponse::default() }
            }
        }
    }
}

/// To a server that answers and forgets.
async fn measure_bare_produce(carried: &Reply, count: u64) -> anyhow::Result<f64> {
    let mut client = bare_client(carried).await?;
    let payload = carried.payload.clone();
    let requests = stream::iter(0..count / carried.messages).map(move |request_id| ProduceStreamRequest {
        request_id,
        produce: Some(ProduceRequest {
            topic: "bench".to_owned(),
            payload: Some(payload.clone()),
            ..ProduceRequest::default()
        }),
    });
    let started = Instant::now();
    let mut replies = client.produce_stream(requests).await?.into_inner();
    while replies.message().await?.is_some() {}
    Ok(report::per_second(count, started.elapsed()))
}

/// From a server that sends the same again and again.
async fn measure_bare_subscribe(carried: &Reply, count: u64) -> anyhow::Result<f64> {
    let mut client = bare_client(carried).await?;
    let started = Instant::now();
    let mut replies = client.subscribe(SubscribeRequest::default()).await?.into_inner();
    let mut received = 0;
    while received < count {
        anyhow::ensure!(replies.message().await?.is_some(), "the bare stream ended");
        received += carried.messages;
    }
    Ok(report::per_second(received, started.elapsed()))
}

/// A client of a bare server of its own, both with the settings that ours have.
async fn bare_client(carried: &Reply) -> anyhow::Result<Client> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address: Address = listener.local_addr()?.to_string().parse()?;
    let incoming = TcpListenerStream::new(listener).inspect(|socket| {
        if let Ok(socket) = socket {
            let _ = socket.set_nodelay(true);
        }
    });
    let server = tonic::transport::Server::builder()
        .max_frame_size(256 << 10)
        .initial_stream_window_size(1 << 20)
        .initial_connection_window_size(4 << 20)
        .add_service(MiniKafkaServiceServer::new(Bare { carried: carried.clone() }));
    tokio::spawn(server.serve_with_incoming(incoming));
    connect(address).await.map_err(anyhow::Error::msg)
}

/// Tonic and nothing else.
struct Bare {
    carried: Reply,
}

/// A stream of replies.
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
        let response = self.carried.response();
        Ok(Response::new(stream::repeat_with(move || Ok(response.clone())).boxed()))
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
    let produced = ProduceResponse { first_number: 1, ..ProduceResponse::default() };
    ProduceStreamResponse { request_id: request.request_id, result: Some(Outcome::Produced(produced)) }
}
