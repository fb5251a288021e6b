//! What `minikafka storage verify` prints.

use std::{fmt, path::Path};

use minikafka_storage::filesystem::inspect::{Finding, Severity, Totals};
use serde::Serialize;

use crate::count::{Count, Size};

/// A finding for people: one line.
pub(super) struct FindingLine<'a>(pub(super) &'a Finding, pub(super) &'a Path);

impl fmt::Display for FindingLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let FindingLine(finding, root) = self;
        write!(f, "{}: ", severity(finding))?;
        if let Some(log) = &finding.log {
            write!(f, "topic \"{}\" partition {}: ", log.topic, log.partition)?;
        }
        write!(f, "{}", relative(&finding.path, root))?;
        if let Some(position) = finding.position {
            write!(f, " at byte {position}")?;
        }
        write!(f, ": {}", finding.what)?;
        if let Some(lost) = &finding.lost {
            let (first, last) = (lost.start.number(), lost.end.get());
            match last.saturating_sub(first) {
                0 => write!(f, "; message {first} is lost")?,
                _ => write!(f, "; messages {first} to {last} are lost")?,
            }
            write!(f, ", reading goes on at {}", lost.end.number())?;
        }
        Ok(())
    }
}

/// The last line for people.
pub(super) struct Summary<'a>(pub(super) &'a Totals);

impl fmt::Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Totals { logs, segments, frames, records, journaled_entries, bytes, .. } = *self.0;
        let Totals { lost_records, notes, damages, .. } = *self.0;
        write!(
            f,
            "{}, {}, {}, {}, {}",
            Count(logs, "log"),
            Count(segments, "segment"),
            Count(frames, "frame"),
            Count(records, "message"),
            Size(bytes)
        )?;
        match journaled_entries {
            0 => {}
            1 => write!(f, ", 1 entry only in the journal")?,
            count => write!(f, ", {count} entries only in the journal")?,
        }
        match damages {
            0 => write!(f, ": whole")?,
            count => write!(f, ": {}, {} lost", Count(count, "damage"), Count(lost_records, "message"))?,
        }
        if notes > 0 {
            write!(f, ", {}", Count(notes, "note"))?;
        }
        Ok(())
    }
}

/// The report in JSON.
#[derive(Serialize)]
pub(super) struct JsonReport<'a> {
    whole: bool,
    logs: u64,
    segments: u64,
    frames: u64,
    messages: u64,
    journal_records: u64,
    journaled_entries: u64,
    bytes: u64,
    lost_messages: u64,
    damages: u64,
    notes: u64,
    findings: Vec<JsonFinding<'a>>,
}

impl<'a> JsonReport<'a> {
    pub(super) fn new(totals: &Totals, findings: Vec<JsonFinding<'a>>) -> JsonReport<'a> {
        JsonReport {
            whole: totals.is_whole(),
            logs: totals.logs,
            segments: totals.segments,
            frames: totals.frames,
            messages: totals.records,
            journal_records: totals.journal_records,
            journaled_entries: totals.journaled_entries,
            bytes: totals.bytes,
            lost_messages: totals.lost_records,
            damages: totals.damages,
            notes: totals.notes,
            findings,
        }
    }
}

/// A finding in JSON.
#[derive(Serialize)]
pub(super) struct JsonFinding<'a> {
    severity: &'static str,
    topic: Option<&'a str>,
    partition: Option<u32>,
    file: String,
    position: Option<u64>,
    what: &'a str,
    first_lost_number: Option<u64>,
    last_lost_number: Option<u64>,
    next_number: Option<u64>,
}

impl<'a> JsonFinding<'a> {
    pub(super) fn new(finding: &'a Finding, root: &Path) -> JsonFinding<'a> {
        let lost = finding.lost.as_ref();
        JsonFinding {
            severity: severity(finding),
            topic: finding.log.as_ref().map(|log| log.topic.as_str()),
            partition: finding.log.as_ref().map(|log| log.partition),
            file: relative(&finding.path, root),
            position: finding.position,
            what: &finding.what,
            first_lost_number: lost.map(|lost| lost.start.number()),
            last_lost_number: lost.map(|lost| lost.end.get()),
            next_number: lost.map(|lost| lost.end.number()),
        }
    }
}

fn severity(finding: &Finding) -> &'static str {
    match finding.severity {
        Severity::Note => "note",
        Severity::Damage => "damage",
    }
}

/// A path inside the data directory, as it is seen from there.
pub(super) fn relative(path: &Path, root: &Path) -> String {
    path.strip_prefix(root).unwrap_or(path).display().to_string()
}
