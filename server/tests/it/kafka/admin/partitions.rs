//! CreatePartitions.

use kafka_protocol::messages::{
    BrokerId, CreatePartitionsRequest,
    create_partitions_request::{CreatePartitionsAssignment, CreatePartitionsTopic},
};

use super::{
    super::client::{Client, name, start},
    metadata,
};

fn to(topic: &str, count: i32) -> CreatePartitionsTopic {
    CreatePartitionsTopic::default().with_name(name(topic)).with_count(count).with_assignments(None)
}

fn placed(topic: CreatePartitionsTopic, nodes: &[&[i32]]) -> CreatePartitionsTopic {
    let assignment = |nodes: &&[i32]| {
        CreatePartitionsAssignment::default().with_broker_ids(nodes.iter().copied().map(BrokerId).collect())
    };
    topic.with_assignments(Some(nodes.iter().map(assignment).collect()))
}

async fn ask(client: &mut Client, topics: Vec<CreatePartitionsTopic>) -> Vec<(String, i16)> {
    let response = client.ask(3, &CreatePartitionsRequest::default().with_topics(topics)).await;
    response.results.iter().map(|result| (result.name.to_string(), result.error_code)).collect()
}

#[tokio::test]
async fn a_topic_gets_more_partitions_in_every_version() {
    let fixture = start().await;
    let mut client = Client::connect(&fixture).await;
    client.create("t").await;
    for version in 0..=3 {
        let count = i32::from(version) + 2;
        let request = CreatePartitionsRequest::default().with_topics(vec![to("t", count)]);
        let only = request.clone().with_validate_only(true);
        assert_eq!(client.ask(version, &only).await.results[0].error_code, 0);
        assert_eq!(metadata(&mut client, "t").await.partitions.len() as i32, count - 1);
        let response = client.ask(version, &request).await;
        assert_eq!((response.results[0].error_code, &response.results[0].error_message), (0, &None));
        assert_eq!(metadata(&mut client, "t").await.partitions.len() as i32, count);
    }
}

#[tokio::test]
async fn each_topic_has_one_result() {
    let fixture = start().await;
    let mut client = Client::connect(&fixture).await;
    for topic in ["a", "b"] {
        client.create(topic).await;
    }
    let results = ask(&mut client, vec![to("a", 3), to("b", 2), to("u", 2), to("a", 4)]).await;
    let expected = [("b", 0), ("u", 3), ("a", 42)].map(|(name, code)| (name.to_owned(), code));
    assert_eq!(results, expected);
    assert_eq!(metadata(&mut client, "a").await.partitions.len(), 1);
}

#[tokio::test]
async fn partitions_are_added_and_never_taken_away() {
    let fixture = start().await;
    let mut client = Client::connect(&fixture).await;
    fixture.server.broker().create_topic("t", 3).await.unwrap();
    for (wanted, code) in [
        (to("t", 2), 37),
        (to("t", 3), 37),
        (to("t", 0), 37),
        (to("t", -1), 37),
        (to("t", i32::MAX), 44),
        (to("demo topic", 2), 17),
        (placed(to("t", 5), &[&[1]]), 39),
        (placed(to("t", 4), &[&[2]]), 39),
        (placed(to("t", 4), &[&[]]), 39),
        (placed(to("t", 5), &[&[1], &[1]]), 0),
    ] {
        let shown = format!("{wanted:?}");
        assert_eq!(ask(&mut client, vec![wanted]).await[0].1, code, "{shown}");
    }
    assert_eq!(metadata(&mut client, "t").await.partitions.len(), 5);
}
