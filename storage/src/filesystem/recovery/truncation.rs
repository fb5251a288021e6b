//! Bringing a truncation to its end that a crash has interrupted.

use std::path::Path;

use super::segments::{self, Found};
use crate::{
    Index, StorageError,
    filesystem::{
        Shared, cut::cut_segment, damage::Damage, durable, index::SegmentIndex, manifest::Manifest,
        segment::Segment,
    },
};

/// Takes the entries from `from` on off the files, as far as that is not done. The manifest goes on saying that it is
/// under way.
pub(super) fn finish(
    dir: &Path,
    manifest: &Manifest,
    from: Index,
    damage: &Damage,
    shared: &Shared,
) -> Result<(), StorageError> {
    let mut found = segments::clear(dir, manifest, damage, shared)?;
    tracing::warn!(?dir, from, "a truncation was interrupted, it is brought to its end");
    while let Some(last) = found.pop_if(|last| last.base_index >= from) {
        last.remove(damage, shared)?;
        durable::sync_dir(&*shared.disk, dir)?;
    }
    // One without a header is set aside as a whole.
    let Some(Found { path, len, header: Ok(header), .. }) = found.pop() else { return Ok(()) };
    let stored = SegmentIndex::load(&*shared.disk, &path.with_extension("index"), &header);
    let index = stored.filter(|index| index.end().position <= len);
    let index = index.unwrap_or_else(|| SegmentIndex::new(&header));
    let mut segment = Segment::last(path, header, index.clone(), shared);
    let outcome = cut_segment(&mut segment, index, (from, len), shared);
    shared.handles.forget(segment.key);
    outcome
}
