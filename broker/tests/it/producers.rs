//! Idempotent producers: what is sent again is stored once.

use std::{sync::Arc, time::Duration};

use minikafka_broker::{
    Broker, BrokerConfig, Error, Origin, Partition, Payload, PendingProduce, Produced, ProducerIdentity,
};
use minikafka_record::{BatchBuilder, Offset, ProducerStamp, Sequence};
use minikafka_storage::{
    LogId, Storage,
    filesystem::{FileStorage, Options},
    memory::MemoryStorage,
};
use tempfile::TempDir;

use crate::{
    rig::Rig,
    setup::{ManualClock, memory_broker, messages, partition_of, values},
};

/// A batch of a producer: `count` messages from this sequence on.
fn batch(identity: ProducerIdentity, sequence: i32, count: u32) -> Payload {
    let mut builder = BatchBuilder::new();
    for message in 0..count {
        let value = format!("{}/{}/{}", identity.id, identity.epoch, sequence as u32 + message);
        builder.push(1, None, Some(value.as_bytes()), &[]);
    }
    let sequence = Sequence::new(sequence).unwrap();
    builder.stamp(ProducerStamp { id: identity.id, epoch: identity.epoch, sequence });
    Payload::Batch(builder.finish(Offset::ZERO, 0))
}

/// A partition and one of its producers.
struct Sender {
    broker: Broker,
    partition: Partition,
    identity: ProducerIdentity,
}

impl Sender {
    async fn new(broker: &Broker) -> Sender {
        Sender::of(broker, broker.init_producer(None).await.unwrap()).await
    }

    async fn of(broker: &Broker, identity: ProducerIdentity) -> Sender {
        let partition = partition_of(broker, "t").await;
        Sender { broker: broker.clone(), partition, identity }
    }

    async fn begin(&self, sequence: i32, count: u32) -> PendingProduce {
        let payload = self.broker.check(batch(self.identity, sequence, count)).unwrap();
        self.partition.produce(payload).await.unwrap()
    }

    async fn send(&self, sequence: i32, count: u32) -> Result<Produced, Error> {
        self.begin(sequence, count).await.await
    }

    /// Offset and origin.
    async fn place(&self, sequence: i32, count: u32) -> (u64, Origin) {
        let produced = self.send(sequence, count).await.unwrap();
        assert_eq!(produced.count, count);
        (produced.base_offset.get(), produced.origin)
    }

    async fn next_epoch(&mut self) {
        self.identity = self.broker.init_producer(Some(self.identity)).await.unwrap();
    }
}

#[tokio::test]
async fn a_batch_that_comes_again_is_stored_once() {
    let broker = memory_broker(BrokerConfig::default()).await;
    let sender = Sender::new(&broker).await;
    assert_eq!(sender.place(0, 3).await, (0, Origin::This));
    assert_eq!(sender.place(3, 2).await, (3, Origin::This));
    assert_eq!(sender.place(0, 3).await, (0, Origin::Earlier));
    assert_eq!(sender.place(3, 2).await, (3, Origin::Earlier));
    let produced = broker.stats().traffic.iter().map(|topic| topic.produced_messages).sum::<u64>();
    assert_eq!(produced, 5, "counted once, too");
    let error = sender.send(6, 1).await.unwrap_err();
    let Error::OutOfSequence { expected, .. } = &error else { panic!("{error}") };
    assert_eq!(expected.get(), 5);
    assert!(error.to_string().contains("where 5 is next"), "{error}");
    let stranger = ProducerIdentity { id: sender.identity.id + 1000, epoch: 0 };
    let error = Sender::of(&broker, stranger).await.send(1, 1).await.unwrap_err();
    assert!(matches!(error, Error::UnknownProducer { .. }), "{error}");
    assert_eq!(sender.partition.bounds().end, Offset::new(5));
}

#[tokio::test]
async fn what_comes_again_in_one_entry_is_stored_once_and_others_are_not_disturbed() {
    let broker = memory_broker(BrokerConfig::default()).await;
    let (one, other) = (Sender::new(&broker).await, Sender::new(&broker).await);
    // The owner runs only when this task waits.
    let mut pending = vec![one.begin(0, 2).await, one.begin(0, 2).await];
    let plain = broker.check(messages(&["plain"])).unwrap();
    pending.push(one.partition.produce(plain).await.unwrap());
    pending.extend([other.begin(0, 1).await, one.begin(9, 1).await, one.begin(2, 1).await]);
    let mut places = Vec::new();
    for pending in pending {
        places.push(pending.await.map(|produced| (produced.base_offset.get(), produced.origin)).ok());
    }
    let expected = [
        Some((0, Origin::This)),
        Some((0, Origin::Earlier)),
        Some((2, Origin::This)),
        Some((3, Origin::This)),
        None,
        Some((4, Origin::This)),
    ];
    assert_eq!(places, expected);
    assert_eq!(values(&one.partition, 0).await.len(), 5);
}

#[tokio::test]
async fn of_several_partitions_a_batch_names_its_own() {
    let broker = memory_broker(BrokerConfig::default()).await;
    broker.create_topic("t", 3).await.unwrap();
    let identity = broker.init_producer(None).await.unwrap();
    let payload = broker.check(batch(identity, 0, 1)).unwrap();
    let error = broker.partition_to_produce("t", None, &payload).await.unwrap_err();
    assert!(matches!(error, Error::InvalidRequest(_)), "{error}");
    for number in [2, 0] {
        let partition = broker.partition("t", Some(number)).unwrap();
        let payload = broker.check(batch(identity, 0, 1)).unwrap();
        partition.produce(payload).await.unwrap().await.unwrap();
    }
    let listed = broker.producers("t", None).unwrap();
    assert_eq!(listed.iter().map(|producer| producer.partition).collect::<Vec<_>>(), [0, 2]);
}

#[tokio::test]
async fn what_is_on_its_way_is_answered_when_it_is_stored() {
    let (storage, rig) = Rig::new();
    let broker = Broker::open(storage, BrokerConfig::default()).await.unwrap();
    let sender = Sender::new(&broker).await;
    rig.hold("append");
    let first = sender.begin(0, 1).await;
    rig.seen("append t", 1).await;
    // Only the first appends anything.
    let again = sender.begin(0, 1).await;
    let next = sender.begin(1, 1).await;
    rig.seen("append t", 2).await;
    assert!(broker.producers("t", None).unwrap().is_empty(), "nothing is stored yet");
    rig.release("append");
    assert_eq!(first.await.unwrap().origin, Origin::This);
    let again = again.await.unwrap();
    assert_eq!((again.base_offset, again.origin), (Offset::ZERO, Origin::Earlier));
    assert_eq!(next.await.unwrap().base_offset, Offset::new(1));
}

#[tokio::test]
async fn what_does_not_fit_was_never_seen() {
    let storage = Arc::new(MemoryStorage::new(20_000));
    let broker = Broker::open(storage, BrokerConfig::default()).await.unwrap();
    let sender = Sender::new(&broker).await;
    sender.place(0, 1).await;
    let (large, behind) = (sender.begin(1, 2000).await, sender.begin(2001, 1).await);
    assert!(matches!(large.await, Err(Error::Full(_))));
    let error = behind.await.unwrap_err();
    assert!(matches!(error, Error::Full(_) | Error::Aborted), "{error}");
    let error = sender.send(2001, 1).await.unwrap_err();
    assert!(matches!(error, Error::OutOfSequence { .. }), "{error}");
    assert_eq!(sender.place(1, 2).await, (1, Origin::This));
}

#[tokio::test]
async fn a_new_epoch_fences_the_old_one() {
    let broker = memory_broker(BrokerConfig::default()).await;
    let mut sender = Sender::new(&broker).await;
    let old = sender.identity;
    sender.place(0, 1).await;
    sender.next_epoch().await;
    assert_eq!(sender.identity, ProducerIdentity { id: old.id, epoch: 1 });
    assert!(matches!(sender.send(1, 1).await, Err(Error::OutOfSequence { .. })));
    assert_eq!(sender.place(0, 1).await, (1, Origin::This));
    let old_sender = Sender::of(&broker, old).await;
    let error = old_sender.send(1, 1).await.unwrap_err();
    assert!(matches!(error, Error::ProducerFenced { epoch: 0, current: 1, .. }), "{error}");
    let error = broker.init_producer(Some(old)).await.unwrap_err();
    assert!(matches!(error, Error::ProducerFenced { .. }), "{error}");
    let last = ProducerIdentity { epoch: i16::MAX, ..old };
    let fresh = broker.init_producer(Some(last)).await.unwrap();
    assert!(fresh.id != old.id && fresh.epoch == 0, "epochs are used up: {fresh:?}");
    let never = ProducerIdentity { id: -1, epoch: 0 };
    assert!(matches!(broker.init_producer(Some(never)).await, Err(Error::InvalidRequest(_))));
}

#[tokio::test]
async fn producers_are_listed_and_expire() {
    let clock = ManualClock::at(1000);
    let config = BrokerConfig {
        producer_expiry: Duration::from_secs(60),
        clock: clock.clone(),
        retention: None,
        ..BrokerConfig::default()
    };
    let broker = memory_broker(config).await;
    let sender = Sender::new(&broker).await;
    sender.place(0, 3).await;
    let listed = broker.producers("t", Some(0)).unwrap();
    assert_eq!(listed, broker.producers("t", None).unwrap());
    let [listed] = listed[..] else { panic!("{listed:?}") };
    assert_eq!((listed.identity, listed.partition), (sender.identity, 0));
    assert_eq!((listed.last_sequence.get(), listed.last_offset), (2, Offset::new(2)));
    assert_eq!(listed.last_append_time, 1_000_000);
    clock.pass(Duration::from_secs(60));
    assert!(broker.producers("t", None).unwrap().is_empty());
    assert!(matches!(sender.send(3, 1).await, Err(Error::UnknownProducer { .. })));
    assert!(matches!(broker.producers("u", None), Err(Error::TopicNotFound(_))));
    assert!(matches!(broker.producers("t", Some(1)), Err(Error::PartitionNotFound { .. })));
}

fn files(root: &TempDir) -> Arc<dyn Storage> {
    Arc::new(FileStorage::open(root.path(), Options::default()).unwrap())
}

#[tokio::test]
async fn they_are_known_after_a_restart_clean_or_not() {
    for (clean, with_blob) in [(true, true), (true, false), (false, false)] {
        let root = TempDir::new().unwrap();
        let broker = Broker::open(files(&root), BrokerConfig::default()).await.unwrap();
        let sender = Sender::new(&broker).await;
        for sequence in 0..8 {
            sender.place(sequence, 1).await;
        }
        let identity = sender.identity;
        let copy = TempDir::new().unwrap();
        if clean {
            broker.close().await.unwrap();
        }
        // As a kill would leave it: everything acknowledged, and no farewell.
        copy_directory(root.path(), copy.path(), with_blob);
        let broker = Broker::open(files(&copy), BrokerConfig::default()).await.unwrap();
        let sender = Sender::of(&broker, identity).await;
        for sequence in 3..8 {
            assert_eq!(sender.place(sequence, 1).await, (sequence as u64, Origin::Earlier));
        }
        assert!(matches!(sender.send(2, 1).await, Err(Error::OutOfSequence { .. })));
        assert_eq!(sender.place(8, 1).await, (8, Origin::This));
        let listed = broker.producers("t", None).unwrap();
        assert_eq!((listed.len(), listed[0].last_sequence.get()), (1, 8));
        assert!(broker.init_producer(None).await.unwrap().id > identity.id, "ids are not given twice");
        broker.close().await.unwrap();
    }
}

fn copy_directory(from: &std::path::Path, to: &std::path::Path, with_blobs: bool) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (path, name) = (entry.path(), entry.file_name());
        if path.is_dir() {
            copy_directory(&path, &to.join(name), with_blobs);
        } else if with_blobs || !name.to_string_lossy().contains("producers") {
            std::fs::copy(&path, to.join(name)).unwrap();
        }
    }
}

/// What is kept for a minute.
fn minute(clock: &Arc<ManualClock>) -> BrokerConfig {
    BrokerConfig { clock: clock.clone(), retention: Some(Duration::from_secs(60)), ..BrokerConfig::default() }
}

/// The same sender at a broker that was opened on what a kill would leave now.
async fn after_a_kill(root: &TempDir, config: BrokerConfig, sender: &Sender) -> (TempDir, Sender) {
    let copy = TempDir::new().unwrap();
    copy_directory(root.path(), copy.path(), true);
    let broker = Broker::open(files(&copy), config).await.unwrap();
    let sender = Sender::of(&broker, sender.identity).await;
    (copy, sender)
}

#[tokio::test]
async fn an_eviction_makes_nobody_unknown() {
    let (root, clock) = (TempDir::new().unwrap(), ManualClock::at(1000));
    let broker = Broker::open(files(&root), minute(&clock)).await.unwrap();
    let sender = Sender::new(&broker).await;
    sender.place(0, 4).await;
    clock.pass(Duration::from_secs(100));
    broker.evict().await.unwrap();
    assert_eq!(sender.partition.bounds().start, Offset::new(4));
    let (_copy, sender) = after_a_kill(&root, minute(&clock), &sender).await;
    assert_eq!(sender.place(0, 4).await, (0, Origin::Earlier));
    assert_eq!(sender.place(4, 1).await, (4, Origin::This));
}

#[tokio::test]
async fn an_eviction_of_some_of_the_last_five_makes_none_unknown() {
    let (root, clock) = (TempDir::new().unwrap(), ManualClock::at(1000));
    let broker = Broker::open(files(&root), minute(&clock)).await.unwrap();
    let sender = Sender::new(&broker).await;
    sender.place(0, 4).await;
    clock.pass(Duration::from_secs(50));
    sender.place(4, 1).await;
    clock.pass(Duration::from_secs(20));
    broker.evict().await.unwrap();
    assert_eq!(sender.partition.bounds().start, Offset::new(4), "the last one stays");
    let (_copy, sender) = after_a_kill(&root, minute(&clock), &sender).await;
    assert_eq!(sender.place(0, 4).await, (0, Origin::Earlier));
    assert_eq!(sender.place(4, 1).await, (4, Origin::Earlier));
}

#[tokio::test]
async fn who_claims_an_id_that_is_still_to_be_given_is_refused() {
    let broker = memory_broker(BrokerConfig::default()).await;
    let claim = async |id| broker.init_producer(Some(ProducerIdentity { id, epoch: 6 })).await;
    let first = broker.init_producer(None).await.unwrap();
    // The next one, the rest of what is allocated at once, and beyond.
    for ahead in [1, 999, 1000, 1 << 40] {
        let error = claim(first.id + ahead).await.unwrap_err();
        assert!(matches!(error, Error::InvalidRequest(_)), "{error}");
    }
    let next = broker.init_producer(None).await.unwrap();
    assert_eq!(next, ProducerIdentity { id: first.id + 1, epoch: 0 });
    assert_eq!(claim(next.id).await.unwrap().epoch, 7, "somebody has it now");
}

#[tokio::test]
async fn a_snapshot_is_stored_now_and_then_and_replaces_the_log_before_it() {
    let (storage, rig) = Rig::new();
    let broker = Broker::open(storage.clone(), BrokerConfig::default()).await.unwrap();
    let sender = Sender::new(&broker).await;
    sender.place(0, 2).await;
    // Other messages come, 64 MiB of them.
    let large = "x".repeat(2 << 20);
    for _ in 0..33 {
        let payload = broker.check(messages(&[&large])).unwrap();
        sender.partition.produce(payload).await.unwrap().await.unwrap();
    }
    rig.seen("blob t done", 1).await;
    let topic_id = broker.describe_topic("t").unwrap().summary.id;
    let id = LogId { topic: "t".to_owned(), partition: 0, topic_id };
    assert!(storage.load_blob(&id, "producers").unwrap().is_some());
    // Another broker on the same storage knows the producer.
    let again = Broker::open(storage, BrokerConfig::default()).await.unwrap();
    let sender = Sender::of(&again, sender.identity).await;
    assert_eq!(sender.place(0, 2).await, (0, Origin::Earlier));
}

#[tokio::test(start_paused = true)]
async fn what_a_failed_disk_has_kept_is_not_stored_again() {
    let (storage, rig) = Rig::new();
    let broker = Broker::open(storage, BrokerConfig::default()).await.unwrap();
    let sender = Sender::new(&broker).await;
    assert_eq!(sender.place(0, 2).await, (0, Origin::This));
    rig.fail("doubt t");
    let unknown = sender.send(2, 3).await.unwrap_err();
    assert!(matches!(unknown, Error::OutcomeUnknown { .. }), "{unknown}");
    rig.mend("doubt t");
    // The log is opened again, and the batch is there.
    assert_eq!(sender.place(2, 3).await, (2, Origin::Earlier));
    assert_eq!(sender.place(5, 1).await, (5, Origin::This));
    assert_eq!(values(&sender.partition, 0).await.len(), 6);
}
