//! [`Finding`] and [`Totals`], what verifying says.

use std::{ops::Range, path::PathBuf};

use minikafka_record::Offset;

use crate::LogId;

/// Something that verifying says on the way.
#[derive(Clone, Debug)]
pub enum Event {
    /// How far it is. Said every so often.
    Progress {
        /// Bytes read so far.
        done: u64,
        /// Bytes to read in all.
        total: u64,
    },
    /// Something that is not as a clean stop leaves it.
    Found(Finding),
}

/// Something that is not as a clean stop leaves it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// Of which log, if that is known.
    pub log: Option<LogId>,
    /// In which file or directory.
    pub path: PathBuf,
    /// At which byte of it; `None` for the file as a whole.
    pub position: Option<u64>,
    /// What does not fit, as a part of a sentence.
    pub what: String,
    /// The records that are lost by it: reading goes on at its end. `None` when none is lost, or when nobody can
    /// tell which.
    pub lost: Option<Range<Offset>>,
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// Good to know: no message is lost.
    Note,
    /// What was durable is not there any more, or not what was written, or cannot be read.
    Damage,
}

/// What was read in all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Logs whose manifest can be read.
    pub logs: u64,
    /// Segment files.
    pub segments: u64,
    /// Whole frames in segments.
    pub frames: u64,
    /// Records in them, and in entries that only the journal has.
    pub records: u64,
    /// Records of the journal that are whole, among them those that do not count any more.
    pub journal_records: u64,
    /// Entries that only the journal has.
    pub journaled_entries: u64,
    /// Bytes of all files.
    pub bytes: u64,
    /// Records that are lost; without those that were evicted.
    pub lost_records: u64,
    /// Findings that are notes.
    pub notes: u64,
    /// Findings that are damage.
    pub damages: u64,
}

impl Totals {
    /// Whether no damage was found.
    pub fn is_whole(&self) -> bool {
        self.damages == 0
    }
}
