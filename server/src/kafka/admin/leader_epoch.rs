//! OffsetForLeaderEpoch: where the records of a leader's term end, by which clients find out what was cut away.

use kafka_protocol::{
    ResponseError,
    messages::{
        OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse,
        offset_for_leader_epoch_request::OffsetForLeaderPartition,
        offset_for_leader_epoch_response::{EpochEndOffset, OffsetForLeaderTopicResult},
    },
};

use super::super::{
    door::Door,
    shape::{Field, I32, TEXT, array},
};

pub(in super::super) static SHAPE: &[Field] = &[I32.since(3), array(TOPIC)];
static TOPIC: &[Field] = &[TEXT, array(PARTITION)];
static PARTITION: &[Field] = &[I32, I32, I32];

/// No term, and no end.
const UNDEFINED: i32 = -1;

/// Everything that is asked.
pub(in super::super) async fn look_up(
    door: &Door,
    _version: i16,
    request: OffsetForLeaderEpochRequest,
) -> OffsetForLeaderEpochResponse {
    let topics = request.topics.into_iter().map(|topic| {
        let ends = topic.partitions.iter().map(|wanted| {
            let nothing = EpochEndOffset::default()
                .with_partition(wanted.partition)
                .with_leader_epoch(UNDEFINED)
                .with_end_offset(UNDEFINED.into());
            match end(door, &topic.topic, wanted) {
                Ok(Some(offset)) => nothing.with_leader_epoch(wanted.leader_epoch).with_end_offset(offset),
                Ok(None) => nothing,
                Err(error) => nothing.with_error_code(door.counts.error(error)),
            }
        });
        let ends = ends.collect();
        OffsetForLeaderTopicResult::default().with_topic(topic.topic).with_partitions(ends)
    });
    OffsetForLeaderEpochResponse::default().with_topics(topics.collect())
}

/// One server has one leader, whose term all records have: it ends where they do. Of other terms nothing is known.
fn end(door: &Door, topic: &str, wanted: &OffsetForLeaderPartition) -> Result<Option<i64>, ResponseError> {
    let partition = door.partition(topic, wanted.partition)?;
    door.check_epoch(&partition, wanted.current_leader_epoch)?;
    let is_ours = wanted.leader_epoch == door.epoch(&partition);
    Ok(is_ours.then(|| partition.bounds().high_watermark.as_i64()))
}
