//! Topics: list, describe, create, delete.

use minikafka_proto::v1::{
    CreateTopicRequest, DeleteTopicRequest, DescribeTopicRequest, Durability, ListTopicsRequest,
};
use tonic::Code;

use crate::support::{Fixture, list, message, poll, why};

fn create(topic: &str, partitions: u32) -> CreateTopicRequest {
    CreateTopicRequest { topic: topic.to_owned(), partitions, settings: None }
}

fn describe(topic: &str) -> DescribeTopicRequest {
    DescribeTopicRequest { topic: topic.to_owned() }
}

#[tokio::test]
async fn a_topic_lives_and_dies() {
    let fixture = Fixture::memory().await;
    let mut v1 = fixture.v1.clone();
    let created = v1.create_topic(create("demo topic", 0)).await.unwrap().into_inner().topic.unwrap();
    assert_eq!((created.name.as_str(), created.partitions, created.id.len()), ("demo topic", 1, 32));
    let status = v1.create_topic(create("demo topic", 1)).await.expect_err("it is there");
    assert_eq!(why(&status), (Code::AlreadyExists, "TOPIC_EXISTS".to_owned()));
    fixture.produce("demo topic", &["a", "b"]).await;
    let described = v1.describe_topic(describe("demo topic")).await.unwrap().into_inner();
    assert_eq!((described.name, described.id), (created.name, created.id.clone()));
    assert_eq!(described.retention_ms, Some(168 * 3600 * 1000));
    assert_eq!(described.durability, i32::from(Durability::Memory));
    let partition = &described.partitions[0];
    assert_eq!((partition.start_number, partition.end_number, partition.durable_number), (1, 3, 3));
    assert!(partition.size_bytes > 0);
    v1.delete_topic(DeleteTopicRequest { topic: "demo topic".into() }).await.unwrap();
    for status in [
        v1.describe_topic(describe("demo topic")).await.expect_err("gone"),
        v1.delete_topic(DeleteTopicRequest { topic: "demo topic".into() }).await.expect_err("gone"),
        fixture.poll(poll("demo topic", None)).await.expect_err("gone"),
    ] {
        assert_eq!(why(&status), (Code::NotFound, "TOPIC_NOT_FOUND".to_owned()));
    }
    assert_eq!(fixture.produce("demo topic", &["c"]).await.first_number, 1);
    let again = v1.describe_topic(describe("demo topic")).await.unwrap().into_inner();
    assert_ne!(again.id, created.id);
}

#[tokio::test]
async fn several_partitions_are_not_there_yet() {
    let fixture = Fixture::memory().await;
    let status = fixture.v1.clone().create_topic(create("t", 3)).await.expect_err("one partition");
    assert_eq!(why(&status), (Code::InvalidArgument, "INVALID_REQUEST".to_owned()));
}

#[tokio::test]
async fn names_that_break_the_rule_are_refused() {
    let fixture = Fixture::memory().await;
    for name in ["", ".", "..", "../x", "a/b", "a\\b", "a\nb", " a", "a ", &"x".repeat(250)] {
        let status = fixture.v1.clone().create_topic(create(name, 1)).await.expect_err(name);
        assert_eq!(why(&status), (Code::InvalidArgument, "INVALID_TOPIC_NAME".to_owned()), "{name:?}");
    }
}

#[tokio::test]
async fn topics_are_listed_page_by_page() {
    let fixture = Fixture::memory().await;
    let mut wanted: Vec<String> = (0..7).map(|i| format!("topic {i}")).collect();
    for name in wanted.iter().rev() {
        fixture.produce(name, &["a"]).await;
    }
    let (mut names, mut page_token, mut pages) = (Vec::new(), String::new(), 0);
    loop {
        let request = ListTopicsRequest { page_size: 3, page_token };
        let page = fixture.v1.clone().list_topics(request).await.unwrap().into_inner();
        names.extend(page.topics.into_iter().map(|topic| topic.name));
        page_token = page.next_page_token;
        pages += 1;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!((names, pages), (wanted.clone(), 3));
    let all = fixture.v1.clone().list_topics(ListTopicsRequest::default()).await.unwrap().into_inner();
    assert_eq!(all.topics.len(), wanted.drain(..).len());
}

#[tokio::test]
async fn more_topics_than_allowed_are_refused() {
    let fixture = Fixture::with(|config| config.partitions_max = 2).await;
    fixture.produce("a", &["x"]).await;
    fixture.produce("b", &["x"]).await;
    let status = fixture.v1.clone().produce(list("c", vec![message("x")])).await.expect_err("too many");
    assert_eq!(why(&status), (Code::ResourceExhausted, "TOO_MANY_PARTITIONS".to_owned()));
    assert_eq!(fixture.produce("a", &["y"]).await.first_number, 2);
}
