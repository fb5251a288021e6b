//! Settings of topics over the server's defaults.

use std::{sync::Arc, time::Duration};

use minikafka_broker::{
    Broker, BrokerConfig, Error, Limit, NewMessage, Partition, Payload, SettingSource, TopicChange,
    TopicSetting, TopicSettings,
};
use minikafka_record::{BatchBuilder, Compression, Offset};

use crate::setup::{ManualClock, memory_broker, messages, produce, values};

fn retention(limit: Limit<Duration>) -> TopicSettings {
    TopicSettings { retention: Some(limit), ..TopicSettings::default() }
}

fn set(set: TopicSettings) -> TopicChange {
    TopicChange { set, ..TopicChange::default() }
}

async fn gone(partition: &Partition, start: u64) {
    let gone = async {
        while partition.bounds().start < Offset::new(start) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), gone).await.expect("never evicted");
}

#[tokio::test]
async fn a_topic_keeps_its_messages_as_long_as_it_says() {
    let clock = ManualClock::at(1_000_000);
    let config = BrokerConfig {
        retention: Some(Duration::from_secs(10)),
        clock: clock.clone(),
        ..BrokerConfig::default()
    };
    let broker = memory_broker(config).await;
    let age = |secs| retention(Limit::At(Duration::from_secs(secs)));
    broker.create_topic_with("long", 1, age(100)).await.unwrap();
    broker.create_topic_with("for ever", 1, retention(Limit::Unlimited)).await.unwrap();
    let starts = || {
        ["server's", "long", "for ever"]
            .map(|topic| broker.partition(topic, None).unwrap().bounds().start.get())
    };
    for topic in ["server's", "long", "for ever"] {
        produce(&broker, topic, "x").await.unwrap();
    }
    clock.pass(Duration::from_secs(50));
    broker.evict().await.unwrap();
    assert_eq!(starts(), [1, 0, 0]);
    clock.pass(Duration::from_secs(51));
    broker.evict().await.unwrap();
    assert_eq!(starts(), [1, 1, 0]);
    broker.alter_topic("for ever", set(age(200))).await.unwrap();
    broker.evict().await.unwrap();
    assert_eq!(starts(), [1, 1, 0]);
    let reset = TopicChange { reset: vec![TopicSetting::Retention], ..TopicChange::default() };
    broker.alter_topic("for ever", reset).await.unwrap();
    broker.evict().await.unwrap();
    assert_eq!(starts(), [1, 1, 1], "as the server has it again");
}

#[tokio::test]
async fn a_shorter_retention_counts_at_once_and_a_longer_one_too() {
    let broker = memory_broker(BrokerConfig { retention: None, ..BrokerConfig::default() }).await;
    produce(&broker, "t", "x").await.unwrap();
    let partition = broker.partition("t", None).unwrap();
    broker.alter_topic("t", set(retention(Limit::At(Duration::from_millis(20))))).await.unwrap();
    gone(&partition, 1).await;
    produce(&broker, "t", "y").await.unwrap();
    gone(&partition, 2).await;
    broker.alter_topic("t", set(retention(Limit::At(Duration::from_secs(3600))))).await.unwrap();
    produce(&broker, "t", "z").await.unwrap();
    broker.alter_topic("t", TopicChange { partitions: Some(2), ..TopicChange::default() }).await.unwrap();
    broker.evict().await.unwrap();
    assert_eq!(values(&partition, 2).await, ["z"], "and the partition goes on as it was");
    broker.alter_topic("t", set(retention(Limit::At(Duration::from_millis(20))))).await.unwrap();
    gone(&partition, 3).await;
}

#[tokio::test]
async fn a_limit_of_bytes_counts_at_once_and_with_each_message() {
    let broker = memory_broker(BrokerConfig::default()).await;
    let text = "x".repeat(100_000);
    for _ in 0..20 {
        produce(&broker, "t", &text).await.unwrap();
    }
    let partition = broker.partition("t", None).unwrap();
    let bytes = TopicSettings { retention_bytes: Some(Limit::At(1 << 20)), ..TopicSettings::default() };
    broker.alter_topic("t", set(bytes)).await.unwrap();
    gone(&partition, 10).await;
    for _ in 0..20 {
        produce(&broker, "t", &text).await.unwrap();
    }
    gone(&partition, 30).await;
    let described = broker.describe_topic("t").unwrap();
    assert_eq!(described.retention_bytes.value, Some(1 << 20));
    assert_eq!(described.retention.source, SettingSource::Server);
}

async fn try_produce(broker: &Broker, payload: Payload) -> Result<(), Error> {
    let payload = broker.check(payload)?;
    let partition = broker.partition_to_produce("t", None, &payload).await?;
    partition.produce(payload).await?.await.map(|_| ())
}

#[tokio::test]
async fn a_message_keeps_to_the_topics_limit_compressed_or_not() {
    let broker = memory_broker(BrokerConfig::default()).await;
    let limit = |bytes| TopicSettings { message_bytes_max: Some(bytes), ..TopicSettings::default() };
    broker.create_topic_with("t", 1, limit(2048)).await.unwrap();
    let compressed = || {
        let mut batch = BatchBuilder::new();
        batch.push(5, None, Some(&[b'x'; 10_000]), &[]);
        Payload::Batch(batch.finish_compressed(Compression::Zstd, Offset::ZERO, 0))
    };
    let large = || messages(&[&"x".repeat(3000)]);
    let error = try_produce(&broker, large()).await.unwrap_err();
    assert!(matches!(error, Error::MessageTooLarge { max: 2048, .. }), "{error}");
    let error = try_produce(&broker, compressed()).await.unwrap_err();
    assert!(matches!(error, Error::BatchTooLarge(_)), "{error}");
    broker.alter_topic("t", set(limit(100_000))).await.unwrap();
    try_produce(&broker, large()).await.unwrap();
    try_produce(&broker, compressed()).await.unwrap();
}

#[tokio::test]
async fn a_server_that_allows_less_now_wins_over_the_topic() {
    let storage = Arc::new(minikafka_storage::memory::MemoryStorage::new(u64::MAX));
    let broker = Broker::open(storage.clone(), BrokerConfig::default()).await.unwrap();
    let limit = TopicSettings { message_bytes_max: Some(100_000), ..TopicSettings::default() };
    broker.create_topic_with("t", 1, limit).await.unwrap();
    drop(broker);
    let config = BrokerConfig { message_bytes_max: 5000, ..BrokerConfig::default() };
    let broker = Broker::open(storage, config).await.unwrap();
    let described = broker.describe_topic("t").unwrap().message_bytes_max;
    assert_eq!((described.value, described.source), (5000, SettingSource::Server));
}

#[tokio::test]
async fn an_auto_created_topic_has_as_many_partitions_as_the_server_says() {
    let broker = memory_broker(BrokerConfig { partitions: 4, ..BrokerConfig::default() }).await;
    let keyed = |key: &'static str| NewMessage { key: Some(key.into()), ..NewMessage::default() };
    let disagreeing = Payload::Messages(vec![keyed("foobar"), keyed("21")]);
    assert!(matches!(try_produce(&broker, disagreeing).await, Err(Error::InvalidRequest(_))));
    assert!(broker.topics("", 9).is_empty(), "what is refused creates nothing");
    try_produce(&broker, Payload::Messages(vec![keyed("foobar")])).await.unwrap();
    let described = broker.describe_topic("t").unwrap();
    let wanted = minikafka_record::partition_of_key(b"foobar", 4) as usize;
    assert_eq!(described.partitions.len(), 4);
    assert_eq!(described.partitions[wanted].unwrap().end, Offset::new(1));
}
