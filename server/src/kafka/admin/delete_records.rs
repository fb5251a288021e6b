//! DeleteRecords: what lies before an offset is evicted now, whatever its age.

use kafka_protocol::{
    ResponseError,
    messages::{
        DeleteRecordsRequest, DeleteRecordsResponse,
        delete_records_request::DeleteRecordsPartition,
        delete_records_response::{DeleteRecordsPartitionResult, DeleteRecordsTopicResult},
    },
};
use minikafka_record::Offset;

use super::super::{
    door::Door,
    errors,
    shape::{Field, I32, I64, TEXT, array},
};

pub(in super::super) static SHAPE: &[Field] = &[array(TOPIC), I32];
static TOPIC: &[Field] = &[TEXT, array(PARTITION)];
static PARTITION: &[Field] = &[I32, I64];

/// All that is committed.
const ALL: i64 = -1;
/// Nothing was deleted, so nothing is said about the start.
const UNKNOWN: i64 = -1;

/// One partition after the other; each is durable before the reply.
pub(in super::super) async fn delete(
    door: &Door,
    _version: i16,
    request: DeleteRecordsRequest,
) -> DeleteRecordsResponse {
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for wanted in topic.partitions {
            let (code, start) = match delete_before(door, &topic.name, &wanted).await {
                Ok(start) => (0, start.as_i64()),
                Err(error) => (door.counts.error(error), UNKNOWN),
            };
            partitions.push(
                DeleteRecordsPartitionResult::default()
                    .with_partition_index(wanted.partition_index)
                    .with_low_watermark(start)
                    .with_error_code(code),
            );
        }
        topics.push(DeleteRecordsTopicResult::default().with_name(topic.name).with_partitions(partitions));
    }
    DeleteRecordsResponse::default().with_topics(topics)
}

/// Returns where the partition begins now.
async fn delete_before(
    door: &Door,
    topic: &str,
    wanted: &DeleteRecordsPartition,
) -> Result<Offset, ResponseError> {
    let partition = door.partition(topic, wanted.partition_index)?;
    let end = match wanted.offset {
        ALL => partition.bounds().high_watermark,
        offset => Offset::new(u64::try_from(offset).map_err(|_| ResponseError::OffsetOutOfRange)?),
    };
    partition.evict_before(end).await.map_err(|error| errors::code(&error))
}
