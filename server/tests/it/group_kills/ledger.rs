//! [`Ledger`], the checker: what was acknowledged, delivered and committed, and what must not be.
//!
//! ```text
//!   number       1 .. committed      .. delivered            .. acknowledged
//!                 |   never again   |   may come again       |   to come
//!                                   |   to the next owner    |
//! ```

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use tokio::sync::watch;

/// Faults that are told in full; of the rest, the count.
const TOLD: usize = 5;
/// Events of a partition that are remembered.
const HISTORY: usize = 12;

/// A member's hold on a partition, from when it gets it until it loses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Tenure {
    pub(super) member: u64,
    /// How often the member was lost and has joined anew: its epochs begin anew then.
    pub(super) life: u64,
    /// The member's epoch when it got the partition.
    pub(super) epoch: u64,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Ledger {
    pages: BTreeMap<u32, Page>,
    faults: Vec<String>,
    fault_count: u64,
    events: watch::Sender<Events>,
}

/// How often what has happened.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Events {
    pub(super) acknowledged: u64,
    pub(super) delivered: u64,
    /// Deliveries of what was delivered before.
    pub(super) again: u64,
    pub(super) commits: u64,
    pub(super) tenures: u64,
    /// Memberships of those that stay that the server has taken away.
    pub(super) lost: u64,
}

/// What is known of a partition.
#[derive(Debug)]
struct Page {
    /// Everything before this number is acknowledged.
    acknowledged: u64,
    /// Everything before this number was delivered.
    delivered: u64,
    /// Everything before this number is certainly committed.
    committed: u64,
    /// All that have read it, the last one last, with what it is to read next.
    tenures: Vec<(Tenure, Option<u64>)>,
    /// What has happened to it last, told with its faults.
    history: VecDeque<String>,
}

impl Page {
    fn note(&mut self, what: String) {
        self.history.truncate(HISTORY - 1);
        self.history.push_front(what);
    }
}

impl Default for Page {
    fn default() -> Page {
        Page { acknowledged: 1, delivered: 1, committed: 1, tenures: Vec::new(), history: VecDeque::new() }
    }
}

impl Ledger {
    pub(super) fn new(partitions: u32) -> Ledger {
        let pages = (0..partitions).map(|partition| (partition, Page::default())).collect();
        Ledger { pages, faults: Vec::new(), fault_count: 0, events: watch::Sender::default() }
    }

    pub(super) fn events(&self) -> Events {
        *self.events.borrow()
    }

    pub(super) fn watch(&self) -> watch::Receiver<Events> {
        self.events.subscribe()
    }

    /// A message is acknowledged, with this number.
    pub(super) fn acknowledge(&mut self, partition: u32, number: u64) {
        let page = self.page(partition);
        let expected = std::mem::replace(&mut page.acknowledged, number + 1);
        if number != expected {
            self.fault(format!("{partition}/{expected} is acknowledged as {number}"));
        }
        self.count(|events| events.acknowledged += 1);
    }

    /// A member has a partition that it did not have before.
    pub(super) fn begin(&mut self, partition: u32, tenure: Tenure) {
        let page = self.page(partition);
        if page.tenures.iter().any(|(known, _)| *known == tenure) {
            return;
        }
        page.tenures.push((tenure, None));
        page.note(format!("{tenure:?} begins"));
        self.count(|events| events.tenures += 1);
    }

    /// A message has come.
    pub(super) fn deliver(&mut self, partition: u32, number: u64, tenure: Tenure) {
        let page = self.page(partition);
        let mut faults = Vec::new();
        match page.tenures.last_mut() {
            Some((current, next)) if *current == tenure => {
                if next.is_some_and(|next| next != number) {
                    faults.push(format!("{partition}/{number} comes where {next:?} should"));
                }
                *next = Some(number + 1);
            }
            other => faults.push(format!("{partition}/{number} comes to {tenure:?}, it is with {other:?}")),
        }
        if number < page.committed {
            let Page { committed, history, .. } = &page;
            faults.push(format!(
                "{partition}/{number} comes again after the commit of {committed}: {history:#?}"
            ));
        }
        if number > page.delivered {
            faults.push(format!("{partition}/{} is skipped, {number} comes", page.delivered));
        }
        let is_again = number < page.delivered;
        page.delivered = page.delivered.max(number + 1);
        faults.into_iter().for_each(|fault| self.fault(fault));
        self.count(|events| {
            events.delivered += 1;
            events.again += u64::from(is_again);
        });
    }

    /// What this tenure was given is committed for certain. Tells nothing of one that was given nothing.
    pub(super) fn commit(&mut self, partition: u32, tenure: Tenure, how: &str) {
        let page = self.page(partition);
        let next = page.tenures.iter().find(|(known, _)| *known == tenure).and_then(|(_, next)| *next);
        if let Some(next) = next.filter(|next| *next > page.committed) {
            page.committed = next;
            page.note(format!("{tenure:?} has committed {next}, {how}"));
        }
    }

    /// A commit was acknowledged.
    pub(super) fn count_commit(&mut self) {
        self.count(|events| events.commits += 1);
    }

    pub(super) fn count_lost(&mut self) {
        self.count(|events| events.lost += 1);
    }

    /// The position that is stored for a partition, as it was looked up after all of this was known: it is not before
    /// what was committed, nor behind what was delivered.
    pub(super) fn check_position(&mut self, partition: u32, committed: u64, stored: Option<u64>) {
        let stored = stored.unwrap_or(1);
        let delivered = self.page(partition).delivered;
        if !(committed..=delivered).contains(&stored) {
            self.fault(format!(
                "the position of {partition} is {stored}, {committed} was committed and {delivered} is to come"
            ));
        }
    }

    /// What is certainly committed of each partition.
    pub(super) fn committed(&self) -> BTreeMap<u32, u64> {
        self.pages.iter().map(|(partition, page)| (*partition, page.committed)).collect()
    }

    /// How far each partition was delivered.
    pub(super) fn delivered(&self) -> BTreeMap<u32, u64> {
        self.pages.iter().map(|(partition, page)| (*partition, page.delivered)).collect()
    }

    /// Partitions of which not all was delivered that was acknowledged.
    pub(super) fn behind(&self) -> BTreeSet<u32> {
        let behind = self.pages.iter().filter(|(_, page)| page.delivered < page.acknowledged);
        behind.map(|(partition, _)| *partition).collect()
    }

    /// A partition that this member has lost to another one, and since when it had it.
    pub(super) fn lost_by(&self, member: u64) -> Option<(u32, Tenure)> {
        self.pages.iter().find_map(|(partition, page)| {
            let (last, before) = page.tenures.split_last()?;
            let lost = before.iter().rev().find(|(tenure, _)| tenure.member == member)?;
            (last.0.member != member).then_some((*partition, lost.0))
        })
    }

    pub(super) fn fault(&mut self, fault: String) {
        self.fault_count += 1;
        if self.faults.len() < TOLD {
            self.faults.push(fault);
        }
    }

    /// # Panics
    /// When anything was found.
    pub(super) fn assert_faultless(&self) {
        assert!(self.faults.is_empty(), "{} faults: {:#?}", self.fault_count, self.faults);
    }

    fn page(&mut self, partition: u32) -> &mut Page {
        self.pages.get_mut(&partition).expect("it is one of the topic")
    }

    fn count(&self, change: impl FnOnce(&mut Events)) {
        self.events.send_modify(change);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANN: Tenure = Tenure { member: 1, life: 0, epoch: 1 };
    const BOB: Tenure = Tenure { member: 2, life: 0, epoch: 1 };

    /// Ten messages are acknowledged, Ann has read six of them, and the first four are committed.
    fn ledger() -> Ledger {
        let mut ledger = Ledger::new(1);
        (1..=10).for_each(|number| ledger.acknowledge(0, number));
        ledger.begin(0, ANN);
        (1..=4).for_each(|number| ledger.deliver(0, number, ANN));
        ledger.commit(0, ANN, "as told");
        (5..=6).for_each(|number| ledger.deliver(0, number, ANN));
        ledger
    }

    fn faults(read: impl FnOnce(&mut Ledger)) -> u64 {
        let mut ledger = ledger();
        read(&mut ledger);
        ledger.fault_count
    }

    #[test]
    fn what_may_be_is_no_fault() {
        let mut ledger = ledger();
        assert_eq!(ledger.behind(), BTreeSet::from([0]));
        ledger.begin(0, BOB);
        (5..=10).for_each(|number| ledger.deliver(0, number, BOB));
        ledger.check_position(0, 5, Some(5));
        ledger.check_position(0, 5, Some(11));
        assert_eq!((ledger.behind(), ledger.events().again), (BTreeSet::new(), 2));
        assert_eq!((ledger.lost_by(1), ledger.lost_by(2)), (Some((0, ANN)), None));
        ledger.assert_faultless();
    }

    #[test]
    fn what_must_not_be_is_found() {
        assert_eq!(faults(|ledger| ledger.deliver(0, 8, ANN)), 2, "skipped, and out of turn");
        assert_eq!(faults(|ledger| ledger.deliver(0, 6, ANN)), 1, "twice to the same");
        let comes_to_bob = |number: u64| {
            faults(|ledger| {
                ledger.begin(0, BOB);
                ledger.deliver(0, number, BOB);
            })
        };
        assert_eq!((comes_to_bob(4), comes_to_bob(5), comes_to_bob(7), comes_to_bob(8)), (1, 0, 0, 1));
        let late = faults(|ledger| {
            ledger.begin(0, BOB);
            ledger.deliver(0, 7, ANN);
        });
        assert_eq!(late, 1, "it is with Bob");
        assert_eq!(faults(|ledger| ledger.acknowledge(0, 12)), 1);
        assert_eq!(faults(|ledger| ledger.check_position(0, 5, Some(4))), 1, "a commit is lost");
        assert_eq!(faults(|ledger| ledger.check_position(0, 5, None)), 1);
        assert_eq!(faults(|ledger| ledger.check_position(0, 5, Some(8))), 1, "nobody was there yet");
    }
}
