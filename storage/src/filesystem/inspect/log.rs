//! [`LogCheck`], whether the entries of a log continue each other, and what is lost if not.
//!
//! It is told what is there, segment by segment and then by the journal, and concludes as opening the log would:
//! see `recovery::opened`.

use std::{
    collections::VecDeque,
    ops::Range,
    path::{Path, PathBuf},
};

use minikafka_record::Offset;

use super::{
    finding::{Finding, Severity},
    walk::Place,
};
use crate::{
    Entry, Index, LogId, Millis,
    filesystem::{
        damage::{DAMAGE, Damage, Lost},
        index::IndexPoint,
        manifest::Manifest,
        scan::Frame,
        segment::SegmentHeader,
    },
    run::Next,
};

/// A log that is being checked.
pub(super) struct LogCheck {
    pub(super) manifest: Manifest,
    /// Its directory, and then the last segment there is.
    path: PathBuf,
    /// What the next frame must carry.
    next: Next,
    /// Everything below this offset, and before this index, was durable once.
    durable: (Offset, Index),
    /// What is no frame, since the last one.
    suspect: Option<Place>,
    is_last: bool,
    /// The last segment from its first bad place on: torn or damaged, nobody knows yet.
    held: Option<Held>,
    /// Entries of the journal that the segments do not have, in order, perhaps with gaps.
    journal: VecDeque<Journaled>,
    findings: Vec<Finding>,
    /// What earlier starts have found to be lost, and what this finds.
    known: Vec<Range<Offset>>,
    lost: Lost,
    damage_path: PathBuf,
}

struct Held {
    first: Place,
    /// What should have been there.
    next: Next,
    holes: Vec<Hole>,
    /// Index behind the last whole frame behind the place.
    later: Option<Index>,
}

struct Hole {
    place: Place,
    lost: Range<Offset>,
}

/// An entry that is in the journal.
#[derive(Clone, Copy)]
struct Journaled {
    index: Index,
    next: Next,
    base: Offset,
}

impl LogCheck {
    pub(super) fn new(manifest: Manifest, dir: &Path) -> LogCheck {
        let next = Next {
            index: manifest.removed.next_index,
            offset: manifest.start,
            epoch_min: manifest.removed.epoch,
            append_time_min: Millis::MIN,
        };
        LogCheck {
            durable: match manifest.truncating {
                // From before it.
                Some(_) => (manifest.start, manifest.removed.next_index),
                None => (manifest.durable, manifest.durable_index),
            },
            manifest,
            path: dir.to_owned(),
            next,
            suspect: None,
            is_last: false,
            held: None,
            journal: VecDeque::new(),
            findings: Vec::new(),
            known: Vec::new(),
            lost: Lost::default(),
            damage_path: dir.join(DAMAGE),
        }
    }

    pub(super) fn id(&self) -> &LogId {
        &self.manifest.id
    }

    /// What a server has found before.
    pub(super) fn know(&mut self, damage: &Damage) {
        if damage.is_none() {
            return;
        }
        if damage.generation == self.manifest.generation {
            self.known = damage.lost.ranges().to_vec();
        }
        let (lost, segments) = (damage.lost.count_from(self.manifest.start), damage.segments.len());
        let what =
            format!("a server has found damage: {lost} messages lost, segments to set aside: {segments}");
        let path = self.damage_path.clone();
        self.note(Place::whole(&path, what));
    }

    /// Whether a truncation is under way that takes this entry.
    pub(super) fn is_truncated(&self, index: Index) -> bool {
        self.manifest.truncating.is_some_and(|from| index >= from)
    }

    /// What was found since the last call.
    pub(super) fn take_findings(&mut self) -> Vec<Finding> {
        std::mem::take(&mut self.findings)
    }

    pub(super) fn note(&mut self, place: Place) {
        self.find(Severity::Note, place, None);
    }

    pub(super) fn damage(&mut self, place: Place) {
        self.find(Severity::Damage, place, None);
    }

    fn find(&mut self, severity: Severity, place: Place, lost: Option<Range<Offset>>) {
        lost.iter().for_each(|lost| _ = self.lost.note(lost.clone()));
        let Place { path, position, what } = place;
        let log = Some(self.manifest.id.clone());
        self.findings.push(Finding { severity, log, path, position, what, lost });
    }

    /// The next segment begins, the first one or a later one.
    pub(super) fn segment(&mut self, path: &Path, header: &SegmentHeader, is_first: bool, is_last: bool) {
        (self.path, self.is_last) = (path.to_owned(), is_last);
        let base = IndexPoint::base(header);
        let next = self.next;
        let goes_back = base.index < next.index || base.offset < next.offset;
        if goes_back && !is_first {
            let what = format!("it begins with index {}, the one before ends at {}", base.index, next.index);
            self.damage(Place::at(path, 0, what));
        }
        let what = "the records before this segment are missing";
        let place = self.suspect.take();
        if base.index > next.index && base.offset > next.offset {
            let place = place.unwrap_or_else(|| Place::at(path, 0, what));
            self.lose(place, next.offset..base.offset);
        } else if let Some(place) = place {
            self.damage(place);
        }
        (self.next.index, self.next.offset) = (base.index, base.offset);
        self.next.epoch_min = if is_first { header.epoch_before } else { next.epoch_min };
    }

    /// Everything before this index and offset was durable once.
    pub(super) fn mark(&mut self, index: Index, offset: Offset) {
        self.durable = (self.durable.0.max(offset), self.durable.1.max(index));
    }

    /// Something is not as it should be. What is lost by it the next frame tells.
    pub(super) fn suspect(&mut self, place: Place) {
        if self.is_last && self.held.is_none() {
            let first = place.clone();
            self.held = Some(Held { first, next: self.next, holes: Vec::new(), later: None });
        }
        self.suspect.get_or_insert(place);
    }

    /// A whole frame comes next in the segment. Says whether it continues the log.
    pub(super) fn frame(&mut self, frame: &Frame) -> bool {
        let (entry, next) = (&frame.entry, self.next);
        self.durable.0 = self.durable.0.max(frame.durable);
        let continues = (entry.index, entry.base_offset) == (next.index, next.offset);
        let jumps = entry.index > next.index && entry.base_offset >= next.offset;
        if !continues && !jumps {
            let path = self.path.clone();
            self.suspect(Place::at(&path, frame.position, "the frame does not continue the log"));
            return false;
        }
        let place = self.suspect.take();
        if place.is_some() || !continues {
            let missing =
                || Place::at(&self.path, frame.position, "the records before this frame are missing");
            let place = place.unwrap_or_else(missing);
            let lost = next.offset..entry.base_offset;
            match &mut self.held {
                Some(held) => held.holes.push(Hole { place, lost }),
                None => self.lose(place, lost),
            }
        }
        if entry.epoch < next.epoch_min || entry.append_time < next.append_time_min {
            let what = "the frame's leader epoch or append time is smaller than that of the one before";
            self.damage(Place::at(&self.path, frame.position, what));
        }
        self.next = Next::after(entry);
        if let Some(held) = &mut self.held {
            held.later = Some(self.next.index);
        }
        true
    }

    /// Takes an entry of the journal, unless it is in a segment.
    pub(super) fn offer(&mut self, entry: &Entry) {
        if entry.index < self.end().index {
            return;
        }
        while self.journal.back().is_some_and(|last| last.index >= entry.index) {
            self.journal.pop_back();
        }
        let next = Next::after(entry);
        self.journal.push_back(Journaled { index: entry.index, next, base: entry.base_offset });
    }

    /// Where frames end that are beyond doubt.
    fn end(&self) -> Next {
        self.held.as_ref().map_or(self.next, |held| held.next)
    }

    /// Everything was read. Gives the number of entries, and of their records, that only the journal has.
    pub(super) fn conclude(&mut self, bad_record: Option<&Place>) -> (u64, u64) {
        let torn = self.suspect.take();
        if let Some(held) = self.held.take() {
            self.decide(held, torn.as_ref());
        } else if let Some(place) = torn.clone() {
            self.damage_unless_lost(place);
        }
        while self.journal.pop_front_if(|entry| entry.index < self.next.index).is_some() {}
        let (first, removed) = (self.journal.front().map(|first| first.index), self.manifest.removed);
        if first.is_none_or(|first| first > self.next.index) && self.next.offset <= self.manifest.start {
            // What is trimmed may be gone.
            self.next.offset = self.manifest.start;
            self.next.index = self.next.index.max(removed.next_index);
        }
        let place = torn.or_else(|| bad_record.cloned()).unwrap_or_else(|| {
            Place::whole(&self.path, "entries that were durable are missing behind its last frame")
        });
        let mut found = (0, 0);
        for entry in std::mem::take(&mut self.journal) {
            // The log may begin inside an entry.
            let begins_inside = entry.index == self.next.index && entry.base <= self.manifest.start;
            if (entry.index, entry.base) != (self.next.index, self.next.offset) && !begins_inside {
                self.lose(place.clone(), self.next.offset..entry.base);
            }
            self.next = entry.next;
            found = (found.0 + 1, found.1 + entry.next.offset.since(entry.base));
        }
        let (offset, index) = self.durable;
        if self.next.offset < offset {
            self.lose(place, self.next.offset..offset);
        } else if self.next.index < index && offset <= self.manifest.start {
            // Everything that was durable is evicted; a trim may have gone ahead of a sync.
            let what = "the last entries are missing, with no message that is not evicted";
            self.note(Place { what: what.to_owned(), ..place });
        } else if self.next.index < index {
            self.damage(place);
        }
        self.compare_with_known();
        found
    }

    /// What was found before and is whole now: somebody has mended it, or the disk did not read what it holds.
    fn compare_with_known(&mut self) {
        for known in std::mem::take(&mut self.known) {
            let known = known.start.max(self.manifest.start)..known.end;
            if self.lost.clone().note(known.clone()) {
                let (first, last) = (known.start.number(), known.end.get());
                let what = format!(
                    "not all of messages {first} to {last}, which a server has found to be lost, is: \
                     remove this file if they were mended"
                );
                let path = self.damage_path.clone();
                self.note(Place::whole(&path, what));
            }
        }
    }

    /// What holds no frame at the end of a segment before the last one, which is missing or unreadable.
    fn damage_unless_lost(&mut self, place: Place) {
        let (offset, index) = self.durable;
        if self.next.offset >= offset && self.next.index >= index {
            self.damage(place);
        }
    }

    /// Tells what is torn from what is damaged.
    fn decide(&mut self, held: Held, tail: Option<&Place>) {
        let covered = self.covered(&held.next);
        let is_chain = self.journal.back().is_none_or(|last| last.next.index == covered.index);
        let has_all = covered.offset >= self.durable.0 && covered.index >= self.durable.1;
        let reaches = self.journal.is_empty() || held.later.is_none_or(|later| later <= covered.index);
        if is_chain && has_all && reaches {
            let why = match self.journal.is_empty() {
                true => "a torn tail, never durable",
                false => "a torn tail, the journal has what was in it",
            };
            let what = format!("{}: {why}", held.first.what);
            self.note(Place { what, ..held.first });
            self.next = held.next;
            return;
        }
        // With frames behind it, the next start writes what the journal has into the first hole.
        let mut from = if held.later.is_some() { covered.offset } else { held.next.offset };
        for Hole { place, lost } in held.holes {
            let lost = lost.start.max(from)..lost.end;
            if lost.start >= lost.end && from > held.next.offset {
                let what = format!("{}: the journal has what was in it", place.what);
                self.note(Place { what, ..place });
            } else {
                self.lose(place, lost);
            }
            from = Offset::ZERO;
        }
        // The tail's place goes with what is lost there.
        if let Some(place) = tail {
            self.damage_unless_lost(place.clone());
        }
    }

    /// How far the entries of the journal continue the log from here.
    fn covered(&self, from: &Next) -> Next {
        let mut next = *from;
        for entry in &self.journal {
            if (entry.index, entry.base) != (next.index, next.offset) {
                break;
            }
            next = entry.next;
        }
        next
    }

    /// Records are lost here; those that were evicted nobody misses.
    fn lose(&mut self, place: Place, lost: Range<Offset>) {
        let kept = lost.start.max(self.manifest.start)..lost.end;
        if !kept.is_empty() {
            self.find(Severity::Damage, place, Some(kept));
        } else if lost.is_empty() {
            self.damage(place);
        } else {
            let what = format!("{}: what was there is evicted", place.what);
            self.note(Place { what, ..place });
        }
    }
}
