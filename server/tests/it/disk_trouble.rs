//! A disk that is full, slow or broken, as clients see it. Rows 6, 7 and 8.

use std::{
    path::Path,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use minikafka_broker::{BrokerConfig, TopicChange, TopicSetting};
use minikafka_proto::v1::{DescribeTopicRequest, PollRequest, ProduceRequest};
use minikafka_server::Server;
use tonic::{Code, Status};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};
use tonic_types::StatusExt;

use crate::{
    moody_disk::Mood,
    support::{Fixture, Hands, list, message, number, numbers, poll, soon, values, why},
};

struct Trouble {
    fixture: Fixture,
    mood: Arc<Mood>,
    hands: Hands,
    root: tempfile::TempDir,
}

impl Trouble {
    async fn start() -> Trouble {
        let (root, mood, hands) = (tempfile::tempdir().unwrap(), Arc::new(Mood::default()), Hands::default());
        Trouble { fixture: start(root.path(), &mood, &hands).await, mood, hands, root }
    }

    /// Produces until it is refused: there is a little room left when the disk is not asked yet.
    async fn produce_until_refused(&self) -> Status {
        for _ in 0..1000 {
            if let Err(status) = self.fixture.v1.clone().produce(large("t")).await {
                return status;
            }
        }
        panic!("never refused");
    }

    /// Produces until it is taken, and says how long that took.
    async fn produce_until_taken(&self, topic: &str) -> Duration {
        let begin = Instant::now();
        soon(async {
            while self.fixture.v1.clone().produce(large(topic)).await.is_err() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await;
        begin.elapsed()
    }

    async fn end_number(&self, topic: &str) -> u64 {
        let request = DescribeTopicRequest { topic: topic.into(), ..Default::default() };
        let described = self.fixture.v1.clone().describe_topic(request).await.unwrap().into_inner();
        described.partitions[0].end_number
    }
}

async fn start(root: &Path, mood: &Arc<Mood>, hands: &Hands) -> Fixture {
    let config = BrokerConfig { clock: Arc::new(hands.clone()), ..BrokerConfig::default() };
    Fixture::start(Server::builder().storage(mood.storage(root)).broker(config)).await
}

fn large(topic: &str) -> ProduceRequest {
    list(topic, vec![message(&"x".repeat(100_000))])
}

#[tokio::test]
async fn a_full_disk_refuses_messages_and_everything_else_goes_on() {
    let trouble = Trouble::start().await;
    let fixture = &trouble.fixture;
    fixture.produce("other", &["a"]).await;
    fixture.produce("t", &["first"]).await;
    trouble.mood.is_full.store(true, Ordering::Relaxed);
    let status = trouble.produce_until_refused().await;
    assert_eq!(why(&status), (Code::ResourceExhausted, "DISK_FULL".to_owned()), "{status}");
    assert!(status.get_details_retry_info().is_some());
    let end = trouble.end_number("t").await;
    for _ in 0..5 {
        trouble.produce_until_refused().await;
    }
    assert_eq!(trouble.end_number("t").await, end, "a refused message takes no number");
    assert_eq!(values(&fixture.poll(poll("t", None)).await.unwrap().messages[..1]), ["first"]);
    fixture.server.broker().delete_topic("other").await.unwrap();
    let reset = TopicChange { reset: vec![TopicSetting::RetentionBytes], ..TopicChange::default() };
    fixture.server.broker().alter_topic("t", reset).await.unwrap();

    // What grew too old goes, which is written down, too.
    trouble.hands.outlive(fixture).await;
    let reply = fixture.poll(poll("t", None)).await.unwrap();
    assert_eq!((reply.start_number, reply.messages.len()), (end, 0));
    trouble.produce_until_refused().await;

    // By itself, soon after there is room.
    trouble.mood.is_full.store(false, Ordering::Relaxed);
    let taken = trouble.produce_until_taken("t").await;
    assert!(taken < Duration::from_secs(2), "it took {taken:?}");
    assert_eq!(numbers(&fixture.poll(poll("t", None)).await.unwrap().messages), [end], "no gap");
}

#[tokio::test]
async fn a_full_disk_may_be_restarted_on() {
    let Trouble { fixture, mood, root, hands } = Trouble::start().await;
    fixture.produce("t", &["a", "b"]).await;
    mood.is_full.store(true, Ordering::Relaxed);
    fixture.stop().await;
    let trouble = Trouble { fixture: start(root.path(), &mood, &hands).await, mood, hands, root };
    assert_eq!(values(&trouble.fixture.poll(poll("t", None)).await.unwrap().messages), ["a", "b"]);
    let status = trouble.produce_until_refused().await;
    assert_eq!(why(&status).1, "DISK_FULL");
    trouble.mood.is_full.store(false, Ordering::Relaxed);
    trouble.produce_until_taken("t").await;
    assert_eq!(trouble.end_number("t").await, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_stalls_holds_up_nobody_but_producers() {
    let Trouble { fixture, mood, .. } = &Trouble::start().await;
    fixture.produce("t", &["a", "b"]).await;
    let waiting = tokio::spawn({
        let mut v1 = fixture.v1.clone();
        let wait = PollRequest { max_wait_ms: 20_000, ..poll("t", number(3)) };
        async move { v1.poll(wait).await.unwrap().into_inner() }
    });
    mood.hold_syncs();
    let producing = tokio::spawn({
        let mut v1 = fixture.v1.clone();
        async move { v1.produce(list("t", vec![message("c")])).await.unwrap().into_inner() }
    });
    let held = mood.clone();
    tokio::task::spawn_blocking(move || held.wait_for_a_sync()).await.unwrap();

    let mut health = HealthClient::new(fixture.channel.clone());
    soon(health.check(HealthCheckRequest::default())).await.unwrap();
    assert_eq!(values(&soon(fixture.poll(poll("t", None))).await.unwrap().messages), ["a", "b"]);
    let request = DescribeTopicRequest { topic: "t".into(), ..Default::default() };
    let described = soon(fixture.v1.clone().describe_topic(request)).await.unwrap().into_inner();
    assert_eq!(described.partitions[0].end_number, 3, "what is not on the disk is not there");
    assert!(!producing.is_finished() && !waiting.is_finished());

    mood.let_syncs_go();
    assert_eq!(soon(producing).await.unwrap().first_number, 3);
    assert_eq!(values(&soon(waiting).await.unwrap().messages), ["c"]);
}

#[tokio::test]
async fn a_broken_disk_says_why_and_goes_on_when_it_works_again() {
    let trouble = Trouble::start().await;
    let Trouble { fixture, mood, .. } = &trouble;
    fixture.produce("t", &["a"]).await;
    let waiting = tokio::spawn({
        let mut v1 = fixture.v1.clone();
        let wait = PollRequest { max_wait_ms: 20_000, ..poll("t", number(2)) };
        async move { v1.poll(wait).await.unwrap().into_inner() }
    });
    mood.is_broken.store(true, Ordering::Relaxed);
    let produce = || async { fixture.v1.clone().produce(list("t", vec![message("b")])).await };
    let unknown = produce().await.expect_err("the sync fails");
    assert_eq!(why(&unknown), (Code::Internal, "STORAGE_FAILED".to_owned()), "{unknown}");
    for part in ["\"t\"", "worn out", "may or may not be there once it is opened again"] {
        assert!(unknown.message().contains(part), "{part} in {unknown}");
    }
    let refused = produce().await.expect_err("it takes nothing more");
    assert_eq!(why(&refused), (Code::Unavailable, "STORAGE_FAILED".to_owned()), "{refused}");
    assert!(refused.get_details_retry_info().is_some());
    for part in ["\"t\"", "worn out", "once the disk works", "nothing of this request is stored"] {
        assert!(refused.message().contains(part), "{part} in {refused}");
    }
    assert_eq!(values(&fixture.poll(poll("t", None)).await.unwrap().messages), ["a"], "reads go on");
    assert!(!waiting.is_finished(), "a reader that waits goes on waiting");

    mood.is_broken.store(false, Ordering::Relaxed);
    trouble.produce_until_taken("t").await;
    let end = trouble.end_number("t").await;
    // The one on its way is there or not, the refused ones are not.
    assert!(end == 3 || end == 4, "{end}");
    assert_eq!(numbers(&soon(waiting).await.unwrap().messages)[0], 2);
    let Trouble { fixture, mood, root, hands } = trouble;
    fixture.stop().await;
    let again = start(root.path(), &mood, &hands).await;
    assert_eq!(again.produce("t", &["c"]).await.first_number, end);
    again.stop().await;
}

#[tokio::test]
async fn a_disk_that_stays_broken_is_told_of_at_the_end() {
    let Trouble { fixture, mood, root, hands } = Trouble::start().await;
    fixture.produce("t", &["a"]).await;
    mood.is_broken.store(true, Ordering::Relaxed);
    fixture.v1.clone().produce(list("t", vec![message("b")])).await.expect_err("the sync fails");
    let Fixture { server, .. } = fixture;
    let stopped = server.stop().await.expect_err("it does not stop cleanly").to_string();
    assert!(stopped.contains("worn out"), "{stopped}");

    mood.is_broken.store(false, Ordering::Relaxed);
    let again = start(root.path(), &mood, &hands).await;
    let first = again.produce("t", &["c"]).await.first_number;
    // The one on its way is there or not, the refused one is not.
    assert!(first == 2 || first == 3, "{first}");
    assert_eq!(values(&again.poll(poll("t", number(first))).await.unwrap().messages), ["c"]);
    again.stop().await;
}

#[tokio::test]
async fn a_storage_that_panics_is_not_healthy() {
    let Trouble { fixture, mood, .. } = &Trouble::start().await;
    fixture.produce("t", &["a"]).await;
    let watched = HealthClient::new(fixture.channel.clone()).watch(HealthCheckRequest::default()).await;
    let mut health = watched.unwrap().into_inner();
    mood.has_a_bug.store(true, Ordering::Relaxed);
    for _ in 0..2 {
        let produced = soon(fixture.v1.clone().produce(list("t", vec![message("b")]))).await;
        let status = produced.expect_err("nobody would store it");
        assert!(status.message().contains("panicked: restart the server"), "{status}");
    }
    while soon(health.message()).await.unwrap().expect("a status").status() != ServingStatus::NotServing {}
    assert_eq!(values(&fixture.poll(poll("t", None)).await.unwrap().messages), ["a"], "reads go on");
}
