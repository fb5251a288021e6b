//! DescribeCluster and DescribeLogDirs.

use std::path::Path;

use kafka_protocol::messages::{
    DescribeClusterRequest, DescribeLogDirsRequest, DescribeLogDirsResponse, MetadataRequest,
    describe_log_dirs_request::DescribableLogDirTopic,
};
use minikafka_server::Server;

use super::super::client::{Client, batch, name, start, start_with};

#[tokio::test]
async fn the_cluster_is_this_node_in_every_version() {
    let fixture = start().await;
    let mut client = Client::connect(&fixture).await;
    for version in 0..=2 {
        let response = client.ask(version, &DescribeClusterRequest::default()).await;
        let [node] = &response.brokers[..] else { panic!("{response:?}") };
        assert_eq!((response.error_code, response.controller_id), (0, node.broker_id));
        let address = format!("{}:{}", node.host.as_str(), node.port);
        assert_eq!(address, fixture.server.kafka_addr().unwrap().to_string());
    }
    for (kind, code) in [(2, 114), (3, 115)] {
        let request = DescribeClusterRequest::default().with_endpoint_type(kind);
        let response = client.ask(2, &request).await;
        assert_eq!((response.error_code, response.brokers.len()), (code, 0));
    }
}

/// What a server on this directory says its cluster is.
async fn cluster_id(directory: &Path) -> String {
    let fixture = start_with(Server::builder().filesystem(directory)).await;
    let mut client = Client::connect(&fixture).await;
    let id = client.ask(0, &DescribeClusterRequest::default()).await.cluster_id.to_string();
    for version in 2..=13 {
        let response = client.ask(version, &MetadataRequest::default()).await;
        assert_eq!(response.cluster_id.unwrap().as_str(), id, "version {version}");
    }
    fixture.stop().await;
    id
}

#[tokio::test]
async fn a_cluster_has_an_id_which_survives_a_restart() {
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let id = cluster_id(one.path()).await;
    // A UUID in base64, as Kafka's.
    assert!(id.len() == 22 && !id.starts_with('-'), "{id}");
    assert_eq!(cluster_id(one.path()).await, id);
    assert_ne!(cluster_id(other.path()).await, id);
}

fn sizes(response: &DescribeLogDirsResponse) -> Vec<(&str, i32, i64)> {
    let topics = response.results[0].topics.iter();
    let partitions = topics.flat_map(|topic| topic.partitions.iter().map(move |found| (topic, found)));
    partitions
        .map(|(topic, found)| (topic.name.as_str(), found.partition_index, found.partition_size))
        .collect()
}

#[tokio::test]
async fn the_one_directory_tells_how_much_each_partition_takes_up() {
    let directory = tempfile::tempdir().unwrap();
    let fixture = start_with(Server::builder().filesystem(directory.path())).await;
    let mut client = Client::connect(&fixture).await;
    for topic in ["a", "b", "demo topic"] {
        fixture.server.broker().create_topic(topic, 2).await.unwrap();
    }
    client.produce("a", batch(&["x"; 100])).await;
    let wanted = |topic, partitions: &[i32]| {
        DescribableLogDirTopic::default().with_topic(name(topic)).with_partitions(partitions.to_vec())
    };
    for version in 1..=4 {
        let response = client.ask(version, &DescribeLogDirsRequest::default().with_topics(None)).await;
        assert_eq!((response.error_code, response.results.len()), (0, 1));
        assert_eq!((response.results[0].error_code, response.results[0].log_dir.as_str()), (0, "data"));
        let found = sizes(&response);
        let places: Vec<_> = found.iter().map(|(topic, partition, _)| (*topic, *partition)).collect();
        assert_eq!(places, [("a", 0), ("a", 1), ("b", 0), ("b", 1)]);
        assert!(found[0].2 > found[1].2, "{found:?}");
        let named = vec![wanted("b", &[1, 7]), wanted("u", &[0]), wanted("a", &[0]), wanted("b", &[1])];
        let request = DescribeLogDirsRequest::default().with_topics(Some(named));
        let response = client.ask(version, &request).await;
        let found: Vec<_> =
            sizes(&response).iter().map(|(topic, partition, _)| (topic.to_string(), *partition)).collect();
        assert_eq!(found, [("a".to_owned(), 0), ("b".to_owned(), 1)]);
    }
}
