//! ListOffsets: where a partition begins and ends, and which record is the first from a time on.

use std::collections::{HashMap, HashSet};

use kafka_protocol::{
    ResponseError,
    messages::{
        ListOffsetsRequest, ListOffsetsResponse, TopicName,
        list_offsets_request::ListOffsetsPartition,
        list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse},
    },
};
use minikafka_broker::{Error, Partition, RecordPlace};
use minikafka_record::Offset;

use super::{
    door::{self, Door},
    shape::{Field, I8, I32, I64, TEXT, array},
};

pub(super) static SHAPE: &[Field] = &[I32, I8.since(2), array(TOPIC), I32.since(10)];
static TOPIC: &[Field] = &[TEXT, array(PARTITION)];
static PARTITION: &[Field] = &[I32, I32.since(4), I64];

/// Names of places in the field for a timestamp.
const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
/// The record with the largest timestamp (KIP-734).
const MAX_TIMESTAMP: i64 = -3;
/// The first version that knows it.
const MAX_TIMESTAMP_SINCE: i16 = 7;
/// The first record on this disk, rather than in another tier (KIP-405): all are.
const EARLIEST_LOCAL: i64 = -4;
const EARLIEST_LOCAL_SINCE: i16 = 8;
/// The last record in another tier (KIP-1005): there is none.
const LATEST_TIERED: i64 = -5;
const LATEST_TIERED_SINCE: i16 = 9;
/// There is no such place, or nothing is known.
const NONE: i64 = -1;

/// Everything that is asked. Both isolation levels are the same without transactions.
pub(super) async fn list(door: &Door, version: i16, request: ListOffsetsRequest) -> ListOffsetsResponse {
    let mut topics = Vec::with_capacity(request.topics.len());
    let mut seen: HashMap<TopicName, HashSet<i32>> = HashMap::new();
    for topic in request.topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        let seen = seen.entry(topic.name.clone()).or_default();
        for wanted in &topic.partitions {
            // To look for a time is work: a request asks for each partition once, as in Kafka.
            let found = match seen.insert(wanted.partition_index) {
                true => look_up(door, version, &topic.name, wanted).await,
                false => Err(ResponseError::InvalidRequest),
            };
            partitions.push(found.unwrap_or_else(|error| {
                nothing(wanted.partition_index).with_error_code(door.counts.error(error))
            }));
        }
        topics.push(ListOffsetsTopicResponse::default().with_name(topic.name).with_partitions(partitions));
    }
    ListOffsetsResponse::default().with_topics(topics)
}

async fn look_up(
    door: &Door,
    version: i16,
    topic: &str,
    wanted: &ListOffsetsPartition,
) -> Result<ListOffsetsPartitionResponse, ResponseError> {
    let partition = door.partition(topic, wanted.partition_index)?;
    door.check_epoch(&partition, wanted.current_leader_epoch)?;
    let nothing = nothing(wanted.partition_index);
    let place = match wanted.timestamp {
        LATEST => Some((partition.bounds().high_watermark, NONE)),
        EARLIEST => Some((partition.bounds().start, NONE)),
        EARLIEST_LOCAL if version >= EARLIEST_LOCAL_SINCE => Some((partition.bounds().start, NONE)),
        LATEST_TIERED if version >= LATEST_TIERED_SINCE => None,
        time => by_time(&partition, version, time).await?,
    };
    Ok(match place {
        Some((offset, timestamp)) => {
            let found = nothing.with_offset(offset.as_i64()).with_timestamp(timestamp);
            match version {
                ..4 => found,
                // Where that cannot be read just now, nobody knows it.
                _ => match partition.leader_epoch_at(offset).await {
                    Ok(epoch) => found.with_leader_epoch(door::epoch(epoch)),
                    Err(_) => found,
                },
            }
        }
        None => nothing,
    })
}

/// Offset and timestamp of a record.
async fn by_time(
    partition: &Partition,
    version: i16,
    time: i64,
) -> Result<Option<(Offset, i64)>, ResponseError> {
    let place: Result<Option<RecordPlace>, Error> = match time {
        MAX_TIMESTAMP if version >= MAX_TIMESTAMP_SINCE => partition.newest_record().await,
        0.. => partition.record_at(time).await,
        // Places that later versions name.
        _ => return Err(ResponseError::UnsupportedVersion),
    };
    let place = place.map_err(|error| super::errors::code(&error))?;
    Ok(place.map(|place| (place.offset, place.timestamp)))
}

fn nothing(partition: i32) -> ListOffsetsPartitionResponse {
    ListOffsetsPartitionResponse::default()
        .with_partition_index(partition)
        .with_offset(NONE)
        .with_timestamp(NONE)
        .with_leader_epoch(-1)
}
