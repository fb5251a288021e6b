//! Produce: batches, as their producers have encoded them.
//!
//! Each batch is checked and takes its place in the order of its partition when the request is read, so that
//! requests of one connection are stored in their order although several are on their way. What is left for later is
//! to wait until they are committed.
//!
//! The two things that change are outside of a batch's checksum: the base offset and the leader epoch. A batch
//! without any timestamps gets the append time, one whose maximum timestamp is not that of its records gets that, and a
//! checksum for it.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use kafka_protocol::{
    ResponseError,
    messages::{
        ProduceRequest, ProduceResponse, TopicName,
        produce_request::{PartitionProduceData, TopicProduceData},
        produce_response::{PartitionProduceResponse, TopicProduceResponse},
    },
    protocol::StrBytes,
};
use minikafka_broker::{CheckedPayload, Payload, PendingProduce};
use minikafka_record::{BatchHeader, Compression};
use tokio::time::{Instant, timeout_at};

use super::{
    dispatch::Work,
    door::Door,
    frames::LARGE_BYTES,
    large_reply,
    refused::Refused,
    reply::Outcome,
    request::Head,
    shape::{BYTES, Field, I16, I32, TEXT, array},
};

pub(super) static SHAPE: &[Field] = &[TEXT.since(3), I16, I32, array(TOPIC)];
static TOPIC: &[Field] = &[TEXT, array(PARTITION)];
static PARTITION: &[Field] = &[I32, BYTES];

/// The first version whose clients know zstd (KIP-110).
const ZSTD_SINCE: i16 = 7;
/// How long a commit may take at least: some clients say 0 and mean that nobody else is to be waited for.
const PATIENCE_MIN: Duration = Duration::from_secs(1);
/// A batch of so many bytes that is alone in its frame is stored where it lies. Smaller ones are copied, and share an
/// entry.
const LONE_BYTES_MIN: usize = LARGE_BYTES;
/// This share of the frame may be something else, which is kept in memory with the batch.
const LONE_REST_SHARE: usize = 16;
/// Bytes that a batch's answer takes in memory until it is its turn.
const PART_BYTES: usize = 128;
/// Bytes of answers that a request may keep without being counted: those of a producer with batches for a thousand partitions.
const KEPT_FREE: usize = 128 * 1024;
/// Nothing has this offset or time.
const NONE: i64 = -1;
/// The `acks` that there are.
const ACKS_NONE: i16 = 0;
const ACKS_LEADER: i16 = 1;
const ACKS_ALL: i16 = -1;

/// The batch for a partition, on its way or refused.
type Begun = Result<PendingProduce, Refused>;

/// Gives each batch its place in the order of its partition. Takes until there is room for all of them. Says also how many
/// bytes of memory the reply keeps, beside what the broker has a bound for, if that is much.
pub(super) async fn begin(
    door: &Arc<Door>,
    head: Head,
    frame_len: usize,
    request: ProduceRequest,
) -> (Work, usize) {
    let is_lone = is_lone(&request, frame_len);
    let mut kept = 0;
    let mut topics = Vec::with_capacity(request.topic_data.len());
    for TopicProduceData { name: in_frame, partition_data, .. } in request.topic_data {
        let name = take_out(in_frame);
        kept += name.len();
        let mut partitions = Vec::with_capacity(partition_data.len());
        for data in partition_data {
            let index = data.index;
            let begun = match request.acks {
                ACKS_NONE | ACKS_LEADER | ACKS_ALL => {
                    begin_batch(door, head.version, &name, data, is_lone).await
                }
                _ => Err(ResponseError::InvalidRequiredAcks.into()),
            };
            kept += PART_BYTES + begun.as_ref().err().map_or(0, Refused::len);
            partitions.push((index, begun));
        }
        topics.push((name, partitions));
    }
    let patience = Duration::from_millis(u64::try_from(request.timeout_ms).unwrap_or(0)).max(PATIENCE_MIN);
    let finish =
        Finish { door: door.clone(), head, acks: request.acks, topics, begin: Instant::now(), patience };
    (Box::pin(finish.run()), kept.saturating_sub(KEPT_FREE))
}

async fn begin_batch(
    door: &Door,
    version: i16,
    topic: &str,
    data: PartitionProduceData,
    is_lone: bool,
) -> Begun {
    let partition = door.partition(topic, data.index)?;
    let payload = check(door, version, data.records.unwrap_or_default(), is_lone)?;
    Ok(partition.produce(payload).await?)
}

/// The name in memory of its own: what waits holds nothing of the frame, which a large batch is to hold alone.
fn take_out(name: TopicName) -> TopicName {
    let own = name.to_string();
    drop(name);
    TopicName(StrBytes::from_string(own))
}

/// Whether the request is one large batch and little else. Then the frame is left to the batch.
fn is_lone(request: &ProduceRequest, frame_len: usize) -> bool {
    let [topic] = &request.topic_data[..] else { return false };
    let [data] = &topic.partition_data[..] else { return false };
    let len = data.records.as_ref().map_or(0, Bytes::len);
    len >= LONE_BYTES_MIN && len >= frame_len - frame_len / LONE_REST_SHARE
}

fn check(door: &Door, version: i16, records: Bytes, is_lone: bool) -> Result<CheckedPayload, Refused> {
    let is_zstd =
        BatchHeader::parse(&records).is_ok_and(|header| header.compression() == Some(Compression::Zstd));
    if is_zstd && version < ZSTD_SINCE {
        return Err(ResponseError::UnsupportedCompressionType.into());
    }
    let payload = if is_lone { Payload::LoneBatch(records) } else { Payload::Batch(records) };
    Ok(door.broker.check(payload)?)
}

/// A request whose batches are on their way.
struct Finish {
    door: Arc<Door>,
    head: Head,
    acks: i16,
    topics: Vec<(TopicName, Vec<(i32, Begun)>)>,
    begin: Instant,
    /// How long the client waits for the commit.
    patience: Duration,
}

impl Finish {
    async fn run(self) -> Outcome {
        let deadline = self.begin + self.patience;
        let mut has_failed = false;
        let mut responses = Vec::with_capacity(self.topics.len());
        for (name, partitions) in self.topics {
            let mut answers = Vec::with_capacity(partitions.len());
            for (index, begun) in partitions {
                let answer = finish_batch(&self.door, self.head.version, &name, index, begun, deadline).await;
                has_failed |= answer.error_code != 0;
                answers.push(answer);
            }
            responses.push(TopicProduceResponse::default().with_name(name).with_partition_responses(answers));
        }
        match self.acks {
            // There is no reply to say so, but a connection that ends, as in Kafka.
            ACKS_NONE if has_failed => Outcome::Close,
            ACKS_NONE => Outcome::Silence,
            _ => {
                let response = ProduceResponse::default().with_responses(responses);
                large_reply::tell(&self.door, self.head, &response).await
            }
        }
    }
}

/// Waits until a batch is committed.
async fn finish_batch(
    door: &Door,
    version: i16,
    topic: &str,
    index: i32,
    begun: Begun,
    deadline: Instant,
) -> PartitionProduceResponse {
    let answer = PartitionProduceResponse::default()
        .with_index(index)
        .with_base_offset(NONE)
        .with_log_append_time_ms(NONE)
        .with_log_start_offset(NONE);
    let outcome = match begun {
        Ok(pending) => match timeout_at(deadline, pending).await {
            Ok(Ok(produced)) => Ok(produced),
            Ok(Err(error)) => Err(error.into()),
            // It goes on, and an idempotent producer that sends it again is told where it went.
            Err(_) => Err(ResponseError::RequestTimedOut.into()),
        },
        Err(refused) => Err(refused),
    };
    match outcome {
        Ok(produced) => {
            let answer = answer.with_base_offset(produced.base_offset.as_i64());
            match version >= 5 {
                true => answer.with_log_start_offset(produced.log_start.as_i64()),
                false => answer,
            }
        }
        Err(refused) => {
            let (code, message) = refused.tell(door);
            let answer = answer.with_error_code(code);
            let answer = match door.partition(topic, index) {
                // A producer that is not known (59) begins anew only if it is told this.
                Ok(partition) if version >= 5 => {
                    answer.with_log_start_offset(partition.bounds().start.as_i64())
                }
                _ => answer,
            };
            if version >= 8 { answer.with_error_message(message) } else { answer }
        }
    }
}

#[cfg(test)]
mod tests {
    use kafka_protocol::protocol::{Decodable, Encodable};

    use super::*;

    /// A frame's bytes, and what is decoded of them.
    fn decoded(sizes: &[usize]) -> (Bytes, ProduceRequest) {
        let data = sizes
            .iter()
            .map(|size| PartitionProduceData::default().with_records(Some(Bytes::from(vec![b'x'; *size]))));
        let topic = TopicProduceData::default()
            .with_name(TopicName(StrBytes::from_static_str("topic")))
            .with_partition_data(data.collect());
        let mut out = bytes::BytesMut::new();
        ProduceRequest::default().with_topic_data(vec![topic]).encode(&mut out, 9).unwrap();
        let frame = out.freeze();
        let request = ProduceRequest::decode(&mut frame.clone(), 9).unwrap();
        (frame, request)
    }

    #[test]
    fn a_large_batch_alone_holds_its_frame_alone() {
        let (frame, mut request) = decoded(&[LONE_BYTES_MIN]);
        assert!(is_lone(&request, frame.len()));
        drop(frame);
        let TopicProduceData { name, partition_data, .. } = request.topic_data.remove(0);
        let name = take_out(name);
        let records = partition_data.into_iter().next().unwrap().records.unwrap();
        assert!(records.try_into_mut().is_ok());
        assert_eq!(name.as_str(), "topic");
    }

    #[test]
    fn others_share_their_frame_and_are_copied() {
        for (sizes, beside) in [
            (&[LONE_BYTES_MIN - 1][..], 0),
            (&[LONE_BYTES_MIN], LONE_BYTES_MIN / 2),
            (&[LONE_BYTES_MIN, LONE_BYTES_MIN], 0),
            (&[], 0),
        ] {
            let (frame, request) = decoded(sizes);
            assert!(!is_lone(&request, frame.len() + beside), "{sizes:?} {beside}");
        }
    }
}
