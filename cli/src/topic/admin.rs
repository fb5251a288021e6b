//! [`Admin`], the calls about topics.

use std::{error::Error, time::Duration};

use anyhow::{Context as _, anyhow};
use minikafka_client_consume::Address;
use minikafka_proto::v1::{
    CreateTopicRequest, DeleteTopicRequest, DescribeTopicRequest, DescribeTopicResponse, ListTopicsRequest,
    TopicSummary, mini_kafka_service_client::MiniKafkaServiceClient,
};
use tonic::{
    Status,
    transport::{Channel, Endpoint},
};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Deleting a large topic takes the disk a while.
const CALL_TIMEOUT: Duration = Duration::from_secs(60);

/// A connection to a server, for its topics.
#[derive(Debug)]
pub(super) struct Admin {
    client: MiniKafkaServiceClient<Channel>,
}

impl Admin {
    pub(super) async fn connect(host: &str) -> anyhow::Result<Admin> {
        let address: Address = host.parse()?;
        let channel = Endpoint::from(address.uri())
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(CALL_TIMEOUT)
            .tcp_nodelay(true)
            .connect()
            .await
            .map_err(|error| anyhow!("{}", innermost(&error)))
            .with_context(|| format!("cannot reach {address}"))?;
        Ok(Admin { client: MiniKafkaServiceClient::new(channel) })
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

    pub(super) async fn create(&mut self, topic: &str) -> anyhow::Result<TopicSummary> {
        let request = CreateTopicRequest { topic: topic.to_owned(), partitions: 1 };
        let response =
            self.client.create_topic(request).await.map_err(|status| explain(&status))?.into_inner();
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

/// The cause behind an error of the transport, whose own text is only "transport error".
fn innermost(error: &dyn Error) -> String {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}
