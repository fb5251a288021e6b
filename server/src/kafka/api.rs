//! [`Api`]: which requests are answered, in which versions. What `ApiVersions` says, what is dispatched and what
//! `docs/kafka.md` lists is this one table.

use std::ops::RangeInclusive;

use kafka_protocol::messages::ApiKey;

use super::{
    admin::{
        cluster,
        config::{alter, describe},
        config_resources, create_partitions, create_topics, delete_records, delete_topics, leader_epoch,
        log_dirs, producers, topic_partitions,
    },
    api_versions, fetch, group, init_producer_id, list_offsets, metadata, produce, sasl,
    shape::{Encoding, Field},
};

/// A kind of request that is answered.
#[derive(Debug)]
pub(super) struct Api {
    pub(super) key: ApiKey,
    /// As Kafka's documentation calls it.
    pub(super) name: &'static str,
    /// Versions that are answered.
    pub(super) versions: RangeInclusive<i16>,
    /// The first version that is named to clients.
    pub(super) named_from: i16,
    /// What a request looks like.
    pub(super) shape: &'static [Field],
    pub(super) size: Size,
}

/// How large a request may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Size {
    /// It brings messages.
    Messages,
    /// Names and numbers.
    Names,
    /// What says who somebody is.
    Credentials,
}

/// All of them.
pub(super) static APIS: [Api; 34] = [
    Api {
        // librdkafka believes that a broker without version 0 knows no compression. Versions 0 to 2 end the
        // connection, as with Kafka 4.
        named_from: 0,
        ..api(ApiKey::Produce, "Produce", 3..=11, produce::SHAPE, Size::Messages)
    },
    api(ApiKey::Fetch, "Fetch", 4..=16, fetch::SHAPE, Size::Names),
    api(ApiKey::ListOffsets, "ListOffsets", 1..=10, list_offsets::SHAPE, Size::Names),
    api(ApiKey::Metadata, "Metadata", 0..=13, metadata::SHAPE, Size::Names),
    api(ApiKey::OffsetCommit, "OffsetCommit", 2..=9, group::offset_commit::SHAPE, Size::Names),
    api(ApiKey::OffsetFetch, "OffsetFetch", 1..=9, group::offset_fetch::SHAPE, Size::Names),
    api(ApiKey::FindCoordinator, "FindCoordinator", 0..=6, group::find_coordinator::SHAPE, Size::Names),
    api(ApiKey::JoinGroup, "JoinGroup", 0..=9, group::join::SHAPE, Size::Names),
    api(ApiKey::Heartbeat, "Heartbeat", 0..=4, group::heartbeat::SHAPE, Size::Names),
    api(ApiKey::LeaveGroup, "LeaveGroup", 0..=5, group::leave::SHAPE, Size::Names),
    api(ApiKey::SyncGroup, "SyncGroup", 0..=5, group::sync::SHAPE, Size::Names),
    api(ApiKey::DescribeGroups, "DescribeGroups", 0..=6, group::describe_groups::SHAPE, Size::Names),
    api(ApiKey::ListGroups, "ListGroups", 0..=5, group::list_groups::SHAPE, Size::Names),
    api(ApiKey::SaslHandshake, "SaslHandshake", 0..=1, sasl::HANDSHAKE_SHAPE, Size::Credentials),
    api(ApiKey::ApiVersions, "ApiVersions", 0..=4, api_versions::SHAPE, Size::Names),
    api(ApiKey::CreateTopics, "CreateTopics", 2..=7, create_topics::SHAPE, Size::Names),
    api(ApiKey::DeleteTopics, "DeleteTopics", 1..=6, delete_topics::SHAPE, Size::Names),
    api(ApiKey::DeleteRecords, "DeleteRecords", 0..=2, delete_records::SHAPE, Size::Names),
    api(ApiKey::InitProducerId, "InitProducerId", 0..=4, init_producer_id::SHAPE, Size::Names),
    api(ApiKey::OffsetForLeaderEpoch, "OffsetForLeaderEpoch", 2..=4, leader_epoch::SHAPE, Size::Names),
    api(ApiKey::DescribeConfigs, "DescribeConfigs", 1..=4, describe::SHAPE, Size::Names),
    api(ApiKey::AlterConfigs, "AlterConfigs", 0..=2, alter::REPLACE_SHAPE, Size::Names),
    api(ApiKey::DescribeLogDirs, "DescribeLogDirs", 1..=4, log_dirs::SHAPE, Size::Names),
    api(ApiKey::SaslAuthenticate, "SaslAuthenticate", 0..=2, sasl::AUTHENTICATE_SHAPE, Size::Credentials),
    api(ApiKey::CreatePartitions, "CreatePartitions", 0..=3, create_partitions::SHAPE, Size::Names),
    api(ApiKey::DeleteGroups, "DeleteGroups", 0..=2, group::delete_groups::SHAPE, Size::Names),
    api(ApiKey::IncrementalAlterConfigs, "IncrementalAlterConfigs", 0..=1, alter::CHANGE_SHAPE, Size::Names),
    api(ApiKey::OffsetDelete, "OffsetDelete", 0..=0, group::offset_delete::SHAPE, Size::Names),
    api(ApiKey::DescribeCluster, "DescribeCluster", 0..=2, cluster::SHAPE, Size::Names),
    api(ApiKey::DescribeProducers, "DescribeProducers", 0..=0, producers::SHAPE, Size::Names),
    api(
        ApiKey::ConsumerGroupHeartbeat,
        "ConsumerGroupHeartbeat",
        0..=1,
        group::consumer_heartbeat::SHAPE,
        Size::Names,
    ),
    api(
        ApiKey::ConsumerGroupDescribe,
        "ConsumerGroupDescribe",
        0..=1,
        group::consumer_describe::SHAPE,
        Size::Names,
    ),
    api(ApiKey::ListConfigResources, "ListConfigResources", 0..=1, config_resources::SHAPE, Size::Names),
    api(
        ApiKey::DescribeTopicPartitions,
        "DescribeTopicPartitions",
        0..=0,
        topic_partitions::SHAPE,
        Size::Names,
    ),
];

const fn api(
    key: ApiKey,
    name: &'static str,
    versions: RangeInclusive<i16>,
    shape: &'static [Field],
    size: Size,
) -> Api {
    Api { key, name, named_from: *versions.start(), versions, shape, size }
}

impl Api {
    /// The one with this key, and its place in the table.
    pub(super) fn of(key: i16) -> Option<(usize, &'static Api)> {
        APIS.iter().enumerate().find(|(_, api)| api.key as i16 == key)
    }

    /// How requests of a version are encoded.
    pub(super) fn encoding(&self, version: i16) -> Encoding {
        // Header and body became flexible together.
        if self.key.request_header_version(version) >= 2 { Encoding::Flexible } else { Encoding::Classic }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documentation_lists_what_is_answered() {
        let documentation = include_str!("../../../docs/kafka.md");
        for api in &APIS {
            let (first, last) = (api.versions.start(), api.versions.end());
            let versions = if first == last { first.to_string() } else { format!("{first}-{last}") };
            let row = format!("| {} | {} | {versions} |", api.key as i16, api.name);
            assert!(documentation.contains(&row), "docs/kafka.md has no row {row}");
        }
        let rows = documentation.lines().filter(|line| {
            let first = line.strip_prefix("| ").and_then(|line| line.split(" |").next());
            first.is_some_and(|first| first.parse::<i16>().is_ok())
        });
        assert_eq!(rows.count(), APIS.len(), "docs/kafka.md lists more");
    }
}
