//! All groups together: when one begins and ends, and how much they may take.

use super::*;
use crate::group::classic::{limits::BYTES_MAX, registry::Registry};

fn arrive(
    registry: &mut Registry,
    group: &str,
    join: ClassicJoin,
    now: Millis,
) -> Outcome<Waiter<ClassicJoined>> {
    let occupation = (!registry.expect(group)).then_some(7);
    registry.arrive(occupation, Ok((join, format!("{group}-1"))), group, now).outcome
}

#[test]
fn a_group_is_there_from_its_first_member_to_its_last() {
    let mut registry = Registry::default();
    let joined = arrive(&mut registry, "g", Rig::request("", None, ""), 0).unwrap();
    assert!(registry.expect("g"), "it is occupied");
    let refused = registry.arrive(None, Err(GroupError::NotFound("g".into())), "g", 0);
    assert!(refused.outcome.is_err());
    assert_eq!(registry.pass("g", OPENING_DELAY_MS), Some(OPENING_DELAY_MS + SESSION_MS));
    assert_eq!(told(joined).generation, 8, "generations go on behind the occupation's number");
    assert_eq!(registry.pass("g", OPENING_DELAY_MS + SESSION_MS), None, "it is gone with its only member");
    // However often that is tried: until the log knows of it, and then nobody has to.
    let ended = registry.end_of("g");
    assert_eq!((ended.generation, registry.end_of("g")), (8, ended.clone()));
    registry.vacated(&ended);
    assert_eq!(registry.end_of("g").generation, 0);
    assert!(registry.summary("g").is_none());
}

#[test]
fn generations_do_not_come_again_though_the_log_does_not_know_of_the_end() {
    let mut registry = Registry::default();
    drop(arrive(&mut registry, "g", Rig::request("", None, ""), 0).unwrap());
    while registry.pass("g", 1_000_000).is_some() {}
    let before = registry.end_of("g").generation;
    // The next occupation has the number that the log knows, which may be an older one.
    let joined = arrive(&mut registry, "g", Rig::request("", None, ""), 2_000_000).unwrap();
    registry.pass("g", 2_000_000 + OPENING_DELAY_MS);
    assert!(u64::try_from(told(joined).generation).unwrap() > before.max(7));
}

#[test]
fn a_group_that_is_waited_for_stays_and_one_whose_join_fails_does_not() {
    let mut registry = Registry::default();
    assert!(!registry.expect("g"));
    assert_eq!(registry.pass("g", 9), Some(Millis::MAX), "somebody is about to join");
    let done = registry.arrive(None, Err(GroupError::NotFound("g".into())), "g", 9);
    assert!(done.outcome.is_err());
    assert_eq!(done.due_at, Some(9));
    assert_eq!(registry.pass("g", 9), None);
}

#[test]
fn all_of_them_take_so_many_bytes_and_no_more() {
    let mut registry = Registry::default();
    let large = || {
        let protocols = vec![ClassicProtocol { name: "range".into(), metadata: vec![0; 8 << 20].into() }];
        ClassicJoin { protocols, ..Rig::request("", None, "") }
    };
    let groups: Vec<String> = (0..BYTES_MAX / (8 << 20)).map(|group| format!("g{group}")).collect();
    let (last, others) = groups.split_last().unwrap();
    for group in others {
        drop(arrive(&mut registry, group, large(), 0).unwrap());
    }
    assert!(matches!(arrive(&mut registry, last, large(), 0), Err(GroupError::TooMuchState { .. })));
    for group in others {
        while registry.pass(group, 1_000_000).is_some() {}
    }
    drop(arrive(&mut registry, last, large(), 0).unwrap());
}

#[test]
fn who_waits_when_everything_stops_is_told() {
    let mut registry = Registry::default();
    let mut joined = arrive(&mut registry, "g", Rig::request("", None, ""), 0).unwrap();
    registry.stop();
    assert!(joined.try_recv().is_err_and(|error| error != tokio::sync::oneshot::error::TryRecvError::Empty));
}
