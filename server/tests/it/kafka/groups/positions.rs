//! OffsetCommit, OffsetFetch and OffsetDelete.

use kafka_protocol::{
    messages::{
        OffsetDeleteRequest, OffsetFetchRequest,
        offset_delete_request::{OffsetDeleteRequestPartition, OffsetDeleteRequestTopic},
        offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics},
    },
    protocol::Request,
};

use crate::support::topic_dirs;

use super::{
    super::{
        client::{Client, name, start},
        stopped::serve,
    },
    alone, commit_request, fetched, group, topic,
};

#[tokio::test]
async fn a_simple_consumer_keeps_positions_here_in_every_version() {
    let fixture = start().await;
    topic(&fixture).await;
    let mut client = Client::connect(&fixture).await;
    for version in 2..=9 {
        let note = format!("note of version {version}, größe");
        let request = commit_request(&[(0, i64::from(version % 4), &note)]);
        assert_eq!(client.ask(version, &request).await.topics[0].partitions[0].error_code, 0);
        for fetch_version in 1..=7 {
            let found = fetched(&mut client, fetch_version).await;
            assert_eq!((found.error_code, found.committed_offset), (0, i64::from(version % 4)));
            assert_eq!(found.metadata.as_deref(), Some(&*note));
            assert_eq!(found.committed_leader_epoch, -1);
        }
    }
}

#[tokio::test]
async fn only_members_commit_while_there_are_any() {
    let fixture = start().await;
    let mut member = alone(&fixture).await;
    assert_eq!(member.commit(2).await, 0);
    let mut client = Client::connect(&fixture).await;
    let request = commit_request(&[(0, 1, "")]);
    assert_eq!(client.ask(9, &request).await.topics[0].partitions[0].error_code, 25);
    assert_eq!(fetched(&mut client, 7).await.committed_offset, 2);
    assert_eq!(member.leave().await, 0);
    assert_eq!(client.ask(9, &request).await.topics[0].partitions[0].error_code, 0);
    assert_eq!(fetched(&mut client, 7).await.committed_offset, 1);
}

#[tokio::test]
async fn what_cannot_be_stored_is_refused_by_itself() {
    let fixture = start().await;
    topic(&fixture).await;
    let mut client = Client::connect(&fixture).await;
    let long = "x".repeat(4097);
    let positions = [(0, 3, "the end"), (1, 0, ""), (-1, 0, "")];
    let codes = async |client: &mut Client, positions: &[(i32, i64, &str)]| -> Vec<i16> {
        let mut response = client.ask(9, &commit_request(positions)).await;
        response.topics.remove(0).partitions.iter().map(|partition| partition.error_code).collect()
    };
    assert_eq!(codes(&mut client, &positions).await, [0, 3, 3]);
    assert_eq!(fetched(&mut client, 7).await.metadata.as_deref(), Some("the end"));
    for (position, code) in [((0, 4, ""), 1), ((0, -1, ""), 1), ((0, 1, &*long), 12)] {
        assert_eq!(codes(&mut client, &[position]).await, [code]);
    }
    let mut other = commit_request(&[(0, 1, "")]);
    other.topics[0].name = name("demo topic");
    assert_eq!(client.ask(9, &other).await.topics[0].partitions[0].error_code, 17);
    let other = commit_request(&[(0, 1, "")]).with_group_id(group("a/b"));
    assert_eq!(client.ask(9, &other).await.topics[0].partitions[0].error_code, 24);
}

#[tokio::test]
async fn null_is_everything_that_is_stored() {
    let fixture = start().await;
    fixture.server.broker().create_topic("t", 3).await.unwrap();
    let mut client = Client::connect(&fixture).await;
    client.ask(9, &commit_request(&[(0, 0, "zero"), (2, 0, "two")])).await;
    for version in 2..=7 {
        let request = OffsetFetchRequest::default().with_group_id(group("g")).with_topics(None);
        let found = client.ask(version, &request).await;
        let partitions: Vec<_> = found.topics[0]
            .partitions
            .iter()
            .map(|of| (of.partition_index, of.metadata.as_deref().unwrap()))
            .collect();
        assert_eq!((found.error_code, partitions), (0, vec![(0, "zero"), (2, "two")]));
    }
}

#[tokio::test]
async fn what_is_not_there_has_no_position() {
    let fixture = start().await;
    let mut client = Client::connect(&fixture).await;
    for version in 1..=7 {
        let found = fetched(&mut client, version).await;
        assert_eq!((found.error_code, found.committed_offset), (0, -1));
        assert_eq!(found.metadata.as_deref(), Some(""));
    }
}

#[tokio::test]
async fn a_partition_without_its_log_keeps_its_position() {
    let root = tempfile::tempdir().unwrap();
    let (fixture, mut client) = serve(root.path()).await;
    topic(&fixture).await;
    let request = commit_request(&[(0, 2, "")]);
    assert_eq!(client.ask(9, &request).await.topics[0].partitions[0].error_code, 0);
    drop(client);
    fixture.stop().await;
    std::fs::remove_dir_all(&topic_dirs(root.path())[0]).unwrap();

    let (_fixture, mut client) = serve(root.path()).await;
    assert_eq!(client.list(7, "t", -1).await.error_code, 56);
    let found = fetched(&mut client, 7).await;
    assert_eq!(
        (found.error_code, found.committed_offset),
        (0, 2),
        "else its reader would begin elsewhere once it is mended"
    );
}

#[tokio::test]
async fn several_groups_are_asked_for_at_once() {
    let fixture = start().await;
    topic(&fixture).await;
    let mut client = Client::connect(&fixture).await;
    client.ask(9, &commit_request(&[(0, 2, "")])).await;
    let of = |name: &str| OffsetFetchRequestGroup::default().with_group_id(group(name)).with_topics(None);
    let topic = OffsetFetchRequestTopics::default().with_name(name("t")).with_partition_indexes(vec![1, 0]);
    for version in 8..=9 {
        let request = OffsetFetchRequest::default().with_require_stable(true).with_groups(vec![
            of("g").with_topics(Some(vec![topic.clone()])),
            of("nothing"),
            of("a/b"),
            // Once more is too much: it could make any reply out of a small request.
            of("g"),
        ]);
        let found = client.ask(version, &request).await;
        let codes: Vec<_> = found.groups.iter().map(|of| (of.group_id.as_str(), of.error_code)).collect();
        assert_eq!(codes, [("g", 0), ("nothing", 0), ("a/b", 24), ("g", 42)]);
        let offsets: Vec<_> = found.groups[0].topics[0]
            .partitions
            .iter()
            .map(|of| (of.partition_index, of.committed_offset))
            .collect();
        assert_eq!(offsets, [(1, -1), (0, 2)]);
        assert!(found.groups[1].topics.is_empty());
    }
}

/// As franz-go does it: whoever is a member of a classic group asks with its generation for an epoch.
#[tokio::test]
async fn a_classic_member_says_who_it_is_when_it_asks() {
    let fixture = start().await;
    let mut member = alone(&fixture).await;
    assert_eq!(member.commit(2).await, 0);
    let topic = OffsetFetchRequestTopics::default().with_name(name("t")).with_partition_indexes(vec![0]);
    let of = OffsetFetchRequestGroup::default()
        .with_group_id(group("g"))
        .with_member_id(Some(member.id.clone()))
        .with_member_epoch(member.generation)
        .with_topics(Some(vec![topic]));
    let found = member.client.ask(9, &OffsetFetchRequest::default().with_groups(vec![of])).await;
    assert_eq!(found.groups[0].error_code, 0);
    assert_eq!(found.groups[0].topics[0].partitions[0].committed_offset, 2);
}

#[tokio::test]
async fn positions_are_deleted_unless_their_topic_is_read() {
    assert_eq!(OffsetDeleteRequest::KEY, 47);
    let fixture = start().await;
    fixture.produce("u", &["a"]).await;
    let mut member = alone(&fixture).await;
    assert_eq!(member.commit(2).await, 0);
    let of = |topic: &str| {
        let partition = OffsetDeleteRequestPartition::default().with_partition_index(0);
        OffsetDeleteRequestTopic::default().with_name(name(topic)).with_partitions(vec![partition])
    };
    let delete = |name: &str| {
        let topics = vec![of("t"), of("u"), of("nothing")];
        OffsetDeleteRequest::default().with_group_id(group(name)).with_topics(topics)
    };
    let codes = async |client: &mut Client, name: &str| -> (i16, Vec<i16>) {
        let deleted = client.ask(0, &delete(name)).await;
        (deleted.error_code, deleted.topics.iter().map(|topic| topic.partitions[0].error_code).collect())
    };
    let mut client = Client::connect(&fixture).await;
    assert_eq!(codes(&mut client, "g").await, (0, vec![86, 0, 3]));
    assert_eq!(codes(&mut client, "nothing").await, (69, vec![]));
    assert_eq!(member.leave().await, 0);
    assert_eq!(codes(&mut client, "g").await, (0, vec![0, 0, 3]));
    assert_eq!(fetched(&mut client, 7).await.committed_offset, -1);
}
