//! Positions of members of the newer protocol, and those that come back: after a restart, and under a name for good.

use std::time::Duration;

use kafka_protocol::messages::{
    ConsumerGroupDescribeRequest, DescribeConfigsRequest, DescribeGroupsRequest, ListConfigResourcesRequest,
    ListGroupsRequest, OffsetFetchRequest,
    describe_configs_request::DescribeConfigsResource,
    offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics},
};
use minikafka_broker::GroupJoin;
use minikafka_server::Server;

use super::{
    super::client::{Client, name, start, start_with},
    Member,
    consumer::{Consumer, beat, four, join_of, owned, with_hands},
    group, text,
};
use crate::support::{Fixture, soon};

/// What a member of group "g" is told of the position of partition 0: a code, and the offset.
async fn position(consumer: &mut Consumer, epoch: i32, partition: i32) -> (i16, i64) {
    let topic =
        OffsetFetchRequestTopics::default().with_name(name("t")).with_partition_indexes(vec![partition]);
    let of = OffsetFetchRequestGroup::default()
        .with_group_id(group("g"))
        .with_member_id(Some(text(&consumer.id)))
        .with_member_epoch(epoch)
        .with_topics(Some(vec![topic]));
    let request = OffsetFetchRequest::default().with_groups(vec![of]);
    let found = consumer.client.ask(9, &request).await.groups.remove(0);
    (found.error_code, found.topics[0].partitions[0].committed_offset)
}

/// Topic "t" of four partitions with a message in each.
async fn filled(fixture: &Fixture) {
    four(fixture).await;
    let mut client = Client::connect(fixture).await;
    for partition in 0..4 {
        let batch = super::super::client::batch(&["a"]);
        let request = super::super::client::produce("t", partition, super::super::client::ALL, batch);
        assert_eq!(client.ask(9, &request).await.responses[0].partition_responses[0].error_code, 0);
    }
}

#[tokio::test]
async fn only_the_owner_commits_and_with_an_epoch_that_it_has() {
    let fixture = start().await;
    filled(&fixture).await;
    let mut one = Consumer::joined(&fixture, "one").await;
    let first = one.epoch;
    assert_eq!(one.commit(0, 1, first).await, 0);
    assert_eq!(position(&mut one, first, 0).await, (0, 1));
    assert_eq!(one.commit(0, 1, first + 1).await, 113, "an epoch that it never had");
    assert_eq!(position(&mut one, first + 1, 0).await, (113, -1));
    assert_eq!(position(&mut one, -1, 0).await, (0, 1), "who only looks has none");
    let mut two = Consumer::joined(&fixture, "two").await;
    assert_eq!(two.commit(0, 1, two.epoch).await, 25, "another one has it");
    one.live(&fixture).await;
    let (kept, given) = (one.numbers()[0], (0..4).find(|number| !one.numbers().contains(number)).unwrap());
    // What it is to give up it may commit until it has.
    assert_eq!(one.commit(given, 1, one.epoch).await, 0);
    assert_eq!(one.commit(given, 0, first).await, 0, "also under the epoch in which it had it before");
    one.confirm(&fixture).await;
    two.live(&fixture).await;
    assert_eq!(one.commit(given, 1, first).await, 113);
    assert_eq!(one.commit(given, 1, one.epoch).await, 25);
    assert_eq!(one.commit(kept, 1, first).await, 0);
    assert_eq!(position(&mut one, first, given).await.0, 113);
    assert_eq!(position(&mut one, first, kept).await, (0, 1));
    assert_eq!(two.commit(given, 1, two.epoch).await, 0);
    let mut nobody = Consumer::new(&fixture, "nobody").await;
    assert_eq!(nobody.commit(0, 1, 1).await, 25);
    assert_eq!(position(&mut nobody, 1, 0).await, (25, -1));
    assert_eq!(nobody.commit(0, 1, -1).await, 25, "the group has members");
    one.leave(&fixture, -1).await;
    two.leave(&fixture, -1).await;
    assert_eq!(nobody.commit(0, 0, -1).await, 0);
}

#[tokio::test]
async fn members_go_on_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let fixture = start_with(Server::builder().filesystem(directory.path())).await;
    filled(&fixture).await;
    let mut one = Consumer::new(&fixture, "one").await;
    let mut join = join_of("one", &["t"]);
    join.subscribed_topic_regex = Some(text("more.*"));
    one.say(&fixture, join).await;
    let mut two = Consumer::joined(&fixture, "two").await;
    one.live(&fixture).await;
    assert_eq!(one.commit(one.numbers()[0], 1, one.epoch).await, 0);
    let (epoch, numbers) = (one.epoch, one.numbers());
    soon(fixture.stop()).await;

    let fixture = start_with(Server::builder().filesystem(directory.path())).await;
    one.client = Client::connect(&fixture).await;
    two.client = Client::connect(&fixture).await;
    let lives = one.live(&fixture).await;
    assert_eq!((lives.error_code, lives.member_epoch, lives.assignment), (0, epoch, None));
    assert_eq!(two.live(&fixture).await.error_code, 0);
    assert!(two.numbers().is_empty(), "the other one has confirmed nothing yet");
    assert_eq!(position(&mut one, epoch, numbers[0]).await, (0, 1));
    one.confirm(&fixture).await;
    two.live(&fixture).await;
    assert_eq!(two.numbers().len(), 2);
    // The pattern is known still.
    fixture.server.broker().create_topic("more", 1).await.unwrap();
    soon(async {
        while !one.assigned.contains_key("more") {
            one.live(&fixture).await;
        }
    })
    .await;
    assert_eq!(one.numbers(), numbers);
}

#[tokio::test]
async fn an_instance_that_comes_back_keeps_its_partitions() {
    let (fixture, clock) = with_hands().await;
    four(&fixture).await;
    let mut first = Consumer::new(&fixture, "first").await;
    first.instance_id = Some("i".to_owned());
    first.say(&fixture, join_of("first", &["t"])).await;
    first.confirm(&fixture).await;
    let mut second = Consumer::new(&fixture, "second").await;
    second.instance_id = Some("i".to_owned());
    assert_eq!(second.say(&fixture, join_of("second", &["t"])).await.error_code, 111, "it is in use");
    assert_eq!(second.leave(&fixture, -2).await.error_code, 82, "it is the other one's");
    let mut other = Consumer::joined(&fixture, "other").await;
    first.live(&fixture).await;
    let (epoch, kept) = (first.epoch, first.numbers());
    let left = first.leave(&fixture, -2).await;
    assert_eq!((left.error_code, left.member_epoch), (0, -2));
    // It reads nothing any more, so what it was to give up is free; the rest waits for it.
    other.live(&fixture).await;
    assert_eq!(other.numbers().len(), 2);
    assert_eq!(second.say(&fixture, join_of("second", &["t"])).await.error_code, 0);
    assert!(second.epoch > epoch);
    assert_eq!(second.numbers(), kept);
    first.epoch = epoch;
    assert_eq!(first.live(&fixture).await.error_code, 82, "the old process is fenced");
    assert_eq!(first.commit(kept[0], 0, epoch).await, 25);
    assert_eq!(second.commit(kept[0], 0, second.epoch).await, 0);
    // One that does not come back is gone with its session timeout.
    second.leave(&fixture, -2).await;
    clock.pass(Duration::from_secs(44));
    assert_eq!(other.live(&fixture).await.error_code, 0);
    fixture.server.broker().expire_groups().await;
    other.live(&fixture).await;
    assert_eq!(other.numbers().len(), 2);
    clock.pass(Duration::from_secs(2));
    fixture.server.broker().expire_groups().await;
    other.live(&fixture).await;
    assert_eq!(other.numbers(), [0, 1, 2, 3]);
    assert_eq!(other.leave(&fixture, -1).await.error_code, 0);
}

#[tokio::test]
async fn a_group_is_listed_and_described_with_what_its_members_have_and_are_to_have() {
    let fixture = start().await;
    four(&fixture).await;
    let mut one = Consumer::joined(&fixture, "one").await;
    let mut two = Consumer::new(&fixture, "two").await;
    let mut join = join_of("two", &["t"]);
    join.subscribed_topic_regex = Some(text("u.*"));
    two.say(&fixture, join).await;
    let request = || ConsumerGroupDescribeRequest::default().with_group_ids(vec![group("g"), group("none")]);
    for version in 0..=1 {
        let mut found = one.client.ask(version, &request()).await.groups;
        assert_eq!((found[1].error_code, found[1].members.len()), (69, 0));
        let found = found.remove(0);
        assert_eq!((found.error_code, found.group_state.as_str()), (0, "Reconciling"));
        assert_eq!(found.assignor_name.as_str(), "uniform");
        assert_eq!(found.group_epoch, found.assignment_epoch);
        let [first, second] = &found.members[..] else { panic!("{found:?}") };
        assert_eq!((first.member_id.as_str(), first.client_id.as_str()), ("one", "test"));
        assert_eq!(
            (first.client_host.as_str(), first.member_type),
            ("/127.0.0.1", if version > 0 { 1 } else { -1 })
        );
        assert_eq!(first.subscribed_topic_names, [name("t")]);
        assert_eq!(second.subscribed_topic_regex.as_deref(), Some("u.*"));
        let count = |of: &kafka_protocol::messages::consumer_group_describe_response::Assignment| {
            of.topic_partitions.iter().map(|topic| topic.partitions.len()).sum::<usize>()
        };
        assert_eq!((count(&first.assignment), count(&first.target_assignment)), (4, 2));
        assert_eq!((count(&second.assignment), count(&second.target_assignment)), (0, 2));
        let topic = &first.assignment.topic_partitions[0];
        assert_eq!(topic.topic_id, owned(&fixture, "t", &[]).topic_id);
        assert_eq!(topic.topic_name, name("t"));
    }
    let listed = one.client.ask(5, &ListGroupsRequest::default()).await.groups.remove(0);
    assert_eq!((listed.group_type.as_str(), listed.group_state.as_str()), ("Consumer", "Reconciling"));
    let classic = DescribeGroupsRequest::default().with_groups(vec![group("g")]);
    assert_eq!(one.client.ask(5, &classic).await.groups[0].group_state.as_str(), "Dead");
    assert_eq!(one.client.ask(6, &classic).await.groups[0].error_code, 69);
    // A group of classic members is not found by this, and one that is named twice is described once.
    one.leave(&fixture, -1).await;
    two.leave(&fixture, -1).await;
    let mut member = Member::new(&fixture).await;
    member.join().await;
    let twice = ConsumerGroupDescribeRequest::default().with_group_ids(vec![group("g"), group("g")]);
    let found = one.client.ask(1, &twice).await.groups;
    assert_eq!((found[0].error_code, found[1].error_code), (69, 42));
}

#[tokio::test]
async fn groups_that_a_reply_has_no_room_for_are_to_be_asked_for_again() {
    let fixture = start().await;
    fixture.server.broker().create_topic("t", 5_000).await.unwrap();
    let mut client = Client::connect(&fixture).await;
    let names: Vec<String> = (0..10).map(|number| format!("g{number}")).collect();
    for name in &names {
        let join = join_of("one", &["t"]).with_group_id(group(name));
        assert_eq!(client.ask(1, &join).await.error_code, 0);
    }
    let mut ask = async |names: &[String]| {
        let ids = names.iter().map(|name| group(name)).collect();
        let found = client.ask(1, &ConsumerGroupDescribeRequest::default().with_group_ids(ids)).await.groups;
        let of = |found: &kafka_protocol::messages::consumer_group_describe_response::DescribedGroup| {
            (found.error_code, found.members.len())
        };
        found.iter().map(of).collect::<Vec<_>>()
    };
    // Each has as many partitions twice, as what it holds and as what it is to hold.
    let mut expected = vec![(0, 1); 10];
    expected[9] = (42, 0);
    assert_eq!(ask(&names).await, expected);
    assert_eq!(ask(&names[9..]).await, [(0, 1)]);
}

#[tokio::test]
async fn who_joins_by_grpc_is_described_too() {
    let fixture = start().await;
    four(&fixture).await;
    let join = GroupJoin {
        group: "g".into(),
        topics: vec!["t".into()],
        instance_id: "i".into(),
        client_address: "10.0.0.1".into(),
        ..GroupJoin::default()
    };
    let _member = fixture.server.broker().join_group(join).await.unwrap();
    let mut client = Client::connect(&fixture).await;
    let request = ConsumerGroupDescribeRequest::default().with_group_ids(vec![group("g")]);
    let found = client.ask(1, &request).await.groups.remove(0);
    assert_eq!((found.error_code, found.group_state.as_str(), found.members.len()), (0, "Stable", 1));
    assert_eq!(found.members[0].instance_id.as_deref(), Some("i"));
    // Its instance is in use at this door, too.
    let refused = join_of("one", &["t"]).with_instance_id(Some(text("i")));
    assert_eq!(client.ask(1, &refused).await.error_code, 111);
    assert_eq!(client.ask(1, &beat("one", 1)).await.error_code, 25);
}

#[tokio::test]
async fn topics_and_nodes_have_settings() {
    let fixture = start().await;
    four(&fixture).await;
    fixture.server.broker().create_topic("demo topic", 1).await.unwrap();
    let mut client = Client::connect(&fixture).await;
    let mut ask = async |version, kinds: &[i8]| {
        let request = ListConfigResourcesRequest::default().with_resource_types(kinds.to_vec());
        let found = client.ask(version, &request).await;
        let resources = found.config_resources.into_iter();
        let named = resources.map(|of| (of.resource_type, of.resource_name.to_string()));
        (found.error_code, named.collect::<Vec<_>>())
    };
    let (topic, node) = ((2, "t".to_owned()), (4, "1".to_owned()));
    assert_eq!(ask(1, &[]).await, (0, vec![topic.clone(), node.clone()]));
    assert_eq!(ask(1, &[2]).await, (0, vec![topic]));
    assert_eq!(ask(1, &[4, 32]).await, (0, vec![node]));
    assert_eq!(ask(1, &[3]).await, (35, vec![]));
    assert_eq!(ask(0, &[]).await, (0, vec![]), "of clients' metrics there are none");
    let of_group = DescribeConfigsResource::default().with_resource_type(32).with_resource_name(text("g"));
    let request =
        DescribeConfigsRequest::default().with_resources(vec![of_group.with_configuration_keys(None)]);
    let found = client.ask(4, &request).await.results.remove(0);
    let values = found.configs.iter().map(|of| (of.name.as_str(), of.value.as_deref().unwrap()));
    let values: Vec<_> = values.collect();
    let expected = [("consumer.heartbeat.interval.ms", "5000"), ("consumer.session.timeout.ms", "45000")];
    assert_eq!((found.error_code, values), (0, expected.to_vec()));
}
