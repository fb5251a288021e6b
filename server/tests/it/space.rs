//! Space that eviction gives back, as the server cuts its files.

use std::{fs, path::Path, sync::Arc, time::Duration};

use minikafka_broker::BrokerConfig;
use minikafka_server::Server;

use crate::support::{Fixture, Hands, only_topic};

/// Bytes of the segments of the one log; those that go meanwhile have none.
fn segment_bytes(root: &Path) -> Vec<u64> {
    let log = only_topic(root);
    let files = fs::read_dir(log).unwrap().map(|entry| entry.unwrap().path());
    let segments = files.filter(|path| path.extension().is_some_and(|found| found == "log"));
    segments.filter_map(|path| fs::metadata(path).ok()).map(|file| file.len()).collect()
}

#[tokio::test]
async fn a_slow_topic_with_a_short_retention_gives_its_space_back() {
    let root = tempfile::tempdir().unwrap();
    let hands = Hands::default();
    let config = BrokerConfig {
        retention: Some(Duration::from_secs(8)),
        clock: Arc::new(hands.clone()),
        ..BrokerConfig::default()
    };
    let fixture = Fixture::start(Server::builder().filesystem(root.path()).broker(config)).await;
    // Half a second apart: 16 messages are young enough at any time.
    let text = "x".repeat(80_000);
    let kept = 16 * 80_000;
    for number in 0..100 {
        fixture.produce("t", &[&text]).await;
        hands.pass(Duration::from_millis(500));
        fixture.server.broker().evict().await.unwrap();
        let segments = segment_bytes(root.path());
        assert!(segments.len() <= 8, "after message {number}: {segments:?}");
        // A quarter of the time more, for the segment that is old in part; and one message.
        let bytes: u64 = segments.iter().sum();
        assert!(bytes <= kept + kept / 4 + 200_000, "after message {number}: {bytes} bytes");
    }
    let bounds = fixture.server.broker().partition("t", None).unwrap().bounds();
    assert_eq!((bounds.start.get(), bounds.end.get()), (85, 100));
    fixture.stop().await;
}

#[tokio::test]
async fn a_limit_of_bytes_bounds_the_files() {
    let root = tempfile::tempdir().unwrap();
    let limit = 8 << 20;
    let builder = Server::builder().filesystem(root.path()).retention_bytes(limit);
    let fixture = Fixture::start(builder).await;
    let text = "x".repeat(500_000);
    for _ in 0..60 {
        fixture.produce("t", &[&text]).await;
        fixture.server.broker().evict().await.unwrap();
        let bytes: u64 = segment_bytes(root.path()).iter().sum();
        assert!(bytes <= limit + 1_000_000, "{bytes} bytes");
    }
    let bounds = fixture.server.broker().partition("t", None).unwrap().bounds();
    assert!(bounds.start.get() > 40 && bounds.size_bytes > limit / 2, "{bounds:?}");
    let request = minikafka_proto::v1::DescribeTopicRequest { topic: "t".into(), ..Default::default() };
    let described = fixture.v1.clone().describe_topic(request).await.unwrap().into_inner();
    assert_eq!(described.retention_bytes, Some(limit));
    fixture.stop().await;
}
