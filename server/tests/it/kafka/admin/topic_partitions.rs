//! DescribeTopicPartitions.

use kafka_protocol::messages::{
    DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse,
    describe_topic_partitions_request::{Cursor, TopicRequest},
};

use super::super::client::{Client, name, start};

fn places(response: &DescribeTopicPartitionsResponse) -> Vec<(String, i32)> {
    let topics = response.topics.iter();
    let places = topics.flat_map(|topic| {
        let name = topic.name.as_ref().expect("a name").to_string();
        topic.partitions.iter().map(move |partition| (name.clone(), partition.partition_index))
    });
    places.collect()
}

#[tokio::test]
async fn all_partitions_come_in_pieces() {
    let fixture = start().await;
    let mut client = Client::connect(&fixture).await;
    for (topic, partitions) in [("c", 3), ("a", 2), ("b", 2), ("demo topic", 1)] {
        fixture.server.broker().create_topic(topic, partitions).await.unwrap();
    }
    let expected = [("a", 0), ("a", 1), ("b", 0), ("b", 1), ("c", 0), ("c", 1), ("c", 2)];
    for limit in [1, 2, 3, 7, 100] {
        let mut request = DescribeTopicPartitionsRequest::default().with_response_partition_limit(limit);
        let mut found = Vec::new();
        loop {
            let response = client.ask(0, &request).await;
            let piece = places(&response);
            assert!(piece.len() <= limit as usize && !piece.is_empty(), "{response:?}");
            found.extend(piece);
            let Some(next) = response.next_cursor else { break };
            let cursor = Cursor::default().with_topic_name(next.topic_name);
            request = request.with_cursor(Some(cursor.with_partition_index(next.partition_index)));
        }
        assert_eq!(found, expected.map(|(topic, partition)| (topic.to_owned(), partition)), "{limit}");
    }
}

#[tokio::test]
async fn topics_that_are_named_have_a_result_each() {
    let fixture = start().await;
    let mut client = Client::connect(&fixture).await;
    client.create("t").await;
    let topics = ["u", "t", "demo topic", "t"].map(|topic| TopicRequest::default().with_name(name(topic)));
    let response = client.ask(0, &DescribeTopicPartitionsRequest::default().with_topics(topics.into())).await;
    let results: Vec<_> = response
        .topics
        .iter()
        .map(|topic| (topic.name.as_ref().unwrap().as_str(), topic.error_code))
        .collect();
    assert_eq!(results, [("demo topic", 17), ("t", 0), ("u", 3)]);
    let topic = &response.topics[1];
    assert!(!topic.topic_id.is_nil());
    let [partition] = &topic.partitions[..] else { panic!("{topic:?}") };
    let node = fixture.server.broker().node_id().0 as i32;
    assert_eq!((partition.leader_id.0, partition.leader_epoch, partition.error_code), (node, 0, 0));
    assert_eq!(partition.eligible_leader_replicas, Some(Vec::new()), "the Java client fails at null");
    assert_eq!(partition.last_known_elr, Some(Vec::new()));
    assert_eq!(response.next_cursor, None);
}
