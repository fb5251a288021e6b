//! [`Producers`], what a partition knows of its producers, and the rules: Kafka's, but for one that is stricter. A
//! producer that nobody knows begins at sequence 0, or is refused.

use std::{
    collections::{HashMap, VecDeque},
    mem,
};

use minikafka_record::{Offset, ProducerStamp, Sequence};
use minikafka_storage::{Index, Millis};

use super::snapshot::Snapshot;

/// Batches of a producer that are remembered: as many as it may have under way, so that each of them may come
/// again. As in Kafka.
pub(super) const BATCHES_KEPT: usize = 5;
/// Producers that a partition remembers. Each takes up some 300 bytes, so that is 1.5 MB at most; more than that
/// many programs hardly write to one partition within a day.
pub(super) const PRODUCERS_MAX: usize = 5000;

/// A batch that was taken, and where it went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) sequence: Sequence,
    pub(crate) count: u32,
    pub(crate) base_offset: Offset,
    pub(crate) append_time: Millis,
}

impl Place {
    /// The sequence that follows.
    fn next(&self) -> Sequence {
        self.sequence.plus(self.count)
    }

    pub(super) fn last_sequence(&self) -> Sequence {
        self.sequence.plus(self.count.saturating_sub(1))
    }

    pub(super) fn end_offset(&self) -> Offset {
        self.base_offset.plus(self.count.into())
    }

    fn is(&self, sequence: Sequence, count: u32) -> bool {
        self.sequence == sequence && self.count == count
    }
}

/// Which of the entries that a partition has appended since it was opened. Not its index, which may be given twice,
/// when a failure takes an entry off the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EntryId(u64);

/// What is known of a producer.
#[derive(Debug)]
pub(super) struct Producer<W> {
    /// Of what is stored.
    pub(super) epoch: i16,
    /// The last ones, the oldest first. Empty only while the first is on its way.
    pub(super) stored: VecDeque<Place>,
    on_its_way: VecDeque<OnItsWay<W>>,
}

impl<W> Producer<W> {
    fn new() -> Producer<W> {
        Producer { epoch: -1, stored: VecDeque::new(), on_its_way: VecDeque::new() }
    }

    /// Epoch and place of the last batch, stored or on its way.
    fn last(&self) -> Option<(i16, Place)> {
        let on_its_way = self.on_its_way.back().map(|batch| (batch.epoch, batch.place));
        on_its_way.or_else(|| self.stored.back().map(|place| (self.epoch, *place)))
    }

    fn store(&mut self, epoch: i16, place: Place) {
        if epoch != self.epoch {
            self.epoch = epoch;
            self.stored.clear();
        }
        if self.stored.len() == BATCHES_KEPT {
            self.stored.pop_front();
        }
        self.stored.push_back(place);
    }

    fn is_idle(&self) -> bool {
        self.on_its_way.is_empty()
    }

    fn last_append_time(&self) -> Millis {
        self.last().map_or(Millis::MIN, |(_, place)| place.append_time)
    }
}

/// A batch whose entry has not completed.
#[derive(Debug)]
struct OnItsWay<W> {
    entry: EntryId,
    epoch: i16,
    place: Place,
    /// Those who have sent it again meanwhile.
    waiting: Vec<W>,
}

/// What becomes of a batch.
#[derive(Debug)]
pub(crate) enum Admission<W> {
    /// It is new: append it where it was said to go.
    New(W),
    /// It is stored already.
    Stored(W, Place),
    /// It is on its way already; whoever waits is answered with it.
    OnItsWay,
    /// It does not go on from what there is.
    Rejected(W, Rejection),
}

/// Why a batch is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rejection {
    /// Another sequence is next.
    OutOfSequence { expected: Sequence },
    /// Nobody knows the producer, and it does not begin.
    Unknown,
    /// A newer epoch was here.
    Fenced { current: i16 },
}

/// Those who are to be answered when an entry has completed, or was cut off the log.
#[derive(Debug)]
pub(crate) struct Completed<W> {
    pub(crate) place: Place,
    pub(crate) waiting: Vec<W>,
}

/// See the module. `W` is one who waits for an answer.
#[derive(Debug)]
pub(super) struct Producers<W> {
    pub(super) by_id: HashMap<i64, Producer<W>>,
    expiry_ms: Millis,
    /// When those who have expired were looked for last.
    swept_at: Millis,
    next_entry: u64,
}

impl<W> Producers<W> {
    pub(super) fn new(expiry_ms: Millis) -> Producers<W> {
        Producers { by_id: HashMap::new(), expiry_ms, swept_at: Millis::MIN, next_entry: 0 }
    }

    /// Names an entry that is about to be made.
    pub(super) fn begin_entry(&mut self) -> EntryId {
        self.next_entry += 1;
        EntryId(self.next_entry)
    }

    /// Judges a batch that would go to `base_offset` as part of `entry` at `now`. When it is new, it counts as on
    /// its way from here on.
    pub(super) fn admit(
        &mut self,
        stamp: ProducerStamp,
        count: u32,
        base_offset: Offset,
        now: Millis,
        entry: EntryId,
        waiter: W,
    ) -> Admission<W> {
        let ProducerStamp { id, epoch, sequence } = stamp;
        if self.by_id.get(&id).is_some_and(|producer| self.has_expired(producer, now)) {
            self.by_id.remove(&id);
        }
        let Some(producer) = self.by_id.get_mut(&id) else {
            if sequence != Sequence::ZERO {
                return Admission::Rejected(waiter, Rejection::Unknown);
            }
            self.make_room(now);
            let place = Place { sequence, count, base_offset, append_time: now };
            let mut producer = Producer::new();
            producer.on_its_way.push_back(OnItsWay { entry, epoch, place, waiting: Vec::new() });
            self.by_id.insert(id, producer);
            return Admission::New(waiter);
        };
        let Some((current, last)) = producer.last() else {
            return Admission::Rejected(waiter, Rejection::Unknown);
        };
        if epoch < current {
            return Admission::Rejected(waiter, Rejection::Fenced { current });
        }
        if epoch == current {
            let mut on_its_way = producer.on_its_way.iter_mut();
            if let Some(same) = on_its_way.find(|one| one.epoch == epoch && one.place.is(sequence, count)) {
                same.waiting.push(waiter);
                return Admission::OnItsWay;
            }
            let stored = producer.stored.iter().filter(|_| producer.epoch == epoch);
            if let Some(same) = stored.into_iter().find(|place| place.is(sequence, count)) {
                return Admission::Stored(waiter, *same);
            }
        }
        let expected = if epoch == current { last.next() } else { Sequence::ZERO };
        if sequence != expected {
            return Admission::Rejected(waiter, Rejection::OutOfSequence { expected });
        }
        let place = Place { sequence, count, base_offset, append_time: now };
        producer.on_its_way.push_back(OnItsWay { entry, epoch, place, waiting: Vec::new() });
        Admission::New(waiter)
    }

    /// An entry with batches of these producers is stored, or is not and never will be. Returns those who wait
    /// for an answer, too.
    pub(super) fn complete(&mut self, entry: EntryId, ids: &[i64], is_stored: bool) -> Vec<Completed<W>> {
        let mut completed = Vec::new();
        for id in ids {
            let Some(producer) = self.by_id.get_mut(id) else { continue };
            // Cut off the log meanwhile, it is no longer here.
            let at = producer.on_its_way.iter().position(|batch| batch.entry == entry);
            let Some(batch) = at.and_then(|at| producer.on_its_way.remove(at)) else { continue };
            if is_stored {
                producer.store(batch.epoch, batch.place);
            } else if producer.last().is_none() {
                self.by_id.remove(id);
            }
            if !batch.waiting.is_empty() {
                completed.push(Completed { place: batch.place, waiting: batch.waiting });
            }
        }
        completed
    }

    /// The log ends at `end`: what was on its way to a place behind it was taken off by a failure, even if its
    /// completion is still to say so.
    pub(super) fn cut(&mut self, end: Offset) -> Vec<Completed<W>> {
        let mut completed = Vec::new();
        self.by_id.retain(|_, producer| {
            for batch in mem::take(&mut producer.on_its_way) {
                if batch.place.end_offset() <= end {
                    producer.on_its_way.push_back(batch);
                } else if !batch.waiting.is_empty() {
                    completed.push(Completed { place: batch.place, waiting: batch.waiting });
                }
            }
            producer.last().is_some()
        });
        completed
    }

    /// What the log says: a batch that is stored. What is known already changes nothing.
    pub(super) fn observe(&mut self, stamp: ProducerStamp, place: Place) {
        if !self.by_id.contains_key(&stamp.id) {
            self.make_room(place.append_time);
        }
        let producer = self.by_id.entry(stamp.id).or_insert_with(Producer::new);
        if producer.stored.back().is_none_or(|last| last.base_offset < place.base_offset) {
            producer.store(stamp.epoch, place);
        }
    }

    /// What is stored: everything before an entry and its offset, and perhaps more.
    pub(super) fn snapshot(&self, next_index: Index, next_offset: Offset) -> Snapshot {
        let stored = self.by_id.iter().filter(|(_, producer)| !producer.stored.is_empty());
        let producers =
            stored.map(|(id, producer)| (*id, producer.epoch, producer.stored.iter().copied().collect()));
        Snapshot { next_index, next_offset, producers: producers.collect() }
    }

    /// Begins with a snapshot of a log that ends at `end`. Nothing behind the end is believed: it is not there.
    pub(super) fn restore(&mut self, snapshot: Snapshot, end: Offset) {
        for (id, epoch, places) in snapshot.producers {
            let stored: VecDeque<Place> =
                places.into_iter().filter(|place| place.end_offset() <= end).collect();
            if !stored.is_empty() {
                self.by_id.insert(id, Producer { epoch, stored, on_its_way: VecDeque::new() });
            }
        }
    }

    /// Forgets those who have expired.
    pub(super) fn sweep(&mut self, now: Millis) {
        self.swept_at = now;
        let expiry_ms = self.expiry_ms;
        self.by_id.retain(|_, producer| !producer.is_idle() || !is_over(producer, expiry_ms, now));
    }

    fn has_expired(&self, producer: &Producer<W>, now: Millis) -> bool {
        producer.is_idle() && is_over(producer, self.expiry_ms, now)
    }

    /// Before another producer comes: forgets who has expired, and the longest idle one where there are too many.
    fn make_room(&mut self, now: Millis) {
        // Often enough that the expired are few beside the others, seldom enough to cost nothing.
        if self.swept_at.saturating_add(self.expiry_ms / 8) <= now {
            self.sweep(now);
        }
        if self.by_id.len() >= PRODUCERS_MAX {
            let idle = self.by_id.iter().filter(|(_, producer)| producer.is_idle());
            let longest = idle.min_by_key(|(_, producer)| producer.last_append_time()).map(|(id, _)| *id);
            longest.map(|id| self.by_id.remove(&id));
        }
    }
}

fn is_over<W>(producer: &Producer<W>, expiry_ms: Millis, now: Millis) -> bool {
    producer.last_append_time().saturating_add(expiry_ms) <= now
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
