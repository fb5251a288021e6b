//! A member that the server refuses something: what may heal is tried again, what will not is said once for each poll.

use std::time::Duration;

use minikafka_client_consume::{ConsumeError, GroupConsumer, Position};
use tonic::{Code, Status};

use crate::{
    fake::refusal,
    fake_group::{Event, FakeGroup, commits, joins, owns, questions},
    group_setup,
    reading::{LONG, SHORT},
    setup::Rig,
};

const NEVER: Duration = Duration::from_secs(3600);

/// What a sync that failed is answered with.
fn storage_failed() -> Status {
    refusal(Code::Internal, "STORAGE_FAILED", &[])
}

/// Polls until so many messages have come.
async fn read(member: &mut GroupConsumer, count: usize) {
    let mut seen = 0;
    while seen < count {
        let messages = member.poll(LONG).await.unwrap();
        assert!(!messages.is_empty(), "{count} messages are there, and only {seen} came");
        seen += messages.len();
    }
}

/// Polls until it fails.
async fn fail(member: &mut GroupConsumer) -> ConsumeError {
    let failing = async {
        loop {
            match member.poll(SHORT).await {
                Ok(messages) => assert!(messages.is_empty(), "{messages:?}"),
                Err(error) => return error,
            }
        }
    };
    tokio::time::timeout(LONG, failing).await.expect("it fails")
}

#[tokio::test]
async fn a_stream_that_a_failed_sync_ends_is_taken_up_by_the_same_member() {
    let fake = FakeGroup::start().await;
    let mut member = fake.member().commit_interval(NEVER).join_consumer_group().await.unwrap();
    fake.assign(3, &[(0, None)]);
    read(&mut member, 10).await;
    fake.end_stream(storage_failed());
    fake.until(&mut member, |events| joins(events).len() == 2).await;
    let again = &joins(&fake.events())[1];
    assert_eq!((again.member_id.as_str(), again.member_epoch, again.owned.len()), ("member 0", 3, 1));
}

#[tokio::test]
async fn a_join_that_a_failed_sync_refuses_is_tried_again() {
    let fake = FakeGroup::start().await;
    fake.refuse_next_join(storage_failed());
    let member = fake.member().join_consumer_group().await.unwrap();
    assert_eq!(member.member_id(), "member 1");
}

#[tokio::test]
async fn a_refusal_of_an_established_stream_is_said_and_the_next_poll_joins_again() {
    let fake = FakeGroup::start().await;
    let mut member = fake.member().commit_interval(NEVER).join_consumer_group().await.unwrap();
    fake.assign(3, &[(0, None)]);
    read(&mut member, 10).await;
    // Again and again, as often as it is so.
    for round in 1..4 {
        fake.end_stream(refusal(Code::InvalidArgument, "INVALID_TOPIC_NAME", &[]));
        let error = fail(&mut member).await;
        assert!(
            matches!(&error, ConsumeError::Refused { reason, .. } if reason == "INVALID_TOPIC_NAME"),
            "{error}"
        );
        fake.until(&mut member, |events| joins(events).len() == 1 + round).await;
    }
    assert_eq!(joins(&fake.events())[3].member_id, "member 0");
    // It has taken its time: others have what it had.
    fake.end_stream(refusal(Code::NotFound, "UNKNOWN_MEMBER", &[]));
    let error = fail(&mut member).await;
    assert!(matches!(&error, ConsumeError::MembershipLost { .. }), "{error}");
    assert_eq!(member.partitions().count(), 0);
}

#[tokio::test]
async fn a_topic_with_a_bad_name_is_refused_until_it_is_taken_back() {
    let rig = Rig::start().await;
    rig.create("t", 1).await;
    rig.produce("t", 0, 1..=3).await;
    let mut member = rig.member("g").subscribe("t").join_consumer_group().await.unwrap();
    group_setup::read(&mut member, 3).await;
    let id = member.member_id().to_owned();
    member.subscribe("a/b");
    for _ in 0..3 {
        let error = fail(&mut member).await;
        assert!(
            matches!(&error, ConsumeError::Refused { reason, .. } if reason == "INVALID_TOPIC_NAME"),
            "{error}"
        );
    }
    member.unsubscribe("a/b");
    member.subscribe("u");
    rig.create("u", 1).await;
    rig.produce("u", 0, 1..=2).await;
    let reading = async {
        let mut seen = 0;
        while seen < 2 {
            // One more refusal may be on its way.
            match member.poll(LONG).await {
                Ok(messages) => seen += messages.len(),
                Err(error) => assert!(matches!(&error, ConsumeError::Refused { .. }), "{error}"),
            }
        }
    };
    tokio::time::timeout(LONG, reading).await.expect("it reads on");
    assert_eq!(member.member_id(), id);
}

#[tokio::test]
async fn a_start_at_the_end_is_stored_before_anything_is_read_although_a_sync_failed() {
    let fake = FakeGroup::start().await;
    let mut member = fake.member().start(Position::Latest).join_consumer_group().await.unwrap();
    fake.refuse_next_commit(storage_failed());
    fake.assign(1, &[(0, None)]);
    fake.until(&mut member, |events| commits(events) == [[(0, 11)]]).await;
    assert_eq!(fake.stored(0), Some(11));
}

#[tokio::test]
async fn what_is_taken_away_is_confirmed_with_its_position_although_a_sync_failed() {
    let fake = FakeGroup::start().await;
    let mut member = fake.member().commit_interval(NEVER).join_consumer_group().await.unwrap();
    fake.assign(1, &[(0, None)]);
    read(&mut member, 10).await;
    fake.refuse_next_commit(storage_failed());
    fake.assign(2, &[]);
    fake.until(&mut member, owns(2, &[])).await;
    assert_eq!(fake.stored(0), Some(11));
}

#[tokio::test]
async fn a_commit_by_hand_is_tried_again_after_a_failed_sync() {
    let fake = FakeGroup::start().await;
    let mut member = fake.member().commit_by_hand().join_consumer_group().await.unwrap();
    fake.assign(1, &[(0, None)]);
    read(&mut member, 10).await;
    fake.refuse_next_commit(storage_failed());
    member.commit().await.unwrap();
    assert_eq!(fake.stored(0), Some(11));
}

/// A server whose disk is broken for good answers each commit alike.
#[tokio::test]
async fn commits_that_fail_again_and_again_are_said_and_tried_until_they_are_stored() {
    let fake = FakeGroup::start().await;
    let mut member = fake.member().commit_interval(Duration::ZERO).join_consumer_group().await.unwrap();
    fake.refuse_commits_of(0, storage_failed());
    fake.assign(1, &[(0, None), (1, None)]);
    read(&mut member, 20).await;
    let error = fail(&mut member).await;
    assert!(matches!(error, ConsumeError::NotCommitted { .. }) && error.is_retryable(), "{error}");
    assert!(error.to_string().contains("positions of group \"g\" are not stored"), "{error}");
    // A message of it is not news, so soon after that.
    assert!(member.poll(Duration::from_secs(3)).await.unwrap().is_empty());
    fake.want_commits_of(0);
    fake.until(&mut member, |_| fake.stored(0) == Some(11)).await;
}

#[tokio::test]
async fn a_commit_by_hand_that_fails_again_and_again_says_why_after_its_timeout() {
    let fake = FakeGroup::start().await;
    let builder = fake.member().commit_by_hand().timeout(Duration::from_millis(500));
    let mut member = builder.join_consumer_group().await.unwrap();
    fake.refuse_commits_of(0, storage_failed());
    fake.assign(1, &[(0, None)]);
    read(&mut member, 10).await;
    let error = member.commit().await.unwrap_err();
    assert!(matches!(error, ConsumeError::NotCommitted { .. }), "{error}");
    fake.want_commits_of(0);
    member.commit().await.unwrap();
    assert_eq!(fake.stored(0), Some(11));
}

/// A member that had partitions 0 to 2, has given up 0 and 1, and confirmed that.
async fn gave_up(fake: &FakeGroup) -> GroupConsumer {
    let mut member = fake.member().commit_interval(NEVER).join_consumer_group().await.unwrap();
    fake.assign(1, &[(0, None), (1, None), (2, None)]);
    read(&mut member, 30).await;
    fake.assign(2, &[(2, None)]);
    fake.until(&mut member, owns(2, &[2])).await;
    member
}

#[tokio::test]
async fn only_positions_in_doubt_are_asked_for() {
    let fake = FakeGroup::start().await;
    let mut member = gave_up(&fake).await;
    fake.assign(3, &[(0, None), (2, None), (3, Some(11))]);
    fake.until(&mut member, owns(3, &[0, 2, 3])).await;
    assert_eq!(questions(&fake.events()), [[0]], "1 is not its, 2 was never given up, 3 is new");
    assert_eq!(member.position("t", 0), Some(11));
}

#[tokio::test]
async fn a_question_that_is_refused_is_said_and_asked_again_with_the_next_poll() {
    let fake = FakeGroup::start().await;
    let mut member = gave_up(&fake).await;
    for _ in 0..2 {
        fake.refuse_next_question(refusal(Code::PermissionDenied, "NOT_ALLOWED", &[]));
    }
    fake.refuse_next_question(Status::unavailable("try again"));
    fake.assign(3, &[(0, None), (2, None)]);
    for round in 1..=2 {
        let error = fail(&mut member).await;
        assert!(matches!(&error, ConsumeError::Refused { reason, .. } if reason == "NOT_ALLOWED"), "{error}");
        assert_eq!(questions(&fake.events()).len(), round);
    }
    fake.until(&mut member, owns(3, &[0, 2])).await;
    assert_eq!(questions(&fake.events()).len(), 4, "the last refusal heals without a word");
}

#[tokio::test]
async fn a_partition_that_is_gone_has_no_position_and_keeps_nobody_from_theirs() {
    let fake = FakeGroup::start().await;
    let mut member = gave_up(&fake).await;
    fake.lose(0);
    fake.assign(3, &[(0, None), (1, None), (2, None)]);
    fake.until(&mut member, owns(3, &[0, 1, 2])).await;
    assert_eq!(member.position("t", 1), Some(11));
}

#[tokio::test]
async fn a_group_that_is_gone_has_no_members() {
    let fake = FakeGroup::start().await;
    let mut member = gave_up(&fake).await;
    fake.refuse_next_question(refusal(Code::NotFound, "GROUP_NOT_FOUND", &[]));
    fake.assign(3, &[(0, None), (2, None)]);
    let error = fail(&mut member).await;
    assert!(matches!(&error, ConsumeError::MembershipLost { .. }), "{error}");
    fake.until(&mut member, |events| joins(events).len() == 2).await;
}

#[tokio::test]
async fn many_positions_are_asked_for_in_several_requests() {
    let fake = FakeGroup::start().await;
    let mut member = fake.member().commit_interval(NEVER).join_consumer_group().await.unwrap();
    let all: Vec<(u32, Option<u64>)> = (0..1200).map(|partition| (partition, Some(11))).collect();
    let numbers: Vec<u32> = (0..1200).collect();
    fake.assign(1, &all);
    fake.until(&mut member, owns(1, &numbers)).await;
    fake.assign(2, &[]);
    fake.until(&mut member, owns(2, &[])).await;
    fake.assign(3, &all);
    fake.until(&mut member, owns(3, &numbers)).await;
    let asked: Vec<usize> = questions(&fake.events()).iter().map(Vec::len).collect();
    assert!(asked.iter().all(|partitions| *partitions <= 500), "{asked:?}");
    assert_eq!(asked.iter().sum::<usize>(), 1200);
    assert!(!fake.events().iter().any(|event| matches!(event, Event::Committed(_))));
}
