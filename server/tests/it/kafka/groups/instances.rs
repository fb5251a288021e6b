//! Static members: those with a name for good.

use kafka_protocol::messages::{
    HeartbeatRequest, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest, SyncGroupRequest,
    leave_group_request::MemberIdentity, sync_group_request::SyncGroupRequestAssignment,
};

use super::{
    super::client::{Client, start},
    assignment, group, join_request, protocol, subscription, text, topic,
};

fn request() -> JoinGroupRequest {
    join_request("").with_group_instance_id(Some(text("i")))
}

async fn sync(client: &mut Client, joined: &JoinGroupResponse, assigns: bool) -> bytes::Bytes {
    let assignment = SyncGroupRequestAssignment::default()
        .with_member_id(joined.member_id.clone())
        .with_assignment(assignment("t", &[0]));
    let request = SyncGroupRequest::default()
        .with_group_id(group("g"))
        .with_member_id(joined.member_id.clone())
        .with_group_instance_id(Some(text("i")))
        .with_generation_id(joined.generation_id)
        .with_assignments(if assigns { vec![assignment] } else { Vec::new() });
    let synced = client.ask(5, &request).await;
    assert_eq!(synced.error_code, 0);
    synced.assignment
}

fn heartbeat(joined: &JoinGroupResponse) -> HeartbeatRequest {
    HeartbeatRequest::default()
        .with_group_id(group("g"))
        .with_member_id(joined.member_id.clone())
        .with_group_instance_id(Some(text("i")))
        .with_generation_id(joined.generation_id)
}

#[tokio::test]
async fn a_process_that_comes_back_keeps_the_assignment_and_the_old_one_is_fenced() {
    let fixture = start().await;
    topic(&fixture).await;
    let mut client = Client::connect(&fixture).await;
    let first = client.ask(9, &request()).await;
    assert_eq!(first.error_code, 0, "it needs no name first");
    sync(&mut client, &first, true).await;

    let mut other = Client::connect(&fixture).await;
    let second = other.ask(9, &request()).await;
    assert_eq!((second.error_code, second.generation_id), (0, first.generation_id));
    assert!(second.skip_assignment, "it leads, and is to leave the assignment as it is");
    assert_eq!((&second.leader, second.members.len()), (&second.member_id, 1));
    assert_ne!(second.member_id, first.member_id);
    assert_eq!(sync(&mut other, &second, false).await, assignment("t", &[0]));
    assert_eq!(other.ask(4, &heartbeat(&second)).await.error_code, 0);
    assert_eq!(client.ask(4, &heartbeat(&first)).await.error_code, 82);
    let rejoin = request().with_member_id(first.member_id.clone());
    assert_eq!(client.ask(9, &rejoin).await.error_code, 82);

    // A client that knows nothing of that believes that another one leads.
    let third = client.ask(8, &request()).await;
    assert_eq!((third.error_code, &third.leader, third.members.len()), (0, &second.member_id, 0));
    assert_eq!(sync(&mut client, &third, false).await, assignment("t", &[0]));
}

#[tokio::test]
async fn one_that_wants_something_else_begins_a_generation() {
    let fixture = start().await;
    let mut client = Client::connect(&fixture).await;
    let first = client.ask(9, &request()).await;
    sync(&mut client, &first, true).await;
    let other = request().with_protocols(vec![protocol("range", subscription(&["t", "u"]))]);
    let second = client.ask(9, &other).await;
    assert_eq!((second.generation_id, second.skip_assignment), (first.generation_id + 1, false));
}

#[tokio::test]
async fn an_instance_is_sent_away_by_its_name() {
    let fixture = start().await;
    let mut client = Client::connect(&fixture).await;
    let joined = client.ask(9, &request()).await;
    let leave = |name: &str| {
        let member = MemberIdentity::default().with_group_instance_id(Some(text(name)));
        LeaveGroupRequest::default().with_group_id(group("g")).with_members(vec![member])
    };
    assert_eq!(client.ask(3, &leave("j")).await.members[0].error_code, 25);
    let left = client.ask(3, &leave("i")).await;
    assert_eq!(left.members[0].error_code, 0);
    assert_eq!(left.members[0].group_instance_id.as_deref(), Some("i"));
    assert_eq!(client.ask(4, &heartbeat(&joined)).await.error_code, 25);
}
