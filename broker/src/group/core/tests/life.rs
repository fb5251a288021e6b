//! The life of a group: who reads what, step by step.

use std::collections::BTreeMap;

use super::{
    super::{GroupState, limits::MEMBERS_MAX},
    Because, Command, Committer, GroupError, Groups, Join, Returning, Rig, Subscribe, names, set, view,
};

#[test]
fn one_member_gets_everything_at_once() {
    let mut rig = Rig::with(&[("a", 2), ("b", 1)]);
    rig.join("m1", &["a", "b"]);
    assert_eq!((rig.reads("m1").as_str(), rig.member("m1").epoch), ("a-0 a-1 b-0", 1));
    assert_eq!(rig.group().state(), GroupState::Stable);
}

#[test]
fn a_partition_moves_only_after_its_owner_has_given_it_up() {
    let mut rig = Rig::with(&[("a", 2)]);
    rig.join("m1", &["a"]);
    rig.join("m2", &["a"]);
    assert_eq!((rig.reads("m1").as_str(), rig.member("m1").epoch), ("a-0", 2), "it is asked for one");
    assert_eq!((rig.reads("m2").as_str(), rig.member("m2").epoch), ("", 1), "nobody else has it yet");
    assert_eq!((rig.target("m2").as_str(), rig.group().state()), ("a-1", GroupState::Reconciling));
    rig.confirm("m1", 2, set("a-0 a-1")).unwrap();
    assert_eq!(rig.reads("m2"), "", "it still reads it");
    rig.confirm("m1", 1, set("a-0")).unwrap();
    assert_eq!(rig.reads("m2"), "", "that answers an older assignment");
    let applied = rig.obey("m1");
    assert_eq!(applied.changed.len(), 1, "only the other one has news");
    assert_eq!((rig.reads("m2").as_str(), rig.member("m2").epoch), ("a-1", 2));
    assert_eq!(rig.group().state(), GroupState::Stable);
}

#[test]
fn what_a_member_has_that_leaves_is_free_at_once() {
    let mut rig = Rig::with(&[("a", 4)]);
    rig.join("m1", &["a"]);
    rig.join("m2", &["a"]);
    rig.obey("m1");
    rig.leave("m1");
    assert_eq!(rig.reads("m2"), "a-0 a-1 a-2 a-3");
    rig.now = 7;
    rig.commit(Committer::Member { id: "m2".to_owned(), epoch: 3 }, &[("a", 0, 1)]).unwrap();
    let applied = rig.leave("m2");
    assert_eq!((applied.emptied.as_deref(), rig.group().empty_since), (Some("g"), 7));
    assert_eq!(rig.group().state(), GroupState::Empty);
}

#[test]
fn a_partition_that_is_called_back_stays() {
    let mut rig = Rig::with(&[("a", 2)]);
    rig.join("m1", &["a"]);
    rig.join("m2", &["a"]);
    // Before m1 has answered, m2 is gone: m1 keeps what it was asked for.
    rig.leave("m2");
    assert_eq!((rig.reads("m1").as_str(), rig.member("m1").epoch), ("a-0 a-1", 3));
    rig.confirm("m1", 2, set("a-0")).unwrap();
    assert_eq!(rig.reads("m1"), "a-0 a-1", "an answer to the older assignment takes nothing");
    assert_eq!(rig.member("m1").revoking_since, None);
}

#[test]
fn what_is_on_its_way_goes_to_a_third_without_a_detour() {
    let mut rig = Rig::with(&[("a", 6)]);
    rig.join("m1", &["a"]);
    rig.join("m2", &["a"]);
    rig.join("m3", &["a"]);
    // m1 still holds all; what was meant for m2 is half of it, and m3 takes what m2 does not have yet.
    assert_eq!((rig.target("m1").len(), rig.target("m2").len(), rig.target("m3").len()), (7, 7, 7));
    rig.obey("m1");
    assert_eq!((rig.reads("m2"), rig.reads("m3")), (rig.target("m2"), rig.target("m3")));
    assert_eq!(rig.group().state(), GroupState::Stable);
}

#[test]
fn a_member_that_never_gives_up_is_removed_and_nobody_waits_for_it() {
    let mut rig = Rig::with(&[("a", 2)]);
    rig.join("m1", &["a"]);
    rig.now = 50;
    rig.join("m2", &["a"]);
    let revoking_since = rig.member("m1").revoking_since.unwrap();
    assert_eq!(revoking_since, 50);
    let applied = rig.remove("m1", Because::HeldOn { revoking_since: 49 }).unwrap();
    assert!(applied.gone.is_empty(), "that was another time");
    let applied = rig.remove("m1", Because::HeldOn { revoking_since }).unwrap();
    assert_eq!(applied.gone.len(), 1);
    assert_eq!(rig.reads("m2"), "a-0 a-1");
    assert!(matches!(rig.confirm("m1", 2, set("a-0")), Err(GroupError::UnknownMember { .. })));
}

#[test]
fn a_member_that_came_back_is_not_removed_for_its_silence_before() {
    let mut rig = Rig::with(&[("a", 2)]);
    let first = rig.join("m1", &["a"]).session.unwrap();
    let second = rig.come_back("m1", 1, "a-0 a-1").unwrap().session.unwrap();
    assert!(second > first);
    assert!(rig.remove("m1", Because::Silent { session: first }).unwrap().gone.is_empty());
    assert!(rig.remove("m1", Because::Left { session: first }).unwrap().gone.is_empty());
    assert_eq!(rig.remove("m1", Because::Silent { session: second }).unwrap().gone.len(), 1);
}

#[test]
fn a_member_that_comes_back_goes_on_with_what_it_had() {
    let mut rig = Rig::with(&[("a", 4)]);
    rig.join("m1", &["a"]);
    rig.join("m2", &["a"]);
    let group_epoch = rig.group().epoch;
    // It has lost its stream, and with it the news; what it still reads stays with it until it has answered.
    rig.come_back("m1", 1, "a-0 a-1 a-2 a-3").unwrap();
    assert_eq!((rig.reads("m1").as_str(), rig.reads("m2").as_str()), ("a-0 a-1", ""));
    rig.come_back("m1", 2, "a-0 a-1 a-2").unwrap();
    assert_eq!((rig.reads("m1").as_str(), rig.reads("m2").as_str()), ("a-0 a-1", "a-3"));
    assert_eq!(rig.group().epoch, group_epoch, "nobody joined");
    rig.obey("m1");
    assert_eq!(rig.reads("m2"), "a-2 a-3");
}

#[test]
fn what_a_member_has_not_seen_yet_it_has_not_given_up() {
    let mut rig = Rig::with(&[("a", 2)]);
    rig.join("m1", &["a"]);
    rig.join("m2", &["a"]);
    // The stream of m1 broke when the assignment of epoch 1 was on its way: it may come to read both yet.
    rig.come_back("m1", 0, "").unwrap();
    assert_eq!((rig.reads("m1").as_str(), rig.reads("m2").as_str()), ("a-0", ""));
    rig.obey("m1");
    assert_eq!(rig.reads("m2"), "a-1");
}

#[test]
fn a_member_that_comes_back_with_what_cannot_be_is_fenced() {
    let mut rig = Rig::with(&[("a", 1)]);
    assert!(matches!(rig.come_back("m1", 1, ""), Err(GroupError::UnknownMember { .. })), "no group");
    rig.join("m1", &["a"]);
    assert!(matches!(rig.come_back("m1", 2, ""), Err(GroupError::Fenced { .. })));
    assert!(matches!(rig.come_back("m2", 1, ""), Err(GroupError::UnknownMember { .. })));
    assert!(matches!(rig.confirm("m1", 2, set("")), Err(GroupError::Fenced { .. })));
}

#[test]
fn an_instance_gets_what_it_had_and_nobody_else_notices() {
    let mut rig = Rig::with(&[("a", 4)]);
    rig.join_as("m1", "first", &["a"]).unwrap();
    rig.join_as("m2", "second", &["a"]).unwrap();
    rig.obey("m1");
    let (epoch, before) = (rig.group().epoch, rig.reads("m2"));
    let applied = rig.join_as("m3", "second", &["a"]).unwrap();
    assert_eq!(applied.gone[0].key.member_id, "m2");
    assert!(applied.changed.is_empty(), "{applied:?}");
    assert_eq!((rig.reads("m3"), rig.group().epoch), (before, epoch));
    assert_eq!(rig.reads("m1"), "a-0 a-1");
    assert!(matches!(rig.confirm("m2", 2, set("")), Err(GroupError::UnknownMember { .. })));
}

#[test]
fn other_topics_are_asked_for_and_given() {
    let mut rig = Rig::with(&[("a", 2), ("b", 2)]);
    rig.join("m1", &["a", "b"]);
    rig.join("m2", &["b"]);
    rig.obey("m1");
    assert_eq!((rig.reads("m1").as_str(), rig.reads("m2").as_str()), ("a-0 a-1", "b-0 b-1"));
    let (group, member_id) = ("g".to_owned(), "m2".to_owned());
    rig.apply(Command::Subscribe(Subscribe {
        group,
        member_id,
        topics: names(&["a"]),
        ..Subscribe::default()
    }))
    .unwrap();
    assert_eq!((rig.target("m1").as_str(), rig.target("m2").as_str()), ("b-0 b-1", "a-0 a-1"));
    assert_eq!((rig.reads("m1").as_str(), rig.reads("m2").as_str()), ("", ""), "each waits for the other");
    rig.obey("m2");
    assert_eq!(rig.reads("m1"), "b-0 b-1");
    assert_eq!(rig.group().state(), GroupState::Reconciling, "m1 has not answered yet");
    rig.obey("m1");
    assert_eq!(rig.reads("m2"), "a-0 a-1");
    assert_eq!(rig.group().state(), GroupState::Stable);
}

#[test]
fn topics_that_come_grow_and_go_are_followed() {
    let mut rig = Rig::default();
    rig.join("m1", &["a"]);
    rig.join("m2", &["a"]);
    assert_eq!((rig.reads("m1").as_str(), rig.member("m1").epoch), ("", 1));
    rig.apply(Command::SetTopics { views: vec![view("a", 1, 2)] }).unwrap();
    assert_eq!((rig.reads("m1").as_str(), rig.reads("m2").as_str()), ("a-0", "a-1"));
    rig.apply(Command::SetTopics { views: vec![view("a", 1, 4)] }).unwrap();
    assert_eq!((rig.reads("m1").as_str(), rig.reads("m2").as_str()), ("a-0 a-2", "a-1 a-3"));
    let id = rig.groups.topics["a"].id;
    rig.apply(Command::DropTopics { topics: vec![("a".to_owned(), id)] }).unwrap();
    assert_eq!((rig.reads("m1").as_str(), rig.group().state()), ("", GroupState::Reconciling));
    rig.obey("m1");
    rig.obey("m2");
    assert_eq!(rig.group().state(), GroupState::Stable);
}

#[test]
fn of_a_group_without_members_and_positions_nothing_is_left() {
    let mut rig = Rig::with(&[("a", 1)]);
    rig.join("m1", &["a"]);
    assert_eq!(rig.leave("m1").emptied, None);
    assert!(rig.groups.get("g").is_none(), "nobody has committed anything");
    rig.commit(Committer::Outsider, &[]).unwrap();
    assert!(rig.groups.get("g").is_none(), "there is nothing to keep");
    rig.commit(Committer::Outsider, &[("a", 0, 1)]).unwrap();
    let id = rig.groups.topics["a"].id;
    rig.apply(Command::DropTopics { topics: vec![("a".to_owned(), id)] }).unwrap();
    assert!(rig.groups.get("g").is_none(), "its last position has gone with its topic");
    let nothing = Groups::restore(BTreeMap::new(), BTreeMap::new(), rig.groups.sessions_gone);
    assert_eq!(rig.groups, nothing, "and so has the memory that was counted for it");
}

#[test]
fn who_reads_what_is_worked_out_once_for_a_round() {
    let mut rig = Rig::with(&[("a", 6)]);
    let join = |member: &str| {
        let (group, member_id) = ("g".to_owned(), member.to_owned());
        Command::Join(Join { group, member_id, topics: names(&["a"]), ..Join::default() })
    };
    let mut round: Vec<_> =
        ["m1", "m2", "m3"].map(|member| rig.groups.apply(join(member), 0).unwrap()).into();
    round.iter_mut().for_each(|applied| rig.groups.settle(applied, 0));
    let told: Vec<usize> = round.iter().map(|applied| applied.changed.len()).collect();
    assert_eq!((told, rig.group().epoch), (vec![3, 0, 0], 1));
    assert_eq!([rig.reads("m1"), rig.reads("m2"), rig.reads("m3")], ["a-0 a-3", "a-1 a-4", "a-2 a-5"]);
}

#[test]
fn a_topic_that_is_made_anew_is_given_anew() {
    for is_noticed_between in [false, true] {
        let mut rig = Rig::with(&[("a", 2)]);
        rig.join("m1", &["a"]);
        rig.join("m2", &["a"]);
        rig.obey("m1");
        let id = rig.groups.topics["a"].id;
        if is_noticed_between {
            rig.apply(Command::DropTopics { topics: vec![("a".to_owned(), id)] }).unwrap();
        }
        rig.apply(Command::SetTopics { views: vec![view("a", 9, 2)] }).unwrap();
        assert_eq!((rig.reads("m1").as_str(), rig.reads("m2").as_str()), ("", ""), "they are to stop first");
        rig.obey("m1");
        assert_eq!((rig.reads("m1").as_str(), rig.reads("m2").as_str()), ("a-0", ""), "nobody moves");
        rig.obey("m2");
        assert_eq!((rig.reads("m2").as_str(), rig.group().state()), ("a-1", GroupState::Stable));
    }
}

#[test]
fn what_is_held_of_an_old_topic_goes_with_its_member() {
    let mut rig = Rig::with(&[("a", 1)]);
    rig.join("m1", &["a"]);
    rig.join("m2", &["a"]);
    rig.apply(Command::SetTopics { views: vec![view("a", 9, 1)] }).unwrap();
    let revoking_since = rig.member("m1").revoking_since.unwrap();
    rig.remove("m1", Because::HeldOn { revoking_since }).unwrap();
    assert_eq!((rig.reads("m2").as_str(), rig.group().state()), ("a-0", GroupState::Stable));
}

#[test]
fn what_a_member_brings_about_topics_is_believed_only_when_nothing_is_known() {
    let mut rig = Rig::with(&[("a", 3)]);
    let join = |member: &str| Join {
        group: "g".to_owned(),
        member_id: member.to_owned(),
        topics: names(&["a", "b"]),
        views: vec![view("a", 0, 2), view("b", 9, 1)],
        ..Join::default()
    };
    rig.apply(Command::Join(join("m1"))).unwrap();
    assert_eq!(rig.reads("m1"), "a-0 a-1 a-2 b-0");
}

#[test]
fn a_group_takes_so_many_members() {
    let mut rig = Rig::default();
    for member in 0..MEMBERS_MAX {
        rig.join(&format!("m{member}"), &[]);
    }
    assert!(matches!(rig.join_as("one more", "", &[]), Err(GroupError::TooManyMembers { .. })));
    rig.leave("m0");
    rig.join("one more", &[]);
}

#[test]
fn an_answer_to_an_older_assignment_counts_for_what_that_one_asked_for() {
    let mut rig = Rig::with(&[("a", 4)]);
    rig.join("m1", &["a"]);
    rig.join("m2", &["a"]);
    assert_eq!((rig.reads("m1").as_str(), rig.member("m1").epoch), ("a-0 a-1", 2));
    // A newer assignment overtakes the answer.
    rig.apply(Command::SetTopics { views: vec![view("a", 0, 6)] }).unwrap();
    assert_eq!((rig.reads("m1").as_str(), rig.member("m1").epoch), ("a-0 a-1 a-4", 3));
    rig.confirm("m1", 2, set("a-0 a-1")).unwrap();
    assert_eq!((rig.reads("m1").as_str(), rig.reads("m2").as_str()), ("a-0 a-1 a-4", "a-2 a-3 a-5"));
    assert_eq!(rig.group().state(), GroupState::Stable);
}

#[test]
fn an_answer_that_was_overtaken_by_a_call_back_and_another_request_takes_nothing() {
    let mut rig = Rig::with(&[("a", 2)]);
    rig.join("m1", &["a"]);
    rig.join("m2", &["a"]);
    rig.leave("m2");
    rig.join("m2", &["a"]);
    // In between, m1 was told to read both.
    assert_eq!((rig.reads("m1").as_str(), rig.member("m1").epoch), ("a-0", 4));
    rig.confirm("m1", 2, set("a-0")).unwrap();
    assert_eq!(rig.reads("m2"), "");
    rig.confirm("m1", 4, set("a-0")).unwrap();
    assert_eq!(rig.reads("m2"), "a-1");
}

#[test]
fn a_member_has_its_time_for_what_it_was_asked_for_first_and_then_for_the_rest() {
    let mut rig = Rig::with(&[("a", 6)]);
    rig.join("m1", &["a"]);
    rig.now = 10;
    rig.join("m2", &["a"]);
    assert_eq!(rig.reads("m1"), "a-0 a-1 a-2");
    rig.now = 20;
    rig.join("m3", &["a"]);
    assert_eq!((rig.reads("m1").as_str(), rig.member("m1").epoch), ("a-0 a-1", 3));
    assert_eq!(rig.member("m1").revoking_since, Some(10));
    rig.now = 30;
    rig.confirm("m1", 3, set("a-0 a-1 a-2 a-3")).unwrap();
    assert_eq!(rig.member("m1").revoking_since, Some(10), "a part of it is not enough");
    rig.now = 40;
    rig.confirm("m1", 3, set("a-0 a-1 a-2")).unwrap();
    assert_eq!(rig.member("m1").revoking_since, Some(40));
    rig.confirm("m1", 3, set("a-0 a-1")).unwrap();
    assert_eq!(rig.member("m1").revoking_since, None);
}

#[test]
fn a_stream_of_a_member_that_comes_again_has_a_number_beyond_all_that_it_had() {
    let mut rig = Rig::with(&[("a", 2)]);
    rig.join("m1", &["a"]);
    let last = rig.come_back("m1", 1, "a-0 a-1").unwrap().session.unwrap();
    assert_eq!(rig.leave("m1").gone[0].session, last);
    assert!(rig.groups.get("g").is_none(), "nothing is left of the group");
    assert!(rig.join("m1", &["a"]).session.unwrap() > last);
    // The same for one whose place was taken.
    let before = rig.join_as("m2", "i", &["a"]).unwrap().session.unwrap();
    assert_eq!(rig.join_as("m3", "i", &["a"]).unwrap().gone[0].session, before);
    assert!(rig.join("m2", &["a"]).session.unwrap() > before);
}

#[test]
fn a_name_is_that_of_a_member_of_one_kind() {
    let mut rig = Rig::with(&[("a", 2)]);
    rig.join("m1", &["a"]);
    let join = |member: &str, is_self_named, returning| {
        Command::Join(Join {
            group: "g".to_owned(),
            member_id: member.to_owned(),
            topics: names(&["a"]),
            is_self_named,
            returning,
            ..Join::default()
        })
    };
    let is_unknown = |outcome| matches!(outcome, Err(GroupError::UnknownMember { .. }));
    let back = || Some(Returning { epoch: 1, owned: set("a-0 a-1") });
    assert!(is_unknown(rig.apply(join("m1", true, None))));
    assert!(is_unknown(rig.apply(join("m1", true, back()))));
    rig.apply(join("k1", true, None)).unwrap();
    assert!(is_unknown(rig.apply(join("k1", false, back()))));
}

#[test]
fn what_was_found_for_a_member_counts_only_if_it_has_said_nothing_since() {
    let mut rig = Rig::with(&[("a", 1), ("b", 1)]);
    let found_for = rig.join("m1", &["a"]).session;
    let found = |session| {
        let (group, member_id) = ("g".to_owned(), "m1".to_owned());
        Command::Subscribe(Subscribe { group, member_id, session, topics: names(&["b"]), views: vec![] })
    };
    let now = rig.come_back("m1", 1, "a-0").unwrap().session;
    assert!(matches!(rig.apply(found(found_for)), Err(GroupError::Fenced { .. })));
    assert_eq!(rig.target("m1"), "a-0");
    rig.apply(found(now)).unwrap();
    assert_eq!(rig.target("m1"), "b-0");
}
