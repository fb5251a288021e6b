//! [`stub`]: what Kafka's clients reach with a server that answers them and stores nothing, or no more than the bytes of
//! their requests: one behind the other in a file that nobody syncs, or over each other in one that is synced, in groups,
//! before it answers. Each reply is a call of its own.
//!
//! ```text
//!   Produce -------------> counts the messages, keeps the largest batch of the topic
//!   Fetch, ListOffsets --> that batch, again and again, up to the count, each time with the offsets that are due
//!   groups --------------> one member, who reads everything
//! ```
//!
//! Topics have one partition and are there when they are asked for. A request is decoded when it is read, and
//! answered in its turn. What is not the least of all is correct nonetheless: clients check offsets and checksums.

mod groups;
mod topics;

use std::{
    fs::File,
    io::Write as _,
    net::SocketAddr,
    ops::RangeInclusive,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use anyhow::Context as _;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::{
    messages::{
        ApiKey, ApiVersionsResponse, BrokerId, FetchRequest, FetchResponse, InitProducerIdResponse,
        ListOffsetsRequest, ListOffsetsResponse, MetadataRequest, MetadataResponse, ProduceRequest,
        ProduceResponse, ProducerId, RequestHeader, ResponseHeader,
        api_versions_response::ApiVersion,
        fetch_response::{FetchableTopicResponse, PartitionData},
        list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse},
        metadata_response::{MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic},
        produce_response::{PartitionProduceResponse, TopicProduceResponse},
    },
    protocol::{Decodable, Encodable, StrBytes},
};
use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpStream},
    sync::{mpsc, oneshot},
};

use self::topics::Topics;
use super::GroupCommit;
use crate::frames::Frames;

/// What is answered, in which versions: without topic ids, and a fetch in the one encoding that is written here.
const APIS: [(ApiKey, RangeInclusive<i16>); 13] = [
    (ApiKey::Produce, 0..=11),
    (ApiKey::Fetch, 12..=12),
    (ApiKey::ListOffsets, 1..=7),
    (ApiKey::Metadata, 0..=9),
    (ApiKey::ApiVersions, 0..=4),
    (ApiKey::InitProducerId, 0..=4),
    (ApiKey::FindCoordinator, 0..=2),
    (ApiKey::JoinGroup, 0..=5),
    (ApiKey::SyncGroup, 0..=3),
    (ApiKey::Heartbeat, 0..=3),
    (ApiKey::LeaveGroup, 0..=2),
    (ApiKey::OffsetCommit, 2..=7),
    (ApiKey::OffsetFetch, 1..=5),
];
/// Replies of a connection that wait for the disk: as many as a client of Kafka's has under way, and more.
const WAITING_MAX: usize = 64;
const NODE: BrokerId = BrokerId(0);
/// The place of the earliest message, in the field for a timestamp.
const EARLIEST: i64 = -2;
/// Tags of partition, topic and response: none.
const NO_TAGS: [u8; 3] = [0; 3];

/// What all connections share.
struct Stub {
    address: SocketAddr,
    topics: Topics,
    producers: AtomicI64,
    keep: Keep,
}

/// What a stub does with batches before it answers.
pub(crate) enum Keep {
    /// Nothing.
    Nothing,
    /// Writes them to a file.
    Written(File),
    /// Writes them over the same bytes again and again, and syncs those.
    Synced(GroupCommit),
}

/// A reply, and what is to happen before it is given.
type Answer = (Bytes, Option<oneshot::Receiver<Result<(), String>>>);

/// Answers Kafka's clients.
pub(crate) async fn stub(listener: TcpListener, keep: Keep) -> anyhow::Result<()> {
    let address = listener.local_addr()?;
    let (topics, producers) = (Topics::default(), AtomicI64::new(1));
    let stub = Arc::new(Stub { address, topics, producers, keep });
    loop {
        let (stream, _) = listener.accept().await?;
        let stub = stub.clone();
        tokio::spawn(async move {
            if let Err(error) = stub.serve(stream).await {
                eprintln!("a connection ends: {error:#}");
            }
        });
    }
}

impl Stub {
    async fn serve(&self, stream: TcpStream) -> anyhow::Result<()> {
        stream.set_nodelay(true)?;
        let (read, mut write) = stream.into_split();
        let mut frames = Frames::new(read);
        let (queue, mut queued) = mpsc::channel::<Answer>(WAITING_MAX);
        let answering = async move {
            while let Some((reply, stored)) = queued.recv().await {
                if let Some(stored) = stored {
                    stored.await?.map_err(anyhow::Error::msg)?;
                }
                write.write_all(&reply).await?;
            }
            anyhow::Ok(())
        };
        let reading = async move {
            loop {
                queue.send(self.answer(frames.next().await?).await?).await?;
            }
            #[allow(unreachable_code, reason = "it says what kind of error there is")]
            anyhow::Ok(())
        };
        tokio::try_join!(reading, answering)?;
        Ok(())
    }

    /// The reply, with its length in front; nothing if the client wants none.
    async fn answer(&self, mut frame: Bytes) -> anyhow::Result<Answer> {
        anyhow::ensure!(frame.len() >= 4, "a frame without a header");
        let (mut start, unknown) = (&frame[..4], "no such request");
        let key = ApiKey::try_from(start.get_i16()).ok().context(unknown)?;
        let version = start.get_i16();
        let header = RequestHeader::decode(&mut frame, key.request_header_version(version))?;
        let mut out = BytesMut::new();
        out.put_i32(0);
        ResponseHeader::default()
            .with_correlation_id(header.correlation_id)
            .encode(&mut out, key.response_header_version(version))?;
        let out = &mut Out { version, bytes: out };
        let mut stored = None;
        match key {
            ApiKey::Produce => {
                let whole = frame.clone();
                let request = ProduceRequest::decode(&mut frame, version)?;
                let acks = request.acks;
                stored = self.store(&whole)?;
                out.put(&self.produce(request))?;
                if acks == 0 {
                    return Ok((Bytes::new(), stored));
                }
            }
            ApiKey::Fetch => self.fetch(&FetchRequest::decode(&mut frame, version)?, out).await?,
            ApiKey::ListOffsets => out.put(&self.list(ListOffsetsRequest::decode(&mut frame, version)?))?,
            ApiKey::Metadata => out.put(&self.describe(MetadataRequest::decode(&mut frame, version)?))?,
            ApiKey::ApiVersions => out.put(&versions())?,
            ApiKey::InitProducerId => {
                let id = ProducerId(self.producers.fetch_add(1, Ordering::Relaxed));
                out.put(&InitProducerIdResponse::default().with_producer_id(id).with_producer_epoch(0))?;
            }
            key => groups::answer(self.address, key, &mut frame, out)?,
        }
        let len = i32::try_from(out.bytes.len() - 4)?;
        out.bytes[..4].copy_from_slice(&len.to_be_bytes());
        Ok((out.bytes.split().freeze(), stored))
    }

    /// Keeps a request, its batches and the little that is around them.
    fn store(&self, request: &Bytes) -> anyhow::Result<Option<oneshot::Receiver<Result<(), String>>>> {
        match &self.keep {
            Keep::Nothing => Ok(None),
            Keep::Written(file) => {
                let mut file = file;
                file.write_all(request)?;
                Ok(None)
            }
            Keep::Synced(commit) => {
                let (done, stored) = oneshot::channel();
                commit.append(request, Box::new(|outcome| _ = done.send(outcome)));
                Ok(Some(stored))
            }
        }
    }

    fn produce(&self, request: ProduceRequest) -> ProduceResponse {
        let topics = request.topic_data.into_iter().map(|topic| {
            let partitions = topic.partition_data.into_iter().map(|partition| {
                let base_offset = self.topics.count(&topic.name, partition.records.unwrap_or_default());
                PartitionProduceResponse::default().with_index(partition.index).with_base_offset(base_offset)
            });
            let partitions = partitions.collect();
            TopicProduceResponse::default().with_name(topic.name).with_partition_responses(partitions)
        });
        ProduceResponse::default().with_responses(topics.collect())
    }

    /// Writes the reply around the batches, which are behind everything but tags.
    async fn fetch(&self, request: &FetchRequest, out: &mut Out) -> anyhow::Result<()> {
        let [topic] = &request.topics[..] else {
            // Of a session that has nothing new, or of somebody who asks for nothing.
            anyhow::ensure!(request.topics.is_empty(), "a fetch of several topics");
            tokio::time::sleep(Duration::from_millis(request.max_wait_ms.max(0) as u64)).await;
            return out.put(&FetchResponse::default());
        };
        let [wanted] = &topic.partitions[..] else { anyhow::bail!("a fetch of several partitions") };
        let end = self.topics.end(&topic.topic);
        if wanted.fetch_offset >= end {
            tokio::time::sleep(Duration::from_millis(request.max_wait_ms.max(0) as u64)).await;
        }
        let partition = PartitionData::default()
            .with_partition_index(wanted.partition)
            .with_high_watermark(end)
            .with_last_stable_offset(end)
            .with_log_start_offset(0);
        let topic_response = FetchableTopicResponse::default()
            .with_topic(topic.topic.clone())
            .with_partitions(vec![partition]);
        out.put(&FetchResponse::default().with_responses(vec![topic_response]))?;
        // A byte for no records.
        out.bytes.truncate(out.bytes.len() - NO_TAGS.len() - 1);
        let bytes_max = wanted.partition_max_bytes.min(request.max_bytes);
        self.topics.read(&topic.topic, wanted.fetch_offset, bytes_max as usize, &mut out.bytes);
        out.bytes.put_slice(&NO_TAGS);
        Ok(())
    }

    fn list(&self, request: ListOffsetsRequest) -> ListOffsetsResponse {
        let topics = request.topics.into_iter().map(|topic| {
            let end = self.topics.end(&topic.name);
            let partitions = topic.partitions.iter().map(|partition| {
                let offset = if partition.timestamp == EARLIEST { 0 } else { end };
                ListOffsetsPartitionResponse::default()
                    .with_partition_index(partition.partition_index)
                    .with_offset(offset)
            });
            let partitions = partitions.collect();
            ListOffsetsTopicResponse::default().with_name(topic.name).with_partitions(partitions)
        });
        ListOffsetsResponse::default().with_topics(topics.collect())
    }

    fn describe(&self, request: MetadataRequest) -> MetadataResponse {
        let node = MetadataResponseBroker::default()
            .with_node_id(NODE)
            .with_host(StrBytes::from_string(self.address.ip().to_string()))
            .with_port(self.address.port().into());
        let topics = request.topics.unwrap_or_default().into_iter().map(|topic| {
            let partition = MetadataResponsePartition::default()
                .with_leader_id(NODE)
                .with_replica_nodes(vec![NODE])
                .with_isr_nodes(vec![NODE]);
            MetadataResponseTopic::default().with_name(topic.name).with_partitions(vec![partition])
        });
        MetadataResponse::default()
            .with_brokers(vec![node])
            .with_controller_id(NODE)
            .with_topics(topics.collect())
    }
}

fn versions() -> ApiVersionsResponse {
    let keys = APIS.iter().map(|(key, versions)| {
        ApiVersion::default()
            .with_api_key(*key as i16)
            .with_min_version(*versions.start())
            .with_max_version(*versions.end())
    });
    ApiVersionsResponse::default().with_api_keys(keys.collect())
}

/// A reply that is being written.
struct Out {
    version: i16,
    bytes: BytesMut,
}

impl Out {
    fn put(&mut self, response: &impl Encodable) -> anyhow::Result<()> {
        response.encode(&mut self.bytes, self.version)
    }
}
