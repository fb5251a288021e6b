//! The same groups at every door.

use std::{sync::Arc, time::Duration};

use kafka_protocol::messages::{HeartbeatRequest, JoinGroupRequest, LeaveGroupRequest, SyncGroupRequest};
use minikafka_broker::{BrokerConfig, GroupJoin, GroupState, SeekMode, SeekTo};
use minikafka_proto::v1::{
    CommitPositionsRequest, DeleteGroupRequest, DescribeGroupRequest, FetchPositionsRequest, JoinGroup,
    JoinRequest, ListGroupsRequest, PartitionPosition, SeekGroupRequest,
    group_service_client::GroupServiceClient, join_request::Message,
};
use minikafka_server::Server;
use tonic::Code;

use super::{
    super::client::{Client, start, start_with},
    Member, alone, commit_request, fetched, group, join_request, topic,
};
use crate::support::{Fixture, anchor, soon, why};

fn grpc(fixture: &Fixture) -> GroupServiceClient<tonic::transport::Channel> {
    GroupServiceClient::new(fixture.channel.clone())
}

#[tokio::test]
async fn positions_are_the_same_and_numbers_are_one_more_than_offsets() {
    let fixture = start().await;
    topic(&fixture).await;
    let mut client = Client::connect(&fixture).await;
    client.ask(9, &commit_request(&[(0, 2, "of kafka")])).await;
    let request = FetchPositionsRequest { group: "g".into(), ..FetchPositionsRequest::default() };
    let found = grpc(&fixture).fetch_positions(request).await.unwrap().into_inner().positions;
    assert_eq!((found[0].number, found[0].metadata.as_str()), (3, "of kafka"));
    let position = PartitionPosition {
        topic: "t".into(),
        number: 2,
        metadata: "of gRPC".into(),
        ..PartitionPosition::default()
    };
    let request = CommitPositionsRequest {
        group: "g".into(),
        positions: vec![position],
        ..CommitPositionsRequest::default()
    };
    grpc(&fixture).commit_positions(request).await.unwrap();
    let found = fetched(&mut client, 7).await;
    assert_eq!((found.committed_offset, found.metadata.as_deref()), (1, Some("of gRPC")));
}

#[tokio::test]
async fn classic_members_are_listed_and_described_with_their_lag() {
    let fixture = start().await;
    let mut member = alone(&fixture).await;
    let request = || DescribeGroupRequest { group: "g".into(), ..DescribeGroupRequest::default() };
    let held = grpc(&fixture).describe_group(request()).await.unwrap().into_inner();
    assert_eq!((held.positions[0].number, held.positions[0].lag_messages), (None, 3));
    member.commit(1).await;
    let found = grpc(&fixture).describe_group(request()).await.unwrap().into_inner();
    assert_eq!(found.epoch, member.generation as u64);
    let of = &found.members[0];
    assert_eq!((of.member_id.as_str(), of.client_id.as_str()), (&*member.id, "test"));
    assert_eq!((&of.topics, of.owned.len()), (&vec!["t".to_owned()], 1));
    assert_eq!(of.client_address, "127.0.0.1");
    let position = &found.positions[0];
    assert_eq!((position.number, position.lag_messages), (Some(2), 2));
    assert_eq!(position.member_id, *member.id);
    let listed = grpc(&fixture).list_groups(ListGroupsRequest::default()).await.unwrap().into_inner();
    assert_eq!((listed.groups[0].name.as_str(), listed.groups[0].members), ("g", 1));
    assert_eq!(fixture.server.broker().group("g").unwrap().state, GroupState::Stable);
    let scraped = crate::observe::scrape(&fixture.server).await;
    assert_eq!(scraped["minikafka_group_lag_messages{group=\"g\"}"], 2.0);
}

#[tokio::test]
async fn while_classic_members_are_there_nobody_else_joins_moves_or_deletes() {
    let fixture = start().await;
    let mut member = alone(&fixture).await;
    member.commit(1).await;
    let seek = SeekGroupRequest {
        group: "g".into(),
        topics: vec!["t".into()],
        to: anchor(minikafka_proto::v1::Anchor::Earliest),
        ..SeekGroupRequest::default()
    };
    let refused = grpc(&fixture).seek_group(seek.clone()).await.unwrap_err();
    assert_eq!(why(&refused), (Code::FailedPrecondition, "GROUP_NOT_EMPTY".to_owned()));
    let delete = DeleteGroupRequest { group: "g".into() };
    let refused = grpc(&fixture).delete_group(delete).await.unwrap_err();
    assert_eq!(why(&refused), (Code::FailedPrecondition, "GROUP_NOT_EMPTY".to_owned()));
    let hello = JoinRequest {
        message: Some(Message::Join(JoinGroup {
            group: "g".into(),
            topics: vec!["t".into()],
            ..JoinGroup::default()
        })),
    };
    let join = || async {
        let requests = tokio_stream::iter([hello.clone()]);
        let mut replies = grpc(&fixture).join(requests).await?.into_inner();
        soon(replies.message()).await.map(drop)
    };
    let refused = join().await.unwrap_err();
    assert_eq!(why(&refused), (Code::FailedPrecondition, "INCONSISTENT_GROUP_PROTOCOL".to_owned()));

    assert_eq!(member.leave().await, 0);
    grpc(&fixture).seek_group(seek).await.unwrap();
    join().await.unwrap();
}

#[tokio::test]
async fn while_others_are_members_classic_ones_are_refused() {
    let fixture = start().await;
    topic(&fixture).await;
    let broker = fixture.server.broker();
    let join = GroupJoin { group: "g".into(), topics: vec!["t".into()], ..GroupJoin::default() };
    let member = broker.join_group(join).await.unwrap();
    let mut client = Client::connect(&fixture).await;
    assert_eq!(client.ask(9, &join_request("")).await.error_code, 23);
    let committed = client.ask(9, &commit_request(&[(0, 1, "")])).await;
    assert_eq!(committed.topics[0].partitions[0].error_code, 25);
    member.leave().await.unwrap();
    Member::new(&fixture).await;
}

#[tokio::test]
async fn a_group_moves_from_one_protocol_to_the_other_and_back_with_its_positions() {
    let fixture = start().await;
    let mut member = alone(&fixture).await;
    member.commit(2).await;
    assert_eq!(member.leave().await, 0);
    let broker = fixture.server.broker();
    let join = GroupJoin { group: "g".into(), topics: vec!["t".into()], ..GroupJoin::default() };
    let mut other = broker.join_group(join).await.unwrap();
    let assignment = soon(other.next_assignment()).await.unwrap();
    assert_eq!(assignment.partitions[0].1.map(|offset| offset.get()), Some(2));
    other.leave().await.unwrap();
    let mut back = Member::new(&fixture).await;
    back.join().await;
    assert_eq!(fetched(&mut back.client, 7).await.committed_offset, 2);
}

#[tokio::test]
async fn retention_counts_from_the_moment_at_which_the_last_member_is_gone() {
    let clock = crate::support::Hands::default();
    let config = BrokerConfig { clock: Arc::new(clock.clone()), ..BrokerConfig::default() };
    let fixture = start_with(Server::builder().memory().broker(config)).await;
    let broker = fixture.server.broker();
    topic(&fixture).await;
    broker.seek_group("g", &["t".into()], &[], SeekTo::Latest, SeekMode::Move).await.unwrap();
    // The clock stands still: the group opens when it is moved.
    let mut client = Client::connect(&fixture).await;
    let joining = client.send(3, &join_request("").with_session_timeout_ms(1_800_000)).await;
    soon(async {
        while broker.group("g").is_none_or(|group| group.members == 0) {
            tokio::task::yield_now().await;
        }
    })
    .await;
    clock.pass(Duration::from_secs(1));
    broker.expire_groups().await;
    let joined = client.reply::<JoinGroupRequest>(3, joining).await;
    assert_eq!(joined.error_code, 0);
    let retention = broker.config().position_retention;
    let sync = SyncGroupRequest::default()
        .with_group_id(group("g"))
        .with_member_id(joined.member_id.clone())
        .with_generation_id(joined.generation_id);
    assert_eq!(client.ask(0, &sync).await.error_code, 0);
    // It commits nothing for the whole time, and is a member all the same.
    let heartbeat = HeartbeatRequest::default()
        .with_group_id(group("g"))
        .with_member_id(joined.member_id.clone())
        .with_generation_id(joined.generation_id);
    let step = Duration::from_secs(1_000);
    for _ in 0..retention.as_secs() / step.as_secs() + 2 {
        clock.pass(step);
        assert_eq!(client.ask(1, &heartbeat).await.error_code, 0);
        broker.expire_groups().await;
    }
    assert!(broker.group("g").is_some(), "a group with members is not forgotten");
    let leave = LeaveGroupRequest::default().with_group_id(group("g")).with_member_id(joined.member_id);
    assert_eq!(client.ask(1, &leave).await.error_code, 0);
    broker.expire_groups().await;
    clock.pass(retention - Duration::from_secs(1));
    broker.expire_groups().await;
    assert!(broker.group("g").is_some(), "it counts from now on");
    clock.pass(Duration::from_secs(2));
    broker.expire_groups().await;
    assert!(broker.group("g").is_none());
}
