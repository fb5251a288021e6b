//! Consumer groups when nobody could be heard for a while.

use std::time::Duration;

use minikafka_broker::Broker;

use crate::{
    classic_groups,
    groups::{SESSION, join, memory, next, partitions, settle, topics},
    setup::ManualClock,
};

const HICCUP: Duration = Duration::from_secs(1);

async fn members(broker: &Broker) -> usize {
    broker.expire_groups().await;
    // A group without members and positions is none.
    broker.describe_group("g").await.map_or(0, |group| group.members.len())
}

#[tokio::test]
async fn a_machine_that_has_slept_gives_its_members_their_session_anew() {
    let clock = ManualClock::at(1_000);
    let broker = memory(&clock).await;
    let topics = topics(&broker, 1).await;
    let mut member = join(&broker, &topics).await;
    settle(&mut member, 1).await;
    for sleep in [10 * SESSION, SESSION / 2] {
        clock.pass(SESSION - HICCUP);
        clock.sleep(sleep);
        assert_eq!(members(&broker).await, 1, "it could not be heard");
    }
    clock.pass(SESSION - HICCUP);
    assert_eq!(members(&broker).await, 1, "it has all of its time");
    clock.pass(2 * HICCUP);
    assert_eq!(members(&broker).await, 0, "it was silent");
}

#[tokio::test]
async fn a_machine_that_has_slept_gives_time_anew_to_give_partitions_up() {
    let clock = ManualClock::at(1_000);
    let broker = memory(&clock).await;
    let topics = topics(&broker, 2).await;
    let mut one = join(&broker, &topics).await;
    settle(&mut one, 2).await;
    let mut two = join(&broker, &topics).await;
    let less = next(&mut one).await;
    clock.sleep(Duration::from_secs(3600));
    assert_eq!(members(&broker).await, 2, "it could not answer");
    one.confirm(less.epoch, &partitions(&less)).await.unwrap();
    settle(&mut two, 1).await;
}

#[tokio::test]
async fn a_machine_that_has_slept_gives_classic_members_their_session_anew() {
    let clock = ManualClock::at(1_000);
    let broker = memory(&clock).await;
    classic_groups::join(&broker, &clock).await;
    clock.sleep(Duration::from_secs(3600));
    broker.expire_groups().await;
    let members = || broker.classic_group("g").map_or(0, |group| group.members.len());
    assert_eq!(members(), 1, "it could not be heard");
    clock.pass(Duration::from_secs(11));
    broker.expire_groups().await;
    assert_eq!(members(), 0, "it was silent");
}
