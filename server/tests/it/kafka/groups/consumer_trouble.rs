//! Members of the newer protocol when something comes in between: answers that are late, disks that are slow, patterns that
//! change, and names that are somebody else's.

use std::{sync::Arc, time::Duration};

use kafka_protocol::messages::{
    ConsumerGroupHeartbeatRequest, OffsetCommitRequest, OffsetFetchRequest,
    offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics},
};
use minikafka_broker::{
    BrokerConfig, Error, GroupError, GroupJoin, Membership, ReturningMember, TopicChange, TopicPartition,
};
use minikafka_server::Server;
use tokio::task::JoinHandle;

use super::{
    super::client::{name, start, start_with},
    commit_request,
    consumer::{Consumer, beat, four, join_of, owned, with_hands},
    group, text,
};
use crate::{
    moody_disk::Mood,
    support::{Fixture, Hands, soon},
};

/// Waits until a member of group "g" has a newer epoch than that, and returns it.
async fn epoch_beyond(fixture: &Fixture, member_id: &str, epoch: i32) -> i32 {
    soon(async {
        loop {
            let found = fixture.server.broker().describe_group("g").await.unwrap();
            let member = found.members.iter().find(|member| member.member_id == member_id).unwrap();
            if member.epoch > epoch as u64 {
                return member.epoch as i32;
            }
            tokio::task::yield_now().await;
        }
    })
    .await
}

#[tokio::test]
async fn an_answer_that_a_newer_assignment_has_overtaken_counts() {
    let fixture = start().await;
    four(&fixture).await;
    let mut one = Consumer::joined(&fixture, "one").await;
    one.confirm(&fixture).await;
    let mut two = Consumer::joined(&fixture, "two").await;
    one.live(&fixture).await;
    let (asked, kept) = (one.epoch, one.numbers());
    assert_eq!(kept.len(), 2);
    // The topic grows while the answer is on its way.
    let change = TopicChange { partitions: Some(6), ..TopicChange::default() };
    fixture.server.broker().alter_topic("t", change).await.unwrap();
    let newest = epoch_beyond(&fixture, "one", asked).await;
    let told = one.confirm(&fixture).await;
    assert_eq!((told.error_code, told.member_epoch), (0, newest), "it is told the newest in the same breath");
    assert_eq!(one.numbers().len(), 3);
    two.live(&fixture).await;
    let mut all = [one.numbers(), two.numbers()].concat();
    all.sort_unstable();
    assert_eq!(all, [0, 1, 2, 3, 4, 5], "what it gave up has gone to the other one");
    assert_eq!(one.confirm(&fixture).await.heartbeat_interval_ms, 5_000, "nothing is left to do");
}

#[tokio::test]
async fn an_answer_from_before_partitions_were_called_back_takes_none_of_them() {
    let fixture = start().await;
    four(&fixture).await;
    let mut one = Consumer::joined(&fixture, "one").await;
    let mut two = Consumer::joined(&fixture, "two").await;
    one.live(&fixture).await;
    let late = beat("one", one.epoch).with_topic_partitions(Some(vec![owned(&fixture, "t", &one.numbers())]));
    two.leave(&fixture, -1).await;
    one.live(&fixture).await;
    assert_eq!(one.numbers(), [0, 1, 2, 3], "all of it is its own again");
    let mut two = Consumer::joined(&fixture, "two").await;
    // On another connection, which was slow.
    assert_eq!(two.client.ask(1, &late).await.error_code, 0);
    two.live(&fixture).await;
    assert!(two.numbers().is_empty(), "one reads all of them");
    one.live(&fixture).await;
    one.confirm(&fixture).await;
    two.live(&fixture).await;
    assert_eq!(two.numbers().len(), 2);
}

#[tokio::test]
async fn who_has_given_up_what_it_was_asked_for_first_has_its_time_anew_for_the_rest() {
    let (fixture, clock) = with_hands().await;
    fixture.server.broker().create_topic("t", 6).await.unwrap();
    let mut one = Consumer::joined(&fixture, "one").await;
    let mut two = Consumer::joined(&fixture, "two").await;
    one.live(&fixture).await;
    let first = one.numbers();
    let pass = async |seconds, others: &mut [&mut Consumer]| {
        clock.pass(Duration::from_secs(seconds));
        for member in others.iter_mut() {
            member.live(&fixture).await;
        }
        fixture.server.broker().expire_groups().await;
    };
    pass(40, &mut [&mut one, &mut two]).await;
    let mut three = Consumer::joined(&fixture, "three").await;
    one.live(&fixture).await;
    assert_eq!((first.len(), one.numbers().len()), (3, 2), "it is asked for another one");
    let epoch = one.epoch;
    let all_but_the_first =
        beat("one", epoch).with_topic_partitions(Some(vec![owned(&fixture, "t", &first)]));
    assert_eq!(one.say(&fixture, all_but_the_first).await.error_code, 0);
    // A minute after it was first asked, and half a minute after it was asked for what is left.
    pass(30, &mut [&mut one, &mut two, &mut three]).await;
    assert_eq!(one.live(&fixture).await.error_code, 0);
    pass(29, &mut [&mut one, &mut two, &mut three]).await;
    assert_eq!(one.live(&fixture).await.error_code, 0);
    pass(2, &mut [&mut one, &mut two, &mut three]).await;
    assert_eq!(one.live(&fixture).await.error_code, 25, "that was enough");
}

/// A server whose disk is slow when it is told to be, and whose clock is moved by hand.
async fn moody() -> (Fixture, Hands, Arc<Mood>, tempfile::TempDir) {
    let (root, mood, clock) = (tempfile::tempdir().unwrap(), Arc::new(Mood::default()), Hands::default());
    let config = BrokerConfig { clock: Arc::new(clock.clone()), ..BrokerConfig::default() };
    let fixture = start_with(Server::builder().storage(mood.storage(root.path())).broker(config)).await;
    (fixture, clock, mood, root)
}

/// More than a session timeout passes while something waits for the disk, and members are looked for that were silent.
async fn stall(fixture: &Fixture, clock: &Hands, mood: &Arc<Mood>) -> JoinHandle<()> {
    let held = mood.clone();
    tokio::task::spawn_blocking(move || held.wait_for_a_sync()).await.unwrap();
    clock.pass(Duration::from_secs(46));
    let broker = fixture.server.broker().clone();
    tokio::spawn(async move { broker.expire_groups().await })
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_the_disk_with_an_answer_is_not_silent() {
    let (fixture, clock, mood, _root) = moody().await;
    four(&fixture).await;
    let mut one = Consumer::joined(&fixture, "one").await;
    let mut two = Consumer::joined(&fixture, "two").await;
    one.live(&fixture).await;
    mood.hold_syncs();
    let kept = owned(&fixture, "t", &one.numbers());
    let answer = beat("one", one.epoch).with_topic_partitions(Some(vec![kept]));
    let waiting = one.client.send(1, &answer).await;
    let expiry = stall(&fixture, &clock, &mood).await;
    mood.let_syncs_go();
    let told = one.client.reply::<ConsumerGroupHeartbeatRequest>(1, waiting).await;
    assert_eq!(told.error_code, 0);
    soon(expiry).await.unwrap();
    assert_eq!(one.live(&fixture).await.error_code, 0);
    // The other one was silent, whoever has noticed it first.
    let members = async || fixture.server.broker().describe_group("g").await.unwrap().members.len();
    soon(async { while members().await > 1 {} }).await;
    assert_eq!(two.live(&fixture).await.error_code, 25);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_the_disk_with_a_position_is_not_silent() {
    let (fixture, clock, mood, _root) = moody().await;
    four(&fixture).await;
    let mut one = Consumer::joined(&fixture, "one").await;
    mood.hold_syncs();
    let request = commit_request(&[(0, 0, "")])
        .with_member_id(text("one"))
        .with_generation_id_or_member_epoch(one.epoch);
    let waiting = one.client.send(9, &request).await;
    let expiry = stall(&fixture, &clock, &mood).await;
    mood.let_syncs_go();
    let stored = one.client.reply::<OffsetCommitRequest>(9, waiting).await;
    assert_eq!(stored.topics[0].partitions[0].error_code, 0);
    soon(expiry).await.unwrap();
    assert_eq!(one.live(&fixture).await.error_code, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pattern_that_changes_while_topics_come_is_the_one_that_counts() {
    let fixture = start().await;
    let mut one = Consumer::new(&fixture, "one").await;
    let patterned = |text: &str| Some(super::text(text));
    let mut join = join_of("one", &[]);
    join.subscribed_topic_regex = patterned("a.*");
    one.say(&fixture, join).await;
    for round in 0..10 {
        let broker = fixture.server.broker().clone();
        let creating = tokio::spawn(async move {
            broker.create_topic(&format!("a{round}"), 1).await.unwrap();
            broker.create_topic(&format!("b{round}"), 1).await.unwrap();
        });
        for pattern in ["b.*", "a.*", "b.*"] {
            let mut request = beat("one", one.epoch);
            request.subscribed_topic_regex = patterned(pattern);
            assert_eq!(one.say(&fixture, request).await.error_code, 0);
        }
        creating.await.unwrap();
    }
    soon(async {
        while one.assigned.len() < 10 || !one.assigned.keys().all(|topic| topic.starts_with('b')) {
            assert_eq!(one.confirm(&fixture).await.error_code, 0);
        }
    })
    .await;
    assert!(one.assigned.keys().all(|topic| topic.starts_with('b')), "{:?}", one.assigned);
}

#[tokio::test]
async fn an_epoch_below_zero_is_that_of_somebody_from_outside() {
    let fixture = start().await;
    fixture.produce("t", &["a", "b"]).await;
    let mut one = Consumer::joined(&fixture, "one").await;
    let fetch = async |one: &mut Consumer, epoch| {
        let topic = OffsetFetchRequestTopics::default().with_name(name("t")).with_partition_indexes(vec![0]);
        let of = OffsetFetchRequestGroup::default()
            .with_group_id(group("g"))
            .with_member_id(Some(text("one")))
            .with_member_epoch(epoch)
            .with_topics(Some(vec![topic]));
        let request = OffsetFetchRequest::default().with_groups(vec![of]);
        let found = one.client.ask(9, &request).await.groups.remove(0);
        (found.error_code, found.topics[0].partitions[0].committed_offset)
    };
    let epoch = one.epoch;
    assert_eq!(one.commit(0, 1, epoch).await, 0);
    for outside in [-1, -2, i32::MIN] {
        assert_eq!(one.commit(0, 2, outside).await, 25, "only members commit while there are any");
        assert_eq!(fetch(&mut one, outside).await, (0, 1), "and anybody looks");
    }
    one.leave(&fixture, -1).await;
    for (outside, offset) in [(-1, 2), (i32::MIN, 0)] {
        assert_eq!(one.commit(0, offset, outside).await, 0);
        assert_eq!(fetch(&mut one, outside).await, (0, offset));
    }
    assert_eq!(one.commit(0, 1, epoch).await, 25, "it is a member no more");
}

#[tokio::test]
async fn of_a_group_that_is_not_there_nobody_is_a_member() {
    let fixture = start().await;
    four(&fixture).await;
    let mut one = Consumer::new(&fixture, "one").await;
    for epoch in [1, -1] {
        assert_eq!(one.client.ask(1, &beat("one", epoch)).await.error_code, 25);
    }
    let leave = beat("one", -2).with_instance_id(Some(text("i")));
    assert_eq!(one.client.ask(1, &leave).await.error_code, 25);
    assert_eq!(one.commit(0, 0, 1).await, 25);
    assert!(fixture.server.broker().group("g").is_none(), "and it has not become one by that");
}

async fn by_grpc(fixture: &Fixture, returning: Option<ReturningMember>) -> Result<Membership, Error> {
    let join = GroupJoin { group: "g".into(), topics: vec!["t".into()], returning, ..GroupJoin::default() };
    fixture.server.broker().join_group(join).await
}

#[tokio::test]
async fn nobody_speaks_for_a_member_that_came_in_by_another_door() {
    let fixture = start().await;
    four(&fixture).await;
    let other = by_grpc(&fixture, None).await.unwrap();
    let (id, epoch) = (other.member_id().to_owned(), other.epoch() as i32);
    let mut thief = Consumer::new(&fixture, &id).await;
    for request in [
        beat(&id, epoch),
        beat(&id, epoch).with_topic_partitions(Some(Vec::new())),
        join_of(&id, &["t"]),
        beat(&id, -1),
    ] {
        assert_eq!(thief.client.ask(1, &request).await.error_code, 25, "{request:?}");
    }
    assert_eq!(thief.commit(0, 0, epoch).await, 25);
    let of = OffsetFetchRequestGroup::default()
        .with_group_id(group("g"))
        .with_member_id(Some(text(&id)))
        .with_member_epoch(epoch);
    let request = OffsetFetchRequest::default().with_groups(vec![of.with_topics(None)]);
    assert_eq!(thief.client.ask(9, &request).await.groups[0].error_code, 25);
    assert_eq!(fixture.server.broker().describe_group("g").await.unwrap().members[0].owned.len(), 4);
    other.leave().await.unwrap();

    let mut one = Consumer::joined(&fixture, "one").await;
    let owned = (0..4).map(|partition| TopicPartition { topic: "t".into(), partition }).collect();
    let returning = ReturningMember { member_id: "one".into(), epoch: one.epoch as u64, owned };
    let refused = by_grpc(&fixture, Some(returning)).await;
    assert!(matches!(refused, Err(Error::Group(GroupError::UnknownMember { .. }))), "{refused:?}");
    assert_eq!(one.live(&fixture).await.error_code, 0, "it goes on");
}

#[tokio::test]
async fn an_instance_may_come_back_by_another_door() {
    let fixture = start().await;
    four(&fixture).await;
    let mut one = Consumer::new(&fixture, "one").await;
    one.instance_id = Some("i".to_owned());
    one.say(&fixture, join_of("one", &["t"])).await;
    let mut other = Consumer::joined(&fixture, "other").await;
    one.live(&fixture).await;
    let kept = one.numbers();
    one.leave(&fixture, -2).await;
    other.live(&fixture).await;
    let join = GroupJoin {
        group: "g".into(),
        topics: vec!["t".into()],
        instance_id: "i".into(),
        ..GroupJoin::default()
    };
    let mut back = fixture.server.broker().join_group(join).await.unwrap();
    let has = soon(back.next_assignment()).await.unwrap();
    let numbers: Vec<i32> = has.partitions.iter().map(|(of, _)| of.partition as i32).collect();
    assert_eq!(numbers, kept, "its place was kept for it");
    drop(back);
    let mut again = Consumer::new(&fixture, "again").await;
    again.instance_id = Some("i".to_owned());
    assert_eq!(again.say(&fixture, join_of("again", &["t"])).await.error_code, 0);
    assert_eq!(again.numbers(), kept);
}
