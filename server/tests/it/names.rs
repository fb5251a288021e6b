//! Names of topics that would like to be paths: refused at every call, or kept inside the root. Row 19.

use std::{collections::BTreeSet, fs, path::Path};

use minikafka_proto::{
    original,
    v1::{CreateTopicRequest, DeleteTopicRequest, DescribeTopicRequest, MissingTopic, SubscribeRequest},
};
use minikafka_server::Server;
use tonic::{Code, Status};

use crate::support::{Fixture, list, message, poll, topic_dirs, values, why};

/// What every call that takes a name says to this one.
async fn refusals(fixture: &Fixture, name: &str) -> Vec<Status> {
    let mut v1 = fixture.v1.clone();
    let mut original = fixture.original.clone();
    let topic = || name.to_owned();
    let create = CreateTopicRequest { topic: topic(), partitions: 1, settings: None };
    let subscribe = SubscribeRequest { topic: topic(), ..Default::default() };
    let wait = MissingTopic::Wait.into();
    let waiting_poll = minikafka_proto::v1::PollRequest { missing_topic: wait, ..poll(name, None) };
    let waiting_subscribe = SubscribeRequest { missing_topic: wait, ..subscribe.clone() };
    let produce = original::ProduceRequest {
        topic: Some(original::Topic { topic: topic() }),
        payload: Some(original::Payload { payload: "x".into() }),
    };
    [
        v1.create_topic(create).await.err(),
        v1.delete_topic(DeleteTopicRequest { topic: topic() }).await.err(),
        v1.describe_topic(DescribeTopicRequest { topic: topic(), ..Default::default() }).await.err(),
        v1.produce(list(name, vec![message("x")])).await.err(),
        v1.poll(poll(name, None)).await.err(),
        v1.poll(waiting_poll).await.err(),
        v1.subscribe(subscribe).await.err(),
        v1.subscribe(waiting_subscribe).await.err(),
        original.produce(produce).await.err(),
        original.poll(original::PollRequest { topic: topic(), read_from: None }).await.err(),
    ]
    .map(|refused| refused.unwrap_or_else(|| panic!("{name:?} is taken")))
    .into()
}

fn listed(dir: &Path) -> BTreeSet<String> {
    fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[tokio::test]
async fn bad_names_are_refused_by_every_call_with_the_rule() {
    let parent = tempfile::tempdir().unwrap();
    let root = parent.path().join("root");
    let fixture = Fixture::start(Server::builder().filesystem(&root)).await;
    for (name, rule) in [
        ("", "is empty"),
        (".", "would be a directory"),
        ("..", "would be a directory"),
        ("../x", "slash"),
        ("/etc/passwd", "slash"),
        ("a/../../b", "slash"),
        ("..\\x", "slash"),
        ("a\0b", "control"),
        ("\u{7f}", "control"),
        ("a\nb", "control"),
        ("__minikafka_metadata", "the server's own logs"),
        (" a", "space"),
        ("a\u{2003}", "space"),
        (&"x".repeat(250), "too long"),
        (&"ö".repeat(125), "too long"),
    ] {
        for status in refusals(&fixture, name).await {
            assert_eq!(why(&status), (Code::InvalidArgument, "INVALID_TOPIC_NAME".to_owned()), "{name:?}");
            assert!(status.message().contains(rule), "{status}");
        }
    }
    assert!(topic_dirs(&root).is_empty());
    assert_eq!(listed(parent.path()), BTreeSet::from(["root".to_owned()]));
    fixture.stop().await;
}

#[tokio::test]
async fn odd_names_stay_inside_the_root_and_are_there_after_a_restart() {
    let parent = tempfile::tempdir().unwrap();
    let root = parent.path().join("root");
    let long = ["x".repeat(249), "日".repeat(83), format!("{}y", "x".repeat(248))];
    let odd =
        ["...", "..a", "%2e%2e%2f", "~", "-rf", "$(reboot)", "manifest", "logs", "lock", "CON", "a.log"];
    let names: Vec<&str> =
        odd.into_iter().chain(long.iter().map(String::as_str)).chain(["größe", "a b"]).collect();
    let fixture = Fixture::start(Server::builder().filesystem(&root)).await;
    let inside = listed(&root);
    for name in &names {
        fixture.produce(name, &[name]).await;
    }
    fixture.stop().await;
    assert_eq!(topic_dirs(&root).len(), names.len());
    assert_eq!(listed(parent.path()), BTreeSet::from(["root".to_owned()]));
    let fixture = Fixture::start(Server::builder().filesystem(&root)).await;
    assert_eq!(listed(&root), inside);
    for name in &names {
        let reply = fixture.poll(poll(name, None)).await.unwrap();
        assert_eq!(values(&reply.messages), [*name]);
    }
    fixture.stop().await;
}
