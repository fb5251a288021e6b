//! Occupied groups: what members of the classic protocol keep others from, and what is left when they are gone.

use super::{Command, Committer, GroupError, Rig, set};

fn classic() -> Committer {
    Committer::Classic { id: "k1".to_owned() }
}

#[test]
fn an_occupied_group_lets_nobody_in_and_nothing_be_moved() {
    let mut rig = Rig::with(&[("a", 2)]);
    rig.occupy().unwrap();
    rig.commit(classic(), &[("a", 0, 3)]).unwrap();
    assert!(matches!(rig.join_as("m1", "", &["a"]), Err(GroupError::OtherProtocol { .. })));
    assert!(matches!(rig.commit(Committer::Outsider, &[("a", 0, 1)]), Err(GroupError::Occupied(_))));
    assert!(matches!(rig.apply(Command::Delete { group: "g".into() }), Err(GroupError::Occupied(_))));
    let empty_since = rig.group().empty_since;
    rig.apply(Command::Forget { group: "g".into(), empty_since }).unwrap();
    assert_eq!(rig.group().positions.get("a", 0).unwrap().offset.get(), 3, "it is not forgotten");
}

#[test]
fn a_group_with_members_is_not_occupied() {
    let mut rig = Rig::with(&[("a", 1)]);
    rig.join("m1", &["a"]);
    assert!(matches!(rig.occupy(), Err(GroupError::OtherProtocol { .. })));
    rig.leave("m1");
    rig.occupy().unwrap();
}

#[test]
fn retention_counts_from_the_end_of_the_occupation() {
    let mut rig = Rig::with(&[("a", 1)]);
    let occupation = rig.occupy().unwrap();
    rig.now = 5;
    let applied = rig.commit(classic(), &[("a", 0, 3)]).unwrap();
    assert_eq!(applied.emptied, None);
    rig.now = 9;
    let applied = rig.vacate(occupation, 40);
    assert_eq!((applied.emptied.as_deref(), rig.group().empty_since), (Some("g"), 9));
    assert!(rig.occupy().unwrap() > 40, "generations go on rising");
    rig.apply(Command::Forget { group: "g".into(), empty_since: 9 }).unwrap();
    assert!(rig.group().occupied.is_some());
}

#[test]
fn an_older_occupation_ends_nothing() {
    let mut rig = Rig::with(&[("a", 1)]);
    let older = rig.occupy().unwrap();
    let newer = rig.occupy().unwrap();
    assert!(newer > older);
    assert_eq!(rig.vacate(older, 1).emptied, None);
    rig.commit(classic(), &[("a", 0, 3)]).unwrap();
    rig.vacate(newer, 1);
    assert!(matches!(rig.commit(classic(), &[("a", 0, 4)]), Err(GroupError::UnknownMember { .. })));
}

#[test]
fn nothing_is_left_of_an_occupation_without_positions() {
    let mut rig = Rig::default();
    let occupation = rig.occupy().unwrap();
    assert_eq!(rig.vacate(occupation, 1).emptied, None);
    assert_eq!(rig.groups, Rig::default().groups);
    assert!(matches!(rig.commit(classic(), &[]), Err(GroupError::UnknownMember { .. })));
}

#[test]
fn positions_are_dropped_unless_their_topic_is_read() {
    let mut rig = Rig::with(&[("a", 2), ("b", 1)]);
    let drop = |of: &str| Command::DropPositions { group: "g".into(), of: set(of) };
    assert!(matches!(rig.apply(drop("a-0")), Err(GroupError::NotFound(_))));
    rig.commit(Committer::Outsider, &[("a", 0, 1), ("a", 1, 1), ("b", 0, 1)]).unwrap();
    rig.join("m1", &["a"]);
    assert!(matches!(rig.apply(drop("b-0 a-0")), Err(GroupError::TopicInUse { topic, .. }) if topic == "a"));
    rig.apply(drop("b-0")).unwrap();
    rig.leave("m1");
    rig.apply(drop("a-0 b-0")).unwrap();
    assert_eq!(rig.group().positions.len(), 1);
    rig.apply(drop("a-1")).unwrap();
    assert!(rig.groups.get("g").is_none(), "nothing is left of it");
}
