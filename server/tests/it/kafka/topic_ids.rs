//! Topics by their ids.

use kafka_protocol::messages::{
    FetchRequest, FetchResponse, MetadataRequest,
    fetch_request::{FetchPartition, FetchTopic},
    metadata_request::MetadataRequestTopic,
};
use uuid::Uuid;

use super::{
    client::{Client, batch, start, values, wanted},
    fetch::fetches,
};
use crate::support::soon;

async fn id(client: &mut Client, topic: &str) -> Uuid {
    let request = MetadataRequest::default().with_topics(Some(vec![wanted(topic)]));
    client.ask(13, &request).await.topics[0].topic_id
}

fn from_start(id: Uuid, partitions: &[i32]) -> FetchRequest {
    let partition = |index: &i32| {
        FetchPartition::default()
            .with_partition(*index)
            .with_current_leader_epoch(-1)
            .with_partition_max_bytes(1 << 20)
    };
    let partitions = partitions.iter().map(partition).collect();
    let topic = FetchTopic::default().with_topic_id(id).with_partitions(partitions);
    FetchRequest::default().with_max_bytes(1 << 20).with_session_epoch(-1).with_topics(vec![topic])
}

fn codes(response: &FetchResponse) -> Vec<i16> {
    response.responses[0].partitions.iter().map(|partition| partition.error_code).collect()
}

#[tokio::test]
async fn a_topic_is_fetched_by_its_id_and_the_reply_names_it_so() {
    let fixture = start().await;
    let mut client = Client::connect(&fixture).await;
    client.create("t").await;
    client.produce_version(11, "t", batch(&["a", "b"])).await;
    let id = id(&mut client, "t").await;
    for version in 13..=16 {
        let response = client.ask(version, &from_start(id, &[0, 1])).await;
        assert_eq!((response.error_code, response.session_id), (0, 0));
        assert_eq!(response.responses[0].topic_id, id, "version {version}");
        assert_eq!(codes(&response), [0, 3]);
        assert_eq!(values(&response.responses[0].partitions[0]), ["a", "b"]);
    }
}

#[tokio::test]
async fn the_id_of_a_topic_that_is_gone_is_not_its_namesakes() {
    let fixture = start().await;
    let mut client = Client::connect(&fixture).await;
    client.create("t").await;
    let first = id(&mut client, "t").await;
    fixture.server.broker().delete_topic("t").await.unwrap();
    client.create("t").await;
    client.produce("t", batch(&["a"])).await;
    let second = id(&mut client, "t").await;
    assert_ne!(first, second);
    for (id, code) in [(first, 100), (Uuid::nil(), 100), (second, 0)] {
        let response = client.ask(13, &from_start(id, &[0])).await;
        assert_eq!((response.responses[0].topic_id, codes(&response)), (id, vec![code]));
    }
}

#[tokio::test]
async fn who_waits_on_a_topic_that_is_deleted_is_told() {
    let fixture = start().await;
    let mut client = Client::connect(&fixture).await;
    client.create("t").await;
    let request = from_start(id(&mut client, "t").await, &[0]).with_min_bytes(1).with_max_wait_ms(60_000);
    let sent = client.send(13, &request).await;
    soon(async { while fetches(&fixture).await < 1.0 {} }).await;
    fixture.server.broker().delete_topic("t").await.unwrap();
    let response = client.reply::<FetchRequest>(13, sent).await;
    assert!([3, 100].contains(&codes(&response)[0]), "{response:?}");
}

#[tokio::test]
async fn metadata_finds_topics_by_id() {
    let fixture = start().await;
    let mut client = Client::connect(&fixture).await;
    client.create("t").await;
    let known = id(&mut client, "t").await;
    let hidden = fixture.server.broker().create_topic("demo topic", 1).await.unwrap().id;
    let by_id = |id| MetadataRequestTopic::default().with_name(None).with_topic_id(id);
    let ids = [known, Uuid::from_u128(7), Uuid::from_bytes(*hidden.as_bytes())];
    let request = MetadataRequest::default().with_topics(Some(ids.map(by_id).into()));
    for version in [12, 13] {
        let response = client.ask(version, &request).await;
        let names: Vec<_> =
            response.topics.iter().map(|topic| topic.name.as_ref().map(|n| n.as_str())).collect();
        assert_eq!(names, [Some("t"), None, None]);
        let codes: Vec<_> = response.topics.iter().map(|topic| topic.error_code).collect();
        assert_eq!(codes, [0, 100, 100]);
        assert_eq!(response.topics.iter().map(|topic| topic.topic_id).collect::<Vec<_>>(), ids);
        assert_eq!(response.error_code, 0);
    }
}
