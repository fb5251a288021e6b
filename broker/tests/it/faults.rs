//! A storage that fails.

use std::sync::Arc;

use minikafka_broker::{Broker, BrokerConfig, Error};
use minikafka_record::Offset;
use minikafka_storage::memory::MemoryStorage;

use crate::setup::{produce, values};

#[tokio::test]
async fn full_memory_refuses_and_recovers_when_space_returns() {
    let storage = Arc::new(MemoryStorage::new(3000));
    let broker = Broker::open(storage, BrokerConfig::default()).await.unwrap();
    produce(&broker, "other", &"x".repeat(1500)).await.unwrap();
    produce(&broker, "t", &"x".repeat(1000)).await.unwrap();
    let error = produce(&broker, "t", &"y".repeat(1000)).await.unwrap_err();
    assert!(matches!(error, Error::Full(_)) && error.is_retryable(), "{error}");
    let partition = broker.partition("t", None).unwrap();
    assert_eq!(values(&partition, 0).await.len(), 1, "reads go on");
    broker.delete_topic("other").await.unwrap();
    let produced = produce(&broker, "t", &"y".repeat(1000)).await.unwrap();
    assert_eq!(produced.base_offset, Offset::new(1), "a refused message takes no number");
}
