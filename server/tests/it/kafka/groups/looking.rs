//! ListGroups, DescribeGroups and DeleteGroups.

use kafka_protocol::messages::{DeleteGroupsRequest, DescribeGroupsRequest, ListGroupsRequest};

use super::{
    super::client::{Client, start},
    Member, alone, assignment, commit_request, fetched, group, join_request, subscription, text,
};

fn describe(names: &[&str]) -> DescribeGroupsRequest {
    DescribeGroupsRequest::default().with_groups(names.iter().map(|name| group(name)).collect())
}

#[tokio::test]
async fn a_group_is_described_in_every_version() {
    let fixture = start().await;
    let member = alone(&fixture).await;
    let mut client = Client::connect(&fixture).await;
    for version in 0..=6 {
        let described = client.ask(version, &describe(&["g", "nothing"])).await;
        let found = &described.groups[0];
        assert_eq!((found.error_code, found.group_state.as_str()), (0, "Stable"));
        assert_eq!((found.protocol_type.as_str(), found.protocol_data.as_str()), ("consumer", "range"));
        let of = &found.members[0];
        assert_eq!((&of.member_id, of.client_id.as_str()), (&member.id, "test"));
        assert_eq!(of.client_host.as_str(), "/127.0.0.1");
        assert_eq!(of.member_metadata, subscription(&["t"]));
        assert_eq!(of.member_assignment, assignment("t", &[0]));
        let dead = &described.groups[1];
        assert_eq!(dead.group_state.as_str(), "Dead", "version {version}");
        assert_eq!(dead.error_code, if version >= 6 { 69 } else { 0 });
    }
    let twice = client.ask(5, &describe(&["g", "g"])).await;
    assert_eq!((twice.groups[0].error_code, twice.groups[1].error_code), (0, 42));
}

#[tokio::test]
async fn how_a_group_is_changes_with_its_members() {
    let fixture = start().await;
    let mut one = alone(&fixture).await;
    one.commit(1).await;
    let mut client = Client::connect(&fixture).await;
    let state = async |client: &mut Client| {
        client.ask(5, &describe(&["g"])).await.groups.remove(0).group_state.to_string()
    };
    assert_eq!(state(&mut client).await, "Stable");
    let mut two = Member::new(&fixture).await;
    let joining = two.begin_join().await;
    while state(&mut client).await != "PreparingRebalance" {}
    one.join().await;
    two.finish_join(joining).await;
    assert_eq!(state(&mut client).await, "CompletingRebalance");
    assert_eq!((one.leave().await, two.leave().await), (0, 0));
    assert_eq!(state(&mut client).await, "Empty");
}

#[tokio::test]
async fn groups_are_listed_by_state_and_kind() {
    let fixture = start().await;
    let _member = alone(&fixture).await;
    let mut client = Client::connect(&fixture).await;
    client.ask(9, &commit_request(&[(0, 1, "")]).with_group_id(group("empty"))).await;
    for version in 0..=5 {
        let listed = client.ask(version, &ListGroupsRequest::default()).await;
        let names: Vec<_> =
            listed.groups.iter().map(|of| (of.group_id.as_str(), of.protocol_type.as_str())).collect();
        assert_eq!(names, [("empty", "consumer"), ("g", "consumer")]);
        if version >= 4 {
            assert_eq!(listed.groups[1].group_state.as_str(), "Stable");
        }
        if version >= 5 {
            assert_eq!(listed.groups[1].group_type.as_str(), "Classic");
        }
    }
    let mut count = async |states: &[&str], types: &[&str]| {
        let states = states.iter().map(|of| text(of)).collect();
        let types = types.iter().map(|of| text(of)).collect();
        let request = ListGroupsRequest::default().with_states_filter(states).with_types_filter(types);
        client.ask(5, &request).await.groups.len()
    };
    assert_eq!(count(&["stable"], &[]).await, 1);
    assert_eq!(count(&["Stable", "Empty"], &["classic"]).await, 2);
    assert_eq!(count(&["Dead"], &[]).await, 0);
    assert_eq!(count(&[], &["consumer"]).await, 0);
}

#[tokio::test]
async fn a_group_is_deleted_once_it_has_no_members() {
    let fixture = start().await;
    let mut member = alone(&fixture).await;
    assert_eq!(member.commit(1).await, 0);
    let mut client = Client::connect(&fixture).await;
    let names = || vec![group("g"), group("nothing"), group("")];
    for version in 0..=2 {
        let request = DeleteGroupsRequest::default().with_groups_names(names());
        let deleted = client.ask(version, &request).await;
        let codes: Vec<_> = deleted.results.iter().map(|of| of.error_code).collect();
        assert_eq!(codes, [68, 69, 24]);
    }
    assert_eq!(member.leave().await, 0);
    let request = DeleteGroupsRequest::default().with_groups_names(vec![group("g")]);
    assert_eq!(client.ask(2, &request).await.results[0].error_code, 0);
    assert_eq!(fetched(&mut client, 7).await.committed_offset, -1);
    // A join needs no group to be there.
    assert_eq!(client.ask(9, &join_request("")).await.error_code, 79);
}
