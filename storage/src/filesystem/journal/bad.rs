//! [`BadBytes`], what should have been a record of the journal.

use std::{
    io,
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{PAGE_LEN, record::RecordHeader, replay::Aside};
use crate::{
    StorageError,
    filesystem::{
        disk::{Disk, DiskFile},
        durable::{self, with_suffix},
        frame::Salt,
        recovery::{TORN_SUFFIX, keep_aside},
        segment::DAMAGED_SUFFIX,
    },
};

/// Bytes of a file that should have been a record, or several.
pub(super) struct BadBytes {
    pub(super) path: PathBuf,
    pub(super) file: Arc<dyn DiskFile>,
    pub(super) range: Range<u64>,
    /// Of the record that should be here; of the last one, if there are several.
    pub(super) sequence: u64,
}

/// Where a file should have records although there are no headers of any: before the first one, where the sequence has
/// a gap, and behind the last one if what is there begins as a record does. What is left over from an earlier use of
/// the file has smaller sequences.
pub(super) fn headless(
    path: &Path,
    file: &Arc<dyn DiskFile>,
    len: u64,
    salt: Salt,
    records: &[(u64, RecordHeader)],
) -> io::Result<Vec<BadBytes>> {
    let bad = |range, sequence| BadBytes { path: path.to_owned(), file: file.clone(), range, sequence };
    let (mut found, mut end, mut last) = (Vec::new(), 0, None::<u64>);
    for (position, header) in records {
        if *position > end && last.is_none_or(|last| header.sequence > last + 1) {
            found.push(bad(end..*position, header.sequence.saturating_sub(1)));
        }
        end = (position + header.len as u64).next_multiple_of(PAGE_LEN);
        last = Some(header.sequence);
    }
    let mut begin = [0; 8];
    if end + PAGE_LEN <= len {
        durable::read_exact_at(&**file, &mut begin, end)?;
        if begin == salt.0 {
            found.push(bad(end..len, last.map_or(0, |last| last + 1)));
        }
    }
    Ok(found)
}

/// Puts all of them aside and reports them. What comes before the first record of a later round, which is written only
/// after a sync of all that was there, was durable once.
pub(super) fn keep_all(
    disk: &dyn Disk,
    all: &[BadBytes],
    later_round: Option<u64>,
) -> Result<Aside, StorageError> {
    let mut aside = Aside::All;
    for BadBytes { path, file, range, sequence } in all {
        let mut bytes = vec![0; (range.end - range.start) as usize];
        durable::read_exact_at(&**file, &mut bytes, range.start)
            .map_err(|error| StorageError::unreadable(path, range.start, error))?;
        bytes.truncate(bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1));
        if bytes.is_empty() {
            continue;
        }
        let (position, was_durable) = (range.start, later_round.is_some_and(|later| *sequence < later));
        let suffix = if was_durable { DAMAGED_SUFFIX } else { TORN_SUFFIX };
        let kept = with_suffix(path, &format!(".{position}.{sequence}{suffix}"));
        match was_durable {
            true => tracing::error!(?path, position, sequence, ?kept, "a record of the journal is damaged"),
            false => tracing::warn!(?path, position, sequence, ?kept, "a record of the journal is torn"),
        }
        if !keep_aside(disk, &kept, &bytes)? {
            aside = Aside::NotAll;
        }
    }
    Ok(aside)
}
