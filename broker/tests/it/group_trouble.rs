//! Consumer groups when something under them changes or fails: topics, the disk.

use std::{path::Path, time::Duration};

use minikafka_broker::{
    Broker, BrokerConfig, Error, GroupError, GroupJoin, Leave, MemberHeartbeat, PositionToStore, PositionsBy,
    TopicPartition,
};
use minikafka_record::Offset;

use crate::{
    groups::{SESSION, WEEK, by, join, memory, next, on_disk, partitions, position, request, settle, topics},
    rig::Rig,
    setup::{ManualClock, produce},
};

#[tokio::test]
async fn a_member_begins_anew_in_a_topic_that_was_made_anew() {
    let broker = memory(&ManualClock::at(1_000)).await;
    let topics = topics(&broker, 1).await;
    for _ in 0..3 {
        produce(&broker, "t0", "old").await.unwrap();
    }
    let mut member = join(&broker, &topics).await;
    let had = settle(&mut member, 1).await;
    broker.commit_positions("g", by(&member, had.epoch), vec![position("t0", 3)]).await.unwrap();
    // Nobody looks between the two.
    broker.delete_topic("t0").await.unwrap();
    broker.create_topic("t0", 1).await.unwrap();
    for _ in 0..5 {
        produce(&broker, "t0", "new").await.unwrap();
    }
    let nothing = next(&mut member).await;
    assert!(nothing.partitions.is_empty(), "it is to stop reading the old one first: {nothing:?}");
    // It had read a little more of the old one, and there is such a number in the new one.
    for epoch in [had.epoch, nothing.epoch] {
        let late = broker.commit_positions("g", by(&member, epoch), vec![position("t0", 4)]).await;
        let is_refused =
            matches!(late, Err(Error::Group(GroupError::NotOwner { .. } | GroupError::StaleEpoch { .. })));
        assert!(is_refused, "{late:?}");
    }
    member.confirm(nothing.epoch, &[]).await.unwrap();
    let has = next(&mut member).await;
    let begin = Some(Offset::ZERO);
    assert_eq!((partitions(&has), has.partitions[0].1), (partitions(&had), begin), "it begins anew");
    broker.commit_positions("g", by(&member, has.epoch), vec![position("t0", 1)]).await.unwrap();
}

#[tokio::test]
async fn what_a_failing_disk_has_kept_is_taken_up_when_its_log_is_opened_again() {
    let clock = ManualClock::at(1_000);
    let (storage, rig) = Rig::new();
    let config = BrokerConfig { clock: clock.clone(), retention: None, ..BrokerConfig::default() };
    let broker = Broker::open(storage, config).await.unwrap();
    let topics = topics(&broker, 3).await;
    let mut one = join(&broker, &topics).await;
    let had = settle(&mut one, 3).await;
    rig.fail("doubt __minikafka_groups");
    let ghost = broker.join_group(request(&topics)).await;
    assert!(matches!(ghost, Err(Error::OutcomeUnknown { .. })), "{ghost:?}");
    rig.mend("doubt __minikafka_groups");
    // This opens the log again, and in it is the member that nobody has heard of.
    let mut two = join(&broker, &topics).await;
    assert_eq!(broker.describe_group("g").await.unwrap().members.len(), 3);
    // One is told, and the member without a stream is taken for dead in time.
    let less = next(&mut one).await;
    assert!(less.partitions.len() < had.partitions.len());
    one.confirm(less.epoch, &partitions(&less)).await.unwrap();
    while broker.describe_group("g").await.unwrap().members.len() > 2 {
        clock.pass(SESSION / 3);
        one.heard();
        two.heard();
        broker.expire_groups().await;
        tokio::task::yield_now().await;
    }
    let (mut of_one, mut of_two) = (less, next(&mut two).await);
    while of_one.partitions.len() + of_two.partitions.len() < 3 {
        tokio::select! {
            assignment = next(&mut one) => of_one = assignment,
            assignment = next(&mut two) => of_two = assignment,
        }
        one.confirm(of_one.epoch, &partitions(&of_one)).await.unwrap();
    }
}

#[tokio::test]
async fn a_member_that_a_failing_disk_has_removed_is_told() {
    let clock = ManualClock::at(1_000);
    let (storage, rig) = Rig::new();
    let config = BrokerConfig { clock, retention: None, ..BrokerConfig::default() };
    let broker = Broker::open(storage, config).await.unwrap();
    let topics = topics(&broker, 2).await;
    let mut one = join(&broker, &topics).await;
    let mut two = join(&broker, &topics).await;
    let less = settle(&mut one, 1).await;
    settle(&mut two, 1).await;
    rig.fail("doubt __minikafka_groups");
    assert!(matches!(two.leave().await, Err(Error::OutcomeUnknown { .. })));
    rig.mend("doubt __minikafka_groups");
    // Whatever comes next opens the log again.
    broker.commit_positions("g", by(&one, less.epoch), vec![]).await.unwrap();
    assert_eq!(next(&mut one).await.partitions.len(), 2, "what two had is free, and one hears of it");
}

/// Spoils what the log of groups holds behind its snapshot.
fn spoil_groups(dir: &Path) {
    let logs = std::fs::read_dir(dir.join("logs")).unwrap().map(|log| log.unwrap().path());
    let groups = logs.filter(|log| log.to_string_lossy().contains("__minikafka_groups"));
    let files = groups.flat_map(|log| std::fs::read_dir(log).unwrap().map(|file| file.unwrap().path()));
    let mut spoiled = 0;
    for file in files.filter(|file| file.to_string_lossy().ends_with(".log")) {
        let mut content = std::fs::read(&file).unwrap();
        (20..content.len()).step_by(64).for_each(|at| content[at] ^= 0x55);
        std::fs::write(&file, content).unwrap();
        spoiled += 1;
    }
    assert!(spoiled > 0);
}

#[tokio::test]
async fn groups_that_were_empty_expire_also_after_a_loss() {
    const PARTITIONS: u32 = 30;
    let dir = tempfile::tempdir().unwrap();
    let clock = ManualClock::at(1_000);
    let broker = on_disk(dir.path(), &clock).await;
    broker.create_topic("t", PARTITIONS).await.unwrap();
    let marked = |partition| PositionToStore {
        of: TopicPartition { topic: "t".into(), partition },
        offset: Offset::ZERO,
        metadata: "x".repeat(4096),
    };
    let lost = GroupJoin { group: "lost".into(), ..request(&[]) };
    drop(broker.join_group(lost).await.unwrap());
    // So much that there is a snapshot, and something behind it.
    for _ in 0..15 {
        let positions = (0..PARTITIONS).map(marked).collect();
        broker.commit_positions("g", PositionsBy::Outsider, positions).await.unwrap();
    }
    broker.close().await.unwrap();
    drop(broker);
    spoil_groups(dir.path());
    let broker = on_disk(dir.path(), &clock).await;
    let names: Vec<_> = broker.groups("", 10).into_iter().map(|group| group.name).collect();
    assert_eq!(names, ["g"], "the snapshot has it, and the other one's member has to join anew");
    clock.pass(WEEK + Duration::from_secs(1));
    broker.expire_groups().await;
    assert!(broker.groups("", 10).is_empty());
    broker.close().await.unwrap();
}

#[tokio::test]
async fn names_of_members_have_no_control_characters() {
    let broker = memory(&ManualClock::at(1_000)).await;
    for name in ["\u{1b}[2J", "a\nb", "\0"] {
        for join in [
            GroupJoin { client_id: name.into(), ..request(&[]) },
            GroupJoin { instance_id: name.into(), ..request(&[]) },
        ] {
            let refused = broker.join_group(join).await;
            assert!(matches!(refused, Err(Error::InvalidRequest(_))), "{refused:?}");
        }
    }
    assert!(broker.groups("", 10).is_empty());
    let named = GroupJoin { client_id: "größe 1".into(), instance_id: "日本語".into(), ..request(&[]) };
    broker.join_group(named).await.unwrap();
}

#[tokio::test]
async fn a_group_of_which_nothing_is_left_uses_up_no_place() {
    let broker = memory(&ManualClock::at(1_000)).await;
    let topics = topics(&broker, 1).await;
    broker.commit_positions("g", PositionsBy::Outsider, vec![]).await.unwrap();
    assert!(broker.groups("", 10).is_empty());
    join(&broker, &topics).await.leave().await.unwrap();
    assert!(broker.groups("", 10).is_empty());
    broker.commit_positions("g", PositionsBy::Outsider, vec![position("t0", 0)]).await.unwrap();
    join(&broker, &topics).await.leave().await.unwrap();
    assert_eq!(broker.groups("", 10).len(), 1, "its position stays");
}

#[tokio::test]
async fn a_member_that_is_heard_while_the_disk_stalls_stays() {
    let clock = ManualClock::at(1_000);
    let (storage, rig) = Rig::new();
    let config = BrokerConfig { clock: clock.clone(), retention: None, ..BrokerConfig::default() };
    let broker = Broker::open(storage, config).await.unwrap();
    let topics = topics(&broker, 2).await;
    let mut late = join(&broker, &topics).await;
    let silent = GroupJoin { group: "h".into(), ..request(&topics) };
    let mut silent = broker.join_group(silent).await.unwrap();
    settle(&mut late, 2).await;
    let appends = || rig.events().iter().filter(|event| *event == "append __minikafka_groups").count();
    let before = appends();
    rig.hold("append");
    let other = broker.clone();
    let stalled = tokio::spawn(async move {
        other.commit_positions("other", PositionsBy::Outsider, vec![position("t0", 0)]).await
    });
    rig.seen("append __minikafka_groups", before + 1).await;
    // Both are to be removed as soon as the disk goes on, and one of them is heard before that.
    clock.pass(SESSION + Duration::from_millis(1));
    let other = broker.clone();
    let expiry = tokio::spawn(async move { other.expire_groups().await });
    tokio::task::yield_now().await;
    late.heard();
    rig.release("append");
    expiry.await.unwrap();
    stalled.await.unwrap().unwrap();
    assert_eq!(broker.describe_group("g").await.unwrap().members.len(), 1);
    assert!(matches!(silent.next_assignment().await, Ok(_) | Err(Error::Group(_))));
    assert!(broker.describe_group("h").await.is_err(), "it was silent");
    // It has an alarm as before.
    clock.pass(SESSION + Duration::from_millis(1));
    broker.expire_groups().await;
    assert!(broker.describe_group("g").await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_comes_back_under_its_name_while_it_goes_is_there_and_heard() {
    let clock = ManualClock::at(1_000);
    let broker = memory(&clock).await;
    topics(&broker, 1).await;
    let says = |epoch| MemberHeartbeat {
        group: "g".into(),
        member_id: "m".into(),
        client_address: "here".into(),
        epoch,
        topics: Some(vec!["t0".into()]),
        rebalance_timeout: Some(SESSION),
        ..MemberHeartbeat::default()
    };
    broker.heartbeat_member(says(None)).await.unwrap();
    for _ in 0..200 {
        let (leaving, coming) = (broker.clone(), broker.clone());
        let leaving = tokio::spawn(async move { leaving.leave_member("g", "m", "", Leave::ForGood).await });
        let join = says(None);
        let coming = tokio::spawn(async move { coming.heartbeat_member(join).await });
        leaving.await.unwrap().unwrap();
        let came = coming.await.unwrap();
        match broker.describe_group("g").await {
            Ok(found) => {
                came.unwrap();
                assert_eq!(found.members[0].client_address.as_deref(), Some("here"), "its session is known");
            }
            // It came before it went, and may have gone before it was answered.
            Err(_) => {
                assert!(
                    matches!(came, Ok(_) | Err(Error::Group(GroupError::UnknownMember { .. }))),
                    "{came:?}"
                );
                broker.heartbeat_member(says(None)).await.unwrap();
            }
        }
    }
    clock.pass(SESSION + Duration::from_millis(1));
    broker.expire_groups().await;
    assert!(broker.describe_group("g").await.is_err(), "and so is its silence");
}
