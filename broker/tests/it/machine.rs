//! State machines over internal logs.

use std::{path::Path, sync::Arc};

use minikafka_broker::{
    AppendClock, Error, SystemClock,
    machine::{FormatError, Machine, StateMachine},
};
use minikafka_storage::{
    Durability, LogId, Millis, Storage, TopicId,
    filesystem::{FileStorage, Options},
    memory::MemoryStorage,
};

use crate::{rig::Rig, setup::ManualClock};

/// Adds numbers up, and remembers their order and the time of the last one.
#[derive(Clone, Debug, Default)]
struct Adder {
    sum: u64,
    order: u64,
    at: Millis,
}

impl StateMachine for Adder {
    type Command = (u64, usize);
    type Output = u64;

    fn apply(&mut self, (number, _): (u64, usize), at: Millis) -> u64 {
        self.sum += number;
        self.order = self.order.wrapping_mul(31).wrapping_add(number);
        self.at = at;
        self.sum
    }

    fn encode((number, padding): &(u64, usize)) -> Vec<u8> {
        [&number.to_be_bytes()[..], &vec![0; *padding]].concat()
    }

    fn decode(bytes: &[u8]) -> Result<(u64, usize), FormatError> {
        let number = bytes.first_chunk().ok_or_else(|| FormatError::new("no number"))?;
        Ok((u64::from_be_bytes(*number), bytes.len() - 8))
    }

    fn snapshot(&self) -> Vec<u8> {
        [self.sum, self.order, self.at as u64].map(u64::to_be_bytes).concat()
    }

    fn restore(&mut self, snapshot: &[u8]) -> Result<(), FormatError> {
        let [sum, order, at] =
            [0, 8, 16].map(|from| u64::from_be_bytes(snapshot[from..from + 8].try_into().unwrap()));
        *self = Adder { sum, order, at: at as Millis };
        Ok(())
    }
}

fn id() -> LogId {
    LogId { topic: "__minikafka_test".to_owned(), partition: 0, topic_id: TopicId::from_bytes([7; 16]) }
}

async fn try_open(storage: &Arc<dyn Storage>) -> Result<Machine<Adder>, Error> {
    let clock = Arc::new(AppendClock::start(Arc::new(SystemClock), None, None));
    Machine::open(storage.clone(), id(), Adder::default(), clock).await
}

async fn open(storage: &Arc<dyn Storage>) -> Machine<Adder> {
    try_open(storage).await.unwrap()
}

fn files(dir: &Path) -> Arc<dyn Storage> {
    Arc::new(FileStorage::open(dir, Options { segment_bytes: 256 * 1024, ..Options::default() }).unwrap())
}

fn state(machine: &Machine<Adder>) -> (u64, u64, Millis) {
    machine.read(|adder| (adder.sum, adder.order, adder.at))
}

/// Bytes and start of the log.
fn log(storage: &Arc<dyn Storage>) -> (u64, u64) {
    let bounds = storage.open(&id()).unwrap().bounds();
    (bounds.size_bytes, bounds.start.get())
}

/// Commands of 16 KiB, so that there are snapshots.
async fn submit_much(machine: &Machine<Adder>, count: u64) {
    let submitted: Vec<_> = (1..=count)
        .map(|number| {
            let machine = machine.clone();
            tokio::spawn(async move { machine.submit((number, 16 * 1024)).await.unwrap() })
        })
        .collect();
    for submitted in submitted {
        submitted.await.unwrap();
    }
}

#[tokio::test]
async fn commands_are_answered_in_order_and_there_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let storage = files(dir.path());
    let machine = open(&storage).await;
    let mut applied = machine.applied();
    for number in 1..=10 {
        assert_eq!(machine.submit((number, 0)).await.unwrap(), (1..=number).sum::<u64>());
    }
    assert_eq!(applied.borrow_and_update().get(), 10);
    let before = state(&machine);
    machine.close().await;
    assert!(matches!(machine.submit((1, 0)).await, Err(Error::Stopping)));
    storage.close().unwrap();
    drop(storage);
    let storage = files(dir.path());
    let machine = open(&storage).await;
    assert_eq!(state(&machine), before, "the times are those of the log");
    assert!(!machine.has_losses());
}

#[tokio::test]
async fn a_snapshot_bounds_the_log_and_what_is_read_at_the_next_opening() {
    let dir = tempfile::tempdir().unwrap();
    let memory: Arc<dyn Storage> = Arc::new(MemoryStorage::new(0));
    for mut storage in [memory, files(dir.path())] {
        let is_memory = storage.durability() == Durability::Memory;
        let machine = open(&storage).await;
        submit_much(&machine, 300).await;
        let before = state(&machine);
        machine.close().await;
        let (bytes, start) = log(&storage);
        assert!(start > 0 && bytes < 3 * 1024 * 1024, "trimmed: {bytes} bytes from {start} on");
        if !is_memory {
            storage.close().unwrap();
            drop(storage);
            storage = files(dir.path());
        }
        let machine = open(&storage).await;
        assert_eq!(state(&machine), before);
        assert_eq!(machine.submit((1, 0)).await.unwrap(), before.0 + 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_answered_is_there_after_a_kill_at_any_moment() {
    let dir = tempfile::tempdir().unwrap();
    let mut answered = 0;
    for round in 0..10 {
        let storage = files(dir.path());
        let machine = open(&storage).await;
        assert!(machine.read(|adder| adder.sum) >= answered, "round {round}");
        answered = machine.read(|adder| adder.sum);
        let submitting = tokio::spawn({
            let machine = machine.clone();
            async move {
                let mut answered = 0;
                // Enough for a snapshot in each round, which is on its way when everything is dropped.
                for _ in 0..70 + round {
                    answered = machine.submit((1, 16 * 1024)).await.unwrap();
                }
                answered
            }
        });
        answered = submitting.await.unwrap().max(answered);
        // No close, neither of the machine nor of the storage.
        drop((machine, storage));
    }
    let storage = files(dir.path());
    let sum = open(&storage).await.read(|adder| adder.sum);
    assert_eq!(sum, answered);
    assert_eq!(sum, (70..80).sum::<u64>());
}

#[tokio::test]
async fn what_waits_while_the_disk_is_busy_goes_together() {
    let (storage, rig) = Rig::new();
    let storage: Arc<dyn Storage> = storage;
    let machine = open(&storage).await;
    rig.hold("append");
    let submitted: Vec<_> = (1..=100)
        .map(|number| {
            let machine = machine.clone();
            tokio::spawn(async move { machine.submit((number, 0)).await.unwrap() })
        })
        .collect();
    rig.seen("append __minikafka_test", 1).await;
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(machine.read(|adder| adder.sum), 0, "nothing is applied before it is durable");
    rig.release("append");
    for submitted in submitted {
        submitted.await.unwrap();
    }
    let appends = rig.events().iter().filter(|event| event.starts_with("append")).count();
    assert!(appends <= 3, "{appends} appends");
    assert_eq!(machine.read(|adder| adder.sum), 5050);
}

#[tokio::test]
async fn a_failed_append_is_answered_and_applies_nothing() {
    let (storage, rig) = Rig::new();
    let storage: Arc<dyn Storage> = storage;
    let machine = open(&storage).await;
    machine.submit((5, 0)).await.unwrap();
    rig.fail("refuse __minikafka_test");
    let error = machine.submit((6, 0)).await.unwrap_err();
    assert!(matches!(&error, Error::Poisoned { topic, .. } if topic == "__minikafka_test"), "{error}");
    assert_eq!(machine.read(|adder| adder.sum), 5);
    rig.mend("refuse __minikafka_test");
    assert_eq!(machine.submit((7, 0)).await.unwrap(), 12, "and the log goes on where it was");
    let again = open(&storage).await;
    assert_eq!(state(&again), state(&machine));
}

#[tokio::test(start_paused = true)]
async fn what_a_failed_disk_has_kept_is_applied_when_the_log_is_opened_again() {
    let (storage, rig) = Rig::new();
    let storage: Arc<dyn Storage> = storage;
    let machine = open(&storage).await;
    machine.submit((5, 0)).await.unwrap();
    rig.fail("doubt __minikafka_test");
    let unknown = machine.submit((6, 0)).await.unwrap_err();
    assert!(matches!(unknown, Error::OutcomeUnknown { .. }), "{unknown}");
    assert_eq!(machine.read(|adder| adder.sum), 5, "nobody knows yet");
    rig.mend("doubt __minikafka_test");
    assert_eq!(machine.submit((7, 0)).await.unwrap(), 18);
    assert_eq!(state(&open(&storage).await), state(&machine));
}

#[tokio::test]
async fn a_snapshot_that_fails_stops_nothing() {
    let (storage, rig) = Rig::new();
    let storage: Arc<dyn Storage> = storage;
    let machine = open(&storage).await;
    rig.fail("blob __minikafka_test");
    machine.submit((5, 0)).await.unwrap();
    assert!(machine.snapshot().await.is_err());
    submit_much(&machine, 150).await;
    assert_eq!(log(&storage).1, 0, "nothing is trimmed without a snapshot");
    rig.mend("blob __minikafka_test");
    machine.snapshot().await.unwrap();
    assert_eq!(log(&storage).1, 151);
    assert_eq!(state(&open(&storage).await), state(&machine));
}

#[tokio::test]
async fn a_snapshot_without_its_trim_is_enough() {
    let (storage, rig) = Rig::new();
    let storage: Arc<dyn Storage> = storage;
    let machine = open(&storage).await;
    machine.submit((5, 0)).await.unwrap();
    machine.submit((6, 0)).await.unwrap();
    rig.fail("trim __minikafka_test");
    assert!(machine.snapshot().await.is_err());
    machine.submit((7, 0)).await.unwrap();
    assert_eq!(state(&open(&storage).await), state(&machine), "nothing is applied twice");
}

#[tokio::test]
async fn what_a_later_version_has_written_is_not_guessed_at() {
    let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new(0));
    #[derive(Clone)]
    struct Later;
    impl StateMachine for Later {
        type Command = ();
        type Output = ();
        fn apply(&mut self, (): (), _: Millis) {}
        fn encode((): &()) -> Vec<u8> {
            vec![1]
        }
        fn decode(_: &[u8]) -> Result<(), FormatError> {
            Ok(())
        }
        fn snapshot(&self) -> Vec<u8> {
            Vec::new()
        }
        fn restore(&mut self, _: &[u8]) -> Result<(), FormatError> {
            Ok(())
        }
    }
    let clock = Arc::new(AppendClock::start(ManualClock::at(5), None, None));
    let later = Machine::open(storage.clone(), id(), Later, clock).await.unwrap();
    later.submit(()).await.unwrap();
    later.close().await;
    let error = try_open(&storage).await.unwrap_err();
    assert!(error.to_string().contains("command 1: no number"), "{error}");
}

/// Every file of the log but its manifest, spoiled in the middle.
fn spoil(dir: &Path, is_it: impl Fn(&str) -> bool) -> usize {
    let logs = std::fs::read_dir(dir.join("logs")).unwrap().map(|log| log.unwrap().path());
    let files = logs.flat_map(|log| std::fs::read_dir(log).unwrap().map(|file| file.unwrap().path()));
    let mut spoiled = 0;
    for file in files.filter(|file| is_it(&file.file_name().unwrap().to_string_lossy())) {
        let mut content = std::fs::read(&file).unwrap();
        for at in (20..content.len()).step_by(64) {
            content[at] ^= 0x55;
        }
        std::fs::write(&file, content).unwrap();
        spoiled += 1;
    }
    spoiled
}

#[tokio::test]
async fn damage_is_told_and_what_comes_after_it_counts() {
    for file in ["manifest", ".log", "blob-snapshot"] {
        let dir = tempfile::tempdir().unwrap();
        let storage = files(dir.path());
        let machine = open(&storage).await;
        machine.submit((5, 0)).await.unwrap();
        machine.submit((6, 2000)).await.unwrap();
        machine.snapshot().await.unwrap();
        machine.submit((7, 2000)).await.unwrap();
        machine.submit((8, 2000)).await.unwrap();
        machine.close().await;
        storage.close().unwrap();
        drop(storage);
        assert!(spoil(dir.path(), |name| name.ends_with(file)) > 0);
        let storage = files(dir.path());
        let machine = open(&storage).await;
        assert!(machine.has_losses(), "{file}");
        let left = machine.read(|adder| adder.sum);
        assert!(left < 26, "{file}: {left}");
        machine.submit((100, 0)).await.unwrap();
        machine.snapshot().await.unwrap();
        machine.submit((1000, 0)).await.unwrap();
        machine.close().await;
        storage.close().unwrap();
        drop(storage);
        let storage = files(dir.path());
        let machine = open(&storage).await;
        assert!(!machine.has_losses(), "{file}: a snapshot ends it");
        assert_eq!(machine.read(|adder| adder.sum), left + 1100, "{file}");
        machine.close().await;
        storage.close().unwrap();
    }
}
