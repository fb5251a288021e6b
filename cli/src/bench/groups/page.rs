//! [`Page`], one partition as its group reads it, whichever of its members does.
//!
//! ```text
//!   number       1 .. committed      .. next
//!                 |   never again   |   may come again to the next owner, as it was   |   to come
//! ```
//!
//! An owner is a member under an epoch: when it gets a partition again that it has lost, it is another owner. Once one
//! has read a partition, nothing comes to those that did before.

use std::collections::VecDeque;

use crate::bench::chain::{Link, Verdict};

/// Who reads a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Owner {
    pub(super) member: u32,
    /// How often the server took the member for dead: its epochs begin anew then.
    pub(super) life: u64,
    /// The member's epoch when it got the partition.
    pub(super) epoch: u64,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Page {
    run: u64,
    stream: u32,
    /// What was read and is not known to be committed, in the order of its sequence.
    uncommitted: VecDeque<Uncommitted>,
    /// Sequence of the first of them, and the chain before it.
    first: (u64, u64),
    /// Everything before this number is known to be committed.
    committed: u64,
    /// All that have read it, the last one last.
    owners: Vec<Owner>,
    /// The number behind the last one that was read.
    read_to: u64,
    /// The sequence that the owner is to read next, once it has read something.
    expected: Option<u64>,
    outcome: Outcome,
}

#[derive(Clone, Copy, Debug)]
struct Uncommitted {
    number: u64,
    chain: u64,
}

/// What reading has shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) verdict: Verdict,
    /// Messages that came again to another owner, as they may: they were not committed.
    pub(super) redelivered: u64,
    /// Messages that came to a member after a later owner had begun.
    pub(super) by_former_owners: u64,
}

impl Outcome {
    pub(super) fn add(&mut self, other: Outcome) {
        self.verdict.add(other.verdict);
        self.redelivered += other.redelivered;
        self.by_former_owners += other.by_former_owners;
    }
}

impl Page {
    pub(super) fn new(run: u64, stream: u32) -> Page {
        Page {
            run,
            stream,
            uncommitted: VecDeque::new(),
            first: (0, run),
            committed: 0,
            owners: Vec::new(),
            read_to: 0,
            expected: None,
            outcome: Outcome::default(),
        }
    }

    /// Whether `count` messages were read, and all before `end`: one that is stored twice may lie behind all others.
    pub(super) fn has_all(&self, count: u64, end: u64) -> bool {
        self.next() >= count && (self.read_to >= end || count == 0)
    }

    /// Takes a message, which may be of another run. Says when it was due, if it is one that had not come before.
    pub(super) fn take(&mut self, owner: Owner, number: u64, message: &[u8]) -> Option<u64> {
        self.read_to = self.read_to.max(number + 1);
        let link = Link::parse(self.run, self.stream, message)?;
        if !self.is_read_by(owner) {
            self.outcome.by_former_owners += 1;
        }
        let expected = self.expected.replace(link.sequence + 1);
        let is_behind = expected.is_some_and(|expected| link.sequence < expected);
        if is_behind || number < self.committed || link.sequence < self.first.0 {
            self.outcome.verdict.repeated += 1;
            return None;
        }
        let next = self.next();
        if link.sequence < next {
            // It may begin anywhere behind the commit, and must not leave out anything from there.
            self.outcome.verdict.lost += expected.map_or(0, |expected| link.sequence - expected);
            self.take_again(link, message);
            return None;
        }
        self.take_new(link, link.sequence - next, number, message);
        Some(link.due)
    }

    /// Whether a message may come to this owner; from now on, to no former one.
    fn is_read_by(&mut self, owner: Owner) -> bool {
        if self.owners.last() == Some(&owner) {
            return true;
        }
        let is_former = self.owners.contains(&owner);
        if !is_former {
            self.owners.push(owner);
            self.expected = None;
        }
        !is_former
    }

    fn take_new(&mut self, link: Link, lost: u64, number: u64, message: &[u8]) {
        self.outcome.verdict.lost += lost;
        // Behind a gap the chain cannot be told, and is believed.
        let is_sound = lost > 0 || link.follows(self.chain_before(self.uncommitted.len()), message);
        let verdict = &mut self.outcome.verdict;
        *(if is_sound { &mut verdict.sound } else { &mut verdict.changed }) += 1;
        if lost > 0 {
            self.uncommitted.clear();
            self.first = (link.sequence, 0);
        }
        self.uncommitted.push_back(Uncommitted { number, chain: link.chain });
    }

    fn take_again(&mut self, link: Link, message: &[u8]) {
        let at = (link.sequence - self.first.0) as usize;
        let is_same = self.uncommitted[at].chain == link.chain;
        // What came behind a gap was believed, and has no chain before it.
        let before = self.chain_before(at);
        if is_same && (before == 0 || link.follows(before, message)) {
            self.outcome.redelivered += 1;
        } else {
            self.outcome.verdict.changed += 1;
        }
    }

    /// The chain before one of those that are not committed.
    fn chain_before(&self, at: usize) -> u64 {
        at.checked_sub(1).map_or(self.first.1, |before| self.uncommitted[before].chain)
    }

    /// Everything before `number` is committed.
    pub(super) fn commit(&mut self, number: u64) {
        self.committed = self.committed.max(number);
        while let Some(one) = self.uncommitted.pop_front_if(|one| one.number < number) {
            self.first = (self.first.0 + 1, one.chain);
        }
    }

    /// Sequence of the message that is to come.
    pub(super) fn next(&self) -> u64 {
        self.first.0 + self.uncommitted.len() as u64
    }

    /// The outcome of a stream of `count` messages.
    pub(super) fn end(&self, count: u64) -> Outcome {
        let mut outcome = self.outcome;
        outcome.verdict.lost += count.saturating_sub(self.next());
        outcome
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::chain::Writer;

    const ANN: Owner = Owner { member: 1, life: 0, epoch: 1 };
    const BOB: Owner = Owner { member: 2, life: 0, epoch: 1 };

    fn messages() -> Vec<Vec<u8>> {
        let mut writer = Writer::new(7, 3, 50);
        (0..10).map(|due| writer.next(due).to_vec()).collect()
    }

    /// What comes of these: who reads which sequence. Numbers begin with 101; `Commit` is of a sequence.
    enum Step {
        Read(Owner, std::ops::Range<usize>),
        Commit(u64),
    }
    use Step::{Commit, Read};

    fn outcome(steps: Vec<Step>) -> Outcome {
        let (messages, mut page) = (messages(), Page::new(7, 3));
        for step in steps {
            match step {
                Commit(sequence) => page.commit(sequence + 101),
                Read(owner, sequences) => {
                    for at in sequences {
                        page.take(owner, at as u64 + 101, &messages[at]);
                    }
                }
            }
        }
        page.end(10)
    }

    fn sound(sound: u64) -> Outcome {
        Outcome { verdict: Verdict { sound, ..Verdict::default() }, ..Outcome::default() }
    }

    #[test]
    fn what_comes_in_turn_is_sound_whoever_reads_it() {
        assert_eq!(outcome(vec![Read(ANN, 0..10)]), sound(10));
        assert_eq!(outcome(vec![Read(ANN, 0..4), Commit(4), Read(BOB, 4..10)]), sound(10));
    }

    #[test]
    fn what_was_not_committed_may_come_again_to_another_owner() {
        let again = outcome(vec![Read(ANN, 0..6), Commit(4), Read(BOB, 4..10)]);
        assert_eq!(again, Outcome { redelivered: 2, ..sound(10) });
        // The commit that was not acknowledged may have been stored.
        let less = outcome(vec![Read(ANN, 0..6), Commit(4), Read(BOB, 5..10)]);
        assert_eq!(less, Outcome { redelivered: 1, ..sound(10) });
        let twice = outcome(vec![
            Read(ANN, 0..6),
            Read(BOB, 0..8),
            Commit(8),
            Read(Owner { epoch: 3, ..ANN }, 8..10),
        ]);
        assert_eq!(twice, Outcome { redelivered: 6, ..sound(10) });
    }

    #[test]
    fn what_was_committed_must_not_come_again() {
        let verdict = outcome(vec![Read(ANN, 0..6), Commit(4), Read(BOB, 3..10)]).verdict;
        assert_eq!(verdict, Verdict { sound: 10, repeated: 1, ..Verdict::default() });
    }

    #[test]
    fn nothing_comes_twice_to_one_owner() {
        let verdict = outcome(vec![Read(ANN, 0..6), Read(ANN, 4..10)]).verdict;
        assert_eq!(verdict, Verdict { sound: 10, repeated: 1, ..Verdict::default() });
    }

    #[test]
    fn nothing_is_skipped() {
        let verdict = outcome(vec![Read(ANN, 0..4), Read(BOB, 6..10)]).verdict;
        assert_eq!(verdict, Verdict { sound: 8, lost: 2, ..Verdict::default() });
        assert_eq!(outcome(vec![Read(ANN, 0..7)]).verdict.lost, 3);
        // Among what comes again, too.
        let verdict = outcome(vec![Read(ANN, 0..10), Read(BOB, 2..3), Read(BOB, 5..10)]).verdict;
        assert_eq!(verdict, Verdict { sound: 10, lost: 2, ..Verdict::default() });
    }

    #[test]
    fn a_former_owner_is_found_out() {
        let late = outcome(vec![Read(ANN, 0..4), Commit(4), Read(BOB, 4..6), Read(ANN, 6..10)]);
        assert_eq!(late.by_former_owners, 4);
        let both = outcome(vec![Read(ANN, 0..4), Read(BOB, 4..6), Read(ANN, 6..7), Read(BOB, 7..10)]);
        assert_eq!(both.by_former_owners, 1);
    }

    #[test]
    fn other_bytes_are_seen_the_first_time_and_the_second() {
        let messages = messages();
        let mut other = messages[3].clone();
        other[40] ^= 1;
        let mut page = Page::new(7, 3);
        (0..3).for_each(|at| _ = page.take(ANN, at as u64 + 1, &messages[at]));
        page.take(ANN, 4, &other);
        assert_eq!(page.end(4).verdict, Verdict { sound: 3, changed: 1, ..Verdict::default() });
        let mut page = Page::new(7, 3);
        (0..4).for_each(|at| _ = page.take(ANN, at as u64 + 1, &messages[at]));
        (0..3).for_each(|at| _ = page.take(BOB, at as u64 + 1, &messages[at]));
        page.take(BOB, 4, &other);
        let verdict = Verdict { sound: 4, changed: 1, ..Verdict::default() };
        assert_eq!((page.end(4).verdict, page.end(4).redelivered), (verdict, 3));
    }

    #[test]
    fn what_is_stored_twice_is_waited_for_to_the_end() {
        let messages = messages();
        let mut page = Page::new(7, 3);
        assert!(page.has_all(0, 9), "of a partition that nothing was sent to, nothing is read");
        (0..4).for_each(|at| _ = page.take(ANN, at as u64 + 1, &messages[at]));
        assert!(page.has_all(4, 5) && !page.has_all(5, 5) && !page.has_all(4, 6));
        page.take(ANN, 5, &messages[3]);
        assert!(page.has_all(4, 6));
        assert_eq!(page.end(4).verdict, Verdict { sound: 4, repeated: 1, ..Verdict::default() });
    }

    #[test]
    fn other_runs_are_none_of_its_business() {
        let mut page = Page::new(8, 3);
        assert_eq!(page.take(ANN, 1, &messages()[0]), None);
        assert_eq!(page.end(0), Outcome::default());
    }
}
