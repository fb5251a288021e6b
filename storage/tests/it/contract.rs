//! What every backend must do. One case, one promise of the traits.

use minikafka_record::Offset;
use minikafka_storage::{Place, Removed, Seek, StorageError};

use crate::backend::{Backend, append, append_message, begin_append, entry, entry_at, id, read_values};

fn on_all(test: impl Fn(&mut Backend)) {
    for (name, mut backend) in Backend::all() {
        println!("backend: {name}");
        test(&mut backend);
    }
}

fn offset(value: u64) -> Offset {
    Offset::new(value)
}

#[test]
fn an_appended_entry_is_readable_at_once_and_durable_when_it_completes() {
    on_all(|backend| {
        let log = backend.log("t");
        let first = entry_at(&*log, 5, 3, &[b"a", b"b"]);
        let wait = begin_append(&*log, vec![first.clone()]);
        let batches = log.read_tail(offset(0), offset(2), 100).unwrap().expect("in memory");
        assert_eq!(batches.len(), 1);
        assert_eq!(batches[0].bytes(), &first.payload);
        wait.recv().unwrap().unwrap();
        let bounds = log.bounds();
        assert_eq!((bounds.start, bounds.end, bounds.next_index), (offset(0), offset(2), 1));
        assert_eq!((bounds.last_epoch, bounds.last_append_time), (3, Some(5)));
        assert_eq!(log.entries(0..9, 100).unwrap(), [first]);
    });
}

#[test]
fn what_does_not_continue_the_log_is_refused() {
    on_all(|backend| {
        let log = backend.log("t");
        append(&*log, vec![entry(0, offset(0), 10, 2, &[b"a"])]).unwrap();
        for wrong in [
            entry(2, offset(1), 10, 2, &[b"x"]),
            entry(0, offset(1), 10, 2, &[b"x"]),
            entry(1, offset(2), 10, 2, &[b"x"]),
            entry(1, offset(1), 10, 1, &[b"x"]),
            entry(1, offset(1), 9, 2, &[b"x"]),
        ] {
            let outcome = append(&*log, vec![wrong.clone()]);
            assert!(matches!(outcome, Err(StorageError::Discontinuous { .. })), "{wrong:?}: {outcome:?}");
        }
        append(&*log, vec![entry(1, offset(1), 10, 2, &[b"b"]), entry(2, offset(2), 11, 3, &[b"c"])])
            .unwrap();
        assert_eq!(read_values(&*log, offset(0), 1), ["a", "b", "c"]);
    });
}

#[test]
fn completions_come_in_order() {
    on_all(|backend| {
        let log = backend.log("t");
        let (done, completed) = std::sync::mpsc::channel();
        for number in 0..200 {
            let done = done.clone();
            let next = entry_at(&*log, 1, 0, &[&[b'x'; 50]]);
            log.append(vec![next], Box::new(move |outcome| done.send((number, outcome.is_ok())).unwrap()));
        }
        drop(done);
        let order: Vec<_> = completed.iter().collect();
        assert_eq!(order, (0..200).map(|number| (number, true)).collect::<Vec<_>>());
    });
}

#[test]
fn reading_gives_whole_batches_and_at_least_one() {
    on_all(|backend| {
        let log = backend.log("t");
        for _ in 0..10 {
            let next = entry_at(&*log, 1, 0, &[b"a", b"b", b"c"]);
            append(&*log, vec![next]).unwrap();
        }
        let len = log.read(offset(0), offset(3), 1).unwrap()[0].bytes().len();
        let count = |from, upper, bytes| log.read(offset(from), offset(upper), bytes).unwrap().len();
        assert_eq!(count(0, 30, 0), 1, "at least one");
        assert_eq!(count(0, 30, 1), 1);
        assert!((1..=2).contains(&count(0, 30, 2 * len)), "no more than fit");
        assert_eq!(count(4, 6, 10_000), 1, "nothing at or beyond the upper bound");
        assert_eq!(
            log.read(offset(4), offset(30), 1).unwrap()[0].base_offset(),
            offset(3),
            "the batch that holds it"
        );
        assert!(log.read(offset(30), offset(30), 1).unwrap().is_empty(), "at the end");
        assert!(
            matches!(log.read(offset(31), offset(31), 1), Err(StorageError::OutOfRange { .. })),
            "beyond the end"
        );
    });
}

#[test]
fn internal_entries_take_an_index_and_no_offset() {
    on_all(|backend| {
        let log = backend.log("t");
        for messages in [&[][..], &[b"a".as_slice()], &[], &[], &[b"b", b"c"]] {
            let next = entry_at(&*log, 1, 0, messages);
            append(&*log, vec![next]).unwrap();
        }
        assert_eq!((log.bounds().next_index, log.bounds().end), (5, offset(3)));
        assert_eq!(read_values(&*log, offset(0), 1), ["a", "b", "c"]);
        let indexes: Vec<u64> =
            log.entries(1..4, usize::MAX).unwrap().iter().map(|entry| entry.index).collect();
        assert!(indexes.len() <= 3 && indexes.first() == Some(&1), "{indexes:?}");
    });
}

#[test]
fn a_trim_may_lie_inside_an_entry() {
    on_all(|backend| {
        let log = backend.log("t");
        for time in 0..20 {
            let next = entry_at(&*log, time, time as u64, &[b"a", b"b"]);
            append(&*log, vec![next]).unwrap();
        }
        log.trim(offset(7)).unwrap();
        let bounds = log.bounds();
        assert_eq!((bounds.start, bounds.removed), (offset(7), Removed { next_index: 3, epoch: 2 }));
        assert_eq!(log.read(offset(7), offset(40), 1).unwrap()[0].base_offset(), offset(6));
        assert!(matches!(log.read(offset(6), offset(40), 1), Err(StorageError::OutOfRange { .. })));
        assert!(matches!(log.entries(2..9, 1), Err(StorageError::IndexOutOfRange { .. })));
        log.trim(offset(3)).unwrap();
        assert_eq!(log.bounds().start, offset(7), "never goes back");
        log.trim(offset(40)).unwrap();
        let bounds = log.bounds();
        assert_eq!((bounds.start, bounds.end), (offset(40), offset(40)));
        assert_eq!(bounds.removed, Removed { next_index: 20, epoch: 19 });
        assert_eq!(bounds.last_append_time, Some(19), "stays known");
        assert!(log.trim(offset(41)).is_err());
        assert_eq!(append_message(&*log, 19, b"x"), 41);
    });
}

#[test]
fn places_are_found_by_time() {
    on_all(|backend| {
        let log = backend.log("t");
        for time in [10, 20, 20, 30, 40] {
            let next = entry_at(&*log, time, 0, &[b"a", b"b"]);
            append(&*log, vec![next]).unwrap();
        }
        let find = |seek| log.seek(seek).unwrap().map(|Place { offset, time }| (offset.get(), time));
        assert_eq!(find(Seek::AppendedAfter(9)), Some((0, 10)));
        assert_eq!(find(Seek::AppendedAfter(10)), Some((2, 20)));
        assert_eq!(find(Seek::AppendedAfter(20)), Some((6, 30)));
        assert_eq!(find(Seek::AppendedAfter(40)), None);
        assert_eq!(find(Seek::Offset(Offset::ZERO)), Some((0, 10)));
        assert_eq!(find(Seek::Offset(Offset::new(3))), Some((3, 20)));
        assert_eq!(find(Seek::Offset(Offset::new(6))), Some((6, 30)));
        assert_eq!(find(Seek::Offset(Offset::new(1000))), None);
        assert_eq!(find(Seek::RecordTimestamp(0)), Some((0, 10)));
        assert_eq!(find(Seek::RecordTimestamp(20)), Some((2, 20)));
        assert_eq!(find(Seek::RecordTimestamp(21)), Some((6, 30)));
        assert_eq!(find(Seek::RecordTimestamp(41)), None);
        log.trim(offset(5)).unwrap();
        assert_eq!(find(Seek::AppendedAfter(0)), Some((5, 20)));
        assert_eq!(find(Seek::RecordTimestamp(0)), Some((5, 20)));
    });
}

#[test]
fn a_truncation_removes_a_suffix_and_fails_its_completions() {
    on_all(|backend| {
        let log = backend.log("t");
        for epoch in 0..20 {
            let next = entry_at(&*log, 1, epoch, &[b"a", b"b"]);
            append(&*log, vec![next]).unwrap();
        }
        let wait = begin_append(&*log, vec![entry_at(&*log, 1, 20, &[b"c"])]);
        log.truncate(7).unwrap();
        // It may have been durable before it was removed.
        assert!(matches!(wait.recv().unwrap(), Ok(()) | Err(StorageError::Truncated)));
        let bounds = log.bounds();
        assert_eq!((bounds.next_index, bounds.end, bounds.last_epoch), (7, offset(14), 6));
        log.truncate(7).unwrap();
        append(&*log, vec![entry_at(&*log, 2, 9, &[b"new"])]).unwrap();
        backend.crash();
        let log = backend.log("t");
        let values = read_values(&*log, offset(12), 1);
        assert_eq!(values, ["a", "b", "new"]);
        log.trim(offset(4)).unwrap();
        assert!(matches!(log.truncate(1), Err(StorageError::IndexOutOfRange { .. })));
        log.truncate(2).unwrap();
        assert_eq!(log.bounds().end, offset(4));
        append(&*log, vec![entry_at(&*log, 2, 9, &[b"newer"])]).unwrap();
        assert_eq!(read_values(&*log, offset(4), 1), ["newer"]);
    });
}

#[test]
fn a_reset_starts_over_elsewhere() {
    on_all(|backend| {
        let log = backend.log("t");
        (0..9).for_each(|time| _ = append_message(&*log, time, b"old"));
        log.reset(Removed { next_index: 100, epoch: 4 }, offset(1000)).unwrap();
        let bounds = log.bounds();
        assert_eq!((bounds.start, bounds.end, bounds.next_index), (offset(1000), offset(1000), 100));
        assert_eq!((bounds.last_epoch, bounds.removed), (4, Removed { next_index: 100, epoch: 4 }));
        backend.crash();
        let log = backend.log("t");
        append(&*log, vec![entry(100, offset(1000), 1, 4, &[b"new"])]).unwrap();
        // Lower than before, too.
        log.reset(Removed { next_index: 3, epoch: 1 }, offset(5)).unwrap();
        append(&*log, vec![entry(3, offset(5), 1, 1, &[b"newest"])]).unwrap();
        backend.crash();
        assert_eq!(read_values(&*backend.log("t"), offset(5), 1), ["newest"]);
    });
}

#[test]
fn blobs_are_kept_and_replaced_as_a_whole() {
    on_all(|backend| {
        let storage = backend.storage.clone();
        assert!(matches!(storage.load_blob(&id("t"), "vote"), Err(StorageError::NotFound { .. })));
        let log = backend.log("t");
        assert_eq!(storage.load_blob(&id("t"), "vote").unwrap(), None);
        drop(begin_append(&*log, vec![entry_at(&*log, 1, 0, &[b"a"])]));
        storage.store_blob(&id("t"), "vote", b"one").unwrap();
        storage.store_blob(&id("t"), "vote", b"").unwrap();
        storage.store_blob(&id("t"), "vote", b"three").unwrap();
        storage.store_blob(&id("t"), "snapshot", b"s").unwrap();
        drop((storage, log));
        backend.crash();
        assert_eq!(backend.storage.load_blob(&id("t"), "vote").unwrap().unwrap(), "three");
        assert_eq!(backend.storage.load_blob(&id("t"), "snapshot").unwrap().unwrap(), "s");
        assert_eq!(read_values(&*backend.log("t"), offset(0), 1), ["a"]);
    });
}

#[test]
fn a_removed_log_is_gone_and_says_so() {
    on_all(|backend| {
        let log = backend.log("t");
        append_message(&*log, 1, b"x");
        backend.log("u");
        backend.storage.remove(&id("t")).unwrap();
        backend.storage.remove(&id("t")).unwrap();
        assert_eq!(backend.storage.list().unwrap(), [id("u")]);
        let outcome = append(&*log, vec![entry(1, offset(1), 1, 0, &[b"y"])]);
        assert!(matches!(outcome, Err(StorageError::NotFound { .. })), "{outcome:?}");
        assert!(matches!(log.read(offset(0), offset(1), 1), Err(StorageError::NotFound { .. })));
        drop(log);
        backend.crash();
        assert_eq!(backend.storage.list().unwrap(), [id("u")]);
        assert_eq!(append_message(&*backend.log("t"), 1, b"again"), 1);
    });
}

#[test]
fn after_a_restart_everything_is_there_and_numbers_go_on() {
    on_all(|backend| {
        for round in 0..4u64 {
            let log = backend.log("t");
            for time in 0..7 {
                append_message(&*log, (round * 10 + time) as i64, format!("{round} {time}").as_bytes());
            }
            let before = log.bounds();
            drop(log);
            if round % 2 == 0 {
                backend.crash();
            } else {
                backend.close_and_open();
            }
            if backend.is_memory() {
                return;
            }
            let after = backend.log("t").bounds();
            assert_eq!(
                (before.start, before.end, before.next_index),
                (after.start, after.end, after.next_index)
            );
            assert_eq!(
                (before.last_epoch, before.last_append_time),
                (after.last_epoch, after.last_append_time)
            );
            assert_eq!(after.durable, after.end, "what is served after a restart is durable");
        }
        assert_eq!(read_values(&*backend.log("t"), offset(0), 1).len(), 28);
    });
}

#[test]
fn a_closed_storage_takes_nothing_more() {
    on_all(|backend| {
        let log = backend.log("t");
        append_message(&*log, 1, b"x");
        backend.storage.close().unwrap();
        let outcome = append(&*log, vec![entry(1, offset(1), 1, 0, &[b"y"])]);
        assert!(matches!(outcome, Err(StorageError::Closed)), "{outcome:?}");
        assert_eq!(read_values(&*log, offset(0), 1), ["x"], "reads go on");
        backend.storage.close().unwrap();
    });
}

#[test]
fn many_logs_may_be_created_at_once_and_each_only_once() {
    on_all(|backend| {
        let storage = backend.storage.clone();
        let opened: Vec<_> = std::thread::scope(|scope| {
            let open = |number: usize| storage.open(&id(&format!("t{}", number % 4))).unwrap();
            let threads: Vec<_> = (0..16).map(|number| scope.spawn(move || open(number))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        for (number, log) in opened.iter().enumerate() {
            assert!(std::ptr::addr_eq(&**log, &*opened[number % 4]), "the same log");
        }
        assert_eq!(storage.list().unwrap().len(), 4);
    });
}
