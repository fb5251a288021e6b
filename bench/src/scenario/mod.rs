//! What is measured: a file for each family of figures.

pub(crate) mod catchup;
pub(crate) mod crowd;
pub(crate) mod fanout;
pub(crate) mod footprint;
pub(crate) mod idle;
pub(crate) mod kafka;
pub(crate) mod large;
pub(crate) mod latency;
pub(crate) mod matrix;
pub(crate) mod produce;
pub(crate) mod publishers;
pub(crate) mod readers;
pub(crate) mod recovery;
pub(crate) mod spread;
pub(crate) mod storage;
pub(crate) mod unary;

use std::{path::PathBuf, time::Duration};

/// What all scenarios are told.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// Directory on the disk that is measured.
    pub(crate) dir: PathBuf,
    /// How often both sides take their turn.
    pub(crate) rounds: usize,
    /// How long each turn of a side takes.
    pub(crate) time: Duration,
    /// GiB for the scenarios that are about size.
    pub(crate) gib: f64,
}

impl Settings {
    pub(crate) fn bytes(&self) -> u64 {
        (self.gib * f64::from(1 << 30)) as u64
    }
}
