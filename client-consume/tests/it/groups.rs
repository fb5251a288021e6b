//! Members of groups.

use std::{collections::BTreeMap, time::Duration};

use minikafka_client_consume::{
    ConsumeError, GroupConsumer, Message, Position, PositionToCommit, TopicPartition,
};
use minikafka_proto::v1::FetchPositionsRequest;
use minikafka_server::Server;
use tokio_stream::StreamExt as _;

use crate::{
    group_setup::{read, rig, settle, shares},
    reading::LONG,
    setup::{A_MOMENT, Rig, Seen},
};

#[tokio::test]
async fn whoever_comes_next_goes_on_where_the_last_one_left() {
    let rig = rig().await;
    let mut first = rig.member("g").subscribe("t").join_consumer_group().await.unwrap();
    let mut seen = read(&mut first, 1).await;
    seen.0.extend(read(&mut first, 1).await.0);
    let before = seen.count();
    let committed = |member: &GroupConsumer| -> Vec<Option<u64>> {
        (0..4).map(|partition| member.last_committed("t", partition)).collect()
    };
    assert_eq!(committed(&first), [None; 4], "nothing is stored yet");
    first.commit().await.unwrap();
    let ahead: u64 = committed(&first).into_iter().flatten().map(|number| number - 1).sum();
    assert_eq!((ahead, first.last_committed("other", 0)), (before as u64, None));
    first.leave_consumer_group().await.unwrap();
    let stored: u64 = rig.positions("g", "t").await.values().map(|number| number - 1).sum();
    assert_eq!(stored, before as u64, "what was polled is committed, and nothing else");
    let mut second = rig.member("g").subscribe("t").join_consumer_group().await.unwrap();
    let rest = read(&mut second, 40 - before).await;
    for (of, numbers) in &rest.0 {
        assert!(!seen.0.contains_key(of), "{of:?} came again: {numbers:?}");
    }
    assert!(second.poll(A_MOMENT).await.unwrap().is_empty());
    second.leave_consumer_group().await.unwrap();
    assert_eq!(rig.positions("g", "t").await, BTreeMap::from([(0, 11), (1, 11), (2, 11), (3, 11)]));
}

#[tokio::test]
async fn two_share_and_no_message_comes_twice_when_partitions_move() {
    let rig = rig().await;
    let mut one = rig.member("g").subscribe("t").join_consumer_group().await.unwrap();
    let mut seen = read(&mut one, 40).await;
    let mut two = rig.member("g").subscribe("t").join_consumer_group().await.unwrap();
    let meanwhile = settle(&mut [&mut one, &mut two], |members| shares(members) == [2, 2]).await;
    assert_eq!(meanwhile.count(), 0, "what was read was committed before it moved: {meanwhile:?}");
    for partition in 0..4 {
        rig.produce("t", partition, 11..=15).await;
    }
    for member in [&mut one, &mut two] {
        for ((_, partition), numbers) in read(member, 10).await.0 {
            seen.0.get_mut(&("t".to_owned(), partition)).unwrap().extend(numbers);
        }
    }
    for partition in 0..4 {
        assert_eq!(seen.numbers("t", partition), (1..=15).collect::<Vec<_>>(), "partition {partition}");
    }
    // The one that leaves hands over at once.
    two.leave_consumer_group().await.unwrap();
    let meanwhile = settle(&mut [&mut one], |members| shares(members) == [4]).await;
    assert_eq!(meanwhile.count(), 0, "{meanwhile:?}");
}

#[tokio::test]
async fn who_attends_gives_up_partitions_and_hands_out_nothing() {
    let rig = rig().await;
    let mut one = rig.member("g").subscribe("t").join_consumer_group().await.unwrap();
    assert!(one.settle(LONG).await.unwrap());
    assert_eq!(one.partitions().count(), 4);
    let mut two = rig.member("g").subscribe("t").join_consumer_group().await.unwrap();
    tokio::select! {
        error = one.attend() => panic!("{error}"),
        settled = two.settle(LONG) => assert!(settled.unwrap()),
    }
    let mut seen = settle(&mut [&mut one, &mut two], |members| shares(members) == [2, 2]).await;
    let reading = async {
        while seen.count() < 40 {
            for member in [&mut one, &mut two] {
                seen.add(&member.poll(A_MOMENT).await.unwrap());
            }
        }
    };
    tokio::time::timeout(LONG, reading).await.expect("messages come");
    assert_eq!(seen.count(), 40, "nothing is lost, nothing comes twice: {seen:?}");
}

#[tokio::test]
async fn who_has_settled_misses_nothing_even_from_the_end_on() {
    let rig = rig().await;
    let builder = rig.member("g").subscribe("t").start(Position::Latest);
    let mut member = builder.join_consumer_group().await.unwrap();
    assert!(member.settle(LONG).await.unwrap());
    rig.produce("t", 3, 11..=11).await;
    let seen = read(&mut member, 1).await;
    assert_eq!(seen.numbers("t", 3), [11]);
    member.subscribe("not there");
    assert!(!member.settle(A_MOMENT).await.unwrap());
}

#[tokio::test]
async fn a_member_that_dies_is_replaced_after_its_session_and_loses_nothing() {
    let rig = rig().await;
    let builder = rig.member("g").subscribe("t").session_timeout(Duration::from_secs(1)).commit_by_hand();
    let mut dying = builder.clone().join_consumer_group().await.unwrap();
    let mut committed = read(&mut dying, 1).await;
    dying.commit().await.unwrap();
    let lost = read(&mut dying, 1).await;
    drop(dying);
    let mut heir = builder.join_consumer_group().await.unwrap();
    let seen = read(&mut heir, 40 - committed.count()).await;
    committed.0.extend(seen.0);
    for partition in 0..4 {
        assert_eq!(committed.numbers("t", partition), (1..=10).collect::<Vec<_>>());
    }
    assert!(lost.count() > 0, "they came again");
}

#[tokio::test]
async fn a_new_group_starts_where_it_is_told() {
    let rig = rig().await;
    for (start, expected) in [
        (Position::Earliest, 1..=11),
        (Position::Latest, 11..=11),
        (Position::Number(6), 6..=11),
        (Position::Timestamp(i64::MAX), 11..=11),
    ] {
        let group = format!("{start:?}");
        let builder = rig.member(&group).subscribe("one").start(start);
        rig.create("one", 1).await;
        rig.produce("one", 0, 1..=10).await;
        let mut member = builder.join_consumer_group().await.unwrap();
        // Written once it has said where it starts.
        let is_started = |members: &[&mut GroupConsumer]| members[0].position("one", 0).is_some();
        let mut seen = settle(&mut [&mut member], is_started).await;
        rig.produce("one", 0, 11..=11).await;
        while seen.numbers("one", 0).last() != Some(&11) {
            seen.add(&member.poll(LONG).await.unwrap());
        }
        assert_eq!(seen.numbers("one", 0), expected.collect::<Vec<_>>(), "{start:?}");
        rig.delete("one").await;
    }
}

#[tokio::test]
async fn what_comes_after_the_subscription_is_read_whole_even_from_the_end_on() {
    let rig = rig().await;
    let builder = rig.member("g").subscribe("t").subscribe("later").start(Position::Latest);
    let mut member = builder.clone().join_consumer_group().await.unwrap();
    while rig.positions("g", "t").await.len() < 4 {
        member.poll(A_MOMENT).await.unwrap();
    }
    // A topic that was not there, and partitions that were not: messages may come before the member knows.
    rig.create("later", 1).await;
    rig.produce("later", 0, 1..=3).await;
    assert_eq!(read(&mut member, 3).await.numbers("later", 0), [1, 2, 3]);
    rig.grow("t", 5).await;
    rig.produce("t", 4, 1..=3).await;
    assert_eq!(read(&mut member, 3).await.numbers("t", 4), [1, 2, 3]);
    member.leave_consumer_group().await.unwrap();
    // The same while nobody is there.
    rig.grow("t", 6).await;
    rig.produce("t", 5, 1..=3).await;
    let mut heir = builder.start(Position::Number(3)).join_consumer_group().await.unwrap();
    assert_eq!(read(&mut heir, 3).await.numbers("t", 5), [1, 2, 3]);
}

#[tokio::test]
async fn a_topic_that_is_made_anew_behind_the_back_of_a_reader_is_read_anew() {
    let rig = rig().await;
    let builder = rig.member("g").subscribe("t").commit_interval(Duration::from_secs(3600));
    let mut member = builder.join_consumer_group().await.unwrap();
    read(&mut member, 40).await;
    // It has not committed what it has read, which is more than there is now.
    rig.delete("t").await;
    rig.create("t", 1).await;
    rig.produce("t", 0, 1..=3).await;
    assert_eq!(read(&mut member, 3).await.numbers("t", 0), [1, 2, 3]);
}

#[tokio::test]
async fn a_start_at_the_end_is_remembered_although_nothing_was_read() {
    // Nothing is as late as that: it comes to the end, too.
    for start in [Position::Latest, Position::Timestamp(i64::MAX)] {
        let rig = rig().await;
        let builder = rig.member("g").subscribe("t").start(start);
        let mut member = builder.clone().join_consumer_group().await.unwrap();
        let is_started = |members: &[&mut GroupConsumer]| {
            (0..4).all(|partition| members[0].position("t", partition).is_some())
        };
        settle(&mut [&mut member], is_started).await;
        // Committed by hand or not: what is written from now on is the group's.
        while rig.positions("g", "t").await.len() < 4 {
            member.poll(A_MOMENT).await.unwrap();
        }
        drop(member);
        rig.produce("t", 2, 11..=12).await;
        let builder = builder.session_timeout(Duration::from_secs(1));
        let mut heir = builder.join_consumer_group().await.unwrap();
        assert_eq!(read(&mut heir, 2).await.numbers("t", 2), [11, 12], "{start:?}");
    }
}

#[tokio::test]
async fn positions_are_committed_by_hand_with_what_belongs_to_them() {
    let rig = rig().await;
    let builder = rig.member("g").subscribe("t").commit_by_hand();
    let mut member = builder.clone().join_consumer_group().await.unwrap();
    read(&mut member, 40).await;
    assert!(rig.positions("g", "t").await.is_empty(), "nothing by itself");
    let position = |partition, number, metadata: &str| PositionToCommit {
        of: TopicPartition::new("t", partition),
        number,
        metadata: metadata.to_owned(),
    };
    member.commit_positions([position(1, 4, "checksum 17"), position(3, 11, "")]).await.unwrap();
    let request = FetchPositionsRequest { group: "g".into(), ..FetchPositionsRequest::default() };
    let stored = rig.groups().await.fetch_positions(request).await.unwrap().into_inner().positions;
    let stored: Vec<_> = stored.into_iter().map(|at| (at.partition, at.number, at.metadata)).collect();
    assert_eq!(stored, [(1, 4, "checksum 17".to_owned()), (3, 11, String::new())]);
    // One that is wrong is refused, and named; the others are stored.
    let error = member.commit_positions([position(0, 3, ""), position(2, 99, "")]).await.unwrap_err();
    assert!(
        matches!(&error, ConsumeError::Refused { reason, .. } if reason == "POSITION_OUT_OF_RANGE"),
        "{error}"
    );
    assert_eq!(rig.positions("g", "t").await, BTreeMap::from([(0, 3), (1, 4), (3, 11)]));
    member.leave_consumer_group().await.unwrap();
    let mut next = builder.join_consumer_group().await.unwrap();
    let seen = read(&mut next, 8 + 7 + 10).await;
    assert_eq!((seen.numbers("t", 0)[0], seen.numbers("t", 1)[0], seen.numbers("t", 2)[0]), (3, 4, 1));
}

#[tokio::test]
async fn topics_are_added_and_dropped_on_the_way() {
    let rig = rig().await;
    let mut member = rig.member("g").subscribe("t").join_consumer_group().await.unwrap();
    read(&mut member, 40).await;
    member.subscribe("later");
    member.subscribe("u");
    rig.create("u", 2).await;
    rig.produce("u", 1, 1..=3).await;
    assert_eq!(read(&mut member, 3).await.numbers("u", 1), [1, 2, 3]);
    // One that is not there yet is read when it comes.
    rig.create("later", 1).await;
    rig.produce("later", 0, 1..=2).await;
    assert_eq!(read(&mut member, 2).await.numbers("later", 0), [1, 2]);
    member.unsubscribe("t");
    rig.produce("t", 0, 11..=11).await;
    rig.produce("u", 0, 1..=1).await;
    assert_eq!(read(&mut member, 1).await.numbers("u", 0), [1]);
    let has_none = |members: &[&mut GroupConsumer]| members[0].partitions().all(|of| &*of.topic != "t");
    assert_eq!(settle(&mut [&mut member], has_none).await.count(), 0);
    assert_eq!(rig.positions("g", "t").await.get(&0), Some(&11), "what was read of it is committed");
}

#[tokio::test]
async fn a_topic_that_is_dropped_and_wanted_again_in_one_breath_is_read_on() {
    let rig = Rig::start().await;
    rig.create("t", 1).await;
    rig.create("u", 1).await;
    rig.produce("t", 0, 1..=10).await;
    let builder = rig.member("g").subscribe("t").subscribe("u");
    let mut member = builder.join_consumer_group().await.unwrap();
    let mut seen = read(&mut member, 10).await;
    // Twice: the second time, the server has been asked before.
    for last in [15, 20] {
        // The old list goes, the new one comes.
        member.unsubscribe("t");
        member.unsubscribe("u");
        member.subscribe("t");
        rig.produce("t", 0, last - 4..=last).await;
        for ((_, partition), numbers) in read(&mut member, 5).await.0 {
            seen.0.get_mut(&("t".to_owned(), partition)).unwrap().extend(numbers);
        }
        assert_eq!(seen.numbers("t", 0), (1..=last).collect::<Vec<_>>(), "none twice, none skipped");
    }
    assert!(member.partitions().all(|of| &*of.topic == "t"));
}

#[tokio::test]
async fn a_stream_is_a_member_too() {
    let rig = rig().await;
    let builder = rig.member("g").subscribe("t").commit_interval(Duration::ZERO);
    let mut stream = builder.join_consumer_group().await.unwrap().into_stream();
    let mut messages: Vec<Message> = Vec::new();
    while messages.len() < 40 {
        messages.push(stream.next().await.unwrap().unwrap());
    }
    let mut seen = Seen::default();
    seen.add(&messages);
    assert_eq!(seen.numbers("t", 3), (1..=10).collect::<Vec<_>>());
    let last = messages.pop().unwrap();
    stream.into_consumer().leave_consumer_group().await.unwrap();
    assert_eq!(rig.positions("g", "t").await[&last.partition], 11);
}

#[tokio::test]
async fn one_that_does_not_poll_keeps_its_membership_for_a_while_and_then_goes() {
    let rig = rig().await;
    let builder = rig.member("g").subscribe("t").session_timeout(Duration::from_secs(1));
    let mut slow =
        builder.clone().poll_interval_max(Duration::from_secs(3)).join_consumer_group().await.unwrap();
    let returned = read(&mut slow, 1).await.count();
    // Somebody else gets what it has, although it never gave it up: later than a session, sooner than never.
    let begin = std::time::Instant::now();
    let mut other = builder.join_consumer_group().await.unwrap();
    settle(&mut [&mut other], |members| shares(members) == [4]).await;
    assert!(begin.elapsed() >= Duration::from_secs(2), "heartbeats kept it: {:?}", begin.elapsed());
    let error = slow.poll(LONG).await.unwrap_err();
    assert!(matches!(error, ConsumeError::MembershipLost { .. }) && error.is_retryable(), "{error}");
    assert!(error.to_string().contains("nobody has polled"), "{error}");
    // It is a member again, with a share, and what it had not committed came again.
    settle(&mut [&mut slow, &mut other], |members| shares(members) == [2, 2]).await;
    assert!(returned > 0);
}

#[tokio::test]
async fn a_restart_of_the_server_is_survived_by_the_same_member() {
    let root = tempfile::tempdir().unwrap();
    let rig = Rig::of(Server::builder().filesystem(root.path()).start("127.0.0.1:0").await.unwrap()).await;
    rig.create("t", 2).await;
    rig.produce("t", 0, 1..=5).await;
    let address = rig.host();
    let mut member = rig.member("g").subscribe("t").join_consumer_group().await.unwrap();
    let mut seen = read(&mut member, 5).await;
    let member_id = member.member_id().to_owned();
    let Rig { server, .. } = rig;
    server.stop().await.unwrap();
    assert!(
        member.poll(A_MOMENT).await.map_or_else(|error| error.is_retryable(), |messages| messages.is_empty())
    );
    let rig = Rig::of(Server::builder().filesystem(root.path()).start(&address).await.unwrap()).await;
    rig.produce("t", 0, 6..=8).await;
    rig.produce("t", 1, 1..=2).await;
    while seen.count() < 10 {
        match member.poll(LONG).await {
            Ok(messages) => seen.add(&messages),
            Err(error) => assert!(matches!(error, ConsumeError::Unreachable { .. }), "{error}"),
        }
    }
    assert_eq!(seen.numbers("t", 0), (1..=8).collect::<Vec<_>>(), "none twice, none skipped");
    assert_eq!(member.member_id(), member_id);
    member.leave_consumer_group().await.unwrap();
    assert_eq!(rig.positions("g", "t").await, BTreeMap::from([(0, 9), (1, 3)]));
}

#[tokio::test]
async fn a_static_member_that_comes_back_gets_what_it_had() {
    let rig = rig().await;
    let mut other = rig.member("g").subscribe("t").join_consumer_group().await.unwrap();
    let builder = rig.member("g").subscribe("t").instance_id("left").session_timeout(Duration::from_secs(20));
    let mut fixed = builder.clone().join_consumer_group().await.unwrap();
    settle(&mut [&mut other, &mut fixed], |members| shares(members) == [2, 2]).await;
    let had: Vec<_> = fixed.partitions().cloned().collect();
    drop(fixed);
    let mut again = loop {
        // Until the server has seen its connection break, the instance is in use.
        match builder.clone().join_consumer_group().await {
            Ok(again) => break again,
            Err(ConsumeError::Refused { reason, .. }) if reason == "INSTANCE_IN_USE" => {}
            Err(error) => panic!("{error}"),
        }
    };
    settle(&mut [&mut again], |members| shares(members) == [2]).await;
    assert_eq!(again.partitions().cloned().collect::<Vec<_>>(), had);
    other.poll(A_MOMENT).await.unwrap();
    assert_eq!(other.partitions().count(), 2, "nobody else has moved");
}

#[tokio::test]
async fn timeouts_of_zero_are_the_servers_own() {
    let rig = rig().await;
    let builder = rig.member("g").subscribe("t").session_timeout(Duration::ZERO);
    let mut member = builder.poll_interval_max(Duration::ZERO).join_consumer_group().await.unwrap();
    // One that would be idle, or dead, at once, says so.
    assert!(member.settle(LONG).await.unwrap());
    assert_eq!(read(&mut member, 40).await.count(), 40);
}

#[tokio::test]
async fn what_cannot_be_joined_says_so_at_once() {
    let rig = Rig::start().await;
    let error = rig.member("").subscribe("t").join_consumer_group().await.unwrap_err();
    assert!(
        matches!(&error, ConsumeError::Refused { reason, .. } if reason == "INVALID_GROUP_NAME"),
        "{error}"
    );
    let host = rig.host();
    let Rig { server, .. } = rig;
    server.stop().await.unwrap();
    let error = GroupConsumer::builder(&host, "g").subscribe("t").join_consumer_group().await.unwrap_err();
    assert!(
        matches!(&error, ConsumeError::Unreachable { .. }) && error.to_string().contains(&host),
        "{error}"
    );
}
