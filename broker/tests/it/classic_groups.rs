//! Groups of members that speak Kafka's classic protocol, where the log of groups matters.

use std::time::Duration;

use bytes::Bytes;
use minikafka_broker::{
    Broker, BrokerConfig, ClassicJoin, ClassicMember, ClassicProtocol, Error, GroupError, PositionsBy,
};

use crate::{
    groups::{memory, position, request, topics},
    rig::Rig,
    setup::{ManualClock, produce},
};

fn classic() -> ClassicJoin {
    ClassicJoin {
        group: "g".into(),
        client_id: "test".into(),
        session_timeout: Duration::from_secs(10),
        rebalance_timeout: Duration::from_secs(60),
        protocol_type: "consumer".into(),
        protocols: vec![ClassicProtocol { name: "range".into(), metadata: Bytes::new() }],
        ..ClassicJoin::default()
    }
}

/// Joins, while the clock is moved.
async fn join(broker: &Broker, clock: &ManualClock) -> ClassicMember {
    let joining = broker.join_classic(classic());
    tokio::pin!(joining);
    let joined = loop {
        tokio::select! {
            joined = &mut joining => break joined.unwrap(),
            () = tokio::task::yield_now() => {
                clock.pass(Duration::from_millis(1));
                broker.expire_groups().await;
            }
        }
    };
    let (member_id, generation) = (joined.member_id, joined.generation);
    ClassicMember { group: "g".into(), member_id, instance_id: None, generation }
}

#[tokio::test]
async fn an_occupation_that_nobody_was_told_of_ends_by_itself() {
    let clock = ManualClock::at(1_000);
    let (storage, rig) = Rig::new();
    let config = BrokerConfig { clock: clock.clone(), retention: None, ..BrokerConfig::default() };
    let broker = Broker::open(storage, config).await.unwrap();
    let topics = topics(&broker, 1).await;
    rig.fail("doubt __minikafka_groups");
    let ghost = broker.join_classic(classic()).await;
    assert!(matches!(ghost, Err(Error::OutcomeUnknown { .. })), "{ghost:?}");
    rig.mend("doubt __minikafka_groups");
    // This opens the log again, and in it is the occupation.
    loop {
        match broker.join_group(request(&topics)).await {
            Ok(_) => break,
            Err(Error::Group(GroupError::OtherProtocol { .. })) => broker.expire_groups().await,
            Err(error) => panic!("{error}"),
        }
    }
}

#[tokio::test]
async fn a_group_is_nobodys_once_its_silent_members_are_taken_for_dead() {
    let clock = ManualClock::at(1_000);
    let broker = memory(&clock).await;
    let topics = topics(&broker, 1).await;
    produce(&broker, "t0", "a").await.unwrap();
    let member = join(&broker, &clock).await;
    let by = || PositionsBy::Classic(member.clone());
    let early = broker.commit_positions("g", by(), vec![position("t0", 1)]).await;
    assert!(matches!(early, Err(Error::Group(GroupError::RebalanceInProgress(_)))), "{early:?}");
    let refused = broker.join_group(request(&topics)).await;
    assert!(matches!(refused, Err(Error::Group(GroupError::OtherProtocol { .. }))));
    clock.pass(Duration::from_secs(10));
    broker.expire_groups().await;
    let late = broker.commit_positions("g", by(), vec![position("t0", 1)]).await;
    assert!(matches!(late, Err(Error::Group(GroupError::UnknownMember { .. }))), "{late:?}");
    drop(broker.join_group(request(&topics)).await.unwrap());
}
