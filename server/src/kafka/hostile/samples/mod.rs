//! A sound request of each kind: every field that a version has holds something, so that all of a shape is walked.

mod groups;

use bytes::{Bytes, BytesMut};
use kafka_protocol::{
    messages::{
        AlterConfigsRequest, ApiKey, ApiVersionsRequest, BrokerId, CreatePartitionsRequest,
        CreateTopicsRequest, DeleteRecordsRequest, DeleteTopicsRequest, DescribeClusterRequest,
        DescribeConfigsRequest, DescribeLogDirsRequest, DescribeProducersRequest,
        DescribeTopicPartitionsRequest, FetchRequest, IncrementalAlterConfigsRequest, InitProducerIdRequest,
        ListConfigResourcesRequest, ListOffsetsRequest, MetadataRequest, OffsetForLeaderEpochRequest,
        ProduceRequest, ProducerId, SaslAuthenticateRequest, SaslHandshakeRequest, TopicName,
        TransactionalId, alter_configs_request,
        create_partitions_request::{CreatePartitionsAssignment, CreatePartitionsTopic},
        create_topics_request::{CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig},
        delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic},
        delete_topics_request::DeleteTopicState,
        describe_configs_request::DescribeConfigsResource,
        describe_log_dirs_request::DescribableLogDirTopic,
        describe_producers_request, describe_topic_partitions_request,
        fetch_request::{FetchPartition, FetchTopic, ForgottenTopic, ReplicaState},
        incremental_alter_configs_request,
        list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic},
        metadata_request::MetadataRequestTopic,
        offset_for_leader_epoch_request::{OffsetForLeaderPartition, OffsetForLeaderTopic},
        produce_request::{PartitionProduceData, TopicProduceData},
    },
    protocol::{Encodable, StrBytes},
};
use uuid::Uuid;

const ID: Uuid = Uuid::from_u128(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef);

/// The body of a sound request.
pub(super) fn body(key: ApiKey, version: i16) -> Bytes {
    match key {
        ApiKey::Produce => encode(&produce(), version),
        ApiKey::Fetch => encode(&fetch(version), version),
        ApiKey::ListOffsets => encode(&list_offsets(), version),
        ApiKey::Metadata => encode(&metadata(version), version),
        ApiKey::ApiVersions => encode(&api_versions(version), version),
        ApiKey::SaslHandshake => {
            encode(&SaslHandshakeRequest::default().with_mechanism(text("PLAIN")), version)
        }
        ApiKey::SaslAuthenticate => {
            let secret = Bytes::from_static(b"\0user\0secret");
            encode(&SaslAuthenticateRequest::default().with_auth_bytes(secret), version)
        }
        ApiKey::CreateTopics => encode(&create_topics(), version),
        ApiKey::DeleteTopics => encode(&delete_topics(version), version),
        ApiKey::DeleteRecords => encode(&delete_records(), version),
        ApiKey::InitProducerId => encode(&init_producer_id(version), version),
        ApiKey::OffsetForLeaderEpoch => encode(&leader_epoch(), version),
        ApiKey::DescribeConfigs => encode(&describe_configs(version), version),
        ApiKey::AlterConfigs => encode(&alter_configs(), version),
        ApiKey::DescribeLogDirs => encode(&log_dirs(), version),
        ApiKey::CreatePartitions => encode(&create_partitions(), version),
        ApiKey::IncrementalAlterConfigs => encode(&incremental_alter_configs(), version),
        ApiKey::ListConfigResources => {
            let kinds = if version >= 1 { vec![2, 4, 32] } else { Vec::new() };
            encode(&ListConfigResourcesRequest::default().with_resource_types(kinds), version)
        }
        ApiKey::DescribeCluster => encode(&describe_cluster(version), version),
        ApiKey::DescribeProducers => encode(&describe_producers(), version),
        ApiKey::DescribeTopicPartitions => encode(&describe_topic_partitions(), version),
        other => groups::body(other, version).unwrap_or_else(|| panic!("{other:?} needs a sample")),
    }
}

fn encode(request: &impl Encodable, version: i16) -> Bytes {
    let mut out = BytesMut::new();
    request.encode(&mut out, version).expect("the sample is one of this version");
    out.freeze()
}

fn text(text: &'static str) -> StrBytes {
    StrBytes::from_static_str(text)
}

fn topic() -> TopicName {
    TopicName(text("orders"))
}

fn produce() -> ProduceRequest {
    let data = |index| {
        PartitionProduceData::default().with_index(index).with_records(Some(Bytes::from_static(b"records")))
    };
    let topics =
        vec![TopicProduceData::default().with_name(topic()).with_partition_data(vec![data(0), data(7)])];
    let transaction = Some(TransactionalId(text("t")));
    ProduceRequest::default().with_transactional_id(transaction).with_acks(-1).with_topic_data(topics)
}

fn fetch(version: i16) -> FetchRequest {
    let partitions = vec![FetchPartition::default().with_partition_max_bytes(9), FetchPartition::default()];
    let named = |partitions| FetchTopic::default().with_partitions(partitions);
    let topic_of = |name: TopicName| match version >= 13 {
        true => named(partitions.clone()).with_topic_id(ID),
        false => named(partitions.clone()).with_topic(name),
    };
    let mut request = FetchRequest::default().with_topics(vec![topic_of(topic())]).with_max_wait_ms(5);
    if version >= 7 {
        let forgotten = ForgottenTopic::default().with_partitions(vec![1, 2, 3]);
        request.forgotten_topics_data.push(match version >= 13 {
            true => forgotten.with_topic_id(ID),
            false => forgotten.with_topic(topic()),
        });
    }
    if version >= 15 {
        let replica = ReplicaState::default().with_replica_id(BrokerId(3)).with_replica_epoch(4);
        request = request.with_replica_state(replica);
    }
    if version >= 11 {
        request = request.with_rack_id(text("rack"));
    }
    if version >= 12 {
        request = request.with_cluster_id(Some(text("cluster")));
    }
    request
}

fn list_offsets() -> ListOffsetsRequest {
    let partitions = vec![ListOffsetsPartition::default().with_timestamp(-2)];
    let topics = vec![ListOffsetsTopic::default().with_name(topic()).with_partitions(partitions)];
    ListOffsetsRequest::default().with_topics(topics)
}

fn metadata(version: i16) -> MetadataRequest {
    let mut topics = vec![MetadataRequestTopic::default().with_name(Some(topic())); 3];
    if version >= 12 {
        topics.push(MetadataRequestTopic::default().with_name(None).with_topic_id(ID));
    }
    MetadataRequest::default().with_topics(Some(topics))
}

fn api_versions(version: i16) -> ApiVersionsRequest {
    match version >= 3 {
        true => ApiVersionsRequest::default()
            .with_client_software_name(text("test"))
            .with_client_software_version(text("1")),
        false => ApiVersionsRequest::default(),
    }
}

fn create_topics() -> CreateTopicsRequest {
    let assignment = CreatableReplicaAssignment::default().with_broker_ids(vec![BrokerId(1), BrokerId(2)]);
    let config = |value| CreatableTopicConfig::default().with_name(text("retention.ms")).with_value(value);
    let wanted = CreatableTopic::default()
        .with_name(topic())
        .with_num_partitions(-1)
        .with_replication_factor(-1)
        .with_assignments(vec![assignment.clone(), assignment.with_partition_index(1)])
        .with_configs(vec![config(Some(text("1000"))), config(None)]);
    CreateTopicsRequest::default().with_topics(vec![wanted.clone(), wanted]).with_validate_only(true)
}

fn delete_topics(version: i16) -> DeleteTopicsRequest {
    match version >= 6 {
        true => {
            let by_name = DeleteTopicState::default().with_name(Some(topic()));
            let by_id = DeleteTopicState::default().with_name(None).with_topic_id(ID);
            DeleteTopicsRequest::default().with_topics(vec![by_name, by_id])
        }
        false => DeleteTopicsRequest::default().with_topic_names(vec![topic(), topic()]),
    }
}

fn delete_records() -> DeleteRecordsRequest {
    let partitions = vec![DeleteRecordsPartition::default().with_offset(-1); 2];
    let topics = vec![DeleteRecordsTopic::default().with_name(topic()).with_partitions(partitions)];
    DeleteRecordsRequest::default().with_topics(topics)
}

fn init_producer_id(version: i16) -> InitProducerIdRequest {
    let request = InitProducerIdRequest::default().with_transactional_id(Some(TransactionalId(text("t"))));
    if version >= 3 { request.with_producer_id(ProducerId(7)) } else { request }
}

fn leader_epoch() -> OffsetForLeaderEpochRequest {
    let partitions = vec![OffsetForLeaderPartition::default(); 2];
    let topics = vec![OffsetForLeaderTopic::default().with_topic(topic()).with_partitions(partitions)];
    OffsetForLeaderEpochRequest::default().with_topics(topics)
}

fn describe_configs(version: i16) -> DescribeConfigsRequest {
    let all = DescribeConfigsResource::default().with_resource_type(4).with_configuration_keys(None);
    let some =
        all.clone().with_resource_name(text("orders")).with_configuration_keys(Some(vec![text("a"); 3]));
    let request = DescribeConfigsRequest::default().with_resources(vec![all, some]);
    if version >= 3 { request.with_include_documentation(true) } else { request }
}

fn alter_configs() -> AlterConfigsRequest {
    use alter_configs_request::{AlterConfigsResource, AlterableConfig};
    let config = AlterableConfig::default().with_name(text("retention.ms")).with_value(Some(text("1000")));
    let resource = AlterConfigsResource::default().with_resource_type(2).with_resource_name(text("orders"));
    let resource = resource.with_configs(vec![config.clone(), config.with_value(None)]);
    AlterConfigsRequest::default().with_resources(vec![resource])
}

fn incremental_alter_configs() -> IncrementalAlterConfigsRequest {
    use incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
    let config = AlterableConfig::default().with_name(text("retention.ms")).with_value(Some(text("1000")));
    let resource = AlterConfigsResource::default().with_resource_type(2).with_resource_name(text("orders"));
    let resource =
        resource.with_configs(vec![config.clone(), config.with_config_operation(1).with_value(None)]);
    IncrementalAlterConfigsRequest::default().with_resources(vec![resource])
}

fn log_dirs() -> DescribeLogDirsRequest {
    let wanted = DescribableLogDirTopic::default().with_topic(topic()).with_partitions(vec![0, 1, 2]);
    DescribeLogDirsRequest::default().with_topics(Some(vec![wanted; 2]))
}

fn create_partitions() -> CreatePartitionsRequest {
    let assignment = CreatePartitionsAssignment::default().with_broker_ids(vec![BrokerId(1)]);
    let wanted = CreatePartitionsTopic::default().with_name(topic()).with_count(4);
    let assigned = wanted.clone().with_assignments(Some(vec![assignment; 3]));
    CreatePartitionsRequest::default().with_topics(vec![assigned, wanted.with_assignments(None)])
}

fn describe_cluster(version: i16) -> DescribeClusterRequest {
    let request = DescribeClusterRequest::default().with_include_cluster_authorized_operations(true);
    if version >= 2 { request.with_include_fenced_brokers(true) } else { request }
}

fn describe_producers() -> DescribeProducersRequest {
    use describe_producers_request::TopicRequest;
    let wanted = TopicRequest::default().with_name(topic()).with_partition_indexes(vec![0, 1]);
    DescribeProducersRequest::default().with_topics(vec![wanted; 2])
}

fn describe_topic_partitions() -> DescribeTopicPartitionsRequest {
    use describe_topic_partitions_request::{Cursor, TopicRequest};
    let cursor = Cursor::default().with_topic_name(topic()).with_partition_index(3);
    let topics = vec![TopicRequest::default().with_name(topic()); 2];
    DescribeTopicPartitionsRequest::default().with_topics(topics).with_cursor(Some(cursor))
}
