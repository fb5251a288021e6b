//! A member of a group as a raw gRPC client: it says what it is told to say, and nothing else.

use minikafka_proto::v1::{
    Assignment, CreateTopicRequest, JoinGroup, JoinRequest, JoinResponse, Joined, OwnedPartitions,
    TopicPartition, group_service_client::GroupServiceClient, join_request::Message,
    join_response::Message as Reply,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::{Status, Streaming, transport::Channel};

use crate::support::{Fixture, soon};

/// A member that does nothing by itself.
pub(crate) struct Member {
    pub(crate) says: mpsc::UnboundedSender<JoinRequest>,
    pub(crate) replies: Streaming<JoinResponse>,
    pub(crate) joined: Joined,
}

pub(crate) fn client(fixture: &Fixture) -> GroupServiceClient<Channel> {
    GroupServiceClient::new(fixture.channel.clone())
}

pub(crate) fn hello(topics: &[&str]) -> JoinGroup {
    JoinGroup {
        group: "g".into(),
        client_id: "test".into(),
        topics: topics.iter().map(|topic| (*topic).to_owned()).collect(),
        ..JoinGroup::default()
    }
}

pub(crate) async fn begin(
    fixture: &Fixture,
    first: Message,
) -> (mpsc::UnboundedSender<JoinRequest>, Streaming<JoinResponse>) {
    let (says, requests) = mpsc::unbounded_channel();
    says.send(JoinRequest { message: Some(first) }).unwrap();
    let replies = soon(client(fixture).join(UnboundedReceiverStream::new(requests))).await;
    (says, replies.expect("a stream").into_inner())
}

pub(crate) async fn try_join(fixture: &Fixture, join: JoinGroup) -> Result<Member, Status> {
    let (says, mut replies) = begin(fixture, Message::Join(join)).await;
    match soon(replies.message()).await?.and_then(|reply| reply.message) {
        Some(Reply::Joined(joined)) => Ok(Member { says, replies, joined }),
        other => panic!("{other:?}"),
    }
}

pub(crate) async fn join(fixture: &Fixture, topics: &[&str]) -> Member {
    try_join(fixture, hello(topics)).await.expect("it joins")
}

impl Member {
    pub(crate) fn say(&self, message: Message) {
        self.says.send(JoinRequest { message: Some(message) }).unwrap();
    }

    pub(crate) async fn next(&mut self) -> Result<Option<Reply>, Status> {
        Ok(soon(self.replies.message()).await?.and_then(|reply| reply.message))
    }

    pub(crate) async fn assignment(&mut self) -> Assignment {
        match self.next().await.expect("no error") {
            Some(Reply::Assignment(assignment)) => assignment,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn obey(&self, assignment: &Assignment) {
        self.say(Message::Owned(OwnedPartitions {
            member_epoch: assignment.member_epoch,
            partitions: owned(assignment),
        }));
    }

    /// Does what it is told until it has so many partitions.
    pub(crate) async fn settle(&mut self, count: usize) -> Assignment {
        loop {
            let assignment = self.assignment().await;
            self.obey(&assignment);
            if assignment.partitions.len() == count {
                return assignment;
            }
        }
    }

    /// The status with which the stream ends.
    pub(crate) async fn end(&mut self) -> Status {
        loop {
            match self.next().await {
                Ok(Some(_)) => {}
                Ok(None) => panic!("the stream ends without an error"),
                Err(status) => return status,
            }
        }
    }
}

pub(crate) fn owned(assignment: &Assignment) -> Vec<TopicPartition> {
    let partitions = assignment.partitions.iter();
    partitions.map(|of| TopicPartition { topic: of.topic.clone(), partition: of.partition }).collect()
}

pub(crate) async fn create(fixture: &Fixture, topics: &[&str]) {
    for topic in topics {
        let request =
            CreateTopicRequest { topic: (*topic).to_owned(), partitions: 1, ..CreateTopicRequest::default() };
        fixture.v1.clone().create_topic(request).await.unwrap();
    }
}
