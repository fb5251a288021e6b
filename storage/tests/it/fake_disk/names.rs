//! [`Names`], what a directory holds: what everybody sees, and what is on the platter.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
};

use super::{loss::NameOrder, rng::Rng};

/// A file or directory, whatever its name.
pub(super) type NodeId = u64;

/// What a directory holds.
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    live: BTreeMap<OsString, NodeId>,
    durable: BTreeMap<OsString, NodeId>,
    /// In the order in which they were made.
    unsynced: Vec<NameChange>,
}

#[derive(Clone, Debug)]
enum NameChange {
    Link(OsString, NodeId),
    Unlink(OsString),
    /// Atomic, whatever happens.
    Rename {
        from: OsString,
        to: OsString,
        node: NodeId,
    },
}

impl NameChange {
    fn apply(&self, names: &mut BTreeMap<OsString, NodeId>) {
        match self {
            NameChange::Link(name, node) => _ = names.insert(name.clone(), *node),
            NameChange::Unlink(name) => _ = names.remove(name),
            NameChange::Rename { from, to, node } => {
                names.remove(from);
                names.insert(to.clone(), *node);
            }
        }
    }
}

impl Names {
    pub(super) fn live(&self) -> &BTreeMap<OsString, NodeId> {
        &self.live
    }

    pub(super) fn durable(&self) -> &BTreeMap<OsString, NodeId> {
        &self.durable
    }

    pub(super) fn get(&self, name: &OsStr) -> Option<NodeId> {
        self.live.get(name).copied()
    }

    /// A name that has been there for long.
    pub(super) fn insert_durable(&mut self, name: &OsStr, node: NodeId) {
        self.live.insert(name.to_owned(), node);
        self.durable.insert(name.to_owned(), node);
    }

    pub(super) fn link(&mut self, name: &OsStr, node: NodeId) {
        self.change(NameChange::Link(name.to_owned(), node));
    }

    pub(super) fn unlink(&mut self, name: &OsStr) {
        self.change(NameChange::Unlink(name.to_owned()));
    }

    pub(super) fn rename(&mut self, from: &OsStr, to: &OsStr, node: NodeId) {
        self.change(NameChange::Rename { from: from.to_owned(), to: to.to_owned(), node });
    }

    fn change(&mut self, change: NameChange) {
        change.apply(&mut self.live);
        self.unsynced.push(change);
    }

    pub(super) fn sync(&mut self) {
        self.durable.clone_from(&self.live);
        self.unsynced.clear();
    }

    /// What is left when the power goes now: the synced names, and some of the changes since.
    pub(super) fn survive(&self, rng: &mut Rng, order: NameOrder) -> BTreeMap<OsString, NodeId> {
        let mut names = self.durable.clone();
        let upto = rng.below(self.unsynced.len() as u64 + 1) as usize;
        for (number, change) in self.unsynced.iter().enumerate() {
            let kept = match order {
                NameOrder::AsMade => number < upto,
                NameOrder::Any => rng.percent(50),
            };
            if kept {
                change.apply(&mut names);
            }
        }
        names
    }
}
