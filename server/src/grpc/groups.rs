//! [`Groups`], the service for consumer groups: one line for each call but `Join`, which is in `group_join.rs`.

use minikafka_broker::{
    Broker, GroupError, GroupPlace, GroupState as State, PositionToStore, PositionsBy, SeekMode, SeekTo,
    TopicPartition as Of,
};
use minikafka_proto::v1::{
    Anchor, CommitPositionsRequest, CommitPositionsResponse, DeleteGroupRequest, DeleteGroupResponse,
    DescribeGroupRequest, DescribeGroupResponse, FetchPositionsRequest, FetchPositionsResponse, GroupMember,
    GroupPosition, GroupState, GroupSummary, JoinRequest, JoinResponse, ListGroupsRequest,
    ListGroupsResponse, PartitionPosition, Position, SeekGroupRequest, SeekGroupResponse, SeekedPosition,
    TopicPartition, group_service_server::GroupService, position::At,
};
use minikafka_record::Offset;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming, codegen::BoxStream};

use super::{
    group_join,
    intake::Held,
    page::{Page, partition_place, partition_token, unknown},
    position::{known, offset},
    refusal::{Refusal, refuse},
};
use crate::door::Peer;

/// Groups on a page when nobody says how many.
const PAGE_DEFAULT: usize = 1000;
/// Most groups on a page: with the longest names, what a default client takes.
const PAGE_MAX: usize = 10_000;

/// What the token of a page that begins with a member begins with.
const MEMBERS: &str = "member";
/// The same for a position.
const POSITIONS: &str = "position";

/// The service for consumer groups.
pub(crate) struct Groups {
    broker: Broker,
    stopping: CancellationToken,
}

impl Groups {
    /// Over a broker. Members' streams end when `stopping` is cancelled.
    pub(crate) fn new(broker: Broker, stopping: CancellationToken) -> Groups {
        Groups { broker, stopping }
    }
}

#[tonic::async_trait]
impl GroupService for Groups {
    async fn join(
        &self,
        request: Request<Streaming<JoinRequest>>,
    ) -> Result<Response<BoxStream<JoinResponse>>, Status> {
        let address = request.extensions().get::<Peer>().map(Peer::to_string).unwrap_or_default();
        let held = request.extensions().get::<Held>().cloned().unwrap_or_default();
        let requests = request.into_inner();
        let replies = group_join::run(self.broker.clone(), requests, held, address, self.stopping.clone());
        Ok(Response::new(Box::pin(replies)))
    }

    async fn commit_positions(
        &self,
        request: Request<CommitPositionsRequest>,
    ) -> Result<Response<CommitPositionsResponse>, Status> {
        Ok(Response::new(commit(&self.broker, request.into_inner()).await?))
    }

    async fn fetch_positions(
        &self,
        request: Request<FetchPositionsRequest>,
    ) -> Result<Response<FetchPositionsResponse>, Status> {
        Ok(Response::new(fetch(&self.broker, request.into_inner())?))
    }

    async fn list_groups(
        &self,
        request: Request<ListGroupsRequest>,
    ) -> Result<Response<ListGroupsResponse>, Status> {
        Ok(Response::new(list(&self.broker, &request.into_inner())))
    }

    async fn describe_group(
        &self,
        request: Request<DescribeGroupRequest>,
    ) -> Result<Response<DescribeGroupResponse>, Status> {
        Ok(Response::new(describe(&self.broker, &request.into_inner()).await?))
    }

    async fn seek_group(
        &self,
        request: Request<SeekGroupRequest>,
    ) -> Result<Response<SeekGroupResponse>, Status> {
        Ok(Response::new(seek(&self.broker, request.into_inner()).await?))
    }

    async fn delete_group(
        &self,
        request: Request<DeleteGroupRequest>,
    ) -> Result<Response<DeleteGroupResponse>, Status> {
        let deleted = self.broker.delete_group(&request.into_inner().group).await;
        deleted.map_err(refuse(&self.broker)).map_err(Status::from)?;
        Ok(Response::new(DeleteGroupResponse {}))
    }
}

async fn commit(
    broker: &Broker,
    request: CommitPositionsRequest,
) -> Result<CommitPositionsResponse, Refusal> {
    let by = match request.member_id {
        id if id.is_empty() => PositionsBy::Outsider,
        member_id => PositionsBy::Member { member_id, epoch: request.member_epoch },
    };
    let positions = request.positions.into_iter().map(|position| to_store(broker, position));
    let positions = positions.collect::<Result<Vec<_>, Refusal>>()?;
    broker.commit_positions(&request.group, by, positions).await.map_err(refuse(broker))?;
    Ok(CommitPositionsResponse {})
}

fn to_store(broker: &Broker, position: PartitionPosition) -> Result<PositionToStore, Refusal> {
    let PartitionPosition { topic, partition, number, metadata, .. } = position;
    let of = Of { topic, partition };
    match Offset::from_number(number).filter(|offset| offset.number() == number) {
        Some(offset) => Ok(PositionToStore { of, offset, metadata }),
        None => {
            let end = broker.partition(&of.topic, Some(partition)).map_err(refuse(broker))?.bounds();
            let end = end.high_watermark.number();
            let error = GroupError::PositionOutOfRange { topic: of.topic, partition, number, end };
            Err(refuse(broker)(error.into()))
        }
    }
}

fn fetch(broker: &Broker, request: FetchPositionsRequest) -> Result<FetchPositionsResponse, Refusal> {
    let of: Vec<Of> = request.partitions.into_iter().map(partition).collect();
    let of = (!of.is_empty()).then_some(of);
    let positions = broker.group_positions(&request.group, of.as_deref()).map_err(refuse(broker))?;
    let begin = partition_place(&request.page_token)?;
    let behind = positions.into_iter().filter(|(of, _)| Some(of) >= begin.as_ref());
    let mut reply = FetchPositionsResponse::default();
    let next = Page::new(request.page_size).fill(behind.map(stored), &mut reply.positions);
    reply.next_page_token = next.unwrap_or_default();
    Ok(reply)
}

/// A position, and the token of a page that begins with it.
fn stored((of, stored): (Of, minikafka_broker::StoredPosition)) -> (String, PartitionPosition) {
    let place = partition_token(&of);
    let position = PartitionPosition {
        topic: of.topic,
        partition: of.partition,
        number: stored.offset.number(),
        metadata: stored.metadata,
        commit_time_ms: stored.committed_at,
    };
    (place, position)
}

fn list(broker: &Broker, request: &ListGroupsRequest) -> ListGroupsResponse {
    let page_size = match request.page_size {
        0 => PAGE_DEFAULT,
        wanted => (wanted as usize).min(PAGE_MAX),
    };
    // One more tells whether there is another page.
    let mut groups = broker.groups(&request.page_token, page_size + 1);
    let is_last = groups.len() <= page_size;
    groups.truncate(page_size);
    let next_page_token = match groups.last() {
        Some(last) if !is_last => last.name.clone(),
        _ => String::new(),
    };
    let summary = |group: minikafka_broker::GroupSummary| GroupSummary {
        name: group.name,
        state: state(group.state).into(),
        members: group.members as u32,
    };
    ListGroupsResponse { groups: groups.into_iter().map(summary).collect(), next_page_token }
}

async fn describe(broker: &Broker, request: &DescribeGroupRequest) -> Result<DescribeGroupResponse, Refusal> {
    let page_size = match request.page_size {
        0 => PAGE_MAX as u32,
        wanted => wanted.min(PAGE_MAX as u32),
    };
    // One more tells whether there is another page.
    let (place, count) = (group_place(&request.page_token)?, page_size as usize + 1);
    let group = broker.describe_group_from(&request.group, &place, count).await.map_err(refuse(broker))?;
    let mut reply = DescribeGroupResponse {
        name: group.summary.name,
        state: state(group.summary.state).into(),
        epoch: group.epoch,
        ..DescribeGroupResponse::default()
    };
    let mut page = Page::new(page_size);
    let members = group.members.into_iter();
    let members = members.map(|of| (format!("{MEMBERS} {}", of.member_id), member(of)));
    let mut next = page.fill(members, &mut reply.members);
    if next.is_none() {
        let positions = group.positions.into_iter();
        let positions =
            positions.map(|of| (format!("{POSITIONS} {}", partition_token(&of.of)), position(of)));
        next = page.fill(positions, &mut reply.positions);
    }
    reply.next_page_token = next.unwrap_or_default();
    Ok(reply)
}

/// Where a page of a group begins.
fn group_place(token: &str) -> Result<GroupPlace, Refusal> {
    match token.split_once(' ') {
        None if token.is_empty() => Ok(GroupPlace::START),
        Some((MEMBERS, member_id)) => Ok(GroupPlace::Member(member_id.to_owned())),
        Some((POSITIONS, token)) => {
            partition_place(token)?.map(GroupPlace::Position).ok_or_else(|| unknown(token))
        }
        _ => Err(unknown(token)),
    }
}

fn member(member: minikafka_broker::MemberDescription) -> GroupMember {
    GroupMember {
        member_id: member.member_id,
        instance_id: member.instance_id,
        client_id: member.client_id,
        client_address: member.client_address.unwrap_or_default(),
        member_epoch: member.epoch,
        topics: member.topics,
        owned: member.owned.into_iter().map(wire_partition).collect(),
        target: member.target.into_iter().map(wire_partition).collect(),
    }
}

fn position(position: minikafka_broker::PartitionLag) -> GroupPosition {
    let stored = position.stored;
    GroupPosition {
        topic: position.of.topic,
        partition: position.of.partition,
        number: stored.as_ref().map(|stored| stored.offset.number()),
        end_number: if position.is_lost { 0 } else { position.end.number() },
        lag_messages: position.lag.messages,
        lag_ms: u64::try_from(position.lag.age.as_millis()).unwrap_or(u64::MAX),
        commit_time_ms: stored.as_ref().map_or(0, |stored| stored.committed_at),
        metadata: stored.map(|stored| stored.metadata).unwrap_or_default(),
        member_id: position.member_id.unwrap_or_default(),
        is_lost: position.is_lost,
    }
}

async fn seek(broker: &Broker, request: SeekGroupRequest) -> Result<SeekGroupResponse, Refusal> {
    let to = seek_to(request.to.as_ref())?;
    let mode = if request.dry_run { SeekMode::Preview } else { SeekMode::Move };
    let partitions: Vec<Of> = request.partitions.into_iter().map(partition).collect();
    let sought = broker.seek_group(&request.group, &request.topics, &partitions, to, mode).await;
    let position = |sought: minikafka_broker::SoughtPosition| SeekedPosition {
        topic: sought.of.topic,
        partition: sought.of.partition,
        from: sought.from.map(Offset::number),
        to: sought.to.number(),
    };
    let sought = sought.map_err(refuse(broker))?;
    Ok(SeekGroupResponse { positions: sought.into_iter().map(position).collect() })
}

fn seek_to(position: Option<&Position>) -> Result<SeekTo, Refusal> {
    match position.and_then(|position| position.at.as_ref()) {
        Some(At::Number(number)) => Ok(SeekTo::Offset(offset(*number)?)),
        Some(At::TimestampMs(timestamp)) => Ok(SeekTo::Timestamp(*timestamp)),
        Some(At::Anchor(anchor)) => Ok(match known(*anchor, "anchor")? {
            Anchor::Latest => SeekTo::Latest,
            Anchor::Earliest | Anchor::Unspecified => SeekTo::Earliest,
        }),
        None => {
            Err(Refusal::invalid_request("the request does not say where to: a number, a place or a time"))
        }
    }
}

fn state(state: State) -> GroupState {
    match state {
        State::Empty => GroupState::Empty,
        State::Reconciling => GroupState::Reconciling,
        State::Stable => GroupState::Stable,
    }
}

pub(super) fn partition(partition: TopicPartition) -> Of {
    Of { topic: partition.topic, partition: partition.partition }
}

fn wire_partition(partition: Of) -> TopicPartition {
    TopicPartition { topic: partition.topic, partition: partition.partition }
}
