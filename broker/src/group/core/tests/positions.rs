//! Positions: who may store them, and how long they stay.

use minikafka_record::Offset;

use super::{
    super::limits::{GROUPS_MAX, STATE_BYTES_MAX},
    Command, Commit, Committer, GroupError, Groups, Join, NewPosition, Rig, names, set, view,
};

fn member(id: &str, epoch: u64) -> Committer {
    Committer::Member { id: id.to_owned(), epoch }
}

#[test]
fn an_old_owner_cannot_commit() {
    let mut rig = Rig::with(&[("a", 2)]);
    rig.join("m1", &["a"]);
    rig.commit(member("m1", 1), &[("a", 0, 5), ("a", 1, 5)]).unwrap();
    rig.join("m2", &["a"]);
    // It was asked for a-1 and still has it: that is the moment to commit it, with the epoch that it knows.
    rig.commit(member("m1", 1), &[("a", 1, 7)]).unwrap();
    rig.obey("m1");
    rig.commit(member("m1", 1), &[("a", 0, 8)]).unwrap();
    for (epoch, stale) in [(1, true), (2, false)] {
        let error = rig.commit(member("m1", epoch), &[("a", 0, 9), ("a", 1, 9)]).unwrap_err();
        match error {
            GroupError::StaleEpoch { current: 2, partition: 1, .. } if stale => {}
            GroupError::NotOwner { partition: 1, .. } if !stale => {}
            other => panic!("{other}"),
        }
    }
    assert_eq!(rig.group().positions.get("a", 0).unwrap().offset.get(), 8, "all or nothing");
    rig.commit(member("m2", 2), &[("a", 1, 9)]).unwrap();
}

#[test]
fn a_commit_from_before_the_partition_was_with_somebody_else_is_stale() {
    let mut rig = Rig::with(&[("a", 2)]);
    rig.join("m1", &["a"]);
    rig.join("m2", &["a"]);
    rig.obey("m1");
    rig.commit(member("m2", 2), &[("a", 1, 100)]).unwrap();
    rig.leave("m2");
    assert_eq!(rig.reads("m1"), "a-0 a-1");
    // A commit of m1 that was long on its way would take the group back behind what m2 has done.
    assert!(matches!(rig.commit(member("m1", 1), &[("a", 1, 5)]), Err(GroupError::StaleEpoch { .. })));
    rig.commit(member("m1", 3), &[("a", 1, 101)]).unwrap();
}

#[test]
fn only_members_commit_while_there_are_any() {
    let mut rig = Rig::with(&[("a", 1)]);
    assert!(matches!(rig.commit(member("m1", 1), &[("a", 0, 1)]), Err(GroupError::NotFound(_))));
    rig.commit(Committer::Outsider, &[("a", 0, 3)]).unwrap();
    rig.join("m1", &["a"]);
    assert!(matches!(
        rig.commit(Committer::Outsider, &[("a", 0, 1)]),
        Err(GroupError::NotEmpty { members: 1, .. })
    ));
    assert!(matches!(rig.commit(member("m2", 1), &[("a", 0, 1)]), Err(GroupError::UnknownMember { .. })));
    assert!(matches!(rig.commit(member("m1", 9), &[("a", 0, 1)]), Err(GroupError::Fenced { .. })));
    assert_eq!(rig.group().positions.get("a", 0).unwrap().offset.get(), 3);
}

#[test]
fn they_are_forgotten_from_the_moment_on_when_the_group_is_empty() {
    let mut rig = Rig::with(&[("a", 1)]);
    rig.now = 10;
    rig.join("m1", &["a"]);
    rig.commit(member("m1", 1), &[("a", 0, 3)]).unwrap();
    rig.now = 20;
    let forget = |empty_since| Command::Forget { group: "g".to_owned(), empty_since };
    rig.apply(forget(10)).unwrap();
    rig.group();
    rig.leave("m1");
    rig.apply(forget(10)).unwrap();
    assert_eq!(rig.group().positions.len(), 1, "it is empty since 20");
    rig.apply(forget(20)).unwrap();
    assert!(rig.groups.get("g").is_none());
}

#[test]
fn those_of_a_deleted_or_recreated_topic_go() {
    let mut rig = Rig::with(&[("a", 1), ("b", 1)]);
    rig.join("m1", &["a", "b"]);
    rig.commit(member("m1", 1), &[("a", 0, 3), ("b", 0, 3)]).unwrap();
    rig.apply(Command::SetTopics { views: vec![view("a", 77, 1)] }).unwrap();
    let kept = rig.group().positions.get("a", 0).unwrap();
    assert_eq!((kept.topic_id, kept.offset.get()), (view("a", 77, 1).1.id, 0), "this topic is another one");
    assert_eq!(
        (rig.reads("m1").as_str(), rig.member("m1").epoch),
        ("b-0", 2),
        "it is to stop reading the old one"
    );
    let id = rig.groups.topics["b"].id;
    rig.apply(Command::DropTopics { topics: vec![("b".to_owned(), id)] }).unwrap();
    assert_eq!(rig.group().positions.of_topic("b").count(), 0);
}

impl Rig {
    /// Partitions and offsets that the group has stored for a topic.
    fn stored(&self, topic: &str) -> Vec<(u32, u64)> {
        let group = self.groups.get("g").expect("there is a group");
        group.positions.of_topic(topic).map(|(number, position)| (number, position.offset.get())).collect()
    }

    fn grow(&mut self, topic: &str, partitions: u32) {
        let id = self.groups.topics.get(topic).map_or(50, |view| view.id.as_bytes()[0]);
        self.apply(Command::SetTopics { views: vec![view(topic, id, partitions)] }).unwrap();
    }
}

#[test]
fn what_comes_after_a_subscription_is_read_from_its_beginning() {
    let mut rig = Rig::with(&[("a", 2)]);
    rig.join("m1", &["a", "later"]);
    assert_eq!(rig.stored("a"), [], "where it begins in what there is, is its own to say");
    rig.grow("a", 4);
    assert_eq!(rig.stored("a"), [(2, 0), (3, 0)]);
    rig.grow("later", 2);
    assert_eq!(rig.stored("later"), [(0, 0), (1, 0)]);
    // Whoever comes with the news is not the one who waited for it.
    let mut rig = Rig::with(&[]);
    rig.join("m1", &["later"]);
    let views = vec![view("later", 7, 1)];
    let (group, member_id, topics) = ("other".to_owned(), "m2".to_owned(), names(&["later"]));
    rig.apply(Command::Join(Join { group, member_id, topics, views, ..Join::default() })).unwrap();
    assert_eq!(rig.stored("later"), [(0, 0)]);
    assert_eq!(rig.groups.groups["other"].positions.len(), 0);
}

#[test]
fn what_comes_while_its_members_are_away_is_read_from_its_beginning() {
    let mut rig = Rig::with(&[("a", 2), ("b", 2)]);
    rig.join("m1", &["a", "b"]);
    rig.commit(member("m1", 1), &[("a", 0, 3), ("a", 1, 4), ("b", 1, 5)]).unwrap();
    rig.leave("m1");
    let empty_since = rig.group().empty_since;
    rig.now += 100;
    rig.grow("a", 3);
    rig.grow("b", 3);
    assert_eq!(rig.stored("a"), [(0, 3), (1, 4), (2, 0)]);
    assert_eq!(rig.stored("b"), [(1, 5)], "it has never read all of this one");
    assert_eq!(rig.group().empty_since, empty_since, "nobody has committed");
}

#[test]
fn a_number_in_the_old_topic_is_not_committed_in_the_new_one() {
    let mut rig = Rig::with(&[("a", 2)]);
    rig.join("m1", &["a"]);
    rig.apply(Command::SetTopics { views: vec![view("a", 77, 2)] }).unwrap();
    // m1 does not know yet. Its number may well be there in the new topic, too.
    let late = rig.commit(member("m1", 1), &[("a", 0, 100)]);
    assert!(matches!(late, Err(GroupError::StaleEpoch { .. })), "{late:?}");
    rig.confirm("m1", 2, set("a-0 a-1")).unwrap();
    let late = rig.commit(member("m1", 2), &[("a", 0, 100)]);
    assert!(matches!(late, Err(GroupError::NotOwner { .. })), "{late:?}");
    rig.obey("m1");
    rig.commit(member("m1", 3), &[("a", 0, 1)]).unwrap();
    // Groups hear of a new topic a little later than those who take positions.
    let late = rig.commit_in(member("m1", 3), vec![(Some(view("a", 78, 2).1.id), ("a", 0, 100))]);
    assert!(matches!(late, Err(GroupError::NotOwner { .. })), "{late:?}");
}

#[test]
fn a_group_with_members_is_not_deleted() {
    let mut rig = Rig::with(&[("a", 1)]);
    let delete = || Command::Delete { group: "g".to_owned() };
    assert!(matches!(rig.apply(delete()), Err(GroupError::NotFound(_))));
    rig.join("m1", &["a"]);
    assert!(matches!(rig.apply(delete()), Err(GroupError::NotEmpty { .. })));
    rig.commit(member("m1", 1), &[("a", 0, 1)]).unwrap();
    rig.leave("m1");
    rig.apply(delete()).unwrap();
    assert!(rig.groups.get("g").is_none());
}

/// Commits of somebody from outside, with so many bytes of metadata.
fn outsider(group: String, partitions: u32, metadata: usize) -> Command {
    let position =
        NewPosition { topic_id: view("a", 0, 1).1.id, offset: Offset::ZERO, metadata: "x".repeat(metadata) };
    let positions = (0..partitions).map(|number| ("a", number, position.clone())).collect();
    Command::Commit(Commit { group, by: Committer::Outsider, positions })
}

#[test]
fn there_are_so_many_groups() {
    let mut rig = Rig::default();
    let commit = |group: usize| outsider(format!("g{group}"), 1, 0);
    for group in 0..GROUPS_MAX {
        rig.groups.apply(commit(group), 0).unwrap();
    }
    assert!(matches!(rig.groups.apply(commit(GROUPS_MAX), 0), Err(GroupError::TooManyGroups { .. })));
    assert!(matches!(rig.join_as("m1", "", &[]), Err(GroupError::TooManyGroups { .. })));
}

#[test]
fn groups_take_so_much_memory_together() {
    const LARGE: usize = 4096;
    const PARTITIONS: u32 = 500;
    let mut groups = Groups::default();
    let mut full = 0;
    let refused = loop {
        match groups.apply(outsider(format!("g{full}"), PARTITIONS, LARGE), 0) {
            Ok(_) => full += 1,
            Err(refused) => break refused,
        }
    };
    assert!(matches!(refused, GroupError::TooMuchState { .. }), "{refused}");
    let counted = full * PARTITIONS as usize * LARGE;
    assert!(counted <= STATE_BYTES_MAX && counted > STATE_BYTES_MAX / 10 * 9, "{counted}");
    // What takes nothing more goes on, and what goes makes room.
    groups.apply(outsider("g0".to_owned(), PARTITIONS, LARGE), 1).unwrap();
    let join =
        || Command::Join(Join { group: "g0".to_owned(), member_id: "m1".to_owned(), ..Join::default() });
    groups.apply(Command::Delete { group: "g1".to_owned() }, 2).unwrap();
    groups.apply(join(), 3).unwrap();
    groups.apply(outsider(format!("g{full}"), PARTITIONS - 1, LARGE), 4).unwrap();
}
