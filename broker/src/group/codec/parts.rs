//! Parts of commands and of the state: partitions, positions, topics.

use minikafka_record::Offset;
use minikafka_storage::TopicId;

use crate::{
    group::core::{NamedView, NewPosition, PartitionMap, PartitionSet, Position, TopicView},
    machine::FormatError,
};

/// Partitions of a topic.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct PartitionsRecord {
    #[prost(string, tag = "1")]
    topic: String,
    #[prost(uint32, repeated, tag = "2")]
    numbers: Vec<u32>,
}

/// Positions in partitions of a topic.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct PositionsRecord {
    #[prost(string, tag = "1")]
    topic: String,
    #[prost(bytes = "vec", tag = "2")]
    topic_id: Vec<u8>,
    #[prost(message, repeated, tag = "3")]
    positions: Vec<PositionRecord>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct PositionRecord {
    #[prost(uint32, tag = "1")]
    partition: u32,
    #[prost(uint64, tag = "2")]
    offset: u64,
    #[prost(string, tag = "3")]
    metadata: String,
    /// 0 in a command: it is the command's own time.
    #[prost(int64, tag = "4")]
    committed_at: i64,
}

/// A topic.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct TopicRecord {
    #[prost(string, tag = "1")]
    pub(super) topic: String,
    #[prost(bytes = "vec", tag = "2")]
    pub(super) topic_id: Vec<u8>,
    #[prost(uint32, tag = "3")]
    pub(super) partitions: u32,
}

impl From<&NamedView> for TopicRecord {
    fn from((topic, view): &NamedView) -> TopicRecord {
        TopicRecord {
            topic: topic.clone(),
            topic_id: view.id.as_bytes().to_vec(),
            partitions: view.partitions,
        }
    }
}

impl TryFrom<TopicRecord> for NamedView {
    type Error = FormatError;

    fn try_from(record: TopicRecord) -> Result<NamedView, FormatError> {
        let TopicRecord { topic, topic_id, partitions } = record;
        Ok((topic, TopicView { id: self::topic_id(&topic_id)?, partitions }))
    }
}

pub(super) fn topic_id(bytes: &[u8]) -> Result<TopicId, FormatError> {
    match bytes.try_into() {
        Ok(bytes) => Ok(TopicId::from_bytes(bytes)),
        Err(_) => Err(FormatError::new(format!("a topic id of {} bytes", bytes.len()))),
    }
}

pub(super) fn put_partitions(partitions: &PartitionSet) -> Vec<PartitionsRecord> {
    let record = |topic: &str| PartitionsRecord {
        topic: topic.to_owned(),
        numbers: partitions.of_topic(topic).map(|(number, ())| number).collect(),
    };
    partitions.topics().map(record).collect()
}

pub(super) fn take_partitions(records: &[PartitionsRecord]) -> PartitionSet {
    let of_topic = |record| {
        let PartitionsRecord { topic, numbers }: &PartitionsRecord = record;
        numbers.iter().map(move |number| (topic.as_str(), *number))
    };
    records.iter().flat_map(of_topic).collect()
}

/// A position as a command or as the state has it.
pub(super) trait Stored: Sized {
    fn topic_id(&self) -> TopicId;
    fn put(&self) -> (Offset, &str, i64);
    fn take(topic_id: TopicId, offset: Offset, metadata: String, committed_at: i64) -> Self;
}

impl Stored for NewPosition {
    fn topic_id(&self) -> TopicId {
        self.topic_id
    }

    fn put(&self) -> (Offset, &str, i64) {
        (self.offset, &self.metadata, 0)
    }

    fn take(topic_id: TopicId, offset: Offset, metadata: String, _: i64) -> NewPosition {
        NewPosition { topic_id, offset, metadata }
    }
}

impl Stored for Position {
    fn topic_id(&self) -> TopicId {
        self.topic_id
    }

    fn put(&self) -> (Offset, &str, i64) {
        (self.offset, &self.metadata, self.committed_at)
    }

    fn take(topic_id: TopicId, offset: Offset, metadata: String, committed_at: i64) -> Position {
        Position { topic_id, offset, metadata, committed_at }
    }
}

pub(super) fn put_positions<P: Stored>(positions: &PartitionMap<P>) -> Vec<PositionsRecord> {
    let mut records: Vec<PositionsRecord> = Vec::new();
    for (topic, partition, position) in positions.iter() {
        let topic_id = position.topic_id().as_bytes().to_vec();
        let (offset, metadata, committed_at) = position.put();
        let metadata = metadata.to_owned();
        let position = PositionRecord { partition, offset: offset.get(), metadata, committed_at };
        match records.last_mut() {
            Some(last) if last.topic == topic && last.topic_id == topic_id => last.positions.push(position),
            _ => {
                records.push(PositionsRecord {
                    topic: topic.to_owned(),
                    topic_id,
                    positions: vec![position],
                });
            }
        }
    }
    records
}

pub(super) fn take_positions<P: Stored>(
    records: Vec<PositionsRecord>,
) -> Result<PartitionMap<P>, FormatError> {
    let mut positions = PartitionMap::default();
    for record in records {
        let id = topic_id(&record.topic_id)?;
        for position in record.positions {
            let PositionRecord { partition, offset, metadata, committed_at } = position;
            let position = P::take(id, Offset::new(offset), metadata, committed_at);
            positions.insert(&record.topic, partition, position);
        }
    }
    Ok(positions)
}
