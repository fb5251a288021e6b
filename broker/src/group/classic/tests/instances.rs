//! Members with a name for good: static members.

use super::*;

/// A stable group of m1, which leads and is the instance "a", and m2, which is "b".
fn of_two() -> Rig {
    let mut rig = Rig::new();
    let one = rig.try_join(Rig::request("", Some("a"), "x")).unwrap();
    let two = rig.try_join(Rig::request("", Some("b"), "x")).unwrap();
    rig.pass(OPENING_DELAY_MS);
    drop((one, two));
    drop(rig.sync("m1", &[("m1", "one"), ("m2", "two")]).unwrap());
    drop(rig.sync("m2", &[]).unwrap());
    rig
}

#[test]
fn a_process_that_comes_back_takes_the_assignment_over_and_nobody_notices() {
    let mut rig = of_two();
    let back = told(rig.try_join(Rig::request("", Some("b"), "x")).unwrap());
    assert_eq!((back.member_id.as_str(), back.generation, back.leader.as_str()), ("m3", 1, "m1"));
    assert_eq!(told(rig.sync("m3", &[]).unwrap()).assignment, "two");
    rig.heartbeat("m1").unwrap();
    let old = ClassicMember { instance_id: Some("b".into()), ..rig.by("m2") };
    assert!(matches!(rig.group.heartbeat(&old, 0), Err(GroupError::InstanceFenced { .. })));
    assert!(matches!(rig.heartbeat("m2"), Err(GroupError::UnknownMember { .. })), "without the name");
}

#[test]
fn a_leader_that_comes_back_is_told_not_to_assign_anything() {
    let mut rig = of_two();
    let back = told(rig.try_join(Rig::request("", Some("a"), "x")).unwrap());
    assert_eq!((back.leader.as_str(), back.members.len(), back.skip_assignment), ("m3", 2, true));
    // One that cannot be told so believes that another one leads.
    let join = ClassicJoin { can_skip_assignment: false, ..Rig::request("", Some("a"), "x") };
    let back = told(rig.try_join(join).unwrap());
    assert_eq!((back.member_id.as_str(), back.leader.as_str()), ("m4", "m3"));
    assert_eq!((back.members.len(), back.skip_assignment), (0, false));
    assert_eq!(told(rig.sync("m4", &[]).unwrap()).assignment, "one");
}

#[test]
fn one_that_wants_something_else_has_everybody_join_again() {
    let mut rig = of_two();
    let other_topics = ClassicJoin { topics: vec!["t".into()], ..Rig::request("", Some("b"), "y") };
    let mut back = rig.try_join(other_topics).unwrap();
    assert!(waits(&mut back));
    let leader = told(rig.try_join(Rig::request("m1", Some("a"), "x")).unwrap());
    assert_eq!((leader.generation, leader.members[1].metadata.as_ref()), (2, &b"y"[..]));
}

#[test]
fn one_that_makes_the_group_assign_in_another_way_has_everybody_join_again() {
    let mut rig = Rig::new();
    let ways = |instance, ways: [&str; 2]| ClassicJoin {
        protocols: ways.map(|name| protocol(name, "")).into(),
        ..Rig::request("", Some(instance), "")
    };
    let one = rig.try_join(ways("a", ["range", "sticky"])).unwrap();
    let two = rig.try_join(ways("b", ["range", "sticky"])).unwrap();
    rig.pass(OPENING_DELAY_MS);
    assert_eq!(told(one).protocol, "range");
    drop(two);
    drop(rig.sync("m1", &[]).unwrap());
    // As many votes for each: it is the leader who decides, as before.
    let back = rig.try_join(ways("b", ["sticky", "range"])).unwrap();
    assert_eq!(told(back).generation, 1);
    let only = ClassicJoin { protocols: vec![protocol("sticky", "")], ..Rig::request("", Some("b"), "") };
    assert!(waits(&mut rig.try_join(only).unwrap()));
}

#[test]
fn what_else_a_process_says_when_it_comes_back_nobody_notices() {
    let mut rig = Rig::new();
    let reads = |id: &str, metadata, topics: [&str; 2]| ClassicJoin {
        topics: topics.map(str::to_owned).into(),
        ..Rig::request(id, Some("b"), metadata)
    };
    // As Java's say what they had, once they have joined before; a new process has had nothing.
    let one = rig.try_join(reads("", "had some", ["t", "u"])).unwrap();
    rig.pass(OPENING_DELAY_MS);
    assert_eq!(told(one).generation, 1);
    drop(rig.sync("m1", &[("m1", "one")]).unwrap());
    let back = told(rig.try_join(reads("", "new", ["u", "t"])).unwrap());
    assert_eq!((back.member_id.as_str(), back.generation), ("m2", 1));
    assert_eq!(told(rig.sync("m2", &[]).unwrap()).assignment, "one");
}

#[test]
fn a_commit_that_a_process_has_left_under_way_keeps_nobody_alive() {
    let mut rig = of_two();
    let old = ClassicMember { instance_id: Some("b".into()), ..rig.by("m2") };
    rig.group.begin_commit(&old, rig.now).unwrap();
    assert_eq!(told(rig.try_join(Rig::request("", Some("b"), "x")).unwrap()).member_id, "m3");
    rig.group.end_commit("m2", rig.now);
    // The other one lives, this one has gone for good.
    let mut leader = rig.try_join(Rig::request("m1", Some("a"), "x")).unwrap();
    rig.pass(SESSION_MS - 1);
    assert!(waits(&mut leader));
    rig.pass(1);
    assert_eq!(told(leader).members.len(), 1);
}

#[test]
fn an_instance_that_is_away_keeps_its_place_until_its_session_timeout() {
    let mut rig = of_two();
    let mut leader = rig.try_join(Rig::request("m1", Some("a"), "x")).unwrap();
    rig.pass(SESSION_MS - 1);
    assert!(waits(&mut leader));
    rig.pass(1);
    assert_eq!(told(leader).members.len(), 1);
}

#[test]
fn a_process_whose_place_was_taken_while_it_waits_is_fenced() {
    let mut rig = of_two();
    let old = rig.try_join(Rig::request("m1", Some("a"), "x")).unwrap();
    let mut new = rig.try_join(Rig::request("", Some("a"), "x")).unwrap();
    assert!(matches!(answer(old), Err(GroupError::InstanceFenced { .. })));
    assert!(waits(&mut new));
    assert!(matches!(
        rig.try_join(Rig::request("m1", Some("a"), "x")),
        Err(GroupError::InstanceFenced { .. })
    ));
}

#[test]
fn an_instance_is_sent_away_by_its_name() {
    let mut rig = of_two();
    let leave = |rig: &mut Rig, member_id: &str, instance_id: &str| {
        let leaver = ClassicLeaver { member_id: member_id.into(), instance_id: Some(instance_id.into()) };
        rig.group.leave(&leaver, rig.now)
    };
    assert!(matches!(leave(&mut rig, "m1", "b"), Err(GroupError::InstanceFenced { .. })));
    assert!(matches!(leave(&mut rig, "", "c"), Err(GroupError::UnknownMember { .. })));
    leave(&mut rig, "", "b").unwrap();
    assert_eq!(rig.group.members.len(), 1);
}
