//! OffsetForLeaderEpoch: where the records of a leader's term end, by which clients find out what was cut away.

use kafka_protocol::{
    ResponseError,
    messages::{
        OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse,
        offset_for_leader_epoch_request::OffsetForLeaderPartition,
        offset_for_leader_epoch_response::{EpochEndOffset, OffsetForLeaderTopicResult},
    },
};

use minikafka_broker::TermEnd;
use minikafka_storage::Epoch;

use super::super::{
    door::{self, Door},
    errors,
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
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let mut ends = Vec::with_capacity(topic.partitions.len());
        for wanted in topic.partitions {
            let nothing = EpochEndOffset::default()
                .with_partition(wanted.partition)
                .with_leader_epoch(UNDEFINED)
                .with_end_offset(UNDEFINED.into());
            ends.push(match end(door, &topic.topic, &wanted).await {
                Ok(Some(found)) => nothing
                    .with_leader_epoch(door::epoch(found.leader_epoch))
                    .with_end_offset(found.end.as_i64()),
                Ok(None) => nothing,
                Err(error) => nothing.with_error_code(door.counts.error(error)),
            });
        }
        topics.push(OffsetForLeaderTopicResult::default().with_topic(topic.topic).with_partitions(ends));
    }
    OffsetForLeaderEpochResponse::default().with_topics(topics)
}

/// `None` where nothing is known of the term.
async fn end(
    door: &Door,
    topic: &str,
    wanted: &OffsetForLeaderPartition,
) -> Result<Option<TermEnd>, ResponseError> {
    let partition = door.partition(topic, wanted.partition)?;
    door.check_epoch(&partition, wanted.current_leader_epoch)?;
    let Ok(epoch) = Epoch::try_from(wanted.leader_epoch) else { return Ok(None) };
    partition.term_end(epoch).await.map_err(|error| errors::code(&error))
}
