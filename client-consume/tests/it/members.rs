//! A member of a group, against a server that does, on command, what real ones do rarely.

use std::time::Duration;

use minikafka_client_consume::{ConsumeError, GroupConsumer, GroupConsumerBuilder, Position};
use minikafka_proto::v1::join_request::Message as Said;
use tonic::{Code, Status};

use crate::{
    fake::refusal,
    fake_group::{Event, FakeGroup, commits, joins, owns},
    reading::{LONG, SHORT},
    rebalances::{Diary, Told},
};

const NEVER: Duration = Duration::from_secs(3600);

/// Polls until so many messages have come.
async fn read(member: &mut GroupConsumer, count: usize) -> Vec<(u32, u64)> {
    let mut seen = Vec::new();
    while seen.len() < count {
        let messages = member.poll(LONG).await.unwrap();
        assert!(!messages.is_empty(), "{count} messages are there, and only {seen:?} came");
        seen.extend(messages.iter().map(|message| (message.partition, message.number)));
    }
    seen
}

fn all(partition: u32, from: u64) -> Vec<(u32, u64)> {
    (from..=10).map(|number| (partition, number)).collect()
}

#[tokio::test]
async fn it_reads_what_is_assigned_from_where_the_group_has_come_to() {
    let fake = FakeGroup::start().await;
    let mut member = fake.member().client_id("me").join_consumer_group().await.unwrap();
    assert_eq!(member.member_id(), "member 0");
    assert!(member.poll(SHORT).await.unwrap().is_empty(), "nothing is assigned");
    fake.assign(2, &[(0, None), (3, Some(8))]);
    let seen = read(&mut member, 13).await;
    assert_eq!(seen, [all(0, 1), all(3, 8)].concat());
    assert!(owns(2, &[0, 3])(&fake.events()), "{:?}", fake.events());
    let join = &joins(&fake.events())[0];
    assert_eq!(
        (join.group.as_str(), join.topics.as_slice(), join.client_id.as_str()),
        ("g", &["t".to_owned()][..], "me")
    );
    assert_eq!((join.session_timeout_ms, join.rebalance_timeout_ms), (45_000, 300_000));
    assert_eq!((member.position("t", 3), member.epoch("t", 3)), (Some(11), Some(2)));
}

#[tokio::test]
async fn what_is_taken_away_is_committed_before_that_is_confirmed() {
    let fake = FakeGroup::start().await;
    let mut member = fake.member().commit_interval(NEVER).join_consumer_group().await.unwrap();
    fake.assign(1, &[(0, None), (1, Some(4))]);
    read(&mut member, 17).await;
    fake.assign(2, &[(1, Some(4))]);
    fake.until(&mut member, owns(2, &[1])).await;
    assert_eq!(commits(&fake.events()), [[(0, 11)]], "the rest in its own time");
    let events = fake.events();
    let committed = events.iter().position(|event| matches!(event, Event::Committed(_))).unwrap();
    let confirmed = events.iter().rposition(|event| matches!(event, Event::Said(_, Said::Owned(_)))).unwrap();
    assert!(committed < confirmed, "{events:?}");
    let Event::Committed(commit) = &events[committed] else { panic!("{events:?}") };
    assert_eq!((commit.member_id.as_str(), commit.member_epoch), ("member 0", 2));
}

#[tokio::test]
async fn what_was_not_returned_is_not_committed() {
    let fake = FakeGroup::start().await;
    let mut member = fake.member().commit_interval(Duration::ZERO).join_consumer_group().await.unwrap();
    fake.assign(1, &[(0, Some(3)), (1, Some(1))]);
    assert_eq!(read(&mut member, 8).await, all(0, 3));
    // The messages of partition 1 are here, and nobody has got them.
    member.leave_consumer_group().await.unwrap();
    assert_eq!((fake.stored(0), fake.stored(1)), (Some(11), None));
    assert!(matches!(fake.events().last(), Some(Event::Said(_, Said::Leave(_)))), "{:?}", fake.events());
}

#[tokio::test]
async fn committed_by_hand_nothing_is_committed_otherwise() {
    let fake = FakeGroup::start().await;
    let mut member = fake.member().commit_by_hand().join_consumer_group().await.unwrap();
    fake.assign(1, &[(0, None), (1, None)]);
    read(&mut member, 10).await;
    member.commit().await.unwrap();
    read(&mut member, 10).await;
    fake.assign(2, &[(0, None)]);
    fake.until(&mut member, owns(2, &[0])).await;
    member.leave_consumer_group().await.unwrap();
    assert_eq!((fake.stored(0), fake.stored(1)), (Some(11), None));
}

#[tokio::test]
async fn a_broken_stream_is_taken_up_by_the_same_member() {
    let fake = FakeGroup::start().await;
    let mut member = fake.member().join_consumer_group().await.unwrap();
    fake.assign(5, &[(0, None)]);
    read(&mut member, 10).await;
    fake.until(&mut member, owns(5, &[0])).await;
    fake.end_stream(Status::unavailable("broken on command"));
    let came = fake.until(&mut member, |events| joins(events).len() == 2).await;
    let again = &joins(&fake.events())[1];
    assert_eq!((again.member_id.as_str(), again.member_epoch, again.owned.len()), ("member 0", 5, 1));
    fake.assign(5, &[(0, Some(2))]);
    let is_confirmed =
        |events: &[Event]| events.iter().any(|event| matches!(event, Event::Said(1, Said::Owned(_))));
    let more = fake.until(&mut member, is_confirmed).await;
    assert!(came.is_empty() && more.is_empty(), "nothing twice: {came:?} {more:?}");
}

#[tokio::test]
async fn a_lost_member_says_so_and_joins_anew() {
    let fake = FakeGroup::start().await;
    let mut member = fake.member().commit_interval(NEVER).join_consumer_group().await.unwrap();
    fake.assign(5, &[(0, None)]);
    read(&mut member, 10).await;
    fake.end_stream(refusal(Code::NotFound, "UNKNOWN_MEMBER", &[]));
    let error = member.poll(LONG).await.unwrap_err();
    assert!(matches!(&error, ConsumeError::MembershipLost { group, .. } if group == "g"), "{error}");
    assert!(error.is_retryable() && member.partitions().count() == 0);
    fake.until(&mut member, |events| joins(events).len() == 2).await;
    assert_eq!(joins(&fake.events())[1].member_id, "");
    fake.assign(1, &[(0, Some(4))]);
    assert_eq!(read(&mut member, 7).await, all(0, 4), "again, from what was stored");
    assert_eq!(commits(&fake.events()), Vec::<Vec<_>>::new());
}

#[tokio::test]
async fn a_member_whose_commits_are_fenced_joins_anew() {
    let fake = FakeGroup::start().await;
    let mut member = fake.member().commit_by_hand().join_consumer_group().await.unwrap();
    fake.assign(5, &[(0, None)]);
    read(&mut member, 10).await;
    fake.refuse_next_commit(refusal(Code::FailedPrecondition, "MEMBER_FENCED", &[]));
    let error = member.commit().await.unwrap_err();
    assert!(matches!(error, ConsumeError::MembershipLost { .. }), "{error}");
    let error = member.poll(LONG).await.unwrap_err();
    assert!(matches!(error, ConsumeError::MembershipLost { .. }), "{error}");
    fake.until(&mut member, |events| joins(events).len() == 2).await;
}

#[tokio::test]
async fn a_commit_is_tried_again_while_that_may_help() {
    let fake = FakeGroup::start().await;
    let mut member = fake.member().commit_interval(NEVER).join_consumer_group().await.unwrap();
    fake.assign(1, &[(0, None)]);
    read(&mut member, 10).await;
    fake.refuse_next_commit(refusal(Code::FailedPrecondition, "STALE_MEMBER_EPOCH", &[]));
    fake.refuse_next_commit(Status::unavailable("broken on command"));
    fake.assign(2, &[]);
    fake.until(&mut member, owns(2, &[])).await;
    assert_eq!(commits(&fake.events()), [[(0, 11)]]);
}

#[tokio::test]
async fn one_position_that_is_refused_does_not_hold_up_the_others() {
    let fake = FakeGroup::start().await;
    let mut member = fake.member().commit_by_hand().join_consumer_group().await.unwrap();
    let assigned: Vec<_> = (0..7).map(|partition| (partition, Some(10))).collect();
    fake.assign(1, &assigned);
    read(&mut member, 7).await;
    fake.refuse_commits_of(4, refusal(Code::InvalidArgument, "POSITION_OUT_OF_RANGE", &[]));
    let error = member.commit().await.unwrap_err();
    assert!(
        matches!(&error, ConsumeError::Refused { reason, .. } if reason == "POSITION_OUT_OF_RANGE"),
        "{error}"
    );
    let stored: Vec<_> = (0..7).map(|partition| fake.stored(partition)).collect();
    assert_eq!(stored, [Some(11), Some(11), Some(11), Some(11), None, Some(11), Some(11)]);
}

#[tokio::test]
async fn what_is_given_up_of_a_topic_that_was_made_anew_is_no_news() {
    let fake = FakeGroup::start().await;
    let mut member = fake.member().commit_interval(NEVER).join_consumer_group().await.unwrap();
    fake.assign(1, &[(0, None), (1, None)]);
    read(&mut member, 20).await;
    // Of the new topic, which does not reach as far.
    fake.refuse_commits_of(0, refusal(Code::InvalidArgument, "POSITION_OUT_OF_RANGE", &[]));
    fake.assign(2, &[]);
    fake.until(&mut member, owns(2, &[])).await;
    assert_eq!((fake.stored(0), fake.stored(1)), (None, Some(11)));
}

#[tokio::test]
async fn that_an_automatic_commit_comes_too_late_is_no_news() {
    let fake = FakeGroup::start().await;
    let mut member = fake.member().commit_interval(Duration::ZERO).join_consumer_group().await.unwrap();
    fake.refuse_next_commit(refusal(Code::FailedPrecondition, "NOT_OWNER", &[]));
    fake.assign(1, &[(0, None)]);
    read(&mut member, 10).await;
    // The assignment that says so is on its way, or it was an earlier one.
    fake.until(&mut member, |events| commits(events) == [[(0, 11)]]).await;
}

/// A member that knows where to start, at the end, and cannot store that.
async fn about_to_start(fake: &FakeGroup, builder: GroupConsumerBuilder) -> GroupConsumer {
    let mut member = builder.start(Position::Latest).join_consumer_group().await.unwrap();
    fake.refuse_commits_of(0, Status::unavailable("broken on command"));
    fake.assign(1, &[(0, None)]);
    while member.position("t", 0) != Some(11) {
        assert!(member.poll(SHORT).await.unwrap().is_empty());
    }
    member
}

#[tokio::test]
async fn a_start_at_the_end_is_stored_although_the_partition_is_given_up_before() {
    let fake = FakeGroup::start().await;
    let mut member = about_to_start(&fake, fake.member().commit_by_hand()).await;
    fake.assign(2, &[]);
    // It has heard of it, and cannot confirm it.
    assert!(member.poll(SHORT).await.unwrap().is_empty());
    assert!(!owns(2, &[])(&fake.events()));
    fake.want_commits_of(0);
    fake.until(&mut member, owns(2, &[])).await;
    assert_eq!(commits(&fake.events()), [[(0, 11)]]);
}

#[tokio::test]
async fn a_start_at_the_end_is_stored_by_who_leaves() {
    for is_by_hand in [true, false] {
        let fake = FakeGroup::start().await;
        let builder = fake.member();
        let builder = if is_by_hand { builder.commit_by_hand() } else { builder.commit_interval(NEVER) };
        let member = about_to_start(&fake, builder).await;
        fake.want_commits_of(0);
        member.leave_consumer_group().await.unwrap();
        assert_eq!(commits(&fake.events()), [[(0, 11)]]);
    }
}

#[tokio::test]
async fn who_leaves_without_a_commit_commits_nothing_that_was_read() {
    let fake = FakeGroup::start().await;
    let diary = Diary::default();
    let builder = fake.member().commit_interval(NEVER).rebalance_listener(diary.clone());
    let mut member = builder.join_consumer_group().await.unwrap();
    fake.assign(1, &[(0, None)]);
    read(&mut member, 10).await;
    member.leave_without_commit().await.unwrap();
    assert_eq!(diary.told(), [Told::Assigned(vec![0]), Told::Lost(vec![0])], "it is not asked to commit");
    let left = |event: &Event| matches!(event, Event::Said(_, Said::Leave(_)));
    assert!(fake.events().iter().any(left) && commits(&fake.events()).is_empty(), "{:?}", fake.events());
}

#[tokio::test]
async fn a_partition_that_comes_back_is_read_from_what_is_stored_now() {
    let fake = FakeGroup::start().await;
    let mut member = fake.member().commit_interval(NEVER).join_consumer_group().await.unwrap();
    fake.assign(1, &[(0, None), (1, None)]);
    read(&mut member, 20).await;
    // The assignment that gives it back was made before the commit.
    fake.assign(2, &[(1, None)]);
    fake.until(&mut member, |events| !commits(events).is_empty()).await;
    fake.assign(3, &[(0, None), (1, None)]);
    let came = fake.until(&mut member, owns(3, &[0, 1])).await;
    assert!(came.is_empty() && member.poll(SHORT).await.unwrap().is_empty(), "{came:?}");
    assert_eq!(member.position("t", 0), Some(11));
}

#[tokio::test]
async fn what_was_asked_for_an_earlier_assignment_is_not_taken_for_a_later_one() {
    let fake = FakeGroup::start().await;
    let mut member = fake.member().commit_by_hand().join_consumer_group().await.unwrap();
    fake.assign(1, &[(0, None), (1, None)]);
    read(&mut member, 20).await;
    fake.assign(2, &[(1, None)]);
    fake.until(&mut member, owns(2, &[1])).await;
    fake.store(0, 4);
    let answer = fake.hold_next_answer();
    fake.assign(3, &[(0, None), (1, None)]);
    fake.until(&mut member, |events| events.contains(&Event::Asked(vec![0]))).await;
    // Before the answer is here, partition 0 goes away again, somebody reads it, and it comes back.
    fake.assign(4, &[(1, None)]);
    fake.until(&mut member, owns(4, &[1])).await;
    fake.store(0, 11);
    answer.send(()).unwrap();
    fake.assign(5, &[(0, None), (1, None)]);
    let came = fake.until(&mut member, owns(5, &[0, 1])).await;
    assert!(came.is_empty() && member.poll(SHORT).await.unwrap().is_empty(), "{came:?}");
    assert_eq!(member.position("t", 0), Some(11));
}

#[tokio::test]
async fn a_start_at_the_end_is_committed_before_anything_is_read() {
    for start in [Position::Latest, Position::Timestamp(i64::MAX)] {
        let fake = FakeGroup::start().await;
        let mut member = fake.member().start(start).commit_by_hand().join_consumer_group().await.unwrap();
        fake.assign(1, &[(0, None), (1, Some(9))]);
        let came = fake.until(&mut member, |events| !commits(events).is_empty()).await;
        assert_eq!(commits(&fake.events()), [[(0, 11)]], "although commits are by hand");
        assert!(came.iter().all(|(partition, _)| *partition == 1), "{came:?}");
    }
}

#[tokio::test]
async fn nothing_is_handed_out_without_a_lease() {
    let fake = FakeGroup::start().await;
    let session_timeout = Duration::from_secs(1);
    let mut member = fake.member().session_timeout(session_timeout).join_consumer_group().await.unwrap();
    fake.assign(1, &[(0, None), (1, None)]);
    assert_eq!(read(&mut member, 10).await, all(0, 1));
    fake.fall_silent();
    // The caller takes its time, and the server is not heard meanwhile.
    tokio::time::sleep(2 * session_timeout).await;
    match member.poll(SHORT).await {
        Ok(messages) => assert!(messages.is_empty(), "somebody else may have partition 1: {messages:?}"),
        Err(error) => assert!(matches!(error, ConsumeError::Unreachable { .. }), "{error}"),
    }
}

#[tokio::test]
async fn one_that_is_not_polled_leaves_and_comes_back_with_the_next_poll() {
    let fake = FakeGroup::start().await;
    let builder = fake.member().commit_interval(NEVER).poll_interval_max(Duration::from_millis(300));
    let mut member = builder.join_consumer_group().await.unwrap();
    fake.assign(1, &[(0, None)]);
    read(&mut member, 10).await;
    // A poll that waits counts, however long.
    assert!(member.poll(Duration::from_secs(1)).await.unwrap().is_empty());
    let has_left = || fake.events().iter().any(|event| matches!(event, Event::Said(_, Said::Leave(_))));
    assert!(!has_left());
    while !has_left() {
        tokio::task::yield_now().await;
    }
    assert_eq!(
        commits(&fake.events()),
        Vec::<Vec<_>>::new(),
        "what it returned last is not known to be done"
    );
    let error = member.poll(LONG).await.unwrap_err();
    assert!(error.to_string().contains("nobody has polled for 300ms"), "{error}");
    fake.until(&mut member, |events| joins(events).len() == 2).await;
}

#[tokio::test]
async fn topics_are_said_when_they_change() {
    let fake = FakeGroup::start().await;
    let mut member = fake.member().commit_interval(NEVER).join_consumer_group().await.unwrap();
    fake.assign(1, &[(0, None)]);
    read(&mut member, 10).await;
    member.subscribe("u");
    let says = |topics: &'static [&'static str]| {
        move |events: &[Event]| {
            let is_it = |event: &Event| match event {
                Event::Said(_, Said::Subscribe(subscribe)) => subscribe.topics == topics,
                _ => false,
            };
            events.iter().any(is_it)
        }
    };
    fake.until(&mut member, says(&["t", "u"])).await;
    member.unsubscribe("t");
    assert_eq!(member.position("t", 0), None, "it is not read any more, at once");
    fake.until(&mut member, says(&["u"])).await;
    fake.until(&mut member, |events| commits(events) == [[(0, 11)]]).await;
    // The member has it until it knows that.
    while member.partitions().count() > 0 {
        assert!(member.poll(SHORT).await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn who_is_not_wanted_is_told_so() {
    let fake = FakeGroup::start().await;
    fake.fall_silent();
    let joining = tokio::spawn(fake.member().join_consumer_group());
    while joins(&fake.events()).is_empty() {
        tokio::task::yield_now().await;
    }
    fake.end_stream(refusal(Code::AlreadyExists, "INSTANCE_IN_USE", &[]));
    let error = joining.await.unwrap().unwrap_err();
    assert!(matches!(&error, ConsumeError::Refused { reason, .. } if reason == "INSTANCE_IN_USE"), "{error}");
    let error = fake.member().timeout(SHORT).join_consumer_group().await.unwrap_err();
    assert!(matches!(&error, ConsumeError::Unreachable { .. }), "{error}");
}
