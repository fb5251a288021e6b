//! Members of the newer protocol (KIP-848), by raw requests.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use kafka_protocol::messages::{
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse,
    consumer_group_heartbeat_request::TopicPartitions,
};
use minikafka_broker::{BrokerConfig, GroupJoin};
use minikafka_server::Server;
use uuid::Uuid;

use super::{
    super::client::{Client, name, start, start_with},
    Member, commit_request, group, join_request, text,
};
use crate::support::{Fixture, Hands, soon};

/// What a member holds or is to hold: numbers of partitions by topic.
type Parts = BTreeMap<String, Vec<i32>>;

/// A member of group "g" with a connection of its own.
pub(super) struct Consumer {
    pub(super) client: Client,
    pub(super) id: String,
    pub(super) instance_id: Option<String>,
    pub(super) epoch: i32,
    /// The newest assignment.
    pub(super) assigned: Parts,
}

/// A heartbeat that says nothing.
pub(super) fn beat(member_id: &str, epoch: i32) -> ConsumerGroupHeartbeatRequest {
    ConsumerGroupHeartbeatRequest::default()
        .with_group_id(group("g"))
        .with_member_id(text(member_id))
        .with_member_epoch(epoch)
        .with_rebalance_timeout_ms(-1)
        .with_subscribed_topic_names(None)
        .with_topic_partitions(None)
}

/// A join that reads these topics.
pub(super) fn join_of(member_id: &str, topics: &[&str]) -> ConsumerGroupHeartbeatRequest {
    beat(member_id, 0)
        .with_rebalance_timeout_ms(60_000)
        .with_subscribed_topic_names(Some(topics.iter().map(|topic| name(topic)).collect()))
        .with_topic_partitions(Some(Vec::new()))
}

impl Consumer {
    pub(super) async fn new(fixture: &Fixture, id: &str) -> Consumer {
        let client = Client::connect(fixture).await;
        Consumer { client, id: id.to_owned(), instance_id: None, epoch: 0, assigned: Parts::new() }
    }

    /// It joins, and reads topic "t".
    pub(super) async fn joined(fixture: &Fixture, id: &str) -> Consumer {
        let mut consumer = Consumer::new(fixture, id).await;
        let joined = consumer.say(fixture, join_of(id, &["t"])).await;
        assert_eq!(joined.error_code, 0, "{joined:?}");
        consumer
    }

    /// Says something, and takes what it is told.
    pub(super) async fn say(
        &mut self,
        fixture: &Fixture,
        request: ConsumerGroupHeartbeatRequest,
    ) -> ConsumerGroupHeartbeatResponse {
        let request = request.with_instance_id(self.instance_id.as_deref().map(text));
        let told = self.client.ask(1, &request).await;
        if told.error_code == 0 {
            self.epoch = told.member_epoch;
            if let Some(assignment) = &told.assignment {
                let topic =
                    |of: &kafka_protocol::messages::consumer_group_heartbeat_response::TopicPartitions| {
                        let id = minikafka_storage::TopicId::from_bytes(of.topic_id.into_bytes());
                        let topic = fixture.server.broker().topic_with_id(id).expect("it is there");
                        (topic.name, of.partitions.clone())
                    };
                self.assigned = assignment.topic_partitions.iter().map(topic).collect();
            }
        }
        told
    }

    /// It lives.
    pub(super) async fn live(&mut self, fixture: &Fixture) -> ConsumerGroupHeartbeatResponse {
        let request = beat(&self.id, self.epoch);
        self.say(fixture, request).await
    }

    /// It reads what it was last assigned, and nothing else.
    pub(super) async fn confirm(&mut self, fixture: &Fixture) -> ConsumerGroupHeartbeatResponse {
        let owned = self.assigned.iter().map(|(topic, numbers)| owned(fixture, topic, numbers)).collect();
        let request = beat(&self.id, self.epoch).with_topic_partitions(Some(owned));
        self.say(fixture, request).await
    }

    pub(super) async fn leave(&mut self, fixture: &Fixture, epoch: i32) -> ConsumerGroupHeartbeatResponse {
        let request = beat(&self.id, epoch);
        self.say(fixture, request).await
    }

    pub(super) fn numbers(&self) -> Vec<i32> {
        self.assigned.get("t").cloned().unwrap_or_default()
    }

    /// Commits an offset of a partition of topic "t".
    pub(super) async fn commit(&mut self, partition: i32, offset: i64, epoch: i32) -> i16 {
        let request = commit_request(&[(partition, offset, "")])
            .with_member_id(text(&self.id))
            .with_generation_id_or_member_epoch(epoch);
        self.client.ask(9, &request).await.topics[0].partitions[0].error_code
    }
}

pub(super) fn owned(fixture: &Fixture, topic: &str, numbers: &[i32]) -> TopicPartitions {
    let id = fixture.server.broker().describe_topic(topic).expect("it is there").summary.id;
    TopicPartitions::default()
        .with_topic_id(Uuid::from_bytes(*id.as_bytes()))
        .with_partitions(numbers.to_vec())
}

/// A topic "t" of four partitions.
pub(super) async fn four(fixture: &Fixture) {
    fixture.server.broker().create_topic("t", 4).await.expect("it is new");
}

/// A server in memory whose clock is moved by hand.
pub(super) async fn with_hands() -> (Fixture, Hands) {
    let clock = Hands::default();
    let config = BrokerConfig { clock: Arc::new(clock.clone()), ..BrokerConfig::default() };
    (start_with(Server::builder().memory().broker(config)).await, clock)
}

#[tokio::test]
async fn a_member_joins_lives_and_leaves() {
    let fixture = start().await;
    four(&fixture).await;
    let mut one = Consumer::new(&fixture, "one").await;
    let joined = one.say(&fixture, join_of("one", &["t", "not there yet".replace(' ', "_").as_str()])).await;
    assert_eq!((joined.error_code, joined.member_id.as_deref()), (0, Some("one")));
    assert!(joined.member_epoch > 0);
    assert_eq!(joined.heartbeat_interval_ms, 5_000);
    assert_eq!(one.numbers(), [0, 1, 2, 3]);
    let lives = one.live(&fixture).await;
    assert_eq!((lives.error_code, lives.assignment), (0, None), "it knows");
    let epoch = one.epoch;
    assert_eq!(one.confirm(&fixture).await.assignment, None);
    assert_eq!(one.epoch, epoch);
    // As after a reply that got lost: all is said anew, and told anew.
    let all = join_of("one", &["t", "not_there_yet"])
        .with_member_epoch(epoch)
        .with_topic_partitions(Some(vec![owned(&fixture, "t", &[0, 1, 2, 3])]));
    assert!(one.say(&fixture, all).await.assignment.is_some());
    assert_eq!(one.epoch, epoch);
    let left = one.leave(&fixture, -1).await;
    assert_eq!((left.error_code, left.member_epoch), (0, -1));
    assert_eq!(one.live(&fixture).await.error_code, 25, "it is no member");
}

#[tokio::test]
async fn a_partition_moves_once_its_owner_has_given_it_up() {
    let fixture = start().await;
    four(&fixture).await;
    let mut one = Consumer::joined(&fixture, "one").await;
    one.confirm(&fixture).await;
    let mut two = Consumer::joined(&fixture, "two").await;
    assert_eq!((two.numbers(), one.numbers().len()), (vec![], 4), "nothing is free yet");
    let told = two.live(&fixture).await;
    assert_eq!(told.heartbeat_interval_ms, 1_000, "it asks more often while it waits");
    let before = one.epoch;
    one.live(&fixture).await;
    assert!(one.epoch > before);
    assert_eq!(one.numbers().len(), 2);
    assert_eq!(two.live(&fixture).await.assignment, None, "what is revoked is held until it is confirmed");
    // A heartbeat that does not say what it reads confirms nothing; an epoch from before it was asked neither.
    one.live(&fixture).await;
    let kept = owned(&fixture, "t", &one.numbers());
    let older = beat("one", before).with_topic_partitions(Some(vec![kept]));
    assert_eq!(one.client.ask(1, &older).await.member_epoch, one.epoch);
    assert!(two.live(&fixture).await.assignment.is_none());
    assert_eq!(one.confirm(&fixture).await.error_code, 0);
    two.live(&fixture).await;
    let mut all = [one.numbers(), two.numbers()].concat();
    all.sort_unstable();
    assert_eq!((all, two.numbers().len()), (vec![0, 1, 2, 3], 2));
    two.confirm(&fixture).await;
    assert_eq!(two.live(&fixture).await.heartbeat_interval_ms, 5_000);
    // What one leaves, the other gets.
    two.leave(&fixture, -1).await;
    one.live(&fixture).await;
    assert_eq!(one.numbers(), [0, 1, 2, 3]);
}

#[tokio::test]
async fn who_does_not_give_up_in_time_is_fenced() {
    let (fixture, clock) = with_hands().await;
    four(&fixture).await;
    let mut one = Consumer::joined(&fixture, "one").await;
    let mut two = Consumer::joined(&fixture, "two").await;
    for _ in 0..3 {
        clock.pass(Duration::from_secs(15));
        // It lives, and goes on reading.
        assert_eq!(one.live(&fixture).await.error_code, 0);
        two.live(&fixture).await;
        fixture.server.broker().expire_groups().await;
    }
    clock.pass(Duration::from_secs(16));
    fixture.server.broker().expire_groups().await;
    assert_eq!(one.live(&fixture).await.error_code, 25);
    two.live(&fixture).await;
    assert_eq!(two.numbers(), [0, 1, 2, 3]);
    assert_eq!(one.commit(0, 0, one.epoch).await, 25);
    // It joins anew under its name, with an epoch beyond all that it had.
    let before = one.epoch;
    one.say(&fixture, join_of("one", &["t"])).await;
    assert!(one.epoch > before, "{} after {before}", one.epoch);
}

#[tokio::test]
async fn who_is_silent_for_the_session_timeout_is_a_member_no_more() {
    let (fixture, clock) = with_hands().await;
    four(&fixture).await;
    let mut one = Consumer::joined(&fixture, "one").await;
    clock.pass(Duration::from_secs(44));
    fixture.server.broker().expire_groups().await;
    assert_eq!(one.live(&fixture).await.error_code, 0);
    clock.pass(Duration::from_secs(44));
    fixture.server.broker().expire_groups().await;
    assert_eq!(one.live(&fixture).await.error_code, 0, "each heartbeat counts");
    clock.pass(Duration::from_secs(46));
    fixture.server.broker().expire_groups().await;
    assert_eq!(one.live(&fixture).await.error_code, 25);
}

#[tokio::test]
async fn epochs_that_were_never_given_are_fenced_and_those_of_others_unknown() {
    let fixture = start().await;
    four(&fixture).await;
    let mut one = Consumer::joined(&fixture, "one").await;
    let ahead = one.client.ask(1, &beat("one", one.epoch + 1)).await;
    assert_eq!(ahead.error_code, 110);
    assert!(ahead.error_message.is_some());
    assert_eq!(one.client.ask(1, &beat("two", 1)).await.error_code, 25);
    let elsewhere = beat("one", 1).with_group_id(group("h"));
    assert_eq!(one.client.ask(1, &elsewhere).await.error_code, 25, "it joins anew, and its group begins");
    assert_eq!(one.live(&fixture).await.error_code, 0);
    // Who joins under its own name has forgotten what it reads.
    let (epoch, again) = (one.epoch, join_of("one", &["t"]));
    assert_eq!(one.say(&fixture, again).await.error_code, 0);
    assert!(one.epoch > epoch);
    assert_eq!(one.numbers(), [0, 1, 2, 3]);
}

#[tokio::test]
async fn requests_that_say_too_little_or_too_much_are_refused() {
    let fixture = start().await;
    four(&fixture).await;
    let mut client = Client::connect(&fixture).await;
    let join = || join_of("one", &["t"]);
    let reads = vec![owned(&fixture, "t", &[0])];
    let mut no_names = join();
    no_names.subscribed_topic_names = None;
    for (request, code) in [
        (join().with_group_id(group("")), 42),
        (join().with_member_id(text("")), 42),
        (join().with_instance_id(Some(text(""))), 42),
        (join().with_rack_id(Some(text(""))), 42),
        (join().with_rebalance_timeout_ms(-1), 42),
        (join().with_topic_partitions(Some(reads)), 42),
        (no_names.clone(), 42),
        (join().with_member_epoch(-3), 42),
        (beat("one", -2), 42),
        (join().with_server_assignor(Some(text("range"))), 112),
        (no_names.clone().with_subscribed_topic_regex(Some(text("("))), 128),
        (join().with_group_id(group("a/b")), 24),
        (join_of("one", &["a/b"]), 17),
        (join_of("one", &["t", "demo topic"]), 17),
        (join_of("one\n", &["t"]), 42),
        (join_of(&"x".repeat(300), &["t"]), 42),
    ] {
        let refused = client.ask(1, &request).await;
        assert_eq!(refused.error_code, code, "{request:?}");
        assert!(refused.error_message.is_some_and(|message| !message.is_empty()));
    }
    let joined = client.ask(1, &join().with_server_assignor(Some(text("uniform")))).await;
    assert_eq!(joined.error_code, 0);
    // Before version 1 the server gives names.
    let joined = client.ask(0, &join().with_member_id(text(""))).await;
    assert_eq!(joined.error_code, 0);
    assert!(joined.member_id.is_some_and(|id| !id.is_empty()));
}

#[tokio::test]
async fn topics_by_name_and_by_pattern_are_followed() {
    let fixture = start().await;
    let broker = fixture.server.broker();
    four(&fixture).await;
    broker.create_topic("logs.a", 1).await.unwrap();
    broker.create_topic("demo logs.", 1).await.unwrap();
    let mut one = Consumer::new(&fixture, "one").await;
    let mut join = join_of("one", &["t"]);
    join.subscribed_topic_regex = Some(text("logs\\..*|.*logs.*"));
    one.say(&fixture, join).await;
    assert_eq!(one.assigned.keys().collect::<Vec<_>>(), ["logs.a", "t"], "what Kafka's clients can read");
    // Only the names change.
    let names = beat("one", one.epoch).with_subscribed_topic_names(Some(Vec::new()));
    one.say(&fixture, names).await;
    assert_eq!(one.assigned.keys().collect::<Vec<_>>(), ["logs.a"]);
    one.confirm(&fixture).await;
    broker.create_topic("logs.b", 2).await.unwrap();
    soon(async {
        while one.assigned.len() < 2 {
            one.live(&fixture).await;
        }
    })
    .await;
    assert_eq!(one.assigned["logs.b"], [0, 1]);
    broker.delete_topic("logs.a").await.unwrap();
    soon(async {
        while one.assigned.len() > 1 {
            one.live(&fixture).await;
        }
    })
    .await;
    assert!(one.assigned.contains_key("logs.b"));
    // Only the pattern changes.
    let none = beat("one", one.epoch).with_subscribed_topic_regex(Some(text("")));
    one.say(&fixture, none).await;
    assert!(one.assigned.is_empty());
}

#[tokio::test]
async fn a_group_has_members_of_grpc_and_of_kafka_at_once() {
    let fixture = start().await;
    four(&fixture).await;
    let broker = fixture.server.broker();
    let mut one = Consumer::joined(&fixture, "one").await;
    let join = GroupJoin { group: "g".into(), topics: vec!["t".into()], ..GroupJoin::default() };
    let mut other = broker.join_group(join).await.unwrap();
    one.live(&fixture).await;
    assert_eq!(one.numbers().len(), 2);
    one.confirm(&fixture).await;
    let assignment = soon(async {
        loop {
            let assignment = other.next_assignment().await.unwrap();
            if !assignment.partitions.is_empty() {
                return assignment;
            }
        }
    })
    .await;
    let theirs = assignment.partitions.iter().map(|(of, _)| of.partition as i32);
    let mut all: Vec<i32> = one.numbers().into_iter().chain(theirs).collect();
    all.sort_unstable();
    assert_eq!(all, [0, 1, 2, 3]);
    other.leave().await.unwrap();
    one.live(&fixture).await;
    assert_eq!(one.numbers(), [0, 1, 2, 3]);
}

#[tokio::test]
async fn classic_members_and_those_of_the_newer_protocol_keep_each_other_out() {
    let fixture = start().await;
    four(&fixture).await;
    let mut one = Consumer::joined(&fixture, "one").await;
    assert_eq!(one.client.ask(9, &join_request("")).await.error_code, 23);
    one.leave(&fixture, -1).await;
    let mut classic = Member::new(&fixture).await;
    classic.join().await;
    let refused = one.client.ask(1, &join_of("one", &["t"])).await;
    assert_eq!(refused.error_code, 69);
    classic.sync(&[]).await;
    assert_eq!(classic.leave().await, 0);
    assert_eq!(one.say(&fixture, join_of("one", &["t"])).await.error_code, 0);
}
