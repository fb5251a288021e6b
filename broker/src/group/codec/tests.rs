//! What was stored stays readable: golden bytes, and everything there and back.

use std::fmt::Write as _;

use minikafka_record::Offset;
use minikafka_storage::TopicId;

use super::*;
use crate::group::core::{
    Because, Commit, Committer, Join, NamedView, NewPosition, PartitionMap, PartitionSet, Returning,
    Subscribe, TopicView,
};

fn view(topic: &str, id: u8) -> NamedView {
    (topic.to_owned(), TopicView { id: TopicId::from_bytes([id; 16]), partitions: 3 })
}

fn partitions(numbers: &[u32]) -> PartitionSet {
    numbers.iter().map(|number| ("t", *number)).collect()
}

fn positions() -> PartitionMap<NewPosition> {
    let position = |id, offset, metadata: &str| NewPosition {
        topic_id: TopicId::from_bytes([id; 16]),
        offset: Offset::new(offset),
        metadata: metadata.to_owned(),
    };
    [("t", 0, position(1, 7, "x")), ("t", 2, position(1, 300, "")), ("u", 0, position(2, 0, ""))]
        .into_iter()
        .collect()
}

fn join(returning: Option<Returning>) -> Command {
    Command::Join(Join {
        group: "g".into(),
        member_id: "m".into(),
        returning,
        instance_id: "i".into(),
        client_id: "c".into(),
        topics: ["t".to_owned(), "u".to_owned()].into(),
        session_timeout_ms: 45_000,
        rebalance_timeout_ms: 60_000,
        views: vec![view("t", 1)],
        ..Join::default()
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Each kind of command, and what it was stored as by the first version.
fn golden() -> Vec<(Command, &'static str)> {
    let (group, member_id) = ("g".to_owned(), "m".to_owned());
    let remove = |because| Command::Remove { group: group.clone(), member_id: member_id.clone(), because };
    let by = Committer::Member { id: "m".into(), epoch: 5 };
    let subscribe = |session| {
        Command::Subscribe(Subscribe {
            group: "g".into(),
            member_id: "m".into(),
            session,
            topics: ["t".to_owned()].into(),
            views: vec![view("t", 1)],
        })
    };
    vec![
        (
            join(None),
            "0a330a016712016d2201692a016332017432017538c8df0240e0d4034a170a01741210010101010101010101010101010101011803",
        ),
        (
            join(Some(Returning { epoch: 4, owned: partitions(&[1]) })),
            "0a3f0a016712016d1a0a080412060a01741201012201692a016332017432017538c8df0240e0d4034a170a01741210010101010101010101010101010101011803",
        ),
        (subscribe(None), "12220a016712016d1a017422170a01741210010101010101010101010101010101011803"),
        (
            subscribe(Some(300)),
            "12250a016712016d1a017422170a0174121001010101010101010101010101010101180328ac02",
        ),
        (
            Command::Confirm {
                group: group.clone(),
                member_id: member_id.clone(),
                epoch: 6,
                owned: partitions(&[0, 2]),
            },
            "1a110a016712016d180622070a017412020002",
        ),
        (remove(Because::Left { session: 0 }), "22080a016712016d1800"),
        (remove(Because::Silent { session: 2 }), "22080a016712016d2002"),
        (remove(Because::HeldOn { revoking_since: 300 }), "22090a016712016d28ac02"),
        (
            Command::Commit(Commit { group: group.clone(), by, positions: positions() }),
            "2a480a016712050a016d10051a230a01741210010101010101010101010101010101011a0510071a01781a05080210ac021a170a01751210020202020202020202020202020202021a00",
        ),
        (
            Command::Commit(Commit {
                group: group.clone(),
                by: Committer::Outsider,
                positions: PartitionMap::default(),
            }),
            "2a030a0167",
        ),
        (Command::Delete { group: group.clone() }, "32030a0167"),
        (Command::Forget { group: group.clone(), empty_since: 300 }, "3a060a016710ac02"),
        (
            Command::Commit(Commit {
                group: group.clone(),
                by: Committer::Classic { id: "k".into() },
                positions: PartitionMap::default(),
            }),
            "2a060a016722016b",
        ),
        (Command::Occupy { group: group.clone() }, "52030a0167"),
        (Command::Vacate { group: group.clone(), occupation: 3, generation: 300 }, "5a080a0167100318ac02"),
        (Command::DropPositions { group, of: partitions(&[0, 2]) }, "620c0a016712070a017412020002"),
        (
            Command::SetTopics { views: vec![view("t", 1)] },
            "42190a170a01741210010101010101010101010101010101011803",
        ),
        (
            Command::DropTopics { topics: vec![("t".to_owned(), TopicId::from_bytes([1; 16]))] },
            "4a170a150a0174121001010101010101010101010101010101",
        ),
    ]
}

#[test]
fn commands_stay_as_they_were_stored() {
    for (command, stored) in golden() {
        let bytes = Groups::encode(&command);
        assert_eq!(hex(&bytes), stored, "{command:?}");
        assert_eq!(Groups::decode(&bytes).unwrap(), command);
    }
}

#[test]
fn what_is_not_known_is_refused() {
    assert!(Groups::decode(&[]).is_err(), "a kind that a later version may bring");
    assert!(Groups::decode(&[0xff]).is_err());
    assert!(Groups::default().restore(&[0xff]).is_err());
}

/// A group in the middle of a rebalance, with positions.
fn busy() -> Groups {
    let mut groups = Groups::default();
    apply(&mut groups, join(None), 5);
    let other = Join { member_id: "n".into(), topics: ["t".to_owned()].into(), ..Join::default() };
    apply(&mut groups, Command::Join(Join { group: "g".into(), ..other }), 6);
    groups
}

fn apply(groups: &mut Groups, command: Command, at: Millis) {
    let mut applied = groups.apply(command, at).unwrap();
    groups.settle(&mut applied, at);
}

#[test]
fn a_member_that_named_itself_and_its_pattern_are_kept() {
    let join = Command::Join(Join {
        group: "g".into(),
        member_id: "m".into(),
        pattern: "t.*".into(),
        is_self_named: true,
        ..Join::default()
    });
    let bytes = Groups::encode(&join);
    assert_eq!(hex(&bytes), "0a0d0a016712016d5203742e2a5801");
    assert_eq!(Groups::decode(&bytes).unwrap(), join);
    let mut groups = Groups::default();
    apply(&mut groups, join, 5);
    let mut restored = Groups::default();
    restored.restore(&groups.snapshot()).unwrap();
    assert_eq!(restored, groups);
}

#[test]
fn an_occupation_is_kept() {
    let mut groups = Groups::default();
    apply(&mut groups, Command::Occupy { group: "g".into() }, 5);
    let mut restored = Groups::default();
    restored.restore(&groups.snapshot()).unwrap();
    assert_eq!(restored, groups);
    assert_eq!(restored.get("g").unwrap().occupied, Some(1));
}

#[test]
fn what_is_held_of_an_old_topic_stays_so() {
    let mut groups = busy();
    apply(&mut groups, Command::SetTopics { views: vec![view("t", 2)] }, 7);
    let mut restored = Groups::default();
    restored.restore(&groups.snapshot()).unwrap();
    assert_eq!(restored, groups);
    let held = |groups: &Groups| {
        let held = groups.get("g").unwrap().members["m"].held.iter();
        held.filter(|(_, _, held)| held.is_void).count()
    };
    assert_eq!(held(&restored), 3);
}

/// A snapshot of the first version.
const FIRST: &str = "0a550a016710021a3a0a016d1201691a016322017422017528c8df0230e0d403380140024a120a017412030001021a03010101220300000152070a01741202000158061a120a016e2201743801400152060a01741201020a490a016822270a01741210010101010101010101010101010101011a0710071a017820091a07080210ac02200922190a01751210020202020202020202020202020202021a022009280912170a01741210010101010101010101010101010101011803";

/// Groups that are busy, one with positions, and what they were stored as by the first version.
fn stored() -> (Groups, &'static str) {
    let mut groups = busy();
    let positions = positions();
    apply(&mut groups, Command::Commit(Commit { group: "h".into(), by: Committer::Outsider, positions }), 9);
    (groups, FIRST)
}

#[test]
fn a_snapshot_of_the_first_version_is_read() {
    let (groups, stored) = stored();
    let bytes: Vec<u8> =
        (0..stored.len()).step_by(2).map(|at| u8::from_str_radix(&stored[at..at + 2], 16).unwrap()).collect();
    let mut restored = Groups::default();
    restored.restore(&bytes).unwrap();
    assert_eq!(restored, groups, "what was revoked was so in the newest epoch");
}

#[test]
fn what_has_gone_is_counted_and_kept() {
    let mut groups = busy();
    let (group, member_id) = ("g".to_owned(), "n".to_owned());
    apply(&mut groups, Command::Remove { group, member_id, because: Because::Left { session: 1 } }, 7);
    let mut restored = Groups::default();
    restored.restore(&groups.snapshot()).unwrap();
    assert_eq!((&restored, restored.sessions_gone), (&groups, 1));
}

#[test]
fn a_snapshot_stays_as_it_was_stored_and_brings_everything_back() {
    let (groups, _) = stored();
    let bytes = groups.snapshot();
    let mut restored = Groups::default();
    restored.restore(&bytes).unwrap();
    assert_eq!(restored, groups);
    assert_eq!(
        hex(&bytes),
        "0a580a016710021a3d0a016d1201691a016322017422017528c8df0230e0d403380140024a150a017412030001021a03010101220300000132010252070a01741202000158061a120a016e2201743801400152060a01741201020a490a016822270a01741210010101010101010101010101010101011a0710071a017820091a07080210ac02200922190a01751210020202020202020202020202020202021a022009280912170a01741210010101010101010101010101010101011803"
    );
}
