//! Topics: list, describe, create, alter, delete.

use minikafka_broker::AutoCreate;
use minikafka_proto::v1::{
    AlterTopicRequest, CreateTopicRequest, DeleteTopicRequest, DescribeTopicRequest, DescribeTopicResponse,
    Durability, ListTopicsRequest, Message, ProduceRequest, SettingSource, TopicSetting, TopicSettings,
};
use tonic::Code;

use crate::support::{Fixture, list, message, poll, why};

fn create(topic: &str, partitions: u32) -> CreateTopicRequest {
    CreateTopicRequest { topic: topic.to_owned(), partitions, settings: None }
}

fn describe(topic: &str) -> DescribeTopicRequest {
    DescribeTopicRequest { topic: topic.to_owned(), ..Default::default() }
}

/// As Kafkaesque has it: a topic has one partition unless told otherwise, and is created once only.
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
async fn names_that_break_the_rule_are_refused() {
    let fixture = Fixture::memory().await;
    for name in ["", ".", "..", "../x", "a/b", "a\\b", "a\nb", " a", "a ", &"x".repeat(250)] {
        let status = fixture.v1.clone().create_topic(create(name, 1)).await.expect_err(name);
        assert_eq!(why(&status), (Code::InvalidArgument, "INVALID_TOPIC_NAME".to_owned()), "{name:?}");
    }
}

#[tokio::test]
async fn who_does_not_say_how_many_partitions_gets_what_the_server_was_told() {
    let fixture = Fixture::with(|config| config.partitions = 8).await;
    let mut v1 = fixture.v1.clone();
    let created = v1.create_topic(create("by hand", 0)).await.unwrap().into_inner().topic.unwrap();
    fixture.produce("by a produce", &["a"]).await;
    let described = v1.describe_topic(describe("by a produce")).await.unwrap().into_inner();
    assert_eq!((created.partitions, described.partitions.len()), (8, 8));
    let created = v1.create_topic(create("told", 1)).await.unwrap().into_inner().topic.unwrap();
    assert_eq!(created.partitions, 1);
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

fn describe_or_create(topic: &str) -> DescribeTopicRequest {
    DescribeTopicRequest { create_missing: true, ..describe(topic) }
}

#[tokio::test]
async fn who_asks_may_have_a_missing_topic_created() {
    let fixture = Fixture::with(|config| (config.partitions, config.partitions_max) = (3, 4)).await;
    let mut v1 = fixture.v1.clone();
    let status = v1.describe_topic(describe("t")).await.expect_err("nobody wants it created");
    assert_eq!(why(&status), (Code::NotFound, "TOPIC_NOT_FOUND".to_owned()));
    let created = v1.describe_topic(describe_or_create("t")).await.unwrap().into_inner();
    let ends: Vec<_> = created.partitions.iter().map(|partition| partition.end_number).collect();
    assert_eq!((created.name.as_str(), ends.as_slice()), ("t", &[1, 1, 1][..]));
    // What is there is as it was.
    fixture.produce("t", &["a"]).await;
    let again = v1.describe_topic(describe_or_create("t")).await.unwrap().into_inner();
    assert_eq!(again.id, created.id);
    for (name, code, reason) in [
        ("a/b", Code::InvalidArgument, "INVALID_TOPIC_NAME"),
        ("__minikafka_own", Code::InvalidArgument, "INVALID_TOPIC_NAME"),
        ("one too many", Code::ResourceExhausted, "TOO_MANY_PARTITIONS"),
    ] {
        let status = v1.describe_topic(describe_or_create(name)).await.expect_err(name);
        assert_eq!(why(&status), (code, reason.to_owned()), "{name:?}");
    }
}

#[tokio::test]
async fn where_topics_are_created_by_hand_nobody_else_creates_one() {
    let fixture = Fixture::with(|config| config.auto_create = AutoCreate::Disabled).await;
    let mut v1 = fixture.v1.clone();
    let status = v1.describe_topic(describe_or_create("t")).await.expect_err("created by hand only");
    assert_eq!(why(&status), (Code::NotFound, "TOPIC_NOT_FOUND".to_owned()));
    assert!(v1.list_topics(ListTopicsRequest::default()).await.unwrap().into_inner().topics.is_empty());
    v1.create_topic(create("t", 2)).await.unwrap();
    let described = v1.describe_topic(describe_or_create("t")).await.unwrap().into_inner();
    assert_eq!(described.partitions.len(), 2);
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

fn own(retention_ms: i64) -> TopicSettings {
    TopicSettings { retention_ms: Some(retention_ms), ..TopicSettings::default() }
}

#[tokio::test]
async fn a_topic_with_partitions_and_settings_of_its_own_is_described_and_altered() {
    let fixture = Fixture::memory().await;
    let mut v1 = fixture.v1.clone();
    let settings = TopicSettings { retention_bytes: Some(-1), message_bytes_max: Some(2048), ..own(60_000) };
    let request = CreateTopicRequest { settings: Some(settings), ..create("t", 3) };
    let created = v1.create_topic(request).await.unwrap().into_inner().topic.unwrap();
    assert_eq!(created.partitions, 3);
    let described = v1.describe_topic(describe("t")).await.unwrap().into_inner();
    let numbers: Vec<u32> = described.partitions.iter().map(|partition| partition.partition).collect();
    assert_eq!(numbers, [0, 1, 2]);
    let of = |described: &DescribeTopicResponse| {
        (
            (described.retention_ms, described.retention_ms_source()),
            (described.retention_bytes, described.retention_bytes_source()),
            (described.message_bytes_max, described.message_bytes_max_source()),
        )
    };
    let (topic, server) = (SettingSource::Topic, SettingSource::Server);
    assert_eq!(of(&described), ((Some(60_000), topic), (None, topic), (2048, topic)));
    let change = AlterTopicRequest {
        topic: "t".into(),
        partitions: Some(5),
        set: Some(own(-1)),
        reset: vec![TopicSetting::MessageBytesMax.into()],
    };
    let altered = v1.alter_topic(change).await.unwrap().into_inner().topic.unwrap();
    assert_eq!((altered.id, altered.partitions), (created.id, 5));
    let described = v1.describe_topic(describe("t")).await.unwrap().into_inner();
    assert_eq!(described.partitions.len(), 5);
    assert_eq!(of(&described), ((None, topic), (None, topic), (3 << 20, server)));
}

#[tokio::test]
async fn changes_that_break_a_rule_are_refused_and_change_nothing() {
    let fixture = Fixture::memory().await;
    let mut v1 = fixture.v1.clone();
    v1.create_topic(create("t", 3)).await.unwrap();
    let before = v1.describe_topic(describe("t")).await.unwrap().into_inner();
    let alter =
        || AlterTopicRequest { topic: "t".into(), partitions: Some(4), ..AlterTopicRequest::default() };
    let set = |settings| AlterTopicRequest { set: Some(settings), ..alter() };
    let bytes = |bytes| TopicSettings { retention_bytes: Some(bytes), ..TopicSettings::default() };
    let largest = |bytes| TopicSettings { message_bytes_max: Some(bytes), ..TopicSettings::default() };
    for (change, reason, part) in [
        (AlterTopicRequest { partitions: Some(2), ..set(own(5)) }, "INVALID_PARTITIONS", "has 3 partitions"),
        (set(own(0)), "INVALID_SETTING", "retention_ms: "),
        (set(own(-2)), "INVALID_SETTING", "-1 alone"),
        (set(bytes(1000)), "INVALID_SETTING", "retention_bytes: "),
        (set(largest(100)), "INVALID_SETTING", "at least 1024"),
        (set(largest(4 << 20)), "INVALID_SETTING", "over the server's limit"),
        (AlterTopicRequest { reset: vec![1], ..set(own(5)) }, "INVALID_SETTING", "set and reset"),
        (AlterTopicRequest { reset: vec![9], ..alter() }, "INVALID_REQUEST", "no setting 9"),
    ] {
        let status = v1.alter_topic(change.clone()).await.expect_err(part);
        assert_eq!(why(&status), (Code::InvalidArgument, reason.to_owned()), "{change:?}");
        assert!(status.message().contains(part), "{status}");
        assert_eq!(v1.describe_topic(describe("t")).await.unwrap().into_inner(), before);
    }
    let missing = AlterTopicRequest { topic: "u".into(), ..alter() };
    assert_eq!(why(&v1.alter_topic(missing).await.expect_err("missing")).1, "TOPIC_NOT_FOUND");
    let many = AlterTopicRequest { partitions: Some(10_001), ..alter() };
    let status = v1.alter_topic(many).await.expect_err("too many");
    assert_eq!(why(&status), (Code::ResourceExhausted, "TOO_MANY_PARTITIONS".to_owned()));
}

#[tokio::test]
async fn messages_go_where_their_keys_say_or_in_turn() {
    let fixture = Fixture::memory().await;
    let mut v1 = fixture.v1.clone();
    v1.create_topic(create("t", 12)).await.unwrap();
    let keyed = |key: &'static str| Message { key: Some(key.into()), ..message("x") };
    for key in ["foobar", "21", "abc"] {
        let produced = v1.produce(list("t", vec![keyed(key), message("no key")])).await.unwrap().into_inner();
        assert_eq!(produced.partition, minikafka_record::partition_of_key(key.as_bytes(), 12), "{key}");
    }
    let status = v1.produce(list("t", vec![keyed("foobar"), keyed("21")])).await.expect_err("two partitions");
    assert_eq!(why(&status), (Code::InvalidArgument, "INVALID_REQUEST".to_owned()));
    let mut partitions = Vec::new();
    for _ in 0..12 {
        partitions.push(fixture.produce("t", &["x"]).await.partition);
    }
    partitions.sort_unstable();
    assert_eq!(partitions, (0..12).collect::<Vec<_>>());
    let chosen = ProduceRequest { partition: Some(7), ..list("t", vec![keyed("foobar")]) };
    assert_eq!(v1.produce(chosen).await.unwrap().into_inner().partition, 7);
}

#[tokio::test]
async fn a_message_over_the_topics_limit_is_refused() {
    let fixture = Fixture::memory().await;
    let settings = Some(TopicSettings { message_bytes_max: Some(2048), ..TopicSettings::default() });
    let request = CreateTopicRequest { settings, ..create("t", 1) };
    fixture.v1.clone().create_topic(request).await.unwrap();
    let large = "x".repeat(3000);
    let status = fixture.v1.clone().produce(list("t", vec![message(&large)])).await.expect_err("too large");
    assert_eq!(why(&status), (Code::InvalidArgument, "MESSAGE_TOO_LARGE".to_owned()));
    assert!(status.message().contains("2048"), "{status}");
    fixture.produce("t", &["small"]).await;
    fixture.produce("other", &[&large]).await;
}
