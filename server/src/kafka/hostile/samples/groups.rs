//! Those about groups.

use bytes::{Bytes, BytesMut};
use kafka_protocol::{
    messages::{
        ApiKey, ConsumerGroupDescribeRequest, ConsumerGroupHeartbeatRequest, DeleteGroupsRequest,
        DescribeGroupsRequest, FindCoordinatorRequest, GroupId, HeartbeatRequest, JoinGroupRequest,
        LeaveGroupRequest, ListGroupsRequest, OffsetCommitRequest, OffsetDeleteRequest, OffsetFetchRequest,
        SyncGroupRequest, TopicName,
        consumer_group_heartbeat_request::TopicPartitions,
        join_group_request::JoinGroupRequestProtocol,
        leave_group_request::MemberIdentity,
        offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic},
        offset_delete_request::{OffsetDeleteRequestPartition, OffsetDeleteRequestTopic},
        offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics},
        sync_group_request::SyncGroupRequestAssignment,
    },
    protocol::{Encodable, StrBytes},
};

fn text(text: &'static str) -> StrBytes {
    StrBytes::from_static_str(text)
}

fn group() -> GroupId {
    GroupId(text("workers"))
}

fn topic() -> TopicName {
    TopicName(text("orders"))
}

/// The body of a sound request; `None` for what is not about groups.
pub(super) fn body(key: ApiKey, version: i16) -> Option<Bytes> {
    let mut out = BytesMut::new();
    match key {
        ApiKey::FindCoordinator => find_coordinator(version).encode(&mut out, version),
        ApiKey::JoinGroup => join(version).encode(&mut out, version),
        ApiKey::SyncGroup => sync(version).encode(&mut out, version),
        ApiKey::Heartbeat => {
            let request = HeartbeatRequest::default().with_group_id(group()).with_member_id(text("m"));
            let instance = (version >= 3).then(|| text("i"));
            request.with_group_instance_id(instance).encode(&mut out, version)
        }
        ApiKey::LeaveGroup => leave(version).encode(&mut out, version),
        ApiKey::OffsetCommit => commit(version).encode(&mut out, version),
        ApiKey::OffsetFetch => fetch(version).encode(&mut out, version),
        ApiKey::OffsetDelete => {
            let partitions = vec![OffsetDeleteRequestPartition::default().with_partition_index(3)];
            let topics =
                vec![OffsetDeleteRequestTopic::default().with_name(topic()).with_partitions(partitions)];
            let request = OffsetDeleteRequest::default().with_group_id(group());
            request.with_topics(topics).encode(&mut out, version)
        }
        ApiKey::ListGroups => {
            let request = ListGroupsRequest::default();
            let request =
                if version >= 4 { request.with_states_filter(vec![text("Stable")]) } else { request };
            let request =
                if version >= 5 { request.with_types_filter(vec![text("classic")]) } else { request };
            request.encode(&mut out, version)
        }
        ApiKey::DescribeGroups => {
            let request = DescribeGroupsRequest::default().with_groups(vec![group(), group()]);
            request.with_include_authorized_operations(version >= 3).encode(&mut out, version)
        }
        ApiKey::DeleteGroups => {
            DeleteGroupsRequest::default().with_groups_names(vec![group()]).encode(&mut out, version)
        }
        ApiKey::ConsumerGroupHeartbeat => heartbeat(version).encode(&mut out, version),
        ApiKey::ConsumerGroupDescribe => {
            let request = ConsumerGroupDescribeRequest::default().with_group_ids(vec![group(), group()]);
            request.with_include_authorized_operations(true).encode(&mut out, version)
        }
        _ => return None,
    }
    .expect("the sample is one of this version");
    Some(out.freeze())
}

fn heartbeat(version: i16) -> ConsumerGroupHeartbeatRequest {
    let owned =
        TopicPartitions::default().with_topic_id(uuid::Uuid::from_u128(7)).with_partitions(vec![0, 3]);
    let request = ConsumerGroupHeartbeatRequest::default()
        .with_group_id(group())
        .with_member_id(text("m"))
        .with_member_epoch(5)
        .with_instance_id(Some(text("i")))
        .with_rack_id(Some(text("r")))
        .with_rebalance_timeout_ms(1_000)
        .with_subscribed_topic_names(Some(vec![topic(), topic()]))
        .with_server_assignor(Some(text("uniform")))
        .with_topic_partitions(Some(vec![owned.clone(), owned]));
    if version >= 1 { request.with_subscribed_topic_regex(Some(text("o.*"))) } else { request }
}

fn find_coordinator(version: i16) -> FindCoordinatorRequest {
    let request = FindCoordinatorRequest::default();
    match version >= 4 {
        true => request.with_coordinator_keys(vec![text("workers"), text("others")]),
        false => request.with_key(text("workers")),
    }
}

fn join(version: i16) -> JoinGroupRequest {
    let protocol = |name| {
        JoinGroupRequestProtocol::default().with_name(text(name)).with_metadata(Bytes::from_static(b"says"))
    };
    let request = JoinGroupRequest::default()
        .with_group_id(group())
        .with_session_timeout_ms(10_000)
        .with_member_id(text("m"))
        .with_protocol_type(text("consumer"))
        .with_protocols(vec![protocol("range"), protocol("sticky")]);
    let request = if version >= 1 { request.with_rebalance_timeout_ms(9) } else { request };
    let request = if version >= 5 { request.with_group_instance_id(Some(text("i"))) } else { request };
    if version >= 8 { request.with_reason(Some(text("why"))) } else { request }
}

fn sync(version: i16) -> SyncGroupRequest {
    let assignment = SyncGroupRequestAssignment::default()
        .with_member_id(text("m"))
        .with_assignment(Bytes::from_static(b"reads"));
    let request = SyncGroupRequest::default()
        .with_group_id(group())
        .with_member_id(text("m"))
        .with_assignments(vec![assignment.clone(), assignment]);
    let request = if version >= 3 { request.with_group_instance_id(Some(text("i"))) } else { request };
    match version >= 5 {
        true => request.with_protocol_type(Some(text("consumer"))).with_protocol_name(Some(text("range"))),
        false => request,
    }
}

fn leave(version: i16) -> LeaveGroupRequest {
    let request = LeaveGroupRequest::default().with_group_id(group());
    if version < 3 {
        return request.with_member_id(text("m"));
    }
    let member = MemberIdentity::default().with_member_id(text("m")).with_group_instance_id(Some(text("i")));
    let member = if version >= 5 { member.with_reason(Some(text("why"))) } else { member };
    request.with_members(vec![member.clone(), member])
}

fn commit(version: i16) -> OffsetCommitRequest {
    let partition = OffsetCommitRequestPartition::default().with_committed_metadata(Some(text("note")));
    let topics = vec![
        OffsetCommitRequestTopic::default()
            .with_name(topic())
            .with_partitions(vec![partition.clone(), partition]),
    ];
    let request = OffsetCommitRequest::default().with_group_id(group()).with_topics(topics);
    if version >= 7 { request.with_group_instance_id(Some(text("i"))) } else { request }
}

fn fetch(version: i16) -> OffsetFetchRequest {
    let request = OffsetFetchRequest::default().with_require_stable(version >= 7);
    if version < 8 {
        let topics =
            vec![OffsetFetchRequestTopic::default().with_name(topic()).with_partition_indexes(vec![1, 2])];
        return request.with_group_id(group()).with_topics(Some(topics));
    }
    let topics =
        vec![OffsetFetchRequestTopics::default().with_name(topic()).with_partition_indexes(vec![1, 2])];
    let of_all = OffsetFetchRequestGroup::default().with_group_id(group()).with_topics(None);
    let of_some = of_all.clone().with_topics(Some(topics));
    let of_some = if version >= 9 { of_some.with_member_id(Some(text("m"))) } else { of_some };
    request.with_groups(vec![of_all, of_some])
}
