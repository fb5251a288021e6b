//! Ways of assigning partitions: which is chosen, and who does not fit.

use super::*;
use crate::group::classic::limits::GROUP_BYTES_MAX;

fn with(member_id: &str, protocols: &[&str]) -> ClassicJoin {
    let protocols = protocols.iter().map(|name| protocol(name, "")).collect();
    ClassicJoin { protocols, ..Rig::request(member_id, None, "") }
}

/// What is chosen for members with these.
fn chosen(members: &[&[&str]]) -> String {
    let mut rig = Rig::new();
    let mut waiters: Vec<_> =
        members.iter().map(|protocols| rig.try_join(with("", protocols)).unwrap()).collect();
    rig.pass(OPENING_DELAY_MS);
    told(waiters.remove(0)).protocol
}

#[test]
fn the_one_with_the_most_votes_is_chosen_of_those_that_all_have() {
    assert_eq!(chosen(&[&["range"]]), "range");
    assert_eq!(chosen(&[&["range", "sticky"], &["sticky", "range"], &["sticky", "range"]]), "sticky");
    assert_eq!(chosen(&[&["new", "range"], &["new", "range"], &["range"]]), "range");
    assert_eq!(chosen(&[&["range", "sticky"], &["sticky", "range"]]), "range", "the leader likes it better");
}

#[test]
fn very_many_protocols_are_looked_at_once_each() {
    let names: Vec<String> = (0..100_000).map(|n| format!("{n}")).collect();
    let all: Vec<&str> = names.iter().map(String::as_str).collect();
    let odd: Vec<&str> = all.iter().copied().skip(1).step_by(2).rev().collect();
    assert_eq!(chosen(&[&all, &odd]), "1", "each has one vote, and the leader likes it better");
}

#[test]
fn who_has_nothing_in_common_with_the_others_is_refused() {
    let mut rig = Rig::of_two();
    let refused =
        |rig: &mut Rig, join| matches!(rig.try_join(join), Err(GroupError::InconsistentProtocol(_)));
    assert!(refused(&mut rig, with("", &["sticky"])));
    assert!(refused(&mut rig, with("", &[])));
    let connect = ClassicJoin { protocol_type: "connect".into(), ..with("", &["range"]) };
    assert!(refused(&mut rig, connect));
    assert_eq!(rig.state(), ClassicState::Stable, "and nobody notices");
    let mut rig = Rig::new();
    assert!(refused(&mut rig, with("", &[])));
    assert!(refused(&mut rig, ClassicJoin { protocol_type: String::new(), ..with("", &["range"]) }));
}

#[test]
fn what_a_member_believes_of_the_generation_has_to_be_so() {
    let mut rig = Rig::of_two();
    let sync = |rig: &Rig| ClassicSync { by: rig.by("m2"), ..ClassicSync::default() };
    let other = ClassicSync { protocol: Some("sticky".into()), ..sync(&rig) };
    assert!(matches!(rig.group.sync(other, 0), Err(GroupError::InconsistentProtocol(_))));
    let other = ClassicSync { protocol_type: Some("connect".into()), ..sync(&rig) };
    assert!(matches!(rig.group.sync(other, 0), Err(GroupError::InconsistentProtocol(_))));
    let same =
        ClassicSync { protocol: Some("range".into()), protocol_type: Some("consumer".into()), ..sync(&rig) };
    assert_eq!(told(rig.group.sync(same, 0).unwrap()).assignment, "two");
}

#[test]
fn what_members_say_takes_so_many_bytes_and_no_more() {
    let mut rig = Rig::new();
    let large = |bytes: usize| {
        let protocols = vec![ClassicProtocol { name: "range".into(), metadata: vec![0; bytes].into() }];
        ClassicJoin { protocols, ..Rig::request("", None, "") }
    };
    drop(rig.try_join(large(GROUP_BYTES_MAX - 10_000)).unwrap());
    assert!(matches!(rig.try_join(large(10_000)), Err(GroupError::TooMuchState { .. })));
    drop(rig.try_join(large(10)).unwrap());
    // Who says less in place of what it has said is always let in.
    rig.pass(OPENING_DELAY_MS);
    drop(rig.try_join(Rig::request("m1", None, "")).unwrap());
}
