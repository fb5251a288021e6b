//! A server with its Kafka door, and a client that is one socket.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::{
    messages::{
        ApiKey, FetchRequest, FetchResponse, ListOffsetsRequest, MetadataRequest, ProduceRequest,
        RequestHeader, ResponseHeader, TopicName,
        fetch_request::{FetchPartition, FetchTopic},
        fetch_response::PartitionData,
        list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic},
        list_offsets_response::ListOffsetsPartitionResponse,
        metadata_request::MetadataRequestTopic,
        produce_request::{PartitionProduceData, TopicProduceData},
        produce_response::PartitionProduceResponse,
    },
    protocol::{Decodable, Encodable, Request, StrBytes},
};
use minikafka_record::{BatchBuilder, Compression, Offset, ProducerStamp, RecordBatch, Sequence};
use minikafka_server::{Builder, Server, config::KafkaConfig};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::support::{Fixture, soon};

/// All replicas.
pub(super) const ALL: i16 = -1;
/// A time for records, in milliseconds since 1970.
pub(super) const TIME: i64 = 1_700_000_000_000;

/// A server in memory, with a Kafka door.
pub(super) async fn start() -> Fixture {
    start_with(Server::builder().memory()).await
}

pub(super) async fn start_with(builder: Builder) -> Fixture {
    Fixture::start(builder.kafka(door())).await
}

/// A door on a free port.
pub(super) fn door() -> KafkaConfig {
    KafkaConfig::at("127.0.0.1:0".parse().unwrap())
}

/// One connection.
pub(super) struct Client {
    stream: TcpStream,
    next_id: i32,
}

impl Client {
    pub(super) async fn connect(fixture: &Fixture) -> Client {
        Client::connect_to(&fixture.server.kafka_addr().expect("the door is open").to_string()).await
    }

    pub(super) async fn connect_to(address: &str) -> Client {
        let stream = TcpStream::connect(address).await.expect("it answers");
        Client { stream, next_id: 1 }
    }

    /// Sends a request and reads its reply.
    pub(super) async fn ask<R: Request>(&mut self, version: i16, request: &R) -> R::Response {
        let id = self.send(version, request).await;
        self.reply::<R>(version, id).await
    }

    /// Sends a request. Returns its id.
    pub(super) async fn send<R: Request>(&mut self, version: i16, request: &R) -> i32 {
        let (id, bytes) = self.encode(version, request);
        self.send_bytes(&bytes).await;
        id
    }

    /// The id of a request, and its bytes.
    pub(super) fn encode<R: Request>(&mut self, version: i16, request: &R) -> (i32, BytesMut) {
        let id = self.next_id;
        self.next_id += 1;
        let header = RequestHeader::default()
            .with_request_api_key(R::KEY)
            .with_request_api_version(version)
            .with_correlation_id(id)
            .with_client_id(Some(StrBytes::from_static_str("test")));
        let mut frame = BytesMut::new();
        header.encode(&mut frame, key::<R>().request_header_version(version)).unwrap();
        request.encode(&mut frame, version).unwrap();
        (id, framed(&frame))
    }

    pub(super) async fn send_frame(&mut self, frame: &[u8]) {
        self.send_bytes(&framed(frame)).await;
    }

    pub(super) async fn send_bytes(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.expect("the server reads");
    }

    /// The next reply, which is the one with this id.
    pub(super) async fn reply<R: Request>(&mut self, version: i16, id: i32) -> R::Response {
        let mut frame = self.frame().await.expect("a reply");
        let header = ResponseHeader::decode(&mut frame, key::<R>().response_header_version(version)).unwrap();
        assert_eq!(header.correlation_id, id, "replies come in the order of the requests");
        let response = R::Response::decode(&mut frame, version).unwrap();
        assert!(!frame.has_remaining(), "{} bytes are left", frame.remaining());
        response
    }

    /// The next frame; `None` when the connection is closed.
    pub(super) async fn frame(&mut self) -> Option<Bytes> {
        let mut len = [0; 4];
        match soon(self.stream.read_exact(&mut len)).await {
            Ok(_) => {}
            Err(_) => return None,
        }
        let mut frame = vec![0; i32::from_be_bytes(len) as usize];
        soon(self.stream.read_exact(&mut frame)).await.expect("the whole frame");
        Some(frame.into())
    }

    pub(super) async fn produce(&mut self, topic: &str, batch: Bytes) -> PartitionProduceResponse {
        self.produce_version(9, topic, batch).await
    }

    pub(super) async fn produce_version(
        &mut self,
        version: i16,
        topic: &str,
        batch: Bytes,
    ) -> PartitionProduceResponse {
        let mut response = self.ask(version, &produce(topic, 0, ALL, batch)).await;
        response.responses.remove(0).partition_responses.remove(0)
    }

    /// Creates a topic by asking for it.
    pub(super) async fn create(&mut self, topic: &str) {
        let topics = Some(vec![wanted(topic)]);
        let request = MetadataRequest::default().with_topics(topics).with_allow_auto_topic_creation(true);
        let response = self.ask(9, &request).await;
        assert_eq!(response.topics[0].error_code, 0);
    }

    pub(super) async fn fetch(&mut self, version: i16, request: FetchRequest) -> PartitionData {
        let mut response: FetchResponse = self.ask(version, &request).await;
        assert_eq!((response.error_code, response.session_id), (0, 0));
        response.responses.remove(0).partitions.remove(0)
    }

    pub(super) async fn list(
        &mut self,
        version: i16,
        topic: &str,
        timestamp: i64,
    ) -> ListOffsetsPartitionResponse {
        let partition =
            ListOffsetsPartition::default().with_timestamp(timestamp).with_current_leader_epoch(-1);
        let topic = ListOffsetsTopic::default().with_name(name(topic)).with_partitions(vec![partition]);
        let mut response = self.ask(version, &ListOffsetsRequest::default().with_topics(vec![topic])).await;
        response.topics.remove(0).partitions.remove(0)
    }
}

fn framed(frame: &[u8]) -> BytesMut {
    let mut bytes = BytesMut::new();
    bytes.put_i32(frame.len() as i32);
    bytes.put_slice(frame);
    bytes
}

fn key<R: Request>() -> ApiKey {
    ApiKey::try_from(R::KEY).unwrap()
}

pub(super) fn name(topic: &str) -> TopicName {
    TopicName(StrBytes::from_string(topic.to_owned()))
}

pub(super) fn wanted(topic: &str) -> MetadataRequestTopic {
    MetadataRequestTopic::default().with_name(Some(name(topic)))
}

pub(super) fn produce(topic: &str, partition: i32, acks: i16, batch: Bytes) -> ProduceRequest {
    let data = PartitionProduceData::default().with_index(partition).with_records(Some(batch));
    let topic = TopicProduceData::default().with_name(name(topic)).with_partition_data(vec![data]);
    ProduceRequest::default().with_acks(acks).with_timeout_ms(20_000).with_topic_data(vec![topic])
}

/// A fetch of partition 0 from an offset, which does not wait.
pub(super) fn fetch_from(topic: &str, offset: i64) -> FetchRequest {
    FetchRequest::default()
        .with_max_bytes(1 << 20)
        .with_session_epoch(-1)
        .with_topics(vec![fetch_topic(topic, offset)])
}

pub(super) fn fetch_topic(topic: &str, offset: i64) -> FetchTopic {
    let partition = FetchPartition::default()
        .with_fetch_offset(offset)
        .with_current_leader_epoch(-1)
        .with_partition_max_bytes(1 << 20);
    FetchTopic::default().with_topic(name(topic)).with_partitions(vec![partition])
}

/// A batch of records with these values, a millisecond apart.
pub(super) fn batch(values: &[&str]) -> Bytes {
    let mut builder = BatchBuilder::new();
    for (value, time) in values.iter().zip(TIME..) {
        builder.push(time, None, Some(value.as_bytes()), &[]);
    }
    builder.finish(Offset::ZERO, 0)
}

/// A batch that is worth compressing.
pub(super) fn compressed(codec: Compression, count: usize) -> Bytes {
    let values: Vec<String> = (0..count).map(|n| format!("{n} {}", "again ".repeat(20))).collect();
    let values: Vec<&str> = values.iter().map(String::as_str).collect();
    let batch = RecordBatch::parse(batch(&values)).unwrap().compress(codec);
    assert_eq!(batch.header().compression(), Some(codec));
    batch.into_bytes()
}

/// The batch as an idempotent producer sends it.
pub(super) fn stamped(batch: &Bytes, id: i64, epoch: i16, sequence: i32) -> Bytes {
    let sequence = Sequence::new(sequence).unwrap();
    let batch = RecordBatch::parse(batch.clone()).unwrap();
    batch.stamped(Some(ProducerStamp { id, epoch, sequence })).into_bytes()
}

/// The batches of a fetched partition.
pub(super) fn batches(data: &PartitionData) -> Vec<RecordBatch> {
    let mut bytes = data.records.clone().expect("empty, not null");
    let next = || RecordBatch::split_from(&mut bytes).expect("whole batches");
    std::iter::from_fn(next).inspect(|batch| batch.validate().unwrap()).collect()
}

pub(super) fn values(data: &PartitionData) -> Vec<String> {
    let records = batches(data).into_iter().flat_map(|batch| batch.records().collect::<Vec<_>>());
    let value = |record: minikafka_record::Record| String::from_utf8(record.value.unwrap().to_vec()).unwrap();
    records.map(|record| value(record.unwrap())).collect()
}
