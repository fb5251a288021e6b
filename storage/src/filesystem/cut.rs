//! Cutting a segment before an entry, for a truncation: one that is under way, or one that a crash has interrupted.

use super::{
    Shared, durable,
    index::SegmentIndex,
    scan::FrameScan,
    segment::{Segment, scan_error},
    write::cut,
};
use crate::{Index, StorageError};

const SCAN_CHUNK_LEN: usize = 64 * 1024;

/// Cuts a segment, whose frames end at `end` at most, before the entry with index `from`, which comes behind others.
/// `index` is one of the segment. Durable on return; done again, it changes nothing.
pub(super) fn cut_segment(
    segment: &mut Segment,
    mut index: SegmentIndex,
    (from, end): (Index, u64),
    shared: &Shared,
) -> Result<(), StorageError> {
    let file = segment.file(shared)?;
    let point = index.rewind(from);
    let mut scan = FrameScan::new(file.clone(), segment.header.salt, point.position, end, SCAN_CHUNK_LEN);
    index
        .push_frames(&mut scan, from, shared.options.segment_bytes)
        .map_err(|error| scan_error(&segment.path, error))?;
    // Whoever has made an index of what goes is not to store it behind this.
    segment.edition.renew();
    let path = segment.index_path();
    durable::remove_file(&*shared.disk, &path)?;
    durable::sync_dir(&*shared.disk, durable::parent(&path))?;
    cut(&*file, &segment.path, index.end().position)?;
    shared.indexes.forget(segment.key);
    shared.handles.forget(segment.key);
    // It is another one now: who reads it as it was finds out by its key.
    segment.key = shared.handles.register();
    shared.handles.insert(segment.key, file);
    segment.set_index(index);
    Ok(())
}
