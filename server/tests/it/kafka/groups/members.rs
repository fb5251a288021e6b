//! Members that join, read, go and vanish.

use kafka_protocol::messages::{
    HeartbeatRequest, JoinGroupRequest, LeaveGroupRequest, MetadataRequest,
    leave_group_request::MemberIdentity,
};

use super::{
    super::client::{Client, start},
    Member, alone, assignment, group, join_request, protocol, subscription, text, topic,
};
use crate::support::soon;

#[tokio::test]
async fn a_member_joins_in_every_version() {
    let fixture = start().await;
    topic(&fixture).await;
    for version in 0..=9 {
        let mut client = Client::connect(&fixture).await;
        let mut request = join_request("");
        if version == 0 {
            request.rebalance_timeout_ms = -1;
        }
        let mut joined = client.ask(version, &request).await;
        assert_eq!(joined.error_code, if version >= 4 { 79 } else { 0 }, "version {version}");
        if version >= 4 {
            joined = client.ask(version, &request.with_member_id(joined.member_id)).await;
        }
        assert_eq!(joined.error_code, 0);
        assert_eq!((joined.leader.clone(), joined.members.len()), (joined.member_id.clone(), 1));
        assert_eq!(joined.members[0].metadata, subscription(&["t"]));
        assert_eq!(joined.protocol_name.as_deref(), Some("range"));
        assert_eq!(joined.protocol_type.as_deref(), (version >= 7).then_some("consumer"));
        let leave = LeaveGroupRequest::default().with_group_id(group("g")).with_member_id(joined.member_id);
        assert_eq!(client.ask(1, &leave).await.error_code, 0);
    }
}

#[tokio::test]
async fn a_followers_sync_waits_for_that_of_the_leader() {
    let fixture = start().await;
    let (mut one, mut two) = (alone(&fixture).await, Member::new(&fixture).await);
    let joining = two.begin_join().await;
    while one.heartbeat().await != 27 {}
    let led = one.join().await;
    let followed = two.finish_join(joining).await;
    assert_eq!((led.members.len(), followed.members.len()), (2, 0));
    assert_eq!((&led.leader, &followed.leader), (&one.id, &one.id));
    assert_eq!(led.generation_id, followed.generation_id);
    let syncing = two.begin_sync(&[]).await;
    let ids = (one.id.clone(), two.id.clone());
    let assignments = [(&*ids.0, assignment("t", &[])), (&*ids.1, assignment("t", &[0]))];
    assert_eq!(one.sync(&assignments).await.assignment, assignment("t", &[]));
    let synced = two.finish_sync(syncing).await;
    assert_eq!((synced.error_code, synced.assignment), (0, assignment("t", &[0])));
    assert_eq!(synced.protocol_name.as_deref(), Some("range"));
    assert_eq!((one.heartbeat().await, two.heartbeat().await), (0, 0));
}

#[tokio::test]
async fn what_is_said_in_an_older_generation_or_by_nobody_is_refused() {
    let fixture = start().await;
    let mut member = alone(&fixture).await;
    member.generation -= 1;
    assert_eq!((member.heartbeat().await, member.commit(1).await), (22, 22));
    assert_eq!(member.sync(&[]).await.error_code, 22);
    member.id = text("somebody");
    assert_eq!((member.heartbeat().await, member.commit(1).await), (25, 25));
    assert_eq!(member.sync(&[]).await.error_code, 25);
    assert_eq!(member.client.ask(9, &join_request("somebody")).await.error_code, 25);
    assert_eq!(member.leave().await, 25);
}

#[tokio::test]
async fn while_a_join_waits_other_connections_are_answered_and_the_own_one_in_order() {
    let fixture = start().await;
    let (mut one, mut two) = (alone(&fixture).await, Member::new(&fixture).await);
    let joining = two.begin_join().await;
    let behind = two.client.send(1, &MetadataRequest::default().with_topics(None)).await;
    while one.heartbeat().await != 27 {}
    one.join().await;
    two.finish_join(joining).await;
    two.client.reply::<MetadataRequest>(1, behind).await;
}

#[tokio::test]
async fn a_client_that_vanishes_while_it_waits_leaves_nothing_behind_but_its_place() {
    let fixture = start().await;
    let (mut one, mut two) = (alone(&fixture).await, Member::new(&fixture).await);
    two.begin_join().await;
    while one.heartbeat().await != 27 {}
    let Member { client, .. } = two;
    drop(client);
    let connections = || async {
        let found = crate::observe::scrape(&fixture.server).await;
        found["minikafka_kafka_connections"]
    };
    soon(async { while connections().await > 1.0 {} }).await;
    assert_eq!(one.join().await.members.len(), 2, "a disconnect removes no member");
}

#[tokio::test]
async fn a_stop_answers_who_waits() {
    let fixture = start().await;
    let (mut one, mut two) = (alone(&fixture).await, Member::new(&fixture).await);
    let joining = two.begin_join().await;
    while one.heartbeat().await != 27 {}
    drop(one);
    soon(fixture.stop()).await;
    let joined = two.client.reply::<JoinGroupRequest>(9, joining.0).await;
    assert_eq!(joined.error_code, 15);
    assert_eq!(two.client.frame().await, None);
}

#[tokio::test]
async fn members_leave_several_at_once_each_with_a_code_of_its_own() {
    let fixture = start().await;
    let mut member = alone(&fixture).await;
    let of = |id: &str| MemberIdentity::default().with_member_id(text(id));
    for version in 3..=5 {
        let request = LeaveGroupRequest::default()
            .with_group_id(group("g"))
            .with_members(vec![of("nobody"), of(&member.id)]);
        let left = member.client.ask(version, &request).await;
        let codes: Vec<_> = left.members.iter().map(|of| of.error_code).collect();
        // The second time it is gone already.
        assert_eq!((left.error_code, codes), (0, vec![25, if version == 3 { 0 } else { 25 }]));
    }
    assert_eq!(member.heartbeat().await, 25);
}

#[tokio::test]
async fn a_silent_member_is_gone() {
    let fixture = start().await;
    topic(&fixture).await;
    let mut client = Client::connect(&fixture).await;
    let request = join_request("").with_session_timeout_ms(1_000);
    let joined = client.ask(3, &request).await;
    assert_eq!(joined.error_code, 0);
    let heartbeat = HeartbeatRequest::default()
        .with_group_id(group("g"))
        .with_member_id(joined.member_id)
        .with_generation_id(joined.generation_id);
    assert_eq!(client.ask(1, &heartbeat).await.error_code, 0);
    // Its connection is open all the time, which counts for nothing.
    soon(async {
        while fixture.server.broker().group("g").is_some() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(client.ask(1, &heartbeat).await.error_code, 25);
}

#[tokio::test]
async fn who_does_not_join_again_is_gone_after_the_rebalance_timeout_although_its_session_lasts() {
    let fixture = start().await;
    topic(&fixture).await;
    let (mut one, mut two) = (Member::new(&fixture).await, Member::new(&fixture).await);
    // The session timeout is a minute, longer than any test waits.
    let request = |member: &Member| join_request(&member.id).with_rebalance_timeout_ms(1_000);
    let joined = one.client.ask(9, &request(&one)).await;
    assert_eq!(joined.error_code, 0);
    one.generation = joined.generation_id;
    assert_eq!(one.sync(&[]).await.error_code, 0);
    let joining = two.client.send(9, &request(&two)).await;
    soon(async { while one.heartbeat().await != 27 {} }).await;
    let joined = two.client.reply::<JoinGroupRequest>(9, joining).await;
    assert_eq!((joined.error_code, joined.members.len()), (0, 1));
    assert_eq!((&joined.leader, one.heartbeat().await), (&two.id, 25));
}

#[tokio::test]
async fn timeouts_names_and_protocols_that_cannot_be_are_refused() {
    let fixture = start().await;
    let mut member = alone(&fixture).await;
    let mut code = async |request: JoinGroupRequest| member.client.ask(9, &request).await.error_code;
    for timeout in [-1, 0, 999, 1_800_001, i32::MAX] {
        assert_eq!(code(join_request("").with_session_timeout_ms(timeout)).await, 26);
    }
    assert_eq!(code(join_request("").with_group_id(group(""))).await, 24);
    assert_eq!(code(join_request("").with_group_id(group("a/b"))).await, 24);
    let sticky = vec![protocol("sticky", subscription(&["t"]))];
    assert_eq!(code(join_request("").with_protocols(sticky)).await, 23);
    assert_eq!(code(join_request("").with_protocols(Vec::new())).await, 23);
    assert_eq!(code(join_request("").with_protocol_type(text("connect"))).await, 23);
    assert_eq!(member.heartbeat().await, 0, "and nobody notices");
}

#[tokio::test]
async fn members_of_any_other_kind_are_welcome() {
    let fixture = start().await;
    let mut client = Client::connect(&fixture).await;
    let request = join_request("")
        .with_protocol_type(text("connect"))
        .with_protocols(vec![protocol("x", "any".into())]);
    let joined = client.ask(2, &request).await;
    assert_eq!((joined.error_code, &*joined.members[0].metadata), (0, &b"any"[..]));
}
