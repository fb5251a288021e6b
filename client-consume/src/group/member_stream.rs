//! [`Stream`], a stream of a member that is open, and what was said on it.

use std::{sync::Arc, time::Duration};

use minikafka_proto::v1::{
    self, JoinRequest, JoinResponse, LeaveGroup, OwnedPartitions, SubscribeTopics, join_request,
};
use tokio::{sync::mpsc, time::Instant};
use tonic::Streaming;

use super::membership::Wish;

/// See the module.
pub(super) struct Stream {
    pub(super) requests: mpsc::Sender<JoinRequest>,
    pub(super) replies: Streaming<JoinResponse>,
    /// The member that it was opened for.
    pub(super) incarnation: u64,
    /// What was said last.
    pub(super) said: Wish,
    /// When that was sent which the server has not answered yet.
    pub(super) unanswered: Option<Instant>,
    pub(super) heartbeat: Duration,
    pub(super) next_heartbeat: Instant,
}

/// Nobody takes what is said.
pub(super) struct Stuck;

impl Stream {
    /// Says what is new in a wish.
    pub(super) fn say(&mut self, wish: Wish) -> Result<(), Stuck> {
        if wish.topics != self.said.topics {
            let topics = names(&wish.topics);
            self.send(join_request::Message::Subscribe(SubscribeTopics { topics }))?;
        }
        // What an earlier member had is nobody's business any more.
        if wish.owned.serial != self.said.owned.serial && wish.owned.incarnation == self.incarnation {
            let partitions = wish.owned.partitions.iter().map(v1::TopicPartition::from).collect();
            let owned = OwnedPartitions { member_epoch: wish.owned.epoch, partitions };
            self.send(join_request::Message::Owned(owned))?;
        }
        if wish.leaves && !self.said.leaves {
            self.send(join_request::Message::Leave(LeaveGroup {}))?;
        }
        self.said = wish;
        Ok(())
    }

    pub(super) fn send(&self, message: join_request::Message) -> Result<(), Stuck> {
        self.requests.try_send(request(message)).map_err(|_| Stuck)
    }
}

pub(super) fn request(message: join_request::Message) -> JoinRequest {
    JoinRequest { message: Some(message) }
}

pub(super) fn names(topics: &[Arc<str>]) -> Vec<String> {
    topics.iter().map(|topic| topic.to_string()).collect()
}
