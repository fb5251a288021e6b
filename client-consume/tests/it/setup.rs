//! A real server, and what tests of many partitions say often.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use minikafka_client_connection::{Client, connect};
use minikafka_client_consume::Message;
use minikafka_proto::v1::{
    self, AlterTopicRequest, CreateTopicRequest, DeleteTopicRequest, MessageList, ProduceRequest,
    produce_request::Payload,
};
use minikafka_server::Server;

/// For what does not come, and for polls of those that work.
pub(crate) const A_MOMENT: Duration = Duration::from_millis(50);

/// A server in this process, with a client for what consumers do not do.
pub(crate) struct Rig {
    pub(crate) server: Server,
    pub(crate) client: Client,
}

impl Rig {
    pub(crate) async fn start() -> Rig {
        Rig::of(Server::builder().memory().start("127.0.0.1:0").await.unwrap()).await
    }

    pub(crate) async fn of(server: Server) -> Rig {
        let client = connect(server.local_addr().to_string().parse().unwrap()).await.unwrap();
        Rig { server, client }
    }

    pub(crate) fn host(&self) -> String {
        self.server.local_addr().to_string()
    }

    pub(crate) async fn create(&self, topic: &str, partitions: u32) {
        let request = CreateTopicRequest { topic: topic.into(), partitions, settings: None };
        self.client.clone().create_topic(request).await.unwrap();
    }

    pub(crate) async fn grow(&self, topic: &str, partitions: u32) {
        let request =
            AlterTopicRequest { topic: topic.into(), partitions: Some(partitions), ..Default::default() };
        self.client.clone().alter_topic(request).await.unwrap();
    }

    pub(crate) async fn delete(&self, topic: &str) {
        self.client.clone().delete_topic(DeleteTopicRequest { topic: topic.into() }).await.unwrap();
    }

    /// Appends so many messages to a partition; their values say where they are: "topic/partition/number".
    pub(crate) async fn produce(&self, topic: &str, partition: u32, numbers: std::ops::RangeInclusive<u64>) {
        let first = *numbers.start();
        let message = |number| v1::Message {
            value: Some(Bytes::from(format!("{topic}/{partition}/{number}"))),
            ..v1::Message::default()
        };
        let messages = MessageList { messages: numbers.map(message).collect() };
        let request = ProduceRequest {
            topic: topic.into(),
            partition: Some(partition),
            payload: Some(Payload::Messages(messages)),
            ..ProduceRequest::default()
        };
        let produced = self.client.clone().produce(request).await.unwrap().into_inner();
        assert_eq!(produced.first_number, first);
    }
}

/// Checks that a message is what its value says, and tells where it is.
pub(crate) fn place(message: &Message) -> (String, u32, u64) {
    let text = String::from_utf8(message.value.clone().unwrap().to_vec()).unwrap();
    assert_eq!(text, format!("{}/{}/{}", message.topic, message.partition, message.number));
    (message.topic.to_string(), message.partition, message.number)
}

/// What was read: the numbers of each partition, in the order in which they came.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen(pub(crate) BTreeMap<(String, u32), Vec<u64>>);

impl Seen {
    pub(crate) fn add(&mut self, messages: &[Message]) {
        for (topic, partition, number) in messages.iter().map(place) {
            self.0.entry((topic, partition)).or_default().push(number);
        }
    }

    /// What came after it.
    pub(crate) fn extend(&mut self, more: Seen) {
        for (of, numbers) in more.0 {
            self.0.entry(of).or_default().extend(numbers);
        }
    }

    pub(crate) fn count(&self) -> usize {
        self.0.values().map(Vec::len).sum()
    }

    pub(crate) fn numbers(&self, topic: &str, partition: u32) -> &[u64] {
        self.0.get(&(topic.to_owned(), partition)).map_or(&[], Vec::as_slice)
    }
}
