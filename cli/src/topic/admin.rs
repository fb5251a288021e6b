//! [`Admin`], the calls about topics.

use anyhow::{Context as _, anyhow};
use minikafka_client_connection::{Address, Client, connect};
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
    pub(super) async fn connect(host: &str) -> anyhow::Result<Admin> {
        let address: Address = host.parse()?;
        let client =
            connect(address.clone()).await.map_err(|cause| anyhow!("cannot reach {address}: {cause}"))?;
        Ok(Admin { client })
    }

    /// All topics, ordered by name.
    pub(super) async fn list(&mut self) -> anyhow::Result<Vec<TopicSummary>> {
        let mut topics = Vec::new();
        let mut page_token = String::new();
        loop {
            let request = ListTopicsRequest { page_size: 0, page_token };
            let page =
                self.client.list_topics(request).await.map_err(|status| explain(&status))?.into_inner();
            topics.extend(page.topics);
            page_token = page.next_page_token;
            if page_token.is_empty() {
                return Ok(topics);
            }
        }
    }

    pub(super) async fn describe(&mut self, topic: &str) -> anyhow::Result<DescribeTopicResponse> {
        let request = DescribeTopicRequest { topic: topic.to_owned() };
        Ok(self.client.describe_topic(request).await.map_err(|status| explain(&status))?.into_inner())
    }

    pub(super) async fn create(&mut self, request: CreateTopicRequest) -> anyhow::Result<TopicSummary> {
        let response =
            self.client.create_topic(request).await.map_err(|status| explain(&status))?.into_inner();
        response.topic.context("the server's reply is empty")
    }

    pub(super) async fn alter(&mut self, request: AlterTopicRequest) -> anyhow::Result<TopicSummary> {
        let response =
            self.client.alter_topic(request).await.map_err(|status| explain(&status))?.into_inner();
        response.topic.context("the server's reply is empty")
    }

    pub(super) async fn delete(&mut self, topic: &str) -> anyhow::Result<()> {
        let request = DeleteTopicRequest { topic: topic.to_owned() };
        self.client.delete_topic(request).await.map_err(|status| explain(&status))?;
        Ok(())
    }
}

/// The server's sentence; a status without one says what kind it is.
fn explain(status: &Status) -> anyhow::Error {
    match status.message() {
        "" => anyhow!("{}", status.code()),
        message => anyhow!("{message}"),
    }
}
