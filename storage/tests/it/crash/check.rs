//! Whether a storage keeps what the ledger says was promised.
//!
//! A checker, not an assertion: it says what is wrong, so that a test can also ask whether a bug that was
//! planted is found.

use std::collections::BTreeMap;

use minikafka_record::Offset;
use minikafka_storage::{Bounds, Entry, Log, Place, Removed, Seek, Storage};

use super::ledger::{Answer, Attempt, Blob, Content, Ledger, Trust, World};
use crate::backend::id;

/// Compares, and says what is wrong.
macro_rules! ensure {
    ($condition:expr, $($message:tt)+) => {
        if !$condition {
            return Err(format!($($message)+));
        }
    };
}
pub(super) use ensure;

/// Checks that a storage, just opened, holds what was promised. Gives a ledger in which nothing is in doubt
/// any more: all that is there now must stay.
pub(super) fn check(storage: &dyn Storage, ledger: &Ledger, trust: Trust) -> Result<Ledger, String> {
    let list = storage.list().map_err(|error| format!("list: {error}"))?;
    let topics: Vec<&str> = list.iter().map(|id| id.topic.as_str()).collect();
    for topic in &topics {
        ensure!(ledger.logs.contains_key(*topic), "log {topic} was never made");
    }
    let mut logs = BTreeMap::new();
    for (topic, worlds) in &ledger.logs {
        let found = match topics.contains(&topic.as_str()) {
            true => World::Present(check_worlds(storage, topic, worlds, trust)?),
            false => {
                let may_be_absent = worlds.iter().any(|world| matches!(world, World::Absent));
                ensure!(may_be_absent, "log {topic} is gone");
                World::Absent
            }
        };
        logs.insert(topic.clone(), vec![found]);
    }
    Ok(Ledger { logs })
}

/// The log must be as in one of the worlds.
fn check_worlds(
    storage: &dyn Storage,
    topic: &str,
    worlds: &[World],
    trust: Trust,
) -> Result<Content, String> {
    let log = storage.open(&id(topic)).map_err(|error| format!("opening {topic}: {error}"))?;
    let mut wrong = Vec::new();
    for world in worlds {
        let World::Present(content) = world else { continue };
        let outcome = check_log(&*log, content, trust).and_then(|found| {
            let blobs = check_blobs(storage, topic, content, found.floor)?;
            Ok(Content { blobs, ..found })
        });
        match outcome {
            Ok(found) => return Ok(found),
            Err(error) => wrong.push(format!("log {topic}: {error}")),
        }
    }
    ensure!(!wrong.is_empty(), "log {topic} is back, although it was removed");
    Err(wrong.join("; or "))
}

fn check_log(log: &dyn Log, content: &Content, trust: Trust) -> Result<Content, String> {
    let bounds = log.bounds();
    ensure!(bounds.damaged == 0, "{} records are said to be damaged", bounds.damaged);
    let expected = expected_content(&bounds, content, trust)?;
    check_bounds(&bounds, &expected)?;
    let kept = expected.entries();
    check_entries(log, &bounds, &kept)?;
    for bytes_max in [1, 100_000] {
        check_batches(log, &bounds, &kept, bytes_max)?;
    }
    check_seeks(log, &bounds, &kept)?;
    Ok(expected)
}

/// What the log must hold exactly, given how far it goes.
fn expected_content(bounds: &Bounds, content: &Content, trust: Trust) -> Result<Content, String> {
    let start = bounds.start;
    let (least, largest) = content.starts;
    ensure!((least..=largest).contains(&start), "starts at {start}, may start from {least} to {largest}");
    if let Some(index) = content.used_again() {
        return Err(format!("index {index} was given again, after an acknowledgement"));
    }
    let entries = content.entries();
    let (mut removed, mut next) = (content.removed, content.removed.next_index);
    for entry in &entries {
        ensure!(entry.index == next, "the ledger is wrong: {} after {next}", entry.index);
        next += 1;
        if lies_before(entry, start) {
            removed = Removed { next_index: next, epoch: entry.epoch };
        }
    }
    // Without syncs, entries may be lost that had been trimmed.
    let must = content.must(trust).max(removed.next_index);
    let found = bounds.next_index;
    ensure!(found >= must, "entries {found}..{must} are lost; it goes to {found}");
    ensure!(found <= next, "it goes to {found}, only {next} was ever appended:\n{}", content.last_attempts());
    let kept = entries.into_iter().filter(|entry| (removed.next_index..found).contains(&entry.index));
    let kept: Vec<Entry> = kept.collect();
    let success = Answer::success();
    Ok(Content {
        removed,
        base: kept.first().map_or(start, |first| first.base_offset),
        attempts: kept.into_iter().map(|entry| Attempt { entry, answer: success.clone() }).collect(),
        starts: (start, start),
        floor: found,
        blobs: BTreeMap::new(),
    })
}

/// Whether trimming to `start` removes all of `entry`.
fn lies_before(entry: &Entry, start: Offset) -> bool {
    match entry.record_count {
        0 => entry.base_offset < start,
        _ => entry.end_offset() <= start,
    }
}

fn check_bounds(bounds: &Bounds, expected: &Content) -> Result<(), String> {
    let removed = expected.removed;
    ensure!(bounds.removed == removed, "removed {:?}, expected {removed:?}", bounds.removed);
    let last = expected.attempts.last().map(|attempt| &attempt.entry);
    let end = last.map_or(bounds.start, Entry::end_offset);
    ensure!(bounds.end == end, "ends at {}, expected {end}", bounds.end);
    ensure!(
        bounds.durable == end,
        "durable to {} of {end}: served after a restart, so durable",
        bounds.durable
    );
    let epoch = last.map_or(removed.epoch, |last| last.epoch);
    ensure!(bounds.last_epoch == epoch, "last epoch {}, expected {epoch}", bounds.last_epoch);
    let (time, last_time) = (bounds.last_append_time, last.map(|last| last.append_time));
    ensure!(time >= last_time, "newest append time {time:?}, its last entry has {last_time:?}");
    Ok(())
}

fn check_entries(log: &dyn Log, bounds: &Bounds, kept: &[Entry]) -> Result<(), String> {
    let (mut next, mut rest) = (bounds.removed.next_index, kept);
    while !rest.is_empty() {
        let found =
            log.entries(next..bounds.next_index, 3000).map_err(|error| format!("entries: {error}"))?;
        ensure!(!found.is_empty(), "no entries at {next}");
        ensure!(rest.starts_with(&found), "other entries at {next} than were appended: {found:?}");
        rest = &rest[found.len()..];
        next += found.len() as u64;
    }
    Ok(())
}

fn check_batches(log: &dyn Log, bounds: &Bounds, kept: &[Entry], bytes_max: usize) -> Result<(), String> {
    let batches: Vec<_> = kept.iter().flat_map(Entry::batches).collect();
    let first = batches.iter().position(|batch| batch.end_offset() > bounds.start).unwrap_or(batches.len());
    let (mut next, mut rest) = (bounds.start, &batches[first..]);
    while next < bounds.end {
        let found = log.read(next, bounds.end, bytes_max).map_err(|error| format!("read {next}: {error}"))?;
        ensure!(!found.is_empty(), "no batches at {next}");
        ensure!(rest.len() >= found.len(), "more batches at {next} than were appended");
        for (found, expected) in found.iter().zip(rest) {
            ensure!(found.bytes() == expected.bytes(), "another batch at {next} than was appended");
        }
        rest = &rest[found.len()..];
        next = found.last().expect("not empty").end_offset();
    }
    ensure!(rest.is_empty(), "{} batches are not served", rest.len());
    Ok(())
}

/// Looks for the times around the first, a middle and the last entry, and compares with a search one by one.
fn check_seeks(log: &dyn Log, bounds: &Bounds, kept: &[Entry]) -> Result<(), String> {
    let readable = || kept.iter().filter(|entry| entry.end_offset() > bounds.start && entry.record_count > 0);
    let first = |wanted: &dyn Fn(&Entry) -> bool| {
        let found = readable().find(|entry| wanted(entry))?;
        Some(Place { offset: found.base_offset.max(bounds.start), time: found.append_time })
    };
    for entry in kept.iter().step_by((kept.len() / 2).max(1)) {
        for time in [entry.append_time - 1, entry.append_time] {
            // The tests give each record the append time of its entry.
            let pairs = [
                (Seek::AppendedAfter(time), first(&|entry| entry.append_time > time)),
                (Seek::RecordTimestamp(time), first(&|entry| entry.append_time >= time)),
            ];
            for (seek, expected) in pairs {
                let found = log.seek(seek).map_err(|error| format!("{seek:?}: {error}"))?;
                ensure!(found == expected, "{seek:?} gives {found:?}, expected {expected:?}");
            }
        }
    }
    Ok(())
}

/// Each blob must be one of those that it may be, with all entries that were there before it.
fn check_blobs(
    storage: &dyn Storage,
    topic: &str,
    content: &Content,
    next_index: u64,
) -> Result<BTreeMap<String, Vec<Blob>>, String> {
    let mut blobs = BTreeMap::new();
    for (name, candidates) in &content.blobs {
        let found = storage.load_blob(&id(topic), name).map_err(|error| format!("blob {name}: {error}"))?;
        let found = found.map(|bytes| bytes.to_vec());
        let known = candidates.iter().rev().find(|blob| blob.value == found);
        let blob =
            known.ok_or_else(|| format!("blob {name} is neither the old nor the new one: {found:?}"))?;
        ensure!(
            next_index >= blob.after,
            "blob {name} is there, entries that came before it are not: {next_index} of {}",
            blob.after
        );
        blobs.insert(name.clone(), vec![Blob { after: blob.after.min(next_index), ..blob.clone() }]);
    }
    Ok(blobs)
}
