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

pub(crate) fn classic() -> ClassicJoin {
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
pub(crate) async fn join(broker: &Broker, clock: &ManualClock) -> ClassicMember {
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

#[tokio::test]
async fn whoever_hangs_up_while_it_waits_has_its_session_timeout_from_then_on() {
    let clock = ManualClock::at(1_000);
    let broker = memory(&clock).await;
    let member = join(&broker, &clock).await;
    let lives = || drop(broker.heartbeat_classic(&member));
    let mut joining = Box::pin(broker.join_classic(classic()));
    let members = || broker.classic_group("g").map_or(0, |group| group.members.len());
    while members() < 2 {
        tokio::select! {
            joined = &mut joining => panic!("the first one has not joined: {joined:?}"),
            () = tokio::task::yield_now() => {}
        }
    }
    clock.pass(Duration::from_secs(9));
    lives();
    drop(joining);
    clock.pass(Duration::from_secs(9));
    lives();
    broker.expire_groups().await;
    assert_eq!(members(), 2);
    clock.pass(Duration::from_secs(1));
    broker.expire_groups().await;
    assert_eq!(members(), 1);
}

#[tokio::test]
async fn a_disk_that_is_slow_for_one_group_makes_nobody_late_in_others() {
    let (storage, rig) = Rig::new();
    let config = BrokerConfig { retention: None, ..BrokerConfig::default() };
    let broker = Broker::open(storage, config).await.unwrap();
    let of = |group: &str, seconds| ClassicJoin {
        group: group.into(),
        session_timeout: Duration::from_secs(seconds),
        rebalance_timeout: Duration::from_secs(3),
        ..classic()
    };
    // One that nobody hears any more, and one that does not join again when somebody comes.
    broker.join_classic(of("silent", 1)).await.unwrap();
    broker.join_classic(of("other", 600)).await.unwrap();
    let stored = rig.events().iter().filter(|event| *event == "append __minikafka_groups").count();
    rig.hold("append");
    let (joined, ()) = tokio::join!(
        tokio::time::timeout(Duration::from_secs(20), broker.join_classic(of("other", 600))),
        rig.seen("append __minikafka_groups", stored + 1),
    );
    assert_eq!(joined.expect("the timer waits for the disk").unwrap().members.len(), 1);
    rig.release("append");
}

#[tokio::test]
async fn generations_go_on_though_the_disk_did_not_take_the_end_at_first() {
    let clock = ManualClock::at(1_000);
    let (storage, rig) = Rig::new();
    let config = BrokerConfig { clock: clock.clone(), retention: None, ..BrokerConfig::default() };
    let broker = Broker::open(storage, config).await.unwrap();
    topics(&broker, 1).await;
    // A group of which nothing is left begins anew.
    broker.commit_positions("g", PositionsBy::Outsider, vec![position("t0", 0)]).await.unwrap();
    let mut member = join(&broker, &clock).await;
    // Generations run ahead of what the log knows: it has something else to say each time.
    for said in ["a", "b", "c", "d"] {
        let protocols = vec![ClassicProtocol { name: "range".into(), metadata: said.into() }];
        let again = ClassicJoin { member_id: member.member_id.clone(), protocols, ..classic() };
        let joined = broker.join_classic(again).await.unwrap();
        assert_eq!(joined.generation, member.generation + 1);
        member.generation = joined.generation;
    }
    rig.fail("refuse __minikafka_groups");
    clock.pass(Duration::from_secs(60));
    broker.expire_groups().await;
    assert!(broker.classic_group("g").is_none());
    rig.mend("refuse __minikafka_groups");
    clock.pass(Duration::from_secs(10));
    broker.expire_groups().await;
    let next = join(&broker, &clock).await;
    assert!(next.generation > member.generation, "{} after {}", next.generation, member.generation);
}
