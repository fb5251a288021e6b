//! The rules, one by one, and against a simpler way to say them.

use super::*;

const EXPIRY_MS: Millis = 1000;

/// A partition of batches: producers, and the end of its log.
struct Partition {
    producers: Producers<&'static str>,
    end: u64,
    now: Millis,
}

fn empty() -> Partition {
    Partition { producers: Producers::new(EXPIRY_MS), end: 0, now: 0 }
}

fn stamp(id: i64, epoch: i16, sequence: i32) -> ProducerStamp {
    ProducerStamp { id, epoch, sequence: Sequence::new(sequence).unwrap() }
}

impl Partition {
    /// Judges a batch; a new one is on its way then.
    fn send(&mut self, stamp: ProducerStamp, count: u32) -> (EntryId, Admission<&'static str>) {
        let entry = self.producers.begin_entry();
        let admission =
            self.producers.admit(stamp, count, Offset::new(self.end), self.now, entry, "somebody");
        if matches!(admission, Admission::New(_)) {
            self.end += u64::from(count);
        }
        (entry, admission)
    }

    /// Sends a batch and stores it. Says what became of it.
    fn store(&mut self, id: i64, epoch: i16, sequence: i32, count: u32) -> String {
        let (entry, admission) = self.send(stamp(id, epoch, sequence), count);
        self.producers.complete(entry, &[id], true);
        show(&admission)
    }

    fn show(&mut self, id: i64, epoch: i16, sequence: i32, count: u32) -> String {
        show(&self.send(stamp(id, epoch, sequence), count).1)
    }
}

fn show(admission: &Admission<&'static str>) -> String {
    match admission {
        Admission::New(_) => "new".to_owned(),
        Admission::Stored(_, place) => format!("stored at {}", place.base_offset),
        Admission::OnItsWay => "on its way".to_owned(),
        Admission::Rejected(_, Rejection::Unknown) => "unknown".to_owned(),
        Admission::Rejected(_, Rejection::Fenced { current }) => format!("fenced by {current}"),
        Admission::Rejected(_, Rejection::OutOfSequence { expected }) => format!("{expected} is next"),
    }
}

#[test]
fn batches_follow_each_other_and_the_last_five_may_come_again() {
    let mut partition = empty();
    for batch in 0..7 {
        assert_eq!(partition.store(1, 0, batch * 10, 10), "new");
    }
    for batch in 2..7 {
        assert_eq!(partition.store(1, 0, batch * 10, 10), format!("stored at {}", batch * 10));
    }
    for (sequence, count) in [(0, 10), (10, 10), (60, 9), (61, 9), (71, 1), (80, 10)] {
        assert_eq!(partition.store(1, 0, sequence, count), "70 is next", "{sequence} {count}");
    }
    assert_eq!(partition.store(1, 0, 70, 1), "new");
}

#[test]
fn who_is_not_known_begins_at_0() {
    let mut partition = empty();
    assert_eq!(partition.store(1, 0, 5, 1), "unknown");
    assert_eq!(partition.store(1, 3, 0, 1), "new");
    assert_eq!(partition.store(2, 0, 1, 1), "unknown", "another one is another one");
}

#[test]
fn a_new_epoch_begins_at_0_and_fences_the_old_one() {
    let mut partition = empty();
    partition.store(1, 4, 0, 3);
    assert_eq!(partition.store(1, 5, 3, 1), "0 is next");
    assert_eq!(partition.store(1, 7, 0, 3), "new");
    assert_eq!(partition.store(1, 4, 0, 3), "fenced by 7");
    assert_eq!(partition.store(1, 7, 0, 3), "stored at 3", "not that of epoch 4");
    // One that is on its way fences, too.
    assert_eq!(partition.show(1, 8, 0, 1), "new");
    assert_eq!(partition.show(1, 7, 3, 1), "fenced by 8");
}

#[test]
fn sequences_go_on_at_0_behind_the_largest() {
    let mut partition = empty();
    partition.store(1, 0, 0, 2);
    let last = Place {
        sequence: Sequence::new(i32::MAX - 1).unwrap(),
        count: 2,
        base_offset: Offset::new(50),
        append_time: 0,
    };
    partition.producers.observe(stamp(1, 0, i32::MAX - 1), last);
    assert_eq!(partition.store(1, 0, 1, 1), "0 is next");
    assert_eq!(partition.store(1, 0, 0, 1), "new");
    // A batch may reach over the end.
    let over = Place { sequence: Sequence::new(i32::MAX).unwrap(), count: 3, ..last };
    partition.producers.observe(stamp(2, 0, i32::MAX), over);
    assert_eq!(partition.store(2, 0, 2, 1), "new");
}

#[test]
fn what_is_on_its_way_counts_and_who_sends_it_again_waits_for_it() {
    let mut partition = empty();
    let (first, _) = partition.send(stamp(1, 0, 0), 2);
    let (second, admission) = partition.send(stamp(1, 0, 2), 2);
    assert_eq!(show(&admission), "new");
    assert_eq!(partition.show(1, 0, 0, 2), "on its way");
    assert_eq!(partition.show(1, 0, 2, 2), "on its way");
    assert_eq!(partition.show(1, 0, 2, 2), "on its way");
    let completed = partition.producers.complete(first, &[1], true);
    assert_eq!((completed[0].place.base_offset, completed[0].waiting.len()), (Offset::new(0), 1));
    let completed = partition.producers.complete(second, &[1], true);
    assert_eq!((completed[0].place.base_offset, completed[0].waiting.len()), (Offset::new(2), 2));
    assert_eq!(partition.show(1, 0, 2, 2), "stored at 2");
}

#[test]
fn what_fails_was_never_there() {
    let mut partition = empty();
    partition.store(1, 0, 0, 1);
    let (second, _) = partition.send(stamp(1, 0, 1), 1);
    let (third, _) = partition.send(stamp(1, 1, 0), 1);
    let (new, _) = partition.send(stamp(2, 0, 0), 1);
    partition.show(1, 0, 1, 1);
    for (entry, id) in [(second, 1), (third, 1), (new, 2)] {
        partition.producers.complete(entry, &[id], false);
    }
    assert_eq!(partition.show(1, 0, 0, 1), "stored at 0");
    assert_eq!(partition.show(1, 0, 1, 1), "new", "its epoch is the old one again");
    assert_eq!(partition.show(2, 0, 1, 1), "unknown");
}

#[test]
fn more_than_five_on_their_way_that_fail_leave_the_last_five_that_are_stored() {
    let mut partition = empty();
    for batch in 0..5 {
        partition.store(1, 0, batch, 1);
    }
    let entries: Vec<_> = (5..15).map(|batch| partition.send(stamp(1, 0, batch), 1).0).collect();
    for entry in entries {
        partition.producers.complete(entry, &[1], false);
    }
    for batch in 0..5 {
        assert_eq!(partition.show(1, 0, batch, 1), format!("stored at {batch}"));
    }
    assert_eq!(partition.show(1, 0, 5, 1), "new");
}

#[test]
fn what_the_log_lost_is_forgotten_before_its_completion_says_so() {
    let mut partition = empty();
    partition.store(1, 0, 0, 4);
    let (lost, _) = partition.send(stamp(1, 0, 4), 4);
    partition.show(1, 0, 4, 4);
    let cut = partition.producers.cut(Offset::new(4));
    assert_eq!(cut[0].waiting.len(), 1);
    partition.end = 4;
    let (again, admission) = partition.send(stamp(1, 0, 4), 4);
    assert_eq!(show(&admission), "new");
    assert!(partition.producers.complete(lost, &[1], false).is_empty());
    assert_eq!(partition.show(1, 0, 4, 4), "on its way", "the late failure is not about this one");
    partition.producers.complete(again, &[1], true);
    assert_eq!(partition.show(1, 0, 4, 4), "stored at 4");
}

#[test]
fn the_idle_expire_and_those_on_their_way_do_not() {
    let mut partition = empty();
    partition.store(1, 0, 0, 1);
    let _on_its_way = partition.send(stamp(2, 0, 0), 1);
    partition.now = EXPIRY_MS - 1;
    assert_eq!(partition.store(1, 0, 1, 1), "new");
    partition.now += EXPIRY_MS;
    assert_eq!(partition.show(1, 0, 2, 1), "unknown");
    assert_eq!(partition.show(2, 0, 1, 1), "new");
}

#[test]
fn their_number_is_bounded_and_the_longest_idle_goes() {
    let mut partition = empty();
    for id in 0..PRODUCERS_MAX as i64 {
        partition.store(id, 0, 0, 1);
        partition.now += i64::from(id == 0);
    }
    partition.store(0, 0, 1, 1);
    partition.store(-1 + (1 << 40), 0, 0, 1);
    assert_eq!(partition.producers.by_id.len(), PRODUCERS_MAX);
    assert_eq!(partition.show(0, 0, 2, 1), "new");
}

#[test]
fn a_snapshot_and_the_log_behind_it_say_the_same() {
    let mut partition = empty();
    for batch in 0..7 {
        partition.store(1, 2, batch, 1);
    }
    let _on_its_way = partition.send(stamp(3, 0, 0), 1);
    partition.store(1, 2, 7, 1);
    let snapshot = partition.producers.snapshot(7, Offset::new(7));
    assert_eq!(snapshot.producers.len(), 1, "what is on its way is not in it");
    let mut restored = empty();
    (restored.end, restored.now) = (9, 0);
    restored.producers.restore(snapshot.clone(), Offset::new(9));
    // Known already.
    restored.producers.observe(
        stamp(1, 2, 7),
        Place { sequence: Sequence::new(7).unwrap(), count: 1, base_offset: Offset::new(8), append_time: 0 },
    );
    for batch in 3..7 {
        assert_eq!(restored.show(1, 2, batch, 1), format!("stored at {batch}"));
    }
    assert_eq!(restored.show(1, 2, 7, 1), "stored at 8");
    assert_eq!(restored.show(1, 2, 2, 1), "8 is next");
    // The log is shorter than the snapshot says.
    let mut cut = empty();
    cut.producers.restore(snapshot, Offset::new(5));
    assert_eq!(cut.show(1, 2, 5, 1), "new");
}
