//! DeleteTopics.

use kafka_protocol::messages::{
    DeleteTopicsRequest, DeleteTopicsResponse, delete_topics_request::DeleteTopicState,
};
use uuid::Uuid;

use super::{
    super::client::{Client, fetch_from, name, start},
    metadata,
};

fn codes(response: &DeleteTopicsResponse) -> Vec<i16> {
    response.responses.iter().map(|result| result.error_code).collect()
}

#[tokio::test]
async fn topics_are_deleted_by_name_in_every_version() {
    let fixture = start().await;
    let mut client = Client::connect(&fixture).await;
    for version in 1..=6 {
        client.create("t").await;
        let names = ["t", "u", "demo topic"].map(name);
        let request = match version {
            6 => {
                let named = names.map(|name| DeleteTopicState::default().with_name(Some(name)));
                DeleteTopicsRequest::default().with_topics(named.into())
            }
            _ => DeleteTopicsRequest::default().with_topic_names(names.into()),
        };
        let response = client.ask(version, &request).await;
        assert_eq!(codes(&response), [0, 3, 17], "version {version}");
        if version >= 5 {
            assert_eq!(response.responses[0].error_message, None);
            assert!(response.responses[1].error_message.as_ref().unwrap().contains("\"u\""));
        }
        assert_eq!(metadata(&mut client, "t").await.error_code, 3);
        assert_eq!(client.fetch(12, fetch_from("t", 0)).await.error_code, 3);
    }
}

#[tokio::test]
async fn an_id_means_one_topic_and_not_the_next_of_its_name() {
    let fixture = start().await;
    let mut client = Client::connect(&fixture).await;
    client.create("t").await;
    let id = metadata(&mut client, "t").await.topic_id;
    let by_id = || DeleteTopicState::default().with_name(None).with_topic_id(id);
    let request = DeleteTopicsRequest::default().with_topics(vec![by_id()]);
    let response = client.ask(6, &request).await;
    assert_eq!(codes(&response), [0]);
    assert_eq!(response.responses[0].name, Some(name("t")));
    client.create("t").await;
    assert_eq!(codes(&client.ask(6, &request).await), [100]);
    assert_eq!(metadata(&mut client, "t").await.error_code, 0, "the new one is there still");
}

#[tokio::test]
async fn what_is_ambiguous_deletes_nothing() {
    let fixture = start().await;
    let mut client = Client::connect(&fixture).await;
    client.create("t").await;
    let id = metadata(&mut client, "t").await.topic_id;
    let state = |name, id| DeleteTopicState::default().with_name(name).with_topic_id(id);
    let topics = vec![state(Some(name("t")), id), state(None, Uuid::nil()), state(None, id), state(None, id)];
    let response = client.ask(6, &DeleteTopicsRequest::default().with_topics(topics)).await;
    assert_eq!(codes(&response), [42; 3]);
    let twice = DeleteTopicsRequest::default().with_topic_names(vec![name("t"), name("t")]);
    assert_eq!(codes(&client.ask(5, &twice).await), [42]);
    assert_eq!(metadata(&mut client, "t").await.error_code, 0);
}
