//! Groups of one member, who leads, and reads what it says itself.

use std::net::SocketAddr;

use bytes::Bytes;
use kafka_protocol::{
    messages::{
        ApiKey, FindCoordinatorResponse, HeartbeatResponse, JoinGroupRequest, JoinGroupResponse,
        LeaveGroupResponse, OffsetCommitRequest, OffsetCommitResponse, OffsetFetchRequest,
        OffsetFetchResponse, SyncGroupRequest, SyncGroupResponse,
        join_group_response::JoinGroupResponseMember,
        offset_commit_response::{OffsetCommitResponsePartition, OffsetCommitResponseTopic},
        offset_fetch_response::{OffsetFetchResponsePartition, OffsetFetchResponseTopic},
    },
    protocol::{Decodable, StrBytes},
};

use super::{NODE, Out};

/// Nothing was committed.
const NONE: i64 = -1;

/// Answers what a member asks.
pub(super) fn answer(
    address: SocketAddr,
    key: ApiKey,
    frame: &mut Bytes,
    out: &mut Out,
) -> anyhow::Result<()> {
    let version = out.version;
    match key {
        ApiKey::FindCoordinator => out.put(
            &FindCoordinatorResponse::default()
                .with_node_id(NODE)
                .with_host(StrBytes::from_string(address.ip().to_string()))
                .with_port(address.port().into()),
        ),
        ApiKey::JoinGroup => out.put(&join(JoinGroupRequest::decode(frame, version)?)),
        ApiKey::SyncGroup => {
            let assignments = SyncGroupRequest::decode(frame, version)?.assignments;
            let own = assignments.into_iter().next().unwrap_or_default();
            out.put(&SyncGroupResponse::default().with_assignment(own.assignment))
        }
        ApiKey::Heartbeat => out.put(&HeartbeatResponse::default()),
        ApiKey::LeaveGroup => out.put(&LeaveGroupResponse::default()),
        ApiKey::OffsetCommit => out.put(&commit(OffsetCommitRequest::decode(frame, version)?)),
        ApiKey::OffsetFetch => out.put(&fetch(OffsetFetchRequest::decode(frame, version)?)),
        key => anyhow::bail!("{key:?} is not answered"),
    }
}

fn join(request: JoinGroupRequest) -> JoinGroupResponse {
    let member_id = match request.member_id.is_empty() {
        true => StrBytes::from_static_str("member"),
        false => request.member_id,
    };
    let protocol = request.protocols.into_iter().next().unwrap_or_default();
    let member =
        JoinGroupResponseMember::default().with_member_id(member_id.clone()).with_metadata(protocol.metadata);
    JoinGroupResponse::default()
        .with_generation_id(1)
        .with_protocol_name(Some(protocol.name))
        .with_leader(member_id.clone())
        .with_member_id(member_id)
        .with_members(vec![member])
}

fn commit(request: OffsetCommitRequest) -> OffsetCommitResponse {
    let topics = request.topics.into_iter().map(|topic| {
        let partition = |index| OffsetCommitResponsePartition::default().with_partition_index(index);
        let partitions = topic.partitions.iter().map(|of| partition(of.partition_index)).collect();
        OffsetCommitResponseTopic::default().with_name(topic.name).with_partitions(partitions)
    });
    OffsetCommitResponse::default().with_topics(topics.collect())
}

fn fetch(request: OffsetFetchRequest) -> OffsetFetchResponse {
    let topics = request.topics.unwrap_or_default().into_iter().map(|topic| {
        let partition = |index: &i32| {
            OffsetFetchResponsePartition::default().with_partition_index(*index).with_committed_offset(NONE)
        };
        let partitions = topic.partition_indexes.iter().map(partition).collect();
        OffsetFetchResponseTopic::default().with_name(topic.name).with_partitions(partitions)
    });
    OffsetFetchResponse::default().with_topics(topics.collect())
}
