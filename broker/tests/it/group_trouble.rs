//! Consumer groups when something under them changes or fails: topics, the disk.

use std::time::Duration;

use minikafka_broker::{Broker, BrokerConfig, Error, GroupError, GroupJoin, PositionsBy};
use minikafka_record::Offset;

use crate::{
    groups::{SESSION, by, join, memory, next, partitions, position, request, settle, topics},
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
    assert_eq!((partitions(&has), has.partitions[0].1), (partitions(&had), None), "it begins anew");
    broker.commit_positions("g", by(&member, has.epoch), vec![position("t0", 1)]).await.unwrap();
}
