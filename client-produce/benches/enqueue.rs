//! How many messages a second go through `Producer::enqueue`, as an idempotent producer has them, to their
//! acknowledgement, against a server in the same process that counts and stores nothing.
//!
//! `cargo bench -p minikafka-client-produce`

use std::{error::Error, time::Instant};

use minikafka_client_produce::Producer;
use minikafka_proto::v1::{
    mini_kafka_service_server::{MiniKafkaService, MiniKafkaServiceServer},
    produce_request::Payload,
    produce_stream_response::Result as Reply,
    *,
};
use minikafka_record::RecordBatch;
use tokio::net::TcpListener;
use tokio_stream::StreamExt as _;
use tonic::{Request, Response, Status, Streaming, codegen::BoxStream, transport::server::TcpIncoming};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let host = listener.local_addr()?.to_string();
    let sink = MiniKafkaServiceServer::new(Sink).max_decoding_message_size(64 << 20);
    let serving = tonic::transport::Server::builder()
        .max_frame_size(256 << 10)
        .add_service(sink)
        .serve_with_incoming(TcpIncoming::from(listener).with_nodelay(Some(true)));
    tokio::spawn(serving);
    for (partitions, bytes, count) in [(1, 100, 10_000_000), (1, 1024, 2_000_000), (100, 100, 10_000_000)] {
        let value = vec![b'x'; bytes];
        PARTITIONS.store(partitions, std::sync::atomic::Ordering::Relaxed);
        for _ in 0..3 {
            let producer = Producer::connect(&host, "bench").await?;
            let start = Instant::now();
            for _ in 0..count {
                producer.enqueue(&value[..]).await?;
            }
            producer.close().await?;
            let seconds = start.elapsed().as_secs_f64();
            let rate = f64::from(count) / seconds;
            println!(
                "{partitions} partitions, {bytes} B: {rate:.0} messages/s, {:.0} MB/s, {:.0} messages per batch",
                rate * bytes as f64 / 1e6,
                f64::from(count) / BATCHES.swap(0, std::sync::atomic::Ordering::Relaxed) as f64,
            );
        }
    }
    Ok(())
}

/// Of the topic.
static PARTITIONS: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(1);
/// Batches that the sink has seen.
static BATCHES: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);

struct Sink;

type Answer<T> = Result<Response<T>, Status>;

fn count(request: ProduceStreamRequest) -> Result<ProduceStreamResponse, Status> {
    BATCHES.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let Some(Payload::RecordBatch(bytes)) = request.produce.and_then(|produce| produce.payload) else {
        return Err(Status::invalid_argument("no batch"));
    };
    let batch = RecordBatch::parse(bytes).map_err(|error| Status::invalid_argument(error.to_string()))?;
    let produced = ProduceResponse { first_number: 1, count: batch.count() as u32, ..Default::default() };
    Ok(ProduceStreamResponse { request_id: request.request_id, result: Some(Reply::Produced(produced)) })
}

#[tonic::async_trait]
impl MiniKafkaService for Sink {
    async fn init_producer(&self, _: Request<InitProducerRequest>) -> Answer<InitProducerResponse> {
        Ok(Response::new(InitProducerResponse { producer_id: 1, ..Default::default() }))
    }

    async fn describe_topic(&self, _: Request<DescribeTopicRequest>) -> Answer<DescribeTopicResponse> {
        let count = PARTITIONS.load(std::sync::atomic::Ordering::Relaxed);
        let partitions = vec![PartitionDescription::default(); count];
        Ok(Response::new(DescribeTopicResponse { partitions, ..Default::default() }))
    }

    async fn produce_stream(
        &self,
        request: Request<Streaming<ProduceStreamRequest>>,
    ) -> Answer<BoxStream<ProduceStreamResponse>> {
        Ok(Response::new(Box::pin(request.into_inner().map(|request| count(request?)))))
    }
}
