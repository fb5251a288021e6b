//! CreateTopics.

use kafka_protocol::messages::{
    BrokerId, CreateTopicsRequest, create_topics_request::CreatableReplicaAssignment,
};
use minikafka_broker::BrokerConfig;
use minikafka_server::Server;

use super::{
    super::client::{Client, batch, start, start_with},
    create, metadata, new_topic, with_configs,
};

fn assigned(partitions: &[(i32, &[i32])]) -> Vec<CreatableReplicaAssignment> {
    let assignment = |(index, nodes): &(i32, &[i32])| {
        CreatableReplicaAssignment::default()
            .with_partition_index(*index)
            .with_broker_ids(nodes.iter().copied().map(BrokerId).collect())
    };
    partitions.iter().map(assignment).collect()
}

#[tokio::test]
async fn a_topic_is_there_at_once_in_every_version() {
    let config = BrokerConfig { partitions: 4, ..BrokerConfig::default() };
    let fixture = start_with(Server::builder().memory().broker(config)).await;
    let mut client = Client::connect(&fixture).await;
    for version in 2..=7 {
        let topic = format!("t{version}");
        let wanted = with_configs(new_topic(&topic), &[("retention.ms", "60000")]);
        let request = CreateTopicsRequest::default().with_topics(vec![wanted]);
        let response = client.ask(version, &request).await;
        let [created] = &response.topics[..] else { panic!("{response:?}") };
        assert_eq!((created.error_code, &created.error_message), (0, &None), "version {version}");
        let described = metadata(&mut client, &topic).await;
        assert_eq!((described.error_code, described.partitions.len()), (0, 4));
        if version >= 5 {
            assert_eq!((created.num_partitions, created.replication_factor), (4, 1));
            let configs = created.configs.as_ref().unwrap();
            let retention = configs.iter().find(|config| config.name.as_str() == "retention.ms").unwrap();
            assert_eq!((retention.value.as_deref(), retention.config_source), (Some("60000"), 1));
        }
        if version >= 7 {
            assert_eq!(created.topic_id, described.topic_id);
        }
        assert_eq!(client.produce(&topic, batch(&["a"])).await.error_code, 0);
    }
}

#[tokio::test]
async fn what_is_only_validated_is_judged_and_not_created() {
    let fixture = start().await;
    let mut client = Client::connect(&fixture).await;
    client.create("there").await;
    let wanted = ["t", "there"].map(|topic| new_topic(topic).with_num_partitions(3));
    let request = CreateTopicsRequest::default().with_topics(wanted.into()).with_validate_only(true);
    let response = client.ask(7, &request).await;
    let results: Vec<_> =
        response.topics.iter().map(|topic| (topic.error_code, topic.num_partitions)).collect();
    assert_eq!(results, [(0, 3), (36, -1)]);
    assert!(response.topics[0].topic_id.is_nil());
    assert_eq!(metadata(&mut client, "t").await.error_code, 3);
}

#[tokio::test]
async fn what_is_only_validated_has_room_beside_the_rest_of_the_request() {
    let config = BrokerConfig { partitions_max: 10, ..BrokerConfig::default() };
    let fixture = start_with(Server::builder().memory().broker(config)).await;
    let mut client = Client::connect(&fixture).await;
    let topics: Vec<_> = ["a", "b", "c"].map(|topic| new_topic(topic).with_num_partitions(5)).into();
    let validate = CreateTopicsRequest::default().with_topics(topics).with_validate_only(true);
    for is_validated in [true, false] {
        // What is validated is what comes of it.
        let response = client.ask(7, &validate.clone().with_validate_only(is_validated)).await;
        let codes: Vec<_> = response.topics.iter().map(|topic| topic.error_code).collect();
        assert_eq!(codes, [0, 0, 44], "only validated: {is_validated}");
    }
}

#[tokio::test]
async fn a_topic_that_is_named_twice_has_one_result_and_is_not_created() {
    let fixture = start().await;
    let mut client = Client::connect(&fixture).await;
    let topics = ["a", "b", "a", "a"].map(new_topic).into();
    let response = client.ask(7, &CreateTopicsRequest::default().with_topics(topics)).await;
    let results: Vec<_> =
        response.topics.iter().map(|topic| (topic.name.as_str(), topic.error_code)).collect();
    assert_eq!(results, [("b", 0), ("a", 42)]);
    assert_eq!(metadata(&mut client, "a").await.error_code, 3);
}

#[tokio::test]
async fn what_cannot_be_is_refused_with_kafkas_code_and_a_reason() {
    let config = BrokerConfig { partitions_max: 10, ..BrokerConfig::default() };
    let fixture = start_with(Server::builder().memory().broker(config)).await;
    let mut client = Client::connect(&fixture).await;
    client.create("there").await;
    let t = || new_topic("t");
    let with = |partitions: &[(i32, &[i32])]| t().with_assignments(assigned(partitions));
    for (topic, code) in [
        (new_topic("demo topic"), 17),
        (new_topic("__minikafka_metadata"), 17),
        (new_topic("there"), 36),
        (t().with_num_partitions(0), 37),
        (t().with_num_partitions(-2), 37),
        (t().with_num_partitions(100), 44),
        (t().with_replication_factor(0), 38),
        (t().with_replication_factor(3), 38),
        (t().with_replication_factor(-2), 38),
        (with(&[(0, &[1])]).with_num_partitions(1), 42),
        (with(&[(0, &[1])]).with_replication_factor(1), 42),
        (with(&[(1, &[1])]), 39),
        (with(&[(0, &[1]), (0, &[1])]), 39),
        (with(&[(0, &[])]), 39),
        (with(&[(0, &[1, 1])]), 39),
        (with(&[(0, &[1, 2])]), 39),
        (with(&[(0, &[2])]), 39),
        (with_configs(t(), &[("cleanup.policy", "compact")]), 40),
        (with_configs(t(), &[("retention.ms", "0")]), 40),
        (with_configs(t(), &[("max.message.bytes", "99999999999")]), 40),
        (with_configs(t(), &[("no.such.thing", "1")]), 40),
    ] {
        let wanted = format!("{topic:?}");
        let result = create(&mut client, topic).await;
        assert_eq!(result.error_code, code, "{wanted}: {result:?}");
        assert!(result.error_message.is_some_and(|message| message.len() > 10), "{wanted}");
    }
    assert_eq!(metadata(&mut client, "t").await.error_code, 3, "nothing was created");
}

#[tokio::test]
async fn a_place_that_is_the_only_one_may_be_named() {
    let fixture = start().await;
    let mut client = Client::connect(&fixture).await;
    let wanted = new_topic("t").with_assignments(assigned(&[(1, &[1]), (0, &[1])]));
    assert_eq!(create(&mut client, wanted).await.num_partitions, 2);
    let wanted = new_topic("u").with_num_partitions(1).with_replication_factor(1);
    assert_eq!(create(&mut client, wanted).await.error_code, 0);
}

#[tokio::test]
async fn what_is_set_in_kafkas_names_is_what_other_doors_see() {
    let fixture = start().await;
    let mut client = Client::connect(&fixture).await;
    let configs = [("retention.bytes", "-1"), ("max.message.bytes", "2048"), ("cleanup.policy", "delete")];
    assert_eq!(create(&mut client, with_configs(new_topic("t"), &configs)).await.error_code, 0);
    let described = fixture.server.broker().describe_topic("t").unwrap();
    assert_eq!(described.message_bytes_max.value, 2048);
    assert_eq!(described.retention_bytes.value, None);
    let large = "x".repeat(4096);
    assert_eq!(client.produce("t", batch(&[&large])).await.error_code, 10);
}
