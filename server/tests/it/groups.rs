//! Consumer groups, as raw gRPC clients see them.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use minikafka_broker::BrokerConfig;
use minikafka_proto::v1::{
    Anchor, Assignment, CommitPositionsRequest, CreateTopicRequest, DeleteGroupRequest, DescribeGroupRequest,
    FetchPositionsRequest, GroupState, Heartbeat, JoinGroup, LeaveGroup, ListGroupsRequest,
    PartitionPosition, SeekGroupRequest, SubscribeTopics, join_request::Message,
    join_response::Message as Reply,
};
use minikafka_server::Server;
use prost::Message as _;
use tokio::sync::mpsc;
use tonic::Code;

use crate::{
    group_member::{Member, begin, client, create, hello, join, owned, try_join},
    support::{Fixture, Hands, anchor, soon, why},
};

fn position(topic: &str, partition: u32, number: u64) -> PartitionPosition {
    PartitionPosition { topic: topic.into(), partition, number, ..PartitionPosition::default() }
}

fn commit(member: Option<(&str, u64)>, positions: Vec<PartitionPosition>) -> CommitPositionsRequest {
    let (member_id, member_epoch) = member.unwrap_or_default();
    CommitPositionsRequest { group: "g".into(), member_id: member_id.to_owned(), member_epoch, positions }
}

fn describe() -> DescribeGroupRequest {
    DescribeGroupRequest { group: "g".into(), ..DescribeGroupRequest::default() }
}

#[tokio::test]
async fn members_share_partitions_and_go_on_where_others_committed() {
    let fixture = Fixture::memory().await;
    let mut groups = client(&fixture);
    for topic in ["a", "b"] {
        fixture.produce(topic, &["x", "y", "z"]).await;
    }
    let mut one = join(&fixture, &["a", "b"]).await;
    assert_eq!((one.joined.member_epoch, one.joined.heartbeat_interval_ms), (1, 15_000));
    let all = one.settle(2).await;
    assert_eq!(all.partitions[0].position, None);
    one.say(Message::Heartbeat(Heartbeat {}));
    assert!(matches!(one.next().await, Ok(Some(Reply::Heartbeat(_)))));
    let mut two = join(&fixture, &["a", "b"]).await;
    assert!(two.assignment().await.partitions.is_empty());
    let less = one.assignment().await;
    let gives = owned(&all).into_iter().find(|of| !owned(&less).contains(of)).unwrap();
    let id = one.joined.member_id.clone();
    let mine = |epoch| Some((id.as_str(), epoch));
    let marked = PartitionPosition { metadata: "mark".into(), ..position(&gives.topic, 0, 3) };
    groups.commit_positions(commit(mine(all.member_epoch), vec![marked])).await.unwrap();
    one.obey(&less);
    let taken = two.assignment().await;
    assert_eq!((taken.partitions[0].topic.as_str(), taken.partitions[0].position), (&*gives.topic, Some(3)));
    for (epoch, reason) in [(all.member_epoch, "STALE_MEMBER_EPOCH"), (less.member_epoch, "NOT_OWNER")] {
        let late = commit(mine(epoch), vec![position(&gives.topic, 0, 1)]);
        let status = groups.commit_positions(late).await.expect_err("it is not the owner");
        assert_eq!(why(&status), (Code::FailedPrecondition, reason.to_owned()));
    }
    let described = groups.describe_group(describe()).await.unwrap().into_inner();
    assert_eq!((described.state, described.members.len()), (GroupState::Stable.into(), 2));
    assert!(described.members.iter().all(|member| member.client_address.starts_with("127.0.0.1:")));
    let lag = described.positions.iter().find(|position| position.topic == gives.topic).unwrap();
    assert_eq!((lag.number, lag.end_number, lag.lag_messages), (Some(3), 4, 1));
    assert_eq!((lag.metadata.as_str(), &lag.member_id), ("mark", &two.joined.member_id));
    let other = described.positions.iter().find(|position| position.topic != gives.topic).unwrap();
    assert_eq!((other.number, other.lag_messages, &other.member_id), (None, 3, &id), "it has read none yet");
    let fetch = FetchPositionsRequest { group: "g".into(), ..FetchPositionsRequest::default() };
    let fetched = groups.fetch_positions(fetch).await.unwrap().into_inner().positions;
    assert_eq!((fetched.len(), fetched[0].number), (1, 3));
    assert!(fetched[0].commit_time_ms > 0);
    one.say(Message::Leave(LeaveGroup {}));
    assert!(matches!(one.next().await, Ok(None)), "it ends with OK");
    two.settle(2).await;
}

#[tokio::test]
async fn a_member_comes_back_to_what_it_had_also_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let fixture = Fixture::start(Server::builder().filesystem(dir.path())).await;
    create(&fixture, &["a", "b"]).await;
    let mut one = join(&fixture, &["a", "b"]).await;
    let had = one.settle(2).await;
    let back = |has: &Assignment, member: &Member| JoinGroup {
        member_id: member.joined.member_id.clone(),
        member_epoch: has.member_epoch,
        owned: owned(has),
        ..hello(&["a", "b"])
    };
    let again = back(&had, &one);
    drop(one);
    let mut one = try_join(&fixture, again.clone()).await.unwrap();
    assert_eq!(one.assignment().await, had);
    let mut twin = try_join(&fixture, again.clone()).await.unwrap();
    assert_eq!(why(&one.end().await), (Code::FailedPrecondition, "MEMBER_FENCED".to_owned()));
    assert_eq!(twin.assignment().await, had);
    drop((one, twin));
    fixture.stop().await;
    let fixture = Fixture::start(Server::builder().filesystem(dir.path())).await;
    let mut two = join(&fixture, &["a", "b"]).await;
    assert!(two.assignment().await.partitions.is_empty(), "the other one may come back");
    let mut one = try_join(&fixture, again).await.unwrap();
    let less = one.settle(1).await;
    let taken = two.settle(1).await;
    assert_ne!(owned(&less), owned(&taken));
    drop((one, two));
    fixture.stop().await;
}

#[tokio::test]
async fn who_is_silent_is_gone_and_who_names_itself_keeps_its_place() {
    let hands = Hands::default();
    let config = BrokerConfig { clock: Arc::new(hands.clone()), ..BrokerConfig::default() };
    let fixture = Fixture::start(Server::builder().memory().broker(config)).await;
    create(&fixture, &["a", "b"]).await;
    let named = JoinGroup { instance_id: "one".into(), session_timeout_ms: 10_000, ..hello(&["a", "b"]) };
    let mut one = try_join(&fixture, named.clone()).await.unwrap();
    one.settle(2).await;
    let status = try_join(&fixture, named.clone()).await.err().expect("it is in use");
    assert_eq!(why(&status), (Code::AlreadyExists, "INSTANCE_IN_USE".to_owned()));
    let mut two = join(&fixture, &["a", "b"]).await;
    one.settle(1).await;
    two.settle(1).await;
    hands.pass(Duration::from_millis(10_001));
    two.say(Message::Heartbeat(Heartbeat {}));
    assert!(matches!(two.next().await, Ok(Some(Reply::Heartbeat(_)))));
    fixture.server.broker().expire_groups().await;
    assert_eq!(why(&one.end().await), (Code::NotFound, "UNKNOWN_MEMBER".to_owned()));
    two.settle(2).await;
}

#[tokio::test]
async fn bad_input_is_refused_with_the_reason() {
    let fixture = Fixture::memory().await;
    let mut groups = client(&fixture);
    fixture.produce("a", &["x"]).await;
    for (join, reason) in [
        (JoinGroup { group: String::new(), ..hello(&["a"]) }, "INVALID_GROUP_NAME"),
        (JoinGroup { session_timeout_ms: 999, ..hello(&["a"]) }, "INVALID_REQUEST"),
        (JoinGroup { rebalance_timeout_ms: u32::MAX, ..hello(&["a"]) }, "INVALID_REQUEST"),
        (JoinGroup { member_id: "nobody".into(), ..hello(&["a"]) }, "UNKNOWN_MEMBER"),
        (hello(&["../a"]), "INVALID_TOPIC_NAME"),
    ] {
        let status = try_join(&fixture, join).await.err().expect(reason);
        assert_eq!(why(&status).1, reason);
    }
    for first in [Message::Heartbeat(Heartbeat {}), Message::Leave(LeaveGroup {})] {
        let (_says, mut replies) = begin(&fixture, first).await;
        let status = soon(replies.message()).await.expect_err("it has not joined");
        assert_eq!(why(&status), (Code::InvalidArgument, "INVALID_REQUEST".to_owned()));
    }
    let long = PartitionPosition { metadata: "x".repeat(5000), ..position("a", 0, 1) };
    for (request, code, reason) in [
        (commit(Some(("m", 1)), vec![position("a", 0, 1)]), Code::NotFound, "GROUP_NOT_FOUND"),
        (commit(None, vec![position("a", 0, 0)]), Code::InvalidArgument, "POSITION_OUT_OF_RANGE"),
        (commit(None, vec![position("a", 0, 3)]), Code::InvalidArgument, "POSITION_OUT_OF_RANGE"),
        (commit(None, vec![position("a", 0, u64::MAX)]), Code::InvalidArgument, "POSITION_OUT_OF_RANGE"),
        (commit(None, vec![position("a", 7, 1)]), Code::NotFound, "PARTITION_NOT_FOUND"),
        (commit(None, vec![position("b", 0, 1)]), Code::NotFound, "TOPIC_NOT_FOUND"),
        (commit(None, vec![long]), Code::InvalidArgument, "METADATA_TOO_LARGE"),
    ] {
        let status = groups.commit_positions(request).await.expect_err(reason);
        assert_eq!(why(&status), (code, reason.to_owned()));
    }
    for status in [
        groups.describe_group(describe()).await.map(drop).expect_err("no group"),
        groups.delete_group(DeleteGroupRequest { group: "g".into() }).await.map(drop).expect_err("no group"),
        groups
            .fetch_positions(FetchPositionsRequest { group: "g".into(), ..FetchPositionsRequest::default() })
            .await
            .map(drop)
            .expect_err("no group"),
    ] {
        assert_eq!(why(&status), (Code::NotFound, "GROUP_NOT_FOUND".to_owned()));
    }
    let mut member = join(&fixture, &["a"]).await;
    let has = member.settle(1).await;
    let id = member.joined.member_id.clone();
    let fenced = commit(Some((&id, has.member_epoch + 1)), vec![position("a", 0, 1)]);
    let status = groups.commit_positions(fenced).await.expect_err("that epoch was never given");
    assert_eq!(why(&status), (Code::FailedPrecondition, "MEMBER_FENCED".to_owned()));
    let status = groups.commit_positions(commit(None, vec![position("a", 0, 1)])).await.expect_err("members");
    assert_eq!(why(&status), (Code::FailedPrecondition, "GROUP_NOT_EMPTY".to_owned()));
    member.say(Message::Subscribe(SubscribeTopics { topics: vec!["/".into()] }));
    assert_eq!(why(&member.end().await).1, "INVALID_TOPIC_NAME");
}

#[tokio::test]
async fn a_group_is_listed_moved_and_deleted() {
    let fixture = Fixture::memory().await;
    let mut groups = client(&fixture);
    fixture.produce("a", &["x", "y", "z"]).await;
    let seek = |to, dry_run| SeekGroupRequest {
        group: "g".into(),
        topics: vec!["a".into()],
        partitions: vec![],
        to,
        dry_run,
    };
    let status = groups.seek_group(seek(None, false)).await.expect_err("where to");
    assert_eq!(why(&status), (Code::InvalidArgument, "INVALID_REQUEST".to_owned()));
    for (to, dry_run, from, wanted) in [
        (crate::support::number(2), true, None, 2),
        (crate::support::number(2), false, None, 2),
        (anchor(Anchor::Latest), false, Some(2), 4),
        (crate::support::number(99), false, Some(4), 4),
        (anchor(Anchor::Earliest), false, Some(4), 1),
    ] {
        let sought = groups.seek_group(seek(to, dry_run)).await.unwrap().into_inner().positions;
        assert_eq!((sought[0].from, sought[0].to), (from, wanted));
    }
    let listed = groups.list_groups(ListGroupsRequest::default()).await.unwrap().into_inner().groups;
    assert_eq!((listed.len(), listed[0].name.as_str(), listed[0].state), (1, "g", GroupState::Empty.into()));
    groups.delete_group(DeleteGroupRequest { group: "g".into() }).await.unwrap();
    assert!(groups.list_groups(ListGroupsRequest::default()).await.unwrap().into_inner().groups.is_empty());
}

#[tokio::test]
async fn a_stop_tells_members_to_come_back() {
    let fixture = Fixture::memory().await;
    let mut member = join(&fixture, &["a"]).await;
    let Fixture { server, .. } = fixture;
    let stopped = tokio::spawn(server.stop());
    assert_eq!(why(&member.end().await), (Code::Unavailable, "STOPPING".to_owned()));
    soon(stopped).await.unwrap().unwrap();
}

#[tokio::test]
async fn ten_members_settle_on_900_partitions() {
    let fixture = Fixture::memory().await;
    let topics: Vec<String> = (0..900).map(|topic| format!("t{topic}")).collect();
    let topics: Vec<&str> = topics.iter().map(String::as_str).collect();
    create(&fixture, &topics).await;
    let begin = std::time::Instant::now();
    let (tell, mut told) = mpsc::unbounded_channel();
    for number in 0..10 {
        let (mut member, tell) = (join(&fixture, &topics).await, tell.clone());
        tokio::spawn(async move {
            while let Ok(Some(Reply::Assignment(assignment))) = member.next().await {
                member.obey(&assignment);
                if tell.send((number, owned(&assignment))).is_err() {
                    return;
                }
            }
        });
    }
    let mut has = vec![Vec::new(); 10];
    while has.iter().any(|has| has.len() != 90) {
        let (number, partitions) = soon(told.recv()).await.unwrap();
        has[number] = partitions;
    }
    println!("ten members settled on 900 partitions in {:?}", begin.elapsed());
    let seen: BTreeSet<(String, u32)> =
        has.into_iter().flatten().map(|of| (of.topic, of.partition)).collect();
    assert_eq!(seen.len(), 900);
    // Far more than it takes, so that a busy machine fails nothing.
    assert!(begin.elapsed() < Duration::from_secs(30));
}

#[tokio::test]
async fn what_a_member_says_may_be_large_time_after_time() {
    let fixture = Fixture::memory().await;
    let topics: Vec<String> = (0..200).map(|topic| format!("{topic:03}{}", "x".repeat(200))).collect();
    let topics: Vec<&str> = topics.iter().map(String::as_str).collect();
    create(&fixture, &topics).await;
    // Each of these is beyond what needs no permit.
    let mut member = join(&fixture, &topics).await;
    let all = member.settle(200).await;
    member.say(Message::Subscribe(SubscribeTopics {
        topics: topics[1..].iter().map(|topic| topic.to_string()).collect(),
    }));
    let less = member.settle(199).await;
    member.say(Message::Heartbeat(Heartbeat {}));
    assert!(matches!(member.next().await, Ok(Some(Reply::Heartbeat(_)))));
    assert!(all.encoded_len() > 40_000 && less.encoded_len() > 40_000);
}

#[tokio::test]
async fn long_replies_come_in_pages_that_a_default_client_takes() {
    const PARTITIONS: u32 = 1_000;
    let fixture = Fixture::memory().await;
    let mut groups = client(&fixture);
    let topic =
        CreateTopicRequest { topic: "t".into(), partitions: PARTITIONS, ..CreateTopicRequest::default() };
    fixture.v1.clone().create_topic(topic).await.unwrap();
    // 4 MiB of metadata.
    for begin in (0..PARTITIONS).step_by(100) {
        let marked =
            |partition| PartitionPosition { metadata: "x".repeat(4096), ..position("t", partition, 1) };
        groups.commit_positions(commit(None, (begin..begin + 100).map(marked).collect())).await.unwrap();
    }
    let _one = join(&fixture, &["t"]).await;
    let _two = join(&fixture, &["t"]).await;
    for page_size in [0, 300] {
        let mut fetch =
            FetchPositionsRequest { group: "g".into(), page_size, ..FetchPositionsRequest::default() };
        let (mut fetched, mut pages) = (Vec::new(), 0);
        while pages == 0 || !fetch.page_token.is_empty() {
            let page = groups.fetch_positions(fetch.clone()).await.unwrap().into_inner();
            fetched.extend(page.positions.iter().map(|position| position.partition));
            (fetch.page_token, pages) = (page.next_page_token, pages + 1);
        }
        assert_eq!(fetched, (0..PARTITIONS).collect::<Vec<_>>());
        assert!(pages > 1, "{pages}");
        let mut describe = DescribeGroupRequest { page_size, ..describe() };
        let (mut members, mut described, mut pages) = (0, Vec::new(), 0);
        while pages == 0 || !describe.page_token.is_empty() {
            let page = groups.describe_group(describe.clone()).await.unwrap().into_inner();
            members += page.members.len();
            described.extend(page.positions.iter().map(|position| position.partition));
            (describe.page_token, pages) = (page.next_page_token, pages + 1);
        }
        assert_eq!((members, described), (2, (0..PARTITIONS).collect::<Vec<_>>()));
        assert!(pages > 1, "{pages}");
    }
    for token in ["x", "member", "position 1", "position x/t"] {
        let describe = DescribeGroupRequest { page_token: token.into(), ..describe() };
        let status = groups.describe_group(describe).await.expect_err("no such page");
        assert_eq!(why(&status), (Code::InvalidArgument, "INVALID_REQUEST".to_owned()), "{token}");
    }
}
