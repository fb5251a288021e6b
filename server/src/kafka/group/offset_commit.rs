//! OffsetCommit: positions, durable before the reply. What cannot be stored of it is refused by itself.

use kafka_protocol::{
    ResponseError,
    messages::{
        OffsetCommitRequest, OffsetCommitResponse, TopicName,
        offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic},
        offset_commit_response::{OffsetCommitResponsePartition, OffsetCommitResponseTopic},
    },
};
use minikafka_broker::{Error, GroupError, PositionToStore, PositionsBy, TopicPartition};
use minikafka_record::Offset;

use super::{errors, member};
use crate::kafka::{
    door::Door,
    shape::{Field, I32, I64, TEXT, array},
};

pub(in crate::kafka) static SHAPE: &[Field] =
    &[TEXT, I32, TEXT, TEXT.since(7), I64.since(2).until(4), array(TOPIC)];
static TOPIC: &[Field] = &[TEXT, array(PARTITION)];
static PARTITION: &[Field] = &[I32, I64, I32.since(6), TEXT];

/// Bytes of metadata with a position, as in Kafka.
const METADATA_BYTES_MAX: usize = 4096;

/// The first version that members of the newer protocol use.
const MEMBER_EPOCHS_SINCE: i16 = 9;

/// Partitions of a topic, each with what is wrong with it.
type Judged = (TopicName, Vec<(i32, Option<ResponseError>)>);

/// Stores what can be.
pub(super) async fn commit(door: &Door, version: i16, request: OffsetCommitRequest) -> OffsetCommitResponse {
    let (mut positions, mut judged) = (Vec::new(), Vec::with_capacity(request.topics.len()));
    for OffsetCommitRequestTopic { name, partitions, .. } in request.topics {
        let judge = |partition: OffsetCommitRequestPartition| {
            let index = partition.partition_index;
            match check(door, &name, partition) {
                Ok(position) => {
                    positions.push(position);
                    (index, None)
                }
                Err(code) => (index, Some(code)),
            }
        };
        let partitions: Vec<_> = partitions.into_iter().map(judge).collect();
        judged.push((name, partitions));
    }
    // Also without any that can be stored: whether it is a member, is said in any case.
    let by = match request.generation_id_or_member_epoch {
        // A client that is no member, and only keeps its positions here, whatever it calls itself. The log refuses it
        // when there are members.
        ..0 if !door.broker.has_classic(&request.group_id) => PositionsBy::Outsider,
        ..0 if request.member_id.is_empty() && request.group_instance_id.is_none() => PositionsBy::Outsider,
        epoch @ 0..
            if version >= MEMBER_EPOCHS_SINCE
                && door.broker.has_member(&request.group_id, &request.member_id) =>
        {
            PositionsBy::Member {
                member_id: request.member_id.to_string(),
                epoch: epoch.unsigned_abs().into(),
            }
        }
        generation => PositionsBy::Classic(member(
            &request.group_id,
            &request.member_id,
            request.group_instance_id,
            generation,
        )),
    };
    let stored = match positions.is_empty() && by == PositionsBy::Outsider {
        true => Ok(()),
        false => door.broker.commit_positions(&request.group_id, by, positions).await,
    };
    answer(door, judged, stored.err().as_ref().map(code))
}

fn code(error: &Error) -> ResponseError {
    match error {
        // Only members commit while there are some.
        Error::Group(GroupError::NotEmpty { .. } | GroupError::Occupied(_)) => ResponseError::UnknownMemberId,
        // It asks for its epoch, and commits again.
        Error::Group(GroupError::Fenced { .. }) => ResponseError::StaleMemberEpoch,
        error => errors::code(error),
    }
}

/// The position, if it can be stored.
fn check(
    door: &Door,
    topic: &str,
    of: OffsetCommitRequestPartition,
) -> Result<PositionToStore, ResponseError> {
    let partition = door.partition(topic, of.partition_index)?;
    let offset = u64::try_from(of.committed_offset).map_err(|_| ResponseError::OffsetOutOfRange)?;
    let offset = Offset::new(offset);
    if offset > partition.bounds().high_watermark {
        return Err(ResponseError::OffsetOutOfRange);
    }
    let metadata = of.committed_metadata.map(|text| text.to_string()).unwrap_or_default();
    if metadata.len() > METADATA_BYTES_MAX {
        return Err(ResponseError::OffsetMetadataTooLarge);
    }
    let of = TopicPartition { topic: topic.to_owned(), partition: partition.number() };
    Ok(PositionToStore { of, offset, metadata })
}

/// What is wrong with a partition, or else what kept all of them from being stored.
fn answer(door: &Door, judged: Vec<Judged>, refused: Option<ResponseError>) -> OffsetCommitResponse {
    let partition = |(index, own): (i32, Option<ResponseError>)| {
        let code = own.or(refused).map_or(0, |error| door.counts.error(error));
        OffsetCommitResponsePartition::default().with_partition_index(index).with_error_code(code)
    };
    let topic = |(name, partitions): Judged| {
        let partitions = partitions.into_iter().map(partition).collect();
        OffsetCommitResponseTopic::default().with_name(name).with_partitions(partitions)
    };
    OffsetCommitResponse::default().with_topics(judged.into_iter().map(topic).collect())
}
