//! A broker to play with, and a clock to set.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use minikafka_broker::{Broker, BrokerConfig, Clock, Error, NewMessage, Partition, Payload, Produced};
use minikafka_record::Offset;
use minikafka_storage::{LogId, Storage, memory::MemoryStorage};

/// A clock that stands still until it is told otherwise.
#[derive(Debug)]
pub(crate) struct ManualClock(Mutex<Hands>);

#[derive(Debug)]
struct Hands {
    wall: Duration,
    elapsed: Duration,
    asleep: Duration,
}

impl ManualClock {
    pub(crate) fn at(wall_secs: u64) -> Arc<ManualClock> {
        let (wall, elapsed) = (Duration::from_secs(wall_secs), Duration::from_secs(1));
        Arc::new(ManualClock(Mutex::new(Hands { wall, elapsed, asleep: Duration::ZERO })))
    }

    /// Time passes.
    pub(crate) fn pass(&self, time: Duration) {
        let mut hands = self.0.lock().unwrap();
        hands.wall += time;
        hands.elapsed += time;
    }

    /// The machine sleeps.
    pub(crate) fn sleep(&self, time: Duration) {
        self.pass(time);
        self.0.lock().unwrap().asleep += time;
    }

    /// Somebody sets the wall clock.
    pub(crate) fn set_wall(&self, secs: u64) {
        self.0.lock().unwrap().wall = Duration::from_secs(secs);
    }
}

impl Clock for ManualClock {
    fn wall(&self) -> Duration {
        self.0.lock().unwrap().wall
    }

    fn elapsed(&self) -> Duration {
        self.0.lock().unwrap().elapsed
    }

    fn asleep(&self) -> Duration {
        self.0.lock().unwrap().asleep
    }
}

pub(crate) async fn memory_broker(config: BrokerConfig) -> Broker {
    Broker::open(Arc::new(MemoryStorage::new(u64::MAX)), config).await.unwrap()
}

pub(crate) fn message(value: &str) -> NewMessage {
    NewMessage { value: Some(Bytes::copy_from_slice(value.as_bytes())), ..NewMessage::default() }
}

pub(crate) fn messages(values: &[&str]) -> Payload {
    Payload::Messages(values.iter().map(|value| message(value)).collect())
}

/// Produces one message and waits for its acknowledgement.
pub(crate) async fn produce(broker: &Broker, topic: &str, value: &str) -> Result<Produced, Error> {
    let payload = broker.check(messages(&[value]))?;
    broker.partition_to_produce(topic, None, &payload).await?.produce(payload).await?.await
}

/// The one partition of a topic, which is created when it is not there.
pub(crate) async fn partition_of(broker: &Broker, topic: &str) -> Partition {
    let any = broker.check(messages(&["any"])).unwrap();
    broker.partition_to_produce(topic, None, &any).await.unwrap()
}

/// Values from `from` up to the high watermark.
pub(crate) async fn values(partition: &Partition, from: u64) -> Vec<String> {
    let (mut next, mut values) = (Offset::new(from), Vec::new());
    while next < partition.bounds().high_watermark {
        let fetched = partition.fetch(next, 100, Duration::ZERO).await.unwrap();
        for batch in &fetched.batches {
            let records = batch.records().map(Result::unwrap).filter(|record| record.offset >= next);
            values.extend(records.map(|record| String::from_utf8_lossy(&record.value.unwrap()).into_owned()));
        }
        next = fetched.next;
    }
    values
}

/// The logs that are not the server's own.
pub(crate) fn logs(storage: &dyn Storage) -> Vec<LogId> {
    let mut logs = storage.list().unwrap();
    logs.retain(|id| !id.topic.starts_with("__minikafka"));
    logs
}
