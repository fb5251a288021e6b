//! Metadata: which topics are told of, which are created, and what is said of them.

use kafka_protocol::messages::{MetadataRequest, MetadataResponse};
use minikafka_broker::{AutoCreate, BrokerConfig};
use minikafka_server::{Server, config::KafkaConfig};

use super::client::{Client, door, start, start_with, wanted};

fn names(response: &MetadataResponse) -> Vec<&str> {
    response.topics.iter().map(|topic| topic.name.as_ref().unwrap().as_str()).collect()
}

#[tokio::test]
async fn null_is_all_empty_is_none_and_version_0_has_no_null() {
    let fixture = start().await;
    // The door hides what no Kafka client could name.
    for topic in ["a", "b", "demo topic"] {
        fixture.server.broker().create_topic(topic, 3).await.unwrap();
    }
    let mut client = Client::connect(&fixture).await;
    for version in 0..=13 {
        let empty = MetadataRequest::default().with_topics(Some(Vec::new()));
        let none = client.ask(version, &empty).await;
        let expected: &[&str] = if version == 0 { &["a", "b"] } else { &[] };
        assert_eq!(names(&none), expected, "version {version}");
        if version > 0 {
            let all = client.ask(version, &MetadataRequest::default().with_topics(None)).await;
            assert_eq!(names(&all), ["a", "b"], "version {version}");
            assert_eq!(all.topics[0].partitions.len(), 3);
        }
    }
}

#[tokio::test]
async fn the_leader_is_the_node_that_is_told_of() {
    let fixture = start().await;
    let mut client = Client::connect(&fixture).await;
    client.create("t").await;
    for version in 0..=13 {
        let response =
            client.ask(version, &MetadataRequest::default().with_topics(Some(vec![wanted("t")]))).await;
        let [node] = &response.brokers[..] else { panic!("{response:?}") };
        let address = format!("{}:{}", node.host.as_str(), node.port);
        assert_eq!(address, fixture.server.kafka_addr().unwrap().to_string());
        let [partition] = &response.topics[0].partitions[..] else { panic!("{response:?}") };
        assert_eq!(partition.leader_id, node.node_id);
        assert_eq!(partition.replica_nodes, [node.node_id]);
        assert_eq!(partition.isr_nodes, [node.node_id]);
        assert!(!response.topics[0].is_internal);
        if version >= 7 {
            assert_eq!(partition.leader_epoch, 0);
        }
    }
}

#[tokio::test]
async fn clients_are_told_the_advertised_address() {
    let kafka = KafkaConfig { advertised: Some("kafka.example:19092".parse().unwrap()), ..door() };
    let fixture = crate::support::Fixture::start(Server::builder().memory().kafka(kafka)).await;
    let mut client = Client::connect(&fixture).await;
    let response = client.ask(1, &MetadataRequest::default().with_topics(None)).await;
    assert_eq!((response.brokers[0].host.as_str(), response.brokers[0].port), ("kafka.example", 19092));
}

#[tokio::test]
async fn a_topic_is_created_by_asking_unless_somebody_says_no() {
    let may_not =
        MetadataRequest::default().with_topics(Some(vec![wanted("t")])).with_allow_auto_topic_creation(false);
    let may = may_not.clone().with_allow_auto_topic_creation(true);
    let config = BrokerConfig { partitions: 4, ..BrokerConfig::default() };
    let fixture = start_with(Server::builder().memory().broker(config.clone())).await;
    let mut client = Client::connect(&fixture).await;
    assert_eq!(client.ask(12, &may_not).await.topics[0].error_code, 3);
    let created = client.ask(12, &may).await;
    assert_eq!((created.topics[0].error_code, created.topics[0].partitions.len()), (0, 4));

    let config = BrokerConfig { auto_create: AutoCreate::Disabled, ..config };
    let fixture = start_with(Server::builder().memory().broker(config)).await;
    let mut client = Client::connect(&fixture).await;
    for version in [0, 3, 4, 12] {
        assert_eq!(client.ask(version, &may).await.topics[0].error_code, 3);
    }
    assert!(fixture.server.broker().topics("", 10).is_empty());
}

#[tokio::test]
async fn names_that_kafka_does_not_allow_are_refused() {
    let fixture = start().await;
    let mut client = Client::connect(&fixture).await;
    let mut request = MetadataRequest::default().with_allow_auto_topic_creation(true);
    let names = ["demo topic", "", "..", "__minikafka_metadata", "größe"];
    request.topics = Some(names.iter().map(|name| wanted(name)).collect());
    let response = client.ask(9, &request).await;
    let codes: Vec<i16> = response.topics.iter().map(|topic| topic.error_code).collect();
    assert_eq!(codes, [17; 5]);
    assert!(fixture.server.broker().topics("", 10).is_empty());
}

#[tokio::test]
async fn the_id_of_a_topic_survives_a_restart_and_changes_when_it_is_created_anew() {
    let directory = tempfile::tempdir().unwrap();
    let request =
        MetadataRequest::default().with_topics(Some(vec![wanted("t")])).with_allow_auto_topic_creation(true);
    let mut ids = Vec::new();
    for round in 0..3 {
        let fixture = start_with(Server::builder().filesystem(directory.path())).await;
        if round == 2 {
            fixture.server.broker().delete_topic("t").await.unwrap();
        }
        let mut client = Client::connect(&fixture).await;
        ids.push(client.ask(10, &request).await.topics[0].topic_id);
        fixture.stop().await;
    }
    assert!(!ids[0].is_nil());
    assert_eq!(ids[0], ids[1]);
    assert_ne!(ids[0], ids[2]);
}

#[tokio::test]
async fn what_is_named_twice_is_answered_once() {
    let fixture = start().await;
    fixture.server.broker().create_topic("t", 100).await.unwrap();
    let mut client = Client::connect(&fixture).await;
    // All of these together would be a reply of some gigabytes.
    let mut named = vec![wanted("t"); 90_000];
    named.extend([wanted("u"), wanted("u")]);
    let request = MetadataRequest::default().with_topics(Some(named)).with_allow_auto_topic_creation(false);
    for version in [4, 9] {
        let response = client.ask(version, &request).await;
        assert_eq!(names(&response), ["t", "u"], "version {version}");
        assert_eq!(response.topics[0].partitions.len(), 100);
    }
}
