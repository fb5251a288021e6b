//! Commands and state of the metadata as they are stored: protobuf, with fields that are only ever added.

use std::time::Duration;

use minikafka_storage::TopicId;
use prost::Message as _;

use super::{Command, Metadata, TopicRecord};
use crate::{ClusterId, Limit, TopicSettings, machine::FormatError};

/// Stands for "no limit".
const UNLIMITED: i64 = -1;

#[derive(Clone, PartialEq, prost::Message)]
struct StoredCommand {
    #[prost(oneof = "Kind", tags = "1, 2, 3, 4, 5, 6, 7")]
    kind: Option<Kind>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Kind {
    #[prost(message, tag = "1")]
    CreateTopic(StoredTopic),
    #[prost(message, tag = "2")]
    AlterTopic(StoredTopic),
    /// Of the topic, only name and id.
    #[prost(message, tag = "3")]
    DeleteTopic(StoredTopic),
    #[prost(message, tag = "4")]
    ForgetTopics(StoredIds),
    #[prost(uint32, tag = "5")]
    AllocateProducerIds(u32),
    #[prost(message, tag = "6")]
    Begin(StoredBeginning),
    #[prost(message, tag = "7")]
    Recover(StoredBeginning),
}

#[derive(Clone, PartialEq, prost::Message)]
struct StoredBeginning {
    /// Absent in what the first versions have stored.
    #[prost(bytes = "vec", optional, tag = "1")]
    cluster_id: Option<Vec<u8>>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct StoredTopic {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(bytes = "vec", tag = "2")]
    id: Vec<u8>,
    #[prost(uint32, tag = "3")]
    partitions: u32,
    /// Absent: as the server has it. -1: never.
    #[prost(int64, optional, tag = "4")]
    retention_ms: Option<i64>,
    /// As above.
    #[prost(int64, optional, tag = "5")]
    retention_bytes: Option<i64>,
    #[prost(uint64, optional, tag = "6")]
    message_bytes_max: Option<u64>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct StoredIds {
    #[prost(bytes = "vec", repeated, tag = "1")]
    ids: Vec<Vec<u8>>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct StoredState {
    #[prost(message, repeated, tag = "1")]
    topics: Vec<StoredTopic>,
    #[prost(bytes = "vec", repeated, tag = "2")]
    deleted: Vec<Vec<u8>>,
    #[prost(int64, tag = "3")]
    next_producer_id: i64,
    #[prost(bytes = "vec", optional, tag = "4")]
    cluster_id: Option<Vec<u8>>,
}

pub(super) fn encode_command(command: &Command) -> Vec<u8> {
    let kind = match command {
        Command::CreateTopic(name, topic) => Kind::CreateTopic(stored(name, topic)),
        Command::AlterTopic(name, topic) => Kind::AlterTopic(stored(name, topic)),
        Command::DeleteTopic(name, id) => {
            Kind::DeleteTopic(StoredTopic { name: name.clone(), id: bytes_of(id), ..StoredTopic::default() })
        }
        Command::ForgetTopics(ids) => {
            Kind::ForgetTopics(StoredIds { ids: ids.iter().map(bytes_of).collect() })
        }
        Command::AllocateProducerIds(count) => Kind::AllocateProducerIds(*count),
        Command::Begin(id) => Kind::Begin(StoredBeginning { cluster_id: stored_cluster(*id) }),
        Command::Recover(id) => Kind::Recover(StoredBeginning { cluster_id: stored_cluster(*id) }),
    };
    StoredCommand { kind: Some(kind) }.encode_to_vec()
}

pub(super) fn decode_command(bytes: &[u8]) -> Result<Command, FormatError> {
    let kind =
        StoredCommand::decode(bytes)?.kind.ok_or_else(|| FormatError::new("a change of a new kind"))?;
    Ok(match kind {
        Kind::CreateTopic(topic) => {
            let (name, topic) = topic_of(topic)?;
            Command::CreateTopic(name, topic)
        }
        Kind::AlterTopic(topic) => {
            let (name, topic) = topic_of(topic)?;
            Command::AlterTopic(name, topic)
        }
        Kind::DeleteTopic(topic) => Command::DeleteTopic(topic.name, id_of(&topic.id)?),
        Kind::ForgetTopics(StoredIds { ids }) => {
            Command::ForgetTopics(ids.iter().map(|id| id_of(id)).collect::<Result<_, _>>()?)
        }
        Kind::AllocateProducerIds(count) => Command::AllocateProducerIds(count),
        Kind::Begin(StoredBeginning { cluster_id }) => Command::Begin(cluster_of(cluster_id)?),
        Kind::Recover(StoredBeginning { cluster_id }) => Command::Recover(cluster_of(cluster_id)?),
    })
}

pub(super) fn encode_state(metadata: &Metadata) -> Vec<u8> {
    let state = StoredState {
        topics: metadata.topics.iter().map(|(name, topic)| stored(name, topic)).collect(),
        deleted: metadata.deleted.iter().map(bytes_of).collect(),
        next_producer_id: metadata.next_producer_id,
        cluster_id: stored_cluster(metadata.cluster_id),
    };
    state.encode_to_vec()
}

pub(super) fn decode_state(bytes: &[u8]) -> Result<Metadata, FormatError> {
    let StoredState { topics, deleted, next_producer_id, cluster_id } = StoredState::decode(bytes)?;
    Ok(Metadata {
        topics: topics.into_iter().map(topic_of).collect::<Result<_, _>>()?,
        deleted: deleted.iter().map(|id| id_of(id)).collect::<Result<_, _>>()?,
        next_producer_id,
        cluster_id: cluster_of(cluster_id)?,
    })
}

fn stored(name: &str, topic: &TopicRecord) -> StoredTopic {
    let TopicSettings { retention, retention_bytes, message_bytes_max } = topic.settings;
    let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    let millis = |age: Duration| i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
    StoredTopic {
        name: name.to_owned(),
        id: bytes_of(&topic.id),
        partitions: topic.partitions,
        retention_ms: retention.map(|age| age.at().map_or(UNLIMITED, millis)),
        retention_bytes: retention_bytes.map(|bytes| bytes.at().map_or(UNLIMITED, number)),
        message_bytes_max,
    }
}

fn topic_of(stored: StoredTopic) -> Result<(String, TopicRecord), FormatError> {
    let limit = |number: i64| u64::try_from(number).map_or(Limit::Unlimited, Limit::At);
    let age = |number| match limit(number) {
        Limit::Unlimited => Limit::Unlimited,
        Limit::At(ms) => Limit::At(Duration::from_millis(ms)),
    };
    let settings = TopicSettings {
        retention: stored.retention_ms.map(age),
        retention_bytes: stored.retention_bytes.map(limit),
        message_bytes_max: stored.message_bytes_max,
    };
    let topic = TopicRecord { id: id_of(&stored.id)?, partitions: stored.partitions, settings };
    Ok((stored.name, topic))
}

fn bytes_of(id: &TopicId) -> Vec<u8> {
    id.as_bytes().to_vec()
}

fn id_of(bytes: &[u8]) -> Result<TopicId, FormatError> {
    let bytes = bytes.try_into().map_err(|_| FormatError::new("the id of a topic has another length"))?;
    Ok(TopicId::from_bytes(bytes))
}

fn stored_cluster(id: Option<ClusterId>) -> Option<Vec<u8>> {
    id.map(|id| id.as_bytes().to_vec())
}

fn cluster_of(stored: Option<Vec<u8>>) -> Result<Option<ClusterId>, FormatError> {
    let Some(bytes) = stored else { return Ok(None) };
    let bytes = bytes.try_into().map_err(|_| FormatError::new("the id of the cluster has another length"))?;
    Ok(Some(ClusterId::from_bytes(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: TopicId = TopicId::from_bytes([0xab; 16]);
    const CLUSTER: ClusterId = ClusterId::from_bytes([0xab; 16]);

    fn topic() -> TopicRecord {
        let settings = TopicSettings {
            retention: Some(Limit::At(Duration::from_millis(300))),
            retention_bytes: Some(Limit::Unlimited),
            message_bytes_max: Some(1024),
        };
        TopicRecord { id: ID, partitions: 12, settings }
    }

    /// Bytes in hexadecimal, with `I` for those of the id.
    fn hex(bytes: &[u8]) -> String {
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        hex.replace(&ID.to_string(), "I")
    }

    #[test]
    fn what_was_stored_can_be_read_for_good() {
        let t = || "t".to_owned();
        let plain = TopicRecord { id: ID, partitions: 1, settings: TopicSettings::default() };
        for (command, golden) in [
            (Command::CreateTopic(t(), plain), "0a170a01741210I1801"),
            (Command::AlterTopic(t(), topic()), "12280a01741210I180c20ac0228ffffffffffffffffff01308008"),
            (Command::DeleteTopic(t(), ID), "1a150a01741210I"),
            (Command::ForgetTopics(vec![ID]), "22120a10I"),
            (Command::AllocateProducerIds(1000), "28e807"),
            (Command::Begin(None), "3200"),
            (Command::Recover(None), "3a00"),
            (Command::Begin(Some(CLUSTER)), "32120a10I"),
            (Command::Recover(Some(CLUSTER)), "3a120a10I"),
        ] {
            let bytes = encode_command(&command);
            assert_eq!(hex(&bytes), golden, "{command:?}");
            assert_eq!(decode_command(&bytes).unwrap(), command);
        }
        let mut metadata = Metadata { next_producer_id: 7, ..Metadata::default() };
        metadata.topics.insert(t(), topic());
        metadata.deleted.insert(ID);
        let bytes = encode_state(&metadata);
        let golden = "0a280a01741210I180c20ac0228ffffffffffffffffff013080081210I1807";
        assert_eq!(hex(&bytes), golden);
        assert_eq!(decode_state(&bytes).unwrap(), metadata);
        metadata.cluster_id = Some(CLUSTER);
        let bytes = encode_state(&metadata);
        assert_eq!(hex(&bytes), format!("{golden}2210I"));
        assert_eq!(decode_state(&bytes).unwrap(), metadata);
    }

    #[test]
    fn what_is_not_known_is_not_guessed_at() {
        for unknown in [&[][..], &[0x92, 0x01, 0x00], &[0x0a, 0x02, 0x12, 0x00]] {
            decode_command(unknown).unwrap_err();
        }
    }
}
