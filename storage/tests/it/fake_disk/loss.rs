//! What a crash leaves: [`Image`], all files and directories, and [`PowerLoss`], how hard it hits.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use super::rng::Rng;

/// Files and directories at rest, everything durable.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Image {
    /// By path, parents before children; `None` is a directory.
    pub(super) entries: BTreeMap<PathBuf, Option<Vec<u8>>>,
    /// What blocks hold that belong to no file.
    pub(super) freed: Vec<u8>,
}

/// What becomes of what was not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PowerLoss {
    /// All of it is gone.
    NothingUnsynced,
    /// Some of it is there, reordered and torn.
    Some(Survivors),
}

/// Which part of what was not synced is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Survivors {
    pub(crate) seed: u64,
    /// What is written in one piece: 512 or 4096 bytes.
    pub(crate) sector_len: usize,
    pub(crate) unwritten: Unwritten,
    pub(crate) names: NameOrder,
}

/// What is in the sectors of a file that became longer, but whose bytes were not written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unwritten {
    Zeros,
    /// What a removed file left there: ext4 with data=writeback.
    Stale,
}

/// Which changes of names in a directory are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NameOrder {
    /// The first so many, as with a journaling file system.
    AsMade,
    /// Any, as POSIX allows.
    Any,
}

impl PowerLoss {
    /// Some kind of loss, all of it decided by the seed.
    pub(crate) fn seeded(seed: u64) -> PowerLoss {
        let mut rng = Rng::new(seed);
        PowerLoss::Some(Survivors {
            seed: rng.next(),
            sector_len: if rng.percent(75) { 512 } else { 4096 },
            unwritten: if rng.percent(50) { Unwritten::Zeros } else { Unwritten::Stale },
            names: if rng.percent(50) { NameOrder::AsMade } else { NameOrder::Any },
        })
    }
}

impl Image {
    /// The paths of all files.
    pub(crate) fn files(&self) -> impl Iterator<Item = &Path> {
        self.entries.iter().filter(|(_, content)| content.is_some()).map(|(path, _)| path.as_path())
    }

    /// The content of a file.
    pub(crate) fn file(&self, path: &Path) -> Option<&[u8]> {
        self.entries.get(path)?.as_deref()
    }

    /// The content of a file, to be spoiled.
    pub(crate) fn file_mut(&mut self, path: &Path) -> Option<&mut Vec<u8>> {
        self.entries.get_mut(path)?.as_mut()
    }

    /// Adds a file or, without content, a directory.
    pub(crate) fn insert(&mut self, path: &Path, content: Option<Vec<u8>>) {
        self.entries.insert(path.to_owned(), content);
    }

    /// Removes a file.
    pub(crate) fn remove(&mut self, path: &Path) -> Option<Vec<u8>> {
        self.entries.remove(path).flatten()
    }
}
