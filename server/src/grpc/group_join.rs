//! `Join`: the stream of a member. What it says and what it is told take turns in one task.
//!
//! ```text
//!   requests --> heard, then done --> Membership --> assignments --> replies: bounded queue --> member
//! ```
//!
//! A member that does not read its replies is heard no further, and is dead at its session timeout. However the
//! stream ends without a word of its own, the member is one until then.

use std::{future::Future, time::Duration};

use futures_util::{Stream, stream::unfold};
use minikafka_broker::{Assignment, Broker, Error, GroupJoin, Membership, ReturningMember};
use minikafka_proto::v1::{
    AssignedPartition, Assignment as WireAssignment, HeartbeatReply, JoinGroup, JoinRequest, JoinResponse,
    Joined, join_request::Message, join_response::Message as Reply,
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming};
use tracing::{Instrument as _, Span, debug_span, field::Empty};

use super::{
    groups::partition,
    intake::Held,
    refusal::{Refusal, refuse},
};

/// Replies that may wait for a member to read them. Little: each assignment is all of what it is to read.
const REPLIES_MAX: usize = 4;

/// Runs a stream until the member leaves, its stream breaks, or the server stops. Returns the replies.
pub(super) fn run(
    broker: Broker,
    requests: Streaming<JoinRequest>,
    held: Held,
    address: String,
    stopping: CancellationToken,
) -> impl Stream<Item = Result<JoinResponse, Status>> {
    let (replies, pending) = mpsc::channel(REPLIES_MAX);
    let span = debug_span!("member", address, group = Empty, member_id = Empty);
    let speaking = async move {
        let conversation = Conversation { broker: broker.clone(), held, replies: replies.clone() };
        let outcome = tokio::select! {
            outcome = conversation.hold(requests, address) => outcome,
            () = stopping.cancelled() => Err(refuse(&broker)(Error::Stopping).into()),
            () = replies.closed() => Err(End::Broken),
        };
        match outcome {
            Ok(()) => tracing::debug!("left"),
            // It may come back within its session timeout.
            Err(End::Broken) => tracing::debug!("the stream broke"),
            Err(End::Refused(status)) => {
                tracing::debug!(why = status.message(), "not heard any more");
                let _ = replies.send(Err(status)).await;
            }
        }
    };
    tokio::spawn(speaking.instrument(span));
    unfold(pending, |mut pending| async move { Some((pending.recv().await?, pending)) })
}

/// How a stream ends, but for an orderly leave.
enum End {
    /// The member hears why.
    Refused(Status),
    /// It is not there to hear anything.
    Broken,
}

impl From<Refusal> for End {
    fn from(refusal: Refusal) -> End {
        End::Refused(refusal.into())
    }
}

struct Conversation {
    broker: Broker,
    /// The permits for the bytes of the request under way.
    held: Held,
    replies: mpsc::Sender<Result<JoinResponse, Status>>,
}

impl Conversation {
    /// Ends well when the member leaves.
    async fn hold(&self, mut requests: Streaming<JoinRequest>, address: String) -> Result<(), End> {
        let Some(Message::Join(join)) = said(requests.message()).await? else {
            return Err(Refusal::invalid_request("the first message of a stream joins a group").into());
        };
        // It is decoded, as what comes later: what is left of it is counted by nobody, and is little.
        self.held.release();
        Span::current().record("group", &join.group);
        let topics = join.topics.len();
        let mut member = self.join(join, address).await?;
        Span::current().record("member_id", member.member_id());
        tracing::debug!(epoch = member.epoch(), topics, "joined");
        self.reply(Reply::Joined(Joined {
            member_id: member.member_id().to_owned(),
            member_epoch: member.epoch(),
            heartbeat_interval_ms: millis(member.heartbeat_interval()),
        }))
        .await?;
        loop {
            let request = tokio::select! {
                assignment = member.next_assignment() => {
                    let assignment = assignment.map_err(refuse(&self.broker))?;
                    let (epoch, partitions) = (assignment.epoch, assignment.partitions.len());
                    tracing::debug!(epoch, partitions, "assigned");
                    self.reply(Reply::Assignment(wire(assignment))).await?;
                    continue;
                }
                said = said(requests.message()) => said?,
            };
            member.heard();
            self.held.release();
            match request {
                Some(Message::Heartbeat(_)) => self.reply(Reply::Heartbeat(HeartbeatReply {})).await?,
                Some(Message::Owned(owned)) => {
                    let partitions: Vec<_> = owned.partitions.into_iter().map(partition).collect();
                    let confirmed = member.confirm(owned.member_epoch, &partitions).await;
                    confirmed.map_err(refuse(&self.broker))?;
                    tracing::debug!(epoch = owned.member_epoch, partitions = partitions.len(), "confirmed");
                }
                Some(Message::Subscribe(subscribe)) => {
                    tracing::debug!(topics = subscribe.topics.len(), "subscribes anew");
                    member.subscribe(subscribe.topics).await.map_err(refuse(&self.broker))?;
                }
                Some(Message::Leave(_)) => {
                    return Ok(member.leave().await.map_err(refuse(&self.broker))?);
                }
                Some(Message::Join(_)) => {
                    return Err(Refusal::invalid_request("a stream joins once").into());
                }
                None => {
                    return Err(
                        Refusal::invalid_request("the message is empty, or of a later version").into()
                    );
                }
            }
        }
    }

    async fn join(&self, join: JoinGroup, client_address: String) -> Result<Membership, Refusal> {
        let returning = (!join.member_id.is_empty()).then(|| ReturningMember {
            member_id: join.member_id,
            epoch: join.member_epoch,
            owned: join.owned.into_iter().map(partition).collect(),
        });
        let timeout = |ms: u32| (ms > 0).then(|| Duration::from_millis(ms.into()));
        let join = GroupJoin {
            group: join.group,
            topics: join.topics,
            instance_id: join.instance_id,
            client_id: join.client_id,
            client_address,
            session_timeout: timeout(join.session_timeout_ms),
            rebalance_timeout: timeout(join.rebalance_timeout_ms),
            returning,
        };
        self.broker.join_group(join).await.map_err(refuse(&self.broker))
    }

    async fn reply(&self, reply: Reply) -> Result<(), End> {
        self.replies.send(Ok(JoinResponse { message: Some(reply) })).await.map_err(|_| End::Broken)
    }
}

/// What the member says next; `None` when it says nothing that is known.
async fn said(
    request: impl Future<Output = Result<Option<JoinRequest>, Status>>,
) -> Result<Option<Message>, End> {
    match request.await {
        Ok(Some(request)) => Ok(request.message),
        // It hung up, which is not the same as to leave.
        Ok(None) => Err(End::Broken),
        Err(status) => Err(End::Refused(status)),
    }
}

fn wire(assignment: Assignment) -> WireAssignment {
    let partitions = assignment.partitions.into_iter().map(|(of, position)| AssignedPartition {
        topic: of.topic,
        partition: of.partition,
        position: position.map(minikafka_record::Offset::number),
    });
    WireAssignment { member_epoch: assignment.epoch, partitions: partitions.collect() }
}

fn millis(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}
