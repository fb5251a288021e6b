//! [`Admin`], the calls about topics.

use crate::target::{Target, refused};
use anyhow::Context as _;
use minikafka_client_connection::Client;
use minikafka_proto::v1::{
    AlterTopicRequest, CreateTopicRequest, DeleteTopicRequest, DescribeTopicRequest, DescribeTopicResponse,
    ListTopicsRequest, TopicSummary,
};

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
        let response = self.client.create_topic(request).await.map_err(refused)?.into_inner();
        response.topic.context("the server's reply is empty")
    }

    pub(super) async fn alter(&mut self, request: AlterTopicRequest) -> anyhow::Result<TopicSummary> {
        let response = self.client.alter_topic(request).await.map_err(refused)?.into_inner();
        response.topic.context("the server's reply is empty")
    }

    pub(super) async fn delete(&mut self, topic: &str) -> anyhow::Result<()> {
        let request = DeleteTopicRequest { topic: topic.to_owned() };
        self.client.delete_topic(request).await.map_err(refused)?;
        Ok(())
    }
}
