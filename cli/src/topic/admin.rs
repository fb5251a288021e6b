//! [`Admin`], the calls about topics.

use crate::target::{Target, refused};
use anyhow::Context as _;
use minikafka_client_connection::Client;
use minikafka_proto::v1::{
    AlterTopicRequest, CreateTopicRequest, DeleteTopicRequest, DescribeTopicRequest, DescribeTopicResponse,
    ListTopicsRequest, TopicSummary,
};
use tonic::Status;

/// A connection to a server, for its topics.
#[derive(Debug)]
pub(super) struct Admin {
    client: Client,
}

impl Admin {
    pub(super) async fn connect(target: &Target) -> anyhow::Result<Admin> {
        Ok(Admin { client: target.connect().await? })
    }

    /// All topics, ordered by name.
    pub(super) async fn list(&mut self) -> anyhow::Result<Vec<TopicSummary>> {
        let mut topics = Vec::new();
        let mut page_token = String::new();
        loop {
            let request = ListTopicsRequest { page_size: 0, page_token };
            let page = self.client.list_topics(request).await.map_err(refused)?.into_inner();
            topics.extend(page.topics);
            page_token = page.next_page_token;
            if page_token.is_empty() {
                return Ok(topics);
            }
        }
    }

    pub(super) async fn describe(&mut self, topic: &str) -> anyhow::Result<DescribeTopicResponse> {
        let request = DescribeTopicRequest { topic: topic.to_owned(), ..Default::default() };
        Ok(self.client.describe_topic(request).await.map_err(refused)?.into_inner())
    }

    pub(super) async fn create(&mut self, request: CreateTopicRequest) -> anyhow::Result<TopicSummary> {
        let response = self.client.create_topic(request).await.map_err(refused_setting)?.into_inner();
        response.topic.context("the server's reply is empty")
    }

    pub(super) async fn alter(&mut self, request: AlterTopicRequest) -> anyhow::Result<TopicSummary> {
        let response = self.client.alter_topic(request).await.map_err(refused_setting)?.into_inner();
        response.topic.context("the server's reply is empty")
    }

    pub(super) async fn delete(&mut self, topic: &str) -> anyhow::Result<()> {
        let request = DeleteTopicRequest { topic: topic.to_owned() };
        self.client.delete_topic(request).await.map_err(refused)?;
        Ok(())
    }
}

/// A refusal that names the setting as the API does says which flag is meant.
#[allow(clippy::needless_pass_by_value, reason = "for map_err")]
fn refused_setting(status: Status) -> anyhow::Error {
    const FLAGS: [(&str, &str); 3] = [
        ("retention_ms: ", "-retention: "),
        ("retention_bytes: ", "-retention-bytes: "),
        ("message_bytes_max: ", "-message-max: "),
    ];
    let rule = |(name, flag): (&str, &str)| Some(format!("{flag}{}", status.message().strip_prefix(name)?));
    match FLAGS.into_iter().find_map(rule) {
        Some(message) => anyhow::anyhow!(message),
        None => refused(status),
    }
}
