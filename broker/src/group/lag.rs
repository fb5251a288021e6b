//! How far groups are behind: in messages, which the bounds of partitions say, and in time, for which logs are read.
//!
//! A group that holds a partition and has stored no position for it is behind by all that is there: as far as anybody
//! knows it has read nothing, and if its member dies now, the next one may have to read all of it.

use std::{
    collections::HashMap,
    hash::{BuildHasher as _, RandomState},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use minikafka_record::Offset;
use minikafka_storage::{Millis, Seek, StorageError, TopicId};

use super::{
    api::{GroupLag, TopicPartition},
    core::{Group, PartitionMap},
};
use crate::{Broker, Partition};

/// Append times that are remembered, at some 50 bytes: those of a hundred groups that read a thousand partitions.
const KNOWN_MAX: usize = 100_000;

/// When the messages were appended that groups are to read next. That does not change, and a group that stands still is
/// asked about with each scrape: so it is remembered.
#[derive(Debug, Default)]
pub(crate) struct AppendTimes {
    /// A std lock: held for a look-up or a change.
    known: Mutex<HashMap<Place, Millis>>,
}

type Place = (TopicId, u32, Offset);

/// Where a group goes on in a partition.
#[derive(Clone, Debug)]
pub(super) struct Next {
    partition: Partition,
    offset: Offset,
    /// Messages from there on.
    pub(super) messages: u64,
}

impl Next {
    /// After a stored position, or from the beginning on.
    pub(super) fn new(partition: Partition, stored: Option<Offset>) -> Next {
        let bounds = partition.bounds();
        // What was evicted is not behind any more: it cannot be read.
        let offset = stored.map_or(bounds.start, |stored| stored.max(bounds.start));
        let messages = bounds.high_watermark.get().saturating_sub(offset.get());
        Next { partition, offset, messages }
    }

    fn place(&self) -> Place {
        (self.partition.topic_id(), self.partition.number(), self.offset)
    }
}

impl AppendTimes {
    /// How old the oldest unread message of each of these is at `now`: `None` when that could not be read until then.
    /// Returns the first error, too. Blocks on the disk.
    pub(super) fn ages(
        &self,
        nexts: &[Next],
        now: Millis,
        until: Option<Instant>,
    ) -> (Vec<Option<Duration>>, Option<(Partition, StorageError)>) {
        let mut failure = None;
        let mut age = |next: &Next| {
            if next.messages == 0 {
                return Some(Duration::ZERO);
            }
            match self.time(next, until) {
                Ok(time) => time.map(|time| Duration::from_millis(now.saturating_sub(time).max(0) as u64)),
                Err(error) => {
                    failure.get_or_insert((next.partition.clone(), error));
                    None
                }
            }
        };
        let ages = nexts.iter().map(&mut age).collect();
        (ages, failure)
    }

    fn time(&self, next: &Next, until: Option<Instant>) -> Result<Option<Millis>, StorageError> {
        let place = next.place();
        if let Some(time) = self.known().get(&place) {
            return Ok(Some(*time));
        }
        if until.is_some_and(|until| until <= Instant::now()) {
            return Ok(None);
        }
        let found = next.partition.core.log().seek(Seek::Offset(next.offset))?;
        // Evicted in this moment: there is nothing that would be old.
        let Some(found) = found else { return Ok(Some(Millis::MAX)) };
        let mut known = self.known();
        if known.len() >= KNOWN_MAX {
            // Groups have gone on from most of them.
            known.clear();
        }
        known.insert(place, found.time);
        Ok(Some(found.time))
    }

    fn known(&self) -> std::sync::MutexGuard<'_, HashMap<Place, Millis>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Broker {
    /// Number of groups.
    pub fn group_count(&self) -> usize {
        self.0.groups.machine.read(|groups| groups.groups.len())
    }

    /// How far groups are behind: the first `count`, by name, as far as it can be said in this time. Messages come first;
    /// what has to be read from the disk for their age is remembered, so that the next call gets further. Blocks on the
    /// disk.
    pub fn group_lags(&self, count: usize, time: Duration) -> Vec<GroupLag> {
        let until = Instant::now() + time;
        let names: Vec<String> =
            self.0.groups.machine.read(|groups| groups.groups.keys().take(count).cloned().collect());
        let mut behind: Vec<(String, Vec<Next>)> = Vec::with_capacity(names.len());
        for name in names {
            if until <= Instant::now() {
                break;
            }
            // Group by group, so that nobody waits long for the state.
            let classic = self.0.groups.classic().holders(&name);
            let nexts =
                self.0.groups.machine.read(|groups| groups.get(&name).map(|group| nexts(group, &classic)));
            if let Some(nexts) = nexts {
                behind.push((name, self.resolve(nexts)));
            }
        }
        // Where time is too short for all, it is not always the same ones that it is too short for.
        let first = (RandomState::new().hash_one(()) % behind.len().max(1) as u64) as usize;
        behind.rotate_left(first);
        let now = self.0.groups.now();
        let lag = |(group, nexts): (String, Vec<Next>)| {
            let messages = nexts.iter().map(|next| next.messages).sum();
            let (ages, _) = self.0.append_times.ages(&nexts, now, Some(until));
            let age = ages.into_iter().try_fold(Duration::ZERO, |oldest, age| Some(oldest.max(age?)));
            GroupLag { group, messages, age }
        };
        let mut groups: Vec<GroupLag> = behind.into_iter().map(lag).collect();
        groups.sort_unstable_by(|one, other| one.group.cmp(&other.group));
        groups
    }

    /// Of topics that are gone there is nothing to say, nor of their positions when others have taken their names.
    fn resolve(&self, nexts: Vec<(TopicPartition, Stored)>) -> Vec<Next> {
        let resolve = |(of, stored): (TopicPartition, Stored)| {
            let partition = self.partition(&of.topic, Some(of.partition)).ok()?;
            let position = stored.position.filter(|(topic_id, _)| *topic_id == partition.topic_id());
            (position.is_some() || stored.is_held)
                .then(|| Next::new(partition, position.map(|(_, offset)| offset)))
        };
        nexts.into_iter().filter_map(resolve).collect()
    }
}

/// What a group has to do with a partition.
#[derive(Clone, Copy, Debug, Default)]
struct Stored {
    position: Option<(TopicId, Offset)>,
    is_held: bool,
}

fn nexts(group: &Group, classic: &PartitionMap<String>) -> Vec<(TopicPartition, Stored)> {
    let mut holders = group.holders();
    classic.iter().for_each(|(topic, number, id)| holders.insert(topic, number, id));
    let stored = group.positions.iter().map(|(topic, number, position)| {
        let position = Some((position.topic_id, position.offset));
        (TopicPartition::new(topic, number), Stored { position, is_held: holders.contains(topic, number) })
    });
    let held = holders.iter().filter(|(topic, number, _)| !group.positions.contains(topic, *number));
    let held = held.map(|(topic, number, _)| {
        (TopicPartition::new(topic, number), Stored { position: None, is_held: true })
    });
    stored.chain(held).collect()
}
