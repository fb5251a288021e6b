//! How far groups are behind, and what it costs to know.

use std::{sync::Arc, time::Duration};

use minikafka_broker::{
    Broker, BrokerConfig, GroupJoin, GroupLag, Lag, PositionToStore, PositionsBy, TopicPartition,
};
use minikafka_record::Offset;

use crate::{
    rig::Rig,
    setup::{ManualClock, messages},
};

/// Time enough to look at everything.
const LONG: Duration = Duration::from_secs(3600);

/// A broker with so many partitions, and three messages in each, a second apart; the last one second old.
async fn broker(partitions: u32) -> (Broker, Arc<Rig>) {
    let clock = ManualClock::at(1_000);
    let (storage, rig) = Rig::new();
    let config = BrokerConfig { clock: clock.clone(), retention: None, ..BrokerConfig::default() };
    let broker = Broker::open(storage, config).await.unwrap();
    broker.create_topic("t", partitions).await.unwrap();
    for _ in 0..3 {
        for number in 0..partitions {
            let partition = broker.partition("t", Some(number)).unwrap();
            let payload = broker.check(messages(&["x"])).unwrap();
            partition.produce(payload).await.unwrap().await.unwrap();
        }
        clock.pass(Duration::from_secs(1));
    }
    (broker, rig)
}

async fn commit(broker: &Broker, group: &str, partitions: u32, offset: u64) {
    let position = |partition| PositionToStore {
        of: TopicPartition { topic: "t".to_owned(), partition },
        offset: Offset::new(offset),
        metadata: String::new(),
    };
    let positions = (0..partitions).map(position).collect();
    broker.commit_positions(group, PositionsBy::Outsider, positions).await.unwrap();
}

fn lag(group: &str, messages: u64, age_s: Option<u64>) -> GroupLag {
    GroupLag { group: group.to_owned(), messages, age: age_s.map(Duration::from_secs) }
}

fn seeks(rig: &Rig) -> usize {
    rig.events().iter().filter(|event| *event == "seek t").count()
}

#[tokio::test]
async fn a_group_that_has_committed_nothing_is_behind_by_all_there_is() {
    let (broker, _rig) = broker(2).await;
    let join = GroupJoin { group: "g".into(), topics: vec!["t".into()], ..GroupJoin::default() };
    let mut member = broker.join_group(join).await.unwrap();
    let assigned = member.next_assignment().await.unwrap();
    assert_eq!(assigned.partitions.len(), 2);
    let described = broker.describe_group("g").await.unwrap();
    let all = Lag { messages: 3, age: Duration::from_secs(3) };
    assert!(described.positions.iter().all(|position| position.stored.is_none() && position.lag == all));
    assert_eq!(broker.group_lags(10, LONG), [lag("g", 6, Some(3))]);
}

#[tokio::test]
async fn what_was_read_for_the_age_is_remembered() {
    let (broker, rig) = broker(4).await;
    for (group, offset) in [("a", 0), ("b", 1), ("c", 1), ("d", 3)] {
        commit(&broker, group, 4, offset).await;
    }
    let before = seeks(&rig);
    let expected = [lag("a", 12, Some(3)), lag("b", 8, Some(2)), lag("c", 8, Some(2)), lag("d", 0, Some(0))];
    assert_eq!(broker.group_lags(10, LONG), expected);
    assert_eq!(seeks(&rig) - before, 8, "one for each place, not for each group");
    assert_eq!(broker.group_lags(10, LONG), expected);
    broker.describe_group("b").await.unwrap();
    assert_eq!(seeks(&rig) - before, 8, "groups that stand still cost nothing more");
    commit(&broker, "b", 4, 2).await;
    assert_eq!(broker.group_lags(10, LONG)[1], lag("b", 4, Some(1)));
    assert_eq!(seeks(&rig) - before, 12);
    assert_eq!(broker.group_lags(2, LONG).len(), 2, "no more than are wanted");
    assert_eq!(broker.group_count(), 4);
}

#[tokio::test]
async fn a_log_that_cannot_be_read_costs_the_age_and_nothing_else() {
    let (broker, rig) = broker(1).await;
    commit(&broker, "behind", 1, 0).await;
    commit(&broker, "done", 1, 3).await;
    rig.fail("seek t");
    assert_eq!(broker.group_lags(10, LONG), [lag("behind", 3, None), lag("done", 0, Some(0))]);
    broker.describe_group("behind").await.unwrap_err();
    rig.mend("seek t");
    assert_eq!(broker.group_lags(10, LONG)[0], lag("behind", 3, Some(3)));
    assert!(broker.group_lags(10, Duration::ZERO).is_empty(), "no time at all");
}
