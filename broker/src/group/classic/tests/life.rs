//! The life of a group: who is waited for, and for how long.

use super::*;
use crate::group::classic::limits::{MEMBERS_MAX, OPENING_DELAY_MAX_MS};

#[test]
fn the_first_join_waits_for_others_that_are_started_with_it() {
    let mut rig = Rig::new();
    let mut first = rig.join("");
    rig.pass(OPENING_DELAY_MS - 1);
    assert!(waits(&mut first));
    let second = rig.join("");
    rig.pass(OPENING_DELAY_MS - 1);
    assert!(waits(&mut first), "as long again after each one that comes");
    rig.pass(1);
    let (first, second) = (told(first), told(second));
    assert_eq!((first.generation, second.generation), (1, 1));
    assert_eq!(first.members.len(), 2, "the leader is told of all");
    assert!(second.members.is_empty(), "others are not");
    assert_eq!((first.leader.as_str(), second.leader.as_str()), ("m1", "m1"));
}

#[test]
fn a_group_that_keeps_growing_begins_nevertheless() {
    let mut rig = Rig::new();
    let mut first = rig.join("");
    while rig.now < OPENING_DELAY_MAX_MS {
        assert!(waits(&mut first));
        drop(rig.join(""));
        rig.pass(OPENING_DELAY_MS - 1);
    }
    assert!(!waits(&mut first));
}

#[test]
fn followers_wait_for_the_leader() {
    let mut rig = Rig::new();
    let (one, two) = (rig.join(""), rig.join(""));
    rig.pass(OPENING_DELAY_MS);
    drop((one, two));
    let mut waiting = rig.sync("m2", &[]).unwrap();
    rig.heartbeat("m1").unwrap();
    assert!(waits(&mut waiting));
    assert_eq!(rig.state(), ClassicState::CompletingRebalance);
    let own = rig.sync("m1", &[("m2", "two")]).unwrap();
    assert_eq!(told(waiting).assignment, "two");
    assert_eq!(told(own).assignment, "", "the leader has said nothing of itself");
    assert_eq!(told(rig.sync("m2", &[]).unwrap()).assignment, "two", "who asks again is told again");
}

#[test]
fn a_newcomer_has_everybody_join_again() {
    let mut rig = Rig::of_two();
    let mut newcomer = rig.join("");
    assert!(matches!(rig.heartbeat("m1"), Err(GroupError::RebalanceInProgress(_))));
    assert!(matches!(rig.sync("m1", &[]), Err(GroupError::RebalanceInProgress(_))));
    let mut again = rig.join("m1");
    assert!(waits(&mut newcomer) && waits(&mut again));
    let last = told(rig.join("m2"));
    assert_eq!((last.generation, told(newcomer).generation), (2, 2));
    assert_eq!(told(again).members.len(), 3, "it leads still");
    assert!(matches!(
        rig.group.heartbeat(&ClassicMember { generation: 1, ..rig.by("m2") }, 0),
        Err(GroupError::IllegalGeneration { generation: 1, current: 2, .. })
    ));
}

#[test]
fn who_does_not_join_again_is_waited_for_by_the_rebalance_timeout_and_not_by_that_of_its_session() {
    let mut rig = Rig::of_two();
    let mut newcomer = rig.join("");
    let mut again = rig.join("m1");
    // m2 shows that it lives, and is busy.
    for _ in 0..REBALANCE_MS / 5_000 - 1 {
        rig.pass(5_000);
        assert!(matches!(rig.heartbeat("m2"), Err(GroupError::RebalanceInProgress(_))));
    }
    assert!(waits(&mut newcomer) && waits(&mut again), "who waits is not silent");
    rig.pass(5_000);
    assert_eq!((told(newcomer).generation, told(again).members.len()), (2, 2));
    assert!(matches!(rig.heartbeat("m2"), Err(GroupError::UnknownMember { .. })));
}

#[test]
fn a_silent_member_is_gone_after_its_session_timeout() {
    let mut rig = Rig::of_two();
    rig.pass(SESSION_MS - 1);
    rig.heartbeat("m1").unwrap();
    rig.pass(1);
    assert!(matches!(rig.heartbeat("m2"), Err(GroupError::UnknownMember { .. })));
    assert!(matches!(rig.heartbeat("m1"), Err(GroupError::RebalanceInProgress(_))));
    let alone = told(rig.join("m1"));
    assert_eq!((alone.generation, alone.members.len()), (2, 1));
}

#[test]
fn a_member_that_hangs_up_while_it_waits_stays_one_for_its_session_timeout() {
    let mut rig = Rig::of_two();
    let newcomer = rig.join("");
    rig.pass(2 * SESSION_MS - 1_000 - SESSION_MS);
    let again = rig.join("m1");
    drop(newcomer);
    let joined = told(rig.join("m2"));
    assert_eq!(joined.generation, 2);
    assert_eq!(told(again).members.len(), 3, "its place is kept");
    for _ in 0..3 {
        rig.pass(SESSION_MS / 2);
        let _ = (rig.heartbeat("m1"), rig.heartbeat("m2"));
    }
    assert_eq!(rig.group.members.len(), 2);
}

#[test]
fn a_member_that_times_out_while_others_join_is_not_waited_for_any_longer() {
    let mut rig = Rig::of_two();
    let mut newcomer = rig.join("");
    let again = rig.join("m1");
    rig.pass(SESSION_MS - 1);
    assert!(waits(&mut newcomer));
    rig.pass(1);
    assert_eq!((told(newcomer).generation, told(again).members.len()), (2, 2));
}

#[test]
fn when_the_leader_dies_before_it_has_said_anything_the_others_join_again() {
    let mut rig = Rig::new();
    let (one, two) = (rig.join(""), rig.join(""));
    rig.pass(OPENING_DELAY_MS);
    drop((one, two));
    let mut waiting = rig.sync("m2", &[]).unwrap();
    rig.pass(SESSION_MS - 1);
    assert!(waits(&mut waiting));
    rig.pass(1);
    assert!(matches!(answer(waiting), Err(GroupError::RebalanceInProgress(_))));
    let again = told(rig.join("m2"));
    assert_eq!((again.leader.as_str(), again.members.len()), ("m2", 1));
}

#[test]
fn who_never_asks_for_its_assignment_is_gone_after_the_rebalance_timeout() {
    let mut rig = Rig::new();
    let (one, two) = (rig.join(""), rig.join(""));
    rig.pass(OPENING_DELAY_MS);
    drop((one, two));
    drop(rig.sync("m1", &[]).unwrap());
    for _ in 0..REBALANCE_MS / 5_000 {
        rig.heartbeat("m1").unwrap();
        rig.heartbeat("m2").unwrap();
        rig.pass(5_000);
    }
    assert!(matches!(rig.heartbeat("m2"), Err(GroupError::UnknownMember { .. })));
    assert!(matches!(rig.heartbeat("m1"), Err(GroupError::RebalanceInProgress(_))));
}

#[test]
fn a_leader_that_joins_again_has_something_in_mind_and_a_follower_has_not() {
    let mut rig = Rig::of_two();
    let joined = told(rig.join("m2"));
    assert_eq!((joined.generation, rig.state()), (1, ClassicState::Stable));
    let mut leader = rig.join("m1");
    assert!(waits(&mut leader));
    assert_eq!(rig.state(), ClassicState::PreparingRebalance);
}

#[test]
fn what_a_member_had_that_leaves_is_for_the_others() {
    let mut rig = Rig::of_two();
    rig.leave("m1").unwrap();
    assert!(matches!(rig.leave("m1"), Err(GroupError::UnknownMember { .. })));
    let again = told(rig.join("m2"));
    assert_eq!((again.leader.as_str(), again.generation), ("m2", 2));
    rig.leave("m2").unwrap();
    assert_eq!((rig.state(), rig.group.is_idle()), (ClassicState::Empty, true));
    assert_eq!(rig.group.next_deadline(), None, "nothing is due in an empty group");
}

#[test]
fn a_waiting_member_that_is_sent_away_is_told_so() {
    let mut rig = Rig::of_two();
    let newcomer = rig.join("");
    rig.leave("m3").unwrap();
    assert!(matches!(answer(newcomer), Err(GroupError::UnknownMember { .. })));
}

#[test]
fn a_newcomer_may_have_to_come_back_with_its_name() {
    let mut rig = Rig::new();
    let join = || ClassicJoin { newcomers: Newcomers::NameFirst, ..Rig::request("", None, "") };
    let Err(GroupError::MemberIdRequired { member_id, .. }) = rig.try_join(join()) else { panic!() };
    assert!(!rig.group.is_idle());
    assert_eq!(rig.state(), ClassicState::Empty, "it is no member yet");
    let joined = rig.join(&member_id);
    rig.pass(OPENING_DELAY_MS);
    assert_eq!(told(joined).member_id, member_id);
    // One that does not come back is waited for, and forgotten.
    assert!(rig.try_join(join()).is_err());
    rig.pass(SESSION_MS - 1);
    assert!(!rig.group.named.is_empty());
    rig.pass(1);
    assert!(rig.group.named.is_empty());
    assert!(matches!(rig.try_join(Rig::request("m2", None, "")), Err(GroupError::UnknownMember { .. })));
}

#[test]
fn members_are_so_many_and_no_more() {
    let mut rig = Rig::new();
    let waiters: Vec<_> = (0..MEMBERS_MAX).map(|_| rig.join("")).collect();
    assert!(matches!(
        rig.try_join(Rig::request("", None, "")),
        Err(GroupError::TooManyMembers { max: MEMBERS_MAX, .. })
    ));
    rig.pass(OPENING_DELAY_MAX_MS);
    assert!(waiters.into_iter().all(|waiter| told(waiter).generation == 1));
}

#[test]
fn commits_are_taken_until_a_member_has_joined_again() {
    let mut rig = Rig::of_two();
    let commit = |rig: &mut Rig, id: &str| {
        let by = rig.by(id);
        rig.group.begin_commit(&by, rig.now)
    };
    commit(&mut rig, "m1").unwrap();
    let newcomer = rig.join("");
    commit(&mut rig, "m1").unwrap();
    let (_one, _two) = (rig.join("m1"), rig.join("m2"));
    drop(newcomer);
    assert!(
        matches!(commit(&mut rig, "m1"), Err(GroupError::RebalanceInProgress(_))),
        "it has no assignment"
    );
    assert!(matches!(commit(&mut rig, "m9"), Err(GroupError::UnknownMember { .. })));
}

#[test]
fn who_waits_for_a_commit_is_not_silent() {
    let mut rig = Rig::of_two();
    let by = rig.by("m1");
    rig.group.begin_commit(&by, rig.now).unwrap();
    // The other one is heard; its heartbeats do not wait behind a commit.
    for _ in 0..5 {
        rig.pass(SESSION_MS / 2);
        rig.heartbeat("m2").unwrap();
    }
    rig.heartbeat("m1").unwrap();
    rig.group.end_commit("m1", rig.now);
    rig.pass(SESSION_MS - 1);
    rig.heartbeat("m1").unwrap();
    rig.pass(SESSION_MS);
    assert!(matches!(rig.heartbeat("m1"), Err(GroupError::UnknownMember { .. })));
}
