//! Consumer groups: members, positions, restarts.

use std::{collections::BTreeSet, path::Path, sync::Arc, time::Duration};

use minikafka_broker::{
    Assignment, Broker, BrokerConfig, Error, GroupError, GroupJoin, GroupState, Membership, PositionToStore,
    PositionsBy, ReturningMember, SeekMode, SeekTo, TopicChange, TopicPartition,
};
use minikafka_record::Offset;
use minikafka_storage::{
    StorageError,
    filesystem::{FileStorage, Options},
    memory::MemoryStorage,
};

use crate::setup::{ManualClock, produce};

pub(crate) const SESSION: Duration = Duration::from_secs(45);
pub(crate) const WEEK: Duration = Duration::from_secs(168 * 3600);

pub(crate) async fn memory(clock: &Arc<ManualClock>) -> Broker {
    let config = BrokerConfig { clock: clock.clone(), retention: None, ..BrokerConfig::default() };
    Broker::open(Arc::new(MemoryStorage::new(u64::MAX)), config).await.unwrap()
}

pub(crate) async fn on_disk(dir: &Path, clock: &Arc<ManualClock>) -> Broker {
    let storage = loop {
        match FileStorage::open(dir, Options::default()) {
            // The tasks of a broker that was dropped are about to end.
            Err(StorageError::Locked(_)) => tokio::task::yield_now().await,
            opened => break opened.unwrap(),
        }
    };
    let config = BrokerConfig { clock: clock.clone(), retention: None, ..BrokerConfig::default() };
    Broker::open(Arc::new(storage), config).await.unwrap()
}

pub(crate) async fn topics(broker: &Broker, count: usize) -> Vec<String> {
    let names: Vec<String> = (0..count).map(|topic| format!("t{topic}")).collect();
    for name in &names {
        broker.create_topic(name, 1).await.unwrap();
    }
    names
}

pub(crate) async fn join(broker: &Broker, topics: &[String]) -> Membership {
    broker.join_group(request(topics)).await.unwrap()
}

pub(crate) fn request(topics: &[String]) -> GroupJoin {
    GroupJoin {
        group: "g".into(),
        topics: topics.to_vec(),
        client_address: "here".into(),
        ..GroupJoin::default()
    }
}

pub(crate) async fn next(member: &mut Membership) -> Assignment {
    tokio::time::timeout(Duration::from_secs(20), member.next_assignment()).await.expect("soon").unwrap()
}

pub(crate) fn partitions(assignment: &Assignment) -> Vec<TopicPartition> {
    assignment.partitions.iter().map(|(of, _)| of.clone()).collect()
}

/// Takes assignments and does what they say until it has so many partitions.
pub(crate) async fn settle(member: &mut Membership, count: usize) -> Assignment {
    loop {
        let assignment = next(member).await;
        member.confirm(assignment.epoch, &partitions(&assignment)).await.unwrap();
        if assignment.partitions.len() == count {
            return assignment;
        }
    }
}

pub(crate) fn position(topic: &str, offset: u64) -> PositionToStore {
    let of = TopicPartition { topic: topic.to_owned(), partition: 0 };
    PositionToStore { of, offset: Offset::new(offset), metadata: "m".to_owned() }
}

pub(crate) fn by(member: &Membership, epoch: u64) -> PositionsBy {
    PositionsBy::Member { member_id: member.member_id().to_owned(), epoch }
}

pub(crate) fn returning(member_id: &str, assignment: &Assignment) -> Option<ReturningMember> {
    Some(ReturningMember {
        member_id: member_id.to_owned(),
        epoch: assignment.epoch,
        owned: partitions(assignment),
    })
}

#[tokio::test]
async fn a_new_owner_goes_on_where_the_old_one_committed() {
    let broker = memory(&ManualClock::at(1_000)).await;
    let topics = topics(&broker, 2).await;
    for _ in 0..5 {
        produce(&broker, "t1", "x").await.unwrap();
    }
    let mut one = join(&broker, &topics).await;
    let all = settle(&mut one, 2).await;
    assert!(all.partitions.iter().all(|(_, position)| position.is_none()), "it begins where it likes");
    let mut two = join(&broker, &topics).await;
    assert!(next(&mut two).await.partitions.is_empty());
    let less = next(&mut one).await;
    let gives: Vec<_> = partitions(&all).into_iter().filter(|of| !partitions(&less).contains(of)).collect();
    assert_eq!(gives.len(), 1);
    let offset = if gives[0].topic == "t1" { 3 } else { 0 };
    broker.commit_positions("g", by(&one, all.epoch), vec![position(&gives[0].topic, offset)]).await.unwrap();
    one.confirm(less.epoch, &partitions(&less)).await.unwrap();
    let taken = next(&mut two).await;
    assert_eq!(taken.partitions, [(gives[0].clone(), Some(Offset::new(offset)))]);
    // The old owner is late.
    let late = broker.commit_positions("g", by(&one, less.epoch), vec![position(&gives[0].topic, 0)]).await;
    assert!(matches!(late, Err(Error::Group(GroupError::NotOwner { .. }))), "{late:?}");
    let late = broker.commit_positions("g", by(&one, all.epoch), vec![position(&gives[0].topic, 0)]).await;
    assert!(matches!(late, Err(Error::Group(GroupError::StaleEpoch { .. }))), "{late:?}");
}

#[tokio::test]
async fn a_restart_in_the_middle_of_a_rebalance_makes_no_second_owner() {
    let dir = tempfile::tempdir().unwrap();
    let clock = ManualClock::at(1_000);
    let broker = on_disk(dir.path(), &clock).await;
    let topics = topics(&broker, 2).await;
    let mut one = join(&broker, &topics).await;
    let mut two = join(&broker, &topics).await;
    let all = next(&mut one).await;
    let less = if all.partitions.len() == 2 { next(&mut one).await } else { all };
    let nothing = next(&mut two).await;
    assert_eq!(
        (less.partitions.len(), nothing.partitions.len()),
        (1, 0),
        "one is asked and has not answered"
    );
    let (id_one, id_two) = (one.member_id().to_owned(), two.member_id().to_owned());
    drop((one, two));
    // As a crash: nothing is closed.
    drop(broker);
    let broker = on_disk(dir.path(), &clock).await;
    let back = GroupJoin { returning: returning(&id_two, &nothing), ..request(&topics) };
    let mut two = broker.join_group(back).await.unwrap();
    assert!(next(&mut two).await.partitions.is_empty(), "the other one has it still");
    // One comes back and reads still what it was to give up.
    let both = Assignment {
        partitions: topics
            .iter()
            .map(|topic| (TopicPartition { topic: topic.clone(), partition: 0 }, None))
            .collect(),
        ..less.clone()
    };
    let back = GroupJoin { returning: returning(&id_one, &both), ..request(&topics) };
    let mut one = broker.join_group(back).await.unwrap();
    assert_eq!(next(&mut one).await, less);
    assert_eq!(broker.describe_group("g").await.unwrap().summary.state, GroupState::Reconciling);
    one.confirm(less.epoch, &partitions(&less)).await.unwrap();
    assert_eq!(next(&mut two).await.partitions.len(), 1);
    assert_eq!(broker.describe_group("g").await.unwrap().summary.state, GroupState::Stable);
    broker.close().await.unwrap();
}

#[tokio::test]
async fn an_owner_that_does_not_come_back_after_a_restart_has_its_session_timeout() {
    let dir = tempfile::tempdir().unwrap();
    let clock = ManualClock::at(1_000);
    let broker = on_disk(dir.path(), &clock).await;
    let topics = topics(&broker, 2).await;
    let mut gone = join(&broker, &topics).await;
    settle(&mut gone, 2).await;
    drop(gone);
    drop(broker);
    clock.pass(10 * SESSION);
    let broker = on_disk(dir.path(), &clock).await;
    let mut member = join(&broker, &topics).await;
    assert!(next(&mut member).await.partitions.is_empty());
    clock.pass(SESSION - Duration::from_millis(1));
    member.heard();
    broker.expire_groups().await;
    assert_eq!(broker.describe_group("g").await.unwrap().members.len(), 2);
    clock.pass(Duration::from_millis(2));
    broker.expire_groups().await;
    settle(&mut member, 2).await;
    broker.close().await.unwrap();
}

#[tokio::test]
async fn a_broken_stream_keeps_its_member_until_its_session_timeout() {
    let clock = ManualClock::at(1_000);
    let broker = memory(&clock).await;
    let topics = topics(&broker, 2).await;
    let mut one = join(&broker, &topics).await;
    let had = settle(&mut one, 2).await;
    let id = one.member_id().to_owned();
    drop(one);
    clock.pass(SESSION - Duration::from_millis(1));
    broker.expire_groups().await;
    let described = broker.describe_group("g").await.unwrap();
    assert_eq!((described.members.len(), described.members[0].client_address.as_deref()), (1, None));
    let back = || GroupJoin { returning: returning(&id, &had), ..request(&topics) };
    let mut one = broker.join_group(back()).await.unwrap();
    assert_eq!(next(&mut one).await, had, "nothing has changed");
    // Another stream takes its place, and the older one is told.
    let mut again = broker.join_group(back()).await.unwrap();
    assert!(matches!(one.next_assignment().await, Err(Error::Group(GroupError::Fenced { .. }))));
    drop(one);
    assert_eq!(next(&mut again).await, had);
    clock.pass(SESSION + Duration::from_millis(1));
    broker.expire_groups().await;
    assert!(matches!(again.next_assignment().await, Err(Error::Group(GroupError::UnknownMember { .. }))));
    let late = broker.join_group(back()).await;
    assert!(matches!(late, Err(Error::Group(GroupError::UnknownMember { .. }))));
}

#[tokio::test]
async fn a_member_that_never_gives_up_is_taken_for_dead() {
    let clock = ManualClock::at(1_000);
    let broker = memory(&clock).await;
    let topics = topics(&broker, 2).await;
    let mut stubborn = join(&broker, &topics).await;
    settle(&mut stubborn, 2).await;
    let mut patient = join(&broker, &topics).await;
    for _ in 0..7 {
        clock.pass(Duration::from_secs(10));
        stubborn.heard();
        patient.heard();
        broker.expire_groups().await;
    }
    settle(&mut patient, 2).await;
    let told = async { while stubborn.next_assignment().await.is_ok() {} };
    tokio::time::timeout(Duration::from_secs(20), told).await.expect("it is told");
    assert!(stubborn.confirm(2, &[]).await.is_err());
}

#[tokio::test]
async fn an_instance_keeps_its_place() {
    let broker = memory(&ManualClock::at(1_000)).await;
    let topics = topics(&broker, 4).await;
    let named = |name: &str| GroupJoin { instance_id: name.into(), ..request(&topics) };
    let mut one = broker.join_group(named("one")).await.unwrap();
    let mut two = broker.join_group(named("two")).await.unwrap();
    settle(&mut one, 2).await;
    let had = settle(&mut two, 2).await;
    assert!(matches!(
        broker.join_group(named("two")).await,
        Err(Error::Group(GroupError::InstanceInUse { .. }))
    ));
    let old_id = two.member_id().to_owned();
    drop(two);
    let mut two = broker.join_group(named("two")).await.unwrap();
    let has = next(&mut two).await;
    assert_eq!(partitions(&has), partitions(&had));
    let old = PositionsBy::Member { member_id: old_id, epoch: had.epoch };
    let late = broker.commit_positions("g", old, vec![position(&has.partitions[0].0.topic, 0)]).await;
    assert!(matches!(late, Err(Error::Group(GroupError::UnknownMember { .. }))), "the old process is fenced");
    let quiet = tokio::time::timeout(Duration::ZERO, one.next_assignment()).await;
    assert!(quiet.is_err(), "nobody else notices");
}

#[tokio::test]
async fn topics_that_come_and_go_are_followed() {
    let broker = memory(&ManualClock::at(1_000)).await;
    let wanted = ["t0".to_owned(), "t1".to_owned()];
    let mut member = join(&broker, &wanted).await;
    assert!(next(&mut member).await.partitions.is_empty());
    topics(&broker, 2).await;
    let has = settle(&mut member, 2).await;
    broker.commit_positions("g", by(&member, has.epoch), vec![position("t1", 0)]).await.unwrap();
    broker.delete_topic("t1").await.unwrap();
    settle(&mut member, 1).await;
    let stored = broker.group_positions("g", None).unwrap();
    assert!(stored.iter().all(|(of, _)| of.topic == "t0"), "{stored:?}");
    broker.create_topic("t1", 1).await.unwrap();
    let has = settle(&mut member, 2).await;
    let begin = Some(Offset::ZERO);
    assert!(has.partitions.iter().all(|(_, position)| *position == begin), "it is another topic");
    member.subscribe(vec!["t0".to_owned()]).await.unwrap();
    settle(&mut member, 1).await;
}

#[tokio::test]
async fn partitions_that_a_topic_gets_are_shared_too() {
    let broker = memory(&ManualClock::at(1_000)).await;
    broker.create_topic("t", 4).await.unwrap();
    let mut one = join(&broker, &["t".to_owned()]).await;
    let mut two = join(&broker, &["t".to_owned()]).await;
    settle(&mut one, 2).await;
    let had = settle(&mut two, 2).await;
    let change = TopicChange { partitions: Some(7), ..TopicChange::default() };
    broker.alter_topic("t", change).await.unwrap();
    let (first, second) = (next(&mut one).await, next(&mut two).await);
    assert_eq!(first.partitions.len() + second.partitions.len(), 7);
    assert!(partitions(&had).iter().all(|of| partitions(&second).contains(of)), "who had something keeps it");
}

#[tokio::test]
async fn positions_are_durable_and_expire_after_the_group_is_empty() {
    let dir = tempfile::tempdir().unwrap();
    let clock = ManualClock::at(1_000);
    let broker = on_disk(dir.path(), &clock).await;
    let topics = topics(&broker, 1).await;
    produce(&broker, "t0", "x").await.unwrap();
    let mut member = join(&broker, &topics).await;
    let has = settle(&mut member, 1).await;
    broker.commit_positions("g", by(&member, has.epoch), vec![position("t0", 1)]).await.unwrap();
    clock.pass(2 * WEEK);
    member.heard();
    broker.expire_groups().await;
    member.leave().await.unwrap();
    drop(broker);
    let broker = on_disk(dir.path(), &clock).await;
    let (_, stored) = broker.group_positions("g", None).unwrap().remove(0);
    assert_eq!((stored.offset, stored.metadata.as_str()), (Offset::new(1), "m"));
    assert_eq!(stored.committed_at, 1_000_000);
    clock.pass(WEEK - Duration::from_secs(1));
    broker.expire_groups().await;
    assert_eq!(broker.groups("", 10).len(), 1);
    clock.pass(Duration::from_secs(2));
    broker.expire_groups().await;
    assert!(broker.groups("", 10).is_empty());
    broker.close().await.unwrap();
}

#[tokio::test]
async fn lag_is_counted_in_messages_and_in_time() {
    let clock = ManualClock::at(1_000);
    let broker = memory(&clock).await;
    topics(&broker, 1).await;
    for _ in 0..3 {
        produce(&broker, "t0", "x").await.unwrap();
        clock.pass(Duration::from_secs(10));
    }
    let mut lags = Vec::new();
    for offset in 0..=3 {
        broker.commit_positions("g", PositionsBy::Outsider, vec![position("t0", offset)]).await.unwrap();
        let lag = broker.describe_group("g").await.unwrap().positions[0].lag;
        lags.push((lag.messages, lag.age.as_secs()));
    }
    assert_eq!(lags, [(3, 30), (2, 20), (1, 10), (0, 0)]);
}

#[tokio::test]
async fn positions_are_moved_and_shown_before() {
    let broker = memory(&ManualClock::at(1_000)).await;
    let topics = topics(&broker, 2).await;
    for _ in 0..4 {
        produce(&broker, "t0", "x").await.unwrap();
    }
    let seek = async |named: &[String], to, mode| broker.seek_group("g", named, &[], to, mode).await;
    assert!(matches!(
        seek(&[], SeekTo::Earliest, SeekMode::Move).await,
        Err(Error::Group(GroupError::NotFound(_)))
    ));
    let shown = seek(&topics, SeekTo::Latest, SeekMode::Preview).await.unwrap();
    assert_eq!(
        shown.iter().map(|sought| (sought.from, sought.to.get())).collect::<Vec<_>>(),
        [(None, 4), (None, 0)]
    );
    assert!(broker.groups("", 10).is_empty(), "it was only shown");
    seek(&topics, SeekTo::Offset(Offset::new(2)), SeekMode::Move).await.unwrap();
    let moved = seek(&[], SeekTo::Earliest, SeekMode::Move).await.unwrap();
    assert_eq!(moved.iter().map(|sought| sought.from.unwrap().get()).collect::<Vec<_>>(), [2, 0]);
    let mut member = join(&broker, &topics).await;
    settle(&mut member, 2).await;
    for refused in [
        seek(&[], SeekTo::Latest, SeekMode::Move).await.map(drop),
        seek(&topics, SeekTo::Latest, SeekMode::Preview).await.map(drop),
        broker.delete_group("g").await,
    ] {
        assert!(matches!(refused, Err(Error::Group(GroupError::NotEmpty { members: 1, .. }))), "{refused:?}");
    }
    member.leave().await.unwrap();
    broker.delete_group("g").await.unwrap();
    assert!(broker.groups("", 10).is_empty());
}

#[tokio::test]
async fn what_cannot_be_stored_is_refused_whole() {
    let broker = memory(&ManualClock::at(1_000)).await;
    topics(&broker, 2).await;
    let commit = async |positions| broker.commit_positions("g", PositionsBy::Outsider, positions).await;
    let other = |topic: &str, partition| PositionToStore {
        of: TopicPartition { topic: topic.into(), partition },
        ..position("t0", 0)
    };
    let large = PositionToStore { metadata: "x".repeat(4097), ..position("t1", 0) };
    for (bad, rule) in [
        (position("t1", 1), "out of range"),
        (other("nowhere", 0), "not found"),
        (other("t1", 1), "not found"),
        (large, "metadata"),
        (position("t0", 0), "two positions"),
    ] {
        let error = commit(vec![position("t0", 0), bad]).await.unwrap_err().to_string();
        assert!(error.contains(rule), "{error}");
    }
    assert!(broker.groups("", 10).is_empty());
    let error = broker.commit_positions("", PositionsBy::Outsider, vec![]).await.unwrap_err();
    assert!(matches!(error, Error::Group(GroupError::InvalidName(_))), "{error}");
}

#[tokio::test]
async fn ten_members_share_900_partitions_of_many_topics() {
    let broker = memory(&ManualClock::at(1_000)).await;
    let topics = topics(&broker, 900).await;
    let begin = std::time::Instant::now();
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    for number in 0..10 {
        let (mut member, tell) = (join(&broker, &topics).await, tell.clone());
        tokio::spawn(async move {
            while let Ok(assignment) = member.next_assignment().await {
                let has = partitions(&assignment);
                member.confirm(assignment.epoch, &has).await.unwrap();
                if tell.send((number, has)).is_err() {
                    return;
                }
            }
        });
    }
    let mut has = vec![Vec::new(); 10];
    while has.iter().any(|has| has.len() != 90) {
        let (number, partitions) = told.recv().await.unwrap();
        has[number] = partitions;
    }
    let seen: BTreeSet<TopicPartition> = has.into_iter().flatten().collect();
    println!("ten members, 900 partitions, settled in {:?}", begin.elapsed());
    assert_eq!(seen.len(), 900);
    // Far more than it takes, so that a busy machine fails nothing.
    assert!(begin.elapsed() < Duration::from_secs(30));
}
