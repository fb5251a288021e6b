//! The twelve cases that the original MiniKafka asks of a store, in its terms: store, poll, remove old
//! messages.

use bytes::Bytes;
use minikafka_record::Offset;
use minikafka_storage::Seek;

use crate::backend::{Backend, append_message, id, read_values};

/// The original's store over ours.
struct Store(Backend);

impl Store {
    fn store(&self, topic: &str, time: i64, message: &str) -> u64 {
        append_message(&*self.0.log(topic), time, message.as_bytes())
    }

    /// Messages with numbers from `read_from` on, and where to go on; `None` for an unknown topic.
    fn poll(&self, topic: &str, read_from: u64) -> Option<(Vec<Bytes>, u64)> {
        self.0.storage.list().unwrap().contains(&id(topic)).then_some(())?;
        let log = self.0.log(topic);
        let bounds = log.bounds();
        let from = Offset::from_number(read_from).unwrap_or_default().max(bounds.start);
        if from >= bounds.end {
            return Some((Vec::new(), read_from));
        }
        Some((read_values(&*log, from, 1), bounds.end.number()))
    }

    fn remove_old(&self, time: i64) {
        for id in self.0.storage.list().unwrap() {
            let log = self.0.storage.open(&id).unwrap();
            let to =
                log.seek(Seek::AppendedAfter(time)).unwrap().map_or(log.bounds().end, |place| place.offset);
            log.trim(to).unwrap();
        }
    }

    fn texts(&self, topic: &str) -> Vec<String> {
        let (messages, _) = self.poll(topic, 1).unwrap();
        messages.iter().map(|message| String::from_utf8_lossy(message).into_owned()).collect()
    }
}

fn on_all(test: impl Fn(&Store)) {
    for (name, backend) in Backend::all() {
        println!("backend: {name}");
        test(&Store(backend));
    }
}

#[test]
fn stores_to_a_virgin_store() {
    on_all(|store| assert_eq!(store.store("a", 1, "hello"), 1));
}

#[test]
fn stores_to_an_existing_topic() {
    on_all(|store| {
        store.store("a", 1, "one");
        assert_eq!(store.store("a", 1, "two"), 2);
        assert_eq!(store.texts("a"), ["one", "two"]);
    });
}

#[test]
fn numbers_each_topic_by_itself() {
    on_all(|store| {
        assert_eq!((store.store("a", 1, "x"), store.store("a", 1, "x")), (1, 2));
        assert_eq!(store.store("b", 1, "x"), 1);
    });
}

#[test]
fn removes_across_topics() {
    on_all(|store| {
        for topic in ["a", "b"] {
            store.store(topic, 10, "old");
            store.store(topic, 20, "new");
        }
        store.remove_old(10);
        assert_eq!((store.texts("a"), store.texts("b")), (vec!["new".to_owned()], vec!["new".to_owned()]));
    });
}

#[test]
fn removes_nothing_from_an_empty_store() {
    on_all(|store| {
        store.remove_old(10);
        assert!(store.0.storage.list().unwrap().is_empty());
    });
}

#[test]
fn removes_nothing_when_none_is_old_enough() {
    on_all(|store| {
        store.store("a", 10, "x");
        store.remove_old(9);
        assert_eq!(store.texts("a"), ["x"]);
    });
}

#[test]
fn removes_all_when_all_are_old_enough() {
    on_all(|store| {
        store.store("a", 10, "x");
        store.store("a", 11, "y");
        store.remove_old(11);
        assert_eq!(store.texts("a"), Vec::<String>::new());
    });
}

#[test]
fn removes_some_when_some_are_old_enough() {
    on_all(|store| {
        (1..=30).for_each(|time| _ = store.store("a", time, &format!("message {time}")));
        store.remove_old(17);
        let left: Vec<String> = (18..=30).map(|time| format!("message {time}")).collect();
        assert_eq!(store.texts("a"), left);
    });
}

#[test]
fn knows_an_unknown_topic() {
    on_all(|store| {
        store.store("a", 1, "x");
        assert!(store.poll("b", 1).is_none());
    });
}

#[test]
fn polls_an_emptied_topic() {
    on_all(|store| {
        store.store("a", 1, "x");
        store.remove_old(1);
        assert_eq!(store.poll("a", 1), Some((vec![], 1)));
    });
}

#[test]
fn advances_the_number_to_read_from() {
    on_all(|store| {
        (0..5).for_each(|_| _ = store.store("a", 1, "x"));
        assert_eq!(store.poll("a", 1).unwrap().1, 6);
        assert_eq!(store.poll("a", 3).unwrap(), (vec![Bytes::from_static(b"x"); 3], 6));
        assert_eq!(store.poll("a", 6), Some((vec![], 6)));
        assert_eq!(store.poll("a", 9), Some((vec![], 9)));
    });
}

#[test]
fn numbers_go_on_after_removals() {
    on_all(|store| {
        store.store("a", 1, "x");
        store.store("a", 1, "x");
        store.remove_old(1);
        assert_eq!(store.store("a", 2, "y"), 3);
        assert_eq!(store.texts("a"), ["y"]);
    });
}
