//! [`Owners`], which member has which partition, as the members see it, and when that changed.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::bail;
use tokio::{
    sync::watch,
    time::{Instant, timeout},
};

use crate::bench::latency::Latencies;

/// Longer than any group takes to settle: the longest session timeout that a bench has reason to ask for.
const SETTLE_MAX: Duration = Duration::from_secs(120);

/// See the module.
///
/// A std lock: it is held for a look or a note, never across an await.
#[derive(Debug)]
pub(super) struct Owners {
    table: Mutex<Table>,
    /// Counts the changes.
    changes: watch::Sender<u64>,
}

/// How things stand.
#[derive(Debug)]
pub(super) struct Table {
    partitions: Vec<Partition>,
    members: BTreeMap<u32, Member>,
    changed_at: Instant,
    /// How long each partition that moved was without an owner.
    gaps: Latencies,
    moves: u64,
    failure: Option<String>,
}

#[derive(Clone, Debug, Default)]
struct Partition {
    /// One, or none on the way. Two while the one that has given it up has not said so yet.
    owners: BTreeSet<u32>,
    given_up_at: Option<Instant>,
}

#[derive(Debug, Default)]
struct Member {
    partitions: Vec<u32>,
    /// Whether it knows where each of them starts.
    is_ready: bool,
}

/// What has moved.
#[derive(Debug)]
pub(super) struct Moves {
    pub(super) count: u64,
    pub(super) without_owner: Latencies,
}

impl Owners {
    pub(super) fn new(partitions: u32) -> Owners {
        let table = Table {
            partitions: vec![Partition::default(); partitions as usize],
            members: BTreeMap::new(),
            changed_at: Instant::now(),
            gaps: Latencies::new(),
            moves: 0,
            failure: None,
        };
        Owners { table: Mutex::new(table), changes: watch::Sender::new(0) }
    }

    /// A member has exactly these partitions now.
    pub(super) fn note(&self, member: u32, partitions: &[u32], is_ready: bool) {
        self.change(|table| table.note(member, partitions, is_ready));
    }

    /// A member has left, or is leaving: it reads nothing any more.
    pub(super) fn note_gone(&self, member: u32) {
        self.change(|table| {
            table.note(member, &[], true);
            table.members.remove(&member);
        });
    }

    /// A member has failed: nobody needs to wait for it.
    pub(super) fn note_failure(&self, failure: String) {
        self.change(|table| table.failure = Some(failure));
    }

    /// Waits until it is so, and says since when.
    pub(super) async fn until(&self, is_so: impl Fn(&Table) -> bool) -> anyhow::Result<Instant> {
        let mut changes = self.changes.subscribe();
        let waiting = async {
            loop {
                changes.borrow_and_update();
                {
                    let table = self.lock();
                    if let Some(failure) = &table.failure {
                        bail!("a member has failed: {failure}");
                    }
                    if is_so(&table) {
                        return Ok(table.changed_at);
                    }
                }
                // The sender lives as long as this does.
                let _ = changes.changed().await;
            }
        };
        match timeout(SETTLE_MAX, waiting).await {
            Ok(since) => since,
            Err(_elapsed) => bail!("the group does not settle: {}", self.lock().describe()),
        }
    }

    /// What has moved since it was last asked.
    pub(super) fn take_moves(&self) -> Moves {
        let mut table = self.lock();
        let without_owner = std::mem::replace(&mut table.gaps, Latencies::new());
        Moves { count: std::mem::take(&mut table.moves), without_owner }
    }

    fn change(&self, change: impl FnOnce(&mut Table)) {
        let mut table = self.lock();
        change(&mut table);
        table.changed_at = Instant::now();
        drop(table);
        self.changes.send_modify(|count| *count += 1);
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn note(&mut self, member: u32, partitions: &[u32], is_ready: bool) {
        let now = Instant::now();
        let before = self.members.insert(member, Member { partitions: partitions.to_vec(), is_ready });
        let before = before.map_or_else(Vec::new, |before| before.partitions);
        for gone in before.iter().filter(|one| !partitions.contains(one)) {
            let partition = &mut self.partitions[*gone as usize];
            partition.owners.remove(&member);
            partition.given_up_at = Some(now);
        }
        for new in partitions.iter().filter(|one| !before.contains(one)) {
            let partition = &mut self.partitions[*new as usize];
            // The one that had it may say later that it has given it up: then there was no gap worth the name.
            let gap = match partition.given_up_at {
                _ if !partition.owners.is_empty() => Some(Duration::ZERO),
                given_up_at => given_up_at.map(|at| now - at),
            };
            partition.owners.insert(member);
            if let Some(gap) = gap {
                self.moves += 1;
                self.gaps.record(gap);
            }
        }
    }

    /// Whether these members, and no others, share all partitions evenly, each of which has one owner.
    pub(super) fn is_settled(&self, members: &BTreeSet<u32>) -> bool {
        if !self.members.keys().eq(members) || self.partitions.iter().any(|one| one.owners.len() != 1) {
            return false;
        }
        let fair = self.partitions.len() / members.len().max(1);
        self.members.values().all(|member| (fair..=fair + 1).contains(&member.partitions.len()))
    }

    /// Whether all members know where their partitions start.
    pub(super) fn is_ready(&self) -> bool {
        self.members.values().all(|member| member.is_ready)
    }

    fn describe(&self) -> String {
        let without = self.partitions.iter().filter(|one| one.owners.is_empty()).count();
        let counts: Vec<_> = self.members.values().map(|member| member.partitions.len()).collect();
        format!("members have {counts:?} partitions, {without} have no owner")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(members: &[u32]) -> BTreeSet<u32> {
        members.iter().copied().collect()
    }

    #[test]
    fn it_is_settled_once_each_partition_has_one_owner_and_all_have_their_share() {
        let owners = Owners::new(4);
        let is_settled = |wanted: &[u32]| owners.lock().is_settled(&members(wanted));
        owners.note(0, &[0, 1, 2, 3], true);
        assert!(is_settled(&[0]) && !is_settled(&[0, 1]));
        owners.note(1, &[], true);
        assert!(!is_settled(&[0, 1]), "its share is not there");
        owners.note(0, &[0, 1], true);
        assert!(!is_settled(&[0, 1]), "two have no owner");
        owners.note(1, &[2, 3], true);
        assert!(is_settled(&[0, 1]) && !is_settled(&[0, 1, 2]));
        owners.note_gone(0);
        owners.note(1, &[0, 1, 2, 3], false);
        assert!(is_settled(&[1]) && !owners.lock().is_ready());
    }

    #[tokio::test]
    async fn it_tells_how_long_partitions_had_no_owner() {
        let owners = Owners::new(2);
        owners.note(0, &[0, 1], true);
        assert_eq!(owners.take_moves().count, 0, "the first owner is no move");
        owners.note(0, &[0], true);
        std::thread::sleep(Duration::from_millis(20));
        owners.note(1, &[1], true);
        let moves = owners.take_moves();
        assert_eq!(moves.count, 1);
        assert!(moves.without_owner.percentiles().is_some_and(|gap| gap.max >= 20.0));
        assert_eq!(owners.take_moves().count, 0);
    }

    #[tokio::test]
    async fn a_member_that_fails_is_not_waited_for() {
        let owners = Owners::new(1);
        owners.note_failure("out of order".to_owned());
        let waited = owners.until(|table| table.is_settled(&members(&[0]))).await;
        assert!(waited.is_err_and(|error| error.to_string().contains("out of order")));
    }
}
