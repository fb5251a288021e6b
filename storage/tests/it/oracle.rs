//! The filesystem backend against the memory backend: random histories, the same answers.

use minikafka_record::Offset;
use minikafka_storage::{
    Bounds, Log, Seek,
    filesystem::{Options, SyncPolicy},
};
use proptest::{collection::vec, prelude::*};

use crate::backend::{Backend, append, entry_at};

#[derive(Clone, Debug)]
enum Step {
    Append { messages: Vec<u8>, epoch: u64, wait_ms: i64 },
    Trim { part: u8 },
    Truncate { part: u8 },
    Crash,
    Close,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        10 => (vec(any::<u8>(), 0..5), 0..2u64, 0..3i64)
            .prop_map(|(messages, epoch, wait_ms)| Step::Append { messages, epoch, wait_ms }),
        2 => any::<u8>().prop_map(|part| Step::Trim { part }),
        1 => any::<u8>().prop_map(|part| Step::Truncate { part }),
        1 => Just(Step::Crash),
        1 => Just(Step::Close),
    ]
}

/// A value between `low` and `high`, both included.
fn between(low: u64, high: u64, part: u8) -> u64 {
    low + (high - low) * u64::from(part) / 255
}

fn apply(backend: &mut Backend, step: &Step, clock: i64, epoch: u64) {
    let log = backend.log("t");
    let bounds = log.bounds();
    match step {
        Step::Append { messages, .. } => {
            let messages: Vec<Vec<u8>> = messages.iter().map(|len| vec![*len; usize::from(*len)]).collect();
            let messages: Vec<&[u8]> = messages.iter().map(Vec::as_slice).collect();
            let next = entry_at(&*log, clock, epoch, &messages);
            append(&*log, vec![next]).unwrap();
        }
        Step::Trim { part } => {
            log.trim(Offset::new(between(bounds.start.get(), bounds.end.get(), *part))).unwrap();
        }
        Step::Truncate { part } => {
            // What is trimmed is committed, so nobody truncates below the start.
            let first = bounds.removed.next_index + u64::from(bounds.start > Offset::ZERO);
            if first <= bounds.next_index {
                log.truncate(between(first, bounds.next_index, *part)).unwrap();
            }
        }
        Step::Crash | Step::Close if backend.is_memory() => {}
        Step::Crash => {
            drop(log);
            backend.crash();
        }
        Step::Close => {
            drop(log);
            backend.close_and_open();
        }
    }
}

/// Bounds, but for what the backends may differ in.
fn comparable(bounds: Bounds) -> Bounds {
    Bounds { durable: Offset::ZERO, size_bytes: 0, last_append_time: None, ..bounds }
}

pub(crate) fn assert_same(oracle: &dyn Log, log: &dyn Log) {
    let bounds = oracle.bounds();
    assert_eq!(comparable(bounds), comparable(log.bounds()));
    for bytes_max in [0, 150, 10_000] {
        let mut next = bounds.start;
        while next < bounds.end {
            let expected = oracle.read(next, bounds.end, bytes_max).unwrap();
            let found = log.read(next, bounds.end, bytes_max).unwrap();
            // A read may end earlier, at the end of a segment.
            assert!(!found.is_empty() && expected.starts_with(&found), "at {next}");
            next = found.last().unwrap().end_offset();
        }
        let mut index = bounds.removed.next_index;
        while index < bounds.next_index {
            let expected = oracle.entries(index..bounds.next_index, bytes_max).unwrap();
            let found = log.entries(index..bounds.next_index, bytes_max).unwrap();
            assert!(!found.is_empty() && expected.starts_with(&found), "at index {index}");
            index = found.last().unwrap().index + 1;
        }
    }
    for time in -1..30 {
        for seek in [Seek::AppendedAfter(time), Seek::RecordTimestamp(time)] {
            assert_eq!(oracle.seek(seek).unwrap(), log.seek(seek).unwrap(), "{seek:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn the_same_history_gives_the_same_answers(
        steps in vec(step(), 1..40),
        segment_bytes in 300..3000u64,
        tail_bytes in 0..2000u64,
        sync in prop_oneof![3 => Just(SyncPolicy::Always), 1 => Just(SyncPolicy::Never)],
        small_round_bytes in prop_oneof![Just(0), 0..1000u64],
        direct_bytes in prop_oneof![Just(0), Just(u64::MAX), 0..500u64],
    ) {
        let mut oracle = Backend::memory();
        let mut backend = Backend::filesystem(Options { sync, segment_bytes, tail_bytes, open_files: 2, journal_bytes: 32 * 1024, direct_bytes, small_round_bytes, early_bytes: 400, ..Options::default() });
        let (mut clock, mut epoch) = (0, 0);
        for step in &steps {
            if let Step::Append { wait_ms, epoch: newer, .. } = step {
                clock += wait_ms;
                epoch += newer;
            }
            apply(&mut oracle, step, clock, epoch);
            apply(&mut backend, step, clock, epoch);
            assert_same(&*oracle.log("t"), &*backend.log("t"));
        }
    }
}
