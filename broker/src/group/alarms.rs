//! [`Alarms`], when something about groups is due. All of it, so that one timer is enough.
//!
//! An alarm may ring too early: a member that is heard does not move its alarm, which happens far more often than
//! that one rings. Whoever is rung for looks again, and sets it anew.

use std::collections::{BTreeMap, BTreeSet};

use minikafka_storage::Millis;

use super::core::MemberKey;

/// What may be due.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Due {
    /// A member was silent for its session timeout.
    Session(MemberKey),
    /// A member has not given up in time what it was asked for.
    Revocation(MemberKey),
    /// A group was empty for the positions' retention.
    Group(String),
    /// Something in a group of classic members; or they are gone, and their occupation is to be ended.
    Classic(String),
}

/// At most one for each thing that may be due.
#[derive(Debug, Default)]
pub(super) struct Alarms {
    at: BTreeMap<Due, Millis>,
    queue: BTreeSet<(Millis, Due)>,
}

impl Alarms {
    /// Rings at this time, or earlier if it would anyhow. Says whether the next one to ring is another one now.
    pub(super) fn set(&mut self, due: Due, at: Millis) -> bool {
        if let Some(before) = self.at.get(&due).copied() {
            if before <= at {
                return false;
            }
            self.queue.remove(&(before, due.clone()));
        }
        let is_next = self.next().is_none_or(|next| at < next);
        self.at.insert(due.clone(), at);
        self.queue.insert((at, due));
        is_next
    }

    /// Rings no more for this.
    pub(super) fn cancel(&mut self, due: &Due) {
        if let Some(at) = self.at.remove(due) {
            self.queue.remove(&(at, due.clone()));
        }
    }

    /// When the next one rings.
    pub(super) fn next(&self) -> Option<Millis> {
        self.queue.first().map(|(at, _)| *at)
    }

    /// Takes one that rings by now.
    pub(super) fn take(&mut self, now: Millis) -> Option<Due> {
        if self.next()? > now {
            return None;
        }
        let (_, due) = self.queue.pop_first()?;
        self.at.remove(&due);
        Some(due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_ring_in_order_and_once() {
        let mut alarms = Alarms::default();
        let group = |name: &str| Due::Group(name.to_owned());
        assert!(alarms.set(group("b"), 20));
        assert!(alarms.set(group("a"), 10));
        assert!(!alarms.set(group("c"), 30));
        assert!(!alarms.set(group("a"), 40), "it rings early enough");
        assert!(alarms.set(group("c"), 5));
        alarms.set(group("d"), 15);
        alarms.cancel(&group("d"));
        alarms.cancel(&group("nobody"));
        assert_eq!(alarms.take(4), None);
        assert_eq!(
            [alarms.take(20), alarms.take(20), alarms.take(20)],
            ["c", "a", "b"].map(|name| Some(group(name)))
        );
        assert_eq!((alarms.take(99), alarms.next()), (None, None));
    }
}
