//! What a listener hears of partitions that come and go, and what it commits, on a real server.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use minikafka_client_consume::{ConsumeError, GroupConsumer, RebalanceListener, Revocation, TopicPartition};
use tokio_stream::StreamExt as _;

use crate::{
    group_setup::{read, rig, settle, shares},
    reading::LONG,
    setup::{A_MOMENT, Seen},
};

/// What a listener was told: the partitions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    Assigned(Vec<u32>),
    Revoked(Vec<u32>),
    Lost(Vec<u32>),
}

/// Commits what is revoked, and keeps what it was told.
#[derive(Clone, Debug, Default)]
pub(crate) struct Diary(Arc<Mutex<Vec<Told>>>);

impl Diary {
    pub(crate) fn told(&self) -> Vec<Told> {
        self.0.lock().unwrap().clone()
    }

    pub(crate) fn note(&self, told: Told) {
        self.0.lock().unwrap().push(told);
    }
}

impl RebalanceListener for Diary {
    async fn on_assigned(&self, partitions: Vec<TopicPartition>) {
        self.note(Told::Assigned(numbers(&partitions)));
    }

    async fn on_revoked(&self, revocation: Revocation) {
        revocation.commit().await.unwrap();
        self.note(Told::Revoked(numbers(revocation.partitions())));
    }

    fn on_lost(&self, partitions: &[TopicPartition]) {
        self.note(Told::Lost(numbers(partitions)));
    }
}

pub(crate) fn numbers<'a>(partitions: impl IntoIterator<Item = &'a TopicPartition>) -> Vec<u32> {
    partitions.into_iter().map(|of| of.partition).collect()
}

#[tokio::test]
async fn nothing_comes_twice_when_what_is_revoked_is_committed_by_hand() {
    let rig = rig().await;
    let (diary, other_diary) = (Diary::default(), Diary::default());
    let builder = rig.member("g").subscribe("t").commit_by_hand();
    let mut one = builder.clone().rebalance_listener(diary.clone()).join_consumer_group().await.unwrap();
    // Part of one partition, all of others, and nothing is committed.
    let mut seen = read(&mut one, 25).await;
    assert!(rig.positions("g", "t").await.is_empty());
    let mut two = builder.rebalance_listener(other_diary.clone()).join_consumer_group().await.unwrap();
    seen.extend(settle(&mut [&mut one, &mut two], |members| shares(members) == [2, 2]).await);
    for partition in 0..4 {
        rig.produce("t", partition, 11..=15).await;
    }
    seen.extend(settle_to(&mut [&mut one, &mut two], &seen, 60).await);
    // The one that leaves hands over what it has read.
    two.leave_consumer_group().await.unwrap();
    seen.extend(settle(&mut [&mut one], |members| shares(members) == [4]).await);
    seen.add(&one.poll(A_MOMENT).await.unwrap());
    for partition in 0..4 {
        assert_eq!(seen.numbers("t", partition), (1..=15).collect::<Vec<_>>(), "partition {partition}");
    }
    let (told, others) = (diary.told(), other_diary.told());
    let [Told::Assigned(all), Told::Revoked(gone), Told::Assigned(back)] = &told[..] else {
        panic!("{told:?}");
    };
    assert_eq!((all.len(), gone.len()), (4, 2));
    assert_eq!(gone, back);
    assert_eq!(others.last(), Some(&Told::Revoked(gone.clone())), "{others:?}");
}

/// Polls members in turn until so many messages have come, with those that were seen before.
async fn settle_to(members: &mut [&mut GroupConsumer], seen: &Seen, count: usize) -> Seen {
    let mut more = Seen::default();
    let reading = async {
        while seen.count() + more.count() < count {
            for member in members.iter_mut() {
                more.add(&member.poll(Duration::from_millis(5)).await.unwrap());
            }
        }
    };
    tokio::time::timeout(LONG, reading).await.expect("messages come");
    more
}

#[tokio::test]
async fn nothing_comes_twice_to_streams_either() {
    let rig = rig().await;
    let (diary, other_diary) = (Diary::default(), Diary::default());
    let builder = rig.member("g").subscribe("t").commit_by_hand();
    let one = builder.clone().rebalance_listener(diary.clone()).join_consumer_group().await.unwrap();
    let mut one = one.into_stream();
    let mut seen = Seen::default();
    for _ in 0..17 {
        seen.add(&[one.next().await.unwrap().unwrap()]);
    }
    let two = builder.rebalance_listener(other_diary.clone()).join_consumer_group().await.unwrap();
    let mut two = two.into_stream();
    let reading = async {
        while seen.count() < 40 || other_diary.told().is_empty() {
            for stream in [&mut one, &mut two] {
                if let Ok(message) = tokio::time::timeout(Duration::from_millis(5), stream.next()).await {
                    seen.add(&[message.unwrap().unwrap()]);
                }
            }
        }
    };
    tokio::time::timeout(LONG, reading).await.expect("messages come");
    for partition in 0..4 {
        assert_eq!(seen.numbers("t", partition), (1..=10).collect::<Vec<_>>(), "partition {partition}");
    }
    assert!(diary.told().iter().any(|told| matches!(told, Told::Revoked(_))), "{:?}", diary.told());
}

#[tokio::test]
async fn who_unsubscribes_or_leaves_hears_of_it_and_commits() {
    let rig = rig().await;
    rig.create("u", 1).await;
    let diary = Diary::default();
    let builder = rig.member("g").subscribe("t").subscribe("u").commit_by_hand();
    let mut member = builder.rebalance_listener(diary.clone()).join_consumer_group().await.unwrap();
    read(&mut member, 40).await;
    member.unsubscribe("t");
    assert_eq!(member.partitions().count(), 5, "it has them until the listener is done");
    settle(&mut [&mut member], |members| members[0].partitions().count() == 1).await;
    assert_eq!(rig.positions("g", "t").await.into_values().collect::<Vec<_>>(), [11; 4]);
    rig.produce("u", 0, 1..=3).await;
    read(&mut member, 3).await;
    member.leave_consumer_group().await.unwrap();
    assert_eq!(rig.positions("g", "u").await[&0], 4);
    let told = diary.told();
    assert_eq!(told[told.len() - 2..], [Told::Revoked(vec![0, 1, 2, 3]), Told::Revoked(vec![0])]);
}

/// Is never done with a revocation.
#[derive(Clone, Debug, Default)]
struct Stubborn(Diary);

impl RebalanceListener for Stubborn {
    async fn on_revoked(&self, revocation: Revocation) {
        self.0.note(Told::Revoked(numbers(revocation.partitions())));
        std::future::pending::<()>().await;
    }

    fn on_lost(&self, partitions: &[TopicPartition]) {
        self.0.note(Told::Lost(numbers(partitions)));
    }
}

#[tokio::test]
async fn a_listener_that_is_never_done_does_not_hold_up_the_group_for_ever() {
    let rig = rig().await;
    let listener = Stubborn::default();
    let builder = rig.member("g").subscribe("t").commit_by_hand();
    let stubborn = builder.clone().rebalance_listener(listener.clone());
    let mut stubborn =
        stubborn.poll_interval_max(Duration::from_secs(3)).join_consumer_group().await.unwrap();
    read(&mut stubborn, 40).await;
    let mut other = builder.join_consumer_group().await.unwrap();
    // It is polled all the time, and heard.
    let error = loop {
        match stubborn.poll(A_MOMENT).await {
            Ok(messages) => assert!(messages.is_empty(), "while a listener is not done: {messages:?}"),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, ConsumeError::MembershipLost { .. }), "{error}");
    assert!(error.to_string().contains("give up"), "it says why: {error}");
    let told = listener.0.told();
    let [Told::Revoked(gone), Told::Lost(lost)] = &told[..] else { panic!("{told:?}") };
    assert_eq!((gone.len(), &lost[..]), (2, &[0, 1, 2, 3][..]));
    // Nobody holds it any more, whatever the stubborn one does.
    let seen = read(&mut other, 40).await;
    for partition in 0..4 {
        assert_eq!(seen.numbers("t", partition), (1..=10).collect::<Vec<_>>(), "partition {partition}");
    }
}

#[tokio::test]
async fn automatic_commits_do_not_keep_a_listener_waiting() {
    let rig = rig().await;
    let diary = Diary::default();
    let builder = rig.member("g").subscribe("t").commit_interval(Duration::ZERO);
    let one = builder.clone().rebalance_listener(diary.clone()).join_consumer_group().await.unwrap();
    let mut one = one.into_stream();
    one.next().await.unwrap().unwrap();
    let _two = builder.join_consumer_group().await.unwrap();
    let reading = async {
        let mut last = 10;
        while !diary.told().iter().any(|told| matches!(told, Told::Revoked(_))) {
            // There is always something to read, and something to commit.
            for partition in 0..4 {
                rig.produce("t", partition, last + 1..=last + 10).await;
            }
            last += 10;
            for _ in 0..4 {
                one.next().await.unwrap().unwrap();
            }
        }
    };
    tokio::time::timeout(LONG, reading).await.expect("it is told");
}

#[tokio::test]
async fn a_listener_whose_topic_is_deleted_has_nothing_to_commit() {
    let rig = rig().await;
    rig.create("u", 1).await;
    let diary = Diary::default();
    let builder = rig.member("g").subscribe("t").subscribe("u").commit_by_hand();
    let mut member = builder.rebalance_listener(diary.clone()).join_consumer_group().await.unwrap();
    read(&mut member, 40).await;
    rig.delete("t").await;
    let is_told = async {
        // It expects its commit to succeed.
        while diary.told().last() != Some(&Told::Revoked(vec![0, 1, 2, 3])) {
            match member.poll(Duration::from_millis(5)).await {
                Ok(_) | Err(ConsumeError::NotFound { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        }
    };
    tokio::time::timeout(LONG, is_told).await.expect("it is told");
}

/// Keeps a revocation for later.
#[derive(Clone, Debug, Default)]
struct Late(Arc<Mutex<Option<Revocation>>>);

impl RebalanceListener for Late {
    async fn on_revoked(&self, revocation: Revocation) {
        *self.0.lock().unwrap() = Some(revocation);
    }
}

#[tokio::test]
async fn a_commit_that_comes_too_late_is_refused() {
    let rig = rig().await;
    let listener = Late::default();
    let builder = rig.member("g").subscribe("t").commit_by_hand();
    let mut one = builder.clone().rebalance_listener(listener.clone()).join_consumer_group().await.unwrap();
    read(&mut one, 40).await;
    let mut two = builder.join_consumer_group().await.unwrap();
    settle(&mut [&mut one, &mut two], |members| shares(members) == [2, 2]).await;
    let revocation = listener.0.lock().unwrap().take().unwrap();
    let error = revocation.commit().await.unwrap_err();
    let is_not_owner =
        |error: &ConsumeError| matches!(error, ConsumeError::Refused { reason, .. } if reason == "NOT_OWNER");
    assert!(is_not_owner(&error), "{error}");
    // They come back, and what was kept is of before.
    two.leave_consumer_group().await.unwrap();
    settle(&mut [&mut one], |members| shares(members) == [4]).await;
    let error = revocation.commit().await.unwrap_err();
    assert!(is_not_owner(&error), "{error}");
    one.leave_consumer_group().await.unwrap();
    let error = revocation.commit().await.unwrap_err();
    assert!(is_not_owner(&error), "{error}");
}
