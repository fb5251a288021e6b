//! When a listener hears of what, against a server that does what it is told.

use std::{sync::Arc, time::Duration};

use minikafka_client_consume::{
    ConsumeError, GroupConsumer, PositionToCommit, RebalanceListener, Revocation, TopicPartition,
};
use minikafka_proto::v1::join_request::Message as Said;
use tokio::sync::Notify;
use tonic::Code;

use crate::{
    fake::refusal,
    fake_group::{Event, FakeGroup, commits, joins, owns},
    reading::{LONG, SHORT},
    rebalances::{Diary, Told, numbers},
};

const NEVER: Duration = Duration::from_secs(3600);

/// Polls until so many messages have come.
async fn read(member: &mut GroupConsumer, count: usize) {
    let mut seen = 0;
    while seen < count {
        seen += member.poll(LONG).await.unwrap().len();
    }
}

/// Whether the member has said that it owns something in answer to this epoch.
fn has_answered(fake: &FakeGroup, epoch: u64) -> bool {
    let is_it =
        |event: &Event| matches!(event, Event::Said(_, Said::Owned(owned)) if owned.member_epoch == epoch);
    fake.events().iter().any(is_it)
}

#[tokio::test]
async fn what_is_revoked_is_committed_before_that_is_confirmed() {
    let fake = FakeGroup::start().await;
    let diary = Diary::default();
    let builder = fake.member().commit_by_hand().rebalance_listener(diary.clone());
    let mut member = builder.join_consumer_group().await.unwrap();
    fake.assign(1, &[(0, None), (1, Some(4))]);
    read(&mut member, 17).await;
    fake.assign(2, &[(1, Some(4))]);
    fake.until(&mut member, owns(2, &[1])).await;
    let events = fake.events();
    let committed = events.iter().position(|event| matches!(event, Event::Committed(_))).unwrap();
    let confirmed = events.iter().rposition(|event| matches!(event, Event::Said(_, Said::Owned(_)))).unwrap();
    assert!(committed < confirmed, "{events:?}");
    assert_eq!(commits(&events), [[(0, 11)]], "what it keeps is committed when the caller says so");
    assert_eq!(diary.told(), [Told::Assigned(vec![0, 1]), Told::Revoked(vec![0])]);
}

#[tokio::test]
async fn what_could_not_be_committed_automatically_the_listener_can_commit() {
    let fake = FakeGroup::start().await;
    let diary = Diary::default();
    let builder = fake.member().commit_interval(NEVER).rebalance_listener(diary.clone());
    let mut member = builder.join_consumer_group().await.unwrap();
    fake.assign(1, &[(0, None)]);
    read(&mut member, 10).await;
    fake.refuse_next_commit(refusal(Code::InvalidArgument, "GROUP_FULL", &[]));
    let error = member.leave_consumer_group().await.unwrap_err();
    assert!(matches!(&error, ConsumeError::Refused { reason, .. } if reason == "GROUP_FULL"), "{error}");
    assert_eq!(diary.told().last(), Some(&Told::Revoked(vec![0])));
    assert_eq!(commits(&fake.events()), [[(0, 11)]]);
}

/// Takes its time over leaving, and says what came of its commit.
struct Unhurried(Arc<std::sync::Mutex<Option<Result<(), ConsumeError>>>>);

impl RebalanceListener for Unhurried {
    async fn on_revoked(&self, revocation: Revocation) {
        tokio::time::sleep(Duration::from_millis(1400)).await;
        *self.0.lock().unwrap() = Some(revocation.commit().await);
    }
}

#[tokio::test]
async fn who_leaves_has_time_however_long_ago_the_last_poll_was() {
    let fake = FakeGroup::start().await;
    let outcome = Arc::default();
    let builder = fake.member().commit_by_hand().rebalance_listener(Unhurried(Arc::clone(&outcome)));
    let builder = builder.poll_interval_max(Duration::from_secs(2));
    let mut member = builder.join_consumer_group().await.unwrap();
    fake.assign(1, &[(0, None)]);
    read(&mut member, 10).await;
    // Both together are more than it may be without a poll.
    tokio::time::sleep(Duration::from_millis(1200)).await;
    member.leave_consumer_group().await.unwrap();
    outcome.lock().unwrap().take().expect("it was told").unwrap();
    assert_eq!(commits(&fake.events()), [[(0, 11)]]);
}

/// Commits what it keeps, and what it gives up.
struct Greedy(Arc<std::sync::Mutex<Option<Result<(), ConsumeError>>>>);

impl RebalanceListener for Greedy {
    async fn on_revoked(&self, revocation: Revocation) {
        let of = TopicPartition::new("t", 0);
        let position = PositionToCommit { of, number: 5, metadata: String::new() };
        *self.0.lock().unwrap() = Some(revocation.commit_positions([position]).await);
        revocation.commit().await.unwrap();
    }
}

#[tokio::test]
async fn what_is_kept_is_for_the_consumer_to_commit() {
    let fake = FakeGroup::start().await;
    let outcome = Arc::default();
    let builder = fake.member().commit_by_hand().rebalance_listener(Greedy(Arc::clone(&outcome)));
    let mut member = builder.join_consumer_group().await.unwrap();
    fake.assign(1, &[(0, None), (1, None)]);
    read(&mut member, 20).await;
    fake.assign(2, &[(0, None)]);
    fake.until(&mut member, owns(2, &[0])).await;
    let error = outcome.lock().unwrap().take().expect("it was told").unwrap_err();
    assert!(matches!(&error, ConsumeError::Refused { reason, .. } if reason == "NOT_OWNER"), "{error}");
    assert!(error.to_string().contains("partition 0 of topic \"t\""), "{error}");
    assert_eq!(commits(&fake.events()), [[(1, 11)]]);
}

/// Takes its time over each thing that it hears.
#[derive(Clone, Debug, Default)]
struct Slow(Diary, Arc<Notify>);

impl RebalanceListener for Slow {
    async fn on_assigned(&self, partitions: Vec<TopicPartition>) {
        self.0.note(Told::Assigned(numbers(&partitions)));
        self.1.notified().await;
    }

    async fn on_revoked(&self, revocation: Revocation) {
        self.0.note(Told::Revoked(numbers(revocation.partitions())));
        self.1.notified().await;
        assert_eq!(revocation.position("t", 1), Some(11));
        assert_eq!(revocation.position("t", 0), None, "it is kept");
        let of = TopicPartition::new("t", 1);
        let metadata = "to be done again".to_owned();
        revocation.commit_positions([PositionToCommit { of, number: 7, metadata }]).await.unwrap();
    }

    fn on_lost(&self, partitions: &[TopicPartition]) {
        self.0.note(Told::Lost(numbers(partitions)));
    }
}

#[tokio::test]
async fn nothing_goes_on_until_the_listener_is_done() {
    let fake = FakeGroup::start().await;
    let slow = Slow::default();
    let builder = fake.member().commit_interval(NEVER).rebalance_listener(slow.clone());
    let mut member = builder.join_consumer_group().await.unwrap();
    fake.assign(1, &[(0, Some(11)), (1, None)]);
    let came = fake.until(&mut member, owns(1, &[0, 1])).await;
    assert!(came.is_empty() && member.poll(SHORT).await.unwrap().is_empty(), "it prepares: {came:?}");
    slow.1.notify_one();
    read(&mut member, 10).await;
    fake.assign(2, &[(0, Some(5))]);
    // Committed automatically, and then it is the listener's turn, over many polls.
    let hears = |_: &[Event]| slow.0.told().len() == 2;
    fake.until(&mut member, hears).await;
    for _ in 0..3 {
        assert!(member.poll(SHORT).await.unwrap().is_empty());
    }
    assert_eq!(commits(&fake.events()), [[(1, 11)]]);
    assert!(!has_answered(&fake, 2), "others do not get it yet");
    assert_eq!((member.partitions().count(), member.epoch("t", 1)), (2, Some(1)), "it has it still");
    slow.1.notify_one();
    fake.until(&mut member, owns(2, &[0])).await;
    assert_eq!(commits(&fake.events()), [[(1, 11)], [(1, 7)]], "its word is the last one");
    assert_eq!(member.partitions().count(), 1);
    assert_eq!(slow.0.told(), [Told::Assigned(vec![0, 1]), Told::Revoked(vec![1])]);
}

#[tokio::test]
async fn a_lost_member_hears_that_it_is_lost_and_of_no_revocation() {
    let fake = FakeGroup::start().await;
    let diary = Diary::default();
    let builder = fake.member().commit_by_hand().rebalance_listener(diary.clone());
    let mut member = builder.join_consumer_group().await.unwrap();
    fake.assign(5, &[(0, None), (3, None)]);
    read(&mut member, 20).await;
    fake.end_stream(refusal(Code::FailedPrecondition, "MEMBER_FENCED", &[]));
    let error = member.poll(LONG).await.unwrap_err();
    assert!(matches!(error, ConsumeError::MembershipLost { .. }), "{error}");
    assert_eq!(diary.told(), [Told::Assigned(vec![0, 3]), Told::Lost(vec![0, 3])]);
    fake.until(&mut member, |events| joins(events).len() == 2).await;
    // As another member it begins anew. Nothing was committed.
    fake.assign(1, &[(3, None)]);
    read(&mut member, 10).await;
    assert_eq!(diary.told().last(), Some(&Told::Assigned(vec![3])));
    assert!(commits(&fake.events()).is_empty());
    // A member that has nothing loses nothing.
    fake.assign(2, &[]);
    fake.until(&mut member, owns(2, &[])).await;
    fake.end_stream(refusal(Code::NotFound, "UNKNOWN_MEMBER", &[]));
    member.poll(LONG).await.unwrap_err();
    assert_eq!(diary.told().last(), Some(&Told::Revoked(vec![3])));
}

#[tokio::test]
async fn a_revocation_under_way_ends_with_the_membership() {
    let fake = FakeGroup::start().await;
    let slow = Slow::default();
    let builder = fake.member().commit_by_hand().rebalance_listener(slow.clone());
    let mut member = builder.join_consumer_group().await.unwrap();
    slow.1.notify_one();
    fake.assign(1, &[(0, None), (1, None)]);
    read(&mut member, 20).await;
    fake.assign(2, &[(0, None)]);
    fake.until(&mut member, |_| slow.0.told().len() == 2).await;
    fake.end_stream(refusal(Code::NotFound, "UNKNOWN_MEMBER", &[]));
    member.poll(LONG).await.unwrap_err();
    assert_eq!(slow.0.told()[1..], [Told::Revoked(vec![1]), Told::Lost(vec![0, 1])]);
    assert_eq!(
        Arc::strong_count(&slow.1),
        2,
        "its future is gone: what is left is the consumer's and the test's"
    );
}

#[tokio::test]
async fn a_commit_of_a_listener_that_is_fenced_is_the_end_of_the_membership() {
    /// Says what came of its commit.
    struct Fenced(Arc<std::sync::Mutex<Option<ConsumeError>>>);
    impl RebalanceListener for Fenced {
        async fn on_revoked(&self, revocation: Revocation) {
            *self.0.lock().unwrap() = revocation.commit().await.err();
        }
    }
    let fake = FakeGroup::start().await;
    let outcome = Arc::default();
    let builder = fake.member().commit_by_hand().rebalance_listener(Fenced(Arc::clone(&outcome)));
    let mut member = builder.join_consumer_group().await.unwrap();
    fake.assign(1, &[(0, None)]);
    read(&mut member, 10).await;
    fake.refuse_next_commit(refusal(Code::FailedPrecondition, "MEMBER_FENCED", &[]));
    fake.assign(2, &[]);
    let error = member.poll(LONG).await.unwrap_err();
    assert!(matches!(error, ConsumeError::MembershipLost { .. }), "{error}");
    let outcome = outcome.lock().unwrap().take();
    assert!(matches!(outcome, Some(ConsumeError::MembershipLost { .. })), "{outcome:?}");
    assert!(commits(&fake.events()).is_empty());
}
